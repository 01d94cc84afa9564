//! The log of events in tables of a database.
//!
//! # How events get their positions
//! Work inserts its events into a table of those without a position, in its own transaction and behind all that it does there. They have
//! insertion numbers, drawn by the database when each is inserted. What is prepared cannot learn at its commit that it commits, so nothing
//! can be numbered there: one process takes the events that have committed, in the order of their insertion numbers, and gives them the next
//! positions in a transaction of its own. So:
//!
//! * An event is **visible** when its work has committed, and may be **read** when it has its position and the transaction that gave it has
//!   committed. In between nobody is told of it. It is not lost there: it waits in the table, across any crash.
//! * Positions have **no gaps**: an aborted transaction leaves no row to number, and a numbering takes effect with all of its positions or
//!   with none. Insertion numbers have gaps, and nobody reads them.
//! * Their **order** is that of work on the same rows: who waits for a row inserts its events once the other has committed, and so has
//!   higher numbers; and whoever sees its events sees the other's too. Of transactions that touch nothing in common, one that is prepared
//!   for long comes behind those that commit meanwhile.
//! * A position is **durable** once it is told: the numbering is answered when it is on stable storage, and with it all that committed
//!   before it.
//! * Only **one process** numbers. It holds the database (its sessions end before another begins), and each numbering names the position
//!   at which the log ends and the run of its process. If another is there, nothing is changed. So a numbering of which no answer came
//!   needs no care: it is read where the log ends now, and if the lost one lands after that, either it or the next changes nothing.
//!
//! Nothing is dropped here: all events are kept, for readers that register as for others. So nobody is registered.
//!
//! A database that was put back to an earlier state while the process runs is noticed by its end, and ends the process; while it does not
//! run, readers notice, by the incarnation that each start draws and stores with its first position.

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use undoubt_participant::event_log::{
    After, EventSource, EventsRead, Incarnations, KeepError, LogState, ReadError, Readers, Topics, read,
};
use undoubt_participant::resource::ResourceError;
use undoubt_platform::Clock;
use undoubt_platform::store::Pauses;
use undoubt_proto::record::StoredEvent;
use undoubt_stream::log::{Lane, Place, Positions};
use undoubt_stream::retention::{Keep, Reader};
use undoubt_vocabulary::{Incarnation, Partition, Position, ReaderName, Timestamp, Topic};

/// Events that get their positions in one transaction.
pub const MAX_NUMBERED_EVENTS: usize = 1_024;

/// The bytes of events after which no more get their positions in one transaction.
pub const MAX_NUMBERED_BYTES: usize = 4 << 20;

/// The time after which it is looked for events of which nobody has told that they committed.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The topics that work publishes to, and the sign that some of it has committed.
#[derive(Default)]
pub struct Outbox {
    pub topics: Topics,
    clock: Option<Arc<dyn Clock>>,
    committed: Notify,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Outbox {
    pub fn new(topics: Topics, clock: Arc<dyn Clock>) -> Outbox {
        Outbox { topics, clock: Some(clock), committed: Notify::new() }
    }

    /// Returns the time; 0 if there are no topics.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or(Timestamp(0), |clock| clock.now())
    }

    /// Says that work with events has committed, or may have.
    pub fn committed(&self) {
        self.committed.notify_one();
    }
}

/// An event that has committed and has no position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnumbered {
    pub inserted: i64,
    pub topic: String,
    pub partition: u32,
    pub bytes: usize,
}

/// The last position of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    pub topic: String,
    pub partition: u32,
    pub position: Position,
}

/// The log as it is stored, without its events.
#[derive(Clone, Debug, Default)]
pub struct StoredLog {
    pub last: Position,
    pub tails: Vec<Tail>,
    pub incarnations: Vec<(Position, Incarnation)>,
    /// The topics to which something was published, with their partitions.
    pub topics: Vec<(String, u32)>,
}

/// An event and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub inserted: i64,
    pub place: Place,
}

