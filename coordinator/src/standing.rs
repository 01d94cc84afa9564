//! Finds out, before the first session after a start, whether others have seen more of this coordinator's log than it holds.
//!
//! The rules are in [`undoubt_coordinator_core::standing`]; here participants are asked, and operators are heard.

use crate::connect::ConnectError;
use crate::engine::{Command, Handle};
use crate::log::{Log, LogError};
use crate::own_sign;
use crate::session::Shared;
use crate::witness::{self, WitnessError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::Code;
use undoubt_coordinator_core::standing::{RecallAnswer, Sign, Standing, Verdict};
use undoubt_coordinator_core::{Recollection, TakenBack, UnusableRecord, held_after_loss};
use undoubt_platform::{Batch, StoreError};
use undoubt_proto::record;
use undoubt_proto::v1::{LogNumber, RecallResponse};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Epoch, KnownAttempt, ParticipantName, Starts, WriteNumber};

/// Between two questions to a participant that has answered, while its answer may still change something.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// An operator accepts what the log has lost.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(crate) who: String,
    pub(crate) reason: String,
    pub(crate) without: Vec<ParticipantName>,
    pub(crate) reply: oneshot::Sender<Result<Accepted, String>>,
}

/// The records that an accepted loss has led to: what committed, and what is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) epoch: Epoch,
    pub(crate) committed: u32,
    pub(crate) held: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StandingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The records that the log has got of what participants know.
#[derive(Debug, Default)]
struct Taken {
    committed: u32,
    held: Vec<UnusableRecord>,
}

type Answered = (ParticipantName, Result<RecallAnswer, String>);

/// The coordinator may speak.
#[derive(Debug)]
pub(crate) struct Cleared {
    /// The starts by which it does.
    pub(crate) starts: Starts,
    /// The attempts that the log lacks, as participants know them.
    pub(crate) held: Vec<UnusableRecord>,
    /// An operator who waits for it.
    waiting: Option<(oneshot::Sender<Result<Accepted, String>>, Accepted)>,
}

impl Cleared {
    /// Tells the operator who has accepted the loss, if there was one.
    pub(crate) fn tell(self) {
        if let Some((reply, accepted)) = self.waiting {
            // He may have gone.
            let _ = reply.send(Ok(accepted));
        }
    }
}

/// Asks until the coordinator may speak.
pub(crate) async fn stand(
    shared: &Shared,
    addresses: &BTreeMap<ParticipantName, String>,
    mut standing: Standing,
    accepts: &mut mpsc::Receiver<Accept>,
    reasons: &watch::Sender<Vec<String>>,
    engine: &Handle,
) -> Result<Cleared, StandingError> {
    let deadline = Instant::now() + Duration::from_millis(shared.config.witness_wait_ms);
    let mut asking: FuturesUnordered<BoxFuture<'_, Answered>> = FuturesUnordered::new();
    for (name, address) in addresses {
        asking.push(ask(shared, name.clone(), address, Duration::ZERO).boxed());
    }
    let mut time_is_over = false;
    let (mut held, mut noted) = (false, false);
    loop {
        match standing.verdict() {
            Verdict::Asking => {}
            Verdict::Clear if !standing.is_cleared() => break,
            Verdict::Clear => match confirm(shared, addresses, &mut standing).await? {
                true => break,
                false => continue,
            },
            Verdict::Held => {
                let now = standing.reasons();
                let changed = reasons.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
                if !std::mem::replace(&mut held, true) || changed {
                    tracing::error!(
                        target: "undoubt::life",
                        reasons = now.join("; "),
                        "this coordinator is held: its log may be an older copy. If a newer folder exists, stop this one and use \
                         that; else look at `undoubt participants` and accept the loss with `undoubt accept-loss`"
                    );
                }
            }
        }
        tokio::select! {
            biased;
            Some((name, told)) = asking.next() => {
                match told {
                    Ok(told) => {
                        if let Some(lacking) = standing.lacking(&told).filter(|_| !noted) {
                            own_sign::note(&shared.log, &lacking).await?;
                            noted = true;
                        }
                        // A process is connected as this coordinator. If it has taken the store over, this write ends the one that
                        // waits here, which writes nothing else.
                        if told.connected {
                            shared.log.check_owner().await?;
                        }
                        standing.handle_answer(name.clone(), told);
                    }
                    Err(error) => {
                        let participant = name.clone();
                        // Without an engine nobody asks either.
                        let _ = engine.tell(Command::Disconnected { participant, session: None, error }).await;
                    }
                }
                if let Some(address) = addresses.get(&name) {
                    asking.push(ask(shared, name, address, ASK_AGAIN_AFTER).boxed());
                }
            }
            Some(accept) = accepts.recv() => {
                if let Some(cleared) = accepted(shared, addresses, &standing, accept).await? {
                    reasons.send_replace(Vec::new());
                    return Ok(cleared);
                }
            }
            () = sleep_until(deadline), if !time_is_over => {
                time_is_over = true;
                standing.time_is_over();
            }
        }
    }
    if standing.is_cleared() {
        tracing::warn!("every participant confirms that nobody has seen more of this log than it holds: it serves");
        shared.log.clear_put_back().await?;
    }
    reasons.send_replace(Vec::new());
    Ok(Cleared { starts: shared.starts.clone(), held: Vec::new(), waiting: None })
}

