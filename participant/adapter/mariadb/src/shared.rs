//! The parts of a participant that all its calls share.

use crate::sessions::{Sessions, Worker};
use crate::unfit::Unfit;
use crate::witness::Witness;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use undoubt_participant::locks::Locks;
use undoubt_participant::resource::{BranchId, Health, Room};
use undoubt_sql::{KeptStore, Outbox, PreparedName, Procedures};
use undoubt_vocabulary::{CoordinatorId, TxId};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sessions: Sessions,
    pub(crate) procedures: Procedures,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) unfit: Unfit,
    pub(crate) witness: Witness,
    pub(crate) locks: Locks,
    pub(crate) health: Mutex<Health>,
    /// Held while what is over is deleted.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// The audit record, since the first recovery.
    pub(crate) kept: Mutex<Option<Arc<KeptStore>>>,
    room: OnceLock<Room>,
    branches: Mutex<BTreeMap<BranchId, Known>>,
    /// The branches that the server has lost until it restarts.
    lost: Mutex<BTreeSet<BranchId>>,
}

/// A branch that is not over, as far as is known here.
#[derive(Debug)]
pub(crate) enum Known {
    /// It is prepared under this name, or was to be, with evidence of this run. The session that prepared it alone may end it, while there is that session.
    /// `publishes`: it has events, or may have.
    Prepared { name: PreparedName, slot: Option<Box<Worker>>, run: u64, publishes: bool },
    /// It has read, in a transaction that is still open.
    Reading(Box<Worker>),
}

impl Shared {
    pub(crate) fn new(sessions: Sessions, procedures: Procedures) -> Shared {
        Shared {
            sessions,
            procedures,
            outbox: Arc::default(),
            unfit: Unfit::default(),
            witness: Witness::default(),
            locks: Locks::default(),
            health: Mutex::default(),
            collecting: tokio::sync::Mutex::default(),
            kept: Mutex::default(),
            room: OnceLock::new(),
            branches: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    pub(crate) fn use_room(&self, room: Room) {
        // Called once.
        let _ = self.room.set(room);
    }

    pub(crate) fn room(&self) -> &Room {
        self.room.get_or_init(Room::default)
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
            prepared @ Known::Prepared { .. } => {
                branches.insert(id.clone(), prepared);
                None
            }
        }
    }

    /// Returns the name under which this branch is prepared, or was to be, and takes away its session, if there is one.
    pub(crate) fn take_slot(&self, id: &BranchId) -> Option<(PreparedName, Option<Box<Worker>>)> {
        match self.branches().get_mut(id)? {
            Known::Prepared { name, slot, .. } => Some((name.clone(), slot.take())),
            Known::Reading(_) => None,
        }
    }

    /// Returns the name under which this branch is prepared, or was to be.
    pub(crate) fn name_of(&self, id: &BranchId) -> Option<PreparedName> {
        match self.branches().get(id)? {
            Known::Prepared { name, .. } => Some(name.clone()),
            Known::Reading(_) => None,
        }
    }

    /// Returns the run of this branch's evidence, if it is prepared, or was to be.
    pub(crate) fn run_of(&self, id: &BranchId) -> Option<u64> {
        match self.branches().get(id)? {
            Known::Prepared { run, .. } => Some(*run),
            Known::Reading(_) => None,
        }
    }

    /// Returns whether this branch publishes events, as far as is known.
    pub(crate) fn publishes(&self, id: &BranchId) -> bool {
        match self.branches().get(id) {
            Some(Known::Prepared { publishes, .. }) => *publishes,
            Some(Known::Reading(_)) => false,
            None => true,
        }
    }

    /// Returns the names of all that is prepared here, as far as is known.
    pub(crate) fn names(&self) -> Vec<PreparedName> {
        let name = |known: &Known| match known {
            Known::Prepared { name, .. } => Some(name.clone()),
            Known::Reading(_) => None,
        };
        self.branches().values().filter_map(name).collect()
    }

    /// Returns the branches of a coordinator below a low-water mark that have not ended here, as far as is known: their evidence is still
    /// asked for.
    pub(crate) fn open_below(&self, coordinator: CoordinatorId, mark: u64) -> Vec<(u64, TxId)> {
        let of_it = |id: &&BranchId| id.coordinator == coordinator && id.attempt_number.0 < mark;
        self.branches().keys().filter(of_it).map(|id| (id.attempt_number.0, id.tx.clone())).collect()
    }

    /// Forgets all branches, as before the first recovery, and returns their sessions.
    pub(crate) fn forget_all(&self) -> Vec<Worker> {
        let session = |known: Known| match known {
            Known::Prepared { slot, .. } => slot.map(|slot| *slot),
            Known::Reading(worker) => Some(*worker),
        };
        std::mem::take(&mut *self.branches()).into_values().filter_map(session).collect()
    }

    /// Notes whether the server has lost a branch.
    pub(crate) fn note_lost(&self, id: &BranchId, is_lost: bool) {
        let mut lost = self.lost.lock().expect("the set of what is lost is whole");
        match is_lost {
            true => drop(lost.insert(id.clone())),
            false => drop(lost.remove(id)),
        }
    }

    pub(crate) fn lost(&self) -> BTreeSet<BranchId> {
        self.lost.lock().expect("the set of what is lost is whole").clone()
    }

    fn branches(&self) -> MutexGuard<'_, BTreeMap<BranchId, Known>> {
        // Nothing between taking and freeing it can panic.
        self.branches.lock().expect("the map of branches is whole")
    }
}
