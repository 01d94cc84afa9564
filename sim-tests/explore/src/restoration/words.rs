//! The words in which a trace tells of folders.

use super::{Beside, Machine, Restoring};
use crate::scenario::Scenario;

impl Restoring {
    /// Its name among the faults, if it is one.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self {
            Restoring::PutBack { sign: true } => Some("put back, and shows it"),
            Restoring::PutBack { sign: false } => Some("put back"),
            Restoring::Empty => Some("emptied"),
            Restoring::Beside(Beside::Start { sign: true }) => Some("started beside, and shows it"),
            Restoring::Beside(Beside::Start { sign: false }) => Some("started beside"),
            Restoring::Copy
            | Restoring::Recall { .. }
            | Restoring::TimeIsOver
            | Restoring::SessionClosed { .. }
            | Restoring::AcceptLoss
            | Restoring::AcceptLossOf { .. }
            | Restoring::Beside(
                Beside::Recall { .. } | Beside::TimeIsOver | Beside::SessionClosed { .. } | Beside::Stop,
            ) => None,
        }
    }

    /// Returns who does what.
    pub(crate) fn tell(&self, scenario: &Scenario) -> (String, String) {
        let whose = match scenario.restored {
            Some(Machine::Participant(number)) => format!("p{number}"),
            Some(Machine::Coordinator | Machine::Copy) | None => "the coordinator".to_owned(),
        };
        let ends = |participant: &usize| (format!("p{participant}"), "sees that its session is over".to_owned());
        let (who, what) = match self {
            Restoring::Copy => ("SOMEBODY", format!("copies the folder of {whose}")),
            Restoring::PutBack { sign: true } => {
                ("SOMEBODY", format!("PUTS BACK the copy of the folder of {whose}, which shows it"))
            }
            Restoring::PutBack { sign: false } => ("SOMEBODY", format!("PUTS BACK the copy of the folder of {whose}")),
            Restoring::Empty => ("SOMEBODY", format!("EMPTIES the folder of {whose}")),
            Restoring::Recall { participant } => ("coordinator", format!("asks p{participant} what it has seen")),
            Restoring::TimeIsOver => ("time", "passes: the coordinator waits for no more answers".to_owned()),
            Restoring::SessionClosed { participant } => return ends(participant),
            Restoring::AcceptLoss => ("OPERATOR", "accepts what the coordinator has lost".to_owned()),
            Restoring::AcceptLossOf { participant } => ("OPERATOR", format!("accepts what p{participant} has lost")),
            Restoring::Beside(Beside::Start { sign: true }) => {
                ("SOMEBODY", "STARTS the copy beside the coordinator; its folder shows it".to_owned())
            }
            Restoring::Beside(Beside::Start { sign: false }) => {
                ("SOMEBODY", "STARTS the copy beside the coordinator".to_owned())
            }
            Restoring::Beside(Beside::Recall { participant }) => {
                ("copy", format!("asks p{participant} what it has seen"))
            }
            Restoring::Beside(Beside::TimeIsOver) => ("time", "passes: the copy waits for no more answers".to_owned()),
            Restoring::Beside(Beside::SessionClosed { participant }) => return ends(participant),
            Restoring::Beside(Beside::Stop) => ("OPERATOR", "stops the copy".to_owned()),
        };
        (who.to_owned(), what)
    }
}
