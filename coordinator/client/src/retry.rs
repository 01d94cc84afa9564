//! The judgement of failed attempts, and the pauses between them.

use crate::options::ClientOptions;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt as _;
use undoubt_vocabulary::Backoff;

/// Tells how long to stay away, in milliseconds.
pub(crate) const RETRY_AFTER: &str = "retry-after-ms";

/// The judgement of an attempt that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A definite answer: the same again would be answered the same.
    Final,
    /// Worth another try.
    Again {
        /// The time for which the other side asks to stay away.
        after: Option<Duration>,
        /// The attempt may have taken effect.
        maybe_received: bool,
    },
}

pub(crate) fn judge(status: &Status) -> Verdict {
    let again = |maybe_received| Verdict::Again { after: retry_after(status), maybe_received };
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Final,
        Code::ResourceExhausted => again(false),
        // With a time to come back it was turned away at the door; without, the connection may have broken, or the
        // coordinator stopped, at any time after it was let in.
        Code::Unavailable => again(!never_connected(status) && retry_after(status).is_none()),
        Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Aborted | Code::Internal => {
            again(true)
        }
    }
}

fn retry_after(status: &Status) -> Option<Duration> {
    status.metadata().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

fn never_connected(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

/// Returns true if there is no connection as one side does not trust the other: trying again would not change that.
#[cfg(feature = "tls")]
pub(crate) fn is_untrusted(status: &Status) -> bool {
    undoubt_tls::Untrusted::among(causes(status)).is_some()
}

#[cfg(not(feature = "tls"))]
pub(crate) fn is_untrusted(_: &Status) -> bool {
    false
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&cause| cause.source())
}

/// The status for people. The root cause ("connection refused") is what tells them most.
pub(crate) fn explain(status: &Status) -> String {
    let said = if status.message().is_empty() { status.code().description() } else { status.message() };
    match causes(status).last().map(ToString::to_string) {
        Some(root) if !said.contains(&root) => format!("{said}: {root}"),
        Some(_) | None => said.to_owned(),
    }
}

/// Returns the stable word of the reason that a status gives.
pub(crate) fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// The pauses of one call. They are drawn from a seed (a transaction's id), so that a run can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Pauses {
    backoff: Backoff,
    seed: u64,
    paused: u32,
}

impl Pauses {
    pub(crate) fn new(options: &ClientOptions, seed: impl Hash) -> Self {
        Pauses { backoff: Backoff::between(options.first_backoff, options.max_backoff), seed: hash(seed), paused: 0 }
    }

    /// Returns the next pause; on top of `after` where the other side asked for one.
    pub(crate) fn next(&mut self, after: Option<Duration>) -> Duration {
        let pause = self.backoff.pause(self.paused, |bound| hash((self.seed, self.paused)) % bound);
        self.paused = self.paused.saturating_add(1);
        after.unwrap_or_default().saturating_add(pause)
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ClientOptions {
        ClientOptions {
            first_backoff: Duration::from_millis(10),
            max_backoff: Duration::from_millis(50),
            ..ClientOptions::default()
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_keep_at_least_half() {
        let mut pauses = Pauses::new(&options(), "tx");
        for whole in [10, 20, 40, 50, 50, 50] {
            let pause = pauses.next(None);
            assert!(pause >= Duration::from_millis(whole) / 2 && pause <= Duration::from_millis(whole), "{pause:?}");
        }
    }

    #[test]
    fn two_transactions_pause_differently_and_one_always_the_same() {
        let pauses = |tx| {
            let mut pauses = Pauses::new(&options(), tx);
            (0..4).map(|_| pauses.next(None)).collect::<Vec<_>>()
        };
        assert_eq!(pauses("a"), pauses("a"));
        assert_ne!(pauses("a"), pauses("b"));
    }

    #[test]
    fn a_hint_comes_on_top_however_large() {
        let mut pauses = Pauses::new(&options(), "tx");
        assert!(pauses.next(Some(Duration::from_secs(1))) > Duration::from_secs(1));
        assert_eq!(pauses.next(Some(Duration::MAX)), Duration::MAX);
    }

    #[test]
    fn refusals_are_final_and_all_else_is_worth_another_try() {
        assert_eq!(judge(&Status::invalid_argument("")), Verdict::Final);
        assert_eq!(judge(&Status::already_exists("")), Verdict::Final);
        assert_eq!(judge(&Status::unavailable("")), Verdict::Again { after: None, maybe_received: true });
        assert_eq!(judge(&Status::resource_exhausted("")), Verdict::Again { after: None, maybe_received: false });
    }

    #[test]
    fn the_hint_is_read_from_the_metadata_and_nonsense_in_it_is_ignored() {
        let mut status = Status::resource_exhausted("busy");
        status.metadata_mut().insert(RETRY_AFTER, "70".parse().unwrap());
        assert_eq!(retry_after(&status), Some(Duration::from_millis(70)));
        status.metadata_mut().insert(RETRY_AFTER, "soon".parse().unwrap());
        assert_eq!(retry_after(&status), None);
    }
}
