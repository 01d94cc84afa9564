//! Between the wire and the vocabulary.
//!
//! Outwards (`From`) every value has a form. Inwards (`TryFrom`) only what a well-behaved peer may send comes through:
//! ids and names are valid, nothing is over its limit (R9), every `oneof` is set and every enum has a value known here.
//! All else is [`Malformed`], which names the field; nothing is guessed or replaced by a default. Two limits are kept
//! elsewhere, because what is over them must not be lost: the texts of refusals are cut, and what branches and steps hand
//! back is judged by the coordinator, since the branch may be prepared and the step in effect all the same.
//!
//! Wire timeouts are whole milliseconds in 32 bits: they are rounded up, so that a short wait does not become none, and
//! saturate at 49 days.

mod event;
mod field;
mod low_water_mark;
mod message;
mod outcome;
mod proof;
mod saga;
mod trace;
mod vote;
mod witness;

pub use low_water_mark::{low_water_mark, still_open, told_open};
pub use outcome::{Applied, KnownOutcome, branch_outcome};

use undoubt_vocabulary::{InvalidEvent, InvalidId};

/// The reason why a message is refused. It came from a defective peer, or from one that speaks a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the field {field} is no valid id: {cause}")]
    Id { field: &'static str, cause: InvalidId },
    #[error("the event is no valid one: {0}")]
    Event(#[from] InvalidEvent),
    #[error("the field {field} is not set, and the message means nothing without it; correct or update the sender")]
    Missing { field: &'static str },
    #[error(
        "the field {field} has the unknown value {value}; correct the sender, or update the receiver if it is older"
    )]
    UnknownValue { field: &'static str, value: i32 },
    #[error("the field {field} has {length} bytes, more than the {max} allowed; send less")]
    TooLong { field: &'static str, length: usize, max: usize },
    #[error("the field {field} has {count} entries, more than the {max} allowed; send fewer")]
    TooMany { field: &'static str, count: usize, max: usize },
    #[error("the field {field} names {name} twice, so it is unclear which entry holds; correct the sender")]
    Repeated { field: &'static str, name: String },
    #[error("the field {field} is set, which contradicts the rest of the message; correct the sender")]
    Unexpected { field: &'static str },
    #[error("the transaction is not decided yet, so it has no outcome; ask again later")]
    Undecided,
}
