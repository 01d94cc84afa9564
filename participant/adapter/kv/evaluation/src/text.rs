//! Keys and values as people read them in refusals.

use bytes::Bytes;
use std::fmt::Write;

/// Of a longer key or value only the beginning is shown, so that a refusal's explanation keeps all its parts.
const SHOWN_BYTES: usize = 40;

/// A key as people read it: quoted where it is printable ASCII, else in hexadecimal digits.
pub fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let printable = head.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let mut text = match std::str::from_utf8(head) {
        Ok(text) if printable => format!("'{text}'"),
        Ok(_) | Err(_) => head.iter().fold("0x".to_owned(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
    };
    if head.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

pub(super) fn shown_value(value: Option<&Bytes>) -> String {
    value.map_or("nothing".to_owned(), |value| shown(value))
}
