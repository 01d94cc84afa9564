//! Ids as headers have them: what is no letter, digit, `-`, `.`, `_` or `~` is percent-encoded.

use std::fmt::Write;

pub(crate) fn encoded(id: &str) -> String {
    id.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => {
                // Writing to a text does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

/// Returns the id, or the text as it stands if it is not encoded as it should be.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_encoded_and_decoded() {
        let id = "order/17 ä%~";
        assert_eq!(encoded(id), "order%2F17%20%C3%A4%25~");
        assert_eq!(decoded(&encoded(id)), id);
        for odd in ["%", "%4", "%zz", "100%", "%FF"] {
            assert_eq!(decoded(odd), odd);
        }
    }
}
