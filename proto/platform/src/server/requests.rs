//! Requests as they come in: what is not whole yet takes room, and has to become whole in time.

use super::exchange::Exchange;
use super::room::Held;
use crate::reason::Reason;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};
use tonic::Status;
use tonic::body::Body;

/// A message that is waited for has to come within this time, and be whole.
pub(crate) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that a large message may wait for room.
pub(crate) const REQUEST_ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// gRPC puts before each message whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The body of a request.
pub(super) struct RequestBody {
    inner: Body,
    exchange: Exchange,
    max_message_bytes: usize,
    /// Messages may come when they like, as long as each is whole soon.
    is_stream: bool,
    message: Partial,
    /// Room for the message that is not whole.
    held: Option<Held>,
    /// A part of a message that waits for room.
    waiting: Option<(Bytes, BoxFuture<'static, Result<Held, Status>>)>,
    late: Option<Pin<Box<Sleep>>>,
    begun: bool,
    has_read: bool,
}

impl RequestBody {
    pub(super) fn new(inner: Body, exchange: Exchange, max_message_bytes: usize, is_stream: bool) -> RequestBody {
        RequestBody {
            inner,
            exchange,
            max_message_bytes,
            is_stream,
            message: Partial::default(),
            held: None,
            waiting: None,
            late: None,
            begun: false,
            has_read: false,
        }
    }

    /// Notes what is in a frame, and returns for how many bytes room is needed before it is passed on.
    fn look_at(&mut self, data: &[u8]) -> Result<Option<usize>, Status> {
        self.begun = true;
        let is_whole = self.message.pass(data, self.max_message_bytes)?;
        if is_whole {
            self.late = None;
            if let Some(held) = self.held.take() {
                self.exchange.has_read(held);
                self.has_read = true;
            }
        }
        Ok(self.message.length().filter(|_| self.held.is_none()))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some((_, room)) = &mut this.waiting {
            let held = ready!(room.as_mut().poll(cx));
            let data = this.waiting.take().map(|(data, _)| data).unwrap_or_default();
            return Poll::Ready(Some(held.map(|held| {
                this.held = Some(held);
                Frame::data(data)
            })));
        }
        // A handler that asks for the next message of a stream is done with the last.
        if this.is_stream && std::mem::take(&mut this.has_read) {
            this.exchange.is_taken();
        }
        let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let is_missed = this.message.is_begun() || !(this.begun || this.is_stream);
                if is_missed
                    && this.late.get_or_insert_with(|| Box::pin(sleep(MESSAGE_TIMEOUT))).as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Some(Err(Reason::MessageIncomplete.refuse(format!(
                        "the message did not come whole within {} s; nothing was done with it",
                        MESSAGE_TIMEOUT.as_secs()
                    )))));
                }
                return Poll::Pending;
            }
        };
        let data = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            },
            Some(Err(status)) => return Poll::Ready(Some(Err(status))),
            None => return Poll::Ready(None),
        };
        match this.look_at(&data) {
            Err(status) => return Poll::Ready(Some(Err(status))),
            Ok(None) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(Some(bytes)) => match this.exchange.requests().try_take(bytes) {
                Some(held) => {
                    this.held = Some(held);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                None => {
                    let part = this.exchange.requests().clone();
                    let room = async move {
                        timeout(REQUEST_ROOM_TIMEOUT, part.take(bytes)).await.map_err(|_| no_room(bytes))
                    };
                    this.waiting = Some((data, Box::pin(room)));
                }
            },
        }
        self.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn no_room(bytes: usize) -> Status {
    turned_away(&format!(
        "there was no room for a message of {bytes} bytes for {} s, and nothing was done with it; send fewer large ones \
         at a time, or try again later",
        REQUEST_ROOM_TIMEOUT.as_secs()
    ))
}

/// Returns the status of what was not let in: nothing was done, and it may come back.
pub(super) fn turned_away(why: &str) -> Status {
    Reason::TooManyRequests.refuse(why)
}

/// The progress of a stream of messages.
#[derive(Debug, Default)]
struct Partial {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    length: usize,
    missing_bytes: usize,
}

impl Partial {
    /// Passes over data, and returns whether a message has become whole with it.
    fn pass(&mut self, mut data: &[u8], max_message_bytes: usize) -> Result<bool, Status> {
        let mut is_whole = false;
        while !data.is_empty() {
            if self.prefix_bytes < PREFIX_BYTES {
                let taken = data.len().min(PREFIX_BYTES - self.prefix_bytes);
                self.prefix[self.prefix_bytes..][..taken].copy_from_slice(&data[..taken]);
                self.prefix_bytes += taken;
                data = &data[taken..];
                if self.prefix_bytes < PREFIX_BYTES {
                    break;
                }
                let [_, length @ ..] = self.prefix;
                self.length = u32::from_be_bytes(length) as usize;
                self.missing_bytes = self.length;
                if self.length > max_message_bytes {
                    return Err(Reason::MessageTooLarge.refuse(format!(
                        "a message of {} bytes is larger than the {max_message_bytes} that are taken; make it smaller",
                        self.length
                    )));
                }
            }
            let taken = data.len().min(self.missing_bytes);
            self.missing_bytes -= taken;
            data = &data[taken..];
            if self.missing_bytes == 0 {
                self.prefix_bytes = 0;
                is_whole = true;
            }
        }
        Ok(is_whole)
    }

    fn is_begun(&self) -> bool {
        self.prefix_bytes > 0
    }

    /// Returns the length of the message that is not whole, if that is known already.
    fn length(&self) -> Option<usize> {
        (self.prefix_bytes == PREFIX_BYTES).then_some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        [&[0][..], &length.to_be_bytes(), &vec![7; length as usize]].concat()
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let all = [message(3), message(0), message(300), message(1)].concat();
        for cut in 1..=all.len() {
            let (mut partial, mut seen) = (Partial::default(), 0);
            let mut open = 0;
            for data in all.chunks(cut) {
                seen += usize::from(partial.pass(data, 300).unwrap());
                open += usize::from(partial.is_begun());
            }
            assert!(!partial.is_begun() && partial.length().is_none());
            assert!((1..=4).contains(&seen), "{cut}: {seen}");
            assert!(open < all.len().div_ceil(cut));
        }
    }

    #[test]
    fn of_a_message_that_is_not_whole_the_length_is_known_with_the_prefix() {
        let mut partial = Partial::default();
        let large = message(300);
        assert!(!partial.pass(&large[..4], 300).unwrap());
        assert_eq!((partial.is_begun(), partial.length()), (true, None));
        assert!(!partial.pass(&large[4..5], 300).unwrap());
        assert_eq!(partial.length(), Some(300));
        assert!(partial.pass(&large[5..], 300).unwrap());
        assert_eq!(Partial::default().pass(&large, 299).unwrap_err().code(), tonic::Code::OutOfRange);
    }
}
