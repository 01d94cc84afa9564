//! The scenarios of sagas that an operator ends, whatever they wait for.

use super::list::{CRASH, CRASH_AND_LOSS, NONE, ask, insist};
use super::sagas::{last, pivot, step};
use super::{Budget, Deadlines, RequestKind, SagaStep, Scenario};
use undoubt_coordinator_core::StepResolution;

const EITHER: &[StepResolution] = &[StepResolution::Skip, StepResolution::Done];

impl Scenario {
    pub(super) fn sagas_ended_by_an_operator() -> Vec<Scenario> {
        vec![
            Scenario::ended_ahead(),
            Scenario::ended_on_the_way_back(),
            Scenario::forgotten_saga(),
            Scenario::forgotten_on_the_way_back(),
            Scenario::forgotten_and_operated(),
        ]
    }

    pub fn ended_ahead() -> Scenario {
        let about = "an operator skips steps that are not stuck, or calls them done: before, at and after the pivot";
        Scenario::new("ended-ahead", about, 2, vec![ask("T1", RequestKind::Saga(ahead()))])
            .deadlines(Deadlines::WhenStuck)
            .interfered_with(EITHER)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn ended_on_the_way_back() -> Scenario {
        let about = "an operator passes over steps of a saga that compensates, or is about to";
        Scenario::new("ended-back", about, 2, vec![ask("T1", RequestKind::Saga(back()))])
            .deadlines(Deadlines::WhenStuck)
            .interfered_with(EITHER)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn forgotten_saga() -> Scenario {
        let requests = vec![insist(ask("T1", RequestKind::Saga(ahead()))), ask("T1", RequestKind::Forget)];
        let about = "an operator forgets a saga, before, at or after its pivot";
        Scenario::new("forget-ahead", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { duplicates: 1, ..CRASH_AND_LOSS })
    }

    pub fn forgotten_on_the_way_back() -> Scenario {
        let requests = vec![insist(ask("T1", RequestKind::Saga(back()))), ask("T1", RequestKind::Forget)];
        let about = "an operator forgets a saga that compensates, or is about to";
        Scenario::new("forget-back", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { duplicates: 1, ..CRASH_AND_LOSS })
    }

    pub fn forgotten_and_operated() -> Scenario {
        let requests = vec![ask("T1", RequestKind::Saga(back())), ask("T1", RequestKind::Forget)];
        let about = "an operator forgets a saga while its recovery is paused, or the coordinator is drained";
        Scenario::new("forget-ops", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(Budget { operations: 1, ..CRASH }, Budget { operations: 2, ..CRASH })
    }

    /// One whose semantic locks an operator releases, beside one that minds them.
    pub fn released() -> Scenario {
        let marking = vec![step(0, "pend x"), SagaStep { after: &[0], ..step(0, "put y") }];
        let heeding = vec![pivot(0, &[]), last(0, "heed x", &[0])];
        let requests = vec![ask("T1", RequestKind::Saga(marking)), ask("T2", RequestKind::Saga(heeding))];
        let about = "an operator releases the semantic locks of a saga at any time";
        let scenario =
            Scenario::new("marks-released", about, 1, requests).deadlines(Deadlines::Never).explored_with(NONE, CRASH);
        Scenario { releases_marks: true, ..scenario }
    }
}

fn ahead() -> Vec<SagaStep> {
    vec![step(0, "pend x"), pivot(1, &[0]), last(0, "put x", &[1])]
}

fn back() -> Vec<SagaStep> {
    vec![step(0, "pend x"), SagaStep { after: &[0], ..step(1, "refuse x") }]
}
