//! Steps that are carried out as the coordinator chooses.

use crate::error::InvalidSubmission;
use crate::saga::{Saga, definition};
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;

/// Steps of which the coordinator chooses how they are carried out: by two-phase commit of their actions where every
/// participant can prepare and answers, else as the saga. [`Saga::auto`] makes it.
#[derive(Clone, Debug)]
pub struct Auto {
    pub(crate) saga: Saga,
    two_phase_only: bool,
    value: u64,
}

impl Auto {
    pub(crate) fn new(saga: Saga) -> Self {
        Auto { saga, two_phase_only: false, value: 0 }
    }

    /// Leaves no choice: two-phase commit, or not at all.
    #[must_use]
    pub fn two_phase_only(self) -> Self {
        Auto { two_phase_only: true, ..self }
    }

    /// Sets what it is worth. The coordinator may be configured to let transactions of a high value go through two-phase
    /// commit only.
    #[must_use]
    pub fn value(self, value: u64) -> Self {
        Auto { value, ..self }
    }

    /// Returns the id under which it is submitted.
    pub fn id(&self) -> &TxId {
        self.saga.id()
    }

    /// Returns the saga as which it may be carried out.
    pub fn saga(&self) -> &Saga {
        &self.saga
    }

    pub(crate) fn request(&self) -> Result<v1::SubmitRequest, InvalidSubmission> {
        Ok(v1::SubmitRequest {
            steps: definition::to_wire(self.saga.checked_steps()?, false)?,
            two_phase_only: self.two_phase_only,
            value: self.value,
            ..self.saga.terms.request(v1::Mode::Auto)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Step;
    use undoubt_work::Work;

    #[test]
    fn steps_that_cannot_be_undone_are_left_to_the_coordinator_and_none_at_all_are_refused() {
        let saga = Saga::new().step(Step::new("pay", "a", Work::raw("w")));
        assert!(saga.request().is_err());
        let request = saga.auto().two_phase_only().value(7).request().unwrap();
        assert_eq!((request.steps.len(), request.two_phase_only, request.value), (1, true, 7));
        assert_eq!(Saga::new().auto().request(), Err(InvalidSubmission::NoSteps));
    }
}
