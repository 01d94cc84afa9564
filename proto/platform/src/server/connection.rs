//! One connection: bytes both ways, and a watch over clients that say nothing or read nothing.

use super::exchange::Parts;
use super::peer::Peer;
use super::room::Flow;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;

/// The length of what a client of HTTP/2 says first.
const PREFACE_BYTES: usize = 24;

/// A client that takes room from others has to read its answers: within this time all of them, or so many bytes. And
/// whoever it is, some of what is written to it has to go within this time.
pub(crate) const READING_TIMEOUT: Duration = Duration::from_secs(30);
const LEAST_READ_BYTES: u64 = 512 << 10;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection.
pub struct Connection {
    duplex: Box<dyn Duplex>,
    peer: Peer,
    kept: Option<Kept>,
}

/// What the requests of a connection know of it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// None while no server keeps it.
    pub(super) parts: Option<Parts>,
    pub(super) peer: Peer,
}

/// The state that a server keeps of a connection.
struct Kept {
    parts: Parts,
    watch: Watch,
    alarm: Pin<Box<Sleep>>,
    /// The timer that is set while a write waits, as the client's side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Its place among those that may be open.
    _place: OwnedSemaphorePermit,
}

/// The next thing that the client has to do, before the alarm.
enum Watch {
    /// The client has yet to greet. Once it has, pings tell whether it is alive; before, HTTP/2 has none.
    Greeting { missing_bytes: usize },
    /// The client has to read, if it takes room from others.
    Reading(Flow),
}

impl Connection {
    /// Returns a connection that nobody watches.
    pub fn over(duplex: impl Duplex + 'static) -> Connection {
        Connection { duplex: Box::new(duplex), peer: Peer::default(), kept: None }
    }

    /// Returns the same connection, whose other end is this one.
    #[must_use]
    pub fn with(self, peer: Peer) -> Connection {
        Connection { peer, ..self }
    }

    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the same connection, as a server keeps it. It ends if the client has not greeted within `patience`.
    pub(super) fn kept(self, place: OwnedSemaphorePermit, patience: Duration, parts: Parts) -> Connection {
        let watch = Watch::Greeting { missing_bytes: PREFACE_BYTES };
        let alarm = Box::pin(sleep(patience));
        Connection { kept: Some(Kept { parts, watch, alarm, stalled: None, _place: place }), ..self }
    }
}

impl Kept {
    fn read(&mut self, bytes: usize) {
        let Watch::Greeting { missing_bytes } = &mut self.watch else { return };
        *missing_bytes = missing_bytes.saturating_sub(bytes);
        if *missing_bytes == 0 {
            self.look_after_reading();
        }
    }

    fn look_after_reading(&mut self) {
        self.watch = Watch::Reading(self.parts.answers.flow());
        self.alarm.as_mut().reset(Instant::now() + READING_TIMEOUT);
    }

    /// Returns why the connection has to end, if it has to.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            match self.watch {
                Watch::Greeting { .. } => return Some(timed_out("the client did not greet in time")),
                Watch::Reading(before) if does_not_read(before, self.parts.answers.flow()) => {
                    tracing::warn!(
                        "a client does not read its answers, and takes room from others: its connection is closed"
                    );
                    return Some(timed_out("the client did not read its answers in time"));
                }
                Watch::Reading(_) => self.look_after_reading(),
            }
        }
        None
    }

    /// Returns why the connection has to end, if it has to, given whether a write has to wait. HTTP/2 reads nothing while one
    /// does, so a watch over what is read is not enough.
    fn poll_stalled(&mut self, waits: bool, cx: &mut Context<'_>) -> Option<io::Error> {
        if !waits {
            self.stalled = None;
            return None;
        }
        if self.stalled.get_or_insert_with(|| Box::pin(sleep(READING_TIMEOUT))).as_mut().poll(cx).is_ready() {
            tracing::warn!("a client takes nothing of what is written to it: its connection is closed");
            return Some(timed_out("the client took nothing in time"));
        }
        self.poll_end(cx)
    }
}

fn does_not_read(before: Flow, now: Flow) -> bool {
    let takes_room = before.common > 0 && now.common > 0;
    takes_room && now.moved - before.moved < before.waiting.min(LEAST_READ_BYTES)
}

fn timed_out(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        ConnectionInfo { parts: self.kept.as_ref().map(|kept| kept.parts.clone()), peer: self.peer.clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.duplex).poll_read(cx, buf);
        if let Some(kept) = &mut self.kept {
            kept.read(buf.filled().len() - before);
            if let Some(why) = kept.poll_end(cx) {
                return Poll::Ready(Err(why));
            }
        }
        read
    }
}

impl Connection {
    /// Watches over what was tried to write.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let ended = self.kept.as_mut().and_then(|kept| kept.poll_stalled(written.is_pending(), cx));
        ended.map_or(written, |why| Poll::Ready(Err(why)))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.duplex).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.duplex).poll_write_vectored(cx, bytes);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.duplex.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.duplex).poll_flush(cx);
        self.written(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.duplex).poll_shutdown(cx)
    }
}
