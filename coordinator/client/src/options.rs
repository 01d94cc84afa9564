//! The bounds of a client's calls.

use crate::credentials::{Bearer, InvalidCredentials};
use crate::submission::Submission;
use std::time::Duration;
#[cfg(feature = "tls")]
use std::{path::PathBuf, sync::Arc};
use tokio::time::Instant;
#[cfg(feature = "tls")]
use undoubt_tls::{ClientFiles, ClientTls, Protocol};

/// The time that calls may take, and their repetitions; from the default, each method sets one.
///
/// Every call ends at [the deadline](ClientOptions::deadline), with two exceptions: [`crate::Client::wait`] gives the last
/// answer a moment more to arrive, and a call that waits for the outcome of what was submitted, and may have reached the
/// coordinator, waits for as long as that may take by its own deadline.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(crate) deadline: Duration,
    pub(crate) default_timeout: Option<Duration>,
    pub(crate) attempt_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) first_backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) max_in_flight_transactions: usize,
    pub(crate) token: Bearer,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ClientTls>>,
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
            token: Bearer::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ClientOptions {
    /// Sets how long a call goes on, repetitions included, before it gives up. Without: 30 s.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        ClientOptions { deadline, ..self }
    }

    /// Sets the coordinator's deadline for transactions that name none, where it is known: their outcomes are waited for as
    /// long. [`crate::Client::learn_default_timeout`] asks for it. Without: it is not known.
    #[must_use]
    pub fn default_timeout(self, default_timeout: Duration) -> Self {
        ClientOptions { default_timeout: Some(default_timeout), ..self }
    }

    /// Sets how long one attempt of a call may go without an answer before it is repeated. A transaction may well take
    /// longer: the next attempt waits for the same one. Without: 10 s.
    #[must_use]
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Self {
        ClientOptions { attempt_timeout, ..self }
    }

    /// Sets how long connecting may take. Without: 2 s.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        ClientOptions { connect_timeout, ..self }
    }

    /// Sets the pauses before repetitions: the first, each further one twice as long, up to the last; the second half of each
    /// is jittered. Without: 10 ms up to 1 s.
    #[must_use]
    pub fn backoff(self, first: Duration, max: Duration) -> Self {
        ClientOptions { first_backoff: first, max_backoff: max, ..self }
    }

    /// Sets when a connection that is silent is asked for a sign of life, and how long that may take before the connection
    /// counts as broken. Without: 5 s each.
    #[must_use]
    pub fn keep_alive(self, interval: Duration, timeout: Duration) -> Self {
        ClientOptions { keep_alive_interval: interval, keep_alive_timeout: timeout, ..self }
    }

    /// Sets how many transactions of one [`crate::Client::submit_many`] may be under way at the same time. Without: 1,024.
    #[must_use]
    pub fn max_in_flight_transactions(self, max_in_flight_transactions: usize) -> Self {
        ClientOptions { max_in_flight_transactions, ..self }
    }

    /// Sets the token that says who asks. It is not sent unencrypted to other machines. Without: none.
    pub fn token(self, token: &str) -> Result<Self, InvalidCredentials> {
        Ok(ClientOptions { token: Bearer::new(token)?, ..self })
    }

    /// Sets the file of the CAs whose servers are trusted at `https://`, and the files of the certificate to show and of its key,
    /// if any; all are PEM. They are read now, and again for each new connection. Without: `https://` cannot be reached.
    #[cfg(feature = "tls")]
    pub fn tls(self, ca: PathBuf, certificate: Option<(PathBuf, PathBuf)>) -> Result<Self, InvalidCredentials> {
        let tls = ClientTls::load(ClientFiles { ca, certificate }, Protocol::H2);
        let tls = tls.map_err(|error| InvalidCredentials(error.to_string()))?;
        Ok(ClientOptions { tls: Some(Arc::new(tls)), ..self })
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
    pub(crate) fn patience(&self, submission: &Submission, start: Instant) -> Patience {
        let unheard = self.deadline_from(start) + submission.own_applied_within().unwrap_or_default().min(LONGEST);
        let Some(timeout) = submission.own_timeout().or(self.default_timeout) else { return Patience::until(unheard) };
        let ways = match submission {
            Submission::Transaction(_) => 1,
            Submission::Saga(_) | Submission::Auto(_) => 2,
        };
        let applied = submission.own_applied_within().unwrap_or_default();
        let enough = timeout
            .min(LONGEST)
            .saturating_mul(ways)
            .saturating_add(AFTER_DEADLINE + applied.min(LONGEST))
            .min(LONGEST);
        Patience { unheard, heard: unheard.max(start + enough) }
    }
}
