//! The port at which figures, life and readiness are told: HTTP/1.1, three paths, nothing else.

use super::{Metrics, lock};
use crate::access::Access;
use crate::server::{Connection, Incoming, Peer};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections that may be open at a time; one more is closed at once.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// The time that one connection may last: a request comes, is answered, and that is that.
pub(crate) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that an answer may take, with waiting for others who ask.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The bytes that a request's head may have.
pub(crate) const MAX_HEAD_BYTES: usize = 16 << 10;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The place where the figures of a process hang: those of its present run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Metrics>>);

/// The error of a port at which figures were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connections come in any more at the port for metrics")]
pub struct MetricsServerError;

impl Board {
    /// Begins another run of the server, of which nothing is told yet.
    pub fn begin(&self) -> Metrics {
        let metrics = Metrics::default();
        *lock(&self.0) = metrics.clone();
        metrics
    }

    fn metrics(&self) -> Metrics {
        lock(&self.0).clone()
    }
}

/// Answers `/metrics`, `/healthz` and `/readyz`, as long as connections come in: figures to those who may read, the others to all.
pub async fn serve_board(board: Board, mut incoming: Incoming, access: Access) -> Result<(), MetricsServerError> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // One looks at the server at a time, however many ask.
    let turn = Arc::new(tokio::sync::Mutex::new(()));
    while let Some(accepted) = incoming.next().await {
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%error, "a connection for metrics was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (board, turn, access) = (board.clone(), turn.clone(), access.clone());
        tokio::spawn(async move {
            if timeout(CONNECTION_TIMEOUT, answer_one(board, turn, access, connection)).await.is_err() {
                tracing::debug!("a connection for metrics was given up");
            }
            drop(place);
        });
    }
    Err(MetricsServerError)
}

async fn answer_one(board: Board, turn: Arc<tokio::sync::Mutex<()>>, access: Access, connection: Connection) {
    let peer = connection.peer().clone();
    let service = service_fn(|request: Request<Body>| {
        let (metrics, turn) = (board.metrics(), turn.clone());
        let refused = refusal(&access, &request, &peer);
        async move {
            let answered = match refused {
                None => answer(&metrics, &turn, &request).await,
                Some(refused) => refused,
            };
            Ok::<_, Infallible>(answered)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

/// Returns the answer to a caller that may not ask for what it asks.
fn refusal(access: &Access, request: &Request<Body>, peer: &Peer) -> Option<Response<Full<Bytes>>> {
    let refused = access.admit(request.uri().path(), request.headers(), peer).err()?;
    let status = if refused.is_about_who() { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
    Some(said(status, PLAIN, format!("{refused}\n")))
}

async fn answer(metrics: &Metrics, turn: &tokio::sync::Mutex<()>, request: &Request<Body>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return said(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "there is only GET here\n".to_owned());
    }
    let looked = async {
        match request.uri().path() {
            // That it is answered says all: whoever restarts a process for its device's sake mends nothing.
            "/healthz" => said(StatusCode::OK, PLAIN, "alive\n".to_owned()),
            "/readyz" => {
                let _turn = turn.lock().await;
                match metrics.readiness().await {
                    Ok(()) => said(StatusCode::OK, PLAIN, "ready\n".to_owned()),
                    Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n")),
                }
            }
            "/metrics" => {
                let _turn = turn.lock().await;
                match metrics.text().await {
                    Ok(text) => said(StatusCode::OK, OPEN_METRICS, text),
                    Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "a metric has no such value\n".to_owned()),
                }
            }
            _ => said(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n".to_owned()),
        }
    };
    timeout(ANSWER_TIMEOUT, looked).await.unwrap_or_else(|_elapsed| {
        said(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "not ready: the server does not answer\n".to_owned())
    })
}

fn said(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Source;
    use crate::server::boxed;
    use futures::future::BoxFuture;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    struct Says(Result<(), String>);

    impl Source for Says {
        fn look(&self) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(std::future::ready(self.0.clone()))
        }
    }

    fn start() -> (Board, mpsc::UnboundedSender<DuplexStream>) {
        start_for(Access::open())
    }

    fn start_for(access: Access) -> (Board, mpsc::UnboundedSender<DuplexStream>) {
        let (connections, incoming) = mpsc::unbounded_channel();
        let board = Board::default();
        let incoming = boxed(UnboundedReceiverStream::new(incoming).map(Ok));
        tokio::spawn(serve_board(board.clone(), incoming, access));
        (board, connections)
    }

    async fn ask(connections: &mpsc::UnboundedSender<DuplexStream>, head: &str) -> String {
        let (mut client, server) = duplex(1 << 16);
        connections.send(server).unwrap();
        client.write_all(format!("{head} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_says_why_not_and_life_goes_on_meanwhile() {
        let (board, connections) = start();
        let answer = ask(&connections, "GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("has not read its log"), "{answer}");
        assert!(ask(&connections, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        board.begin().looked_up_by(Arc::new(Says(Err("it is draining".to_owned()))));
        assert!(ask(&connections, "GET /readyz").await.ends_with("not ready: it is draining\n"));
        board.begin().looked_up_by(Arc::new(Says(Ok(()))));
        assert!(ask(&connections, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(&connections, "GET /metrics").await.ends_with("# EOF\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn figures_are_told_to_those_who_may_read_and_life_and_readiness_to_all() {
        let ada = crate::access::new_token(&crate::random::SeededRandom::new(1));
        let known = format!(
            "[[identity]]\nname = \"ada\"\nroles = [\"read\"]\ntokens = [\"{}\"]\n",
            crate::access::TokenHash::of(&ada)
        );
        let identities = crate::access::Identities::parse(&known).unwrap();
        let (_board, connections) = start_for(Access::new(identities, crate::access::Roles::default()));
        assert!(ask(&connections, "GET /metrics").await.starts_with("HTTP/1.1 401"));
        assert!(ask(&connections, "GET /anything").await.starts_with("HTTP/1.1 401"));
        assert!(ask(&connections, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(&connections, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        let as_ada = format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {ada}\r\nX-Rest:");
        assert!(ask(&connections, &as_ada).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_nothing_beside_three_paths() {
        let (_board, connections) = start();
        assert!(ask(&connections, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(ask(&connections, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_takes_a_place_for_a_while_and_no_more_than_there_are() {
        let (_board, connections) = start();
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let (client, server) = duplex(64);
            connections.send(server).unwrap();
            silent.push(client);
        }
        let (mut one_more, server) = duplex(64);
        connections.send(server).unwrap();
        assert_eq!(one_more.read(&mut [0]).await.unwrap(), 0, "it is closed at once");
        for client in &mut silent {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
        }
        assert!(ask(&connections, "GET /healthz").await.starts_with("HTTP/1.1 200"), "places are free again");
    }
}
