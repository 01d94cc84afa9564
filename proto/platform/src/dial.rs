//! Clients over any transport.
//!
//! Connections are boxed here, so that the HTTP machinery is compiled once, with this crate, whatever it runs over.

use crate::server::Connection;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::util::BoxCloneService;

/// Opens connections.
pub trait Dial: Send + Sync + 'static {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>>;
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
