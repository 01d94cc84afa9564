//! What readers of a participant's events ask for, wherever the log is kept.

use futures::future::BoxFuture;
use tokio::sync::watch;
use undoubt_stream::retention::{Keep, MAX_READERS, Reader};
use undoubt_vocabulary::{Event, Incarnation, Position, ReaderName, Topic};

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

    /// Registers a reader, or notes how far one has come: what is behind its position is kept for it, from the answer on. A reader that
    /// has taken nothing registers at the position up to which events were dropped. `anew`: it begins again, and minds no loss. Returns
    /// the position up to which events were dropped.
    fn keep(&self, reader: ReaderName, after: After, anew: bool) -> BoxFuture<'_, Result<Position, KeepError>>;

    /// Tells for whom events are kept, and who was dropped.
    fn readers(&self) -> BoxFuture<'_, Result<Readers, ResourceError>>;

    /// Keeps nothing for a reader any more. Returns false if it is not registered.
    fn forget(&self, reader: ReaderName) -> BoxFuture<'_, Result<bool, ResourceError>>;

    /// Drops what has not to be kept any more. Returns the readers that had not taken all of it.
    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<Vec<(ReaderName, Reader)>, ResourceError>>;
}

/// The readers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    pub readers: Vec<(ReaderName, Reader)>,
    /// The last position that may be read.
    pub stable: Position,
    /// The bytes of the events that are kept, about.
    pub kept_bytes: u64,
}

/// The reason why events are not kept for a reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(
        "{MAX_READERS} readers are registered at this log, as many as may be; forget those that nobody runs any more"
    )]
    TooMany,
}

/// The most events that are read at once.
pub const MAX_READ_EVENTS: usize = 512;

/// The bytes of data, keys and names after which no more is read at once.
pub const MAX_READ_BYTES: usize = 512 << 10;

/// The place after which a reader goes on; the default: the first event that is kept is the next.
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
    /// The bytes of the events that are kept, about.
    pub kept_bytes: u64,
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
        "events behind {after} were dropped, and the first that is kept is {first}; build what follows from them anew, or have the reader \
         go on there"
    )]
    Trimmed { after: Position, first: Position },
    #[error(transparent)]
    Resource(#[from] ResourceError),
}
