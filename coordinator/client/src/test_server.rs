//! A coordinator that answers as a test tells it to, over connections in memory, so that the time of a test may be paused.

use crate::client::Client;
use crate::options::ClientOptions;
use crate::retry::RETRY_AFTER;
use futures::{Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Server, Uri};
use tonic::{Code, Request, Response, Status, Streaming};
use undoubt_proto::v1::coordinator_server::{Coordinator, CoordinatorServer};
use undoubt_proto::v1::{self, sequenced_response};

/// What becomes of one request.
pub(crate) enum Reply {
    Commit,
    /// Too much in flight; come back after so many milliseconds.
    Busy(u32),
    Silence,
    /// Ends the call, or the whole stream.
    Break(Status),
}

/// Gives up quickly, but not before a few repetitions.
pub(crate) fn quick() -> ClientOptions {
    ClientOptions::default()
        .deadline(Duration::from_secs(2))
        .attempt_timeout(Duration::from_millis(500))
        .backoff(Duration::from_millis(10), Duration::from_millis(100))
}

type Script = dyn Fn(u64, u64) -> Reply + Send + Sync;
type Lists = dyn Fn(v1::ListRequest) -> Result<v1::ListResponse, Status> + Send + Sync;

#[derive(Clone)]
struct Double {
    /// The attempt or the stream, and the sequence.
    script: Arc<Script>,
    lists: Option<Arc<Lists>>,
    watched: Vec<v1::WatchResponse>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<v1::SubmitRequest>,
    calls: u64,
    largest_batch: usize,
}

pub(crate) struct TestServer {
    connections: Option<mpsc::Sender<io::Result<DuplexStream>>>,
    seen: Arc<Mutex<Seen>>,
}

impl TestServer {
    /// Answers calls, numbered from 0.
    pub(crate) fn one(script: impl Fn(u64) -> Reply + Send + Sync + 'static) -> Self {
        TestServer::many(move |attempt, _| script(attempt))
    }

    /// Answers requests of streams, numbered from 0, by their sequence.
    pub(crate) fn many(script: impl Fn(u64, u64) -> Reply + Send + Sync + 'static) -> Self {
        TestServer::serving(Double::new(Arc::new(script)))
    }

    /// Answers requests for lists.
    pub(crate) fn lists(
        lists: impl Fn(v1::ListRequest) -> Result<v1::ListResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(|_, _| Reply::Silence);
        TestServer::serving(Double { lists: Some(Arc::new(lists)), ..Double::new(script) })
    }

    /// Tells this to whoever watches.
    pub(crate) fn watched(watched: Vec<v1::WatchResponse>) -> Self {
        TestServer::serving(Double { watched, ..Double::new(Arc::new(|_, _| Reply::Commit)) })
    }

    fn serving(double: Double) -> Self {
        let (connections, incoming) = mpsc::channel(1);
        let seen = double.seen.clone();
        let server = Server::builder().add_service(CoordinatorServer::new(double));
        tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
        TestServer { connections: Some(connections), seen }
    }

    pub(crate) fn unreachable() -> Self {
        TestServer { connections: None, seen: Arc::default() }
    }

    pub(crate) fn client(&self, options: ClientOptions) -> Client {
        let connections = self.connections.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let connections = connections.clone();
            async move {
                let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
                let (here, there) = tokio::io::duplex(1 << 16);
                connections.ok_or_else(refused)?.send(Ok(there)).await.map_err(|_| refused())?;
                Ok::<_, io::Error>(TokioIo::new(here))
            }
        });
        let channel = Endpoint::from_static("http://test").connect_with_connector_lazy(connector);
        Client::with_channel(channel, options)
    }

    pub(crate) fn requests(&self) -> Vec<v1::SubmitRequest> {
        self.seen.lock().unwrap().requests.clone()
    }

    pub(crate) fn largest_batch(&self) -> usize {
        self.seen.lock().unwrap().largest_batch
    }
}

impl Double {
    fn new(script: Arc<Script>) -> Double {
        Double { script, lists: None, watched: Vec::new(), seen: Arc::default() }
    }

    fn next_call(&self) -> u64 {
        let mut seen = self.seen.lock().unwrap();
        seen.calls += 1;
        seen.calls - 1
    }

    async fn reply(&self, call: u64) -> Result<v1::Outcome, Status> {
        match (self.script)(call, 0) {
            Reply::Commit => Ok(committed()),
            Reply::Busy(milliseconds) => {
                let mut status = Status::resource_exhausted("too many transactions are open");
                status.metadata_mut().insert(RETRY_AFTER, milliseconds.into());
                Err(status)
            }
            Reply::Silence => std::future::pending().await,
            Reply::Break(status) => Err(status),
        }
    }

