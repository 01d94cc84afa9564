//! What the engine knows of its way to each participant.

use crate::queue::Queue;
use undoubt_vocabulary::{Ticket, Timestamp, ToParticipant};

/// The attempts after which a participant that stays away is told of again: once an hour, with the pauses of the
/// default settings.
const TOLD_EVERY_ATTEMPTS: u64 = 2_048;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    pub(crate) since: Timestamp,
    /// Failed attempts to connect since it was last connected, or since the start.
    pub(crate) attempts: u64,
    /// It does not number its writes.
    pub(crate) unnumbered: bool,
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
        Link {
            state: LinkState::Disconnected { last_error },
            since: now,
            attempts: 0,
            unnumbered: false,
            outgoing: Vec::new(),
        }
    }

    /// Notes that there is no session, and why. Whether that is to be told: when it begins, when the cause is another, and
    /// with growing pauses while it lasts.
    pub(super) fn failed(&mut self, error: String) -> bool {
        let other = match &self.state {
            LinkState::Connected { .. } => true,
            LinkState::Disconnected { last_error } => *last_error != error,
        };
        self.attempts += 1;
        self.state = LinkState::Disconnected { last_error: error };
        other || self.attempts.is_power_of_two() || self.attempts.is_multiple_of(TOLD_EVERY_ATTEMPTS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stays_away_is_told_of_with_growing_pauses_and_when_the_cause_changes() {
        let mut link = Link::new(Timestamp::default());
        let told: Vec<u64> =
            (1..=4_096).filter(|_| link.failed("refused".into())).map(|attempt| attempt as u64).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096]);
        assert!(link.failed("it is another's".into()));
        assert!(!link.failed("it is another's".into()));
    }
}
