//! What a branch and a step have in common: room, data read under locks, a forced write, and why there may be none.

use super::{KeyValue, schema};
use crate::resource::ResourceError;
use undoubt_participant_core::kv::{self, Evaluation, Operation, Tell};
use undoubt_platform::{Batch, Durability};
use undoubt_vocabulary::{Refusal, RefusalCode, Vote};

/// Why the work was not done.
pub(super) enum Declined {
    /// Nothing is left behind.
    Refused(Refusal),
    /// There is no answer at all. Where storage failed, the process stops with its locks held.
    Failed(ResourceError),
}

impl Declined {
    /// As the coordinator is told.
    pub(super) fn vote(self) -> Result<Vote, ResourceError> {
        match self {
            Declined::Refused(refusal) => Ok(Vote::Refused(refusal)),
            Declined::Failed(error) => Err(error),
        }
    }
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Declined::Refused(refusal)
    }
}

pub(super) fn evaluate(kv: &KeyValue, operations: &[Operation], tell: Tell) -> Result<Evaluation, Declined> {
    let mut failed = None;
    let evaluation = kv::evaluate(operations, tell, |key| {
        kv.store.get(schema::DATA, key).unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    match failed {
        None => Ok(evaluation?),
        Some(error) => Err(Declined::Failed(error.into())),
    }
}

/// A write that was not applied is a refusal: nobody is bound yet.
pub(super) fn force(kv: &KeyValue, batch: Batch) -> impl Future<Output = Result<(), Declined>> + use<> {
    let written = kv.write(batch, Durability::Forced);
    async move {
        written.await.map_err(|error| match error {
            ResourceError::Unavailable { cause } => unavailable(cause),
            ResourceError::Stopped { .. } => Declined::Failed(error),
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
