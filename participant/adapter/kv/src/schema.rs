//! The schema of what is stored, beside the families of the [transaction table](undoubt_participant::table) and of the
//! [event log](undoubt_participant::event_log).
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | `data` | the key | the value |
//! | `pending` | the marked key | `PendingMark` |

use undoubt_participant::event_log::{ENTITY, EVENT, EVENT_LOG};
use undoubt_participant::subscription::{GIVEN_UP, INBOX, PARKED, REACTION, TIMER};
pub(super) use undoubt_participant::table::{AUDIT, BRANCH, COORDINATOR, FINISHED, HEURISTIC, STEP};
use undoubt_platform::Family;

pub use undoubt_participant::table::META;

pub(super) const DATA: Family = Family("data");
pub(super) const PENDING: Family = Family("pending");

/// The families that the store is opened with.
pub const FAMILIES: [Family; 17] = [
    DATA,
    BRANCH,
    FINISHED,
    STEP,
    PENDING,
    HEURISTIC,
    COORDINATOR,
    AUDIT,
    META,
    EVENT,
    ENTITY,
    EVENT_LOG,
    INBOX,
    PARKED,
    GIVEN_UP,
    REACTION,
    TIMER,
];
