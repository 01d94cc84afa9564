//! HTTP services as a resource: a step or a branch is a call of somebody's service, which keeps the contract of `HTTP.md`.
//!
//! # What is stored, and when
//! The work is done elsewhere, by somebody who may not answer. So each call has a record before it, and one after:
//!
//! | change | one write | forced |
//! | --- | --- | --- |
//! | before the first call of an action | the step is attempted | yes |
//! | it was answered with success | the step is done, with the answer | yes |
//! | it was refused for good | the step's record goes | yes |
//! | a compensation was answered | the step is undone | yes |
//! | before a try | the branch's record: a cancel is owed | yes |
//! | it was answered with success | the branch's record: prepared, with the answer | yes |
//! | before a cancel | the branch's record: nothing but the cancel will be sent | yes |
//! | a confirm or a cancel was answered | the branch's record goes, what it came to | a commit yes, an abort no |
//!
//! A compensation, or a cancel, is sent exactly where the action, or the try, may have been; it is sent until it is answered.
//!
//! # What is not known
//! A call without an answer, or with one that says nothing (5xx, a redirect, half a body), may have taken effect or may yet. It is never told
//! as refused: an action is told as *unclear*, and the step stays attempted. The coordinator tries it again by the step's own
//! policy, each attempt being one call with the same idempotency key, and at last compensates it like one that ran. A try is not told at
//! all: it is cancelled first, then the branch is refused. A confirm and a cancel go on until they are answered. After a crash all of
//! this goes on from the records.
//!
//! Nor is an answer that somebody else holds what is needed (423) a refusal of a call that was made before and not answered: that one may
//! still be on its way, and find it free.
//!
//! A service that answers "in progress" (425), or that it is to be asked later (429 and 503 with `Retry-After`), is asked again within the
//! same attempt as long as that has time.
//!
//! A confirm or a cancel that is refused for good has no way on. It is asked again, and warned of; after
//! [`max_refused_endings`](Settings::max_refused_endings) the branch counts as ended the other way by an unknown hand (R3), which is
//! reported as damage. Where it is alone in its transaction, nobody is told before its confirm was answered, not after a crash either: refused
//! for good, it is cancelled, and nothing is damaged.
//!
//! # Reactions
//! A reaction to an event is one request, made at least once under one idempotency key, and then one write with what follows from its
//! answer and how far the subscription has come (`react`). A request without a body of its own brings the event: that is a push.
//!
//! # What is where
//! [`address`], [`allowed`], [`verdict`], [`convention`] and [`message`] are pure: which URLs there are, which may be called, what an
//! answer means, what a call says.

pub mod address;
pub mod allowed;
mod attempt;
mod branch;
mod breaker;
mod calls;
mod client;
mod cloud_event;
pub mod convention;
pub mod message;
mod react;
mod secrets;
mod settings;
mod step;
mod stuck;
mod traces;
pub mod verdict;

use allowed::Allowed;
use bytes::Bytes;
use client::Client;
use convention::Identity;
use react::Reactions;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use stuck::Stuck;
use tokio_util::sync::CancellationToken;
use traces::Contexts;
use undoubt_participant::event_log::{self, EventLog, EventSource, OpenError, Topics};
use undoubt_participant::resource::{
    BranchId, Branches, Ended, Health, Heuristic, Loss, Pin, Recovered, Resource, ResourceError, Room, StepId,
    StepState, Steps, TracedCall,
};
use undoubt_participant::subscription::{self, ReactionStore, Rows};
use undoubt_participant::table::{self, TransactionTable};
use undoubt_platform::{BackingUp, Batch, Clock, Durability, Family, NumberedStore, Store, numbered_store};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::{
    CoordinatorId, Epoch, Incarnation, LowWaterMark, ParticipantName, Prepare, RunStep, Starts, StepOutcome, Timestamp,
    TraceContext, Vote, WriteNumber,
};

pub use client::Network;
pub use secrets::{BadSecret, HeaderFrom};
pub use settings::{
    BadSettings, LIMITS, MAX_ANSWER_BYTES, MAX_ANSWER_HEADER_BYTES, MAX_ANSWER_HEADERS, MAX_HOSTS, Settings,
};
pub use table::META;

/// The kind of the resource, as settings name it.
pub const KIND: &str = "http";

/// The families that the store is opened with.
pub const FAMILIES: [Family; 16] = [
    table::BRANCH,
    table::FINISHED,
    table::STEP,
    table::HEURISTIC,
    table::COORDINATOR,
    table::AUDIT,
    table::META,
    event_log::EVENT,
    event_log::ENTITY,
    event_log::EVENT_LOG,
    subscription::INBOX,
    subscription::PARKED,
    subscription::GIVEN_UP,
    subscription::REACTION,
    subscription::TIMER,
    subscription::ATTEMPT,
];

/// A resource whose work is calls of HTTP services.
pub struct HttpServices {
    store: Arc<dyn Store>,
    table: TransactionTable,
    settings: Settings,
    allowed: Allowed,
    client: Client,
    room: OnceLock<Room>,
    /// The name under which it takes part; none before it has recovered.
    owner: OnceLock<ParticipantName>,
    stuck: Stuck,
    contexts: Contexts,
    log: Option<Arc<EventLog>>,
    subscriptions: Rows,
}

