//! The trace of a run, as data: every event with its time and host, in the order in which it happened.

mod event;
mod standing;

pub use event::{BranchState, Entry, Event, Phase};
pub use standing::Standing;
