//! What an application has prepared by itself, in the resource, and no attempt has asked for yet. It is no branch here: its coordinator is asked
//! under [`AttemptNumber::NONE`] whether it holds the transaction open, and may have it prepared later.

use super::Participant;
use crate::input::Session;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, ToCoordinator, ToParticipant, TxId};

/// Whoever can say whether a transaction is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedAbout {
    /// No coordinator of this id was ever here, so nobody can have it prepared before it is looked at again.
    ByNobody,
    /// The coordinator is away. It may hold it open.
    Later,
    /// The coordinator, by this session and with this message.
    In(Session, ToCoordinator),
}

impl Participant {
    /// Returns whom to ask whether a transaction is open that has something prepared here, and is no branch.
    pub fn ask_about_unsubmitted(&self, coordinator: CoordinatorId, tx: TxId) -> AskedAbout {
        match self.coordinators.get(&coordinator) {
            None => AskedAbout::ByNobody,
            Some(known) => known.session.map_or(AskedAbout::Later, |session| {
                AskedAbout::In(session, ToCoordinator::Inquiry { tx, attempt_number: AttemptNumber::NONE })
            }),
        }
    }

    /// Returns the transaction of which this message, in the one session of its coordinator, says that nobody will have it prepared.
    pub fn nobody_submits(&self, session: Session, message: &ToParticipant) -> Option<(CoordinatorId, TxId)> {
        let ToParticipant::Abort { tx, attempt_number: AttemptNumber::NONE, .. } = message else { return None };
        let known = self.coordinators.iter().find(|(_, known)| known.session == Some(session));
        known.map(|(coordinator, _)| (*coordinator, tx.clone()))
    }
}
