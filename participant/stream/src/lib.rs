//! Pure machines of events: no I/O, clock, thread or randomness.
//!
//! * [`log`] allots the positions of a participant's log, and says how far it may be read.

pub mod log;
