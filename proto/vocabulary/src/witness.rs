//! The numbers of a log's writes as others have seen them, so that an older copy of it that was put back is noticed.
//!
//! The owner of a log counts its starts, draws a mark at each, and numbers its writes. It tells its peers the number of its
//! last stable write; they keep the highest that they have seen, and show it when a conversation begins. A number that
//! the log itself lacks is the sign that it was put back: its owner has said things that the log does not hold.
//!
//! An operator may accept that a log has lost what others have seen. That is counted, too: numbers from before the last
//! accepted loss are no sign any more.

use std::collections::BTreeMap;
use std::fmt;

/// The start of a log's owner in which a write was made. Later ones are greater; two with the same count and another mark
/// are of two copies that were both started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Start {
    /// The number of losses that an operator had accepted by then.
    pub losses: u32,
    /// The count of starts, from 1. A coordinator's epoch.
    pub count: u32,
    /// Drawn at random. 0: not known, as of a start before marks were drawn.
    pub mark: u64,
}

/// The number of a write to a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WriteNumber {
    /// The log, by the id that was drawn when it was new.
    pub log: [u8; 16],
    pub start: Start,
    /// The writes of that start up to this one, which is on stable storage with all before it.
    pub writes: u64,
}

/// The starts of a log's owner, and how far each of them came by what the log holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Starts {
    pub log: [u8; 16],
    pub now: Start,
    past: BTreeMap<(u32, u32), Past>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Past {
    mark: u64,
    writes: u64,
}

/// The lack of a log: what others have seen of it and it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lack {
    /// The name stands for another log now: the data is new, or somebody else's.
    OtherLog,
    /// A start that is later than all that the log knows of.
    LaterStart,
    /// The start was counted here as well, but it was not the same: two copies were started.
    OtherStart,
    /// The start is known, and wrote more than the log holds.
    Writes,
}

impl Start {
    fn place(&self) -> (u32, u32) {
        (self.losses, self.count)
    }

    /// Returns true if both have the same count, and are not the same start.
    pub fn is_rival_of(&self, other: &Start) -> bool {
        self.place() == other.place() && self.mark != other.mark && self.mark != 0 && other.mark != 0
    }
}

impl WriteNumber {
    /// Returns true if it was written before `other` by the same log, as far as counts tell.
    pub fn is_before(&self, other: &WriteNumber) -> bool {
        (self.start, self.writes) < (other.start, other.writes)
    }

    /// Returns true if it is to be remembered of its log in the place of what was `seen` before.
    pub fn replaces(&self, seen: Option<&WriteNumber>) -> bool {
        seen.is_none_or(|seen| seen.log != self.log || seen.is_before(self))
    }

    /// Returns true if its owner goes on after a loss that was accepted after `seen` was written.
    pub fn is_after_loss_of(&self, seen: &WriteNumber) -> bool {
        seen.log != self.log || seen.start.losses < self.start.losses
    }
}

impl Starts {
    /// Returns what is known of a log whose present start is `now`.
    pub fn new(log: [u8; 16], now: Start) -> Starts {
        Starts { log, now, past: BTreeMap::new() }
    }

    /// Adds an earlier start, with the number of writes of it that the log holds.
    pub fn add_past(&mut self, start: Start, writes: u64) {
        self.past.insert((start.losses, start.count), Past { mark: start.mark, writes });
    }

