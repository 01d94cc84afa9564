//! Keys and values as people write and read them.
//!
//! * Bytes in JSON and TOML strings: the text itself; text that starts with `0x` stands for the bytes in hexadecimal, and
//!   is how bytes are written that are no UTF-8 (or that start with `0x` themselves). Both ways are exact.
//! * Words on a command line: the same, and where there is white space, a quote or nothing at all: "quoted", with the
//!   escapes of JSON. Quoted is always text, whatever it looks like.

use bytes::Bytes;
use std::fmt::Write as _;

/// Returns bytes as a string that [`from_string`] reads back.
pub fn to_string(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("0x") => text.to_owned(),
        Ok(_) | Err(_) => hex(bytes),
    }
}

pub fn from_string(text: &str) -> Result<Bytes, String> {
    match text.strip_prefix("0x") {
        Some(digits) => from_hex(digits),
        None => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// Returns bytes as a word that [`words`] reads back: for people, so without control characters.
pub fn to_word(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return hex(bytes) };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"';
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with("0x") && text != ABSENT {
        return text.to_owned();
    }
    let quoted = serde_json::Value::from(text).to_string();
    // JSON leaves some control characters as they are.
    if quoted.chars().any(char::is_control) { hex(bytes) } else { quoted }
}

/// The bytes that are shown of a longer key or value: only its beginning, so that a refusal's explanation keeps all its
/// parts.
const SHOWN_BYTES: usize = 40;

/// Returns a key as people read it: quoted where it is printable ASCII, else in hexadecimal digits.
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

/// Stands for no value where one could be.
pub const ABSENT: &str = "absent";

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn from_hex(digits: &str) -> Result<Bytes, String> {
    let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let whole = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = if whole { digits.as_bytes().chunks(2).map(pair).collect() } else { None };
    bytes.map(Bytes::from).ok_or_else(|| {
        format!("0x{digits} is not an even number of hexadecimal digits; correct it, or quote it if it is text")
    })
}

/// A word of a command line: bare, "quoted", or `name=` and either of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text as far as a `=` outside of quotes. Whether it is a name or part of a text depends on where it stands.
    name: Option<String>,
    rest: Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rest {
    Bare(String),
    Quoted(String),
}

impl Word {
    /// Returns the word as text, without regard to what it may stand for.
    pub fn bare(&self) -> Option<String> {
        match &self.rest {
            Rest::Bare(rest) => Some(self.name.iter().fold(rest.clone(), |rest, name| format!("{name}={rest}"))),
            Rest::Quoted(_) => None,
        }
    }

    /// Returns the word as a key or a value.
    pub fn bytes(&self) -> Result<Bytes, String> {
        match (&self.rest, &self.name) {
            (Rest::Quoted(text), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            (Rest::Quoted(_), Some(name)) => Err(format!("{name}=\"…\" is no key or value here; quote all of it")),
            (Rest::Bare(_), _) => from_string(&self.bare().unwrap_or_default()),
        }
    }

    /// Returns the word as `name=…`: its name, and the word behind it.
    pub fn named(&self) -> Option<(&str, Word)> {
        Some((self.name.as_deref()?, Word { name: None, rest: self.rest.clone() }))
    }
}

/// Splits a line into its words.
pub fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// Reads the word with which a line begins, and returns what is behind it too.
pub(crate) fn word(text: &str) -> Result<(Word, &str), String> {
    let end = text.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(text.len());
    let (before, after) = text.split_at(end);
    if after.starts_with('"') {
        let name = match before.strip_suffix('=') {
            Some(name) if !name.contains('=') => Some(name.to_owned()),
            None if before.is_empty() => None,
            Some(_) | None => return Err(format!("a quote follows {before} directly; quote all of it")),
        };
        let (quoted, after) = quoted(after)?;
        return Ok((Word { name, rest: Rest::Quoted(quoted) }, after));
    }
    let (name, rest) = match before.split_once('=') {
        Some((name, rest)) => (Some(name.to_owned()), rest),
        None => (None, before),
    };
    Ok((Word { name, rest: Rest::Bare(rest.to_owned()) }, after))
}

/// Reads from an opening quote to its closing one.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    let Some((end, _)) = end else { return Err(format!("the quote in {text} is not closed; add a \" at its end")) };
    let (inside, after) = text.split_at(end + 1);
    if !(after.is_empty() || after.starts_with(char::is_whitespace)) {
        return Err(format!("{after} follows {inside} directly; put a space between them"));
    }
    let unescaped = serde_json::from_str(inside);
    Ok((unescaped.map_err(|error| format!("{inside} has an escape that JSON does not know ({error})"))?, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Word {
        let words = words(line).unwrap();
        assert_eq!(words.len(), 1, "{words:?}");
        words[0].clone()
    }

    proptest! {
        #[test]
        fn bytes_survive_being_written_as_a_string(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(from_string(&to_string(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn text_survives_being_written_as_a_word(text in "\\PC*|[ -~\\n\\t\"]*|0x[0-9a-f]*|absent") {
            let word = to_word(text.as_bytes());
            prop_assert!(!word.chars().any(char::is_control));
            prop_assert_eq!(one(&word).bytes().unwrap(), text.as_bytes());
        }

        #[test]
        fn bytes_survive_being_written_as_a_word(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(one(&to_word(&bytes)).bytes().unwrap(), bytes);
        }

        #[test]
        fn reading_any_text_never_panics(text in any::<String>()) {
            let _ = from_string(&text);
            for word in words(&text).unwrap_or_default() {
                let _ = (word.bytes(), word.named(), word.bare());
            }
        }
    }

    #[test]
    fn words_are_bare_quoted_or_named() {
        assert_eq!(one("a=b").bytes().unwrap(), "a=b");
        assert_eq!(one("\"0x41 \\\"\"").bytes().unwrap(), "0x41 \"");
        assert_eq!(one("0x41").bytes().unwrap(), "A");
        let named = one("expected=\"a b\"");
        let (name, value) = named.named().unwrap();
        assert_eq!((name, value.bytes().unwrap()), ("expected", "a b".into()));
        assert_eq!(words(" get  \"a b\"\tc ").unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        assert!(words("put \"a").unwrap_err().contains("add a \""));
        assert!(words("put a\"b\"").unwrap_err().contains("quote all of it"));
        assert!(words("\"a\"b").unwrap_err().contains("space"));
        assert!(words("\"\\q\"").unwrap_err().contains("escape"));
        assert!(from_string("0x1").unwrap_err().contains("quote it if it is text"));
    }
}
