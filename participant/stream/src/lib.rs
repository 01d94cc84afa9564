//! Pure machines of events: no I/O, clock, thread or randomness.
//!
//! * [`log`] allots the positions of a participant's log, and says how far it may be read.
//! * [`retention`] says which of its events may be dropped, by the readers that are registered.
//! * [`declarations`] are a participant's topics and reactions, as its settings have them; [`template`] is how they refer to events.
//! * [`choreography`] is what the declarations of several participants come to together, and its check.
//! * [`inbox`] says of an event that comes whether it is the next one, a repetition, or behind a gap.
//! * [`parked`] are the keys whose events wait for an operator.
//! * [`subscription`] is a reaction's way through what it hears, by both.
//! * [`reaction`] says what to do about an event, by the [`barrier`] of its saga; [`expiry`] the same of a time that is over.

pub mod barrier;
pub mod choreography;
pub mod declarations;
pub mod expiry;
pub mod facts;
pub mod fault;
pub mod inbox;
pub mod log;
pub mod parked;
pub mod reaction;
pub mod retention;
pub mod subscription;
pub mod template;
pub mod work_template;

use choreography::{MAX_EVENTS_OF_SAGA, MAX_PARTICIPANTS};
use declarations::{MAX_EVENTS_OF_REACTION, MAX_EXPIRY, MAX_REACTION_ATTEMPTS, MAX_REACTIONS, MAX_TOPICS};
use retention::MAX_READERS;
use template::MAX_TEMPLATE_BYTES;
use undoubt_vocabulary::event::MAX_PARTITIONS;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;
use work_template::MAX_PIECES;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Count MAX_TOPICS, "Topics of one participant.", "The participant does not start, and says why."),
    limit!(Count MAX_PARTITIONS, "Partitions of one topic.", "The same."),
    limit!(Count MAX_READERS, "Readers for which a log is kept.", "One more is refused: `TOO_MANY_READERS`."),
    limit!(Count MAX_REACTIONS, "Reactions of one participant, and types of events with which sagas begin there.", "The same."),
    limit!(Count MAX_PIECES, "Pieces of work of one reaction, and of what undoes it.", "The same."),
    limit!(Count MAX_EVENTS_OF_REACTION, "Events that one reaction publishes, that undo it, or that keep it from expiring.", "The same."),
    limit!(Count MAX_REACTION_ATTEMPTS, "Attempts at a reaction that is refused for good, before its key is parked.", "The same."),
    limit!(Bytes MAX_TEMPLATE_BYTES, "A text in which facts of an event are filled in.", "The same."),
    limit!(Count MAX_PARTICIPANTS, "Participants of one choreography.", "The check does not begin, and says why."),
    limit!(Count MAX_EVENTS_OF_SAGA, "Events of one choreographed saga.", "The check finds it."),
    limit!(ms MAX_EXPIRY, "The time after which a choreographed saga expires.", "The same."),
];
