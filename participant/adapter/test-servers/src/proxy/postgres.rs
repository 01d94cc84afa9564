//! The messages of a PostgreSQL client: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::collections::BTreeMap;

/// Requests of TLS and of GSSAPI, which come before the start and are answered by one byte.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

#[derive(Default)]
pub(super) struct Messages {
    started: bool,
    /// The statements by name that were parsed and not closed.
    statements: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl super::Messages for Messages {
    fn length(&self, start: &[u8]) -> Option<usize> {
        let header = usize::from(self.started);
        let length = start.get(header..header + 4)?.try_into().map(u32::from_be_bytes).ok()?;
        // A length counts itself; a smaller one is no message, and one that is never there ends the connection.
        Some(if length < 4 { usize::MAX } else { header + length as usize })
    }

    fn text(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if !self.started {
            let code = message.get(4..8)?.try_into().map(u32::from_be_bytes).ok()?;
            self.started = !ENCRYPTION_REQUESTS.contains(&code);
            return None;
        }
        let body = message.get(5..)?;
        match message.first()? {
            b'Q' => Some(body.to_vec()),
            b'P' => {
                let (name, rest) = name(body)?;
                let (statement, _) = self::name(rest)?;
                self.statements.insert(name.to_vec(), statement.to_vec());
                None
            }
            b'B' => {
                let (_portal, rest) = name(body)?;
                let (statement, values) = name(rest)?;
                let mut text = self.statements.get(statement).cloned().unwrap_or_default();
                text.push(b'\n');
                text.extend_from_slice(values);
                Some(text)
            }
            b'C' if body.first() == Some(&b'S') => {
                self.statements.remove(name(&body[1..])?.0);
                None
            }
            _ => None,
        }
    }

    fn answered(&mut self, _: &[u8]) {}
}

/// Returns the string up to the next NUL, and what follows it.
fn name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::super::Messages as _;
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    fn started() -> Messages {
        let mut messages = Messages::default();
        assert_eq!(Some(8), messages.length(&[0, 0, 0, 8]));
        assert_eq!(None, messages.text(&[&8u32.to_be_bytes()[..], &80_877_103u32.to_be_bytes()].concat()));
        assert_eq!(None, messages.text(&[&8u32.to_be_bytes()[..], &196_608u32.to_be_bytes()].concat()));
        assert!(messages.started);
        messages
    }

    #[test]
    fn a_bind_has_the_text_of_its_statement_and_its_values() {
        let mut messages = started();
        assert_eq!(None, messages.text(&message(b'P', b"s\0UPDATE a\0\0\0")));
        assert_eq!(None, messages.text(&message(b'P', b"\0DELETE b\0\0\0")));
        assert_eq!(b"UPDATE a\nalice".to_vec(), messages.text(&message(b'B', b"\0s\0alice")).unwrap());
        assert_eq!(b"DELETE b\nbob".to_vec(), messages.text(&message(b'B', b"\0\0bob")).unwrap());
        assert_eq!(None, messages.text(&message(b'C', b"Ss\0")));
        assert_eq!(b"\nalice".to_vec(), messages.text(&message(b'B', b"\0s\0alice")).unwrap());
    }

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let messages = started();
        assert_eq!(None, messages.length(b"Q\0\0\0"));
        assert_eq!(Some(10), messages.length(&message(b'Q', b"BEGI\0")));
        assert_eq!(Some(usize::MAX), messages.length(b"Q\0\0\0\x03"));
    }
}
