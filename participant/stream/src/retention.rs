//! Which events of a log may be dropped.
//!
//! ```text
//! 1 ············ trimmed ──────────────── mark ─────── mark ─────── stable
//!   dropped             kept: some reader has not      kept: younger than `keep`
//!                       taken them, or they are
//!                       younger than `keep`
//! ```
//!
//! Events are dropped up to a *mark*, which the log writes after every so many positions with what it was there: when the event at the mark
//! was published, and how many bytes there were up to it. What a registered reader has not taken is kept, until the log would have more bytes
//! than it may: then young events go before any that a reader waits for, and after them the readers that are furthest behind are dropped,
//! which they are told when they come back.

use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_vocabulary::{Position, ReaderName, Timestamp};

/// The readers that one log registers.
pub const MAX_READERS: usize = 1_024;

/// What the log was at a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mark {
    pub position: Position,
    pub published_at: Timestamp,
    /// The bytes of all events up to there, those that were dropped among them.
    pub bytes: u64,
}

/// Somebody who needs what is behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The position up to which it needs nothing any more.
    pub after: Position,
    /// The time at which it was last heard of.
    pub heard_at: Timestamp,
    /// The time at which events were dropped that it has not taken; `None`: events are kept for it.
    pub dropped_at: Option<Timestamp>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keep {
    /// The age below which events are kept though all readers have taken them.
    pub keep: Duration,
    /// The bytes of all events that are kept.
    pub max_bytes: u64,
}

/// What is to be dropped, all in one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trim {
    /// The last event that goes.
    pub through: Mark,
    /// Readers that have not taken all of it.
    pub dropped: Vec<(ReaderName, Reader)>,
}

/// Why a reader is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    #[error("events behind {after} were dropped, and the first that is kept is {first}")]
    Trimmed { after: Position, first: Position },
    #[error(
        "{MAX_READERS} readers are registered at this log, as many as may be; forget those that nobody runs any more"
    )]
    TooMany,
}

/// The readers and marks of one log, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    readers: BTreeMap<ReaderName, Reader>,
    /// Marks above `trimmed`.
    marks: BTreeMap<Position, Mark>,
    trimmed: Mark,
}

impl Retention {
    /// Returns what was found in the store after a start. `trimmed`: the mark up to which events were dropped.
    pub fn found(
        readers: impl IntoIterator<Item = (ReaderName, Reader)>,
        marks: impl IntoIterator<Item = Mark>,
        trimmed: Mark,
    ) -> Retention {
        let marks = marks.into_iter().map(|mark| (mark.position, mark)).collect();
        Retention { readers: readers.into_iter().collect(), marks, trimmed }
    }

    /// Returns the mark up to which events were dropped.
    pub fn trimmed(&self) -> Mark {
        self.trimmed
    }

    /// Returns the readers, by their names.
    pub fn readers(&self) -> &BTreeMap<ReaderName, Reader> {
        &self.readers
    }

    /// Notes a mark, which is above all others.
    pub fn note_mark(&mut self, mark: Mark) {
        self.marks.insert(mark.position, mark);
    }

    /// Returns what is to be stored of a reader that registers or has come further. One whose own store was put back needs more again, and
    /// gets it if it is there.
    ///
    /// # Errors
    /// If something that it needs was dropped, or there is no room for a reader more. `anew`: it begins again, and minds no loss.
    pub fn keep(&self, name: &ReaderName, after: Position, anew: bool, now: Timestamp) -> Result<Reader, NotKept> {
        let trimmed = self.trimmed.position;
        let begins = after == Position::START;
        // Whoever has taken nothing begins with what there is.
        let after = if begins { trimmed } else { after };
        if after < trimmed {
            return Err(NotKept::Trimmed { after, first: trimmed.next() });
        }
        match self.readers.get(name) {
            Some(Reader { dropped_at: Some(_), after: had, .. }) if begins && !anew && *had < trimmed => {
                return Err(NotKept::Trimmed { after: *had, first: trimmed.next() });
            }
            None if self.readers.len() >= MAX_READERS => return Err(NotKept::TooMany),
            Some(_) | None => {}
        }
        Ok(Reader { after, heard_at: now, dropped_at: None })
    }

    /// Notes a reader that is stored.
    pub fn note_reader(&mut self, name: ReaderName, reader: Reader) {
        self.readers.insert(name, reader);
    }

    /// Notes that a reader is not stored any more. Returns false if there was none.
    pub fn forget(&mut self, name: &ReaderName) -> bool {
        self.readers.remove(name).is_some()
    }

    /// Returns what may be dropped, or has to be; `None`: nothing. `bytes`: those of all events so far, those that were dropped among
    /// them; `stable`: the last position that no crash takes back.
    pub fn due(&self, keep: Keep, now: Timestamp, bytes: u64, stable: Position) -> Option<Trim> {
        let taken = self.kept_for().map(|(_, reader)| reader.after).min().unwrap_or(stable).min(stable);
        let old = now.minus(keep.keep);
        let is_old = |mark: &&Mark| mark.published_at <= old;
        let last_old = self.marks.range(..=taken).map(|(_, mark)| mark).take_while(is_old).last();
        // The first mark behind which there is no more than may be.
        let fits = |mark: &&Mark| bytes.saturating_sub(mark.bytes) <= keep.max_bytes;
        let overflows = bytes.saturating_sub(self.trimmed.bytes) > keep.max_bytes;
        let stable_marks = || self.marks.range(..=stable).map(|(_, mark)| mark);
        let has_to = || stable_marks().find(fits).or_else(|| stable_marks().next_back());
        let through = match (last_old, overflows.then(has_to).flatten()) {
            (Some(may), Some(has_to)) => {
                if may.position > has_to.position {
                    may
                } else {
                    has_to
                }
            }
            (Some(mark), None) | (None, Some(mark)) => mark,
            (None, None) => return None,
        };
        let behind = self.kept_for().filter(|(_, reader)| reader.after < through.position);
        let dropped = behind.map(|(name, reader)| (name.clone(), Reader { dropped_at: Some(now), ..*reader }));
        Some(Trim { through: *through, dropped: dropped.collect() })
    }

