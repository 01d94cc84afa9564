//! The check of bearer tokens that an OpenID Connect provider has signed. Pure: a token, keys and a time go in, its holder or
//! a reason comes out.
//!
//! * [`Keys`]: the provider's public keys, from the text of a JWKS (RFC 7517).
//! * [`Checker`]: what a token has to be (RFC 7519, 8725), and [`Holder`], what it then says.
//! * [`Refused`], [`BadKeys`]: why a token, or a file of keys, is not taken, and what to do.
//!
//! Signatures are RS256, ES256 and EdDSA (Ed25519) alone. Which of them is checked follows from the key and never from the token, so
//! a token cannot have a public key taken for a shared secret, nor go unsigned.

mod checker;
mod json;
mod keys;
#[cfg(test)]
mod tests;
mod token;

pub use checker::{Checker, Expected, Holder, LEEWAY, Refused};
pub use keys::{Algorithm, BadKeys, Keys};

use checker::MAX_SUBJECT_BYTES;
use keys::{MAX_KEYS, MAX_KEYS_FILE_BYTES, MAX_RSA_BYTES, MIN_RSA_BYTES};
use token::MAX_TOKEN_BYTES;
use undoubt_vocabulary::limit;
use undoubt_vocabulary::limit::Limit;

/// The bounds that users can meet.
pub const LIMITS: &[Limit] = &[
    limit!(Bytes MAX_TOKEN_BYTES, "A JWT.", "`UNIDENTIFIED`."),
    limit!(ms LEEWAY, "The difference between the provider's clock and this server's that the times of a JWT allow for.", "`UNIDENTIFIED`."),
    limit!(Bytes MAX_SUBJECT_BYTES, "The claim of a JWT that names its holder; at least 1.", "`UNIDENTIFIED`."),
    limit!(Bytes MAX_KEYS_FILE_BYTES, "The file of `access.oidc.keys`.", "The server does not start; while it runs, the file is kept out."),
    limit!(Count MAX_KEYS, "Keys in that file.", "The same."),
    limit!(Bytes MIN_RSA_BYTES, "The modulus of an RSA key in that file, at least.", "The same."),
    limit!(Bytes MAX_RSA_BYTES, "The modulus of an RSA key in that file.", "The same."),
];
