//! What participants have shown of their logs, and what it means when one of them has lost something.

use crate::connect::ConnectError;
use crate::engine::{Command, Handle};
use crate::session::Shared;
use bytes::Bytes;
use prost::Message as _;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use undoubt_platform::{Batch, Durability, NumberedStore, Store as _, StoreError};
use undoubt_proto::v1::{LogNumber, RecallRequest, RecallResponse};
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{ParticipantName, Ticket, TxId, WriteNumber};

use crate::log::{Log, LogError};

/// Transactions that are listed as damaged for one loss of a participant, at most: the latest. Of the rest it is said that
/// there were more.
const MAX_LISTED_PER_LOSS: usize = 10_000;

/// Why it could not be found out, or not be stored, what a participant has lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("it did not say in time what it still knows")]
    Late,
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
    let is_new = seen(log, participant).is_none_or(|seen| seen.log != number.log || seen.is_before(&number));
    if is_new {
        log.remember(&key(participant), Bytes::from(LogNumber::from(number).encode_to_vec()));
    }
}

/// Asks a participant what it knows of this coordinator.
pub(crate) fn request(shared: &Shared, participant: &ParticipantName, from: Option<Ticket>) -> RecallRequest {
    RecallRequest {
        coordinator_id: shared.id.0.to_vec().into(),
        coordinator_name: shared.config.name.clone(),
        participant_name: participant.to_string(),
        seen: seen(&shared.log, participant).map(Into::into),
        attempts: from.is_some(),
        from_ticket: from.unwrap_or_default().0,
    }
}

/// Returns all that a participant keeps of attempts, and its fence.
pub(crate) async fn attempts(
    shared: &Shared,
    participant: &ParticipantName,
    address: &str,
    patience: Duration,
) -> Result<(Vec<v1::KnownAttempt>, Ticket), WitnessError> {
    let (mut found, mut from) = (Vec::new(), Ticket::default());
    loop {
        let asked = shared.connect.recall(address, request(shared, participant, Some(from)));
        let answer = timeout(patience, asked).await.map_err(|_| WitnessError::Late)??;
        let RecallResponse { attempts, next_ticket, fence, .. } = answer;
        found.extend(attempts);
        if next_ticket <= from.0 {
            return Ok((found, Ticket(fence)));
        }
        from = Ticket(next_ticket);
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
    if before.log == number.log && before.start.losses >= number.start.losses {
        return Ok(());
    }
    let (attempts, fence) = attempts(shared, participant, address, patience).await?;
    let known: BTreeSet<(Ticket, TxId)> = attempts
        .into_iter()
        .filter_map(|attempt| Some((Ticket(attempt.ticket), TxId::new(attempt.tx).ok()?)))
        .collect();
    let log = Log::new(shared.log.clone());
    let knows = |ticket: Ticket, tx: &TxId| known.contains(&(ticket, tx.clone()));
    let (lost, more) = log.lost_at(participant, fence, knows, MAX_LISTED_PER_LOSS)?;
    let listed = lost.len();
    let (reply, done) = oneshot::channel();
    let command = Command::Lost { participant: participant.clone(), txs: lost, reply };
    engine.tell(command).await.map_err(|_| WitnessError::EngineGone)?;
    done.await.map_err(|_| WitnessError::EngineGone)?;
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
    Ok(shared.log.write(batch, Durability::Forced).await?)
}
