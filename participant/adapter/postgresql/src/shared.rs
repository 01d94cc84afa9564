//! The parts of a participant that all its calls share.

use crate::connect::Absent;
use crate::sessions::{Sessions, Worker};
use crate::unsubmitted::Unsubmitted;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_lock::{Age, Mode};
use undoubt_participant::locks::{Locks, over};
use undoubt_participant::resource::{BranchId, Health, PreparedBranch, Room};
use undoubt_sql::{Outbox, Procedures, RowNumber, WriteNumbers};
use undoubt_vocabulary::{CoordinatorId, Refusal, RefusalCode, Timestamp, TxId};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sessions: Sessions,
    pub(crate) procedures: Procedures,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) locks: Locks,
    pub(crate) health: Mutex<Health>,
    /// The server's `max_prepared_transactions` at the last look.
    pub(crate) slots: AtomicU64,
    room: OnceLock<Room>,
    /// `None` before the first recovery.
    numbers: Mutex<Option<Arc<WriteNumbers>>>,
    branches: Mutex<BTreeMap<BranchId, Known>>,
    /// Places for branches in doubt, and who has one.
    places: Arc<Semaphore>,
    unsubmitted: Mutex<Unsubmitted>,
    placed: Mutex<BTreeMap<BranchId, OwnedSemaphorePermit>>,
    /// The branches that have lock keys, by their transaction. Attempts under one id come one after the other, and one that is over
    /// must not free the keys of the next.
    holders: Mutex<BTreeMap<TxId, BranchId>>,
}

/// A branch that is not over, as far as is known here.
#[derive(Debug)]
pub(crate) enum Known {
    /// It is prepared under this name, or was to be.
    Prepared {
        gid: String,
        /// The number of its evidence; `None` of one that was recovered.
        row: Option<RowNumber>,
        /// True if it publishes events, or may.
        publishes: bool,
    },
    /// It was found prepared under this name, and nobody has told it to end yet.
    Found { gid: String, begun_at: Timestamp },
    /// It has read, in a transaction that is still open.
    Reading(Box<Worker>),
}

impl Shared {
    pub(crate) fn new(sessions: Sessions, procedures: Procedures) -> Shared {
        let max_in_doubt = sessions.connector().settings().max_in_doubt;
        Shared {
            sessions,
            procedures,
            outbox: Arc::default(),
            locks: Locks::default(),
            health: Mutex::default(),
            unsubmitted: Mutex::default(),
            // Not known yet.
            slots: AtomicU64::new(u64::MAX),
            room: OnceLock::new(),
            numbers: Mutex::default(),
            branches: Mutex::default(),
            places: Arc::new(Semaphore::new(max_in_doubt)),
            placed: Mutex::default(),
            holders: Mutex::default(),
        }
    }

    pub(crate) fn use_room(&self, room: Room) {
        // Called once.
        let _ = self.room.set(room);
    }

    pub(crate) fn room(&self) -> &Room {
        self.room.get_or_init(Room::default)
    }

    /// Takes the numbers of another start.
    pub(crate) fn begin_numbers(&self, numbers: WriteNumbers) {
        let numbers = Arc::new(numbers);
        self.sessions.begin_numbers(numbers.clone());
        *self.numbers.lock().expect("the numbers are whole") = Some(numbers);
    }

    /// Returns the numbers of this start's writes.
    pub(crate) fn numbers(&self) -> Result<Arc<WriteNumbers>, Absent> {
        let numbers = self.numbers.lock().expect("the numbers are whole").clone();
        numbers.ok_or_else(|| Absent::Away("the recovery is not over yet".to_owned()))
    }

    /// Waits for the keys of a branch.
    pub(crate) async fn lock(
        &self,
        id: &BranchId,
        begun_at: Timestamp,
        keys: &BTreeMap<Bytes, Mode>,
        timeout: Duration,
        cancelled: &CancellationToken,
    ) -> Result<(), Refusal> {
        let age = Age { begun_at, tx: id.tx.clone() };
        self.locks.lock(&age, keys, timeout, cancelled).await?;
        self.holders().insert(id.tx.clone(), id.clone());
        Ok(())
    }

    /// Notes that the decision about a branch is known.
    pub(crate) fn leaving(&self, id: &BranchId) {
        if self.holders().get(&id.tx) == Some(id) {
            self.locks.leaving(&id.tx);
        }
    }

    /// Frees the keys of a branch, if it has any.
    pub(crate) fn unlock(&self, id: &BranchId) {
        let mut holders = self.holders();
        if holders.get(&id.tx) == Some(id) {
            holders.remove(&id.tx);
            self.locks.release(&id.tx);
        }
    }

