//! What waits to be sent on one session.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use undoubt_vocabulary::{Ticket, ToParticipant};

/// Messages from the engine to one session. Bounded by the number of open transactions, each of which has at most one
/// message under way to a participant. The session drains all of it at once: what queued while the last batch went out
/// makes the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<ToParticipant>,
    fence: Ticket,
    fence_told: Ticket,
    closed: bool,
}

/// What a session sends next.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) messages: Vec<ToParticipant>,
    pub(crate) fence: Ticket,
}

impl Queue {
    /// Queues messages, and the fence as it is now. Not sent before something else is, or [`Queue::nudge`] is called.
    pub(crate) fn push(&self, messages: impl IntoIterator<Item = ToParticipant>, fence: Ticket) {
        let mut waiting = self.lock();
        waiting.messages.extend(messages);
        waiting.fence = fence;
        drop(waiting);
        self.0.changed.notify_one();
    }

    /// Tells a fence that has moved while there was nothing else to say.
    pub(crate) fn nudge(&self, fence: Ticket) {
        let mut waiting = self.lock();
        waiting.fence = fence;
        let news = waiting.fence != waiting.fence_told;
        drop(waiting);
        if news {
            self.0.changed.notify_one();
        }
    }

    /// No more will come: the session ends.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_one();
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
                if !waiting.messages.is_empty() || waiting.fence != waiting.fence_told {
                    waiting.fence_told = waiting.fence;
                    return Some(Drained { messages: std::mem::take(&mut waiting.messages), fence: waiting.fence });
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
