//! Time of day as an argument, so that the simulation can pass its own.

use std::time::{SystemTime, UNIX_EPOCH};

pub use undoubt_vocabulary::Timestamp;

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The machine's clock. It may jump, forwards and backwards: no rule's safety depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_tells_this_century_in_rfc_3339() {
        let now = SystemClock.now().to_string();
        assert!(now.starts_with("20") && now.ends_with('Z'), "{now}");
    }
}
