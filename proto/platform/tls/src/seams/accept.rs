//! Connections that come in: their handshakes are made beside each other, so that one that never ends holds up nobody.

use crate::server::{ServerTls, names};
use crate::words::of_server;
use futures::StreamExt as _;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use undoubt_platform::Incoming;
use undoubt_platform::server::{Connection, Peer};

/// Handshakes under way at a time. One more takes the place of the oldest: an honest one is over in milliseconds, so those that
/// say nothing give way to it.
pub(crate) const MAX_HANDSHAKES: usize = 256;

/// A handshake that takes longer is given up.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes that failed are told once in this time, with how many there were.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Returns the connections whose handshake has succeeded, each with its peer's certificate names.
pub fn accept(incoming: Incoming, tls: Arc<ServerTls>) -> Incoming {
    let handshakes = Handshakes {
        incoming: Some(incoming),
        tls,
        under_way: JoinSet::new(),
        oldest_first: VecDeque::new(),
        failures: Failures::default(),
    };
    futures::stream::unfold(handshakes, |mut handshakes| async move { Some((handshakes.next().await?, handshakes)) })
        .boxed()
}

struct Handshakes {
    /// None once nothing more comes in.
    incoming: Option<Incoming>,
    tls: Arc<ServerTls>,
    under_way: JoinSet<Result<Connection, Failed>>,
    /// Those that are over are still among them for a while.
    oldest_first: VecDeque<AbortHandle>,
    failures: Failures,
}

struct Failed {
    peer: Peer,
    why: String,
}

impl Handshakes {
    async fn next(&mut self) -> Option<io::Result<Connection>> {
        loop {
            tokio::select! {
                Some(over) = self.under_way.join_next() => match over {
                    Ok(Ok(connection)) => return Some(Ok(connection)),
                    Ok(Err(failed)) => self.failures.add(&failed),
                    // It gave way to another.
                    Err(_) => {}
                },
                accepted = async { self.incoming.as_mut()?.next().await }, if self.incoming.is_some() => match accepted {
                    Some(Ok(connection)) => self.begin(connection),
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.incoming = None,
                },
                else => return None,
            }
        }
    }

    fn begin(&mut self, connection: Connection) {
        while self.oldest_first.front().is_some_and(AbortHandle::is_finished) {
            self.oldest_first.pop_front();
        }
        if self.oldest_first.len() >= MAX_HANDSHAKES {
            self.oldest_first.retain(|handshake| !handshake.is_finished());
        }
        if self.oldest_first.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
            self.failures.add(&Failed { peer: Peer::default(), why: "too many were under way".to_owned() });
        }
        let acceptor = TlsAcceptor::from(self.tls.current());
        self.oldest_first.push_back(self.under_way.spawn(handshake(acceptor, connection)));
    }
}

async fn handshake(acceptor: TlsAcceptor, connection: Connection) -> Result<Connection, Failed> {
    let peer = connection.peer().clone();
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let names = shown.map(names).unwrap_or_default().into();
            Ok(Connection::over(stream).with(Peer { names, ..peer }))
        }
        Ok(Err(error)) => Err(Failed { peer, why: of_server(&error) }),
        Err(_elapsed) => Err(Failed { peer, why: "it did not end in time".to_owned() }),
    }
}

/// The handshakes that failed, for the log. A stranger may cause as many as it likes.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    fn add(&mut self, Failed { peer, why }: &Failed) {
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            let address = peer.address.map(|address| address.to_string()).unwrap_or_default();
            tracing::info!(why, address, count = self.untold, "a TLS handshake failed");
            *self = Failures { told: Some(Instant::now()), untold: 0 };
        }
    }
}
