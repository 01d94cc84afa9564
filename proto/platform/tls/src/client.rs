//! The client's side.

use crate::files::{self, ClientFiles, Contents, FileError};
use crate::first_word::heard;
use crate::kept::{Kept, Refreshed};
use crate::server::{check_time, provider};
use crate::words::Untrusted;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The time that a handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The protocol that is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, whose server speaks first.
    H2,
    Http1,
    /// Either of the two, as the server likes.
    Http,
}

impl Protocol {
    fn names(self) -> &'static [&'static [u8]] {
        match self {
            Protocol::H2 => &[H2],
            Protocol::Http1 => &[HTTP1],
            Protocol::Http => &[H2, HTTP1],
        }
    }
}

/// The certificates of a client.
pub struct ClientTls(Kept<ClientConfig>);

impl ClientTls {
    pub fn load(files: ClientFiles, protocol: Protocol) -> Result<ClientTls, FileError> {
        let ClientFiles { ca, certificate } = files.clone();
        let paths = [ca].into_iter().chain(certificate.into_iter().flat_map(|(one, key)| [one, key])).collect();
        Ok(ClientTls(Kept::load(paths, move |contents| make(&files, protocol, contents))?))
    }

    pub fn current(&self) -> Arc<ClientConfig> {
        self.0.current()
    }

    pub fn refresh(&self) -> Refreshed {
        self.0.refresh()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

fn make(files: &ClientFiles, protocol: Protocol, contents: &Contents) -> Result<ClientConfig, FileError> {
    let (ca, own) = contents.0.split_first().expect("a CA is read");
    let roots = files::roots(&files.ca, ca)?;
    let unusable = |error: rustls::Error| FileError::Unusable { path: files.ca.clone(), cause: error.to_string() };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.with_root_certificates(roots.clone());
    let mut config = match (&files.certificate, own) {
        (Some((certificate, key)), [pem, secret]) => {
            let chain = files::certificates(certificate, pem)?;
            check_time(certificate, &chain, &roots)?;
            let made = builder.with_client_auth_cert(chain, files::key(key, secret)?);
            made.map_err(|error| files::pair_error(certificate, key, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocol.names().iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Makes a client's handshake with `host` over a connection. Errors say in plain words what is wrong; [`Untrusted`] is behind
/// those that another try would not change.
pub async fn connect<S: AsyncRead + AsyncWrite + Send + Unpin>(
    config: Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>> {
    Ok(connect_as(config, host, stream).await?.0)
}

/// Makes a client's handshake, and tells whether both agreed on HTTP/2.
pub(crate) async fn connect_as<S: AsyncRead + AsyncWrite + Send + Unpin>(
    config: Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> io::Result<(impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, bool)> {
    let host = host.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?} is no name of a host; correct it"))
    })?;
    let only_http2 = config.alpn_protocols.iter().all(|name| name == H2) && !config.alpn_protocols.is_empty();
    let handshake = async {
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok((heard(stream, only_http2 || is_http2).await?, is_http2))
    };
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(connected) => connected.map_err(|error| Untrusted::explain(host, error)),
        Err(_elapsed) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "{host} did not answer the TLS handshake within {} s; does it speak TLS?",
                HANDSHAKE_TIMEOUT.as_secs()
            ),
        )),
    }
}
