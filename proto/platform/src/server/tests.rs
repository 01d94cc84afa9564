//! The frame over connections in memory, with clients that do not behave.

mod greeting;
mod refused_requests;
mod stalled_clients;
mod unfinished_requests;
mod unread_answers;

use super::{AnswerRoom, Calls, Keeping, Offer, boxed, serve};
use crate::access::Access;
use crate::clock::SystemClock;
use bytes::Bytes;
use futures::future::BoxFuture;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// The bytes that the pipes between clients and server hold.
const PIPE_BYTES: usize = 1 << 16;

const ALIVE: Duration = Duration::from_secs(300);

/// Either room; one connection may have a quarter.
const ROOM_BYTES: u32 = 8 << 20;

const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A server with health, reflection, and answers of any size.
struct Server {
    connections: mpsc::UnboundedSender<DuplexStream>,
    answers: Answers,
}

impl Server {
    fn start() -> Server {
        Server::start_with(Access::open())
    }

    fn start_with(access: Access) -> Server {
        let (connections, incoming) = mpsc::unbounded_channel();
        let incoming = boxed(UnboundedReceiverStream::new(incoming).map(Ok));
        let keeping = Keeping {
            access,
            audit: std::sync::Weak::new(),
            max_connections: 100,
            alive: ALIVE,
            stream_window_bytes: 64 << 10,
            connection_window_bytes: 1 << 20,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_request_room_bytes: ROOM_BYTES,
            max_answer_room_bytes: ROOM_BYTES,
        };
        let Offer { mut routes, .. } = Offer::new().unwrap();
        let answers = Answers::default();
        routes.add_service(answers.clone());
        let never = Box::pin(std::future::pending());
        tokio::spawn(serve(routes.routes(), incoming, keeping, Arc::new(SystemClock), Calls::default(), never));
        Server { connections, answers }
    }

    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        self.connections.send(server).unwrap();
        client
    }

    async fn client(&self) -> Client {
        let (requests, connection) = h2::client::handshake(self.connect()).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Client { requests, connection }
    }
}

/// Answers requests for `/test.Answers/BYTES` with so many.
#[derive(Clone, Default)]
struct Answers {
    alive_bytes: Arc<AtomicUsize>,
    most_alive_bytes: Arc<AtomicUsize>,
}

/// Bytes of an answer that are in memory.
struct Alive(Vec<u8>, Answers);

impl Answers {
    fn make(&self, bytes: usize) -> Bytes {
        let alive = self.alive_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most_alive_bytes.fetch_max(alive, Ordering::Relaxed);
        Bytes::from_owner(Alive(vec![0; bytes], self.clone()))
    }

    fn alive_bytes(&self) -> usize {
        self.alive_bytes.load(Ordering::Relaxed)
    }

    fn most_alive_bytes(&self) -> usize {
        self.most_alive_bytes.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Alive {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.1.alive_bytes.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

impl NamedService for Answers {
    const NAME: &'static str = "test.Answers";
}

impl Service<Request<Body>> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answers = self.clone();
        let bytes: usize = request.uri().path().rsplit('/').next().unwrap().parse().unwrap();
        let mut room = AnswerRoom::of(request.extensions());
        Box::pin(async move {
            while !room.has_room(bytes) {
                if let Err(status) = room.grow().await {
                    return Ok(status.into_http());
                }
            }
            room.hand_over();
            Ok(Response::new(Body::new(Full::new(answers.make(bytes)))))
        })
    }
}

/// A client that does what a test says and nothing else.
struct Client {
    requests: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<()>,
}

impl Client {
    /// Sends a request's headers.
    async fn begin(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let request = Request::post(format!("http://server{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut requests = self.requests.clone().ready().await.unwrap();
        requests.send_request(request, false).unwrap()
    }

    /// Asks for an answer of so many bytes.
    async fn ask(&mut self, bytes: usize) -> ResponseFuture {
        let (response, mut stream) = self.begin(&format!("/test.Answers/{bytes}")).await;
        stream.send_data(Bytes::new(), true).unwrap();
        response
    }

    async fn closed(self) {
        self.connection.await.unwrap();
    }
}

/// Reads an answer to its end, and returns how long it was, and what came after it.
async fn read(response: ResponseFuture) -> Result<(usize, HeaderMap), h2::Error> {
    let (head, mut body): (_, RecvStream) = response.await?.into_parts();
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?.unwrap_or(head.headers)))
}

/// The gRPC status of a whole answer.
async fn status(response: ResponseFuture) -> (tonic::Code, HeaderMap) {
    let (_, after) = read(response).await.unwrap();
    (tonic::Code::from_bytes(after["grpc-status"].as_bytes()), after)
}

/// The first bytes of a message of this length.
fn part_of_message(length: usize, part: usize) -> Bytes {
    let prefix = u32::try_from(length).unwrap().to_be_bytes();
    [&[0][..], &prefix, &vec![0; part]].concat().into()
}
