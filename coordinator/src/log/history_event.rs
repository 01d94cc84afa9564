//! Events of histories, as they stand in a record: field 7 of `OpenTransaction` and of `EndedTransaction`, where repeated
//! fields may stand anywhere and so are appended to the rest.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::fmt::{self, Write};
use undoubt_coordinator_core::Note;
use undoubt_proto::record::EndedTransaction;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::Timestamp;

const HISTORY: u32 = 7;

/// Appends an event.
pub(crate) fn put(stored: &mut Vec<u8>, event: &HistoryEvent) {
    prost::encoding::message::encode(HISTORY, event, stored);
}

/// Appends what [`put`] would for a note, without making an event of it first.
pub(crate) fn put_note(stored: &mut Vec<u8>, at: Timestamp, note: &Note, count: u32) {
    let mut body = Body { bytes: [0; MAX_QUICK_BYTES], len: 0 };
    let written = body.number(1, at.0).and_then(|()| body.text(2, |body| body.write_str(note.event())));
    let written = written
        .and_then(|()| note.participant().map_or(Ok(()), |name| body.text(3, |body| body.write_str(name.as_str()))));
    let written =
        written.and_then(|()| body.text(4, |body| write!(body, "{note}"))).and_then(|()| body.number(5, count.into()));
    match written {
        Ok(()) => {
            encode_key(HISTORY, WireType::LengthDelimited, stored);
            encode_varint(body.len as u64, stored);
            stored.extend_from_slice(&body.bytes[..body.len]);
        }
        // It is longer than most.
        Err(fmt::Error) => put(stored, &event_of(at, note, count)),
    }
}

/// What a note says, as others are told.
pub(crate) fn event_of(at: Timestamp, note: &Note, count: u32) -> HistoryEvent {
    HistoryEvent {
        at_us: at.0,
        event: note.event().to_owned(),
        participant: note.participant().map(ToString::to_string).unwrap_or_default(),
        detail: note.to_string(),
        count,
    }
}

/// All of it.
pub(crate) fn read(stored: &[u8]) -> Vec<HistoryEvent> {
    let whole = EndedTransaction::decode(stored).expect("a history was put together here, or read from a record");
    whole.history
}

/// Most events are shorter.
const MAX_QUICK_BYTES: usize = 256;

/// Texts are shorter than this, so that their length is one byte.
const MAX_TEXT_BYTES: usize = 127;

/// An event being written.
struct Body {
    bytes: [u8; MAX_QUICK_BYTES],
    len: usize,
}

impl Body {
    fn number(&mut self, field: u8, value: u64) -> fmt::Result {
        let mut left = value;
        self.push(field << 3)?;
        while left >= 0x80 {
            self.push((left & 0x7f) as u8 | 0x80)?;
            left >>= 7;
        }
        self.push(left as u8)
    }

    /// As protobuf has it, what is empty is left out.
    fn text(&mut self, field: u8, write: impl FnOnce(&mut Self) -> fmt::Result) -> fmt::Result {
        let begins = self.len;
        self.push(field << 3 | WireType::LengthDelimited as u8)?;
        self.push(0)?;
        write(self)?;
        match self.len - begins - 2 {
            0 => self.len = begins,
            length @ 1..=MAX_TEXT_BYTES => self.bytes[begins + 1] = length as u8,
            _ => return Err(fmt::Error),
        }
        Ok(())
    }

    fn push(&mut self, byte: u8) -> fmt::Result {
        *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
        self.len += 1;
        Ok(())
    }
}

impl Write for Body {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_written_as_its_event_would_be_however_long_it_is() {
        for length in [0, 1, 100, 126, 127, 128, 300, 500] {
            let chosen = Note::Chosen { saga: true, why: "x".repeat(length) };
            for note in [Note::DeadlinePassed, Note::Inquired { from: "bank".parse().unwrap() }, chosen] {
                let (mut quick, mut slow) = (Vec::new(), Vec::new());
                put_note(&mut quick, Timestamp(1_700_000_000_000_000), &note, 300);
                let event = event_of(Timestamp(1_700_000_000_000_000), &note, 300);
                put(&mut slow, &event);
                assert_eq!(quick, slow, "{note}");
                assert_eq!(read(&quick), [event]);
            }
        }
    }
}
