//! What the engine knows of its way to each participant.

use crate::queue::Queue;
use undoubt_vocabulary::{Ticket, Timestamp, ToParticipant};

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    pub(crate) since: Timestamp,
    pub(crate) attempts: u64,
    pub(super) outgoing: Vec<ToParticipant>,
}

#[derive(Debug)]
pub(crate) enum LinkState {
    /// `session` tells this stream's end from that of an earlier one.
    Connected {
        session: u64,
        queue: Queue,
        resource: String,
    },
    Disconnected {
        last_error: String,
    },
}

impl Link {
    pub(super) fn new(now: Timestamp) -> Link {
        let last_error = "not tried yet".to_owned();
        Link { state: LinkState::Disconnected { last_error }, since: now, attempts: 0, outgoing: Vec::new() }
    }

    /// Hands what has gathered to the session. Without one it is dropped: the core repeats what matters on the next.
    pub(super) fn send(&mut self, fence: Ticket) {
        let messages = std::mem::take(&mut self.outgoing);
        match &self.state {
            LinkState::Connected { queue, .. } => queue.push(messages, fence),
            LinkState::Disconnected { .. } => {}
        }
    }

    pub(super) fn nudge(&self, fence: Ticket) {
        match &self.state {
            LinkState::Connected { queue, .. } => queue.nudge(fence),
            LinkState::Disconnected { .. } => {}
        }
    }

    pub(crate) fn queued(&self) -> usize {
        match &self.state {
            LinkState::Connected { queue, .. } => queue.len(),
            LinkState::Disconnected { .. } => 0,
        }
    }
}
