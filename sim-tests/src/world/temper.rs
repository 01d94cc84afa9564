//! The way in which a participant's resource treats its callers at the moment, as faults have it.

use crate::plan::What;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Temper {
    pub(super) refuses_actions: bool,
    pub(super) refuses_compensations: bool,
    /// The time before anything of a prepare is done.
    pub(super) prepares_after: Duration,
    /// The work of its reactions is refused for good.
    pub(super) refuses_reactions: bool,
    /// The time before anything of a reaction is done.
    pub(super) reacts_after: Duration,
    /// Some answers are lost.
    pub(super) is_unclear: bool,
    /// True if who reads holds its locks no longer than until its vote.
    pub(super) forgets_readers: bool,
    /// Some connections to the database are lost.
    pub(super) cuts_sessions: bool,
    /// The HTTP service answers badly.
    pub(super) troubles_service: bool,
}

impl Temper {
    /// Returns whose temper a fault changes.
    pub(super) fn changed_by(what: &What) -> Option<u8> {
        match what {
            What::ActionsRefused { participant, .. }
            | What::CompensationsRefused { participant, .. }
            | What::SlowPrepares { participant, .. }
            | What::ReactionsRefused { participant, .. }
            | What::SlowReactions { participant, .. }
            | What::Unclear { participant, .. }
            | What::ReadersForgotten { participant, .. }
            | What::SessionsCut { participant, .. }
            | What::ServiceTroubled { participant, .. } => Some(*participant),
            What::Crash { .. }
            | What::Gone { .. }
            | What::Pause { .. }
            | What::Takeover { .. }
            | What::Partition { .. }
            | What::Clog { .. }
            | What::Tamper { .. }
            | What::LyingSyncs { .. }
            | What::SyncFails { .. }
            | What::RolledBack { .. }
            | What::BitFlip { .. }
            | What::DiskFull { .. }
            | What::ReadOnlyDisk { .. }
            | What::DiskAway { .. }
            | What::SlowDisk { .. }
            | What::Wiped { .. }
            | What::PutBack { .. }
            | What::Swapped { .. }
            | What::SlowReader { .. }
            | What::LateSource { .. }
            | What::UnknownSchema
            | What::VoteLost { .. }
            | What::Poisoned
            | What::Clock { .. }
            | What::OtherHand { .. }
            | What::Impostor { .. }
            | What::Resolve { .. }
            | What::Forget
            | What::ResolveStuck { .. }
            | What::EndSaga { .. }
            | What::ReleaseMarks { .. } => None,
        }
    }

    /// The fault begins or, with `false`, ends. Those of one kind do not add up: the first end ends them all.
    pub(super) fn change(&mut self, what: &What, begins: bool) {
        if let What::ActionsRefused { .. } = what {
            self.refuses_actions = begins;
        } else if let What::CompensationsRefused { .. } = what {
            self.refuses_compensations = begins;
        } else if let What::SlowPrepares { by_ms, .. } = what {
            self.prepares_after = if begins { Duration::from_millis(*by_ms) } else { Duration::ZERO };
        } else if let What::ReactionsRefused { .. } = what {
            self.refuses_reactions = begins;
        } else if let What::SlowReactions { by_ms, .. } = what {
            self.reacts_after = if begins { Duration::from_millis(*by_ms) } else { Duration::ZERO };
        } else if let What::Unclear { .. } = what {
            self.is_unclear = begins;
        } else if let What::ReadersForgotten { .. } = what {
            self.forgets_readers = begins;
        } else if let What::SessionsCut { .. } = what {
            self.cuts_sessions = begins;
        } else if let What::ServiceTroubled { .. } = what {
            self.troubles_service = begins;
        }
    }
}
