//! The scenarios of transactions that are held: a record of theirs is refused for good, or cannot be carried out after a
//! restart. Nobody presumes anything about them, the others go on, and an operator ends them.

use super::list::{CRASH, LOSS, NONE, TWO_CRASHES, ask, insist, submit};
use super::sagas::{pivot, step};
use super::{Budget, Deadlines, RequestKind, SagaStep, Scenario};

const REFUSAL: Budget = Budget { refusals: 1, ..NONE };
const SPOILT: Budget = Budget { spoils: 1, ..CRASH };

impl Scenario {
    pub(super) fn held() -> Vec<Scenario> {
        vec![
            Scenario::refused_commit(),
            Scenario::beside_a_refused_commit(),
            Scenario::refused_alone(),
            Scenario::refused_saga(),
            Scenario::refused_auto(),
            Scenario::refused_heuristic(),
            Scenario::spoiled_commit(),
            Scenario::spoiled_alone(),
            Scenario::spoiled_saga(),
        ]
    }

    pub fn refused_commit() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")]))];
        let budget = Budget { refusals: 1, ..CRASH };
        Scenario::new("refused", "the store refuses a record of a two-phase commit", 2, requests)
            .explored_with(budget, Budget { refusals: 2, losses: 1, ..budget })
    }

    /// One transaction is held, and another waits for its locks or has nothing to do with it.
    pub fn beside_a_refused_commit() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")]), submit("T2", &[(0, "put x"), (1, "get y")])];
        let about = "the store refuses a record, and another transaction meets what is held";
        Scenario::new("refused-met", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .only_participants_crash()
            .explored_with(REFUSAL, Budget { crashes: 1, ..REFUSAL })
    }

    pub fn refused_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), insist(submit("T2", &[(0, "get x")]))];
        let about = "the store refuses a record of one of two single branches, of which one only reads";
        let budget = Budget { refusals: 1, ..CRASH };
        Scenario::new("refused-lone", about, 1, requests)
            .explored_with(budget, Budget { refusals: 2, losses: 1, ..budget })
    }

    pub fn refused_saga() -> Scenario {
        let steps = vec![step(0, "pend x"), SagaStep { after: &[0], ..step(1, "put x") }];
        let requests = vec![insist(ask("T1", RequestKind::Saga(steps)))];
        let budget = Budget { refusals: 2, ..CRASH };
        Scenario::new("refused-saga", "the store refuses records of a saga with semantic locks", 2, requests)
            .explored_with(budget, Budget { refusals: 2, crashes: 2, losses: 1, ..budget })
    }

    pub fn refused_auto() -> Scenario {
        let steps = vec![step(0, "put x"), pivot(1, &[0])];
        let requests = vec![insist(ask("T1", RequestKind::Auto(steps)))];
        let about = "the store refuses a record of two-phase commit, or of the saga that goes on in its place";
        let budget = Budget { refusals: 1, ..LOSS };
        Scenario::new("refused-auto", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(budget, Budget { crashes: 1, ..budget })
    }

    pub fn refused_heuristic() -> Scenario {
        let requests = vec![submit("T1", &[(0, "put x"), (1, "put x")])];
        let about = "operators decide branches alone, and the store refuses to note it";
        let budget = Budget { heuristics: 2, ..REFUSAL };
        Scenario::new("refused-note", about, 2, requests).explored_with(budget, Budget { crashes: 1, ..budget })
    }

    pub fn spoiled_commit() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x"), (1, "put x")])), insist(submit("T2", &[(0, "put y")]))];
        let about = "a record of two-phase commit that cannot be carried out after a restart, beside another";
        Scenario::new("spoilt", about, 2, requests)
            .deadlines(Deadlines::WhenStuck)
            .explored_with(SPOILT, Budget { losses: 1, ..SPOILT })
    }

    pub fn spoiled_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")]))];
        let budget = Budget { losses: 1, ..SPOILT };
        Scenario::new("spoilt-lone", "a delegation that cannot be carried out after a restart", 1, requests)
            .explored_with(budget, Budget { crashes: 2, duplicates: 1, ..budget })
    }

    pub fn spoiled_saga() -> Scenario {
        let steps = vec![step(0, "pend x"), SagaStep { after: &[0], ..step(1, "put x") }];
        let requests = vec![insist(ask("T1", RequestKind::Saga(steps)))];
        let budget = Budget { losses: 1, ..SPOILT };
        Scenario::new("spoilt-saga", "a saga that cannot be carried out after a restart", 2, requests)
            .explored_with(budget, Budget { spoils: 1, losses: 1, ..TWO_CRASHES })
    }
}
