//! The observation of a world, which becomes its trace: it listens to the servers and keeps what happens, with a hash over it.

mod notes;
mod recorder;
mod subscriber;

pub(crate) use recorder::Recorder;
pub(crate) use subscriber::observing;
