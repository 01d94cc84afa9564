//! The losses of a folder that was put back, and those who could tell.

use crate::numbers::Numbers;
use std::collections::BTreeSet;
use undoubt_participant_core::Seen;
use undoubt_vocabulary::{Start, WriteNumber};

/// The writes that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lost {
    /// The folder showed that it was put back.
    sign: bool,
    /// True if every participant has said that it has seen nothing that the log lacks.
    pub(super) is_settled: bool,
    /// The last that there still is.
    kept: Option<WriteNumber>,
    /// The starts that came after it.
    starts: Vec<Start>,
    /// There were none, and no later writes.
    nothing: bool,
    /// The participants that were asked since the last start.
    asked: BTreeSet<usize>,
    /// True if somebody has shown one of them, to this start or to an earlier one.
    shown: bool,
}

impl Lost {
    pub(super) fn between(kept: Option<&Numbers>, last: Option<&Numbers>, sign: bool) -> Lost {
        let begun = last.iter().flat_map(|last| &last.begun);
        let starts: Vec<Start> =
            begun.filter(|start| kept.is_none_or(|kept| !kept.begun.contains(start))).copied().collect();
        let nothing = starts.is_empty() && kept.map(|kept| kept.writes) == last.map(|last| last.writes);
        let kept = kept.map(|kept| WriteNumber { writes: kept.writes, ..kept.number() });
        Lost { sign, is_settled: false, kept, starts, nothing, asked: BTreeSet::new(), shown: false }
    }

    /// Returns the same, by what the original has written meanwhile.
    pub(super) fn grown(&self, kept: Option<&Numbers>, last: Option<&Numbers>) -> Lost {
        let Lost { is_settled, asked, shown, .. } = self.clone();
        Lost { is_settled, asked, shown, ..Lost::between(kept, last, self.sign) }
    }

    pub(super) fn asked(&mut self, participant: usize, seen: &Seen) {
        self.asked.insert(participant);
        self.shown |= self.has(seen);
    }

    pub(crate) fn is_shown(&mut self) {
        self.shown = true;
    }

    pub(super) fn ask_anew(&mut self) {
        self.asked.clear();
    }

    /// Returns true if somebody who has seen this has seen what is gone.
    pub(crate) fn has(&self, seen: &Seen) -> bool {
        seen.met.is_some_and(|met| self.starts.contains(&met))
            || seen.number.as_ref().is_some_and(|seen| self.has_write(seen))
    }

    pub(crate) fn has_write(&self, number: &WriteNumber) -> bool {
        let more =
            |kept: WriteNumber| number.log == kept.log && number.start == kept.start && number.writes > kept.writes;
        self.starts.contains(&number.start) || self.kept.is_some_and(more)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// The one excuse for harm, where somebody serves: nobody who was reached before has seen, in memory or on stable storage,
    /// anything of what is gone. If the folder shows nothing (a block device's snapshot), those who were reached are the
    /// participants that answered in time, or a participant's coordinator. If it shows that it was put back, they are all
    /// participants; and a participant is not excused.
    pub(super) fn is_unnoticeable(&self) -> bool {
        !self.nothing && !self.shown && (!self.sign || self.is_settled)
    }

    /// Returns true if every participant has been asked, and none has seen anything of what is gone.
    pub(super) fn is_cleared(&self, participants: usize) -> bool {
        self.sign && !self.shown && self.asked.len() == participants
    }

    /// Returns why a coordinator over this log must not serve before an operator has accepted the loss.
    pub(crate) fn forbids_to_serve(&self, participants: usize) -> Option<&'static str> {
        if self.shown {
            return Some("a participant has shown what its log lacks");
        }
        let asks = self.sign && !self.is_settled && !self.is_cleared(participants);
        asks.then_some("its folder was copied, and not every participant has been asked")
    }

    /// Returns why a participant with this log must not serve before an operator has accepted the loss.
    pub(crate) fn forbids_sessions(&self) -> Option<&'static str> {
        match (self.sign, self.shown) {
            (true, _) => Some("its folder was copied"),
            (false, true) => Some("it has been shown what its log lacks"),
            (false, false) => None,
        }
    }
}
