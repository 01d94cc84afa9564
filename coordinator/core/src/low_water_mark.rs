//! The low-water mark: for each participant the attempts that are over between the two (R11).
//!
//! Attempt numbers are given out in rising order, so once every attempt below one is over, any prepare below it that
//! still arrives is late, whatever delayed it. This needs no clock and no guess how long a message may live.
//!
//! An open saga may wait for its client for days. Were the mark to wait with it, its participants would keep all that came after it. So the
//! mark passes the attempt of an open saga once it is old, and says that it is still open. For young ones it waits: most end soon, and then
//! nobody had to hear of them. What it has passed stays passed until it is over, whatever becomes of the saga.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use undoubt_vocabulary::limits::MAX_STILL_OPEN;
use undoubt_vocabulary::{AttemptNumber, LowWaterMark, ParticipantName};

/// The time for which a low-water mark waits for an attempt that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hold {
    ToItsEnd,
    /// Until it is old: it is an open saga's.
    WhileYoung,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LowWaterMarks {
    /// An attempt is old once as many were given out after it.
    old_after_attempts: u64,
    /// The first attempt number that has not been given out yet, as far as is known here.
    next: AttemptNumber,
    open: BTreeMap<ParticipantName, OpenAttempts>,
}

/// The attempts that are open with one participant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct OpenAttempts {
    /// Those that the mark waits for.
    holding: BTreeMap<AttemptNumber, Hold>,
    /// Those that it has passed, in rising order.
    passed: Arc<[AttemptNumber]>,
    /// True if the participant, when it was met last, kept nothing below a mark.
    waits_for_all: bool,
}

impl LowWaterMarks {
    pub(crate) fn new(old_after_attempts: u64) -> LowWaterMarks {
        LowWaterMarks { old_after_attempts, next: AttemptNumber::default(), open: BTreeMap::new() }
    }

    /// Opens an attempt, unless it is open already.
    pub(crate) fn open(&mut self, participant: &ParticipantName, attempt_number: AttemptNumber, hold: Hold) {
        self.next = self.next.max(attempt_number.next());
        let open = match self.open.get_mut(participant) {
            Some(open) => open,
            None => self.open.entry(participant.clone()).or_default(),
        };
        if open.passed.binary_search(&attempt_number).is_err() {
            open.holding.entry(attempt_number).or_insert(hold);
            open.pass_what_is_old(self.next, self.old_after_attempts);
        }
    }

    pub(crate) fn close(&mut self, participant: &ParticipantName, attempt_number: AttemptNumber) {
        let Some(open) = self.open.get_mut(participant) else { return };
        if open.holding.remove(&attempt_number).is_none() && open.passed.binary_search(&attempt_number).is_ok() {
            open.passed = open.passed.iter().copied().filter(|passed| *passed != attempt_number).collect();
        }
        open.pass_what_is_old(self.next, self.old_after_attempts);
    }

    /// Takes whether a participant, which is connected now, keeps what is still open. For one that does not, the mark waits.
    pub(crate) fn meet(&mut self, participant: &ParticipantName, keeps_still_open: bool) {
        let open = self.open.entry(participant.clone()).or_default();
        open.waits_for_all = !keeps_still_open;
        if !keeps_still_open {
            open.holding.extend(open.passed.iter().map(|attempt| (*attempt, Hold::WhileYoung)));
            open.passed = Arc::default();
        }
        open.pass_what_is_old(self.next, self.old_after_attempts);
    }

    /// Takes the attempt number that will be given out next. After a start, all that came from the log is old.
    pub(crate) fn begin(&mut self, next: AttemptNumber) {
        self.next = next;
        self.open.values_mut().for_each(|open| open.pass_what_is_old(next, self.old_after_attempts));
    }

    /// Returns what is over with a participant. `next`: the attempt number that will be given out next, below which all is if
    /// nothing is open.
    pub(crate) fn of(&self, participant: &ParticipantName, next: AttemptNumber) -> LowWaterMark {
        let Some(open) = self.open.get(participant) else { return next.into() };
        let below = open.holding.first_key_value().map_or(next, |(first, _)| *first);
        LowWaterMark::sharing(below, &open.passed)
    }

    /// Returns the participants that something is open with.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ParticipantName> {
        self.open.iter().filter(|(_, open)| open.count() > 0).map(|(name, _)| name)
    }

    pub(crate) fn count(&self, participant: &ParticipantName) -> usize {
        self.open.get(participant).map_or(0, OpenAttempts::count)
    }
}

impl OpenAttempts {
    fn count(&self) -> usize {
        self.holding.len() + self.passed.len()
    }