impl fmt::Debug for HttpServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServices").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl HttpServices {
    /// Returns one over a store that was opened with [`FAMILIES`], and whose start has begun.
    ///
    /// # Errors
    /// If settings, or files that they name, cannot be used.
    pub fn numbered(
        store: NumberedStore,
        known: numbered_store::Known,
        settings: Settings,
        network: Network,
    ) -> Result<HttpServices, BadSettings> {
        let store = Arc::new(store);
        let table = TransactionTable::numbered(store.clone(), known);
        Ok(HttpServices { table, ..HttpServices::new(store, settings, network)? })
    }

    /// Returns one that does not number its writes, over a store that was opened with [`FAMILIES`].
    ///
    /// # Errors
    /// If settings, or files that they name, cannot be used.
    pub fn new(store: Arc<dyn Store>, settings: Settings, network: Network) -> Result<HttpServices, BadSettings> {
        let checked = settings.read()?;
        let allowed = checked.allowed.clone();
        let client = Client::new(&settings, checked, network);
        let table = TransactionTable::new(store.clone());
        Ok(HttpServices {
            store,
            table,
            settings,
            allowed,
            client,
            room: OnceLock::new(),
            owner: OnceLock::new(),
            stuck: Stuck::default(),
            contexts: Contexts::default(),
            log: None,
            subscriptions: Rows::default(),
        })
    }

    /// Publishes what its reactions emit to the topics that are declared, in a log in the same store. `incarnation` is drawn anew for each
    /// start.
    ///
    /// # Errors
    /// If the log cannot be opened so.
    pub fn publishing(
        self,
        declarations: &Declarations,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let topics = Topics::declared(declarations)?;
        let log = EventLog::open(self.store.clone(), topics, incarnation, clock)?;
        Ok(HttpServices { log: Some(Arc::new(log)), ..self })
    }

    /// Forgets what was noted of a branch that has ended.
    fn is_over(&self, branch: &BranchId) {
        self.stuck.is_over(branch);
        self.contexts.forget_branch(branch);
    }

    fn identity(&self, branch: &BranchId) -> Identity {
        Identity::of_branch(branch, self.owner.get().map_or("", ParticipantName::as_str))
    }

    fn room(&self) -> &Room {
        self.room.get_or_init(Room::default)
    }
}

impl Resource for HttpServices {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        self.table.claim(owner).await?;
        // Called once, and always with the name that the store is claimed for.
        let _ = self.owner.set(owner.clone());
        branch::recover(self)
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.table.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        let passed = self.table.begin_to_collect(coordinator, &over);
        let mut batch = Batch::default();
        self.table.put_collected(&mut batch, coordinator, &passed);
        let written = attempt::write(self, batch, Durability::Lazy).await;
        if written.is_err() {
            self.table.note_not_collected(coordinator, &passed);
        }
        written
    }

    fn health(&self) -> Health {
        let refuses_work = attempt::lack_of_room(self).unwrap_or_else(|error| Some(error.to_string()));
        let numbers = vec![("calls_under_way", self.client.calls_under_way()), ("refused_endings", self.stuck.count())];
        Health { refuses_work, warnings: self.stuck.warnings(), numbers }
    }

    fn use_room(&self, room: Room) {
        // Called once.
        let _ = self.room.set(room);
    }

    fn traced(&self, call: TracedCall<'_>, context: TraceContext) {
        self.contexts.put(call, context);
    }

    fn number(&self) -> Option<WriteNumber> {
        self.table.number()
    }

    fn events(&self) -> Option<Arc<dyn EventSource>> {
        self.log.clone().map(|log| log as Arc<dyn EventSource>)
    }

    fn reactions(self: &Arc<Self>) -> Option<Arc<dyn ReactionStore>> {
        Some(Arc::new(Reactions(self.clone())))
    }

    fn audit_store(&self) -> Option<Arc<dyn Store>> {
        Some(self.table.audit_store())
    }

    fn remember(&self, key: Bytes, value: Bytes) {
        self.table.remember(&key, value);
    }

    async fn store_put_back(&self, why: String) -> Result<(), ResourceError> {
        self.table.store_put_back(&why).await
    }

    async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        self.table.accept_loss(loss, mark).await
    }

    fn backup(&self, to: &Path) -> BackingUp {
        self.store.backup(to)
    }
}

impl Steps for HttpServices {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        step::act(self, &step, run, &cancelled).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        step::compensate(self, &step, run).await
    }

    fn takes_open_sagas(&self) -> bool {
        true
    }

    async fn complete(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        step::complete(self, &step, run).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        step::store_empty(self, &step).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        self.table.state_of_step(&step)
    }

    fn recalls_results(&self) -> bool {
        true
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        self.table.result_of_step(&step)
    }
}

impl Branches for HttpServices {
    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        branch::prepare(self, &branch, prepare, &cancelled).await
    }

    /// Returns false: no branch votes read-only, since a service holds nothing for whoever has read.
    async fn confirm(&self, _: BranchId) -> Result<bool, ResourceError> {
        Ok(false)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        branch::commit(self, &branch).await
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        branch::abort(self, &branch).await
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        branch::resolve(self, &branch, heuristic).await
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        branch::store_heuristic(self, &branch, begun_at, heuristic).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        let mut batch = Batch::default();
        match self.table.delete_heuristic(&mut batch, &branch)? {
            true => attempt::write(self, batch, Durability::Forced).await,
            false => Ok(()),
        }
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        branch::settle(self, &branch).await
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        branch::result_of(self, &branch)
    }
}