    /// Notes that events were dropped.
    pub fn note_trim(&mut self, trim: Trim) {
        let Trim { through, dropped } = trim;
        self.trimmed = through;
        self.marks = self.marks.split_off(&through.position.next());
        self.readers.extend(dropped);
    }

    /// Returns the bytes of the events that are kept, about.
    pub fn kept_bytes(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.trimmed.bytes)
    }

    /// Returns the readers for which events are kept.
    pub fn kept_for(&self) -> impl Iterator<Item = (&ReaderName, &Reader)> {
        self.readers.iter().filter(|(_, reader)| reader.dropped_at.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with a mark after every 10 positions, each of which has a byte and takes a second.
    fn log(positions: u64) -> Retention {
        let mark = |tens| mark(tens * 10);
        Retention::found([], (1..=positions / 10).map(mark), Mark::default())
    }

    fn mark(position: u64) -> Mark {
        Mark { position: Position(position), published_at: second(position), bytes: position }
    }

    fn second(second: u64) -> Timestamp {
        Timestamp(second * 1_000_000)
    }

    fn keep(seconds: u64, max_bytes: u64) -> Keep {
        Keep { keep: Duration::from_secs(seconds), max_bytes }
    }

    fn name(text: &str) -> ReaderName {
        text.parse().unwrap()
    }

    fn with(mut log: Retention, readers: &[(&str, u64)]) -> Retention {
        for (text, after) in readers {
            let reader = log.keep(&name(text), Position(*after), false, second(0)).unwrap();
            log.note_reader(name(text), reader);
        }
        log
    }

    fn trims(log: &Retention, keep: Keep, at: u64, written: u64) -> Option<(u64, usize)> {
        let trim = log.due(keep, second(at), written, Position(written))?;
        Some((trim.through.position.0, trim.dropped.len()))
    }

    #[test]
    fn what_is_old_and_was_taken_by_all_is_dropped_up_to_a_mark() {
        let log = with(log(100), &[("a", 57), ("warehouse/reserve", 95)]);
        assert_eq!(trims(&log, keep(20, 1_000), 100, 100), Some((50, 0)), "a reader needs the rest");
        assert_eq!(trims(&log, keep(65, 1_000), 100, 100), Some((30, 0)), "the rest is young");
        assert_eq!(trims(&log, keep(200, 1_000), 100, 100), None);
    }

    #[test]
    fn without_readers_age_alone_decides_and_nothing_goes_that_is_not_stable() {
        assert_eq!(trims(&log(100), keep(20, 1_000), 100, 100), Some((80, 0)));
        assert_eq!(
            log(100).due(keep(0, 1_000), second(100), 100, Position(35)).unwrap().through.position,
            Position(30)
        );
    }

    #[test]
    fn a_full_log_drops_young_events_first_and_readers_only_if_it_must() {
        let log = with(log(100), &[("slow", 20), ("fast", 90)]);
        assert_eq!(trims(&log, keep(1_000, 90), 100, 100), Some((10, 0)), "all readers have taken it");
        let trim = log.due(keep(1_000, 60), second(100), 100, Position(100)).unwrap();
        let slow = Reader { after: Position(20), heard_at: second(0), dropped_at: Some(second(100)) };
        assert_eq!(trim, Trim { through: mark(40), dropped: vec![(name("slow"), slow)] });
    }

    #[test]
    fn a_dropped_reader_holds_nothing_and_is_told() {
        let mut log = with(log(100), &[("slow", 20), ("fast", 90)]);
        log.note_trim(log.due(keep(1_000, 60), second(100), 100, Position(100)).unwrap());
        assert_eq!((log.trimmed(), log.kept_bytes(100)), (mark(40), 60));
        assert_eq!(trims(&log, keep(0, 60), 100, 100), Some((90, 0)));
        let trimmed = NotKept::Trimmed { after: Position(20), first: Position(41) };
        assert_eq!(log.keep(&name("slow"), Position(20), false, second(101)), Err(trimmed));
        assert_eq!(log.keep(&name("new"), Position::START, false, second(101)).unwrap().after, Position(40));
        let again = log.keep(&name("slow"), Position(41), false, second(101)).unwrap();
        assert_eq!(again.dropped_at, None);
    }

    #[test]
    fn a_new_reader_begins_with_what_there_is() {
        let mut log = log(100);
        log.note_trim(log.due(keep(50, 1_000), second(100), 100, Position(100)).unwrap());
        let begun = log.keep(&name("new"), Position::START, false, second(100)).unwrap();
        assert_eq!(begun.after, Position(50));
    }

    #[test]
    fn there_is_a_bound_of_readers_and_it_keeps_none_of_those_that_are_there() {
        let mut log = log(10);
        for number in 0..MAX_READERS {
            let name = name(&number.to_string());
            let reader = log.keep(&name, Position(5), false, second(0)).unwrap();
            log.note_reader(name, reader);
        }
        assert_eq!(log.keep(&name("another"), Position(5), false, second(0)), Err(NotKept::TooMany));
        assert!(log.keep(&name("7"), Position(6), false, second(0)).is_ok());
        assert!(log.forget(&name("8")) && !log.forget(&name("8")));
        assert!(log.keep(&name("another"), Position(5), false, second(0)).is_ok());
    }
}
