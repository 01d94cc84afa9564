//! What an observer answers: what a coordinator does, as far as it is asked and not told.

mod listing;
mod operator;
mod views;
mod watching;

use crate::shared::Shared;
use crate::store::RowsError;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use undoubt_platform::Reason;
use undoubt_platform::server::{AnswerRoom, parse_tx};
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_server::Coordinator;
use undoubt_vocabulary::{CorrelationId, TxId};

pub(crate) use listing::MAX_PAGE_ROWS;
pub(crate) use operator::OperatorService;

/// The time for which an await waits if it does not say.
const DEFAULT_AWAIT_MS: u32 = 30_000;

/// Answers applications and operators.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

pub(crate) fn internal(error: RowsError) -> Status {
    Reason::Internal.refuse(error.to_string())
}

fn not_found() -> Status {
    Reason::NotFound.refuse(
        "no choreographed saga with this id was heard of here: it has published nothing, or was dropped after its end; transactions that a \
         coordinator carries out are told by that",
    )
}

/// Refuses what would change something.
fn refused<T>(what: &str) -> Result<T, Status> {
    Err(Reason::NotOffered.refuse(format!(
        "this is an observer of choreographed sagas, which carries out nothing, so it does not {what}; ask a coordinator for transactions, and \
         for a parked event its participant: undoubt parked retry"
    )))
}

#[tonic::async_trait]
impl Coordinator for Service {
    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        refused("take transactions")
    }

    type SubmitManyStream = BoxStream<'static, Result<v1::SubmitResponseBatch, Status>>;

    async fn submit_many(
        &self,
        _: Request<Streaming<v1::SubmitBatch>>,
    ) -> Result<Response<Self::SubmitManyStream>, Status> {
        refused("take transactions")
    }

    async fn begin(&self, _: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        refused("begin sagas")
    }

    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        refused("take steps")
    }

    async fn close(&self, _: Request<v1::CloseRequest>) -> Result<Response<v1::CloseResponse>, Status> {
        refused("close sagas")
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Transaction>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let tx = parse_tx(request.into_inner().tx)?;
        let found = self.0.find(&CorrelationId(tx)).map_err(internal)?.ok_or_else(not_found)?;
        loop {
            match room.fit(views::whole(&found)) {
                Some(whole) => return Ok(room.respond(whole)),
                None => room.grow().await?,
            }
        }
    }

    async fn r#await(&self, request: Request<v1::AwaitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let v1::AwaitRequest { tx, timeout_ms } = request.into_inner();
        let tx = parse_tx(tx)?;
        let patience = Duration::from_millis(if timeout_ms == 0 { DEFAULT_AWAIT_MS } else { timeout_ms }.into());
        let late = |_| Reason::NotDecidedYet.refuse("the saga has not ended yet; ask again");
        let outcome = timeout(patience, self.ended(tx)).await.map_err(late)??;
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let mut room = AnswerRoom::of(request.extensions());
        let query = listing::Query::parse(request.into_inner(), self.0.clock.now())?;
        loop {
            let page = listing::page(&self.0, &query)?;
            match room.fit(page) {
                Some(page) => return Ok(room.respond(page)),
                None => room.grow().await?,
            }
        }
    }

    type WatchStream = BoxStream<'static, Result<v1::WatchResponse, Status>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let v1::WatchRequest { tx, after } = request.into_inner();
        let tx = if tx.is_empty() { None } else { Some(CorrelationId(parse_tx(tx)?)) };
        let after = watching::position(&after)?;
        Ok(Response::new(watching::watch(self.0.clone(), tx, after)?))
    }

    async fn cancel(&self, _: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        refused("call sagas off")
    }
}

impl Service {
    /// Waits until a saga has ended.
    async fn ended(&self, tx: TxId) -> Result<v1::Outcome, Status> {
        let correlation = CorrelationId(tx);
        let mut happens = self.0.hub.subscribe();
        loop {
            happens.borrow_and_update();
            let found = self.0.find(&correlation).map_err(internal)?.ok_or_else(not_found)?;
            if found.saga.end.is_some() {
                return Ok(views::outcome(&found.verdict));
            }
            happens.changed().await.map_err(|_| Reason::Stopping.refuse("the observer is stopping; ask again"))?;
        }
    }
}
