//! What applications ask for: submitting transactions and following them.

mod answers;
mod many;
mod requests;
mod views;

use crate::callback::Callbacks;
use crate::config::Config;
use crate::engine::{Command, EngineGone, Handle, Reply};
use crate::history::News;
use crate::log::{Log, WeakLog};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use undoubt_platform::Clock;
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_server::Coordinator;

pub(crate) use answers::{gone, outcome_of};
pub(crate) use requests::parse_tx;

/// How long an await waits if it does not say.
const DEFAULT_AWAIT_MS: u32 = 30_000;

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) engine: Handle,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<dyn Clock>,
    /// To read what has ended, beside the engine.
    pub(crate) log: WeakLog,
    /// Belongs to whoever runs the coordinator.
    pub(crate) callbacks: Weak<Callbacks>,
}

impl Service {
    fn callbacks(&self) -> Result<Arc<Callbacks>, Status> {
        self.callbacks.upgrade().ok_or_else(|| gone(EngineGone::default()))
    }

    fn log(&self) -> Result<Log, Status> {
        self.log.log().ok_or_else(|| gone(EngineGone::default()))
    }
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Coordinator for Service {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let (request, callback) = requests::parse(request.into_inner(), &self.config).map_err(Status::from)?;
        let promise = match callback {
            Some(url) => Some(self.callbacks()?.promise(&request.tx, url).await.map_err(answers::not_promised)?),
            None => None,
        };
        let replied = self.engine.ask(|reply| Command::Submit { request, reply }).await.map_err(gone)?;
        let outcome = outcome_of(replied);
        if let (Err(_), Some(promise)) = (&outcome, promise) {
            promise.withdraw().await.map_err(answers::internal)?;
        }
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome?) }))
    }

    type SubmitManyStream = Replies<v1::SubmitResponseBatch>;

    async fn submit_many(
        &self,
        request: Request<Streaming<v1::SubmitBatch>>,
    ) -> Result<Response<Self::SubmitManyStream>, Status> {
        let answers = many::serve(self.engine.clone(), self.config.clone(), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Transaction>, Status> {
        let tx = parse_tx(request.into_inner().tx)?;
        let wanted = tx.clone();
        let open = self.engine.inspect(move |view| views::find_open(view, &wanted)).await.map_err(gone)?;
        let found = match open {
            Some(open) => Some(open),
            None => views::find_ended(&self.log()?, &tx).map_err(answers::internal)?,
        };
        found.map(Response::new).ok_or_else(|| answers::not_found("transaction"))
    }

    async fn r#await(&self, request: Request<v1::AwaitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let v1::AwaitRequest { tx, timeout_ms } = request.into_inner();
        let tx = parse_tx(tx)?;
        let patience = Duration::from_millis(if timeout_ms == 0 { DEFAULT_AWAIT_MS } else { timeout_ms }.into());
        let asked = self.engine.ask(|reply| Command::Await { tx, reply });
        let replied = tokio::time::timeout(patience, asked)
            .await
            .map_err(|_| Status::deadline_exceeded("the transaction is not decided yet; ask again"))?
            .map_err(gone)?;
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome_of(replied)?) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let query = views::Query::parse(request.into_inner(), self.clock.now())?;
        let wanted = query.clone();
        let open = self.engine.inspect(move |view| views::list_open(view, &wanted)).await.map_err(gone)?;
        views::list(&self.log()?, &query, open).await.map(Response::new).map_err(answers::internal)
    }

    type WatchStream = Replies<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let tx = request.into_inner().tx;
        let tx = if tx.is_empty() { None } else { Some(parse_tx(tx)?) };
        let about = tx.clone();
        let watched =
            self.engine.inspect(move |view| (view.histories.watch(), about.filter(|tx| view.core.view(tx).is_none())));
        let (events, not_open) = watched.await.map_err(gone)?;
        if let Some(tx) = not_open
            && self.log()?.ended(&tx).map_err(answers::internal)?.is_some()
        {
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        }
        let (one, other) = (tx.clone(), tx);
        let told = BroadcastStream::new(events)
            .take_while(move |news| !matches!(news, Ok(News::Over(tx)) if one.as_ref() == Some(tx)))
            .filter_map(move |news| match news {
                Ok(News::Over(_)) => None,
                Ok(News::Event(about, _)) if other.as_ref().is_some_and(|tx| *tx != about) => None,
                Ok(News::Event(about, event)) => {
                    Some(Ok(v1::WatchResponse { tx: about.to_bytes(), event: Some(event), lost: 0 }))
                }
                Err(BroadcastStreamRecvError::Lagged(lost)) => {
                    Some(Ok(v1::WatchResponse { tx: Default::default(), event: None, lost }))
                }
            });
        Ok(Response::new(Box::pin(told)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        let tx = parse_tx(request.into_inner().tx)?;
        let replied = self.engine.ask(|reply| Command::Cancel { tx, reply }).await.map_err(gone)?;
        let outcome = outcome_of(replied)?;
        if outcome.state == i32::from(v1::State::Committed) {
            return Err(Status::failed_precondition("it is too late to cancel: the transaction has committed"));
        }
        Ok(Response::new(v1::CancelResponse { outcome: Some(outcome) }))
    }
}

/// Tells where the answer of one request of many goes.
fn stream_reply(sequence: u64, to: &tokio::sync::mpsc::UnboundedSender<(u64, crate::engine::Replied)>) -> Reply {
    Reply::Stream { sequence, to: to.clone() }
}
