//! The scenarios of folders that are put back: of the coordinator, or of a participant.

use super::list::{NONE, insist, submit, then};
use super::{Budget, Scenario};
use crate::explore::restoring::Machine;

const RESTORE: Budget = Budget { restores: 1, ..NONE };

impl Scenario {
    pub(super) fn restored() -> Vec<Scenario> {
        vec![Scenario::log_put_back_alone()]
    }

    /// The client asks again, to hear how it ended.
    pub fn log_put_back_alone() -> Scenario {
        let requests = vec![insist(submit("T1", &[(0, "put x")])), then(0, insist(submit("T1", &[(0, "put x")])))];
        Scenario::new("back-lone", "the coordinator's folder is put back, of a single branch", 1, requests)
            .with_put_back(Machine::Coordinator)
            .explored_with(RESTORE, Budget { crashes: 1, ..RESTORE })
    }

    fn with_put_back(self, machine: Machine) -> Scenario {
        Scenario { restored: Some(machine), ..self }
    }
}
