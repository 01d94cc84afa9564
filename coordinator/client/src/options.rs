//! The bounds of a client's calls.

use std::time::Duration;
use tokio::time::Instant;

/// How long calls may take and how they are repeated. Every call ends at [`ClientOptions::deadline`].
/// Only [`crate::Client::wait`] gives the last answer a moment more to arrive.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long a call goes on, repetitions included, before it gives up.
    pub deadline: Duration,
    /// How long one attempt of a call may go without an answer before it is repeated. A transaction may well take
    /// longer: the next attempt waits for the same one.
    pub attempt_timeout: Duration,
    pub connect_timeout: Duration,
    /// The first pause before a repetition. Each further one is twice as long, up to [`ClientOptions::max_backoff`];
    /// the second half of each is jittered.
    pub first_backoff: Duration,
    pub max_backoff: Duration,
    /// A connection that is silent this long is asked for a sign of life.
    pub keep_alive_interval: Duration,
    /// How long that sign may take before the connection counts as broken.
    pub keep_alive_timeout: Duration,
    /// Transactions of one [`crate::Client::submit_many`] under way at the same time.
    pub max_in_flight_transactions: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            deadline: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            first_backoff: Duration::from_millis(10),
            max_backoff: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(5),
            max_in_flight_transactions: 1_024,
        }
    }
}

impl ClientOptions {
    /// When a call that begins at `start` gives up.
    pub(crate) fn deadline_from(&self, start: Instant) -> Instant {
        // An `Instant` cannot hold any duration one may write into an option: a year stands for "for ever".
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        start + self.deadline.min(LONGEST)
    }
}
