//! The scenarios of auto: two-phase commit that goes on as a saga, or should not be tried at all.

use super::list::{CRASH, CRASH_AND_LOSS, LOSS, NONE, ask, insist, submit, then};
use super::sagas::{pivot, step};
use super::{Budget, Deadlines, RequestKind, SagaStep, Scenario};

impl Scenario {
    pub(super) fn autos() -> Vec<Scenario> {
        vec![
            Scenario::auto(),
            Scenario::auto_with_pivot(),
            Scenario::auto_decided(),
            Scenario::auto_and_saga(),
            Scenario::auto_unable(),
            Scenario::auto_spared(),
            Scenario::auto_probing(),
        ]
    }

    pub fn auto() -> Scenario {
        let steps = vec![step(0, "put x"), SagaStep { after: &[0], ..step(1, "put x") }];
        let requests = vec![ask("T1", RequestKind::Auto(steps))];
        Scenario::new("auto", "two-phase commit that goes on as a saga when nobody answers in time", 2, requests)
            .deadlines(Deadlines::OfTwoPhase)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn auto_with_pivot() -> Scenario {
        let steps = vec![step(0, "put x"), pivot(1, &[0])];
        let requests = vec![insist(ask("T1", RequestKind::Auto(steps)))];
        Scenario::new("auto-pivot", "the same with a pivot, and a client who insists", 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..CRASH_AND_LOSS })
    }

    pub fn auto_decided() -> Scenario {
        let steps = vec![step(0, "put x"), SagaStep { after: &[0], ..step(1, "put x") }];
        let about = "operators decide branches of an attempt that may go on as a saga";
        let budget = Budget { heuristics: 1, losses: 1, ..NONE };
        Scenario::new("auto-decided", about, 2, vec![ask("T1", RequestKind::Auto(steps))])
            .deadlines(Deadlines::OfTwoPhase)
            .explored_with(budget, Budget { crashes: 1, ..budget })
    }

    pub fn auto_and_saga() -> Scenario {
        let steps = || vec![step(0, "put x"), step(1, "put x")];
        let requests =
            vec![insist(ask("T1", RequestKind::Auto(steps()))), insist(ask("T1", RequestKind::Saga(steps())))];
        let about = "two clients submit the same, and after a crash it may go the other way";
        Scenario::new("auto-again", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn auto_unable() -> Scenario {
        let steps = vec![step(0, "put x"), step(1, "put x")];
        let about = "one of the participants cannot prepare, and a coordinator that starts again does not know";
        Scenario::new("auto-unable", about, 2, vec![insist(ask("T1", RequestKind::Auto(steps)))])
            .deadlines(Deadlines::OfTwoPhase)
            .that_cannot_prepare(&[1])
            .explored_with(CRASH_AND_LOSS, Budget { crashes: 2, ..CRASH_AND_LOSS })
    }

    pub fn auto_spared() -> Scenario {
        let both = vec![step(0, "put x"), pivot(1, &[0])];
        let requests =
            vec![ask("T1", RequestKind::Auto(both)), then(0, ask("T2", RequestKind::Auto(vec![step(1, "put x")])))];
        let about = "two-phase commit that nobody answers in time opens a breaker for the next transaction";
        Scenario::new("auto-spared", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .with_breakers()
            .explored_with(LOSS, CRASH_AND_LOSS)
    }

    pub fn auto_probing() -> Scenario {
        let alone = || RequestKind::Auto(vec![step(0, "put x")]);
        let opens = submit("T1", &[(0, "put x"), (1, "put y")]);
        let requests = vec![opens, then(0, ask("T2", alone())), then(0, ask("T3", alone()))];
        let about = "a breaker that opens, lets a probe through, and closes or opens again";
        Scenario::new("auto-probing", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .with_breakers()
            .explored_with(LOSS, Budget { losses: 2, ..NONE })
    }
}
