//! What happened in a run: every event with its time and host, in the order in which it happened.

mod event;
mod recorder;
mod standing;
mod states;
mod subscriber;
mod words;

pub use event::{BranchState, Entry, Event, Phase};
pub use recorder::Recorder;
pub use standing::Standing;
pub use states::{BRANCHES, IDLE, OVER, PHASES};
pub(crate) use subscriber::observing;
