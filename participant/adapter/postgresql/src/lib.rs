//! PostgreSQL as a resource.
//!
//! A branch is a transaction of the database, prepared by `PREPARE TRANSACTION`: the server's list of what is prepared *is* the
//! record of it, and a row that was written within it proves that it committed. All else that a participant keeps stands in the
//! schema `undoubt` of the same database; it has no folder.
//!
//! | change | what is sent, in one trip each |
//! | --- | --- |
//! | prepare | BEGIN, the statements, the evidence, the events, PREPARE TRANSACTION |
//! | commit, abort | COMMIT PREPARED, ROLLBACK PREPARED, in sessions of their own |
//! | one-phase | BEGIN, the statements; then the evidence with the result, the events, COMMIT |
//! | action | BEGIN, the statements; then the barrier with the result, the marks of what is pending, the events, COMMIT |
//! | compensation, completion | BEGIN, the statements; then the barrier, the marks go, the events, COMMIT |
//! | resolve | the heuristic record; then COMMIT PREPARED or ROLLBACK PREPARED |
//!
//! A prepare whose events take something from what its calls return has a trip for the calls, and one for the rest. How events get their
//! positions [`undoubt_sql::TableLog`] says.
//!
//! The adapter never guesses what an answer means. An error that the server tells is certain; one that ends the session is not: the session
//! is ended ([`owner`]), and only then the database is looked at.

mod attempt;
mod background;
mod branch;
pub mod check;
mod class;
pub mod config;
mod connect;
mod ending;
mod enlisted;
mod events;
mod kept;
mod listing;
mod local;
mod owner;
mod reactions;
mod ready;
mod record;
mod recovery;
mod schema;
mod session;
mod sessions;
mod shared;
mod step;
mod trip;
mod unsubmitted;
mod value;

use bytes::Bytes;
use connect::Connector;
use events::Table;
use reactions::Reactions;
use sessions::Sessions;
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::event_log::{EventSource, OpenError, Topics};
use undoubt_participant::resource::{
    BranchId, Branches, Ended, Health, Heuristic, Loss, Mark, Pin, PreparedBranch, Recovered, Release, Resource,
    ResourceError, Room, StepId, StepState, Steps,
};
use undoubt_participant::subscription::ReactionStore;
use undoubt_platform::{Clock, Store};
use undoubt_sql::{Outbox, Procedures, TableLog, TableReactions};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, Incarnation, LowWaterMark, ParticipantName, Prepare, RunStep, Starts,
    StepOutcome, Timestamp, TxId, Vote, WriteNumber,
};

pub use check::check;
pub use config::{InvalidSettings, Settings};
pub use listing::{Prepared, list};
pub use schema::{SchemaError, init, init_sql, remove};

/// The kind of this resource, as configurations name it.
pub const KIND: &str = "postgresql";

/// A database that votes. Its work is calls of declared procedures.
#[derive(Debug)]
pub struct PostgreSql {
    shared: Arc<Shared>,
    log: Option<Arc<TableLog<Table>>>,
}

impl PostgreSql {
    /// Returns the resource. Nothing is connected before it is recovered.
    pub fn new(
        settings: &Settings,
        participant: &ParticipantName,
        procedures: Procedures,
    ) -> Result<PostgreSql, InvalidSettings> {
        let connector = Connector::new(settings, &format!("undoubt/{participant}"))?;
        Ok(PostgreSql { shared: Arc::new(Shared::new(Sessions::new(connector), procedures)), log: None })
    }

    /// Publishes the events of work to the topics that are declared. `incarnation` is drawn anew for each start.
    pub fn publishing(
        mut self,
        declarations: &Declarations,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Result<PostgreSql, OpenError> {
        let outbox = Arc::new(Outbox::new(Topics::declared(declarations)?, clock));
        let shared = Arc::get_mut(&mut self.shared).expect("nobody else has it before it is served");
        shared.outbox = outbox.clone();
        let table = Table(self.shared.clone());
        let log = TableLog::new(table, outbox, incarnation);
        Ok(PostgreSql { log: Some(Arc::new(log)), ..self })
    }
}

impl Resource for PostgreSql {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        let recovered = recovery::recover(&self.shared, owner).await?;
        if let Some(log) = &self.log {
            log.open().await?;
        }
        Ok(recovered)
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        record::record_epoch(&self.shared, coordinator, epoch, pin).await
    }

