//! A connection whose caller has to take what is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The time within which a caller has to take some of what is written to it.
pub(crate) const TAKING_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that ends when nothing of what is written to it goes for [`TAKING_TIMEOUT`].
pub(crate) struct Taken<C> {
    connection: C,
    /// Set while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<C> Taken<C> {
    pub(crate) fn new(connection: C) -> Self {
        Taken { connection, stalled: None }
    }
}

impl<C> Taken<C> {
    fn watched<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let alarm = self.stalled.get_or_insert_with(|| Box::pin(sleep(TAKING_TIMEOUT)));
        alarm
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the caller took nothing in time")))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Taken<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Taken<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.watched(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, bytes);
        self.watched(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.connection).poll_flush(cx);
        self.watched(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.connection).poll_shutdown(cx);
        self.watched(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_takes_slowly_is_not() {
        let (mut caller, gateway) = duplex(4);
        let mut gateway = Taken::new(gateway);
        let reads = async {
            for _ in 0..4 {
                sleep(TAKING_TIMEOUT - Duration::from_secs(1)).await;
                caller.read_exact(&mut [0; 4]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(gateway.write_all(&[1; 20]), reads);
        written.unwrap();
        assert_eq!(gateway.write_all(&[1; 4]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
