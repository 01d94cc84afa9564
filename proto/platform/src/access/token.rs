//! Bearer tokens: 256 random bits as text, of which a server keeps a hash only.

use crate::random::Random;
use blake3::Hash;
use std::fmt;

/// What a token begins with, so that it is recognised where it should not be.
const PREFIX: &str = "undoubt_";

const RANDOM_BYTES: usize = 32;

/// Returns a new token. Whoever has it is the identity that it belongs to.
pub fn new_token(random: &dyn Random) -> String {
    let mut bytes = [0; RANDOM_BYTES];
    random.fill(&mut bytes);
    format!("{PREFIX}{}", Hash::from_bytes(bytes).to_hex())
}

/// The BLAKE3 hash of a token. Two are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(Hash);

/// A text is no hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token's hash has 64 hexadecimal digits; make a token and its hash with `undoubt tokens new`")]
pub struct InvalidHash;

impl TokenHash {
    pub fn of(token: &str) -> TokenHash {
        TokenHash(blake3::hash(token.as_bytes()))
    }

    pub fn parse(hexadecimal: &str) -> Result<TokenHash, InvalidHash> {
        Hash::from_hex(hexadecimal).map(TokenHash).map_err(|_not_hex| InvalidHash)
    }

    /// Returns the part by which it is looked up before it is compared.
    pub(super) fn prefix(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}
