//! Clients over any transport.
//!
//! Connections are boxed here, so that the HTTP machinery is compiled once, with this crate, whatever it runs over.

use crate::server::Connection;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::{TcpStream, lookup_host};
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::util::BoxCloneService;

/// Opens connections.
pub trait Dial: Send + Sync + 'static {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>>;
}

/// Looks up the addresses of hosts, for whoever looks at an address before it dials it.
pub trait Resolve: Send + Sync + 'static {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Encrypts connections that are open.
pub trait Encrypt: Send + Sync + 'static {
    /// Returns the connection once its other end has proved that it is this host.
    fn encrypt(&self, host: String, plain: Connection) -> BoxFuture<'static, io::Result<Encrypted>>;
}

/// A connection that is encrypted.
#[derive(Debug)]
pub struct Encrypted {
    pub connection: Connection,
    /// True if both ends agreed on HTTP/2; else it is HTTP/1.1.
    pub is_http2: bool,
}

/// The system's own names.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolve;

impl Resolve for SystemResolve {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// Plain TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        Box::pin(async move {
            let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let stream = TcpStream::connect((host, address.port_u16().unwrap_or(80))).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::over(stream))
        })
    }
}

/// Returns a channel that is connected.
pub async fn connect(endpoint: Endpoint, dial: Arc<dyn Dial>) -> Result<Channel, Error> {
    endpoint.connect_with_connector(connector(dial)).await
}

/// Returns a channel that connects, and connects anew, whenever it is needed.
pub fn connect_lazily(endpoint: Endpoint, dial: Arc<dyn Dial>) -> Channel {
    endpoint.connect_with_connector_lazy(connector(dial))
}

fn connector(dial: Arc<dyn Dial>) -> BoxCloneService<Uri, TokioIo<Connection>, io::Error> {
    BoxCloneService::new(tower::service_fn(move |address: Uri| {
        let connection = dial.dial(address);
        async move { connection.await.map(TokioIo::new) }
    }))
}
