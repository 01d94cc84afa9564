//! The bounds of a client's calls.

use crate::transaction::Transaction;
use std::time::Duration;
use tokio::time::Instant;

/// The time that calls may take, and their repetitions. Every call ends at [`ClientOptions::deadline`], with two
/// exceptions: [`crate::Client::wait`] gives the last answer a moment more to arrive, and a call that waits for the
/// outcome of what was submitted, and may have reached the coordinator, waits for as long as that may take by its own
/// deadline.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long a call goes on, repetitions included, before it gives up.
    pub deadline: Duration,
    /// The coordinator's deadline for transactions that name none, where it is known: their outcomes are waited for as long.
    /// [`crate::Client::learn_default_timeout`] asks for it.
    pub default_timeout: Option<Duration>,
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
            default_timeout: None,
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

/// The time that the answer may take to arrive once the coordinator has to have one.
const AFTER_DEADLINE: Duration = Duration::from_secs(5);

/// An `Instant` cannot hold any duration one may write into an option: a year stands for "for ever".
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Until when a call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// As long as certainly nobody has heard of it.
    pub(crate) unheard: Instant,
    /// Once somebody may have.
    pub(crate) heard: Instant,
}

impl Patience {
    pub(crate) fn until(deadline: Instant) -> Patience {
        Patience { unheard: deadline, heard: deadline }
    }

    pub(crate) fn deadline(self, maybe_received: bool) -> Instant {
        if maybe_received { self.heard } else { self.unheard }
    }
}

impl ClientOptions {
    /// When a call that begins at `start` gives up.
    pub(crate) fn deadline_from(&self, start: Instant) -> Instant {
        start + self.deadline.min(LONGEST)
    }

    /// When it is no use any more to wait for the outcome of a transaction that is submitted at `start`. A saga's deadline is
    /// for its pivot: the rest of the way, or the way back, may take as long again.
    pub(crate) fn patience(&self, transaction: &Transaction, start: Instant) -> Patience {
        let unheard = self.deadline_from(start);
        let Some(timeout) = transaction.own_timeout().or(self.default_timeout) else { return Patience::until(unheard) };
        let ways = if transaction.steps().is_empty() { 1 } else { 2 };
        let enough = timeout.min(LONGEST).saturating_mul(ways).saturating_add(AFTER_DEADLINE).min(LONGEST);
        Patience { unheard, heard: unheard.max(start + enough) }
    }
}
