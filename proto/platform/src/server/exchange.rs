//! One request and its answer, as handlers and bodies know of it together.

use super::calls::Method;
use super::limits::bounds;
use super::room::{Held, Part, Room};
use crate::reason::Reason;
use http::HeaderMap;
use prost::Message;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::{Code, Extensions, Response, Status};

/// The time that an answer may wait for room.
pub(crate) const ANSWER_ROOM_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer is in memory as it was put together, and as it is encoded.
const COPIES_OF_AN_ANSWER: usize = 2;

/// One connection's parts of what a server holds for clients.
#[derive(Clone, Debug)]
pub struct Parts {
    pub(super) requests: Part,
    pub(super) answers: Part,
}

/// A request that is under way, and its answer until that is sent.
#[derive(Clone, Debug)]
pub(super) struct Exchange(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    /// The room of the message that was read last.
    read: Mutex<Option<Held>>,
    /// The room of what is about to be sent.
    outgoing: Mutex<Option<Held>>,
    under_way: Arc<AtomicUsize>,
    method: Arc<Method>,
    began: Instant,
    /// The code that the answer ends with, once it is known.
    code: AtomicU8,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let code = Code::from(i32::from(self.code.load(Ordering::Relaxed)));
        self.method.end(code, self.began.elapsed());
    }
}

/// Locks a mutex. Nothing between taking and freeing these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// Begins one, unless `most` are under way.
    pub(super) fn begin(
        parts: Parts,
        under_way: &Arc<AtomicUsize>,
        most: usize,
        method: Arc<Method>,
    ) -> Option<Exchange> {
        let before = under_way.fetch_add(1, Ordering::Relaxed);
        method.begin();
        let is_let_in = before < most;
        // Who leaves before there is an answer has cancelled.
        let code = AtomicU8::new(if is_let_in { Code::Cancelled } else { Code::ResourceExhausted } as u8);
        let (read, outgoing) = (Mutex::default(), Mutex::default());
        let under_way = under_way.clone();
        let inner = Inner { parts, read, outgoing, under_way, method, began: Instant::now(), code };
        let exchange = Exchange(Arc::new(inner));
        is_let_in.then_some(exchange)
    }

    /// Notes the code that an answer ends with, if these headers tell it.
    pub(super) fn note_code(&self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.0.code.store(Code::from_bytes(code.as_bytes()) as u8, Ordering::Relaxed);
        }
    }

    /// Returns whether the request is a stream of messages, which may never end.
    pub(super) fn brings_a_stream(&self) -> bool {
        self.0.method.streams.request
    }

    pub(super) fn requests(&self) -> &Part {
        &self.0.parts.requests
    }

    /// Notes that a message is whole, and with whom it is for.
    pub(super) fn has_read(&self, held: Held) {
        lock(&self.0.read).replace(held);
    }

    /// Gives the room back, as nobody holds the message any more, or somebody else counts it.
    pub(super) fn is_taken(&self) {
        lock(&self.0.read).take();
    }

    /// Returns the room that is held for bytes that are about to be sent. If none was asked for beforehand, room is
    /// taken if there is some.
    pub(super) fn outgoing(&self, bytes: usize) -> Option<Held> {
        let held = lock(&self.0.outgoing).take();
        held.or_else(|| self.0.parts.answers.try_take(bytes))
    }
}

/// The room that an answer needs from when it is put together until it is sent.
///
/// Put an answer together, and ask whether it fits ([`AnswerRoom::fit`]). If it does not, it is dropped: wait for room
/// ([`AnswerRoom::grow`]), and put it together again.
#[derive(Debug)]
pub struct AnswerRoom {
    /// None outside the frame of a server; nothing is bounded there.
    exchange: Option<Exchange>,
    held: Option<Held>,
    wanted_bytes: usize,
}