    /// Passes the lowest attempts, as far as they are old and as long as there is room for them.
    fn pass_what_is_old(&mut self, next: AttemptNumber, old_after_attempts: u64) {
        if self.waits_for_all {
            return;
        }
        let is_old = |attempt: &AttemptNumber| attempt.0.saturating_add(old_after_attempts) < next.0;
        let lowest = self.holding.iter().take_while(|(attempt, hold)| **hold == Hold::WhileYoung && is_old(attempt));
        let room = MAX_STILL_OPEN - self.passed.len();
        let old: BTreeSet<AttemptNumber> = lowest.take(room).map(|(attempt, _)| *attempt).collect();
        if old.is_empty() {
            return;
        }
        for attempt in &old {
            self.holding.remove(attempt);
        }
        let all: BTreeSet<AttemptNumber> = self.passed.iter().copied().chain(old).collect();
        self.passed = all.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u64 = 3;

    fn bank() -> ParticipantName {
        "bank".parse().expect("a valid name")
    }

    fn marks() -> LowWaterMarks {
        let mut marks = LowWaterMarks::new(OLD);
        marks.meet(&bank(), true);
        marks
    }

    fn of(marks: &LowWaterMarks) -> LowWaterMark {
        marks.of(&bank(), marks.next)
    }

    fn mark(below: u64, still_open: impl IntoIterator<Item = u64>) -> LowWaterMark {
        LowWaterMark::new(AttemptNumber(below), still_open.into_iter().map(AttemptNumber))
    }

    #[test]
    fn it_waits_for_an_open_saga_that_is_young_and_passes_it_once_it_is_old() {
        let mut marks = marks();
        marks.open(&bank(), AttemptNumber(1), Hold::WhileYoung);
        for number in 2..4 {
            marks.open(&bank(), AttemptNumber(number), Hold::ToItsEnd);
            marks.close(&bank(), AttemptNumber(number));
            assert_eq!(of(&marks), mark(1, []), "after attempt {number}");
        }
        marks.open(&bank(), AttemptNumber(4), Hold::ToItsEnd);
        assert_eq!(of(&marks), mark(4, [1]));
        marks.open(&bank(), AttemptNumber(1), Hold::WhileYoung);
        assert_eq!(of(&marks), mark(4, [1]), "another step of it joins");
        marks.close(&bank(), AttemptNumber(1));
        assert_eq!(of(&marks), mark(4, []));
        assert_eq!(marks.count(&bank()), 1);
    }

    #[test]
    fn it_waits_for_anything_else_to_its_end() {
        let mut marks = marks();
        marks.open(&bank(), AttemptNumber(1), Hold::ToItsEnd);
        marks.open(&bank(), AttemptNumber(2), Hold::WhileYoung);
        marks.open(&bank(), AttemptNumber(100), Hold::ToItsEnd);
        assert_eq!(of(&marks), mark(1, []));
        marks.close(&bank(), AttemptNumber(1));
        assert_eq!(of(&marks), mark(100, [2]));
    }

    #[test]
    fn it_passes_no_more_than_may_be_told_the_oldest_first() {
        let mut marks = marks();
        let many = MAX_STILL_OPEN as u64;
        for number in 1..=many + 2 {
            marks.open(&bank(), AttemptNumber(number), Hold::WhileYoung);
        }
        marks.open(&bank(), AttemptNumber(many + 100), Hold::ToItsEnd);
        assert_eq!(of(&marks), mark(many + 1, 1..=many));
        marks.close(&bank(), AttemptNumber(7));
        assert_eq!(of(&marks), mark(many + 2, (1..=many + 1).filter(|number| *number != 7)));
        assert_eq!(marks.count(&bank()), MAX_STILL_OPEN + 2);
    }

    #[test]
    fn whoever_keeps_nothing_below_it_is_told_what_waits_for_all() {
        let mut marks = marks();
        marks.open(&bank(), AttemptNumber(1), Hold::WhileYoung);
        marks.open(&bank(), AttemptNumber(9), Hold::ToItsEnd);
        assert_eq!(of(&marks), mark(9, [1]));
        marks.meet(&bank(), false);
        assert_eq!(of(&marks), mark(1, []));
        marks.meet(&bank(), true);
        assert_eq!(of(&marks), mark(9, [1]));
    }

    #[test]
    fn after_a_start_all_that_came_from_the_log_is_old() {
        let mut marks = LowWaterMarks::new(OLD);
        marks.open(&bank(), AttemptNumber(1), Hold::WhileYoung);
        let next = AttemptNumber::first_of(undoubt_vocabulary::Epoch(2));
        marks.begin(next);
        marks.meet(&bank(), true);
        assert_eq!(marks.of(&bank(), next), LowWaterMark::new(next, [AttemptNumber(1)]));
    }
}
