//! The signature of a call, by which its receiver knows that it comes from this coordinator, and when it was made.

use ring::hmac::{HMAC_SHA256, Key, sign};
use std::fmt;
use undoubt_vocabulary::Timestamp;

/// The header that a signature stands in: `t=SECONDS,v1=HEXADECIMAL`.
pub(super) const HEADER: &str = "undoubt-signature";

/// The fewest bytes of a secret: fewer could be guessed.
pub(crate) const MIN_SECRET_BYTES: usize = 16;

/// The secret that the coordinator and the receivers of its callbacks share.
#[derive(Clone)]
pub struct CallbackSecret(Key);

/// A secret is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret has {0} bytes, fewer than {MIN_SECRET_BYTES}, and could be guessed; make one with `undoubt tokens new`"
)]
pub struct WeakSecret(usize);

impl CallbackSecret {
    /// Takes the text of a file, without the white space around it.
    pub fn new(text: &[u8]) -> Result<CallbackSecret, WeakSecret> {
        let secret = text.trim_ascii();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(WeakSecret(secret.len()));
        }
        Ok(CallbackSecret(Key::new(HMAC_SHA256, secret)))
    }

    /// Returns the header for a body that is sent at this time: an HMAC-SHA256 over the seconds since 1970, a full stop, and the
    /// body.
    pub(super) fn header(&self, body: &[u8], now: Timestamp) -> String {
        let seconds = now.0 / 1_000_000;
        let signature = sign(&self.0, &[format!("{seconds}.").as_bytes(), body].concat());
        let hexadecimal: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={seconds},v1={hexadecimal}")
    }
}

/// Two are the same if they sign alike.
impl PartialEq for CallbackSecret {
    fn eq(&self, other: &CallbackSecret) -> bool {
        sign(&self.0, HEADER.as_bytes()).as_ref() == sign(&other.0, HEADER.as_bytes()).as_ref()
    }
}

impl fmt::Debug for CallbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_an_hmac_over_the_time_and_the_body() {
        let secret = CallbackSecret::new(b" 0123456789abcdef\n").unwrap();
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e";
        assert_eq!(secret.header(b"{}", Timestamp(1_700_000_000_123_456)), expected);
        assert_eq!(format!("{secret:?}"), "CallbackSecret");
        assert_eq!(secret, CallbackSecret::new(b"0123456789abcdef").unwrap());
        assert_ne!(secret, CallbackSecret::new(b"0123456789abcdeg").unwrap());
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused_without_repeating_it() {
        let refused = CallbackSecret::new(b"hunter2\n").unwrap_err().to_string();
        assert!(refused.contains("7 bytes") && !refused.contains("hunter2"), "{refused}");
    }
}
