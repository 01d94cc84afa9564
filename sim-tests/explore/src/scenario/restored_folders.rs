//! The scenarios of folders that are put back: of the coordinator, or of a participant.

use super::list::{CRASH, CRASH_AND_LOSS, NONE, ask, insist, submit, then};
use super::sagas::step;
use super::{Budget, Deadlines, Request, RequestKind, SagaStep, Scenario};
use crate::restoration::Machine;

const RESTORE: Budget = Budget { restores: 1, ..NONE };
const RESTORE_AND_CRASH: Budget = Budget { restores: 1, ..CRASH };

impl Scenario {
    pub(super) fn restored() -> Vec<Scenario> {
        vec![
            Scenario::log_put_back_alone(),
            Scenario::log_put_back(),
            Scenario::log_put_back_later(),
            Scenario::copy_beside_alone(),
            Scenario::copy_beside(),
            Scenario::participant_put_back_alone(),
            Scenario::participant_put_back(),
            Scenario::participant_put_back_later(),
            Scenario::log_of_a_saga_put_back(),
            Scenario::log_of_a_late_saga_put_back(),
            Scenario::participant_of_a_saga_put_back(),
            Scenario::nothing_put_back(),
            Scenario::nothing_put_back_of_two(),
            Scenario::nothing_put_back_of_a_saga(),
        ]
    }

