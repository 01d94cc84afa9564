//! The messages of a MariaDB or MySQL client: <https://mariadb.com/kb/en/clientserver-protocol/>.

use std::collections::BTreeMap;

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
/// The header of a packet: a length of three bytes and a sequence number.
const HEADER_BYTES: usize = 4;
/// The bytes that tell the id of a prepared statement: header, status, id.
const PREPARED_BYTES: usize = 9;

#[derive(Default)]
pub(super) struct Messages {
    /// The statements by id that were prepared and not closed.
    statements: BTreeMap<[u8; 4], Vec<u8>>,
    /// The statement that is being prepared, and what came of its answer.
    preparing: Option<(Vec<u8>, Vec<u8>)>,
}

impl super::Messages for Messages {
    fn length(&self, start: &[u8]) -> Option<usize> {
        let length = start.get(..3)?;
        Some(HEADER_BYTES + u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize)
    }

    fn text(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        // A command opens a sequence; what answers the server's handshake has a higher number.
        if message.get(3) != Some(&0) {
            return None;
        }
        let (command, body) = message.get(HEADER_BYTES..)?.split_first()?;
        let id = || -> Option<[u8; 4]> { body.get(..4)?.try_into().ok() };
        match *command {
            COM_QUERY => Some(body.to_vec()),
            COM_STMT_PREPARE => {
                self.preparing = Some((body.to_vec(), Vec::new()));
                None
            }
            COM_STMT_EXECUTE => {
                let mut text = self.statements.get(&id()?).cloned().unwrap_or_default();
                text.push(b'\n');
                text.extend_from_slice(body);
                Some(text)
            }
            COM_STMT_CLOSE => {
                self.statements.remove(&id()?);
                None
            }
            _ => None,
        }
    }

    fn answered(&mut self, bytes: &[u8]) {
        let Some((statement, mut answer)) = self.preparing.take() else { return };
        answer.extend_from_slice(&bytes[..bytes.len().min(PREPARED_BYTES - answer.len())]);
        let failed = answer.get(HEADER_BYTES).is_some_and(|status| *status != 0);
        match answer.get(5..PREPARED_BYTES).and_then(|id| id.try_into().ok()) {
            Some(id) if !failed => drop(self.statements.insert(id, statement)),
            None if !failed => self.preparing = Some((statement, answer)),
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Messages as _;
    use super::*;

    fn command(command: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 1).unwrap().to_le_bytes();
        [&length[..3], &[0, command], body].concat()
    }

    #[test]
    fn an_executed_statement_has_the_text_that_was_prepared_under_its_id() {
        let mut messages = Messages::default();
        assert_eq!(None, messages.text(&command(COM_STMT_PREPARE, b"UPDATE a")));
        // The answer comes in two pieces.
        messages.answered(&[12, 0, 0, 1, 0, 5]);
        messages.answered(&[0, 0, 0, 9, 9, 9]);
        assert_eq!(None, messages.text(&command(COM_STMT_PREPARE, b"wrong")));
        messages.answered(&[9, 0, 0, 1, 0xff, 0x28, 4, b'#', b'4', b'2']);
        let execute = command(COM_STMT_EXECUTE, &[5, 0, 0, 0, b'x']);
        assert_eq!(b"UPDATE a\n\x05\0\0\0x".to_vec(), messages.text(&execute).unwrap());
        assert_eq!(1, messages.statements.len());
        assert_eq!(None, messages.text(&command(COM_STMT_CLOSE, &[5, 0, 0, 0])));
        assert!(messages.statements.is_empty());
    }

    #[test]
    fn only_commands_have_a_text() {
        let mut messages = Messages::default();
        let query = command(COM_QUERY, b"XA COMMIT 'p'");
        assert_eq!(Some(query.len()), messages.length(&query));
        assert_eq!(b"XA COMMIT 'p'".to_vec(), messages.text(&query).unwrap());
        let mut handshake = query;
        handshake[3] = 1;
        assert_eq!(None, messages.text(&handshake));
    }
}
