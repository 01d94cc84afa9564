//! The counts of a coordinator.

use undoubt_proto::v1;
use undoubt_vocabulary::Timestamp;

/// The counts of a coordinator, and the ages of what waits longest there. Counts are since its start, and begin anew with the next epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Transactions that were begun.
    pub begun: u64,
    /// Transactions that have ended as committed, which all of their participants have acknowledged.
    pub committed: u64,
    /// Transactions that have ended as aborted, likewise.
    pub aborted: u64,
    /// Open sagas that go on only with an operator.
    pub stuck: u64,
    /// Open transactions whose record cannot be carried out.
    pub unusable: u64,
    /// Those that recovery has found, and that wait until it is resumed.
    pub paused: u64,
    /// The beginning of the oldest open transaction.
    pub oldest_open: Option<Timestamp>,
    /// The beginning of the oldest that is decided and not acknowledged.
    pub oldest_unacknowledged: Option<Timestamp>,
    /// The beginning of the oldest that is stuck.
    pub oldest_stuck: Option<Timestamp>,
    /// The room on the device of its log; `None` where nothing bounds it.
    pub free_bytes: Option<u64>,
    /// With fewer free bytes it takes no new work.
    pub min_free_bytes: u64,
}

impl From<v1::CoordinatorFigures> for Figures {
    fn from(wire: v1::CoordinatorFigures) -> Self {
        let time = |at_us: u64| (at_us != 0).then_some(Timestamp(at_us));
        Figures {
            begun: wire.begun,
            committed: wire.committed,
            aborted: wire.aborted,
            stuck: wire.stuck,
            unusable: wire.unusable,
            paused: wire.paused,
            oldest_open: time(wire.oldest_open_us),
            oldest_unacknowledged: time(wire.oldest_unacknowledged_us),
            oldest_stuck: time(wire.oldest_stuck_us),
            free_bytes: wire.free_bytes,
            min_free_bytes: wire.min_free_bytes,
        }
    }
}