    /// The client asks again, to hear how it ended.
    pub fn log_put_back_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), then(0, insist(submit("T1", &[(0, "put x")])))];
        Scenario::new("back-lone", "the coordinator's folder is put back, of a single branch", 1, requests)
            .with_put_back(Machine::Coordinator)
            .explored_with(RESTORE_AND_CRASH, RESTORE_AND_CRASH)
    }

    pub fn log_put_back() -> Scenario {
        let branches = &[(0, "put x"), (1, "put x")];
        let requests = vec![insist(submit("T1", branches)), then(0, insist(submit("T1", branches)))];
        Scenario::new("back-two", "the coordinator's folder is put back, of two branches", 2, requests)
            .with_put_back(Machine::Coordinator)
            .explored_with(RESTORE, RESTORE)
    }

    /// Low-water marks pass what committed, so participants forget it.
    pub fn log_put_back_later() -> Scenario {
        let (one, other) = (&[(0, "put x")], &[(0, "put y")]);
        let requests =
            vec![insist(submit("T1", one)), then(0, insist(submit("T2", other))), then(1, insist(submit("T1", one)))];
        Scenario::new("back-later", "the coordinator's folder is put back, after another transaction", 1, requests)
            .with_put_back(Machine::Coordinator)
            .explored_with(RESTORE, RESTORE)
    }

    pub fn copy_beside_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), then(0, insist(submit("T1", &[(0, "put x")])))];
        Scenario::new("beside-lone", "a copy is started beside the coordinator, of a single branch", 1, requests)
            .with_put_back(Machine::Copy)
            .explored_with(RESTORE_AND_CRASH, RESTORE_AND_CRASH)
    }

    pub fn copy_beside() -> Scenario {
        let branches = &[(0, "put x"), (1, "put x")];
        let requests = vec![insist(submit("T1", branches)), then(0, insist(submit("T1", branches)))];
        Scenario::new("beside-two", "a copy is started beside the coordinator, of two branches", 2, requests)
            .with_put_back(Machine::Copy)
            .explored_with(RESTORE, RESTORE)
    }

    pub fn participant_put_back_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), then(0, insist(submit("T1", &[(0, "put x")])))];
        Scenario::new("lost-lone", "a participant's folder is put back, of a single branch", 1, requests)
            .with_put_back(Machine::Participant(0))
            .explored_with(RESTORE_AND_CRASH, RESTORE_AND_CRASH)
    }

    pub fn participant_put_back() -> Scenario {
        let branches = &[(0, "put x"), (1, "put x")];
        let requests = vec![insist(submit("T1", branches)), then(0, insist(submit("T1", branches)))];
        Scenario::new("lost-two", "a participant's folder is put back, of two branches", 2, requests)
            .with_put_back(Machine::Participant(0))
            .explored_with(RESTORE_AND_CRASH, RESTORE_AND_CRASH)
    }

    /// Low-water marks pass what committed.
    pub fn participant_put_back_later() -> Scenario {
        let (one, other) = (&[(0, "put x")], &[(0, "put y")]);
        let requests =
            vec![insist(submit("T1", one)), then(0, insist(submit("T2", other))), then(1, insist(submit("T1", one)))];
        Scenario::new("lost-later", "a participant's folder is put back, after another transaction", 1, requests)
            .with_put_back(Machine::Participant(0))
            .explored_with(RESTORE_AND_CRASH, RESTORE_AND_CRASH)
    }

    pub fn log_of_a_saga_put_back() -> Scenario {
        Scenario::new("back-saga", "the coordinator's folder is put back, of a saga", 2, one_saga())
            .with_put_back(Machine::Coordinator)
            .explored_with(RESTORE, RESTORE_AND_CRASH)
    }

    /// Returns the scenario of a saga that may compensate at any time.
    pub fn log_of_a_late_saga_put_back() -> Scenario {
        let about = "the coordinator's folder is put back, of a saga whose deadline may pass at any time";
        let late = Scenario::new("back-late", about, 2, one_saga()).with_put_back(Machine::Coordinator);
        Scenario { deadlines: Deadlines::Always, ..late }.explored_with(RESTORE, RESTORE)
    }

    pub fn participant_of_a_saga_put_back() -> Scenario {
        Scenario::new("lost-saga", "a participant's folder is put back, of a saga", 2, one_saga())
            .with_put_back(Machine::Participant(0))
            .explored_with(RESTORE_AND_CRASH, RESTORE_AND_CRASH)
    }

    /// A world of ordinary crashes: whoever crashes, or is away at a start, is never taken for one whose folder was put back.
    pub fn nothing_put_back() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), then(0, insist(submit("T1", &[(0, "put x")])))];
        let two = Budget { crashes: 2, ..CRASH_AND_LOSS };
        Scenario::new("nothing-back", "writes are numbered, and nobody's folder is put back", 1, requests)
            .with_put_back(Machine::Coordinator)
            .explored_with(CRASH_AND_LOSS, two)
    }

    pub fn nothing_put_back_of_two() -> Scenario {
        let branches = &[(0, "put x"), (1, "put x")];
        let requests = vec![insist(submit("T1", branches)), then(0, insist(submit("T1", branches)))];
        Scenario::new(
            "nothing-two",
            "writes of two branches are numbered, and nobody's folder is put back",
            2,
            requests,
        )
        .with_put_back(Machine::Coordinator)
        .explored_with(CRASH, CRASH_AND_LOSS)
    }

    pub fn nothing_put_back_of_a_saga() -> Scenario {
        let about = "writes of a saga are numbered, and nobody's folder is put back";
        Scenario::new("nothing-saga", about, 2, one_saga())
            .with_put_back(Machine::Coordinator)
            .explored_with(CRASH, CRASH_AND_LOSS)
    }

    /// Deadlines at any time are explored where there is a single branch.
    fn with_put_back(self, machine: Machine) -> Scenario {
        let deadlines = if self.participants == 1 { Deadlines::Always } else { Deadlines::WhenStuck };
        Scenario { restored: Some(machine), deadlines, ..self }
    }
}

/// Two steps, one after the other; and its client asks again.
fn one_saga() -> Vec<Request> {
    let steps = vec![step(0, "put x"), SagaStep { after: &[0], ..step(1, "put x") }];
    let saga = || insist(ask("T1", RequestKind::Saga(steps.clone())));
    vec![saga(), then(0, saga())]
}
