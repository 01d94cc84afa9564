//! A proxy that reads the messages of a database's protocol and does something at a chosen one.

mod mariadb;
mod postgres;
mod trap;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use trap::{Act, Moment, Traps};
pub use trap::{Place, Trap};

use crate::ServerError;

const MAX_MESSAGE_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// A proxy before one database server, which forwards everything but where a trap was set.
///
/// It reads what clients send in the clear: a connection with TLS passes, but nothing in it is seen. Dropping it cuts
/// all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    traps: Arc<Traps>,
    reachable: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy before a PostgreSQL server.
    ///
    /// The text of a message is what it has the server run: a Query's statements, or the statement and the values of
    /// a Bind. A Parse is remembered for its Binds and not counted.
    ///
    /// # Errors
    ///
    /// Where no port of loopback can be listened on.
    pub async fn postgres(to: SocketAddr) -> Result<Self, ServerError> {
        Self::start(to, postgres::Messages::default).await
    }

    /// Starts a proxy before a MariaDB server.
    ///
    /// The text of a message is what it has the server run: the statements of a COM_QUERY, or the statement and the
    /// values of a COM_STMT_EXECUTE. A COM_STMT_PREPARE is remembered and not counted.
    ///
    /// # Errors
    ///
    /// Where no port of loopback can be listened on.
    pub async fn mariadb(to: SocketAddr) -> Result<Self, ServerError> {
        Self::start(to, mariadb::Messages::default).await
    }

    async fn start<M: Messages>(to: SocketAddr, messages: fn() -> M) -> Result<Self, ServerError> {
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listening.map_err(ServerError::io("listening for a proxy"))?;
        let address = listener.local_addr().map_err(ServerError::io("listening for a proxy"))?;
        let traps = Arc::new(Traps::default());
        let (reachable, reach) = watch::channel(true);
        let accepting = tokio::spawn(accept(listener, to, messages, Arc::clone(&traps), reach));
        Ok(Self { address, traps, reachable, accepting })
    }

    /// Returns the address that clients connect to instead of the server's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the place before the next message whose text contains `text` is forwarded.
    pub fn before(&self, text: &str) -> Place<'_> {
        Place::new(&self.traps, text, Moment::Before)
    }

    /// Returns the place after the next message whose text contains `text` was forwarded, before any answer to it.
    pub fn after(&self, text: &str) -> Place<'_> {
        Place::new(&self.traps, text, Moment::After)
    }

    /// Cuts all connections, and new ones at once until the server is made reachable again.
    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.send_replace(reachable);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The messages that one client sends, as their protocol frames them.
trait Messages: Send + 'static {
    /// Returns the length in bytes of the message that begins here, once enough of it is there to tell.
    fn length(&self, start: &[u8]) -> Option<usize>;
    /// Returns the text that a whole message has the server run.
    fn text(&mut self, message: &[u8]) -> Option<Vec<u8>>;
    /// Takes note of bytes that the server sent.
    fn answered(&mut self, bytes: &[u8]);
}

async fn accept<M: Messages>(
    listener: TcpListener,
    to: SocketAddr,
    messages: fn() -> M,
    traps: Arc<Traps>,
    reachable: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if *reachable.borrow() {
                    connections.spawn(connect(client, to, messages(), Arc::clone(&traps), reachable.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(
    client: TcpStream,
    to: SocketAddr,
    messages: impl Messages,
    traps: Arc<Traps>,
    mut reachable: watch::Receiver<bool>,
) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        _ = reachable.wait_for(|reachable| !*reachable) => return,
        _ = forward(client, &mut server, messages, &traps) => {}
    }
    // The server hears the end after all that was forwarded. Its answers are read and dropped, because closing with
    // answers unread would be a reset, which can overtake what the server has not read yet.
    let _ = server.shutdown().await;
    let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
}

/// Forwards until one side ends or a trap cuts. The client's side is closed when this returns.
async fn forward(
    mut client: TcpStream,
    server: &mut TcpStream,
    mut messages: impl Messages,
    traps: &Traps,
) -> std::io::Result<()> {
    let mut sent = Vec::new();
    let mut answers = vec![0; CHUNK_BYTES];
    loop {
        tokio::select! {
            read = client.read_buf(&mut sent) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(length) = messages.length(&sent) {
                    if length > MAX_MESSAGE_BYTES {
                        return Err(std::io::ErrorKind::FileTooLarge.into());
                    }
                    if sent.len() < length {
                        break;
                    }
                    let message: Vec<u8> = sent.drain(..length).collect();
                    let text = messages.text(&message).unwrap_or_default();
                    if traps.pass(Moment::Before, &text).await == Some(Act::Cut) {
                        return Ok(());
                    }
                    server.write_all(&message).await?;
                    if traps.pass(Moment::After, &text).await == Some(Act::Cut) {
                        return Ok(());
                    }
                }
            }
            read = server.read(&mut answers) => {
                let length = read?;
                if length == 0 {
                    return Ok(());
                }
                messages.answered(&answers[..length]);
                client.write_all(&answers[..length]).await?;
            }
        }
    }
}
