//! Connections between the parts of one process, in memory. Each part that is called has a name there.

use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::io::duplex;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Uri;
use undoubt_platform::dial::Dial;
use undoubt_platform::server::Peer;
use undoubt_platform::{Connection, Incoming};

/// The bytes that one side of a connection may be ahead of the other.
const BUFFER_BYTES: usize = 256 << 10;

/// Connections that wait to be accepted.
const QUEUED_CONNECTIONS: usize = 64;

/// The end of the hosts of parts.
const DOMAIN: &str = ".inside";

/// The parts of this process that listen. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Inside(Arc<watch::Sender<BTreeMap<String, mpsc::Sender<Connection>>>>);

/// Dials parts of this process by their addresses, and all others from outside. One that does not listen yet, or not at the moment, is waited
/// for: whoever dials bounds how long that may take.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a dialler has none")]
pub struct InsideDial {
    inside: Inside,
    caller: Peer,
    otherwise: Arc<dyn Dial>,
}

impl Inside {
    /// Returns the address of the part of this name.
    pub fn address(name: &str) -> String {
        format!("http://{name}{DOMAIN}:1")
    }

    /// Returns the connections that come to the part of this name from now on.
    pub fn listen(&self, name: &str) -> Incoming {
        let (sender, accepted) = mpsc::channel(QUEUED_CONNECTIONS);
        self.0.send_modify(|parts| drop(parts.insert(format!("{name}{DOMAIN}"), sender)));
        ReceiverStream::new(accepted).map(Ok).boxed()
    }

    /// Returns a dialler. `part`: as whom those who are called know the caller, where that is a part that may do everything.
    pub fn dial(&self, part: Option<&'static str>, otherwise: Arc<dyn Dial>) -> InsideDial {
        InsideDial { inside: self.clone(), caller: Peer { part, ..Peer::default() }, otherwise }
    }
}

impl Dial for InsideDial {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        let host = address.host().unwrap_or_default();
        if !host.ends_with(DOMAIN) {
            return self.otherwise.dial(address);
        }
        let (host, caller, mut parts) = (host.to_owned(), self.caller.clone(), self.inside.0.subscribe());
        Box::pin(async move {
            loop {
                let part = parts.borrow_and_update().get(&host).cloned();
                let (own, other) = duplex(BUFFER_BYTES);
                let accepted = Connection::over(other).with(caller.clone());
                if let Some(part) = part
                    && part.send(accepted).await.is_ok()
                {
                    return Ok(Connection::over(own));
                }
                parts.changed().await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use undoubt_platform::dial::TcpDial;

    #[tokio::test]
    async fn a_part_is_reached_by_its_name_as_soon_as_it_listens() {
        let inside = Inside::default();
        let dial = inside.dial(Some("gateway"), Arc::new(TcpDial));
        let address: Uri = Inside::address("store").parse().unwrap();
        for _ in 0..2 {
            let early = tokio::spawn(dial.dial(address.clone()));
            tokio::task::yield_now().await;
            assert!(!early.is_finished());
            let mut incoming = inside.listen("store");
            let mut own = early.await.unwrap().unwrap();
            let mut other = incoming.next().await.unwrap().unwrap();
            assert_eq!(other.peer().part, Some("gateway"));
            own.write_all(b"hello").await.unwrap();
            let mut heard = [0; 5];
            other.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
        }
    }
}