async fn ask(shared: &Shared, name: ParticipantName, address: &str, after: Duration) -> Answered {
    sleep(after).await;
    let patience = Duration::from_millis(shared.config.connect_timeout_ms);
    let asked = witness::recall(shared, &name, address, None);
    let told = match timeout(2 * patience, asked).await {
        Err(_) => Err(format!("it did not answer within {} ms", 2 * patience.as_millis())),
        Ok(Ok(answer)) => read_answer(shared, &name, answer),
        // It knows of no numbers.
        Ok(Err(ConnectError::Refused(status))) if status.code() == Code::Unimplemented => Ok(RecallAnswer::default()),
        Ok(Err(error)) => Err(error.to_string()),
    };
    (name, told)
}

fn read_answer(shared: &Shared, by: &ParticipantName, answer: RecallResponse) -> Result<RecallAnswer, String> {
    let RecallResponse { number, seen, epoch, connected, put_back, other_coordinator_id, .. } = answer;
    let read = |number: LogNumber| WriteNumber::try_from(number).map_err(|bad| bad.to_string());
    let (number, seen) = (number.map(read).transpose()?, seen.map(read).transpose()?);
    let before = witness::seen(&shared.log, by);
    let has_lost = before.zip(number).is_some_and(|(before, now)| now.is_after_loss_of(&before));
    let other = (!other_coordinator_id.is_empty()).then(|| CoordinatorId::try_from(other_coordinator_id.as_ref()));
    let other = other.transpose().map_err(|bad| bad.to_string())?;
    Ok(RecallAnswer { seen, epoch: Epoch(epoch), connected, other, was_put_back: has_lost || !put_back.is_empty() })
}