impl AnswerRoom {
    /// Returns the room for the answer to a request, given its extensions.
    pub fn of(extensions: &Extensions) -> AnswerRoom {
        AnswerRoom { exchange: extensions.get().cloned(), held: None, wanted_bytes: 0 }
    }

    /// Returns room without bounds, for those within this process.
    pub fn boundless() -> AnswerRoom {
        AnswerRoom { exchange: None, held: None, wanted_bytes: 0 }
    }

    /// Returns room for one more answer to the same request.
    pub fn another(&self) -> AnswerRoom {
        AnswerRoom { exchange: self.exchange.clone(), held: None, wanted_bytes: 0 }
    }

    /// Notes that the request itself is counted elsewhere from now on, or over.
    pub fn request_is_taken(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.is_taken();
        }
    }

    /// Returns the answer if there is room for it at once.
    pub fn fit<T: Message>(&mut self, answer: T) -> Option<T> {
        self.has_room(answer.encoded_len()).then_some(answer)
    }

    /// Returns whether there is room at once for an answer of so many bytes, and takes it.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        let Some(exchange) = &self.exchange else { return true };
        let wanted = bytes.saturating_mul(COPIES_OF_AN_ANSWER);
        if let Some(held) = &mut self.held
            && (held.bytes() >= wanted || self.wanted_bytes >= wanted)
        {
            held.shrink_to(wanted);
            return true;
        }
        self.held = None;
        self.wanted_bytes = wanted;
        if wanted > 0 {
            self.held = exchange.0.parts.answers.try_take(wanted);
        }
        wanted == 0 || self.held.is_some()
    }

    /// Waits for room for the answer that did not fit.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when there is none for long. Whatever was asked for has been done.
    pub async fn grow(&mut self) -> Result<(), Status> {
        let Some(exchange) = &self.exchange else { return Ok(()) };
        // The room that it has would keep others waiting.
        self.held = None;
        match timeout(ANSWER_ROOM_TIMEOUT, exchange.0.parts.answers.take(self.wanted_bytes)).await {
            Ok(held) => {
                self.held = Some(held);
                Ok(())
            }
            Err(_elapsed) => Err(Reason::NoRoomForAnswer.refuse(format!(
                "there was no room for an answer of {} bytes for {} s; read the answers that wait on this connection, or \
                 ask again later",
                self.wanted_bytes / COPIES_OF_AN_ANSWER,
                ANSWER_ROOM_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Waits for room for an answer that is yet to be put together, of at most so many bytes.
    ///
    /// # Errors
    /// As [`AnswerRoom::grow`].
    pub async fn expect(&mut self, most_bytes: usize) -> Result<(), Status> {
        if self.has_room(most_bytes) { Ok(()) } else { self.grow().await }
    }

    /// Returns the answer, with what is held for it.
    pub fn respond<T>(self, answer: T) -> Response<T> {
        self.hand_over();
        Response::new(answer)
    }

    /// Takes over what is held for another answer that goes out together with this one.
    pub fn absorb(&mut self, other: AnswerRoom) {
        match (&mut self.held, other.held) {
            (Some(held), Some(more)) => held.absorb(more),
            (held @ None, more) => *held = more,
            (Some(_), None) => {}
        }
    }

    /// Hands over what is held: it is for the next message of the answer.
    pub fn hand_over(self) {
        let (Some(exchange), Some(held)) = (self.exchange, self.held) else { return };
        let mut outgoing = lock(&exchange.0.outgoing);
        match &mut *outgoing {
            Some(before) => before.absorb(held),
            None => *outgoing = Some(held),
        }
    }
}

/// A server's rooms.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) requests: Room,
    pub(super) answers: Room,
}

impl Rooms {
    pub(super) fn new(request_bytes: u32, answer_bytes: u32) -> Rooms {
        Rooms { requests: Room::new(bounds(request_bytes)), answers: Room::new(bounds(answer_bytes)) }
    }

    pub(super) fn parts(&self) -> Parts {
        Parts { requests: self.requests.part(), answers: self.answers.part() }
    }
}
