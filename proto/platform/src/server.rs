//! The frame of a gRPC server: what comes in, health and reflection, the date of responses, an orderly end.
//!
//! Connections and services are boxed here, so that the HTTP machinery is compiled once, with this crate, whoever serves
//! over whatever transport.

use crate::clock::Clock;
use crate::date::dated;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::server::Connected;
use tonic_health::server::HealthReporter;
use tower::util::MapResponseLayer;

pub use tonic::transport::Error as ServerError;

/// Connections that come in, in the order in which they do.
pub type Incoming = BoxStream<'static, io::Result<Connection>>;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection.
pub struct Connection(Box<dyn Duplex>);

impl Connection {
    pub fn over(duplex: impl Duplex + 'static) -> Connection {
        Connection(Box::new(duplex))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

/// Boxes what a listener accepts.
pub fn boxed<D: Duplex + 'static>(accepted: impl Stream<Item = io::Result<D>> + Send + 'static) -> Incoming {
    accepted.map(|connection| connection.map(Connection::over)).boxed()
}

/// What a server offers, with health and reflection beside it.
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
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(undoubt_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ReflectionError(error.to_string()))?;
    let mut routes = RoutesBuilder::default();
    routes.add_service(service);
    Ok(routes)
});

impl Offer {
    /// Health and reflection; what else there is comes to `routes`.
    pub fn new() -> Result<Offer, ReflectionError> {
        let mut routes = REFLECTION.clone()?;
        let (health, health_service) = tonic_health::server::health_reporter();
        routes.add_service(health_service);
        Ok(Offer { routes, health })
    }
}

/// How connections are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// A peer that is silent this long is asked for a sign of life, and given up after as long again.
    pub alive: Duration,
    /// Flow control of one stream and of one connection, where the default is too small.
    pub window_bytes: Option<u32>,
}

/// Serves until `stop` is done and connections have ended.
pub fn serve(
    routes: Routes,
    incoming: Incoming,
    keeping: Keeping,
    clock: Arc<dyn Clock>,
    stop: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), ServerError>> {
    let server = tonic::transport::Server::builder()
        .layer(MapResponseLayer::new(dated(clock)))
        .http2_keepalive_interval(Some(keeping.alive))
        .http2_keepalive_timeout(Some(keeping.alive))
        .initial_stream_window_size(keeping.window_bytes)
        .initial_connection_window_size(keeping.window_bytes)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop);
    Box::pin(server)
}
