//! The scenarios of sagas that are alone.

use super::list::{CRASH, CRASH_AND_LOSS, ONE_OF_EACH, TWO_CRASHES, ask, insist, submit};
use super::{Budget, Deadlines, RequestKind, SagaStep, Scenario};

impl Scenario {
    pub(super) fn sagas() -> Vec<Scenario> {
        vec![
            Scenario::saga(),
            Scenario::side_by_side(),
            Scenario::pivot(),
            Scenario::refused_step(),
            Scenario::cancelled_saga(),
            Scenario::saga_submitted_twice(),
            Scenario::operated_saga(),
            Scenario::saga_over_sessions(),
            Scenario::saga_among_locks(),
        ]
    }

    pub fn saga() -> Scenario {
        let steps = vec![step(0, "put x"), SagaStep { after: &[0], uses: &[0], ..step(1, "put x") }];
        Scenario::new("saga", "a saga of two steps, one after the other", 2, vec![ask("T1", RequestKind::Saga(steps))])
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn side_by_side() -> Scenario {
        let steps = vec![twice(step(0, "pend x")), twice(step(1, "pend x"))];
        let about = "a saga of two steps side by side, with semantic locks";
        Scenario::new("saga-pair", about, 2, vec![ask("T1", RequestKind::Saga(steps))])
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn pivot() -> Scenario {
        let requests = vec![ask("T1", RequestKind::Saga(with_pivot()))];
        Scenario::new("saga-pivot", "a step that can be undone, the pivot, and one that must go on", 2, requests)
            .explored_with(Budget { crashes: 2, ..ONE_OF_EACH }, Budget { crashes: 2, losses: 2, ..ONE_OF_EACH })
    }

    pub fn refused_step() -> Scenario {
        let steps = vec![step(0, "pend x"), step(1, "refuse x")];
        let requests = vec![ask("T1", RequestKind::Saga(steps))];
        Scenario::new("saga-refused", "a step that is refused for good, beside one that is done", 2, requests)
            .explored_with(ONE_OF_EACH, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn cancelled_saga() -> Scenario {
        let steps = vec![step(0, "put x"), pivot(1, &[0])];
        let requests = vec![ask("T1", RequestKind::Saga(steps)), ask("T1", RequestKind::Cancel)];
        Scenario::new("saga-cancel", "a saga with a pivot that somebody cancels", 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { crashes: 2, ..ONE_OF_EACH }, Budget { crashes: 2, losses: 2, ..ONE_OF_EACH })
    }

    pub fn saga_submitted_twice() -> Scenario {
        let saga = || insist(ask("T1", RequestKind::Saga(vec![step(0, "put x"), step(1, "pend x")])));
        Scenario::new("saga-twice", "the same saga, submitted by two clients who both insist", 2, vec![saga(), saga()])
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..ONE_OF_EACH })
    }

    pub fn operated_saga() -> Scenario {
        let steps = vec![step(0, "put x"), step(1, "pend x")];
        let requests = vec![insist(ask("T1", RequestKind::Saga(steps)))];
        let about = "an operator pauses the recovery of a saga, has it start paused, drains";
        Scenario::new("saga-ops", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { operations: 1, ..CRASH }, Budget { operations: 2, ..TWO_CRASHES })
    }

    pub fn saga_over_sessions() -> Scenario {
        let steps = vec![step(0, "put x"), pivot(0, &[0])];
        let requests = vec![insist(ask("T1", RequestKind::Saga(steps)))];
        let about = "both steps at one participant, and sessions that begin step by step and break at any of them";
        let budget = Budget { disconnections: 1, ..CRASH };
        Scenario::new("saga-session", about, 1, requests)
            .step_by_step()
            .explored_with(budget, Budget { crashes: 2, losses: 1, ..budget })
    }

    pub fn saga_among_locks() -> Scenario {
        let steps = vec![pivot(0, &[]), last(1, "put x", &[0])];
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")]), ask("T2", RequestKind::Saga(steps))];
        let about = "a saga that must go on where an older transaction holds the locks, until an operator helps";
        Scenario::new("saga-locks", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(CRASH, CRASH_AND_LOSS)
    }
}

pub(super) fn step(participant: usize, action: &'static str) -> SagaStep {
    let (after, uses) = (&[][..], &[][..]);
    SagaStep { participant, action, compensation: Some("put x"), after, uses, pivot: false, max_attempts: 1 }
}

pub(super) fn twice(step: SagaStep) -> SagaStep {
    SagaStep { max_attempts: 2, ..step }
}

pub(super) fn pivot(participant: usize, after: &'static [u16]) -> SagaStep {
    SagaStep { compensation: None, after, pivot: true, ..step(participant, "put x") }
}

/// A step that must go on.
pub(super) fn last(participant: usize, action: &'static str, after: &'static [u16]) -> SagaStep {
    SagaStep { action, pivot: false, ..pivot(participant, after) }
}

/// A step that takes this to undo it.
pub(super) fn undone_by(compensation: &'static str, step: SagaStep) -> SagaStep {
    SagaStep { compensation: Some(compensation), ..step }
}

fn with_pivot() -> Vec<SagaStep> {
    vec![step(0, "put x"), pivot(1, &[0]), last(0, "put x", &[1])]
}
