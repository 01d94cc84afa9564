//! A store whose writes are numbered, and what its owner has seen of other logs.
//!
//! Each batch carries its number, so that a log knows after a crash how far its owner's last start came: at least to the last
//! write that was answered as stable, for a crash leaves a prefix. What the owner has seen of others is remembered with the
//! next forced write, which costs no write of its own.
//!
//! In the family of the folder's identity:
//!
//! | key | value |
//! | --- | --- |
//! | `start` | the last start: losses and count (u32), mark (u64), big-endian |
//! | `number` | the writes of that start: u64, big-endian |
//! | `start/`, losses and count (u32) | an earlier start: its mark and how many writes of it there are (u64) |
//! | `seen/`, whose log | what the owner remembers of it, as it encodes that |
//! | `put-back` | why this log is believed to be an older copy, until that is cleared: UTF-8 |

use crate::metrics::StoreFigures;
use crate::store::{
    BackingUp, Batch, Direction, Durability, Family, Pauses, Room, Store, StoreError, Written, write_until_taken,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use undoubt_vocabulary::Epoch;
use undoubt_vocabulary::witness::{Start, Starts, WriteNumber};

const START_KEY: &str = "start";
const NUMBER_KEY: &str = "number";
const PAST: &[u8] = b"start/";
const SEEN: &[u8] = b"seen/";
const PUT_BACK_KEY: &str = "put-back";

/// Starts that are kept with their last numbers. What others show of older ones is not looked up any more.
pub(crate) const MAX_PAST_STARTS: usize = 10_000;

/// The most that one write remembers of others; the rest goes with the next.
const MAX_SEEN_PER_WRITE: usize = 64;

/// The room for that and for the number.
const BESIDE_BYTES: usize = 16 << 10;

/// A store that numbers what is written through it.
pub struct NumberedStore {
    store: Arc<dyn Store>,
    meta: Family,
    log: [u8; 16],
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    start: Start,
    writes: u64,
    /// The number of writes that are on stable storage, as far as answers have been taken.
    stable: u64,
    seen: BTreeMap<Bytes, Bytes>,
    /// The keys of those that are not stored as they are here.
    unstored: BTreeSet<Bytes>,
}

/// The numbers of a start that another is about to follow.
struct Before {
    start: Start,
    writes: u64,
    stable: u64,
}

/// The starts of a log, as it tells them when it is opened.
#[derive(Clone, Debug)]
pub struct Known {
    pub starts: Starts,
    /// The numbers that its owner has seen, by whose log they are of.
    pub seen: BTreeMap<Bytes, Bytes>,
    /// The reason why it is believed to be an older copy.
    pub put_back: Option<String>,
}

/// A sign in a folder itself that it was put back.
pub struct FolderSign {
    pub why: String,
    /// Takes it away from the folder. Only once it is stored: a crash must not lose both.
    pub settle: Box<dyn FnOnce() -> Result<(), StoreError> + Send>,
}

impl NumberedStore {
    /// Begins another start over a store: its count is above every one before and above `above`, and it is on stable storage
    /// when this returns.
    ///
    /// # Errors
    /// Those of the store; [`StoreError::Damaged`] if what is stored of starts cannot be read, or no start can be counted any more.
    pub async fn begin(
        store: Arc<dyn Store>,
        meta: Family,
        log: [u8; 16],
        above: u32,
        mark: u64,
    ) -> Result<(NumberedStore, Known), StoreError> {
        let writes = match store.get(meta, NUMBER_KEY.as_bytes())? {
            Some(stored) => u64::from_be_bytes(fixed(meta, NUMBER_KEY, &stored)?),
            None => 0,
        };
        NumberedStore::begin_after(store, meta, log, above, mark, |_| writes).await
    }

    /// Begins another start, as [`begin`](Self::begin) does, where writes are numbered elsewhere. `writes`: how many of the last start
    /// are held.
    pub async fn begin_after(
        store: Arc<dyn Store>,
        meta: Family,
        log: [u8; 16],
        above: u32,
        mark: u64,
        writes: impl FnOnce(Start) -> u64,
    ) -> Result<(NumberedStore, Known), StoreError> {
        let last = match store.get(meta, START_KEY.as_bytes())? {
            Some(stored) => Some(read_start(meta, &stored)?),
            None => None,
        };
        let writes = last.map_or(0, writes);
        let count = next_epoch(last.map_or(0, |last| last.count), above)?.0;
        let start = Start { losses: last.map_or(0, |last| last.losses), count, mark };
        let mut starts = Starts::new(log, start);
        let mut batch = Batch::default();
        let past = prefixed(store.as_ref(), meta, PAST)?;
        for (place, value) in &past {
            let (start, writes) = read_past(meta, place, value)?;
            starts.add_past(start, writes);
        }
        let too_many = (past.len() + 1).saturating_sub(MAX_PAST_STARTS);
        past.keys().take(too_many).for_each(|place| batch.delete(meta, [PAST, place].concat()));
        if let Some(last) = last {
            starts.add_past(last, writes);
            put_past(&mut batch, meta, &last, writes);
        }
        let put_back = store.get(meta, PUT_BACK_KEY.as_bytes())?;
        let put_back = put_back.map(|why| String::from_utf8_lossy(&why).into_owned());
        let seen = prefixed(store.as_ref(), meta, SEEN)?;
        put_start(&mut batch, meta, &start);
        write_until_taken(store.as_ref(), batch, Durability::Forced).await?;
        let state = State { start, seen: seen.clone(), ..State::default() };
        let numbered = NumberedStore { store, meta, log, state: Arc::new(Mutex::new(state)) };
        Ok((numbered, Known { starts, seen, put_back }))
    }

    /// Returns the number of the last write that is on stable storage, as far as answers have been taken.
    pub fn stable(&self) -> WriteNumber {
        let state = self.state();
        WriteNumber { log: self.log, start: state.start, writes: state.stable }
    }

    /// Remembers what was seen of somebody's log: at once in memory, and on stable storage with the next forced write.
    pub fn remember(&self, whose: &[u8], seen: Bytes) {
        let mut state = self.state();
        if state.seen.get(whose) != Some(&seen) {
            let whose = Bytes::copy_from_slice(whose);
            state.unstored.insert(whose.clone());
            state.seen.insert(whose, seen);
        }
    }

    /// Returns what is remembered of somebody's log.
    pub fn remembered(&self, whose: &[u8]) -> Option<Bytes> {
        self.state().seen.get(whose).cloned()
    }

    /// Returns once all that is remembered is on stable storage.
    pub async fn store_remembered(&self) -> Result<(), StoreError> {
        while !self.state().unstored.is_empty() {
            write_until_taken(self, Batch::default(), Durability::Forced).await?;
        }
        Ok(())
    }

    /// Writes nothing but a number, so that whoever has been fenced hears of it.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the store has another owner by now; those of the store.
    pub async fn check_owner(&self) -> Result<(), StoreError> {
        write_until_taken(self, Batch::default(), Durability::Forced).await
    }

    /// Notes why the log is believed to be an older copy. That is on stable storage when this returns.
    pub async fn note_put_back(&self, why: &str) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(self.meta, PUT_BACK_KEY, why);
        write_until_taken(self, batch, Durability::Forced).await
    }

    /// Takes a sign from the folder into the log, where it stays until it is cleared or the loss accepted.
    pub async fn note_folder_sign(&self, known: &mut Known, sign: Option<FolderSign>) -> Result<(), StoreError> {
        let Some(FolderSign { why, settle }) = sign else { return Ok(()) };
        if known.put_back.is_none() {
            self.note_put_back(&why).await?;
            known.put_back = Some(why);
        }
        settle()
    }

    /// Notes that the log is the newest after all.
    pub async fn clear_put_back(&self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.delete(self.meta, PUT_BACK_KEY);
        write_until_taken(self, batch, Durability::Forced).await
    }

    /// Begins another start after a loss that an operator has accepted. Its counts of losses and of starts are above those of
    /// `above` too, so that nothing that others have seen before is a sign any more. `beside` is stored with it. On stable
    /// storage when this returns.
    pub async fn accept_loss(&self, above: Start, mark: u64, beside: Batch) -> Result<Starts, StoreError> {
        let mut pauses = Pauses::default();
        loop {
            let (before, starts, written) = self.begin_after_loss(above, mark, beside.clone())?;
            let cause = match written.await {
                Err(StoreError::Unavailable { cause }) => cause,
                done => return done.map(|()| starts),
            };
            {
                // The start was not begun. What was written meanwhile belongs to the one before.
                let mut state = self.state();
                let writes = before.writes + state.writes;
                *state = State { writes, start: before.start, stable: before.stable, ..std::mem::take(&mut *state) };
            }
            tracing::warn!(%cause, "the store cannot be written now; accepting the loss is tried again");
            pauses.pause().await;
        }
    }

    fn begin_after_loss(
        &self,
        above: Start,
        mark: u64,
        mut batch: Batch,
    ) -> Result<(Before, Starts, Written), StoreError> {
        // Held while the write is queued, as every other write.
        let mut state = self.state();
        let before = Before { start: state.start, writes: state.writes, stable: state.stable };
        let losses = before.start.losses.max(above.losses).saturating_add(1);
        let start = Start { losses, count: next_epoch(before.start.count, above.count)?.0, mark };
        put_past(&mut batch, self.meta, &before.start, before.writes);
        put_start(&mut batch, self.meta, &start);
        batch.delete(self.meta, PUT_BACK_KEY);
        let mut starts = Starts::new(self.log, start);
        starts.add_past(before.start, before.writes);
        *state = State { start, writes: 0, stable: 0, ..std::mem::take(&mut *state) };
        Ok((before, starts, self.store.write(batch, Durability::Forced)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Store for NumberedStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.store.scan(family, from, to, direction, limit)
    }

    fn write(&self, mut batch: Batch, durability: Durability) -> Written {
        // Held while the write is queued: numbers are in the order of writes.
        let mut state = self.state();
        state.writes += 1;
        let writes = state.writes;
        batch.put(self.meta, NUMBER_KEY, writes.to_be_bytes());
        match durability {
            Durability::Lazy => self.store.write(batch, durability),
            Durability::Forced => {
                for _ in 0..MAX_SEEN_PER_WRITE {
                    let Some(whose) = state.unstored.pop_first() else { break };
                    let seen = state.seen.get(&whose).cloned().unwrap_or_default();
                    batch.put(self.meta, [SEEN, &whose].concat(), seen);
                }
                let (noted, start) = (Arc::clone(&self.state), state.start);
                self.store.write(batch, durability).observed_by(move |answer| {
                    let mut state = lock(&noted);
                    match answer {
                        Ok(()) if state.start == start => state.stable = state.stable.max(writes),
                        Ok(()) => {}
                        // What was remembered with it may not be.
                        Err(_) => state.unstored = state.seen.keys().cloned().collect(),
                    }
                })
            }
        }
    }

    fn max_batch_bytes(&self) -> usize {
        self.store.max_batch_bytes().saturating_sub(BESIDE_BYTES)
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }

    fn figures(&self) -> Option<StoreFigures> {
        self.store.figures()
    }

    fn backup(&self, to: &Path) -> BackingUp {
        self.store.backup(to)
    }
}

impl fmt::Debug for FolderSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderSign").field("why", &self.why).finish_non_exhaustive()
    }
}

