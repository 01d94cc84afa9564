//! The key by which a coordinator proves that it is the one that it says (promise 10 of `session.proto`).
//!
//! Ed25519, by `ed25519-dalek`. What is signed is a [`Statement`]; the secret leaves this module only as the text of its file.

use crate::random::Random;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use std::fmt;
use undoubt_vocabulary::proof::{MAX_SUCCESSIONS, from_hex};
use undoubt_vocabulary::{PublicKey, Signature, Statement, Succession};

/// The first line of a key's file: what it is, and the version of its form.
const TITLE: &str = "undoubt coordinator key 1";

/// A coordinator's key with its secret part, and the word of the keys that it follows. Nothing of it is shown.
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
    /// The oldest first.
    successions: Vec<Succession>,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// The reason why a text is not a coordinator's key. It quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("it does not begin with the line {TITLE:?}, so it is no key of this version")]
    Title,
    #[error("its line {0} is none that such a file has")]
    Line(usize),
    #[error("it has no line with the secret key")]
    NoSecret,
    #[error("the word of a former key for the one that follows it is not its own")]
    Succession,
}

impl SecretKey {
    /// Draws a new key.
    pub fn draw(random: &dyn Random) -> SecretKey {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        SecretKey { key: SigningKey::from_bytes(&secret), successions: Vec::new() }
    }

    /// Returns the key that follows this one, with its word for it. Of the words of former keys the oldest is dropped once there
    /// are too many: a participant that has not met the coordinator since then needs an operator's.
    pub fn succeed(&self, random: &dyn Random) -> SecretKey {
        let next = SecretKey::draw(random);
        let former = self.public();
        let signature = self.sign(&Statement::Succession { former: &former, next: &next.public() });
        let mut successions = self.successions.clone();
        successions.push(Succession { former, signature });
        let too_many = successions.len().saturating_sub(MAX_SUCCESSIONS);
        successions.drain(..too_many);
        SecretKey { successions, ..next }
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    pub fn successions(&self) -> &[Succession] {
        &self.successions
    }

    pub fn sign(&self, statement: &Statement<'_>) -> Signature {
        Signature(self.key.sign(&statement.to_bytes()).to_bytes())
    }

    /// Returns the text of the key's file. It holds the secret.
    pub fn to_text(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut text = format!("{TITLE}\nsecret {}\n", hex(&self.key.to_bytes()));
        for Succession { former, signature } in &self.successions {
            text.push_str(&format!("follows {former} {}\n", hex(&signature.0)));
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub fn from_text(text: &str) -> Result<SecretKey, InvalidKey> {
        let mut lines = text.lines().zip(1..);
        lines.next().filter(|(title, _)| *title == TITLE).ok_or(InvalidKey::Title)?;
        let (mut key, mut successions) = (None, Vec::new());
        for (line, number) in lines {
            let invalid = InvalidKey::Line(number);
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => {}
                ["secret", secret] if key.is_none() => {
                    key = Some(SigningKey::from_bytes(&from_hex(secret).ok_or(invalid)?));
                }
                ["follows", former, signature] if successions.len() < MAX_SUCCESSIONS => {
                    let former = former.parse().map_err(|_| invalid.clone())?;
                    successions.push(Succession { former, signature: Signature(from_hex(signature).ok_or(invalid)?) });
                }
                _ => return Err(invalid),
            }
        }
        let key = SecretKey { key: key.ok_or(InvalidKey::NoSecret)?, successions };
        // All of them, or a participant would refuse what its operator believes to be in order.
        let proven = followed(&key.public(), &key.successions).len();
        if proven == key.successions.len() { Ok(key) } else { Err(InvalidKey::Succession) }
    }
}

/// Returns whether the signature is that of the key for the statement. A weak key has none.
pub fn is_signed(key: &PublicKey, statement: &Statement<'_>, signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(&statement.to_bytes(), &signature).is_ok())
}

/// Returns the keys that `key` follows by their own word, the latest first, up to the first whose word is not its own.
pub fn followed(key: &PublicKey, successions: &[Succession]) -> Vec<PublicKey> {
    let mut next = *key;
    let mut former = Vec::new();
    for succession in successions.iter().rev().take(MAX_SUCCESSIONS) {
        let statement = Statement::Succession { former: &succession.former, next: &next };
        if !is_signed(&succession.former, &statement, &succession.signature) {
            break;
        }
        next = succession.former;
        former.push(next);
    }
    former
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use undoubt_vocabulary::{Challenge, CoordinatorId, Epoch};

    fn key(seed: u64) -> SecretKey {
        SecretKey::draw(&SeededRandom::new(seed))
    }

    #[test]
    fn a_signature_is_good_for_its_statement_and_its_key_alone() {
        let (own, other) = (key(1), key(2));
        let public = own.public();
        let statement = |challenge, participant| Statement::Session {
            challenge,
            coordinator: CoordinatorId([1; 16]),
            epoch: Epoch(1),
            key: &public,
            participant,
        };
        let (challenge, another) = (Challenge([1; 32]), Challenge([2; 32]));
        let signature = own.sign(&statement(&challenge, "a"));
        assert!(is_signed(&public, &statement(&challenge, "a"), &signature));
        assert!(!is_signed(&public, &statement(&another, "a"), &signature));
        assert!(!is_signed(&public, &statement(&challenge, "b"), &signature));
        assert!(!is_signed(&other.public(), &statement(&challenge, "a"), &signature));
        // The neutral element, as a key, would verify much.
        let weak = PublicKey(std::array::from_fn(|at| u8::from(at == 0)));
        assert!(!is_signed(&weak, &statement(&challenge, "a"), &signature));
    }

    #[test]
    fn a_key_that_follows_others_proves_each_of_them_and_reads_back_from_its_text() {
        let random = SeededRandom::new(3);
        let first = key(1);
        let second = first.succeed(&random);
        let third = second.succeed(&random);
        assert_eq!(followed(&third.public(), third.successions()), [second.public(), first.public()]);
        assert_eq!(followed(&second.public(), third.successions()), []);
        let read = SecretKey::from_text(&third.to_text()).unwrap();
        assert_eq!((read.public(), read.successions()), (third.public(), third.successions()));
        let many = (0..40).fold(first, |key, _| key.succeed(&random));
        assert_eq!(followed(&many.public(), many.successions()).len(), MAX_SUCCESSIONS);
        assert!(SecretKey::from_text(&many.to_text()).is_ok());
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_without_being_quoted_and_a_key_shows_nothing_secret() {
        let own = key(1);
        let text = own.to_text();
        let secret = text.lines().nth(1).unwrap().strip_prefix("secret ").unwrap();
        assert!(!format!("{own:?}").contains(secret));
        let refused = |text: &str| SecretKey::from_text(text).unwrap_err();
        assert_eq!(refused(""), InvalidKey::Title);
        assert_eq!(refused(TITLE), InvalidKey::NoSecret);
        assert_eq!(refused(&format!("{text}secret {secret}\n")), InvalidKey::Line(3));
        assert!(!refused(&text.replace("secret ", "secret x")).to_string().contains(&secret[..8]));
        let other = key(2).succeed(&SeededRandom::new(9));
        let foreign = other.to_text().lines().nth(2).unwrap().to_owned();
        assert_eq!(refused(&format!("{text}{foreign}\n")), InvalidKey::Succession);
    }
}