/// One transaction that gives events their positions.
#[derive(Clone, Debug)]
pub struct Numbering {
    /// The position at which the log ends until then.
    pub after: Position,
    /// The position at which it ends from then on.
    pub last: Position,
    pub events: Vec<Numbered>,
    /// The partitions that end elsewhere with it.
    pub tails: Vec<Tail>,
    pub at: Timestamp,
    /// What the first numbering of a start stores.
    pub begun: Option<Begun>,
}

/// What a start stores with its first position.
#[derive(Clone, Debug)]
pub struct Begun {
    pub first: Position,
    pub incarnation: Incarnation,
    pub topics: Vec<(String, u32)>,
}

/// The tables of a log.
pub trait EventTable: Send + Sync + 'static {
    fn load(&self) -> impl Future<Output = Result<StoredLog, ResourceError>> + Send;

    /// Returns the events that have committed and have no position, those with the lowest insertion numbers first.
    fn unnumbered(&self, limit: usize) -> impl Future<Output = Result<Vec<Unnumbered>, ResourceError>> + Send;

    /// Gives events their positions, durably: all of them and what goes with them, or nothing. Returns false, with which nothing was done, if the log
    /// ends elsewhere, or belongs to another process. After an error it may have been done, or be done yet.
    fn number(&self, numbering: &Numbering) -> impl Future<Output = Result<bool, ResourceError>> + Send;

    /// Returns the events behind a position, as far as another, in their order: at most [`MAX_READ_EVENTS`](undoubt_participant::event_log::MAX_READ_EVENTS), and no
    /// more once they have [`MAX_READ_BYTES`](undoubt_participant::event_log::MAX_READ_BYTES).
    fn read(
        &self,
        after: Position,
        through: Position,
    ) -> impl Future<Output = Result<Vec<(Position, StoredEvent)>, ResourceError>> + Send;

    /// Returns the first position that is kept, if there is one, and the bytes that the events take, about.
    fn kept(&self) -> impl Future<Output = Result<(Option<Position>, u64), ResourceError>> + Send;
}

/// The log over the tables of a database.
pub struct TableLog<T> {
    table: T,
    outbox: Arc<Outbox>,
    incarnation: Incarnation,
    incarnations: Mutex<Incarnations>,
    /// `None`: it is not known, or not for certain, where the log ends.
    ends: tokio::sync::Mutex<Option<Ends>>,
    stable: watch::Sender<Position>,
}

/// The place where the log ends.
#[derive(Debug)]
struct Ends {
    positions: Positions,
    /// The names of topics, by their numbers in lanes.
    names: Vec<String>,
    is_begun: bool,
}

impl<T> std::fmt::Debug for TableLog<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableLog").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

impl<T: EventTable> TableLog<T> {
    /// Returns a log of which nothing was read yet. `incarnation` is drawn anew for each start.
    pub fn new(table: T, outbox: Arc<Outbox>, incarnation: Incarnation) -> TableLog<T> {
        let (incarnations, ends) = (Mutex::default(), tokio::sync::Mutex::default());
        TableLog { table, outbox, incarnation, incarnations, ends, stable: watch::Sender::new(Position::START) }
    }

    /// Reads where the log ends. Called once the database belongs to this process, and before anything else.
    ///
    /// # Errors
    /// Also if topics are declared with another number of partitions than their events have.
    pub async fn open(&self) -> Result<(), ResourceError> {
        let mut ends = self.ends.lock().await;
        // What another process has added since is its own.
        self.stable.send_replace(Position::START);
        *ends = Some(self.load().await?);
        Ok(())
    }

