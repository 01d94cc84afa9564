//! A store in a table of the database: all of it is in memory too, and what is written goes to the table batch by batch.
//!
//! It is for what a participant keeps beside its transactions and what comes seldom: its audit record, what it remembers of
//! coordinators' logs, and losses that were accepted. So reads are local, and no second database has to be cared for.

use crate::class::Class;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use undoubt_platform::store::{Completion, Contents, Pauses};
use undoubt_platform::{Batch, Direction, Durability, Family, Room, Store, StoreError, Written};

/// The bytes of batches that wait for the table. Beyond them a write is refused for now.
pub const MAX_QUEUED_BYTES: usize = 16 << 20;

/// The size of the largest batch.
pub const MAX_KEPT_BATCH_BYTES: usize = 4 << 20;

/// The table of a [`KeptStore`].
pub trait Keeper: Send + Sync + 'static {
    /// Returns all that the table holds.
    fn load(&self) -> impl Future<Output = Result<Vec<Pair>, StoreError>> + Send;

    /// Makes these changes, all of them or none, durably. Repeated after an error that says "not now", and then with the same
    /// or more changes: so it need not be known whether they were made.
    fn keep(&self, changes: &Changes) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A key of the table with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub family: String,
    pub key: Bytes,
    pub value: Bytes,
}

/// The changes to a table. No key is in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub put: Vec<Pair>,
    /// Deleted keys, each with its family.
    pub deleted: Vec<(String, Bytes)>,
}

/// Returns what it means for the table of a [`KeptStore`] that the database refused. `cause`: its words.
pub fn not_kept(class: Class, table: &str, cause: String) -> StoreError {
    match class {
        Class::Declaration | Class::Condition => {
            StoreError::Stopped { cause: format!("the table {table} is damaged: {cause}") }
        }
        Class::Conflict
        | Class::LockTimeout
        | Class::Cancelled
        | Class::Unavailable
        | Class::Access
        | Class::Unknown
        | Class::Failed => StoreError::Unavailable { cause },
    }
}

/// A store over the table of a database. Dropped, it writes what is queued if the table takes it at once.
pub struct KeptStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is queued, or the store was dropped.
    changed: Notify,
}

#[derive(Default)]
struct State {
    contents: Contents,
    /// The keys that the table does not hold as `contents` does.
    unkept: BTreeSet<(Family, Bytes)>,
    waiting: Vec<Completion>,
    queued_bytes: usize,
    /// The reason why nothing is written any more.
    ended: Option<StoreError>,
    is_dropped: bool,
}

impl KeptStore {
    /// Reads the table, and begins to write to it. It holds no other families than these.
    ///
    /// # Errors
    /// Those of the keeper; [`StoreError::UnknownFamilies`].
    pub async fn open(keeper: impl Keeper, families: &[Family]) -> Result<KeptStore, StoreError> {
        let mut contents = Contents::of(families);
        let mut unknown = BTreeSet::new();
        let mut batch = Batch::default();
        for Pair { family, key, value } in keeper.load().await? {
            match families.iter().find(|known| known.0 == family) {
                Some(family) => batch.put(*family, key, value),
                None => drop(unknown.insert(family)),
            }
        }
        if !unknown.is_empty() {
            return Err(StoreError::UnknownFamilies { families: unknown.into_iter().collect() });
        }
        contents.apply(batch.iter());
        let state = State { contents, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        tokio::spawn(keep_up(keeper, shared.clone()));
        Ok(KeptStore { shared })
    }
}

/// Brings the table up to the contents, whenever something was queued.
async fn keep_up(keeper: impl Keeper, shared: Arc<Shared>) {
    let (mut waiting, mut pauses) = (Vec::new(), Pauses::default());
    loop {
        let (changes, keys, bytes, is_last) = shared.state().take(&mut waiting);
        if waiting.is_empty() {
            if is_last {
                return;
            }
            shared.changed.notified().await;
            continue;
        }
        match keeper.keep(&changes).await {
            Ok(()) => {
                pauses = Pauses::default();
                shared.state().queued_bytes -= bytes;
                waiting.drain(..).for_each(|completion| completion.complete(Ok(())));
            }
            Err(StoreError::Unavailable { cause }) if !is_last => {
                tracing::warn!(%cause, "what the participant keeps beside its transactions cannot be written now; it is tried again");
                {
                    // The next attempt makes these changes with those that came since.
                    let mut state = shared.state();
                    state.unkept.extend(keys);
                    waiting.append(&mut state.waiting);
                    std::mem::swap(&mut waiting, &mut state.waiting);
                }
                pauses.pause().await;
            }
            Err(error) => {
                let mut state = shared.state();
                state.ended = Some(error.clone());
                waiting.append(&mut state.waiting);
                drop(state);
                waiting.drain(..).for_each(|completion| completion.complete(Err(error.clone())));
                return;
            }
        }
    }
}

impl State {
    /// Takes what the table has to catch up with: the changes, their keys, the bytes of their batches, and whether the store was dropped.
    fn take(&mut self, waiting: &mut Vec<Completion>) -> (Changes, BTreeSet<(Family, Bytes)>, usize, bool) {
        waiting.append(&mut self.waiting);
        let keys = std::mem::take(&mut self.unkept);
        let mut changes = Changes::default();
        for (family, key) in &keys {
            match self.contents.value(*family, key) {
                Some(value) => {
                    let (key, value) = (key.clone(), value.clone());
                    changes.put.push(Pair { family: family.0.to_owned(), key, value });
                }
                None => changes.deleted.push((family.0.to_owned(), key.clone())),
            }
        }
        (changes, keys, self.queued_bytes, self.is_dropped)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        let bytes = batch.payload_bytes();
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        for operation in batch.iter() {
            self.contents.check_family(operation.family())?;
        }
        if bytes > MAX_KEPT_BATCH_BYTES {
            return Err(StoreError::BatchTooLarge {
                bytes,
                bound: "MAX_KEPT_BATCH_BYTES",
                limit: MAX_KEPT_BATCH_BYTES,
            });
        }
        if self.queued_bytes + bytes > MAX_QUEUED_BYTES {
            let queued = self.queued_bytes;
            return Err(StoreError::Unavailable { cause: format!("{queued} bytes wait for the database already") });
        }
        for operation in batch.iter() {
            let keys = self.contents.touched_by(&operation);
            self.unkept.extend(keys.into_iter().map(|key| (operation.family(), key)));
            self.contents.apply([operation]);
        }
        self.queued_bytes += bytes;
        let (completion, written) = Written::pending();
        self.waiting.push(completion);
        Ok(written)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Between any two statements that could panic, the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for KeptStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.shared.state().contents.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.shared.state().contents.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, _durability: Durability) -> Written {
        let queued = self.shared.state().write(&batch);
        self.shared.changed.notify_one();
        queued.unwrap_or_else(|error| Written::ready(Err(error)))
    }

    fn max_batch_bytes(&self) -> usize {
        MAX_KEPT_BATCH_BYTES
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room::default())
    }
}

impl Drop for KeptStore {
    fn drop(&mut self) {
        self.shared.state().is_dropped = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for KeptStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptStore").finish_non_exhaustive()
    }
}
