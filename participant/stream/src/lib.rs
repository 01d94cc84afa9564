//! Pure machines of events: no I/O, clock, thread or randomness.
//!
//! * [`log`] allots the positions of a participant's log, and says how far it may be read.
//! * [`declarations`] are a participant's topics and reactions, as its settings have them.
//! * [`inbox`] says of an event that comes whether it is the next one, a repetition, or behind a gap.

pub mod declarations;
pub mod facts;
pub mod fault;
pub mod inbox;
pub mod log;
pub mod template;
pub mod work_template;
