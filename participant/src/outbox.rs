//! The messages that wait to be sent to one coordinator.
//!
//! The engine never waits for a session, so the queue takes whatever it is given; but all of it counts in the [`Room`], and
//! when that is full nothing more is computed. A session that ends drops its queue and what it counted.

use crate::room::Room;
use tokio::sync::mpsc;
use undoubt_participant_core::SessionRefused;
use undoubt_vocabulary::limits::USUAL_PARTICIPANT_BATCH_BYTES;
use undoubt_vocabulary::{EventId, ToCoordinator, WriteNumber};

/// A batch is closed when it has this many messages.
pub(crate) const MAX_MESSAGES_PER_BATCH: usize = 1_024;

/// The bytes that a message's ids, numbers and encoding are counted as.
const MESSAGE_BYTES: usize = 128;

/// One thing that goes out on a session.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Welcome {
        /// The number that was seen of the coordinator's log.
        seen: Option<WriteNumber>,
    },
    Message {
        message: ToCoordinator,
        /// The last event that what it tells of has published.
        emitted: Option<EventId>,
    },
    Close(SessionRefused),
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Outgoing>,
    room: Room,
}

/// The session's end.
#[derive(Debug)]
pub(crate) struct Outgoings {
    queue: mpsc::UnboundedReceiver<Outgoing>,
    taken: Vec<Outgoing>,
    /// The bytes of the batch that is being sent.
    sending_bytes: usize,
    room: Room,
}

pub(crate) fn outbox(room: Room) -> (Outbox, Outgoings) {
    let (sender, queue) = mpsc::unbounded_channel();
    (Outbox { queue: sender, room: room.clone() }, Outgoings { queue, taken: Vec::new(), sending_bytes: 0, room })
}

impl Outgoing {
    fn bytes(&self) -> usize {
        match self {
            Outgoing::Message { message, .. } => MESSAGE_BYTES + message.payload_bytes(),
            Outgoing::Welcome { .. } | Outgoing::Close(_) => 0,
        }
    }
}

impl Outbox {
    /// Puts what goes out. A session that has just ended is closed by its own command; what it is still given is
    /// nothing.
    pub(crate) fn put(&self, outgoing: Outgoing) {
        let bytes = outgoing.bytes();
        self.room.take(bytes);
        if self.queue.send(outgoing).is_err() {
            self.room.free(bytes);
        }
    }
}

impl Outgoings {
    /// Returns whether there is something to send, once there is; `false`: the engine has let go of the session.
    pub(crate) async fn ready(&mut self) -> bool {
        !self.taken.is_empty() || self.queue.recv_many(&mut self.taken, MAX_MESSAGES_PER_BATCH).await > 0
    }

    /// Takes what fits into one batch.
    pub(crate) fn batch(&mut self) -> impl Iterator<Item = Outgoing> + '_ {
        let mut messages = 0;
        for outgoing in &self.taken {
            let bytes = outgoing.bytes();
            if messages > 0 && self.sending_bytes + bytes > USUAL_PARTICIPANT_BATCH_BYTES {
                break;
            }
            messages += 1;
            self.sending_bytes += bytes;
        }
        self.taken.drain(..messages)
    }

    /// Notes that the batch has been handed to the stream.
    pub(crate) fn sent(&mut self) {
        self.room.free(std::mem::take(&mut self.sending_bytes));
    }
}

impl Drop for Outgoings {
    fn drop(&mut self) {
        self.queue.close();
        let taken: usize = self.taken.iter().map(Outgoing::bytes).sum();
        let waiting = std::iter::from_fn(|| self.queue.try_recv().ok());
        let waiting: usize = waiting.map(|outgoing| outgoing.bytes()).sum();
        self.room.free(self.sending_bytes + taken + waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
    use undoubt_vocabulary::{AttemptNumber, Vote};

    fn vote(bytes: usize) -> Outgoing {
        let vote = Vote::ReadOnly { result: Bytes::from(vec![0; bytes]) };
        let message = ToCoordinator::Vote { tx: "T1".parse().unwrap(), attempt_number: AttemptNumber(1), vote };
        Outgoing::Message { message, emitted: None }
    }

    async fn next(outgoings: &mut Outgoings) -> usize {
        assert!(outgoings.ready().await);
        let messages = outgoings.batch().count();
        outgoings.sent();
        messages
    }

    #[tokio::test]
    async fn a_batch_is_closed_before_it_exceeds_its_bytes_and_a_larger_message_goes_alone() {
        let (outbox, mut outgoings) = outbox(Room::default());
        let third = USUAL_PARTICIPANT_BATCH_BYTES / 3;
        for bytes in [third, third, third, 3 * USUAL_PARTICIPANT_BATCH_BYTES, 1, 2] {
            outbox.put(vote(bytes));
        }
        let mut batches = Vec::new();
        for _ in 0..4 {
            batches.push(next(&mut outgoings).await);
        }
        assert_eq!(batches, [2, 1, 1, 2]);
    }

    #[tokio::test]
    async fn a_batch_is_closed_when_it_has_its_messages() {
        let (outbox, mut outgoings) = outbox(Room::default());
        (0..=MAX_MESSAGES_PER_BATCH).for_each(|_| outbox.put(vote(1)));
        assert_eq!((next(&mut outgoings).await, next(&mut outgoings).await), (MAX_MESSAGES_PER_BATCH, 1));
    }

    #[tokio::test]
    async fn a_session_that_ends_drops_its_queue_and_what_it_counted() {
        let room = Room::default();
        let (outbox, mut outgoings) = outbox(room.clone());
        (0..40).for_each(|_| outbox.put(vote(MAX_RESULT_BYTES)));
        assert!(room.why_full().is_some());
        assert!(outgoings.ready().await);
        assert!(outgoings.batch().count() > 0);
        drop(outgoings);
        outbox.put(vote(MAX_RESULT_BYTES));
        assert!(room.takes_large(), "what a session counted is counted for ever: {room:?}");
    }
}