impl fmt::Debug for NumberedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NumberedStore").field("stable", &self.stable()).finish_non_exhaustive()
    }
}

/// Returns the number of the start after `last`, above `above` too: the epoch of a coordinator. It is taken once it is on stable
/// storage, through the store, so that whoever had that before has taken a lower one, and nobody else takes the same.
fn next_epoch(last: u32, above: u32) -> Result<Epoch, StoreError> {
    let last = last.max(above);
    if last >= Epoch::LAST.0 {
        let detail = format!(
            "it is {last}, and starts can be told apart up to {} only; set its owner up anew with an empty folder, a coordinator \
             with --new",
            Epoch::LAST.0
        );
        return Err(StoreError::Damaged { place: "the count of starts".to_owned(), detail });
    }
    Ok(Epoch(last + 1))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing between taking and freeing it can panic.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put_start(batch: &mut Batch, meta: Family, start: &Start) {
    let Start { losses, count, mark } = start;
    batch.put(meta, START_KEY, [&losses.to_be_bytes()[..], &count.to_be_bytes(), &mark.to_be_bytes()].concat());
    batch.put(meta, NUMBER_KEY, 0_u64.to_be_bytes());
}

fn put_past(batch: &mut Batch, meta: Family, start: &Start, writes: u64) {
    let key = [PAST, &start.losses.to_be_bytes(), &start.count.to_be_bytes()].concat();
    batch.put(meta, key, [start.mark.to_be_bytes(), writes.to_be_bytes()].concat());
}

fn read_start(meta: Family, stored: &Bytes) -> Result<Start, StoreError> {
    let bytes: [u8; 16] = fixed(meta, START_KEY, stored)?;
    let [losses, count] = [0, 4].map(|at| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte])));
    Ok(Start { losses, count, mark: u64::from_be_bytes(std::array::from_fn(|byte| bytes[8 + byte])) })
}

