//! A participant whose writes are numbered: what it is shown of its own log, and what it tells of others'.

use super::{ParticipantHost, Running};
use crate::mutant::Mutant;
use crate::storage::COORDINATOR;
use undoubt_coordinator_core::standing::RecallAnswer;
use undoubt_participant_core::{Input, Operator, Proof, Recall, Recalled, Session};
use undoubt_vocabulary::{AttemptNumber, KnownAttempt, Timestamp, WriteNumber};

impl ParticipantHost {
    /// Returns its answer to a coordinator that asks, while it is up.
    pub(crate) fn recalled(&self, mutant: Option<Mutant>) -> Option<RecallAnswer> {
        let recall = Recall { coordinator: COORDINATOR, proof: Proof::default(), name: String::new(), shown: None };
        let Recalled { seen, epoch, connected, other, put_back, .. } = self.process.as_ref()?.core.recalled(&recall);
        let seen = seen.number.filter(|_| mutant != Some(Mutant::SeenUntold));
        let connected = connected && mutant != Some(Mutant::ConnectedUntold);
        Some(RecallAnswer { seen, epoch, connected, other, was_put_back: put_back.is_some() })
    }

    /// Returns the coordinator's attempts that it still knows, while it is up.
    pub(crate) fn known(&self) -> Vec<KnownAttempt> {
        let process = self.process.iter();
        process
            .flat_map(|process| process.core.attempts(COORDINATOR, AttemptNumber::default(), usize::MAX - 1).0)
            .collect()
    }

    pub(crate) fn is_put_back(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.core.put_back().is_some())
    }
}

impl Running<'_> {
    pub(super) fn recall(&mut self, shown: Option<WriteNumber>) -> Result<(), String> {
        let (shown, proof) = (self.looked_at(shown), Proof::default());
        self.handle_input(Input::Recall(Recall { coordinator: COORDINATOR, proof, name: String::new(), shown }))
    }

    /// Returns what the core gets of what it is shown.
    pub(super) fn looked_at(&self, shown: Option<WriteNumber>) -> Option<WriteNumber> {
        shown.filter(|_| self.manner.mutant != Some(Mutant::ShownUnread))
    }

    pub(super) fn session_closed(&mut self) -> Result<(), String> {
        let Some(session) = self.process.session.take() else { return Ok(()) };
        self.handle_input(Input::SessionClosed { session: Session(session) })
    }

    pub(super) fn accept_loss(&mut self) -> Result<(), String> {
        let (who, reason, operator) = ("operator".to_owned(), "there is no newer folder".to_owned(), Operator(0));
        self.handle_input(Input::AcceptLoss { at: Timestamp(0), who, reason, operator })
    }
}
