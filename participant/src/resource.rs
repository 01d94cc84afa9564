//! The contract of a resource: what it has to be able to do to take part in transactions.
//!
//! A resource is what an adapter guards: a store, a database, a queue, a service. The participant's server speaks the protocol
//! (sessions, attempts, low-water marks, inquiries, repeated messages) and calls the adapter for what only the resource can
//! do: lock, check, do the work, and make it durable. So an adapter's author needs to know this page only, and
//! [`crate::conformance`] tells whether it keeps the contract.
//!
//! # Abilities
//! | trait | what it can do | example |
//! | --- | --- | --- |
//! | [`Resource`] | says what it is, and what of it survived | every adapter |
//! | [`Steps`] | runs the actions and compensations of sagas, each a local transaction with a barrier | a message stream, an HTTP service |
//! | [`Branches`] | also votes prepared, and commits or aborts later: two-phase commit | a database |
//!
//! One that only takes steps is served through [`StepsOnly`], and has no line about branches. Methods with a body are
//! options: without them a resource has no semantic locks, numbers no writes, takes no branches together, makes no backups.
//!
//! # What holds for all calls
//! * [`recover`](Resource::recover) comes first, and is repeated until it succeeds.
//! * For one transaction id at most one call for a branch is under way at a time, and for one step of a saga at most one, so no
//!   call meets its own repetition. A saga is closed, or its semantic locks are released, while no other call for it is under
//!   way. All else overlaps as it likes: branches of different transactions, steps, a branch and steps under one transaction
//!   id, and calls for a coordinator: of several epochs or low-water marks the highest holds. No future is dropped before it is
//!   done, save that of a [`backup`](Resource::backup).
//! * A success says that what the call promises is true, durability included. The server answers the coordinator on the
//!   strength of it (R1, R2).
//! * The promise is what [`recover`](Resource::recover) tells, not how it is kept. After a crash in the midst of a call, either
//!   all that the call promises is told, or nothing of it. A store of its own does that with one forced write. A
//!   database that prepares by itself (`PREPARE TRANSACTION`, `XA PREPARE`) cannot put a record of the adapter into the same
//!   transaction: there the list of what is prepared *is* the record, and a row written within the branch proves that it
//!   committed. Where two writes cannot be avoided, the first is the intent, and `recover` finishes what has one before it
//!   returns.
//! * Results are bounded in memory (R9): before it computes one, a resource that was given a [`Room`] asks what
//!   [size](Room::largest) there is room for, and [counts](Room::hold) what it has computed until it is written. What comes to
//!   more it does not finish: it leaves nothing behind, neither data nor locks, and says [`ResourceError::NoRoom`]. The server
//!   brings the work again once there is room.
//! * Time is tokio's, and nothing is drawn at random: the simulation runs adapters too.
//!
//! # Errors, and what the server does on them
//! | error | what it says | a call that may be repeated | `prepare` | `act`, `compensate`, `complete` |
//! | --- | --- | --- | --- | --- |
//! | [`Unavailable`](ResourceError::Unavailable) | nothing happened | repeated, with growing pauses | refused | refused; the others are repeated |
//! | [`NoRoom`](ResourceError::NoRoom) | nothing happened | – | brought again once there is room | the same |
//! | [`Unclear`](ResourceError::Unclear) | it may have happened, or happen yet | repeated | two-phase: [aborted](Branches::abort), then refused. One-phase: [settled](Branches::settle) | [settled](Steps::settle_step) |
//! | [`Foreign`](ResourceError::Foreign), [`Stopped`](ResourceError::Stopped), [`Fenced`](ResourceError::Fenced) | it must not go on | the process ends | the process ends | the process ends |
//!
//! All calls may be repeated but `prepare`, `act`, `compensate` and `complete`. The server never guesses: an answer that is unclear becomes
//! clear before anybody is told.

mod batches;
mod error;
mod recovery;
mod steps_only;

use crate::emitted::Emitted;
use crate::event_log::EventSource;
use crate::subscription::ReactionStore;
use bytes::Bytes;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_platform::{BackingUp, BackupError, Store};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, LowWaterMark, ParticipantName, Prepare, Refusal, RefusalCode, RunStep, Starts,
    StepOutcome, Timestamp, TraceContext, TxId, Vote, WriteNumber,
};