fn read_past(meta: Family, place: &Bytes, value: &Bytes) -> Result<(Start, u64), StoreError> {
    let place: [u8; 8] = fixed(meta, "start/", place)?;
    let value: [u8; 16] = fixed(meta, "start/", value)?;
    let [losses, count] = [0, 4].map(|at| u32::from_be_bytes(std::array::from_fn(|byte| place[at + byte])));
    let [mark, writes] = [0, 8].map(|at| u64::from_be_bytes(std::array::from_fn(|byte| value[at + byte])));
    Ok((Start { losses, count, mark }, writes))
}

fn fixed<const BYTES: usize>(meta: Family, key: &str, stored: &Bytes) -> Result<[u8; BYTES], StoreError> {
    stored.as_ref().try_into().map_err(|_| StoreError::Damaged {
        place: format!("family '{}', key {key}", meta.0),
        detail: format!("it has {} bytes instead of {BYTES}", stored.len()),
    })
}

/// Returns everything under a prefix, without it.
fn prefixed(store: &dyn Store, meta: Family, prefix: &[u8]) -> Result<BTreeMap<Bytes, Bytes>, StoreError> {
    let mut to = prefix.to_vec();
    if let Some(last) = to.last_mut() {
        *last += 1;
    }
    let found = store.scan(meta, prefix, Some(&to), Direction::Forward, usize::MAX)?;
    Ok(found.into_iter().map(|(key, value)| (key.slice(prefix.len()..), value)).collect())
}

#[cfg(test)]
mod tests;
