//! Names and numbers that identify things.

use crate::digest_map::Digest;
use crate::digested_bytes::Digested;
use crate::limits::{MAX_NAME_BYTES, MAX_TX_ID_BYTES};
use crate::printable_text::is_seen;
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// The reason why some bytes are no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("{what} is empty; give 1 to {max} bytes")]
    Empty { what: &'static str, max: usize },
    #[error("{what} has {length} bytes, more than the {max} allowed; shorten it")]
    TooLong { what: &'static str, length: usize, max: usize },
    #[error("{what} {given:?} has a character other than a-z, A-Z, 0-9, '.', '_' and '-'; leave it out")]
    BadCharacter { what: &'static str, given: String },
    #[error("{what} {given:?} starts with 0x but is not an even number of hexadecimal digits; correct it")]
    BadHex { what: &'static str, given: String },
    #[error(
        "{given:?} is no id of a coordinator, which has 32 hexadecimal digits; the coordinator's description shows it"
    )]
    CoordinatorIdText { given: String },
    #[error("a coordinator's id has 16 bytes, not {length}")]
    CoordinatorIdLength { length: usize },
}

/// A global transaction's id: 1 to 64 opaque bytes, chosen by whoever submits it.
///
/// The same id with the same content is the same transaction, however often it is submitted. As text it is itself
/// where it is UTF-8 of which every character can be seen ([`is_seen`](crate::printable_text::is_seen)) and does not
/// begin with `0x`; else it is `0x` and hexadecimal digits. [`TxId::from_str`] reads both, and gives back the very
/// bytes.
///
/// Everything is kept by it, so it is [`Digested`]: its order is not that of its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId(Digested);

impl TxId {
    /// Returns a value that is no id: where a map's ids begin, whatever they are.
    pub fn lowest() -> TxId {
        TxId(Digested::lowest())
    }

    /// Returns the id of these bytes, 1 to 64 of them.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidId> {
        let bytes = bytes.as_ref();
        let what = "a transaction id";
        match bytes.len() {
            0 => Err(InvalidId::Empty { what, max: MAX_TX_ID_BYTES }),
            1..=MAX_TX_ID_BYTES => Ok(TxId(bytes.into())),
            length => Err(InvalidId::TooLong { what, length, max: MAX_TX_ID_BYTES }),
        }
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns a copy of its bytes.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl Digest for TxId {
    fn digest(&self) -> u64 {
        self.0.digest()
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) if is_seen(text) && !text.starts_with("0x") => f.pad(text),
            Ok(_) | Err(_) => {
                write!(f, "0x")?;
                self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TxId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let Some(digits) = text.strip_prefix("0x") else {
            return TxId::new(text);
        };
        let bad = || InvalidId::BadHex { what: "a transaction id", given: text.to_owned() };
        if digits.len() % 2 != 0 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let bytes: Result<Vec<u8>, _> =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16)).collect();
        TxId::new(bytes.map_err(|_| bad())?)
    }
}

/// Defines a name: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(smol_str::SmolStr);

        impl $name {
            /// Returns its characters.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::id::InvalidId;

            fn from_str(text: &str) -> Result<Self, crate::id::InvalidId> {
                crate::id::check_name($what, text).map(|()| $name(text.into()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
pub(crate) use name;

name! {
    /// A participant's name in the coordinator's configuration: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    ParticipantName, "a participant's name"
}

name! {
    /// A step's name, unique within its saga: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
    StepName, "a step's name"
}

/// The name of one part of a transaction: of a branch, which is its participant's, or of a saga's step.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartName {
    /// The branch at this participant.
    Branch(ParticipantName),
    /// This step.
    Step(StepName),
}

impl PartName {
    /// Returns the name of the participant or of the step.
    pub fn as_str(&self) -> &str {
        match self {
            PartName::Branch(participant) => participant.as_str(),
            PartName::Step(step) => step.as_str(),
        }
    }
}

impl From<ParticipantName> for PartName {
    fn from(participant: ParticipantName) -> PartName {
        PartName::Branch(participant)
    }
}

impl From<StepName> for PartName {
    fn from(step: StepName) -> PartName {
        PartName::Step(step)
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Refuses a name that is not 1 to 64 characters of `a-z A-Z 0-9 . _ -`.
pub fn check_name(what: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { what, max: MAX_NAME_BYTES });
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(InvalidId::TooLong { what, length: text.len(), max: MAX_NAME_BYTES });
    }
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        Ok(())
    } else {
        Err(InvalidId::BadCharacter { what, given: text.to_owned() })
    }
}

/// Identifies a coordinator's log: drawn at random when its data folder is made, so a wiped or swapped log is another
/// coordinator, whatever name it goes by. Only the owner of this id may presume its transactions aborted (R4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoordinatorId(pub [u8; 16]);

impl TryFrom<&[u8]> for CoordinatorId {
    type Error = InvalidId;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
        bytes.try_into().map(CoordinatorId).map_err(|_| InvalidId::CoordinatorIdLength { length: bytes.len() })
    }
}

/// Reads what [`Display`](fmt::Display) writes.
impl FromStr for CoordinatorId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::CoordinatorIdText { given: text.to_owned() };
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(invalid());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| invalid())?;
        Ok(CoordinatorId(number.to_be_bytes()))
    }
}