pub use crate::room::{Held, Room};
pub use batches::{Cancellations, Committing, Preparing, Voted, Votes, commit_each, prepare_each};
pub use error::ResourceError;
pub use recovery::{
    CoordinatorMarks, FinishedBranch, HeuristicBranch, PreparedBranch, Recovered, RecoveredLog, RecoveredStep,
};
pub use steps_only::StepsOnly;
pub use undoubt_participant_core::Loss;
pub use undoubt_participant_core::branch_id::BranchId;
pub use undoubt_participant_core::heuristic::Heuristic;
pub use undoubt_participant_core::release::Release;
pub use undoubt_participant_core::step::{StepId, StepState};
pub use undoubt_participant_core::{Kept, Pin, SHORT_RESULT_BYTES};

/// The abilities and duties of every resource, whatever it can take part in.
pub trait Resource: Send + Sync + 'static {
    /// Returns the kind of the resource, for people: "kv", "postgresql".
    fn kind(&self) -> &'static str;

    /// Tells what survived. Called first, before all else, and again after [`ResourceError::Unavailable`] and
    /// [`ResourceError::Unclear`]: a database that is away at the start is waited for. When it returns, the branches that are
    /// prepared hold their locks.
    ///
    /// `owner` is the participant that serves the resource. A resource remembers whose it is at the first start, in itself, and
    /// answers [`ResourceError::Foreign`] to every other, as it does if it is not the resource that it was: another database
    /// under the same address, or one restored from a backup.
    fn recover(&self, owner: &ParticipantName) -> impl Future<Output = Result<Recovered, ResourceError>> + Send;

    /// Stores the highest epoch seen of a coordinator (R5), and in the same write the key by which that proves who it is (R14), if
    /// there is one; durably before it returns. Of several pins it keeps the one that [replaces](Pin::replaces) the others, whatever order the calls end in; a call without
    /// one leaves it. May be repeated.
    fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Drops what was kept only to recognise attempts of this coordinator that are over: what their branches and steps came to,
    /// barriers and semantic locks among it. Keeps it of those that are still open, wherever they are. Remembers what is over, with
    /// what was over by an earlier call, whatever order the calls end in. Need not be durable when it returns; after a crash either all
    /// of it is done or nothing. Branches still prepared stay. May be repeated.
    fn collect(
        &self,
        coordinator: CoordinatorId,
        over: LowWaterMark,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Returns how much later than the first low-water mark that moved [`Resource::collect`] is called, once for all that moved by then. Marks
    /// move with every batch of messages.
    fn collect_after(&self) -> Duration {
        Duration::from_millis(100)
    }

    /// Runs what the adapter does by itself (keeping a connection, sweeping), from the end of the recovery on until `stop`,
    /// which comes after the last call was answered; then closes what is open and returns. The server waits for it, though
    /// not for ever. An error ends the process.
    fn background(&self, stop: CancellationToken) -> impl Future<Output = Result<(), ResourceError>> + Send {
        async move {
            stop.cancelled().await;
            Ok(())
        }
    }

    /// Reports how the resource is. Called often, so it has to be quick, and waits for nobody.
    fn health(&self) -> Health {
        Health::default()
    }

    /// Tells where the bytes that it computes count. Called once, before [`recover`](Self::recover). A resource without large
    /// results need not mind.
    fn use_room(&self, _room: Room) {}

    /// Tells where it notes, for a branch or a step that has published events, the last of them, before the call returns that committed the
    /// branch or ran the step. Called once, before [`recover`](Self::recover). One that does not know what is published by then notes nothing.
    fn use_emitted(&self, _emitted: Emitted) {}

    /// Tells the trace that the next call for a step or a branch belongs to, before it is made. A resource that asks others hands it on.
    fn traced(&self, _call: TracedCall<'_>, _context: TraceContext) {}

    /// Returns the number of the last write of its log that is on stable storage. `None`: it does not number its writes, so
    /// nobody would notice if an older copy of it was put back. What it answered was written no later than this.
    fn number(&self) -> Option<WriteNumber> {
        None
    }

    /// Remembers something of others that [`recover`](Self::recover) has to tell again, in place of what was remembered under
    /// the same key: at once in memory, and on stable storage with its next forced write, or within seconds. One that does not number
    /// its writes need not.
    fn remember(&self, _key: Bytes, _value: Bytes) {}

    /// Stores why its log is believed to be an older copy, durably. Only of one that numbers its writes.
    fn store_put_back(&self, _why: String) -> impl Future<Output = Result<(), ResourceError>> + Send {
        std::future::ready(Err(unnumbered()))
    }

    /// Stores a loss that an operator has accepted, and begins another start with this mark, from which writes are numbered
    /// anew; durably. Its log is not believed to be an older copy any more. Only of one that numbers its writes.
    fn accept_loss(&self, _loss: Loss, _mark: u64) -> impl Future<Output = Result<Starts, ResourceError>> + Send {
        std::future::ready(Err(unnumbered()))
    }

    /// Returns the store in which the server keeps its audit record, opened with the family [`AUDIT`](undoubt_platform::audit::AUDIT), and which the resource
    /// never writes to there. `None`: what operators do is logged, and nothing else is kept of it. Asked once, after
    /// [`recover`](Self::recover).
    fn audit_store(&self) -> Option<Arc<dyn Store>> {
        None
    }

    /// Returns the log of the events that its work publishes. `None`: it publishes none. Asked once, after [`recover`](Self::recover).
    fn events(&self) -> Option<Arc<dyn EventSource>> {
        None
    }

    /// Returns the way in which subscriptions do their work in it. `None`: it has none. Asked once, after [`recover`](Self::recover).
    fn reactions(self: &Arc<Self>) -> Option<Arc<dyn ReactionStore>>
    where
        Self: Sized,
    {
        None
    }

    /// Copies all that it keeps into the folder `to`, as [`undoubt_platform::Store::backup`] does, while all else goes on. For
    /// a resource that keeps its data in a folder of its own. The future may be dropped.
    fn backup(&self, to: &Path) -> BackingUp {
        BackupError::not_offered(to)
    }
}

/// A resource that runs the steps of sagas.
///
/// Each step is a local transaction that also keeps the step's barrier: a record of what became of the step. What is a
/// repetition, empty or late the server decides (promise 8 of `session.proto`); the resource stores what it is handed, and
/// tells it again after a restart.
pub trait Steps: Resource {
    /// Runs a step's action: waits for the locks, checks, does the work, and stores with it that it is in effect
    /// ([`StepState::Acted`]), its result and which semantic locks it leaves; durably. The locks are free when it returns.
    /// Work that only reads stores its barrier too.
    ///
    /// A lock wait ends at `run.timeout` or once `cancelled`. Later than that a cancellation may be ignored. A refusal
    /// leaves nothing behind: neither data nor locks nor a barrier. The locks are the step's own: a branch that is
    /// prepared under the same transaction id keeps its.
    ///
    /// A resource whose work is done elsewhere, by somebody who may not answer, stores [`StepState::Attempted`] before it asks, and
    /// refuses with [`RefusalCode::Unclear`](undoubt_vocabulary::RefusalCode::Unclear) what it does not know. Another attempt is the same call then, and asks again; a
    /// compensation is handed no result (empty), and undoes whatever took effect.
    fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> impl Future<Output = Result<StepOutcome, ResourceError>> + Send;

    /// Undoes a step whose action is in effect, or was [attempted](StepState::Attempted): does the compensation's work, stores that it is undone
    /// ([`StepState::Compensated`]) and drops the step's semantic locks; durably. The locks are free when it returns. The last
    /// of `run.inputs` is the action's result. With `run.acted_elsewhere` nothing is stored of the action, nor known: its caller did
    /// it himself, or did not.
    ///
    /// Returns [`StepOutcome::Done`], whose result nobody reads, or a refusal, which leaves all as it was. What is open
    /// has to end, so it is not refused for want of room.
    fn compensate(&self, step: StepId, run: RunStep)
    -> impl Future<Output = Result<StepOutcome, ResourceError>> + Send;

    /// Returns true if it takes the steps of open sagas: completions, and compensations of actions that were done elsewhere.
    fn takes_open_sagas(&self) -> bool {
        false
    }

    /// Completes a step whose saga was closed: does the completion's work and stores that it is done ([`StepState::Completed`]),
    /// drops the
    /// step's semantic locks; durably. The last of `run.inputs` is the action's result.
    ///
    /// Returns what [`compensate`](Self::compensate) returns, on the same terms.
    fn complete(
        &self,
        _step: StepId,
        _run: RunStep,
    ) -> impl Future<Output = Result<StepOutcome, ResourceError>> + Send {
        let detail = "this resource takes no steps of open sagas";
        std::future::ready(Ok(StepOutcome::Refused(Refusal::new(RefusalCode::InvalidWork, detail))))
    }

    /// Stores that a compensation came whose action is not in effect ([`StepState::Empty`]); durably. May be repeated.
    fn store_empty(&self, step: StepId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Returns what became of a step after a call of it that was [unclear](ResourceError::Unclear), once that call can take no
    /// effect any more; `None` if there is no barrier. May be repeated. Only asked of a resource that says "unclear".
    fn settle_step(&self, _step: StepId) -> impl Future<Output = Result<Option<StepState>, ResourceError>> + Send {
        std::future::ready(Err(never_unclear()))
    }

    /// Returns whether it tells results again that it has stored ([`result_of_step`](Self::result_of_step), and of a branch). Of
    /// one that does, the server keeps none in memory that is longer than [`SHORT_RESULT_BYTES`]; nor should it hand them out
    /// when it recovers. Of any other they are in memory until the low-water mark passes them, and their bound is soon
    /// reached where one transaction is stuck.
    fn recalls_results(&self) -> bool {
        false
    }

    /// Returns the result of an action that is in effect; `None` if it is not stored, or not any more. Asked at any time.
    fn result_of_step(&self, _step: StepId) -> impl Future<Output = Result<Option<Bytes>, ResourceError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Drops the semantic locks of all steps of a saga that is over, and from their barriers that there were any; durably. May
    /// be repeated, and be for a saga that has none.
    fn close_saga(
        &self,
        _coordinator: CoordinatorId,
        _attempt_number: AttemptNumber,
        _tx: TxId,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Drops a saga's semantic locks before it is over, as [`close_saga`](Self::close_saga) does, on an operator's word, which is
    /// stored with the barriers. May be repeated.
    fn release_marks(
        &self,
        _coordinator: CoordinatorId,
        _attempt_number: AttemptNumber,
        _tx: TxId,
        _release: Release,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Returns the semantic locks there are, in the order of their keys: from the first key above `after` on, at most `limit`.
    fn marks(&self, _after: Bytes, _limit: usize) -> impl Future<Output = Result<Vec<Mark>, ResourceError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
}

/// A resource that takes part in two-phase commit.
pub trait Branches: Steps {
    /// Returns whether it can vote prepared at present; asked whenever a coordinator connects. One that cannot is asked for no
    /// two-phase work; branches that are alone in their transaction commit in one phase all the same.
    fn can_prepare(&self) -> bool {
        true
    }

    /// Returns whether somebody else can commit a prepared branch in the resource itself, as whoever may log in to a database can.
    /// What is [recovered](Recovered::finished) as committed is then no more than evidence: its coordinator is asked at
    /// whose word that was, before anything of it is collected.
    fn others_can_commit(&self) -> bool {
        false
    }

    /// Returns whether it takes branches at all: false of [`StepsOnly`] alone, which is asked for none.
    #[doc(hidden)]
    fn takes_branches(&self) -> bool {
        true
    }

    /// Returns the branches that it has found prepared by itself since it recovered: prepares that landed though nobody waits for
    /// them any more. None that it prepares, or has prepared, at the server's word. The server takes them up as it does those
    /// that are [recovered](Recovered::prepared), and they have their locks. Asked at each sweep, so it has to be quick; each is told until the
    /// resource is told to end it.
    fn found(&self) -> Vec<PreparedBranch> {
        Vec::new()
    }

    /// Returns the transactions for which applications have prepared something by themselves, that no attempt has asked for in a time in which
    /// it is mostly submitted. The server asks their coordinators whether they are open. Asked at each sweep, so it has to be quick; each is
    /// told until it has ended.
    fn unsubmitted(&self) -> Vec<(CoordinatorId, TxId)> {
        Vec::new()
    }

    /// Says of one of these that it is not open: what is prepared for it is to be undone, unless it is asked for meanwhile. Has to be quick.
    fn nobody_submits(&self, coordinator: CoordinatorId, tx: &TxId) {
        let _ = (coordinator, tx);
    }

    /// Waits for the locks, checks, does the work, and makes the vote durable with all that is needed to commit (R2).
    ///
    /// A lock wait ends at `prepare.timeout` or once `cancelled` (R12): the branch is over then. Later than that a
    /// cancellation may be ignored, and an abort follows. A refusal leaves nothing behind, neither data nor locks. Whom a wait is
    /// for the resource says: one that knows ages lets the older wait and refuses the younger (wait-die); one
    /// whose locks are a database's own knows none, and owes that every wait ends in time.
    ///
    /// Two-phase: work that wrote nothing is voted read-only and keeps its locks, in memory only, until it is
    /// [confirmed](Self::confirm) or [aborted](Self::abort). One-phase: commits at once, and stores what the branch came to, with
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
    /// future stops the process: what is not available is a refusal here, and what is unclear is told in
    /// [`Voted::unclear`].
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

    /// Ends a branch that voted read-only, and returns whether it has held until now what it read, so that nobody can have
    /// changed it since (R7). Frees its locks whatever the answer. The resource answers, not the server's memory: a connection
    /// that broke after the vote, or a process that restarted, holds nothing. May be repeated, and be for a branch that is not
    /// known: that one held nothing.
    fn confirm(&self, branch: BranchId) -> impl Future<Output = Result<bool, ResourceError>> + Send;

    /// Commits a prepared branch: its work will become visible without anybody's help, what it came to is stored, its locks are
    /// freed; durably. May be repeated; the caller has checked that the branch was prepared here.
    fn commit(&self, branch: BranchId) -> impl Future<Output = Result<Ended, ResourceError>> + Send;

    /// Commits branches that came together, each as [`commit`](Self::commit) does. Each future commits the branches
    /// beside it, all or none; if they cannot be committed now, or one of them is gone, the server commits them one by one.
    fn commit_all(self: &Arc<Self>, branches: Vec<BranchId>) -> Vec<Committing>
    where
        Self: Sized,
    {
        commit_each(self, branches)
    }

    /// Undoes a branch, prepared or read-only or unclear, and frees its locks; once it returns, no earlier call for the branch
    /// takes effect any more. Need not be durable: an abort that a crash forgets is presumed again on inquiry. One that owes
    /// something elsewhere, such as a call that cancels, keeps it until it is done, also across a restart
    /// ([`Recovered::aborting`]). May be repeated, and be for a branch that is not known. One that has committed, whoever did that, is
    /// [gone](Ended::Gone), also after a restart, for as long as it is among the [finished](Recovered::finished).
    fn abort(&self, branch: BranchId) -> impl Future<Output = Result<Ended, ResourceError>> + Send;

    /// Ends a prepared branch as an operator decided (R3): commits or undoes it, stores the decision, and frees its locks;
    /// durably. May be repeated; the caller has checked that the branch was prepared here.
    fn resolve(
        &self,
        branch: BranchId,
        heuristic: Heuristic,
    ) -> impl Future<Output = Result<Ended, ResourceError>> + Send;

    /// Stores a heuristic outcome, in place of what is stored of the branch; durably. May be repeated.
    fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Drops a heuristic outcome's record; durably. May be repeated.
    fn forget_heuristic(&self, branch: BranchId) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Returns the result of a one-phase branch whose call was [unclear](ResourceError::Unclear), once that call can take no
    /// effect any more; `None` if it did not commit. May be repeated. Only asked of a resource that says "unclear", and of what is
    /// [recovered](Recovered::settling) so.
    fn settle(&self, _branch: BranchId) -> impl Future<Output = Result<Option<Bytes>, ResourceError>> + Send {
        std::future::ready(Err(never_unclear()))
    }

    /// Returns the result with which a one-phase branch committed; `None` if it is not stored, or not any more. Asked only of
    /// one that [recalls results](Steps::recalls_results), and at any time.
    fn result_of(&self, _branch: BranchId) -> impl Future<Output = Result<Option<Bytes>, ResourceError>> + Send {
        std::future::ready(Ok(None))
    }
}

/// The step or the branch of a call that is part of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TracedCall<'a> {
    /// Its action or its compensation.
    Step(&'a StepId),
    /// Its prepare, commit or abort.
    Branch(&'a BranchId),
}

/// The way in which a branch ended that the server told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The branch ended as it was told, now or by an earlier call.
    AsTold,
    /// The branch was ended the other way by somebody else, in the resource itself. It is a heuristic outcome by an
    /// unknown hand (R3): kept, compared with the decision, and reported for good.
    Gone,
}

/// The health of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The reason why it takes no new work at the moment, for people; `None` while all is well.
    pub refuses_work: Option<String>,
    /// The warnings that an operator should look after, though it works.
    pub warnings: Vec<String>,
    /// The resource's own numbers, each by a name with its unit: "sessions", "prepared_slots_left",
    /// "replication_lag_ms".
    pub numbers: Vec<(&'static str, u64)>,
}

/// A semantic lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The marked key, in the resource's own form.
    pub key: Bytes,
    pub by: StepId,
    /// The time at which the saga began, by its coordinator's clock; 0 if that is not known.
    pub begun_at: Timestamp,
}

fn unnumbered() -> ResourceError {
    ResourceError::Unavailable { cause: "this resource does not number its writes".to_owned() }
}

fn never_unclear() -> ResourceError {
    let cause = "it said that a call was unclear, and cannot find out what became of it".to_owned();
    ResourceError::Stopped { cause }
}
