//! What a resource has to be able to do to take part in transactions.
//!
//! A [`ResourceManager`] guards one resource: a store, a database, a queue. The participant's server speaks the protocol
//! (sessions, tickets, fences, inquiries, repeated messages) and calls the resource manager for what only the resource
//! can do: lock, check, do the work, and make it durable. So an adapter's author needs to know this page only, and
//! [`crate::conformance`] tells whether it keeps the contract.
//!
//! # The contract
//! * [`recover`](ResourceManager::recover) comes once and first.
//! * For one transaction id at most one call for a branch is under way at a time, and for one step of a saga at most one
//!   call, so no call meets its own repetition. A saga is closed, or its semantic locks are released, while no other call for it is under way. All else
//!   overlaps as it likes: branches of different transactions, steps, a branch and steps under one transaction id, and
//!   calls for a coordinator: of several epochs or fences the
//!   highest holds. No future is dropped before it is done.
//! * A success says that what the call promises is true, durability included. The server answers the coordinator on the
//!   strength of it (R1, R2).
//! * Storage that fails stops the process (R8): [`ResourceError::Stopped`]. [`ResourceError::Unavailable`] means that
//!   nothing happened; the server will try again.
//! * Results are bounded in memory (R9): before it computes one, a resource manager that was given a [`Room`] asks what
//!   [size](Room::largest) there is room for, and [counts](Room::hold) what it has computed until it is written. What comes to
//!   more it does not finish: it leaves nothing behind, neither data nor locks, and says [`ResourceError::NoRoom`]. The server
//!   brings the work again once there is room.
//! * A resource manager that cannot prepare ([`can_prepare`](ResourceManager::can_prepare)) takes part in sagas and in
//!   one-phase transactions all the same. For a saga it has to keep each step's barrier: a record of what became of the
//!   step, in the same local transaction as its work. What is a repetition, empty or late the server decides (promise 8
//!   of `session.proto`); the resource manager only stores what it is handed, and tells it again after a restart.
//! * Time is tokio's, and nothing is drawn at random: the simulation runs adapters too.

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use undoubt_platform::{BackingUp, BackupError};
use undoubt_vocabulary::{
    BranchOutcome, CoordinatorId, DigestMap, Epoch, Prepare, Refusal, RefusalCode, RunStep, Starts, StepOutcome,
    Ticket, Timestamp, TxId, Vote, WriteNumber,
};

pub use crate::room::{Held, Room};
pub use undoubt_participant_core::Loss;
pub use undoubt_participant_core::branch_id::BranchId;
pub use undoubt_participant_core::heuristic::Heuristic;
pub use undoubt_participant_core::release::Release;
pub use undoubt_participant_core::step::{StepId, StepState};
pub use undoubt_participant_core::{Kept, SHORT_RESULT_BYTES};

