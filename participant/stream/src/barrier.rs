//! What is stored of a reaction in one choreographed saga: whether it acted, and what undoes it.
//!
//! ```text
//!         ┌─(event, work done)────▶ Acted ──(undo-on, undone)──▶ Compensated
//! ──▶ new ┤
//!         ├─(undo-on)─────────────▶ Empty ◀─┐
//!         └─(event, work refused)───────────┘
//! ```
//!
//! It is the barrier of a saga's step again, under the saga's correlation instead of its coordinator's number. What undoes may overtake
//! what acts, for they come from different partitions or sources: then the action is late, and is not done.

use bytes::Bytes;
use undoubt_vocabulary::{CorrelationId, EventId, NewEvent, ReactionName};

/// One reaction in one choreographed saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BarrierId {
    pub correlation: CorrelationId,
    pub reaction: ReactionName,
}

/// A barrier, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// It is in effect.
    Acted {
        /// The event on which it acted; `None`: a time that was over.
        on: Option<EventId>,
        undo: Undo,
    },
    /// It was in effect, and has been undone.
    Compensated,
    /// It is not in effect, and never will be: what undoes it came first, or it was refused.
    Empty,
}

impl Barrier {
    pub fn as_str(&self) -> &'static str {
        match self {
            Barrier::Acted { .. } => "done",
            Barrier::Compensated => "undone",
            Barrier::Empty => "never done",
        }
    }
}

/// What undoes a reaction: filled in when it acted, so that no later change of the declaration changes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Undo {
    /// Encoded work; `None` if nothing has to be done.
    pub work: Option<Bytes>,
    /// Is published then.
    pub undone: Option<Box<NewEvent>>,
}

/// What is written along with the position, or the end of a timer, besides what the work itself writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Written {
    /// The barrier from then on; `None`: as it is.
    pub barrier: Option<Barrier>,
    pub events: Vec<NewEvent>,
}
