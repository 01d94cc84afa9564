//! The numbers of participants' logs as they have shown them, and the losses that these tell of.

use crate::connect::ConnectError;
use crate::engine::{Command, Handle};
use crate::session::Shared;
use bytes::Bytes;
use prost::Message as _;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use undoubt_coordinator_core::StillKnown;
use undoubt_platform::{Batch, NumberedStore, StoreError};
use undoubt_proto::convert::{Malformed, low_water_mark};
use undoubt_proto::record;
use undoubt_proto::v1::{LogNumber, RecallRequest, RecallResponse};
use undoubt_vocabulary::{
    AttemptNumber, Challenge, KnownAttempt, LowWaterMark, ParticipantName, Statement, WriteNumber,
};

use crate::log::{Log, LogError, LostParts};

/// Transactions that are listed as damaged for one loss of a participant, at most: the latest. Of the rest it is said that
/// there were more.
pub(crate) const MAX_LISTED_PER_LOSS: usize = 10_000;

/// The reason why it could not be found out, or not be stored, what a participant has lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("it did not say in time what it still knows")]
    Late,
    #[error("it does not say properly what it still knows: {0}")]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the coordinator is stopping")]
    EngineGone,
}

fn key(participant: &ParticipantName) -> Vec<u8> {
    [b"participant/", participant.as_str().as_bytes()].concat()
}

/// Returns the highest number that was seen of a participant's log.
pub(crate) fn seen(log: &NumberedStore, participant: &ParticipantName) -> Option<WriteNumber> {
    let stored = log.remembered(&key(participant))?;
    // What cannot be read would only have helped to notice something.
    LogNumber::decode(stored).ok()?.try_into().ok()
}

/// Remembers a number of a participant's log, unless a higher one was seen.
pub(crate) fn remember(log: &NumberedStore, participant: &ParticipantName, number: WriteNumber) {
    if number.replaces(seen(log, participant).as_ref()) {
        log.remember(&key(participant), Bytes::from(LogNumber::from(number).encode_to_vec()));
    }
}

/// Asks a participant what it knows of this coordinator, and from which attempt number on its attempts are wanted, if they are.
/// The caller bounds how long that may take.
pub(crate) async fn recall(
    shared: &Shared,
    participant: &ParticipantName,
    address: &str,
    from: Option<AttemptNumber>,
) -> Result<RecallResponse, ConnectError> {
    let question = request(shared, participant, from);
    let answer = shared.connect.recall(address, question.clone()).await?;
    let Ok(challenge) = <[u8; 32]>::try_from(&answer.challenge[..]) else { return Ok(answer) };
    let shown = question.seen.clone().and_then(|seen| WriteNumber::try_from(seen).ok());
    let signature = shared.key.sign(&Statement::Recall {
        challenge: &Challenge(challenge),
        coordinator: shared.id,
        key: &shared.key.public(),
        shown: shown.as_ref(),
        participant: participant.as_str(),
    });
    let signature = Bytes::copy_from_slice(&signature.0);
    let proven = RecallRequest { challenge: answer.challenge, signature, ..question };
    let answer = shared.connect.recall(address, proven).await?;
    if answer.challenge.is_empty() {
        return Ok(answer);
    }
    Err(tonic::Status::unavailable("it does not take the answer to its challenge; it is asked again").into())
}

fn request(shared: &Shared, participant: &ParticipantName, from: Option<AttemptNumber>) -> RecallRequest {
    RecallRequest {
        coordinator_id: shared.id.0.to_vec().into(),
        coordinator_name: shared.config.name.clone(),
        participant_name: participant.to_string(),
        seen: seen(&shared.log, participant).map(Into::into),
        attempts: from.is_some(),
        from_attempt_number: from.unwrap_or_default().0,
        public_key: Bytes::copy_from_slice(&shared.key.public().0),
        successions: shared.key.successions().iter().map(|word| (*word).into()).collect(),
        challenge: Bytes::new(),
        signature: Bytes::new(),
    }
}

