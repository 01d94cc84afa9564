//! The low-water mark: for each participant the lowest attempt number that is still open between the two (R11).
//!
//! Attempt numbers are given out in rising order, so once every attempt below one is over, any prepare below it that
//! still arrives is late, whatever delayed it. This needs no clock and no guess how long a message may live.

use std::collections::{BTreeMap, BTreeSet};
use undoubt_vocabulary::{AttemptNumber, ParticipantName};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LowWaterMarks {
    open: BTreeMap<ParticipantName, BTreeSet<AttemptNumber>>,
}

impl LowWaterMarks {
    pub(crate) fn open(&mut self, participant: &ParticipantName, attempt_number: AttemptNumber) {
        match self.open.get_mut(participant) {
            Some(attempt_numbers) => {
                attempt_numbers.insert(attempt_number);
            }
            None => {
                self.open.insert(participant.clone(), BTreeSet::from([attempt_number]));
            }
        }
    }

    pub(crate) fn close(&mut self, participant: &ParticipantName, attempt_number: AttemptNumber) {
        if let Some(attempt_numbers) = self.open.get_mut(participant) {
            attempt_numbers.remove(&attempt_number);
        }
    }

    /// Returns the lowest open attempt number, or `next` (the attempt number that will be given out next) if none is
    /// open.
    pub(crate) fn of(&self, participant: &ParticipantName, next: AttemptNumber) -> AttemptNumber {
        self.open.get(participant).and_then(BTreeSet::first).copied().unwrap_or(next)
    }

    /// Returns the participants that something is open with.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ParticipantName> {
        self.open.iter().filter(|(_, attempt_numbers)| !attempt_numbers.is_empty()).map(|(name, _)| name)
    }

    pub(crate) fn count(&self, participant: &ParticipantName) -> usize {
        self.open.get(participant).map_or(0, BTreeSet::len)
    }
}
