//! MariaDB as a resource, and MySQL, which is written for and not tested.
//!
//! A branch is a transaction of the database, prepared by `XA PREPARE`: the server's list of what is prepared *is* the record of it,
//! and a row that was written within it proves that it committed. All else that a participant keeps stands in tables `undoubt_…` of
//! the same database; it has no folder.
//!
//! | change | what is sent |
//! | --- | --- |
//! | prepare | XA START, the statements; then the events, the evidence with the result, XA END, XA PREPARE |
//! | commit, abort | XA COMMIT, XA ROLLBACK, in the session that prepared |
//! | one-phase | START TRANSACTION, the statements; then the evidence with the result, COMMIT |
//! | action | START TRANSACTION, the statements; then the barrier with the result, the marks of what is pending, COMMIT |
//! | compensation, completion | START TRANSACTION, the statements; the barrier; the marks go, COMMIT |
//! | resolve | the heuristic record; then XA COMMIT or XA ROLLBACK |
//!
//! With MySQL from 8.0.29 on, a session is free once it has prepared (`xa_detach_on_prepare`); it is kept all the same.
//!
//! The adapter never guesses what an answer means. Three things that this server does decide the rest:
//! * A prepared branch belongs to its session until that has ended. So sessions keep their branches ([`sessions`]), and no pool resets
//!   them.
//! * A session whose client is gone still runs what it was sent. So sessions are ended, and waited for, before anything is presumed
//!   ([`owner`]).
//! * It may answer that a branch was committed and not have done it, if another session commits while the one that prepared is just
//!   ending. So the evidence has the last word ([`standing`]).

mod attempt;
mod background;
mod branch;
pub mod check;
mod class;
pub mod config;
mod connect;
mod ending;
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
mod standing;
mod step;
mod unfit;
mod value;
mod witness;

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
    BranchId, Branches, Ended, Health, Heuristic, Loss, Mark, Pin, Recovered, Release, Resource, ResourceError, Room,
    StepId, StepState, Steps,
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
pub const KIND: &str = "mariadb";

/// A database that votes. Its work is calls of declared procedures.
#[derive(Debug)]
pub struct MariaDb {
    shared: Arc<Shared>,
    log: Option<Arc<TableLog<Table>>>,
}

impl MariaDb {
    /// Returns the resource. Nothing is connected before it is recovered.
    pub fn new(
        settings: &Settings,
        participant: &ParticipantName,
        procedures: Procedures,
    ) -> Result<MariaDb, InvalidSettings> {
        if let Some(fault) = ready::first_unheld(&procedures) {
            return Err(InvalidSettings::Procedure(fault));
        }
        let connector = Connector::new(settings, &format!("undoubt/{participant}"))?;
        Ok(MariaDb { shared: Arc::new(Shared::new(Sessions::new(connector), procedures)), log: None })
    }

    /// Publishes the events of work to the topics that are declared. `incarnation` is drawn anew for each start.
    pub fn publishing(
        mut self,
        declarations: &Declarations,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
    ) -> Result<MariaDb, OpenError> {
        let outbox = Arc::new(Outbox::new(Topics::declared(declarations)?, clock));
        let shared = Arc::get_mut(&mut self.shared).expect("nobody else has it before it is served");
        shared.outbox = outbox.clone();
        let table = Table(self.shared.clone());
        let log = TableLog::new(table, outbox, incarnation);
        Ok(MariaDb { log: Some(Arc::new(log)), ..self })
    }
}

impl Resource for MariaDb {
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

    async fn background(&self, stop: CancellationToken) -> Result<(), ResourceError> {
        let numbering = async {
            match &self.log {
                Some(log) => log.keep_numbering(stop.clone()).await,
                None => Ok(()),
            }
        };
        futures::try_join!(background::run(&self.shared, stop.clone()), numbering)?;
        background::end(&self.shared).await;
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

    fn number(&self) -> Option<WriteNumber> {
        self.shared.witness.stable()
    }

    fn remember(&self, key: Bytes, value: Bytes) {
        self.shared.witness.remember(key, value);
    }

    fn audit_store(&self) -> Option<Arc<dyn Store>> {
        let kept = self.shared.kept.lock().expect("what is kept is whole").clone()?;
        Some(kept)
    }

    async fn store_put_back(&self, why: String) -> Result<(), ResourceError> {
        witness::store_put_back(&self.shared, &why).await
    }

    async fn accept_loss(&self, loss: Loss, mark: u64) -> Result<Starts, ResourceError> {
        witness::accept_loss(&self.shared, &loss, mark).await
    }
}

impl Steps for MariaDb {
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

impl Branches for MariaDb {
    fn others_can_commit(&self) -> bool {
        true
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
        record::evidence(&self.shared, &branch).await
    }
}
