//! The answers as they go out: what they hold is given back when they are sent, or when nobody wants them any more.

use super::exchange::Exchange;
use super::room::Held;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::Status;
use tonic::body::Body;

/// The bytes that are handed to the connection at a time. The progress of an answer is seen in such pieces.
const PIECE_BYTES: usize = 64 << 10;

/// The body of an answer.
pub(super) struct AnswerBody {
    inner: Body,
    exchange: Exchange,
    rest: Option<(Bytes, Arc<Held>)>,
}

impl AnswerBody {
    pub(super) fn new(inner: Body, exchange: Exchange) -> AnswerBody {
        AnswerBody { inner, exchange, rest: None }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let (mut rest, held) = self.rest.take()?;
        let bytes = rest.split_to(rest.len().min(PIECE_BYTES));
        if !rest.is_empty() {
            self.rest = Some((rest, held.clone()));
        }
        Some(Bytes::from_owner(Piece { bytes, held }))
    }
}

/// A piece of a message. All pieces are one allocation: so they hold their room together.
struct Piece {
    bytes: Bytes,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.held.moved(self.bytes.len() as u64);
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(piece) = self.next_piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => {
                if let Some(trailers) = other.trailers_ref() {
                    self.exchange.note_code(trailers);
                }
                return Poll::Ready(Some(Ok(other)));
            }
        };
        // Handlers whose answers may be large have asked for room before they put them together.
        let Some(mut held) = self.exchange.outgoing(data.len()) else {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        };
        held.waits(data.len());
        self.rest = Some((data, Arc::new(held)));
        Poll::Ready(self.next_piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