    async fn load(&self) -> Result<Ends, ResourceError> {
        let StoredLog { last, tails, incarnations, topics } = self.table.load().await?;
        let declared = topics.iter().map(|(name, partitions)| (name.as_str(), *partitions));
        let checked = self.outbox.topics.check_partitions(declared);
        checked.map_err(|refused| ResourceError::Stopped { cause: refused.to_string() })?;
        let read = *self.stable.borrow();
        if last < read {
            let cause = format!(
                "the log of events ends at position {last}, and {read} was told to readers: the database was put back to an earlier state"
            );
            return Err(ResourceError::Foreign { cause });
        }
        let mut names = Vec::new();
        let tails = tails.iter().map(|tail| (lane(&mut names, &tail.topic, tail.partition), tail.position)).collect();
        let is_begun = incarnations.iter().any(|(_, incarnation)| *incarnation == self.incarnation);
        *self.incarnations() = incarnations.into_iter().collect();
        self.stable.send_if_modified(|stable| {
            let is_more = last > *stable;
            *stable = last;
            is_more
        });
        Ok(Ends { positions: Positions::found(last, tails), names, is_begun })
    }

    /// Gives events their positions whenever some have committed, until `stop`.
    pub async fn keep_numbering(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        let mut pauses = Pauses::default();
        loop {
            let pause = match self.number_some().await {
                Ok(true) if stop.is_cancelled() => return Ok(()),
                Ok(true) => continue,
                Ok(false) => {
                    pauses = Pauses::default();
                    LOOK_AFTER
                }
                Err(
                    error @ (ResourceError::Unavailable { .. } | ResourceError::Unclear { .. } | ResourceError::NoRoom),
                ) => {
                    tracing::warn!(%error, "events that have committed cannot get their positions yet; it is tried again");
                    pauses.next_pause()
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = self.outbox.committed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Gives the next events their positions, as many as one transaction takes. Returns true if there may be more.
    pub async fn number_some(&self) -> Result<bool, ResourceError> {
        let mut ends = self.ends.lock().await;
        // Until it is known what came of this, it is not known where the log ends.
        let mut known = match ends.take() {
            Some(known) => known,
            None => self.load().await?,
        };
        let found = self.table.unnumbered(MAX_NUMBERED_EVENTS).await?;
        let is_full = found.len() >= MAX_NUMBERED_EVENTS;
        let taken = at_once(&found);
        if taken.is_empty() {
            *ends = Some(known);
            return Ok(false);
        }
        let numbering = self.numbering(&mut known, taken);
        if !self.table.number(&numbering).await? {
            // The end that is read anew says whether an earlier call has landed meanwhile, or the log was put back.
            return Ok(true);
        }
        if let Some(begun) = &numbering.begun {
            known.is_begun = true;
            self.incarnations().begin(begun.first, begun.incarnation);
        }
        known.positions.note_stable(numbering.last);
        self.stable.send_replace(numbering.last);
        let more = is_full || taken.len() < found.len();
        *ends = Some(known);
        Ok(more)
    }

    fn numbering(&self, known: &mut Ends, taken: &[Unnumbered]) -> Numbering {
        let after = known.positions.last();
        let lanes: Vec<Lane> =
            taken.iter().map(|event| lane(&mut known.names, &event.topic, event.partition)).collect();
        let allotted = known.positions.allot(lanes.iter().copied());
        let numbered = taken.iter().zip(&allotted.places);
        let touched: BTreeSet<Lane> = lanes.into_iter().collect();
        let tail = |lane: Lane| Tail {
            topic: known.names.get(usize::from(lane.topic)).cloned().unwrap_or_default(),
            partition: lane.partition.0.into(),
            position: known.positions.tails()[&lane],
        };
        let topics = self.outbox.topics.as_slice().iter();
        let begun = Begun {
            first: after.next(),
            incarnation: self.incarnation,
            topics: topics.map(|topic| (topic.name.as_str().to_owned(), topic.partitions.into())).collect(),
        };
        Numbering {
            after,
            last: known.positions.last(),
            events: numbered.map(|(event, place)| Numbered { inserted: event.inserted, place: *place }).collect(),
            tails: touched.into_iter().map(tail).collect(),
            at: self.outbox.now(),
            begun: (!known.is_begun).then_some(begun),
        }
    }

    fn incarnations(&self) -> MutexGuard<'_, Incarnations> {
        self.incarnations.lock().expect("nobody panics with the incarnations half changed")
    }

    async fn read_after(&self, after: After) -> Result<EventsRead, ReadError> {
        let stable = *self.stable.borrow();
        self.incarnations().admit(after, stable)?;
        let mut through = after.position;
        let mut events = Vec::new();
        if through < stable {
            let found = self.table.read(through, stable).await?;
            let first = found.first().map_or(stable.next(), |(first, _)| *first);
            if first != through.next() {
                return Err(ReadError::Trimmed { after: through, first });
            }
            let incarnations = self.incarnations();
            for (position, stored) in found {
                if position != through.next() {
                    let cause = format!("the log of events has no position {}, and has {position}", through.next());
                    return Err(ResourceError::Stopped { cause }.into());
                }
                through = position;
                let incarnation = incarnations.at(position).unwrap_or(self.incarnation);
                let event = read(position, incarnation, stored).map_err(|why| {
                    let cause = format!("the event at position {position} cannot be read: {why}");
                    ResourceError::Stopped { cause }
                })?;
                events.push(event);
            }
        }
        let incarnation = self.incarnations().at(through);
        Ok(EventsRead { events, through: After { position: through, incarnation }, stable })
    }
}

/// Returns as many of them as get their positions at once.
fn at_once(found: &[Unnumbered]) -> &[Unnumbered] {
    let mut bytes = 0;
    let count = found.iter().take_while(|event| {
        let fits = bytes < MAX_NUMBERED_BYTES;
        bytes += event.bytes;
        fits
    });
    &found[..count.count()]
}

/// Returns the lane of a partition. A topic that was not met before gets the next number.
fn lane(names: &mut Vec<String>, topic: &str, partition: u32) -> Lane {
    let known = names.iter().position(|name| name == topic);
    let topic = known.unwrap_or_else(|| {
        names.push(topic.to_owned());
        names.len() - 1
    });
    // Both are bounded by what may be declared.
    Lane {
        topic: u16::try_from(topic).unwrap_or(u16::MAX),
        partition: Partition(u16::try_from(partition).unwrap_or(u16::MAX)),
    }
}

impl<T: EventTable> EventSource for TableLog<T> {
    fn topics(&self) -> &[Topic] {
        self.outbox.topics.as_slice()
    }

    fn stable(&self) -> watch::Receiver<Position> {
        self.stable.subscribe()
    }

    fn state(&self) -> BoxFuture<'_, Result<LogState, ResourceError>> {
        async {
            let stable = *self.stable.borrow();
            let (first, kept_bytes) = self.table.kept().await?;
            let first = first.unwrap_or(stable.next()).min(stable.next());
            Ok(LogState { first, stable, incarnation: self.incarnation, kept_bytes })
        }
        .boxed()
    }

    fn read(&self, after: After) -> BoxFuture<'_, Result<EventsRead, ReadError>> {
        self.read_after(after).boxed()
    }

    fn keep(&self, _reader: ReaderName, after: After, _anew: bool) -> BoxFuture<'_, Result<Position, KeepError>> {
        let stable = *self.stable.borrow();
        let admitted = self.incarnations().admit(after, stable);
        ready(admitted.map(|()| Position::START).map_err(KeepError::from)).boxed()
    }

    fn readers(&self) -> BoxFuture<'_, Result<Readers, ResourceError>> {
        async {
            let stable = *self.stable.borrow();
            let (_, kept_bytes) = self.table.kept().await?;
            Ok(Readers { readers: Vec::new(), stable, kept_bytes })
        }
        .boxed()
    }

    fn forget(&self, _reader: ReaderName) -> BoxFuture<'_, Result<bool, ResourceError>> {
        ready(Ok(false)).boxed()
    }

    fn trim(&self, _keep: Keep) -> BoxFuture<'_, Result<Vec<(ReaderName, Reader)>, ResourceError>> {
        ready(Ok(Vec::new())).boxed()
    }
}