    fn holders(&self) -> MutexGuard<'_, BTreeMap<TxId, BranchId>> {
        // Nothing between taking and freeing it can panic but the table of locks, which is not to be trusted then.
        self.holders.lock().expect("the map of holders is whole")
    }

    /// Waits for a place among the branches in doubt. Whoever ends what is prepared waits for none.
    pub(crate) async fn place(
        &self,
        id: &BranchId,
        deadline: Instant,
        cancelled: &CancellationToken,
    ) -> Result<(), Refusal> {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(over(&id.tx)),
            place = self.places.clone().acquire_owned() => {
                let place = place.expect("the semaphore is never closed");
                self.placed().insert(id.clone(), place);
                Ok(())
            }
            () = tokio::time::sleep_until(deadline) => {
                let most = self.sessions.connector().settings().max_in_doubt;
                let detail = format!(
                    "{most} branches were in doubt until its time was over (resource.max_in_doubt); look whether their coordinators are \
                     well, and try again"
                );
                Err(Refusal::new(RefusalCode::Unavailable, detail))
            }
        }
    }

    /// Gives up the place of a branch, if it has one.
    pub(crate) fn leave_place(&self, id: &BranchId) {
        self.placed().remove(id);
    }

    /// Returns the number of branches that there may yet be in doubt.
    pub(crate) fn places_left(&self) -> usize {
        self.places.available_permits()
    }

    fn placed(&self) -> MutexGuard<'_, BTreeMap<BranchId, OwnedSemaphorePermit>> {
        // Nothing between taking and freeing it can panic.
        self.placed.lock().expect("the map of places is whole")
    }

    pub(crate) fn insert(&self, id: &BranchId, known: Known) {
        self.branches().insert(id.clone(), known);
    }

    pub(crate) fn remove(&self, id: &BranchId) -> Option<Known> {
        self.branches().remove(id)
    }

    /// Takes away the reader of this branch, if it is one. What is prepared stays: it is never let go without a decision.
    pub(crate) fn take_reader(&self, id: &BranchId) -> Option<Box<Worker>> {
        let mut branches = self.branches();
        match branches.remove(id)? {
            Known::Reading(worker) => Some(worker),
            prepared @ (Known::Prepared { .. } | Known::Found { .. }) => {
                branches.insert(id.clone(), prepared);
                None
            }
        }
    }

    /// Returns the name under which this branch is prepared, or was to be.
    pub(crate) fn gid(&self, id: &BranchId) -> Option<String> {
        match self.branches().get(id)? {
            Known::Prepared { gid, .. } | Known::Found { gid, .. } => Some(gid.clone()),
            Known::Reading(_) => None,
        }
    }

    /// Returns the number of this branch's evidence, if it was written in this start.
    pub(crate) fn row(&self, id: &BranchId) -> Option<RowNumber> {
        match self.branches().get(id)? {
            Known::Prepared { row, .. } => *row,
            Known::Found { .. } => None,
            Known::Reading(_) => None,
        }
    }

    /// Returns whether this branch publishes events, as far as is known.
    pub(crate) fn publishes(&self, id: &BranchId) -> bool {
        match self.branches().get(id) {
            Some(Known::Prepared { publishes, .. }) => *publishes,
            Some(Known::Reading(_)) => false,
            Some(Known::Found { .. }) | None => true,
        }
    }

    /// Returns the names of all that is prepared here, as far as is known.
    pub(crate) fn gids(&self) -> std::collections::BTreeSet<String> {
        let gid = |known: &Known| match known {
            Known::Prepared { gid, .. } | Known::Found { gid, .. } => Some(gid.clone()),
            Known::Reading(_) => None,
        };
        self.branches().values().filter_map(gid).collect()
    }

    /// Returns what applications have prepared and nobody has submitted.
    pub(crate) fn unsubmitted(&self) -> MutexGuard<'_, Unsubmitted> {
        self.unsubmitted.lock().expect("what is not submitted is whole")
    }

    /// Notes a branch that is prepared under this name, and that nothing was known of.
    pub(crate) fn find(&self, id: BranchId, gid: String, begun_at: Timestamp) {
        self.branches().entry(id).or_insert(Known::Found { gid, begun_at });
    }

    /// Returns the branches that were found, and that nobody has told to end.
    pub(crate) fn found(&self) -> Vec<PreparedBranch> {
        let found = |(id, known): (&BranchId, &Known)| match known {
            Known::Found { begun_at, .. } => {
                Some(PreparedBranch { branch: id.clone(), begun_at: *begun_at, result: None })
            }
            Known::Prepared { .. } | Known::Reading(_) => None,
        };
        self.branches().iter().filter_map(found).collect()
    }

    /// Notes that a branch is told to end: from here on it is as any other.
    pub(crate) fn is_to_end(&self, id: &BranchId) {
        if let Some(known) = self.branches().get_mut(id)
            && let Known::Found { gid, .. } = known
        {
            *known = Known::Prepared { gid: std::mem::take(gid), row: None, publishes: true };
        }
    }

    /// Returns the branches of a coordinator below a low-water mark that have not ended here, as far as is known: their evidence is still
    /// asked for.
    pub(crate) fn open_below(&self, coordinator: CoordinatorId, mark: u64) -> Vec<(u64, TxId)> {
        let of_it = |id: &&BranchId| id.coordinator == coordinator && id.attempt_number.0 < mark;
        self.branches().keys().filter(of_it).map(|id| (id.attempt_number.0, id.tx.clone())).collect()
    }

    /// Forgets all branches: as before the first recovery.
    pub(crate) fn forget_all(&self) {
        self.branches().clear();
        self.placed().clear();
    }

    fn branches(&self) -> MutexGuard<'_, BTreeMap<BranchId, Known>> {
        // Nothing between taking and freeing it can panic.
        self.branches.lock().expect("the map of branches is whole")
    }
}