    fn collect_after(&self) -> Duration {
        undoubt_sql::COLLECT_AFTER
    }

    async fn collect(&self, coordinator: CoordinatorId, over: LowWaterMark) -> Result<(), ResourceError> {
        record::collect(&self.shared, coordinator, &over).await
    }

    fn number(&self) -> Option<WriteNumber> {
        self.shared.numbers().ok()?.number()
    }

    fn remember(&self, key: Bytes, value: Bytes) {
        if let Ok(numbers) = self.shared.numbers() {
            numbers.remember(&key, value);
        }
    }

    async fn store_put_back(&self, why: String) -> Result<(), ResourceError> {
        self.shared.numbers()?.store_put_back(&why).await
    }

    async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        self.shared.numbers()?.accept_loss(loss, mark).await
    }

    fn audit_store(&self) -> Option<Arc<dyn Store>> {
        Some(self.shared.numbers().ok()?.audit_store())
    }

    async fn background(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        let numbering = async {
            match &self.log {
                Some(log) => log.keep_numbering(stop.clone()).await,
                None => Ok(()),
            }
        };
        futures::try_join!(background::run(&self.shared, stop.clone()), numbering)?;
        self.shared.sessions.end().await;
        Ok(())
    }

    fn reactions(self: &Arc<Self>) -> Option<Arc<dyn ReactionStore>> {
        Some(Arc::new(TableReactions(Reactions(self.shared.clone()))))
    }

    fn events(&self) -> Option<Arc<dyn EventSource>> {
        self.log.clone().map(|log| log as Arc<dyn EventSource>)
    }

    fn health(&self) -> Health {
        background::health(&self.shared)
    }

    fn use_room(&self, room: Room) {
        self.shared.use_room(room);
    }
}

impl Steps for PostgreSql {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        step::act(&self.shared, &step, &run, &cancelled).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        step::compensate(&self.shared, &step, &run).await
    }

    fn takes_open_sagas(&self) -> bool {
        true
    }

    async fn complete(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        step::complete(&self.shared, &step, &run).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        step::store_empty(&self.shared, &step).await
    }

    async fn settle_step(&self, step: StepId) -> Result<Option<StepState>, ResourceError> {
        step::settle(&self.shared, &step).await
    }

    fn recalls_results(&self) -> bool {
        true
    }

    async fn result_of_step(&self, step: StepId) -> Result<Option<Bytes>, ResourceError> {
        step::result_of(&self.shared, &step).await
    }

    async fn close_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    ) -> Result<(), ResourceError> {
        record::close_saga(&self.shared, coordinator, attempt_number, &tx, None).await
    }

    async fn release_marks(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    ) -> Result<(), ResourceError> {
        record::close_saga(&self.shared, coordinator, attempt_number, &tx, Some(release)).await
    }

    async fn marks(&self, after: Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
        record::marks(&self.shared, &after, limit).await
    }
}

impl Branches for PostgreSql {
    fn can_prepare(&self) -> bool {
        background::can_prepare(&self.shared)
    }

    fn others_can_commit(&self) -> bool {
        true
    }

    fn found(&self) -> Vec<PreparedBranch> {
        self.shared.found()
    }

    fn unsubmitted(&self) -> Vec<(CoordinatorId, TxId)> {
        self.shared.unsubmitted().asked_about()
    }

    fn nobody_submits(&self, coordinator: CoordinatorId, tx: &TxId) {
        self.shared.unsubmitted().undo(coordinator, tx);
    }

    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        branch::prepare(&self.shared, &branch, &prepare, &cancelled).await
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        Ok(ending::confirm(&self.shared, &branch).await)
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        ending::commit(&self.shared, &branch).await
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        ending::abort(&self.shared, &branch).await
    }

    async fn resolve(&self, branch: BranchId, heuristic: Heuristic) -> Result<Ended, ResourceError> {
        ending::resolve(&self.shared, &branch, &heuristic).await
    }

    async fn store_heuristic(
        &self,
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    ) -> Result<(), ResourceError> {
        record::put_heuristic(&self.shared, &branch, Some(begun_at), &heuristic).await
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        record::forget_heuristic(&self.shared, &branch).await
    }

    async fn settle(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        ending::settle(&self.shared, &branch).await
    }

    async fn result_of(&self, branch: BranchId) -> Result<Option<Bytes>, ResourceError> {
        Ok(record::evidence(&self.shared, &branch).await?.map(Bytes::from))
    }
}
