//! The frame of a server: what comes in, health and reflection, the date of responses, its tasks, an orderly end.
//!
//! Connections and services are boxed here, so that the HTTP machinery is compiled once, with this crate, whoever serves
//! over whatever transport.

mod accept;
mod answers;
mod calls;
mod connection;
mod exchange;
mod fields;
mod frame;
mod guard;
mod lifetime;
mod limits;
mod peer;
mod requests;
mod room;
mod task;
#[cfg(test)]
mod tests;

use crate::access::Access;
use crate::audit::Audit;
use crate::clock::Clock;
use exchange::Rooms;
use frame::FrameLayer;
use futures::future::BoxFuture;
use guard::GuardLayer;
use limits::{MAX_HEADER_LIST_BYTES, MAX_STREAMS_PER_CONNECTION};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::server::HealthReporter;

pub use accept::{Incoming, boxed};
pub use calls::{Calls, METRICS};
pub use connection::{Connection, ConnectionInfo, Duplex};
pub use exchange::AnswerRoom;
pub use fields::{check_reason, parse_tx};
pub use lifetime::{Serving, tell_health};
pub use limits::{DEFAULT_ROOM_BYTES, share_bytes};
pub use peer::Peer;
pub use task::{EngineGone, Task, TaskCancelled, stopped};
pub use tonic::transport::Error as ServerError;

/// The services that a server offers, with health and reflection beside them.
#[derive(Debug)]
pub struct Offer {
    pub routes: RoutesBuilder,
    pub health: HealthReporter,
}

/// The descriptions of the services that were compiled in cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReflectionError(String);

/// Reading descriptions takes milliseconds, and a simulation starts servers by the dozen.
static REFLECTION: LazyLock<Result<RoutesBuilder, ReflectionError>> = LazyLock::new(|| {
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(undoubt_proto::PUBLIC_FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let unreadable = |error: tonic_reflection::server::Error| ReflectionError(error.to_string());
    let mut routes = RoutesBuilder::default();
    routes.add_service(described().build_v1().map_err(unreadable)?);
    // Some clients, Python's among them, speak nothing newer.
    routes.add_service(described().build_v1alpha().map_err(unreadable)?);
    Ok(routes)
});

impl Offer {
    /// Returns an offer of health and reflection; what else there is comes to `routes`.
    pub fn new() -> Result<Offer, ReflectionError> {
        let mut routes = REFLECTION.clone()?;
        let (health, health_service) = tonic_health::server::health_reporter();
        routes.add_service(health_service);
        Ok(Offer { routes, health })
    }
}

/// The terms on which connections are kept.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// The rules of who may do what.
    pub access: Access,
    /// The record of what they refuse, where one is kept.
    pub audit: Weak<Audit>,
    /// Connections that may be open at a time.
    pub max_connections: usize,
    /// A peer that is silent this long is asked for a sign of life, and given up after as long again.
    pub alive: Duration,
    /// The bytes that a client may send of one request, and of all on a connection, before it is asked for more.
    pub stream_window_bytes: u32,
    pub connection_window_bytes: u32,
    /// The largest message of a request.
    pub max_message_bytes: usize,
    /// The bytes that all connections together may hold of messages that are not whole, beside what each has for
    /// itself.
    pub max_request_room_bytes: u32,
    /// The same of answers that are not sent.
    pub max_answer_room_bytes: u32,
}

/// A client that has not greeted within this time of connecting is given up: before that there are no pings.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until `stop` is done and connections have ended.
fn serve(
    routes: Routes,
    incoming: Incoming,
    keeping: Keeping,
    clock: Arc<dyn Clock>,
    calls: Calls,
    stop: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), ServerError>> {
    let rooms = Rooms::new(keeping.max_request_room_bytes, keeping.max_answer_room_bytes);
    let incoming = accept::orderly(incoming, keeping.max_connections, GREETING_TIMEOUT, rooms, calls.clone());
    let under_way = Arc::new(AtomicUsize::new(0));
    let server = tonic::transport::Server::builder()
        .layer(FrameLayer { clock, calls, max_message_bytes: keeping.max_message_bytes, under_way })
        .layer(GuardLayer { access: keeping.access, audit: keeping.audit })
        .http2_keepalive_interval(Some(keeping.alive))
        .http2_keepalive_timeout(Some(keeping.alive))
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .initial_stream_window_size(keeping.stream_window_bytes)
        .initial_connection_window_size(keeping.connection_window_bytes)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop);
    Box::pin(server)
}
