//! Histories as they stand in records: field 10 of `OpenTransaction` and of `EndedTransaction`, where repeated fields may
//! stand anywhere and so are appended to the rest.
//!
//! Each record of a transaction holds its history so far, so its lines are short: words that come again and again are
//! numbers, times are told from the line before, and participants are named once.

mod phrases;

use prost::Message;
use undoubt_proto::record::happened::{Detail, Who};
use undoubt_proto::record::{EndedTransaction, Happened};
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::{EventKind, Timestamp};

const HAPPENED: u32 = 10;

/// The bytes that the history of two branches or steps takes which go well.
const USUAL_BYTES: usize = 192;

/// One transaction's history as it is stored, and what the next line may refer to.
#[derive(Debug, Default)]
pub(crate) struct StoredHistory {
    bytes: Vec<u8>,
    now: Place,
    before_last: Place,
    /// The names in the order in which they were mentioned first.
    names: Vec<String>,
}

/// The place where a line begins, and the time that it is told from.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    bytes: usize,
    names: usize,
    at: Timestamp,
}

/// One line to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: Timestamp,
    pub(crate) kind: EventKind,
    pub(crate) participant: Option<&'a str>,
    pub(crate) detail: &'a str,
    /// The number of times in a row.
    pub(crate) count: u32,
}

/// The reason why stored lines cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UnreadableLine {
    #[error("a line of its history has the phrase {0}, which is not known to this version")]
    Phrase(u32),
    #[error("a line of its history refers to participant {0}, of whom no line before tells")]
    Participant(u32),
    #[error("it is not a protobuf message of this kind ({0})")]
    Encoding(#[from] prost::DecodeError),
}

impl StoredHistory {
    /// Returns the history of a transaction that begins.
    pub(crate) fn begun() -> StoredHistory {
        StoredHistory { bytes: Vec::with_capacity(USUAL_BYTES), ..StoredHistory::default() }
    }

    pub(crate) fn of(events: &[HistoryEvent]) -> StoredHistory {
        let mut history = StoredHistory::default();
        events.iter().for_each(|event| history.add(event));
        history
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn add(&mut self, event: &HistoryEvent) {
        let HistoryEvent { at_us, kind, participant, detail, count } = event;
        let participant = Some(participant.as_str()).filter(|name| !name.is_empty());
        self.put_line(Timestamp(*at_us), *kind, participant, detail, *count);
    }

    pub(crate) fn put(&mut self, line: Line<'_>) {
        let Line { at, kind, participant, detail, count } = line;
        self.put_line(at, kind.number(), participant, detail, count);
    }

    fn put_line(&mut self, at: Timestamp, kind: i32, participant: Option<&str>, detail: &str, count: u32) {
        self.before_last = self.now;
        let happened = Happened {
            later_us: at.0.wrapping_sub(self.now.at.0).cast_signed(),
            kind,
            who: participant.map(|name| self.mention(name)),
            detail: match phrases::number_of(detail) {
                Some(phrase) => Some(Detail::DetailPhrase(phrase)),
                None if detail.is_empty() => None,
                None => Some(Detail::DetailText(detail.to_owned())),
            },
            count: if count == 1 { 0 } else { count },
        };
        prost::encoding::message::encode(HAPPENED, &happened, &mut self.bytes);
        self.now = Place { bytes: self.bytes.len(), names: self.names.len(), at };
    }

    /// Takes the last line back, so that another can take its place. Once for each line.
    pub(crate) fn take_back(&mut self) {
        self.now = self.before_last;
        self.bytes.truncate(self.now.bytes);
        self.names.truncate(self.now.names);
    }

    fn mention(&mut self, name: &str) -> Who {
        match self.names.iter().position(|known| known == name) {
            Some(place) => Who::ParticipantAgain(u32::try_from(place).expect("fewer names than lines")),
            None => {
                self.names.push(name.to_owned());
                Who::Participant(name.to_owned())
            }
        }
    }
}

/// Reads what [`StoredHistory::as_bytes`] gave.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<HistoryEvent>, UnreadableLine> {
    events_of(EndedTransaction::decode(bytes)?.happened)
}

