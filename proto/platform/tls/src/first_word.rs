//! The first word of a server.
//!
//! With TLS 1.3 a client is done with its handshake before the server has looked at its certificate: a refusal comes instead of
//! the first word. So that word is waited for, and what is said of it is about connecting, not about a request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// A server that waits for its client's first word gets that after this time.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_millis(500);

const MAX_FIRST_WORD_BYTES: usize = 512;

/// A connection whose first bytes were read already.
pub(crate) struct Heard<S> {
    first: Vec<u8>,
    stream: S,
}

/// Returns the connection once the server has said something, or has had time to.
pub(crate) async fn heard<S: AsyncRead + Unpin>(mut stream: S, waits_for_server: bool) -> io::Result<Heard<S>> {
    let mut first = vec![0; MAX_FIRST_WORD_BYTES];
    let length = match waits_for_server {
        // Reading is all or nothing: nothing is lost where it is given up.
        true => timeout(FIRST_WORD_TIMEOUT, stream.read(&mut first)).await.unwrap_or(Ok(0))?,
        false => 0,
    };
    first.truncate(length);
    Ok(Heard { first, stream })
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