/// A resource that takes part in transactions. The module's page states the contract that holds for all calls.
pub trait ResourceManager: Send + Sync + 'static {
    /// What kind of resource this is, for people: "kv", "postgresql".
    fn kind(&self) -> &'static str;

    /// Why it takes no new work at the moment, for people; `None` while all is well.
    fn refusing_work_because(&self) -> Option<String> {
        None
    }

    /// Whether it can vote prepared. Of one that cannot, the server refuses two-phase work itself.
    fn can_prepare(&self) -> bool {
        true
    }

    /// Called once, first: where what it computes counts. A resource manager without large results need not mind.
    fn use_room(&self, _room: Room) {}

    /// Returns the number of the last write of its log that is on stable storage. `None`: it does not number its writes, so
    /// nobody would notice if an older copy of it was put back. What it answered was written no later than this.
    fn number(&self) -> Option<WriteNumber> {
        None
    }

    /// Remembers something of others that [`recover`](Self::recover) has to tell again, in place of what was remembered under
    /// the same key: at once in memory, and on stable storage with its next forced write. One that does not number its writes
    /// need not.
    fn remember(&self, _key: Bytes, _value: Bytes) {}

    /// Stores why its log is believed to be an older copy; forced. Only of one that numbers its writes.
    fn store_put_back(&self, _why: String) -> impl Future<Output = Result<(), ResourceError>> + Send {
        std::future::ready(Err(unnumbered()))
    }

    /// Stores a loss that an operator has accepted, and begins another start with this mark, from which writes are numbered
    /// anew; forced. Its log is not believed to be an older copy any more. Only of one that numbers its writes.
    fn accept_loss(&self, _loss: Loss, _mark: u64) -> impl Future<Output = Result<Starts, ResourceError>> + Send {
        std::future::ready(Err(unnumbered()))
    }

    /// Whether it tells results again that it has stored ([`result_of`](Self::result_of), and of a step). Of one that does, the
    /// server keeps none in memory that is longer than [`SHORT_RESULT_BYTES`]; nor should it hand them out when it recovers.
    /// Of any other they are in memory until the fence passes them, and their bound is soon reached where one transaction
    /// is stuck.
    fn recalls_results(&self) -> bool {
        false
    }

    /// The result with which a one-phase branch committed; `None` if it is not stored, or not any more. Asked only of one that
    /// recalls results, and at any time.
    fn result_of(&self, _branch: BranchId) -> impl Future<Output = Result<Option<Bytes>, ResourceError>> + Send {
        std::future::ready(Ok(None))
    }

    /// The same of an action that is in effect.
    fn result_of_step(&self, _step: StepId) -> impl Future<Output = Result<Option<Bytes>, ResourceError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Called once, before all else: tells what survived. When it returns, the prepared branches hold their locks again.
    fn recover(&self) -> impl Future<Output = Result<Recovered, ResourceError>> + Send;

    /// Stores the highest epoch seen of a coordinator, forced before it returns (R5).
    fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Waits for the locks, checks, does the work, and makes the vote durable with all that is needed to commit (R2).
    ///
    /// A lock wait ends at `prepare.timeout` or once `cancelled` (R12): the branch is over then. Later than that a
    /// cancellation may be ignored, and an abort follows. A refusal leaves nothing behind, neither data nor locks.
    ///
    /// Two-phase: work that wrote nothing is voted read-only and keeps its locks, in memory only, until
    /// [`release`](Self::release). One-phase: commits at once, and in the same write stores what the branch came to, with
    /// its result; the locks are free when it returns. Work that wrote nothing is voted read-only and leaves no trace.
    fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> impl Future<Output = Result<Vote, ResourceError>> + Send;

    /// Prepares branches that came together, each as [`prepare`](Self::prepare) does: for a resource to which many at once
    /// are cheaper than each by itself. Each future tells what became of some of the branches, all of them together of
    /// all; what keeps one branch waiting keeps no other. Who has to wait for locks asks for a token. An error of a
    /// future stops the process: what is not available is a refusal here.
    fn prepare_all(
        self: &Arc<Self>,
        calls: Vec<(BranchId, Prepare)>,
        cancellations: &mut Cancellations,
    ) -> Vec<Preparing>
    where
        Self: Sized,
    {
        prepare_each(self, calls, cancellations)
    }

    /// Commits a prepared branch: its work becomes visible, what it came to is stored (both in one forced write), its
    /// locks are freed. May be repeated; the caller has checked that the branch was prepared here.
    fn commit(&self, branch: BranchId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Commits branches that came together, each as [`commit`](Self::commit) does. Each future commits the branches
    /// beside it, all or none; if they cannot be committed now, the server commits them one by one.
    fn commit_all(self: &Arc<Self>, branches: Vec<BranchId>) -> Vec<Committing>
    where
        Self: Sized,
    {
        commit_each(self, branches)
    }

    /// Undoes a branch, prepared or read-only, and frees its locks. Need not be forced: an abort that a crash forgets is
    /// presumed again on inquiry. May be repeated, and be for a branch that is not known.
    fn abort(&self, branch: BranchId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// A read-only branch leaves (R7): frees its locks, stores nothing. May be repeated, and be for a branch not known.
    fn release(&self, branch: BranchId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Ends a prepared branch as an operator decided (R3): commits or undoes it and stores the decision, in one forced
    /// write, then frees its locks. May be repeated; the caller has checked that the branch was prepared here.
    fn resolve(&self, branch: BranchId, heuristic: Heuristic)
    -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Stores the heuristic outcome anew, now with the coordinator's decision; forced.
    fn note_decision(
        &self,
        branch: BranchId,
        heuristic: Heuristic,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Drops a heuristic outcome's record; forced. May be repeated.
    fn forget_heuristic(&self, branch: BranchId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Every attempt of this coordinator below `fence` is over: drops what was kept only to recognise it, barriers of steps
    /// and their semantic locks among it, and remembers the fence, all in one write that need not be forced. Branches still
    /// prepared below it stay.
    fn collect(
        &self,
        coordinator: CoordinatorId,
        fence: Ticket,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// A step's action: waits for the locks, checks, does the work, and stores with it that it is in effect
    /// ([`StepState::Acted`]), its result and which semantic locks it leaves, all in one forced write. The locks are free
    /// when it returns. Work that only reads stores its barrier too.
    ///
    /// A lock wait ends at `run.timeout` or once `cancelled`. Later than that a cancellation may be ignored. A refusal
    /// leaves nothing behind: neither data nor locks nor a barrier. The locks are the step's own: a branch that is
    /// prepared under the same transaction id keeps its.
    fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> impl Future<Output = Result<StepOutcome, ResourceError>> + Send;

    /// Undoes a step whose action is in effect: does the compensation's work, stores that it is undone
    /// ([`StepState::Compensated`]) and drops the step's semantic locks, all in one forced write. The locks are free when
    /// it returns. The last of `run.inputs` is the action's result.
    ///
    /// Returns [`StepOutcome::Done`], whose result nobody reads, or a refusal, which leaves all as it was. What is open
    /// has to end, so it is not refused for want of room.
    fn compensate(&self, step: StepId, run: RunStep)
    -> impl Future<Output = Result<StepOutcome, ResourceError>> + Send;

    /// A compensation came whose action is not in effect: stores that ([`StepState::Empty`]), forced.
    fn store_empty(&self, step: StepId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// The saga is over: drops the semantic locks of all its steps, and from their barriers that there were any, in one
    /// forced write. May be repeated, and be for a saga that has none.
    fn close_saga(
        &self,
        coordinator: CoordinatorId,
        ticket: Ticket,
        tx: TxId,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Drops a saga's semantic locks before it is over, as [`close_saga`](Self::close_saga) does, on an operator's word, which is
    /// stored with the barriers. Called while no call for the saga's steps is under way.
    fn release_marks(
        &self,
        coordinator: CoordinatorId,
        ticket: Ticket,
        tx: TxId,
        release: Release,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// The semantic locks there are, in the order of their keys: from the first key above `after` on, at most `limit`.
    fn marks(&self, after: Bytes, limit: usize) -> impl Future<Output = Result<Vec<Mark>, ResourceError>> + Send;

    /// Copies all that it keeps into the folder `to`, as [`undoubt_platform::Store::backup`] does, while all else goes on. For
    /// a resource that keeps its data in a folder of its own. The future is no call of the resource: it may be dropped.
    fn backup(&self, to: &Path) -> BackingUp {
        BackupError::not_offered(to)
    }
}

/// A semantic lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The marked key, in the resource's own form.
    pub key: Bytes,
    pub by: StepId,
    /// When the saga began, by its coordinator's clock; 0 if that is not known.
    pub begun_at: Timestamp,
}

/// What became of some branches.
pub type Votes = Vec<(BranchId, Vote)>;

/// Branches that were prepared together, or were not for want of room.
#[derive(Debug, Default)]
pub struct Voted {
    pub votes: Votes,
    /// There was no room for what they came to. Nothing is left behind of them.
    pub put_off: Vec<(BranchId, Prepare)>,
}

/// Some of the branches that are prepared together.
pub type Preparing = BoxFuture<'static, Result<Voted, ResourceError>>;

/// Some of the branches that are committed together: which, and when they are.
pub type Committing = (Vec<BranchId>, BoxFuture<'static, Result<(), ResourceError>>);

/// Prepares each branch by itself.
pub fn prepare_each<R: ResourceManager>(
    resource: &Arc<R>,
    calls: Vec<(BranchId, Prepare)>,
    cancellations: &mut Cancellations,
) -> Vec<Preparing> {
    let one = |(branch, prepare): (BranchId, Prepare)| {
        let (resource, token) = (resource.clone(), cancellations.token(&branch));
        async move {
            let vote = match resource.prepare(branch.clone(), prepare.clone(), token).await {
                Ok(vote) => vote,
                Err(ResourceError::NoRoom) => {
                    return Ok(Voted { votes: Vec::new(), put_off: vec![(branch, prepare)] });
                }
                Err(ResourceError::Unavailable { cause }) => {
                    Vote::Refused(Refusal::new(RefusalCode::Unavailable, cause))
                }
                Err(stopped @ ResourceError::Stopped { .. }) => return Err(stopped),
            };
            Ok(Voted { votes: vec![(branch, vote)], put_off: Vec::new() })
        }
        .boxed()
    };
    calls.into_iter().map(one).collect()
}

/// Commits each branch by itself.
pub fn commit_each<R: ResourceManager>(resource: &Arc<R>, branches: Vec<BranchId>) -> Vec<Committing> {
    let one = |branch: BranchId| {
        let (resource, committed) = (resource.clone(), branch.clone());
        (vec![branch], async move { resource.commit(committed).await }.boxed())
    };
    branches.into_iter().map(one).collect()
}

/// How waits for locks are ended before their time. Few branches have to wait, and only those get a token.
#[derive(Debug, Default)]
pub struct Cancellations(DigestMap<BranchId, CancellationToken>);

impl Cancellations {
    /// What ends this branch's wait.
    pub fn token(&mut self, branch: &BranchId) -> CancellationToken {
        self.0.get_or_insert_with(branch.clone(), CancellationToken::new).clone()
    }

    /// The branch need not even begin to wait.
    pub fn is_cancelled(&self, branch: &BranchId) -> bool {
        self.0.get(branch).is_some_and(CancellationToken::is_cancelled)
    }

    /// The branch waits no more.
    pub(crate) fn remove(&mut self, branch: &BranchId) {
        self.0.remove(branch);
    }

    pub(crate) fn cancel_all(&self) {
        self.0.in_any_order().for_each(|(_, token)| token.cancel());
    }
}

/// What a resource manager finds when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The highest epoch and the highest fence of each coordinator.
    pub coordinators: Vec<(CoordinatorId, Epoch, Ticket)>,
    /// In doubt, locked again; with the time when their transaction began, and the result they voted with.
    pub prepared: Vec<(BranchId, Timestamp, Bytes)>,
    /// What branches came to, with the result of those that committed in one phase; at or above their fence.
    pub finished: Vec<(BranchId, BranchOutcome, Kept)>,
    /// With the time when their transaction began.
    pub heuristics: Vec<(BranchId, Timestamp, Heuristic)>,
    /// Barriers of sagas' steps; at or above their fence.
    pub steps: Vec<(StepId, StepState)>,
    /// Of one that numbers its writes.
    pub log: Option<RecoveredLog>,
}

/// What a log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredLog {
    pub starts: Starts,
    /// Why it is believed to be an older copy.
    pub put_back: Option<String>,
    /// By their keys.
    pub remembered: BTreeMap<Bytes, Bytes>,
    /// The oldest first, with the last write that was left.
    pub losses: Vec<(Loss, WriteNumber)>,
}

fn unnumbered() -> ResourceError {
    ResourceError::Unavailable { cause: "this resource does not number its writes".to_owned() }
}

/// Why a resource manager did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    #[error("the resource cannot do this now: {cause}. Nothing happened; try again later")]
    Unavailable { cause: String },
    /// Only of a prepare and of a step's action.
    #[error("there is no room for the result now. Nothing happened; try again once there is")]
    NoRoom,
    #[error("the resource failed: {cause}. It is unknown what is stored: this process must stop and recover (R8)")]
    Stopped { cause: String },
}
