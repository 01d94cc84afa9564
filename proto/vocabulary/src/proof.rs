//! The statements by which a coordinator proves that it is the one that it says (promise 10 of `session.proto`). How they are
//! signed, and how a signature is verified, is the servers' matter.

use crate::id::{CoordinatorId, Epoch};
use crate::witness::WriteNumber;
use std::fmt;
use std::str::FromStr;

/// The public part of a coordinator's Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// The random bytes that a participant draws, so that a signature is good for one conversation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Challenge(pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

/// The word of a former key for the one that follows it: a signature of [`Statement::Succession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Succession {
    pub former: PublicKey,
    pub signature: Signature,
}

/// The successions that a key may show: so often it can be replaced before an operator has to be asked.
pub const MAX_SUCCESSIONS: usize = 16;

/// The statement that a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statement<'a> {
    /// This coordinator opens a session with this participant, in this epoch.
    Session {
        challenge: &'a Challenge,
        coordinator: CoordinatorId,
        epoch: Epoch,
        key: &'a PublicKey,
        participant: &'a str,
    },
    /// This coordinator asks this participant what it knows of it.
    Recall {
        challenge: &'a Challenge,
        coordinator: CoordinatorId,
        key: &'a PublicKey,
        shown: Option<&'a WriteNumber>,
        participant: &'a str,
    },
    /// The key that follows the one that signs this.
    Succession { former: &'a PublicKey, next: &'a PublicKey },
}

impl Statement<'_> {
    /// Returns the bytes that are signed. No two statements have the same: each part but the last, the name, has a length that
    /// is known when it is reached.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Statement::Session { challenge, coordinator, epoch, key, participant } => [
                &b"undoubt session 2"[..],
                &challenge.0,
                &coordinator.0,
                &epoch.0.to_be_bytes(),
                &key.0,
                participant.as_bytes(),
            ]
            .concat(),
            Statement::Recall { challenge, coordinator, key, shown, participant } => {
                let mut bytes = [&b"undoubt recall 2"[..], &challenge.0, &coordinator.0, &key.0].concat();
                match shown {
                    None => bytes.push(0),
                    Some(shown) => {
                        bytes.push(1);
                        bytes.extend(shown.log);
                        bytes.extend(shown.start.losses.to_be_bytes());
                        bytes.extend(shown.start.count.to_be_bytes());
                        bytes.extend(shown.start.mark.to_be_bytes());
                        bytes.extend(shown.writes.to_be_bytes());
                    }
                }
                bytes.extend(participant.as_bytes());
                bytes
            }
            Statement::Succession { former, next } => [&b"undoubt succession 2"[..], &former.0, &next.0].concat(),
        }
    }
}

/// The text is not that of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPublicKey;

impl fmt::Display for NoPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key has 64 hexadecimal digits; `undoubt-coordinator key` prints it")
    }
}

impl std::error::Error for NoPublicKey {}

/// Returns the bytes that hexadecimal digits say.
pub fn from_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    let mut bytes = [0; BYTES];
    if digits.len() != 2 * BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

impl FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        from_hex(text).map(PublicKey).ok_or(NoPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a challenge")
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signature")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::Start;
    use std::collections::BTreeSet;

    #[test]
    fn statements_that_differ_in_one_part_differ_in_their_bytes() {
        let (challenge, other_challenge) = (Challenge([1; 32]), Challenge([2; 32]));
        let (key, other_key) = (PublicKey([3; 32]), PublicKey([4; 32]));
        let (coordinator, other) = (CoordinatorId([5; 16]), CoordinatorId([6; 16]));
        let session = |challenge, coordinator, epoch, key, participant| Statement::Session {
            challenge,
            coordinator,
            epoch: Epoch(epoch),
            key,
            participant,
        };
        let shown = WriteNumber { log: [7; 16], start: Start { losses: 0, count: 1, mark: 2 }, writes: 3 };
        let recall = |shown, participant| Statement::Recall {
            challenge: &challenge,
            coordinator,
            key: &key,
            shown,
            participant,
        };
        let all = [
            session(&challenge, coordinator, 1, &key, "a"),
            session(&other_challenge, coordinator, 1, &key, "a"),
            session(&challenge, other, 1, &key, "a"),
            session(&challenge, coordinator, 2, &key, "a"),
            session(&challenge, coordinator, 1, &other_key, "a"),
            session(&challenge, coordinator, 1, &key, "ab"),
            recall(None, "a"),
            recall(None, "ab"),
            recall(Some(&shown), "a"),
            Statement::Succession { former: &key, next: &other_key },
            Statement::Succession { former: &other_key, next: &key },
        ];
        let bytes: BTreeSet<Vec<u8>> = all.iter().map(Statement::to_bytes).collect();
        assert_eq!(bytes.len(), all.len());
    }

    #[test]
    fn a_public_key_reads_back_what_it_prints_and_nothing_else() {
        let key = PublicKey(std::array::from_fn(|at| u8::try_from(at * 8).unwrap()));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("ab".parse::<PublicKey>(), Err(NoPublicKey));
        assert_eq!("+1".repeat(32).parse::<PublicKey>(), Err(NoPublicKey));
    }
}
