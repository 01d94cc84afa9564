//! The parts of a JWT: header, claims and signature, each in base64url (RFC 7515).

use crate::checker::Refused;
use crate::json::{beginning, object};
use crate::keys::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The largest token. All headers of a request may have 8 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 7 << 10;

/// The types (`typ`) of tokens that say who asks. What a provider signs for other purposes, as a notice of a logout, is none.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// A token that is read, of which nothing is believed yet.
pub(crate) struct Token<'t> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: String,
    /// The part that is signed.
    pub(crate) message: &'t [u8],
    pub(crate) signature: Vec<u8>,
    claims: &'t str,
}

impl Token<'_> {
    pub(crate) fn read(text: &str) -> Result<Token<'_>, Refused> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refused::TooLarge(text.len()));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Form("it has not three parts with points between them".to_owned()));
        };
        let message = text.as_bytes().get(..header.len() + 1 + claims.len()).unwrap_or_default();
        let (algorithm, key_id) = read_header(&members("header", header)?)?;
        Ok(Token { algorithm, key_id, message, signature: decode("signature", signature)?, claims })
    }

    /// Reads the claims. They are worth something only if the signature is right.
    pub(crate) fn claims(&self) -> Result<Value, Refused> {
        members("claims", self.claims)
    }
}

fn read_header(header: &Value) -> Result<(Algorithm, String), Refused> {
    let text = |member: &str| match header.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Refused::Form(format!("`{member}` in its header is no text"))),
    };
    let name = text("alg")?.unwrap_or_default();
    let algorithm = Algorithm::from_name(name).ok_or_else(|| Refused::Algorithm(beginning(name)))?;
    if header.get("crit").is_some() {
        return Err(Refused::Form("it asks for extensions (`crit`), of which none is known".to_owned()));
    }
    if let Some(kind) = text("typ")?.filter(|kind| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind))) {
        return Err(Refused::Type(beginning(kind)));
    }
    Ok((algorithm, text("kid")?.ok_or(Refused::NoKeyId)?.to_owned()))
}

fn members(part: &str, text: &str) -> Result<Value, Refused> {
    object(&decode(part, text)?).map_err(|error| Refused::Form(format!("its {part}: {error}")))
}

fn decode(part: &str, text: &str) -> Result<Vec<u8>, Refused> {
    let wrong = |_| Refused::Form(format!("its {part}: not base64url without padding"));
    URL_SAFE_NO_PAD.decode(text).map_err(wrong)
}