/// Returns all that a participant keeps of attempts, and its low-water mark.
pub(crate) async fn attempts(
    shared: &Shared,
    participant: &ParticipantName,
    address: &str,
    patience: Duration,
) -> Result<(Vec<KnownAttempt>, LowWaterMark), WitnessError> {
    let (mut found, mut from) = (Vec::new(), AttemptNumber::default());
    loop {
        let asked = recall(shared, participant, address, Some(from));
        let answer = timeout(patience, asked).await.map_err(|_| WitnessError::Late)??;
        let RecallResponse { attempts, next_attempt_number, low_water_mark: below, still_open, .. } = answer;
        for attempt in attempts {
            found.push(attempt.try_into()?);
        }
        if next_attempt_number <= from.0 {
            return Ok((found, low_water_mark(below, still_open.as_ref())?));
        }
        from = AttemptNumber(next_attempt_number);
    }
}

fn still_known(attempts: Vec<KnownAttempt>, low_water_mark: LowWaterMark) -> StillKnown {
    let attempt = |known: KnownAttempt| ((known.attempt_number, known.tx), known.in_effect.into_iter().collect());
    StillKnown { low_water_mark, attempts: attempts.into_iter().map(attempt).collect() }
}

/// Returns once the engine has listed something on stable storage.
async fn list(engine: &Handle, command: impl FnOnce(oneshot::Sender<()>) -> Command) -> Result<(), WitnessError> {
    let (listed, done) = oneshot::channel();
    engine.tell(command(listed)).await.map_err(|_| WitnessError::EngineGone)?;
    done.await.map_err(|_| WitnessError::EngineGone)
}

/// Lists what a participant has lost of transactions, the open ones first, then the ended ones from the latest on. Returns how
/// many are listed, and whether there are more.
async fn list_lost(
    log: &Log,
    participant: &ParticipantName,
    known: &StillKnown,
    engine: &Handle,
) -> Result<(usize, bool), WitnessError> {
    let (found, of_open) = oneshot::channel();
    let (name, still) = (participant.clone(), known.clone());
    list(engine, |listed| Command::Lost { participant: name, known: still, listed, found }).await?;
    let mut count = of_open.await.map_err(|_| WitnessError::EngineGone)?;
    let mut before = None;
    loop {
        let LostParts { found: mut lost, next } = log.lost_at(participant, known, before.as_ref())?;
        let room = MAX_LISTED_PER_LOSS.saturating_sub(count);
        let more = lost.len() > room;
        lost.truncate(room);
        count += lost.len();
        if !lost.is_empty() {
            let participant = participant.clone();
            list(engine, |listed| Command::Damaged { participant, lost, listed }).await?;
        }
        match next {
            Some(next) if !more => before = Some(next),
            Some(_) | None => return Ok((count, more)),
        }
        // Others have their turn between two pages.
        tokio::task::yield_now().await;
    }
}

/// Lists what a participant has lost, if an operator has accepted a loss of it since it was seen last: what this coordinator
/// still has of transactions that committed there, and it does not know any more.
pub(crate) async fn note_loss(
    shared: &Shared,
    participant: &ParticipantName,
    address: &str,
    number: &WriteNumber,
    engine: &Handle,
    patience: Duration,
) -> Result<(), WitnessError> {
    let Some(before) = seen(&shared.log, participant) else { return Ok(()) };
    if !number.is_after_loss_of(&before) {
        return Ok(());
    }
    let (attempts, over) = attempts(shared, participant, address, patience).await?;
    let known = still_known(attempts, over);
    let log = Log::new(shared.log.clone());
    let (listed, more) = list_lost(&log, participant, &known, engine).await?;
    let losses = u32::try_from(log.losses()?.len()).unwrap_or(u32::MAX);
    let loss = record::Loss {
        at_us: shared.clock.now().0,
        who: String::new(),
        reason: "an operator accepted it at the participant".to_owned(),
        put_back: format!("it was put back: this coordinator had seen its {before}, and it goes on with {number}"),
        kept: Some((*number).into()),
        participant: participant.to_string(),
        listed: u32::try_from(listed).unwrap_or(u32::MAX),
        more,
    };
    tracing::error!(
        %participant,
        listed,
        more,
        "this participant was put back, and an operator has accepted that; what it is known to have lost is listed as damaged"
    );
    // So that it is not listed again: the record and the number go together.
    remember(&shared.log, participant, *number);
    let mut batch = Batch::default();
    Log::put_loss(&mut batch, losses, &loss);
    Ok(log.write_until_taken(batch).await?)
}
