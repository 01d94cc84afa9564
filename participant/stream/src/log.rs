//! The positions of a participant's log.
//!
//! They are allotted at the moment at which the write is queued that makes the work take effect, so they are dense and in the order in
//! which work took effect, and what survives a crash is a prefix of them. Until a write is stable nobody may read its events: a power
//! failure could take them back, and other events would come to have their positions.

use std::collections::BTreeMap;
use undoubt_vocabulary::{Partition, Position};

/// A part of a log with an order of its own: a topic, by its number among those of the participant, and a partition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    pub topic: u16,
    pub partition: Partition,
}

/// The place of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub position: Position,
    /// The position of the event before it in its lane.
    pub previous: Position,
}

/// The positions that were allotted to the events of one write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allotted {
    /// One for each event, in rising order.
    pub places: Vec<Place>,
    lanes: Vec<Lane>,
}

impl Allotted {
    /// Returns the last position; `None` if there are no events.
    pub fn last(&self) -> Option<Position> {
        self.places.last().map(|place| place.position)
    }
}

/// The positions of a log: which comes next, and up to which one it is stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Positions {
    last: Position,
    stable: Position,
    /// The last position of each lane that has any.
    tails: BTreeMap<Lane, Position>,
}

impl Positions {
    /// Returns the positions of a log that was found after a start, whose last event is `last`. All of it is stable.
    pub fn found(last: Position, tails: BTreeMap<Lane, Position>) -> Positions {
        Positions { last, stable: last, tails }
    }

    /// Returns the last position that was allotted.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Returns the last position that may be read.
    pub fn stable(&self) -> Position {
        self.stable
    }

    /// Returns the last position of each lane that has any.
    pub fn tails(&self) -> &BTreeMap<Lane, Position> {
        &self.tails
    }

    /// Allots the next positions to events in these lanes, in their order. The write that holds them is queued before anything else is
    /// allotted.
    pub fn allot(&mut self, lanes: impl IntoIterator<Item = Lane>) -> Allotted {
        let lanes: Vec<Lane> = lanes.into_iter().collect();
        let place = |lane: &Lane| {
            self.last = self.last.next();
            let previous = self.tails.insert(*lane, self.last).unwrap_or(Position::START);
            Place { position: self.last, previous }
        };
        let places = lanes.iter().map(place).collect();
        Allotted { places, lanes }
    }

    /// Takes back what was allotted last, of a write that was refused at once.
    ///
    /// # Panics
    /// If anything was allotted after it: its positions would be missing in the log for good.
    pub fn take_back(&mut self, allotted: &Allotted) {
        for (place, lane) in allotted.places.iter().zip(&allotted.lanes).rev() {
            assert_eq!(place.position, self.last, "only what was allotted last is taken back");
            self.last = Position(place.position.0 - 1);
            if place.previous == Position::START {
                self.tails.remove(lane);
            } else {
                self.tails.insert(*lane, place.previous);
            }
        }
    }

    /// Notes that the write with this position is on stable storage, and so is all that was queued before it. Returns true if more may be
    /// read than before.
    pub fn note_stable(&mut self, position: Position) -> bool {
        assert!(position <= self.last, "only what was allotted becomes stable");
        let more = position > self.stable;
        self.stable = self.stable.max(position);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Lane = Lane { topic: 0, partition: Partition(0) };
    const B: Lane = Lane { topic: 0, partition: Partition(1) };

    fn places(allotted: &Allotted) -> Vec<(u64, u64)> {
        allotted.places.iter().map(|place| (place.position.0, place.previous.0)).collect()
    }

    #[test]
    fn positions_are_dense_and_name_the_one_before_in_their_lane() {
        let mut positions = Positions::default();
        assert_eq!(places(&positions.allot([A, B, A])), [(1, 0), (2, 0), (3, 1)]);
        assert_eq!(places(&positions.allot([B])), [(4, 2)]);
        assert_eq!(positions.last(), Position(4));
    }

    #[test]
    fn what_was_refused_at_once_leaves_no_gap() {
        let mut positions = Positions::default();
        positions.allot([A]);
        let before = positions.clone();
        let refused = positions.allot([B, A, A]);
        positions.take_back(&refused);
        assert_eq!(positions, before);
        assert_eq!(places(&positions.allot([A])), [(2, 1)]);
    }

    #[test]
    #[should_panic(expected = "only what was allotted last")]
    fn a_gap_is_never_made() {
        let mut positions = Positions::default();
        let first = positions.allot([A]);
        positions.allot([A]);
        positions.take_back(&first);
    }

    #[test]
    fn only_what_is_stable_may_be_read_in_whatever_order_answers_come() {
        let mut positions = Positions::default();
        let (first, second) = (positions.allot([A, A]), positions.allot([A]));
        assert_eq!(positions.stable(), Position::START);
        assert!(positions.note_stable(second.last().unwrap()));
        assert!(!positions.note_stable(first.last().unwrap()));
        assert_eq!(positions.stable(), Position(3));
    }
}
