//! How far a subscription has come in one partition of one source's topic, and what that makes of an event that comes.
//!
//! ```text
//! previous ≤ watermark < position, previous = watermark   next: applied, and the watermark moves with the work
//! position ≤ watermark                                    a repetition
//! previous > watermark                                    something between is missing
//! previous < watermark < position                         the watermark's event is not there any more
//! ```
//!
//! A source has a *floor* besides: the position up to which everything counts as dealt with, where a reader has begun behind what was
//! dropped, or an operator has said where to go on. Below it no watermark is asked.
//!
//! The watermark is written with the work, by a compare-and-set: a reader that was replaced and goes on is refused by what is stored.
//! It names the incarnation of its event too. What is below the watermark and of another incarnation may be of an earlier life of the
//! source, or of one that was put back and uses the position again; only the source's own log knows, and says it to whoever reads after
//! the watermark.

use std::fmt;
use undoubt_vocabulary::{Event, EventId, Incarnation, Position};

/// Events in a row that a subscription may let pass without storing how far it has come: those that are not its own need no write.
pub const MAX_PASSED_UNSTORED: u32 = 1_024;

/// The event up to which everything is dealt with; `None` before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watermark(pub Option<EventId>);

impl Watermark {
    pub fn position(self) -> Position {
        self.0.map_or(Position::START, |event| event.position)
    }

    pub fn incarnation(self) -> Option<Incarnation> {
        self.0.map(|event| event.incarnation)
    }
}

impl From<EventId> for Watermark {
    fn from(event: EventId) -> Self {
        Watermark(Some(event))
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(event) => fmt::Display::fmt(&event, f),
            None => f.write_str("the start"),
        }
    }
}

/// The place of an event, as far as an inbox looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arrival {
    pub id: EventId,
    /// The position of the event before it in its partition.
    pub previous: Position,
}

impl From<&Event> for Arrival {
    fn from(event: &Event) -> Self {
        Arrival { id: event.id(), previous: event.previous }
    }
}

/// A step of the watermark, to be stored in the write that has the event's work. It is stored only if `from` is what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Advance {
    pub from: Watermark,
    pub to: Watermark,
}

/// What an inbox says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is the next one. It is dealt with, and the watermark moves in the same write.
    Apply(Advance),
    /// It has been dealt with.
    Repetition,
    /// What is between is missing, or it cannot be told whether it was dealt with. Nothing is done; the source's own log is read after
    /// this watermark, and its answer tells.
    Gap { after: Watermark },
    /// The source's log was put back: where the watermark's event was, there is another one, or none. Nothing more is read until an
    /// operator has said where to go on.
    PutBack { watermark: Watermark, found: EventId },
}

/// The watermark of one subscription in one partition of one source's topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inbox {
    stored: Watermark,
    /// At or behind `stored`: the last event that was let pass since.
    reached: Watermark,
    passed: u32,
}

impl Inbox {
    /// Returns the inbox of a watermark that was found in the store.
    pub fn found(stored: Watermark) -> Inbox {
        Inbox { stored, reached: stored, passed: 0 }
    }

    /// Returns the event after which to read.
    pub fn reached(&self) -> Watermark {
        self.reached
    }

    /// Returns the watermark that is stored, as far as is known here.
    pub fn stored(&self) -> Watermark {
        self.stored
    }

    /// Says what to do with an event of this partition. `floor`: that of its source.
    pub fn judge(&self, arrival: Arrival, floor: Position) -> Verdict {
        let Arrival { id, previous } = arrival;
        if id.position <= floor {
            return Verdict::Repetition;
        }
        let Some(reached) = self.reached.0.filter(|reached| reached.position > floor) else {
            return if previous <= floor {
                Verdict::Apply(Advance { from: self.stored, to: id.into() })
            } else {
                Verdict::Gap { after: self.reached }
            };
        };
        let same_life = id.incarnation == reached.incarnation;
        let put_back = Verdict::PutBack { watermark: self.reached, found: id };
        if id.position == reached.position {
            return if same_life { Verdict::Repetition } else { put_back };
        }
        if id.position < reached.position {
            return if same_life { Verdict::Repetition } else { Verdict::Gap { after: self.reached } };
        }
        if previous == reached.position {
            Verdict::Apply(Advance { from: self.stored, to: id.into() })
        } else if previous > reached.position {
            Verdict::Gap { after: self.reached }
        } else {
            put_back
        }
    }

    /// Lets an event pass that asks for nothing here. Returns the step of the watermark when it is time to store it.
    #[must_use]
    pub fn pass(&mut self, advance: Advance) -> Option<Advance> {
        self.reached = advance.to;
        self.passed += 1;
        (self.passed >= MAX_PASSED_UNSTORED).then_some(advance)
    }

