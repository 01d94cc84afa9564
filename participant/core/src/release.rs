//! An operator's word that a saga's semantic locks may go before the saga is over.

use undoubt_vocabulary::Timestamp;

/// A release of semantic locks by an operator. The price: others see, and change, what the saga may still undo.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    /// The time, by the participant's clock.
    pub at: Timestamp,
    pub who: String,
    pub reason: String,
}
