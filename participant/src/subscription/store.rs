//! What a resource has to be able to do for subscriptions: one local transaction with the work, how far the subscription has come, and
//! what is published.

use crate::resource::ResourceError;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fmt;
use std::time::Duration;
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::expiry::Timer;
use undoubt_stream::facts::Unfit;
use undoubt_stream::inbox::{Advance, Watermark};
use undoubt_stream::parked::{Change, ParkedEvent, Turn};
use undoubt_stream::subscription::Source;
use undoubt_vocabulary::{
    CorrelationId, ParticipantName, Position, ReactionName, Refusal, SubscriptionName, Timestamp, TxId,
};

/// One partition of a source's topic, as one subscription reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxId {
    pub subscription: SubscriptionName,
    pub source: Source,
}

/// The place up to which a subscription has dealt with everything in a source's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub subscription: SubscriptionName,
    pub from: ParticipantName,
    pub watermark: Watermark,
    /// The position up to which everything counts as dealt with, whatever the watermarks of its partitions say.
    pub floor: Position,
}

/// A parked event, with its key and its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredParked {
    pub subscription: SubscriptionName,
    pub key: Bytes,
    pub turn: Turn,
    pub event: ParkedEvent,
}

/// All that is stored of subscriptions, save barriers, of which there are many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSubscriptions {
    pub watermarks: Vec<(InboxId, Watermark)>,
    pub places: Vec<Place>,
    pub parked: Vec<StoredParked>,
}

/// One local transaction of a subscription: all of it takes effect, or nothing.
pub struct LocalTransaction {
    /// The owner of its locks, unique for the event and the reaction.
    pub id: TxId,
    /// The id that events of its work have in common, unless the work gives one.
    pub correlation: CorrelationId,
    /// Its age among those who wait for locks.
    pub begun_at: Timestamp,
    /// The bound of a wait for locks.
    pub timeout: Duration,
    /// The work, encoded; `None`: none.
    pub work: Option<Bytes>,
    /// The steps of the watermarks: it is refused as [`Carried::Moved`] unless each is where its step begins.
    pub advances: Vec<(InboxId, Advance)>,
    pub place: Option<Place>,
    /// The timer that ends with it, by its key.
    pub timer: Option<Bytes>,
    /// The barrier that `then` may set.
    pub barrier: Option<BarrierId>,
    pub parked: Vec<(SubscriptionName, Change)>,
    /// Says what else is written, by the results of the work; empty if there is none. If that does not fit, nothing is written.
    pub then: Then,
}

/// A function from results of work to what is written with it.
pub type Then = Box<dyn FnOnce(Bytes) -> Result<Written, Unfit> + Send>;

impl fmt::Debug for LocalTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTransaction").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What came of a local transaction.
pub enum Carried {
    /// It was done. What is carried out after it comes after it, and no crash keeps that without this.
    Done {
        /// The barrier that it has set, if it has set one.
        barrier: Option<Barrier>,
        /// Is ready once it is on stable storage.
        written: BoxFuture<'static, Result<(), ResourceError>>,
    },
    /// The work was refused, or what follows from it does not fit. Nothing is left behind.
    Refused(Refusal),
    /// A watermark is elsewhere: somebody else has dealt with this, or is at it. Nothing is left behind.
    Moved { inbox: InboxId, stored: Watermark },
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carried::Done { barrier, .. } => f.debug_struct("Done").field("barrier", barrier).finish_non_exhaustive(),
            Carried::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
            Carried::Moved { inbox, stored } => {
                f.debug_struct("Moved").field("inbox", inbox).field("stored", stored).finish()
            }
        }
    }
}

/// A resource in which subscriptions do their work.
pub trait ReactionStore: Send + Sync + 'static {
    /// Returns all that is stored of subscriptions. Asked once, before anything else.
    fn stored(&self) -> BoxFuture<'_, Result<StoredSubscriptions, ResourceError>>;

    /// Returns a barrier, as far as writes were answered.
    fn barrier(&self, id: &BarrierId) -> BoxFuture<'_, Result<Option<Barrier>, ResourceError>>;

    /// Returns the timer of this name that is due first, with its key.
    fn next_timer(&self, name: &ReactionName) -> BoxFuture<'_, Result<Option<(Timer, Bytes)>, ResourceError>>;

    /// Carries out a local transaction. An error other than [`ResourceError::Unavailable`] and [`ResourceError::NoRoom`], with which
    /// nothing was done, ends the process.
    fn carry_out(&self, transaction: LocalTransaction) -> BoxFuture<'_, Result<Carried, ResourceError>>;
}
