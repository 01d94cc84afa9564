//! A gateway's life: serve, stop.

use crate::body::Room;
use crate::config::{Config, ConfigError};
use crate::connection::Taken;
use crate::coordinators::{Behind, Coordinators, MAX_COORDINATORS};
use crate::gate::Gate;
use crate::routes::{self, waiting::MAX_WAIT};
use crate::sources::{Source, Sources};
use axum::Router;
use futures::StreamExt as _;
use http::Request;
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;
use undoubt_client::ClientOptions;
use undoubt_platform::Access;
use undoubt_platform::server::{Connection, Incoming};

/// The bytes that the head of a request may have.
pub(crate) const MAX_HEAD_BYTES: usize = 16 << 10;

/// Headers that a request may have.
pub(crate) const MAX_HEADERS: usize = 64;

/// The time within which the head of a request has to be whole. A connection on which no request comes ends after it too.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that requests under way get when the gateway stops.
const PARTING_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which the coordinator is asked, as long as nobody there has heard of it.
const ASKING_FOR: Duration = Duration::from_secs(10);

/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The surroundings that a gateway takes from outside.
pub struct Environment {
    /// Connections from callers.
    pub incoming: Incoming,
    /// The coordinators behind it, one at least.
    pub coordinators: Vec<Behind>,
    /// The participants whose events it hands on.
    pub sources: Vec<Source>,
    /// The options of its clients: the token, if they need one.
    pub options: ClientOptions,
    /// The rules by which callers are known.
    pub access: Access,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// The reason why a gateway ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("the configuration is not usable: {0}")]
    Config(#[from] ConfigError),
    #[error("a gateway stands in front of 1 to {MAX_COORDINATORS} coordinators, and {given} are named; correct that")]
    Coordinators { given: usize },
    #[error("no connections come in any more at the gateway")]
    NoMoreConnections,
}

/// Serves until `shutdown` is done. Requests that are under way then get 5 s more; streams of events end.
pub async fn run(
    config: Config,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    config.check()?;
    let Environment { mut incoming, coordinators, sources, options, access } = environment;
    if !(1..=MAX_COORDINATORS).contains(&coordinators.len()) {
        return Err(RunError::Coordinators { given: coordinators.len() });
    }
    let (stop, stopping) = watch::channel(false);
    // What was heard is waited for here, so the client is not to give up before.
    let options = options.deadline(ASKING_FOR).default_timeout(MAX_WAIT);
    let gate = Arc::new(Gate {
        sources: Sources::new(sources, options.clone()),
        coordinators: Coordinators::new(coordinators, &options, config.settled),
        access,
        room: Room::new(),
        streams: Arc::new(Semaphore::new(config.max_event_streams)),
        hosts: config.hosts,
        stopping: stopping.clone(),
    });
    let router = routes::router(gate.clone());
    let places = Arc::new(Semaphore::new(config.max_connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut watching = pin!(gate.coordinators.watch());
    let ended = loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break Ok(()),
            never = &mut watching => match never {},
            Some(_) = connections.join_next() => continue,
            accepted = incoming.next() => accepted,
        };
        match accepted {
            None => break Err(RunError::NoMoreConnections),
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection to the gateway was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
            // One too many is closed at once, so that its caller hears of it.
            Some(Ok(connection)) => match places.clone().try_acquire_owned() {
                Err(_none_free) => tracing::debug!("as many connections to the gateway are open as may be"),
                Ok(place) => {
                    let served = serve(connection, router.clone(), stopping.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
            },
        }
    };
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that take longer are cut off as the set is dropped.
    timeout(PARTING_TIMEOUT, all).await.unwrap_or_default();
    ended
}

/// Waits until the gateway stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender lives as long as the gateway.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Serves one connection to its end.
async fn serve(connection: Connection, router: Router, mut stopping: watch::Receiver<bool>) {
    let peer = connection.peer().clone();
    let service = service_fn(move |mut request: Request<Body>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Taken::new(connection)), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = stopped(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the gateway broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::BODY_TIMEOUT;
    use futures::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;
    use undoubt_client::Channel;
    use undoubt_platform::server::boxed;

    /// Serves these connections, to a coordinator that is not there.
    fn start(connections: Vec<DuplexStream>) -> tokio::task::JoinHandle<Result<(), RunError>> {
        let incoming = boxed(stream::iter(connections.into_iter().map(Ok)).chain(stream::pending()));
        let connect = Box::new(|| Channel::from_static("http://127.0.0.1:1").connect_lazy());
        let behind = Behind { id: None, address: "http://127.0.0.1:1".to_owned(), connect };
        let coordinators = vec![behind];
        let environment = Environment {
            incoming,
            coordinators,
            sources: Vec::new(),
            options: ClientOptions::default(),
            access: Access::open(),
        };
        tokio::spawn(run(Config::default(), environment, std::future::pending()))
    }

    /// Sends bytes, and returns what comes back until the connection ends, with the seconds that this took.
    async fn ends(bytes: &[u8]) -> (String, u64) {
        let (mut caller, gateway) = duplex(1 << 20);
        let (_running, began) = (start(vec![gateway]), Instant::now());
        caller.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        caller.read_to_end(&mut said).await.unwrap();
        (String::from_utf8(said).unwrap(), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_too_little_is_given_up_in_time() {
        assert_eq!(ends(b"").await, (String::new(), HEAD_TIMEOUT.as_secs()));
        assert_eq!(ends(b"GET /v1/openapi.json HTTP/1.1\r\nhost: lo").await.1, HEAD_TIMEOUT.as_secs());
        let (said, after_s) = ends(b"GET /v1/nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(said.starts_with("HTTP/1.1 404") && after_s == HEAD_TIMEOUT.as_secs(), "{said} after {after_s} s");
        let head = "POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        for body in ["content-length: 9\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"] {
            let (said, after_s) = ends(format!("{head}{body}").as_bytes()).await;
            assert!(said.starts_with("HTTP/1.1 408") && said.contains("MESSAGE_INCOMPLETE"), "{said}");
            assert!((BODY_TIMEOUT.as_secs()..BODY_TIMEOUT.as_secs() + 3).contains(&after_s), "{after_s}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_is_not_there_is_told_as_such() {
        let (said, after_s) =
            ends(b"GET /v1/participants HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("\"retryable\":true"), "{said}");
        assert!(after_s <= ASKING_FOR.as_secs(), "{after_s}");
    }
}
