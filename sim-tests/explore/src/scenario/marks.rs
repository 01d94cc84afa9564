//! The scenarios of two sagas that meet at semantic locks.

use super::list::{CRASH, CRASH_AND_LOSS, NONE, ONE_OF_EACH, ask};
use super::sagas::{last, pivot, step, twice, undone_by};
use super::{Deadlines, Request, RequestKind, SagaStep, Scenario};
use undoubt_coordinator_core::StepResolution;

impl Scenario {
    pub(super) fn sagas_that_meet() -> Vec<Scenario> {
        vec![
            Scenario::crossing_sagas(),
            Scenario::heeding_saga(),
            Scenario::behind_a_stuck_saga(),
            Scenario::marks_past_the_pivot(),
            Scenario::released(),
        ]
    }

    pub fn crossing_sagas() -> Scenario {
        let there = |first, second| {
            let then = |step| SagaStep { after: &[0], ..step };
            RequestKind::Saga(vec![step(first, "pend x"), then(twice(step(second, "pend x")))])
        };
        let about = "two sagas want the same semantic locks, each the other's first";
        Scenario::new("marks-cross", about, 2, vec![ask("T1", there(0, 1)), ask("T2", there(1, 0))])
            .deadlines(Deadlines::Never)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn heeding_saga() -> Scenario {
        let marking = vec![step(0, "pend x"), SagaStep { after: &[0], ..step(1, "refuse x") }];
        let heeding = vec![pivot(1, &[]), last(0, "heed x", &[0])];
        let about = "a saga past its pivot waits for the semantic lock of one that compensates";
        Scenario::new("marks-heed", about, 2, saga_and_saga(marking, heeding))
            .deadlines(Deadlines::Never)
            .explored_with(CRASH_AND_LOSS, ONE_OF_EACH)
    }

    pub fn behind_a_stuck_saga() -> Scenario {
        let marking = vec![undone_by("refuse x", step(0, "pend x")), SagaStep { after: &[0], ..step(0, "refuse y") }];
        let heeding = vec![pivot(0, &[]), last(0, "heed x", &[0])];
        let about = "a saga past its pivot waits for the semantic lock of one that is stuck, until an operator helps";
        Scenario::new("marks-stuck", about, 1, saga_and_saga(marking, heeding))
            .deadlines(Deadlines::Never)
            .resolved_by(&[StepResolution::Skip, StepResolution::Done])
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    /// Returns the scenario of semantic locks past a pivot. Without the operator it does not end.
    pub fn marks_past_the_pivot() -> Scenario {
        let saga = |own, other| vec![step(own, "pend x"), pivot(own, &[0]), last(other, "heed x", &[1])];
        let about =
            "each of two sagas past their pivots waits for the other's semantic lock, until an operator ends one";
        Scenario::new("marks-late", about, 2, saga_and_saga(saga(0, 1), saga(1, 0)))
            .deadlines(Deadlines::Never)
            .interfered_with(&[StepResolution::Skip])
            .explored_with(NONE, NONE)
    }
}

fn saga_and_saga(one: Vec<SagaStep>, other: Vec<SagaStep>) -> Vec<Request> {
    vec![ask("T1", RequestKind::Saga(one)), ask("T2", RequestKind::Saga(other))]
}