/// Returns the events that the lines of a record tell.
pub(crate) fn events_of(lines: Vec<Happened>) -> Result<Vec<HistoryEvent>, UnreadableLine> {
    let mut names: Vec<String> = Vec::new();
    let mut at_us = 0_u64;
    let text = |phrase| phrases::text_of(phrase).map(str::to_owned).ok_or(UnreadableLine::Phrase(phrase));
    let mut events = Vec::with_capacity(lines.len());
    for Happened { later_us, kind, who, detail, count } in lines {
        at_us = at_us.wrapping_add_signed(later_us);
        let participant = match who {
            None => String::new(),
            Some(Who::Participant(name)) => {
                names.push(name.clone());
                name
            }
            Some(Who::ParticipantAgain(place)) => {
                let known = usize::try_from(place).ok().and_then(|place| names.get(place));
                known.cloned().ok_or(UnreadableLine::Participant(place))?
            }
        };
        events.push(HistoryEvent {
            at_us,
            kind,
            participant,
            detail: match detail {
                None => String::new(),
                Some(Detail::DetailPhrase(phrase)) => text(phrase)?,
                Some(Detail::DetailText(detail)) => detail,
            },
            count: count.max(1),
        });
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(at_us: u64, kind: EventKind, participant: &str, detail: &str, count: u32) -> HistoryEvent {
        HistoryEvent { at_us, kind: kind.number(), participant: participant.into(), detail: detail.into(), count }
    }

    proptest! {
        #[test]
        fn every_history_is_read_as_it_was_told(
            told in proptest::collection::vec((0_u64.., 1_i32..26, "(a|b|c|)", "(commit|.{0,200})", 1_u32..), 0..20)
        ) {
            let event = |(at, kind, p, d, c): &(u64, i32, String, String, u32)| {
                event(*at, EventKind::of_number(*kind).unwrap(), p, d, *c)
            };
            let told: Vec<HistoryEvent> = told.iter().map(event).collect();
            let history = StoredHistory::of(&told);
            prop_assert_eq!(read(history.as_bytes()).unwrap(), told);
        }

        #[test]
        fn bytes_that_are_no_history_are_refused_or_read_and_never_panic(bytes in proptest::collection::vec(0_u8.., 0..60)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_line_that_is_taken_back_leaves_no_trace() {
        let (first, last) =
            (event(7, EventKind::Sent, "a", "prepare", 1), event(5, EventKind::Voted, "b", "prepared", 1));
        let mut history = StoredHistory::of(&[first.clone(), event(9, EventKind::Sent, "b", "commit", 1)]);
        history.take_back();
        history.add(&last);
        assert_eq!(history.as_bytes(), StoredHistory::of(&[first, last]).as_bytes());
    }

    #[test]
    fn what_refers_to_nothing_is_refused() {
        let line = |who, detail| Happened { who, detail, ..Happened::default() };
        let nobody = events_of(vec![line(Some(Who::ParticipantAgain(0)), None)]).unwrap_err();
        assert!(nobody.to_string().contains("participant 0"), "{nobody}");
        let unknown = events_of(vec![line(None, Some(Detail::DetailPhrase(9_999)))]).unwrap_err();
        assert!(unknown.to_string().contains("phrase 9999"), "{unknown}");
    }

    #[test]
    fn the_history_of_two_branches_that_go_well_fits_what_is_set_aside_for_it() {
        let mut told = vec![event(1_700_000_000_000_000, EventKind::Begun, "", "2 branches", 1)];
        for (what, detail) in [
            (EventKind::Sent, "prepare"),
            (EventKind::Voted, "prepared"),
            (EventKind::Sent, "commit"),
            (EventKind::Finished, "committed"),
        ] {
            told.extend(["bank-1", "bank-2"].map(|bank| event(1_700_000_000_000_000 + 20_000, what, bank, detail, 1)));
        }
        told.push(event(1_700_000_000_030_000, EventKind::Decided, "", "committed", 1));
        let stored = StoredHistory::of(&told);
        assert!(stored.as_bytes().len() <= USUAL_BYTES, "{}", stored.as_bytes().len());
    }
}