    /// Returns the step by which the watermark is given up, where an operator has said where to go on: the floor of the source has the place
    /// then.
    pub fn given_up(&self) -> Advance {
        Advance { from: self.stored, to: Watermark(None) }
    }

    /// Notes that a step of the watermark is stored.
    pub fn advanced(&mut self, advance: Advance) {
        *self = Inbox::found(advance.to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(life: u8, position: u64) -> EventId {
        EventId { incarnation: Incarnation([life; 16]), position: Position(position) }
    }

    fn arrival(life: u8, position: u64, previous: u64) -> Arrival {
        Arrival { id: id(life, position), previous: Position(previous) }
    }

    fn at(life: u8, position: u64) -> Inbox {
        Inbox::found(id(life, position).into())
    }

    fn applies(inbox: Inbox, arrival: Arrival) -> bool {
        inbox.judge(arrival, Position::START) == Verdict::Apply(Advance { from: inbox.stored(), to: arrival.id.into() })
    }

    #[test]
    fn the_next_is_applied_and_positions_of_other_partitions_leave_no_gap() {
        assert!(applies(Inbox::default(), arrival(1, 3, 0)));
        assert!(applies(at(1, 3), arrival(1, 9, 3)));
    }

    #[test]
    fn what_is_not_above_the_watermark_is_a_repetition() {
        for position in [1, 2, 3] {
            assert_eq!(at(1, 3).judge(arrival(1, position, 0), Position::START), Verdict::Repetition);
        }
    }

    #[test]
    fn what_is_not_the_next_is_a_gap() {
        assert_eq!(at(1, 3).judge(arrival(1, 9, 5), Position::START), Verdict::Gap { after: id(1, 3).into() });
        assert_eq!(
            Inbox::default().judge(arrival(1, 9, 5), Position::START),
            Verdict::Gap { after: Watermark::default() }
        );
    }

    #[test]
    fn a_source_that_was_started_anew_goes_on() {
        assert!(applies(at(1, 3), arrival(2, 4, 3)));
    }

    #[test]
    fn a_log_that_was_put_back_is_noticed_where_it_shows_and_asked_where_it_may_be_so() {
        let watermark = id(1, 3).into();
        for found in [arrival(2, 3, 2), arrival(2, 5, 2), arrival(1, 5, 0)] {
            assert_eq!(at(1, 3).judge(found, Position::START), Verdict::PutBack { watermark, found: found.id });
        }
        assert_eq!(at(1, 3).judge(arrival(2, 2, 1), Position::START), Verdict::Gap { after: watermark });
    }

    #[test]
    fn what_passes_is_stored_with_the_next_that_is_applied_or_after_a_while() {
        let mut inbox = at(1, 3);
        let Verdict::Apply(passing) = inbox.judge(arrival(1, 4, 3), Position::START) else { panic!() };
        assert_eq!(inbox.pass(passing), None);
        assert_eq!(inbox.judge(arrival(1, 4, 3), Position::START), Verdict::Repetition);
        let next = Advance { from: id(1, 3).into(), to: id(1, 5).into() };
        assert_eq!(inbox.judge(arrival(1, 5, 4), Position::START), Verdict::Apply(next));
        let passed = (5..).map(|position| {
            let Verdict::Apply(passing) = inbox.judge(arrival(1, position, position - 1), Position::START) else {
                panic!()
            };
            inbox.pass(passing)
        });
        let stored = passed.take(MAX_PASSED_UNSTORED as usize).find_map(|stored| stored).expect("it is stored at last");
        assert_eq!(stored.from, id(1, 3).into());
        inbox.advanced(stored);
        assert_eq!(inbox, Inbox::found(stored.to));
    }

    #[test]
    fn up_to_the_floor_all_counts_as_dealt_with_and_the_first_behind_it_is_next() {
        let floor = Position(10);
        for inbox in [Inbox::default(), at(1, 3), at(1, 10)] {
            assert_eq!(inbox.judge(arrival(2, 10, 3), floor), Verdict::Repetition);
            let next = Advance { from: inbox.stored(), to: id(2, 12).into() };
            assert_eq!(inbox.judge(arrival(2, 12, 9), floor), Verdict::Apply(next), "{inbox:?}");
            assert!(matches!(inbox.judge(arrival(2, 14, 12), floor), Verdict::Gap { .. }), "{inbox:?}");
        }
        let behind = at(1, 12);
        assert_eq!(behind.judge(arrival(1, 14, 13), floor), Verdict::Gap { after: behind.stored() });
        assert!(matches!(behind.judge(arrival(2, 14, 9), floor), Verdict::PutBack { .. }));
    }
}
