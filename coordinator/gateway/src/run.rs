//! A gateway's life: serve, stop.

use crate::body::Room;
use crate::config::{Config, ConfigError};
use crate::connection::Taken;
use crate::gate::{Gate, Links};
use crate::routes::{self, waiting::MAX_WAIT};
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
use undoubt_client::{Channel, Client, ClientOptions};
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
    /// Opens a channel to the coordinator, which has to let it ask on others' behalf.
    pub connect: Box<dyn Fn() -> Channel + Send + Sync>,
    /// The options of its client: the token, if it needs one.
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
    let Environment { mut incoming, connect, options, access } = environment;
    let (stop, stopping) = watch::channel(false);
    // What was heard is waited for here, so the client is not to give up before.
    let options = options.deadline(ASKING_FOR).default_timeout(MAX_WAIT);
    let router = routes::router(Arc::new(Gate {
        links: Links::new(move || Client::with_channel(connect(), options.clone())),
        access,
        room: Room::new(),
        streams: Arc::new(Semaphore::new(config.max_event_streams)),
        hosts: config.hosts,
        stopping: stopping.clone(),
    }));
    let places = Arc::new(Semaphore::new(config.max_connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let ended = loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break Ok(()),
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
