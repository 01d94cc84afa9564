//! A way to the service's database that can be made slow: a listener that forwards to it, and holds its answers back for a while.

use anyhow::Context as _;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The time for which each piece of an answer is held back.
const HELD_BACK: Duration = Duration::from_millis(300);

const PIECE_BYTES: usize = 16 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An address to listen on, and the database's: `LISTEN=DATABASE`. The service is given the first as its database's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    listen: String,
    database: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to a database; write HOST:PORT=HOST:PORT: where to listen, and where the database is")]
pub struct BadForwarding(String);

impl FromStr for Forwarding {
    type Err = BadForwarding;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((listen, database)) if listen.contains(':') && database.contains(':') => {
                Ok(Forwarding { listen: listen.to_owned(), database: database.to_owned() })
            }
            Some(_) | None => Err(BadForwarding(text.to_owned())),
        }
    }
}

/// The way, open until it is dropped.
#[derive(Debug)]
pub(super) struct Database {
    is_slow: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Database {
    pub(super) async fn open(Forwarding { listen, database }: Forwarding) -> anyhow::Result<Database> {
        let listener = TcpListener::bind(&listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen} for the service's database"))?;
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = is_slow.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((service, _)) = listener.accept().await {
                let (database, slow) = (database.clone(), slow.clone());
                tokio::spawn(async move {
                    // A database that cannot be reached is the service's to tell: its connection ends.
                    if let Ok(Ok(database)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(database)).await {
                        // So does one that breaks.
                        forward(service, database, slow).await.ok();
                    }
                });
            }
        });
        Ok(Database { is_slow, accepting })
    }

    pub(super) fn slow_down(&self, is_slow: bool) {
        self.is_slow.store(is_slow, Ordering::Relaxed);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards until either side is gone.
async fn forward(service: TcpStream, database: TcpStream, is_slow: Arc<AtomicBool>) -> std::io::Result<()> {
    let (mut from_service, mut to_service) = service.into_split();
    let (mut from_database, mut to_database) = database.into_split();
    let asking = tokio::io::copy(&mut from_service, &mut to_database);
    let answering = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = from_database.read(&mut piece).await?;
            if read == 0 {
                return to_service.shutdown().await;
            }
            if is_slow.load(Ordering::Relaxed) {
                tokio::time::sleep(HELD_BACK).await;
            }
            to_service.write_all(&piece[..read]).await?;
        }
    };
    tokio::select! {
        asked = asking => asked.map(drop),
        answered = answering => answered,
    }
}