impl fmt::Display for CoordinatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CoordinatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a coordinator's start, counted from 1. Durable before it is used; a participant refuses a lower one
/// (R5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The highest that there can be: an [`AttemptNumber`] has no room for more.
    pub const LAST: Epoch = Epoch(u32::MAX >> (AttemptNumber::COUNTER_BITS - u32::BITS));

    /// The highest that is taken of a coordinator which does not prove that it is the one that it says: nobody else can use up
    /// its range.
    pub const LAST_UNPROVEN: Epoch = Epoch(Epoch::LAST.0 - (1 << 20));
}

/// Numbers the attempts of one coordinator in the order they began, across its epochs.
///
/// Every message about a transaction carries the number of its attempt. Attempt numbers give an exact guard against
/// late messages that needs no clock: the coordinator tells a participant which of them are over between the two, as a
/// [`LowWaterMark`](crate::LowWaterMark), and whatever of these is prepared is late (R11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptNumber(pub u64);

impl AttemptNumber {
    const COUNTER_BITS: u32 = 40;

    /// The number of no attempt, below all that are given. A participant asks with it about what is prepared and belongs to none yet.
    pub const NONE: AttemptNumber = AttemptNumber(0);

    /// Returns the first attempt number of an epoch: above every attempt number of the epochs before.
    pub fn first_of(epoch: Epoch) -> AttemptNumber {
        AttemptNumber(u64::from(epoch.0) << Self::COUNTER_BITS)
    }

    /// Returns the last attempt number of an epoch.
    pub fn last_of(epoch: Epoch) -> AttemptNumber {
        AttemptNumber(Self::first_of(epoch).0 | ((1 << Self::COUNTER_BITS) - 1))
    }

    /// Returns the attempt number after this one.
    #[must_use]
    pub fn next(self) -> AttemptNumber {
        AttemptNumber(self.0 + 1)
    }

    /// Returns the attempt number that is so many before this one.
    #[must_use]
    pub fn back(self, count: usize) -> AttemptNumber {
        AttemptNumber(self.0.saturating_sub(count as u64))
    }

    /// Returns the epoch that it was given in.
    pub fn epoch(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch(), self.0 & ((1 << Self::COUNTER_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable_text::steers;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_transaction_id_survives_being_written_as_text(bytes in proptest::collection::vec(any::<u8>(), 1..=64)) {
            let id = TxId::new(bytes).unwrap();
            prop_assert_eq!(id.to_string().parse::<TxId>().unwrap(), id);
        }

        #[test]
        fn a_transaction_id_of_any_text_survives_and_never_steers_a_terminal(text in ".{1,16}|[0-9a-fx]{1,8}") {
            let id = TxId::new(&text).unwrap();
            prop_assert_eq!(id.to_string().parse::<TxId>().unwrap(), id.clone());
            prop_assert!(!id.to_string().contains(|c: char| c.is_whitespace() || steers(c)), "{}", id);
            prop_assert!(id.to_string() == text || id.to_string().starts_with("0x"));
        }

        #[test]
        fn reading_an_id_from_any_text_never_panics(text in ".*") {
            let _ = text.parse::<TxId>();
            let _ = text.parse::<ParticipantName>();
        }
    }

    #[test]
    fn an_id_that_can_be_read_is_shown_as_it_was_given() {
        for text in ["order-17", "Überweisung/17", "注文17", "a\"b"] {
            assert_eq!(TxId::new(text).unwrap().to_string(), text);
        }
        assert_eq!(TxId::new("a b").unwrap().to_string(), "0x612062");
        assert_eq!(TxId::new("\u{1b}[2J").unwrap().to_string(), "0x1b5b324a");
        assert_eq!(TxId::new("0x41").unwrap().to_string(), "0x30783431");
    }

    #[test]
    fn ids_outside_their_limits_are_refused_with_the_limit_named() {
        assert!(TxId::new(Vec::new()).unwrap_err().to_string().contains("1 to 64"));
        assert!(TxId::new(vec![0; 65]).unwrap_err().to_string().contains("65 bytes"));
        assert!("0xabc".parse::<TxId>().is_err());
        assert!("0xé1".parse::<TxId>().is_err());
        assert!("bank a".parse::<ParticipantName>().is_err());
        assert!("".parse::<ParticipantName>().is_err());
    }

    #[test]
    fn a_coordinators_id_survives_being_written_as_text_and_nothing_else_is_one() {
        let id = CoordinatorId(*b"\0one.coordinator");
        assert_eq!(id.to_string().parse::<CoordinatorId>().unwrap(), id);
        for text in ["", "+0000000000000000000000000000000", "00", "zz000000000000000000000000000000"] {
            assert!(text.parse::<CoordinatorId>().unwrap_err().to_string().contains("32 hexadecimal"), "{text}");
        }
    }

    #[test]
    fn a_later_epochs_first_attempt_number_is_above_all_earlier_ones() {
        let last_of_first = AttemptNumber(AttemptNumber::first_of(Epoch(2)).0 - 1);
        assert!(last_of_first < AttemptNumber::first_of(Epoch(2)));
        assert_eq!(last_of_first.epoch(), 1);
        assert_eq!(AttemptNumber::first_of(Epoch::LAST).epoch(), u64::from(Epoch::LAST.0));
        assert_eq!(
            AttemptNumber::first_of(Epoch(Epoch::LAST.0 + 1)),
            AttemptNumber::default(),
            "which is why none is higher"
        );
    }
}
