//! Connections with TLS.

use http::Uri;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use undoubt_tls::{ClientTls, Refreshed, connect};

/// Returns a channel that connects when it is needed. Certificates are looked at again each time.
pub(crate) fn connect_lazily(endpoint: Endpoint, tls: Arc<ClientTls>) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(move |address: Uri| {
        let tls = tls.clone();
        async move {
            if let Refreshed::KeptOut(error) = tls.refresh() {
                tracing::warn!(%error, "new certificates cannot be used and are kept out: those of before go on; mend them");
            }
            let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let stream = TcpStream::connect((host.clone(), address.port_u16().unwrap_or_default())).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(connect(tls.current(), &host, stream).await?))
        }
    }))
}
