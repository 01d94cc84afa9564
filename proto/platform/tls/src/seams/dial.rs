//! Connections that this process opens.

use crate::client::{ClientTls, connect};
use futures::future::BoxFuture;
use http::Uri;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use undoubt_platform::dial::Dial;
use undoubt_platform::server::Connection;

const HTTPS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;

/// TCP: plain to `http://`, and with TLS to `https://`.
#[derive(Clone, Debug, Default)]
pub struct TlsDial {
    /// The certificates for `https://`; without, no such address can be reached.
    tls: Option<Arc<ClientTls>>,
}

impl TlsDial {
    pub fn new(tls: Option<Arc<ClientTls>>) -> TlsDial {
        TlsDial { tls }
    }
}

impl Dial for TlsDial {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let is_encrypted = address.scheme_str() == Some("https");
            let port = address.port_u16().unwrap_or(if is_encrypted { HTTPS_PORT } else { HTTP_PORT });
            let tls = match (is_encrypted, tls) {
                (false, _) => None,
                (true, Some(tls)) => Some(tls),
                (true, None) => {
                    let why = "https:// needs to know whom to trust; name the CA's certificate ([tls] ca, or --ca)";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
            };
            let stream = TcpStream::connect((host.clone(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(match tls {
                None => Connection::over(stream),
                Some(tls) => Connection::over(connect(tls.current(), &host, stream).await?),
            })
        })
    }
}
