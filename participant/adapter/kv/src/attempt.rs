//! The common parts of a branch and a step: room, data read under locks, a forced write, and why there may be none.

use super::{KeyValue, schema};
use bytes::Bytes;
use undoubt_kv_evaluation::{self as evaluation, Evaluation, Tell};
use undoubt_participant::resource::ResourceError;
use undoubt_platform::Batch;
use undoubt_proto::record::StoredEvent;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{EventId, Refusal, RefusalCode, Vote};
use undoubt_work::kv::Operation;

/// The reason why the work was not done.
pub(super) enum Declined {
    /// The work was refused. Nothing is left behind.
    Refused(Refusal),
    /// The work read more than there is room for now. Nothing is left behind.
    NoRoom,
    /// There is no answer at all. Where storage failed, the process stops with its locks held.
    Failed(ResourceError),
}

impl Declined {
    /// Returns the vote that the coordinator is told.
    pub(super) fn vote(self) -> Result<Vote, ResourceError> {
        match self {
            Declined::Refused(refusal) => Ok(Vote::Refused(refusal)),
            Declined::NoRoom => Err(ResourceError::NoRoom),
            Declined::Failed(error) => Err(error),
        }
    }
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Declined::Refused(refusal)
    }
}

/// Reads no more than `most_bytes` of values.
pub(super) fn evaluate(
    kv: &KeyValue,
    operations: &[Operation],
    tell: Tell,
    most_bytes: usize,
) -> Result<Evaluation, Declined> {
    let mut declined = None;
    let mut read_bytes = 0;
    let evaluation = evaluation::evaluate(operations, tell, |key| {
        if declined.is_some() {
            return None;
        }
        match kv.store.get(schema::DATA, key) {
            Ok(value) => {
                read_bytes += value.as_ref().map_or(0, Bytes::len);
                if read_bytes > most_bytes {
                    declined = Some(Declined::NoRoom);
                }
                value
            }
            Err(error) => {
                declined = Some(Declined::Failed(error.into()));
                None
            }
        }
    });
    match declined {
        None => Ok(evaluation?),
        Some(declined) => Err(declined),
    }
}

/// Returns the most bytes of values that are read now for a result; past the limit of a result its own check refuses.
pub(super) fn most_read(kv: &KeyValue) -> usize {
    let largest = kv.room().largest();
    if largest < MAX_RESULT_BYTES { largest } else { usize::MAX }
}

/// Forces a write, and returns the events that it publishes; if it was not applied, that is a refusal: nobody is bound yet.
pub(super) fn force(
    kv: &KeyValue,
    batch: Batch,
    events: Vec<StoredEvent>,
) -> impl Future<Output = Result<Vec<EventId>, Declined>> + use<> {
    let written = kv.publish_in_turn(batch, events);
    async move {
        written.await.map_err(|error| match error {
            ResourceError::Unavailable { cause } => unavailable(cause),
            ResourceError::NoRoom
            | ResourceError::Unclear { .. }
            | ResourceError::Foreign { .. }
            | ResourceError::Stopped { .. }
            | ResourceError::Fenced { .. } => Declined::Failed(error),
        })
    }
}

pub(super) fn refuse_without_room(kv: &KeyValue) -> Result<(), Declined> {
    match kv.lack_of_room() {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(unavailable(why)),
        Err(error) => Err(Declined::Failed(error.into())),
    }
}

fn unavailable(detail: String) -> Declined {
    Refusal::new(RefusalCode::Unavailable, detail).into()
}
