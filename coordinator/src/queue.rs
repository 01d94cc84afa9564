//! The queue of what waits to be sent on one session.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use undoubt_vocabulary::{LowWaterMark, ToParticipant, TraceContext};

/// A message's own memory and the most that its encoding adds, without work and inputs.
const MESSAGE_BYTES: usize = 192;

/// The bytes that a trace context takes, and the most that its encoding adds, without its state.
const TRACE_BYTES: usize = 128;

/// The bytes that the encoding of each input adds.
const INPUT_BYTES: usize = 6;

/// A session may always have so much waiting.
const MIN_ALLOWED_BYTES: usize = 64 << 20;

/// A message, and the trace that it belongs to, if one is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: ToParticipant,
    pub(crate) trace: Option<Box<TraceContext>>,
}

impl From<ToParticipant> for Outgoing {
    fn from(message: ToParticipant) -> Self {
        Outgoing { message, trace: None }
    }
}

/// Messages from the engine to one session. The session drains all of it at once: what queued while the last batch went
/// out makes the next one.
///
/// Work and inputs are shared with the transactions that are open, and bounded with them (`max_open_bytes`,
/// `max_gathered_bytes`). But a participant that does not read outlives many transactions. So what may wait is bounded: by
/// twice what a session is told when it begins, which is what is open with the participant. Beyond that the session has
/// failed, all that waits is dropped, and the next one is told what is still awaited then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
    overflown: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<Outgoing>,
    low_water_mark: LowWaterMark,
    low_water_mark_told: LowWaterMark,
    closed: bool,
    /// The bytes of all messages.
    bytes: usize,
    /// `None`: nothing was queued yet.
    allowed_bytes: Option<usize>,
    overflown: bool,
}

/// A batch that a session sends next.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) low_water_mark: LowWaterMark,
    /// True if others are still open below it than were told last.
    pub(crate) tells_still_open: bool,
}

impl Queue {
    /// Queues messages, and the low-water mark as it is now. Not sent before something else is, or [`Queue::nudge`] is
    /// called.
    pub(crate) fn push<M: Into<Outgoing>>(&self, messages: impl IntoIterator<Item = M>, low_water_mark: LowWaterMark) {
        let mut waiting = self.lock();
        waiting.low_water_mark = low_water_mark;
        if waiting.overflown {
            return;
        }
        for message in messages {
            let message = message.into();
            waiting.bytes += bytes_of(&message);
            waiting.messages.push(message);
        }
        let now = waiting.bytes;
        let allowed = *waiting.allowed_bytes.get_or_insert((2 * now).max(MIN_ALLOWED_BYTES));
        if now > allowed {
            waiting.overflown = true;
            waiting.messages = Vec::new();
            drop(waiting);
            return self.0.overflown.notify_one();
        }
        drop(waiting);
        self.0.changed.notify_one();
    }

    /// Tells a low-water mark that has moved while there was nothing else to say.
    pub(crate) fn nudge(&self, low_water_mark: LowWaterMark) {
        let mut waiting = self.lock();
        waiting.low_water_mark = low_water_mark;
        let has_moved = waiting.low_water_mark != waiting.low_water_mark_told;
        drop(waiting);
        if has_moved {
            self.0.changed.notify_one();
        }
    }

    /// Waits until more was queued than may wait: so much.
    pub(crate) async fn overflown(&self) -> usize {
        loop {
            {
                let waiting = self.lock();
                if waiting.overflown {
                    return waiting.allowed_bytes.unwrap_or_default();
                }
            }
            self.0.overflown.notified().await;
        }
    }

    /// Closes the queue, as no more will come: the session ends.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_one();
    }

    /// Returns the bytes of what waits.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().messages.len()
    }

    /// Waits until there is something to send; `None` once closed. One session drains a queue.
    pub(crate) async fn drain(&self) -> Option<Drained> {
        loop {
            {
                let mut waiting = self.lock();
                if waiting.closed {
                    return None;
                }
                if !waiting.messages.is_empty() || waiting.low_water_mark != waiting.low_water_mark_told {
                    let low_water_mark = waiting.low_water_mark.clone();
                    let told = std::mem::replace(&mut waiting.low_water_mark_told, low_water_mark.clone());
                    let tells_still_open = told.still_open() != low_water_mark.still_open();
                    waiting.bytes = 0;
                    let messages = std::mem::take(&mut waiting.messages);
                    return Some(Drained { messages, low_water_mark, tells_still_open });
                }
            }
            self.0.changed.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing can panic while it is held, so what a poisoned lock guards is whole.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the bytes that a message takes: never less than its encoding.
pub(crate) fn bytes_of(Outgoing { message, trace }: &Outgoing) -> usize {
    let inputs = if let ToParticipant::Run(run) = message { run.inputs.len() } else { 0 };
    let trace = trace.as_ref().map_or(0, |trace| TRACE_BYTES + trace.state.as_str().len());
    MESSAGE_BYTES + message.payload_bytes() + inputs * INPUT_BYTES + trace
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use undoubt_vocabulary::{AttemptNumber, Execution, Prepare, Timestamp, TxId};

    fn prepare(number: usize, work: &Bytes) -> ToParticipant {
        let tx: TxId = format!("t{number}").parse().unwrap();
        let (attempt_number, begun_at, timeout) = (AttemptNumber(1), Timestamp(1), Duration::from_secs(1));
        ToParticipant::Prepare(Prepare {
            tx,
            attempt_number,
            begun_at,
            timeout,
            execution: Execution::TwoPhase,
            work: work.clone(),
        })
    }

    #[tokio::test]
    async fn a_session_that_is_not_read_fails_once_too_much_waits_for_it_and_lets_go_of_that() {
        let work = Bytes::from(vec![0; 1 << 20]);
        let queue = Queue::default();
        let overflown = queue.overflown();
        tokio::pin!(overflown);
        for number in 0..MIN_ALLOWED_BYTES >> 20 {
            assert!(futures::poll!(&mut overflown).is_pending(), "after {number} messages");
            queue.push([prepare(number, &work)], AttemptNumber(1).into());
        }
        assert_eq!(overflown.await, MIN_ALLOWED_BYTES);
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn what_is_still_open_is_told_where_it_has_changed_and_once() {
        let queue = Queue::default();
        let mark =
            |below, open: &[u64]| LowWaterMark::new(AttemptNumber(below), open.iter().copied().map(AttemptNumber));
        let mut told = Vec::new();
        for next in [mark(1, &[]), mark(5, &[2, 3]), mark(6, &[2, 3]), mark(6, &[3]), mark(6, &[]), mark(7, &[])] {
            queue.nudge(next);
            let drained = queue.drain().await.unwrap();
            told.push((drained.low_water_mark.to_string(), drained.tells_still_open));
        }
        assert_eq!(
            told.iter().map(|(_, tells)| *tells).collect::<Vec<_>>(),
            [false, true, false, true, true, false],
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn whatever_is_open_may_be_told_at_the_beginning_and_what_is_drained_waits_no_more() {
        let work = Bytes::from(vec![0; 1 << 20]);
        let queue = Queue::default();
        let all = || (0..200).map(|number| prepare(number, &work));
        queue.push(all(), AttemptNumber(1).into());
        for _ in 0..3 {
            assert_eq!(queue.drain().await.unwrap().messages.len(), 200);
            queue.push(all(), AttemptNumber(1).into());
        }
        assert!(futures::poll!(std::pin::pin!(queue.overflown())).is_pending());
    }
}