    /// Returns what the log lacks of what was `seen`, if anything. Starts that are too old to be kept are not missed, nor is
    /// what was lost before the last loss that an operator accepted.
    pub fn lack(&self, seen: &WriteNumber) -> Option<Lack> {
        if seen.start.losses < self.now.losses {
            return None;
        }
        if seen.log != self.log {
            return Some(Lack::OtherLog);
        }
        match seen.start.place().cmp(&self.now.place()) {
            std::cmp::Ordering::Greater => Some(Lack::LaterStart),
            std::cmp::Ordering::Equal => seen.start.is_rival_of(&self.now).then_some(Lack::OtherStart),
            std::cmp::Ordering::Less => {
                let past = self.past.get(&seen.start.place())?;
                if seen.start.is_rival_of(&Start { mark: past.mark, ..seen.start }) {
                    Some(Lack::OtherStart)
                } else {
                    (seen.writes > past.writes).then_some(Lack::Writes)
                }
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "start {} ({:016x})", self.count, self.mark)
    }
}

impl fmt::Display for WriteNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} of {}", self.writes, self.start)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lack::OtherLog => "it was written to another log of this name",
            Lack::LaterStart => "this log knows of no such start",
            Lack::OtherStart => "this log counted another start under that number, so two copies of it were started",
            Lack::Writes => "this log holds fewer writes of that start",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [u8; 16] = [7; 16];

    fn start(losses: u32, count: u32, mark: u64) -> Start {
        Start { losses, count, mark }
    }

    fn seen(start: Start, writes: u64) -> WriteNumber {
        WriteNumber { log: LOG, start, writes }
    }

    /// Returns the starts of a log: start 1 wrote 10, start 2 wrote 20, and it is start 3.
    fn starts() -> Starts {
        let mut starts = Starts::new(LOG, start(0, 3, 33));
        starts.add_past(start(0, 1, 11), 10);
        starts.add_past(start(0, 2, 22), 20);
        starts
    }

    #[test]
    fn what_the_log_holds_is_no_sign() {
        for (start, writes) in
            [(start(0, 1, 11), 10), (start(0, 2, 22), 0), (start(0, 2, 22), 20), (start(0, 3, 33), 9)]
        {
            assert_eq!(starts().lack(&seen(start, writes)), None);
        }
    }

    #[test]
    fn what_the_log_lacks_is_a_sign_also_of_an_earlier_start() {
        let lack = |start, writes| starts().lack(&seen(start, writes));
        assert_eq!(lack(start(0, 1, 11), 11), Some(Lack::Writes));
        assert_eq!(lack(start(0, 2, 22), 21), Some(Lack::Writes));
        assert_eq!(lack(start(0, 2, 23), 1), Some(Lack::OtherStart));
        assert_eq!(lack(start(0, 3, 34), 0), Some(Lack::OtherStart));
        assert_eq!(lack(start(0, 4, 44), 0), Some(Lack::LaterStart));
        assert_eq!(lack(start(1, 1, 11), 0), Some(Lack::LaterStart));
        assert_eq!(starts().lack(&WriteNumber { log: [8; 16], ..seen(start(0, 1, 11), 1) }), Some(Lack::OtherLog));
    }

    #[test]
    fn a_loss_that_was_accepted_is_no_sign_any_more_and_a_later_one_is() {
        let mut after = Starts::new(LOG, start(1, 4, 44));
        after.add_past(start(0, 3, 33), 5);
        assert_eq!(after.lack(&seen(start(0, 9, 99), 9)), None);
        assert_eq!(after.lack(&WriteNumber { log: [8; 16], ..seen(start(0, 9, 99), 9) }), None);
        assert_eq!(after.lack(&WriteNumber { log: [8; 16], ..seen(start(1, 1, 1), 1) }), Some(Lack::OtherLog));
        assert_eq!(after.lack(&seen(start(1, 5, 55), 0)), Some(Lack::LaterStart));
        assert_eq!(after.lack(&seen(start(2, 1, 1), 0)), Some(Lack::LaterStart));
    }

    #[test]
    fn the_number_of_another_log_or_of_a_later_loss_is_remembered_and_tells_of_a_loss() {
        let seen_before = seen(start(1, 4, 44), 9);
        let other = WriteNumber { log: [8; 16], ..seen(start(0, 1, 11), 1) };
        let later = seen(start(2, 5, 55), 0);
        for number in [other, later] {
            assert!(number.replaces(Some(&seen_before)) && number.is_after_loss_of(&seen_before));
        }
        let next = seen(start(1, 5, 55), 0);
        assert!(next.replaces(Some(&seen_before)) && !next.is_after_loss_of(&seen_before));
        assert!(!seen(start(1, 4, 44), 8).replaces(Some(&seen_before)) && other.replaces(None));
    }

    #[test]
    fn numbers_are_in_the_order_of_losses_starts_and_writes() {
        let all = [seen(start(0, 1, 99), 9), seen(start(0, 2, 1), 0), seen(start(0, 2, 1), 1), seen(start(1, 1, 0), 0)];
        assert!(all.windows(2).all(|pair| pair[0].is_before(&pair[1]) && !pair[1].is_before(&pair[0])));
    }
}
