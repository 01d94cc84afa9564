//! One connection: bytes both ways, and a watch over peers that say or take nothing.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// What a client of HTTP/2 says first.
const PREFACE_BYTES: usize = 24;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection.
pub struct Connection {
    duplex: Box<dyn Duplex>,
    watch: Option<Greeting>,
    /// Its place among those that may be open.
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// A connection that nobody watches yet.
    pub fn over(duplex: impl Duplex + 'static) -> Connection {
        Connection { duplex: Box::new(duplex), watch: None, _place: None }
    }

    /// The same, as a server keeps it: it counts as `place`, and ends if the client has not greeted within `patience`.
    pub(super) fn kept(self, place: OwnedSemaphorePermit, patience: Duration) -> Connection {
        let greeting = Greeting { missing_bytes: PREFACE_BYTES, late: Box::pin(sleep(patience)) };
        Connection { watch: Some(greeting), _place: Some(place), ..self }
    }
}

/// The wait for the preface. Once that is there, pings tell who is alive; before it, HTTP/2 has none.
struct Greeting {
    missing_bytes: usize,
    late: Pin<Box<Sleep>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.duplex).poll_read(cx, buf);
        let Some(greeting) = &mut self.watch else { return read };
        greeting.missing_bytes = greeting.missing_bytes.saturating_sub(buf.filled().len() - before);
        if greeting.missing_bytes == 0 {
            self.watch = None;
        } else if greeting.late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not greet in time")));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.duplex).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.duplex).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.duplex.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.duplex).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.duplex).poll_shutdown(cx)
    }
}
