//! The other end of a connection, as the transport knows it.

use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address, where the transport has some.
    pub address: Option<SocketAddr>,
    /// The names in the certificate that it has proven to own: DNS names and URIs. None without a certificate.
    pub names: Arc<[String]>,
    /// Set: it is another part of this process, of this name, which may do everything.
    pub part: Option<&'static str>,
}
