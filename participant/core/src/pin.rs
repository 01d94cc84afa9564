//! Who may speak for a coordinator (promise 10 of `session.proto`): the keys that are pinned, and what a hello has proven.
//!
//! ```text
//!                    │ proves the pinned key, or  │ proves a key       │ proves nothing
//!                    │ one that follows it        │                    │
//! ───────────────────┼────────────────────────────┼────────────────────┼──────────────────────────
//! a key is pinned    │ taken; the latest pinned   │ refused            │ refused
//! known without key  │                            │ refused, or pinned │ refused, or taken
//! not known          │                            │ pinned, up to a    │    (as the participant was told)
//!                    │                            │ bound              │
//! ```
//!
//! Signatures are verified outside: what comes here is proven.

use undoubt_vocabulary::{CoordinatorId, Epoch, PublicKey};

/// The public key that is pinned of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    pub key: PublicKey,
    /// True if it was pinned on an operator's word, not at first contact.
    pub vouched: bool,
}

impl Pin {
    /// Returns whether this one, recorded with `epoch`, takes the place of one that was recorded before. Writes may end in another
    /// order than they were begun, and one that comes late must not bring back a key that was replaced.
    pub fn replaces(&self, epoch: Epoch, (before_epoch, before): &(Epoch, Pin)) -> bool {
        (self.vouched, epoch) >= (before.vouched, *before_epoch)
    }
}

/// The keys that somebody has proven to have, by signatures that were verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proof {
    /// `None`: it proves nothing, as whoever speaks version 1 of the protocol.
    pub key: Option<PublicKey>,
    /// The keys that it follows, by their own word.
    pub former: Vec<PublicKey>,
}

impl Proof {
    /// Returns the proof of a key that follows no other.
    pub fn of(key: PublicKey) -> Proof {
        Proof { key: Some(key), former: Vec::new() }
    }
}

/// The trust in coordinators about which nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trust {
    /// The number of coordinators whose keys are pinned at first contact, without an operator's word.
    pub max_unvouched_pins: usize,
    /// True if coordinators without a pinned key are taken without proof.
    pub unproven: bool,
}

impl Trust {
    /// Everybody is believed, as in a world without strangers.
    pub const EVERYBODY: Trust = Trust { max_unvouched_pins: usize::MAX, unproven: true };
}

/// The reason why somebody is not taken for the coordinator that it says it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unproven {
    #[error(
        "coordinator {coordinator} has not proven that it is the one: it speaks version 1 of the protocol. Use a newer one, or, while \
         there is none and everybody who reaches this participant is trusted, start the participant with \
         accept_unproven_coordinators"
    )]
    NoProof { coordinator: CoordinatorId },
    #[error(
        "coordinator {coordinator} is known here by another key than {key}: this is another process under its id, or its key file was \
         lost or replaced. If it is the right one: undoubt participants pin PARTICIPANT --coordinator-id {coordinator} --public-key {key} --who WHO \
         --reason WHY"
    )]
    OtherKey { coordinator: CoordinatorId, key: PublicKey },
    #[error(
        "coordinator {coordinator} is known here from before coordinators had keys, and brings {key}. If it is the right one: undoubt \
         participants pin PARTICIPANT --coordinator-id {coordinator} --public-key {key} --who WHO --reason WHY"
    )]
    NoPin { coordinator: CoordinatorId, key: PublicKey },
    #[error(
        "{max} coordinators are known here by keys for which no operator has vouched, the most there may be (max_unvouched_pins). If this \
         one is right: undoubt participants pin PARTICIPANT --coordinator-id {coordinator} --public-key {key} --who WHO --reason WHY"
    )]
    TooManyPins { coordinator: CoordinatorId, key: PublicKey, max: usize },
    #[error(
        "epoch {epoch} is above {last}, the last that there is{}; a coordinator that comes near has to be set up anew, with an empty \
         folder and --new", .proven
    )]
    EpochOutOfRange { epoch: u32, last: u32, proven: &'static str },
}

/// Returns the pin to have from now on of whoever speaks for a coordinator, or why it may not.
///
/// `known`: the pin there is of a coordinator that is known; `None` of one that is not. `unvouched`: the pins of other coordinators
/// for which no operator has vouched.
pub(crate) fn judge(
    trust: Trust,
    coordinator: CoordinatorId,
    known: Option<Option<Pin>>,
    proof: &Proof,
    unvouched: usize,
) -> Result<Option<Pin>, Unproven> {
    let pinned = known.flatten();
    match (pinned, proof.key) {
        (Some(pin), Some(key)) if pin.key == key => Ok(Some(pin)),
        (Some(pin), Some(key)) if proof.former.contains(&pin.key) => Ok(Some(Pin { key, ..pin })),
        (Some(_), Some(key)) => Err(Unproven::OtherKey { coordinator, key }),
        (Some(_), None) => Err(Unproven::NoProof { coordinator }),
        (None, None) if trust.unproven => Ok(None),
        (None, None) => Err(Unproven::NoProof { coordinator }),
        (None, Some(key)) if known.is_some() && !trust.unproven => Err(Unproven::NoPin { coordinator, key }),
        (None, Some(key)) if unvouched >= trust.max_unvouched_pins => {
            Err(Unproven::TooManyPins { coordinator, key, max: trust.max_unvouched_pins })
        }
        (None, Some(key)) => Ok(Some(Pin { key, vouched: false })),
    }
}

/// Refuses an epoch that is out of range, for one that is used up cannot be taken back.
pub(crate) fn check_epoch(epoch: Epoch, proof: &Proof) -> Result<(), Unproven> {
    let (last, proven) = match proof.key {
        Some(_) => (Epoch::LAST, ""),
        None => (Epoch::LAST_UNPROVEN, " for a coordinator that proves nothing"),
    };
    if epoch <= last { Ok(()) } else { Err(Unproven::EpochOutOfRange { epoch: epoch.0, last: last.0, proven }) }
}
