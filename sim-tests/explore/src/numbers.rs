//! The numbers of a log: its starts, and how far they came.
//!
//! They are kept as the store of coordinators and participants keeps them: a start is on stable storage before anything else is done, and
//! each write carries its number, so that a crash leaves the numbers of what it leaves.

use crate::mutant::Mutant;
use undoubt_vocabulary::{Start, Starts, WriteNumber};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Numbers {
    pub(crate) starts: Starts,
    /// The starts, for the checks only.
    pub(crate) begun: Vec<Start>,
    /// The number of writes of the last start.
    pub(crate) writes: u64,
    /// The number of those that were forced, or came before one that was.
    pub(crate) stable: u64,
    /// The reason for which the log is believed to be an older copy.
    pub(crate) put_back: Option<String>,
}

impl Numbers {
    /// Returns those of a log that nobody has started yet.
    pub(crate) fn new(log: [u8; 16]) -> Numbers {
        Numbers { starts: Starts::new(log, Start::default()), begun: Vec::new(), writes: 0, stable: 0, put_back: None }
    }

    pub(crate) fn begin(&mut self, mark: u64) {
        let Start { losses, count, .. } = self.starts.now;
        self.begin_as(Start { losses, count: count + 1, mark });
    }

    /// Begins another start after a loss that was accepted, above all that was shown.
    pub(crate) fn accept_loss(&mut self, above: Start, mark: u64, mutant: Option<Mutant>) {
        let Start { losses, count, .. } = self.starts.now;
        let losses = if mutant == Some(Mutant::LossUncounted) { losses } else { losses.max(above.losses) + 1 };
        self.begin_as(Start { losses, count: count.max(above.count) + 1, mark });
        self.put_back = None;
    }

    fn begin_as(&mut self, start: Start) {
        if self.starts.now.count > 0 {
            self.starts.add_past(self.starts.now, self.writes);
        }
        self.starts.now = start;
        self.begun.push(start);
        (self.writes, self.stable) = (0, 0);
    }

    pub(crate) fn write(&mut self, forced: bool) {
        self.writes += 1;
        if forced {
            self.stable = self.writes;
        }
    }

    /// The number of the last write that is known to be on stable storage.
    pub(crate) fn number(&self) -> WriteNumber {
        WriteNumber { log: self.starts.log, start: self.starts.now, writes: self.stable }
    }
}