    fn responses(&self, stream: u64, batch: v1::SubmitBatch) -> Vec<Result<v1::SubmitResponseBatch, Status>> {
        let mut seen = self.seen.lock().unwrap();
        seen.largest_batch = seen.largest_batch.max(batch.requests.len());
        let (mut responses, mut broken) = (Vec::new(), None);
        for v1::SequencedRequest { sequence, request } in batch.requests {
            seen.requests.extend(request);
            let result = match (self.script)(stream, sequence) {
                Reply::Commit => sequenced_response::Result::Outcome(committed()),
                Reply::Busy(retry_after_ms) => sequenced_response::Result::Error(v1::SubmitError {
                    code: Code::ResourceExhausted.into(),
                    message: "too many transactions are open".to_owned(),
                    retry_after_ms,
                    reason: String::new(),
                }),
                Reply::Silence => continue,
                Reply::Break(status) => {
                    broken = Some(Err(status));
                    break;
                }
            };
            responses.push(v1::SequencedResponse { sequence, result: Some(result) });
        }
        std::iter::once(Ok(v1::SubmitResponseBatch { responses })).chain(broken).collect()
    }
}

fn committed() -> v1::Outcome {
    v1::Outcome { state: v1::State::Committed.into(), ..v1::Outcome::default() }
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Coordinator for Double {
    type SubmitManyStream = BoxStream<v1::SubmitResponseBatch>;
    type WatchStream = BoxStream<v1::WatchResponse>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        self.seen.lock().unwrap().requests.push(request.into_inner());
        let outcome = self.reply(self.next_call()).await?;
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    async fn begin(&self, _: Request<v1::BeginRequest>) -> Result<Response<v1::BeginResponse>, Status> {
        let outcome = self.reply(self.next_call()).await?;
        Ok(Response::new(v1::BeginResponse { outcome: Some(outcome) }))
    }

    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let ended = self.reply(self.next_call()).await?;
        Ok(Response::new(v1::JoinResponse { state: Some(v1::join_response::State::Ended(ended)) }))
    }

    async fn close(&self, _: Request<v1::CloseRequest>) -> Result<Response<v1::CloseResponse>, Status> {
        let outcome = self.reply(self.next_call()).await?;
        Ok(Response::new(v1::CloseResponse { outcome: Some(outcome) }))
    }

    async fn submit_many(
        &self,
        request: Request<Streaming<v1::SubmitBatch>>,
    ) -> Result<Response<Self::SubmitManyStream>, Status> {
        let (double, number) = (self.clone(), self.next_call());
        let responses = request.into_inner().flat_map(move |batch| {
            stream::iter(match batch {
                Ok(batch) => double.responses(number, batch),
                Err(status) => vec![Err(status)],
            })
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Transaction>, Status> {
        let outcome = self.reply(self.next_call()).await?;
        let tx = request.into_inner().tx;
        Ok(Response::new(v1::Transaction { tx, outcome: Some(outcome), ..v1::Transaction::default() }))
    }

    async fn r#await(&self, _: Request<v1::AwaitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let outcome = self.reply(self.next_call()).await?;
        Ok(Response::new(v1::SubmitResponse { outcome: Some(outcome) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let lists = self.lists.as_ref().ok_or_else(|| Status::unimplemented("not needed"))?;
        lists(request.into_inner()).map(Response::new)
    }

    /// One event, then what the script says.
    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !self.watched.is_empty() {
            return Ok(Response::new(Box::pin(stream::iter(self.watched.clone().into_iter().map(Ok)))));
        }
        let (v1::WatchRequest { tx, after }, call) = (request.into_inner(), self.next_call());
        let tx = if tx.is_empty() { "any".into() } else { tx };
        let detail = format!("behind {after:?}");
        let event =
            v1::HistoryEvent { at_us: call, kind: v1::EventKind::Begun.into(), detail, ..v1::HistoryEvent::default() };
        let cursor = format!("call {call}").into();
        let event = v1::WatchResponse { tx, event: Some(event), cursor, ..v1::WatchResponse::default() };
        let event = stream::iter([Ok(event)]);
        Ok(Response::new(match (self.script)(call, 0) {
            Reply::Break(status) => Box::pin(event.chain(stream::iter([Err(status)]))),
            Reply::Commit => Box::pin(event),
            Reply::Busy(_) | Reply::Silence => Box::pin(event.chain(stream::pending())),
        }))
    }

    async fn cancel(&self, _: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
        let outcome = self.reply(self.next_call()).await?;
        Ok(Response::new(v1::CancelResponse { outcome: Some(outcome) }))
    }
}
