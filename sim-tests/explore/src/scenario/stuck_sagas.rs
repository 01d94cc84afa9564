//! The scenarios of sagas that get stuck, until an operator has a say.

use super::list::{CRASH, CRASH_AND_LOSS, ONE_OF_EACH, ask, insist};
use super::sagas::{last, pivot, step, twice, undone_by};
use super::{Budget, Deadlines, RequestKind, SagaStep, Scenario};
use undoubt_coordinator_core::StepResolution;

const ANY: &[StepResolution] = &[StepResolution::Retry, StepResolution::Skip, StepResolution::Done];
/// The resolutions but for a retry, which would be in vain.
const BUT_RETRY: &[StepResolution] = &[StepResolution::Skip, StepResolution::Done];

impl Scenario {
    pub(super) fn stuck_sagas() -> Vec<Scenario> {
        vec![
            Scenario::stuck_past_the_pivot(),
            Scenario::stuck_on_the_way_back(),
            Scenario::stuck_for_good(),
            Scenario::stuck_for_a_while(),
            Scenario::stuck_and_operated(),
        ]
    }

    pub fn stuck_past_the_pivot() -> Scenario {
        let steps = vec![pivot(0, &[]), last(1, "balk x", &[0]), last(0, "put x", &[1])];
        let about = "a step past the pivot is refused, until an operator has it tried again, skips it, or has done it";
        Scenario::new("stuck-ahead", about, 2, vec![ask("T1", RequestKind::Saga(steps))])
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(ANY)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, losses: 2, ..ONE_OF_EACH })
    }

    pub fn stuck_on_the_way_back() -> Scenario {
        let steps = vec![undone_by("balk x", step(0, "pend x")), SagaStep { after: &[0], ..step(1, "refuse x") }];
        let about = "a compensation is refused where there are semantic locks, until an operator has a say";
        Scenario::new("stuck-back", about, 2, vec![ask("T1", RequestKind::Saga(steps))])
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(ANY)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn stuck_for_good() -> Scenario {
        let steps = vec![undone_by("refuse x", step(0, "pend x")), undone_by("refuse x", step(1, "put x"))];
        let requests = vec![insist(ask("T1", RequestKind::Saga(steps))), ask("T1", RequestKind::Cancel)];
        let about = "two compensations are refused for good, and somebody cancels";
        Scenario::new("stuck-twice", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(BUT_RETRY)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn stuck_for_a_while() -> Scenario {
        let steps = vec![twice(undone_by("balk x", step(0, "pend x"))), step(1, "refuse x")];
        let about = "a compensation that is refused at first does later, without an operator";
        Scenario::new("stuck-not", about, 2, vec![ask("T1", RequestKind::Saga(steps))])
            .explored_with(CRASH_AND_LOSS, ONE_OF_EACH)
    }

    pub fn stuck_and_operated() -> Scenario {
        let steps = vec![undone_by("balk x", step(0, "pend x")), SagaStep { after: &[0], ..step(1, "refuse x") }];
        let about = "a stuck saga is resolved while its recovery is paused, or the coordinator is drained";
        let budget = Budget { operations: 1, ..CRASH };
        Scenario::new("stuck-ops", about, 2, vec![insist(ask("T1", RequestKind::Saga(steps)))])
            .deadlines(Deadlines::WhenStuck)
            .resolved_by(ANY)
            .explored_with(budget, Budget { operations: 2, crashes: 2, ..budget })
    }
}