/// Returns true if no participant keeps anything that the log has no record of. Else, or if somebody cannot say so any more,
/// that is noted.
async fn confirm(
    shared: &Shared,
    addresses: &BTreeMap<ParticipantName, String>,
    standing: &mut Standing,
) -> Result<bool, StandingError> {
    let patience = Duration::from_millis(shared.config.connect_timeout_ms) * 2;
    let log = Log::new(shared.log.clone());
    for (name, address) in addresses {
        let attempts = match witness::attempts(shared, name, address, patience).await {
            Ok((attempts, _)) => attempts,
            // It keeps no attempts, or does not tell.
            Err(WitnessError::Connect(ConnectError::Refused(status))) if status.code() == Code::Unimplemented => {
                continue;
            }
            Err(error) => {
                tracing::debug!(participant = %name, %error, "it does not answer any more");
                standing.handle_silence(name);
                return Ok(false);
            }
        };
        for KnownAttempt { tx, .. } in attempts {
            if !log.knows(&tx)? {
                standing.sign(Sign::Keeps { by: name.clone(), tx });
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Takes back what participants know, and begins another start above all that they have met. `None`: it was refused.
async fn accepted(
    shared: &Shared,
    addresses: &BTreeMap<ParticipantName, String>,
    standing: &Standing,
    accept: Accept,
) -> Result<Option<Cleared>, StandingError> {
    let Accept { who, reason, without, reply } = accept;
    let refused = |why: String, reply: oneshot::Sender<Result<Accepted, String>>| {
        // Whoever asked may have gone.
        let _ = reply.send(Err(why));
        Ok(None)
    };
    if standing.verdict() != Verdict::Held {
        return refused("this coordinator is not held; there is no loss to accept".to_owned(), reply);
    }
    let rivals = standing.rivals().filter(|name| !without.contains(name)).map(ToString::to_string).collect::<Vec<_>>();
    if !rivals.is_empty() {
        let why = format!(
            "another process is connected as this coordinator to {}, and what it does there could not be taken back: stop it, or wait \
             until they notice that it is gone",
            rivals.join(", ")
        );
        return refused(why, reply);
    }
    if let Err(missing) = standing.clone().accept(without.iter().cloned()) {
        let missing = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = format!(
            "{missing} have not answered, and may know what this log lacks: bring them back, or name them as those to go on without"
        );
        return refused(why, reply);
    }
    let asked = addresses.iter().filter(|(name, _)| !without.contains(name));
    let taken = match take_back(shared, asked).await {
        Ok(taken) => taken,
        Err(WitnessError::Store(error)) => return Err(error.into()),
        Err(WitnessError::Log(error)) => return Err(error.into()),
        Err(
            why @ (WitnessError::Connect(_)
            | WitnessError::Late
            | WitnessError::Malformed(_)
            | WitnessError::EngineGone),
        ) => {
            return refused(format!("what participants know could not be taken back: {why}; try again"), reply);
        }
    };
    let put_back = standing.reasons().join("; ");
    let kept = shared.log.stable();
    let log = Log::new(shared.log.clone());
    let loss = record::Loss {
        at_us: shared.clock.now().0,
        who: who.clone(),
        reason: reason.clone(),
        put_back: put_back.clone(),
        kept: Some(kept.into()),
        participant: String::new(),
        listed: u32::try_from(taken.held.len()).unwrap_or(u32::MAX),
        more: true,
    };
    let mut batch = Batch::default();
    Log::put_loss(&mut batch, u32::try_from(log.losses()?.len()).unwrap_or(u32::MAX), &loss);
    // Any attempt of the starts until now may have been committed by a record that is lost.
    Log::put_forgotten(&mut batch, AttemptNumber::last_of(Epoch(standing.highest().count)));
    let starts = shared.log.accept_loss(standing.highest(), shared.random.u64().max(1), batch).await?;
    let epoch = Epoch(starts.now.count);
    let accepted =
        Accepted { epoch, committed: taken.committed, held: u32::try_from(taken.held.len()).unwrap_or(u32::MAX) };
    tracing::warn!(
        who,
        reason,
        put_back,
        epoch = epoch.0,
        committed = accepted.committed,
        held = accepted.held,
        "an operator has accepted what this log has lost"
    );
    Ok(Some(Cleared { starts, held: taken.held, waiting: Some((reply, accepted)) }))
}

/// Stores what participants know and the log does not have: what committed is ended, all else is held. So is what the log holds
/// open and may have ended since, one way or the other.
async fn take_back(
    shared: &Shared,
    participants: impl Iterator<Item = (&ParticipantName, &String)>,
) -> Result<Taken, WitnessError> {
    let patience = Duration::from_millis(shared.config.connect_timeout_ms) * 2;
    let log = Log::new(shared.log.clone());
    let mut recollection = Recollection::default();
    for (name, address) in participants {
        let attempts = match witness::attempts(shared, name, address, patience).await {
            Err(WitnessError::Connect(ConnectError::Refused(status))) if status.code() == Code::Unimplemented => {
                continue;
            }
            attempts => attempts?.0,
        };
        for attempt in attempts {
            if !log.knows(&attempt.tx)? {
                recollection.add(name, attempt);
            }
        }
    }
    let mut taken = Taken::default();
    let mut batch = Batch::default();
    let now = shared.clock.now();
    for record in recollection.into_records(now) {
        match record {
            TakenBack::Committed(record) => {
                Log::put_taken_back(&mut batch, &record, now);
                taken.committed += 1;
            }
            TakenBack::Held(record) => {
                Log::put_held(&mut batch, &record);
                taken.held.push(record);
            }
        }
        if log.is_enough(&batch) {
            log.write_until_taken(std::mem::take(&mut batch)).await?;
        }
    }
    for found in log.unfinished()? {
        if let Some(record) = held_after_loss(found.unfinished) {
            Log::put_held(&mut batch, &record);
            taken.held.push(record);
        }
        if log.is_enough(&batch) {
            log.write_until_taken(std::mem::take(&mut batch)).await?;
        }
    }
    log.write_until_taken(batch).await?;
    Ok(taken)
}
