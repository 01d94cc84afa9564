//! Sagas that a log has as open, though they may have ended in what the log has lost.
//!
//! Whatever else was begun is safe: a decision to commit stays one, and all that is not decided is not in the log. A saga goes on
//! from its records, and might be turned back after a client has heard that it committed.

use crate::record::{Progress, SagaRecord, Unfinished, UnusableRecord};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{KnownAttempt, ParticipantName, StepIndex, Ticket, TxId};

/// What participants tell of sagas that the log has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GoneOn {
    /// Those who were asked. What is below its fence was over for a participant.
    fences: BTreeMap<ParticipantName, Ticket>,
    in_effect: BTreeSet<(TxId, Ticket, StepIndex)>,
}

impl GoneOn {
    /// Takes a participant's fence.
    pub fn asked(&mut self, participant: ParticipantName, fence: Ticket) {
        self.fences.insert(participant, fence);
    }

    /// Takes what a participant tells of an attempt.
    pub fn add(&mut self, attempt: &KnownAttempt) {
        let step = |step: &StepIndex| (attempt.tx.clone(), attempt.ticket, *step);
        self.in_effect.extend(attempt.in_effect.iter().map(step));
    }

    /// Returns the record by which this saga is held, if it may have ended.
    pub fn hold(&self, saga: SagaRecord) -> Option<UnusableRecord> {
        let cause = self.cause(&saga)?;
        Some(Unfinished::Saga(saga).unusable(cause))
    }

    fn cause(&self, saga: &SagaRecord) -> Option<String> {
        let is_past =
            |participant: &&ParticipantName| self.fences.get(*participant).is_some_and(|fence| saga.ticket < *fence);
        if let Some(participant) = saga.steps.iter().map(|step| &step.participant).find(is_past) {
            return Some(format!(
                "the log was put back, and had lost how this saga ended: for {participant} it was over; see to its steps"
            ));
        }
        let is_done = |index: usize, progress: &Progress| match progress {
            Progress::Done { .. } | Progress::Skipped => true,
            Progress::Pending | Progress::Undone => {
                let is_known = self.fences.contains_key(&saga.steps[index].participant);
                let key = u16::try_from(index).map(|step| (saga.tx.clone(), saga.ticket, StepIndex(step)));
                !is_known || key.is_ok_and(|key| self.in_effect.contains(&key))
            }
        };
        let is_complete = || saga.progress.iter().enumerate().all(|(index, progress)| is_done(index, progress));
        (saga.turned.is_none() && is_complete()).then(|| {
            "the log was put back, and every step of this saga is in effect as far as is known: clients may have heard that it \
             committed"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use undoubt_vocabulary::{AbortReason, KnownState, RetryPolicy, SagaStep, Timestamp};

    fn name(name: &str) -> ParticipantName {
        name.parse().unwrap()
    }

    /// A saga with a step at `a` that is done by the log, and one at `b` that is not.
    fn saga() -> SagaRecord {
        let step = |at: &str| SagaStep {
            name: name(at),
            participant: name(at),
            action: Bytes::new(),
            compensation: Some(Bytes::new()),
            after: Vec::new(),
            uses: Vec::new(),
            pivot: false,
            retry: RetryPolicy::default(),
        };
        SagaRecord {
            tx: "t".parse().unwrap(),
            ticket: Ticket(5),
            begun_at: Timestamp(1),
            digest: [1; 32],
            deadline: Timestamp(9),
            steps: vec![Arc::new(step("a")), Arc::new(step("b"))],
            turned: None,
            progress: vec![Progress::Done { result: Bytes::new(), pending: false }, Progress::Pending],
        }
    }

    fn told(fence: u64, in_effect: &[u16]) -> GoneOn {
        let mut gone_on = GoneOn::default();
        for participant in ["a", "b"] {
            gone_on.asked(name(participant), Ticket(fence));
        }
        gone_on.add(&KnownAttempt {
            ticket: Ticket(5),
            tx: "t".parse().unwrap(),
            state: KnownState::Steps,
            in_effect: in_effect.iter().map(|step| StepIndex(*step)).collect(),
        });
        gone_on
    }

    #[test]
    fn a_saga_that_was_not_complete_goes_on() {
        assert_eq!(told(5, &[]).hold(saga()), None);
        assert_eq!(told(5, &[0]).hold(saga()), None);
    }

    #[test]
    fn a_saga_whose_steps_are_all_in_effect_may_have_committed_and_is_held() {
        let held = told(5, &[1]).hold(saga()).unwrap();
        assert!(held.saga && held.decided.is_none() && held.digest == [1; 32], "{held:?}");
        let turned = SagaRecord { turned: Some(AbortReason::Cancelled), ..saga() };
        assert_eq!(told(5, &[1]).hold(turned), None, "it was turned before, and could not commit any more");
    }

    #[test]
    fn what_a_participant_that_was_not_asked_has_done_is_not_known() {
        let mut gone_on = GoneOn::default();
        gone_on.asked(name("a"), Ticket(0));
        assert!(gone_on.hold(saga()).is_some());
    }

    #[test]
    fn a_saga_that_was_over_for_a_participant_is_held_whichever_way_it_went() {
        for turned in [None, Some(AbortReason::Cancelled)] {
            let held = told(6, &[]).hold(SagaRecord { turned, ..saga() }).unwrap();
            assert!(held.cause.contains("for a it was over"), "{held:?}");
        }
    }
}
