//! What readers of a participant's events ask for, wherever the log is kept.

use futures::future::BoxFuture;
use tokio::sync::watch;
use undoubt_vocabulary::{Event, Incarnation, Position, Topic};

use crate::resource::ResourceError;

/// The log of a resource, as those read it who are told of its events.
pub trait EventSource: Send + Sync + 'static {
    /// Returns the topics that are declared.
    fn topics(&self) -> &[Topic];

    /// Returns the last position that may be read, which rises: whoever waits for more watches it.
    fn stable(&self) -> watch::Receiver<Position>;

    /// Tells how far the log is.
    fn state(&self) -> BoxFuture<'_, Result<LogState, ResourceError>>;

    /// Returns the events behind a position, in their order, as many as [`MAX_READ_EVENTS`] and about [`MAX_READ_BYTES`]; none if
    /// there are none yet.
    fn read(&self, after: After) -> BoxFuture<'_, Result<EventsRead, ReadError>>;
}

/// The most events that are read at once.
pub const MAX_READ_EVENTS: usize = 512;

/// The bytes of data, keys and names after which no more is read at once.
pub const MAX_READ_BYTES: usize = 512 << 10;

/// The place after which a reader goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After {
    pub position: Position,
    /// The incarnation that it had there, if it minds.
    pub incarnation: Option<Incarnation>,
}

/// Events in rising order, without gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsRead {
    pub events: Vec<Event>,
    /// The place up to which everything was read.
    pub through: After,
    /// The last position that may be read now.
    pub stable: Position,
}

/// The present state of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The first position that is kept; one more than `stable` if there is none.
    pub first: Position,
    pub stable: Position,
    pub incarnation: Incarnation,
}

/// The reason why a reader does not get what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(
        "the log does not have the event {after} as the reader has taken it: {why}. The participant was put back from an older copy. What \
         the reader made of events behind {shared} is of a past that there is not any more; look at it, and begin again from a position that both have"
    )]
    PutBack { after: Position, shared: Position, why: String },
    #[error(
        "events behind {after} were dropped, and the first that is kept is {first}; build what follows from them anew"
    )]
    Trimmed { after: Position, first: Position },
    #[error(transparent)]
    Resource(#[from] ResourceError),
}
