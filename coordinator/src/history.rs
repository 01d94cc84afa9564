//! What happened to each open transaction, and telling it to whoever watches.
//!
//! Each record of a transaction holds its history so far. So a history is kept as it is stored, and each event is put into
//! that form once.

use crate::log::stored_history::{self, Line, StoredHistory};
use tokio::sync::broadcast;
use undoubt_coordinator_core::Note;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::{DigestMap, ParticipantName, Timestamp, TxId};

/// Beyond this many the middle is not kept: the beginning and the end tell what happened.
const MAX_EVENTS_PER_TRANSACTION: usize = 256;

/// Events a watcher may be behind before it loses some.
const MAX_EVENTS_QUEUED_PER_WATCHER: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Histories {
    /// Boxed, so that the map moves little as it changes.
    open: DigestMap<TxId, Box<History>>,
    watchers: broadcast::Sender<News>,
}

/// What happened to one transaction.
#[derive(Debug, Default)]
struct History {
    stored: StoredHistory,
    events: usize,
    /// The last event, which counts up when it comes again.
    last: Option<(Note, u32)>,
}

/// What watchers hear.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Event(TxId, HistoryEvent),
    /// Nothing more will happen to it.
    Over(TxId),
}

impl Histories {
    pub(crate) fn new() -> Histories {
        Histories { open: DigestMap::new(), watchers: broadcast::channel(MAX_EVENTS_QUEUED_PER_WATCHER).0 }
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<News> {
        self.watchers.subscribe()
    }

    pub(crate) fn restore(&mut self, tx: TxId, events: &[HistoryEvent]) {
        self.open.insert(tx, Box::new(History::of(events)));
    }

    pub(crate) fn holds(&self, tx: &TxId) -> bool {
        self.open.contains_key(tx)
    }

    pub(crate) fn note(&mut self, at: Timestamp, tx: TxId, note: Note) {
        if self.watchers.receiver_count() > 0 {
            self.tell(&tx, event_of(at, &note));
        }
        if matches!(note, Note::Begun { .. } | Note::SagaBegun { .. } | Note::Chosen { .. }) {
            self.open.get_or_insert_with(tx, || Box::new(History::begun())).note(at, note);
        } else if let Some(history) = self.open.get_mut(&tx) {
            history.note(at, note);
        }
    }

    /// Adds what the core knows nothing of: an operator's doing.
    pub(crate) fn add(&mut self, at: Timestamp, tx: &TxId, detail: String) {
        if let Some(history) = self.open.get_mut(tx) {
            history.put(Line { at, event: OPERATOR, participant: None, detail: &detail, count: 1 });
            history.last = None;
        }
        self.tell(tx, by_operator(at, detail));
    }

    /// As it is stored.
    pub(crate) fn stored(&self, tx: &TxId) -> &[u8] {
        self.open.get(tx).map_or(&[], |history| history.stored.as_bytes())
    }

    pub(crate) fn of(&self, tx: &TxId) -> Vec<HistoryEvent> {
        read(self.stored(tx))
    }

    pub(crate) fn forget(&mut self, tx: &TxId) {
        self.open.remove(tx);
        if self.watchers.receiver_count() > 0 {
            let _ = self.watchers.send(News::Over(tx.clone()));
        }
    }

    fn tell(&self, tx: &TxId, event: HistoryEvent) {
        // Nobody listening any more is no reason to stop.
        let _ = self.watchers.send(News::Event(tx.clone(), event));
    }
}

impl History {
    fn begun() -> History {
        History { stored: StoredHistory::begun(), ..History::default() }
    }

    fn of(events: &[HistoryEvent]) -> History {
        History { stored: StoredHistory::of(events), events: events.len(), last: None }
    }

    /// A retry of what came just before is counted, not repeated.
    fn note(&mut self, at: Timestamp, note: Note) {
        let count = match self.last.take() {
            Some((last, count)) if alike(&last, &note) => {
                self.stored.take_back();
                self.events -= 1;
                count.saturating_add(1)
            }
            Some(_) | None => 1,
        };
        let detail = note.detail();
        self.put(Line {
            at,
            event: note.event(),
            participant: note.participant().map(ParticipantName::as_str),
            detail: &detail,
            count,
        });
        self.last = Some((note, count));
    }

    fn put(&mut self, line: Line<'_>) {
        if self.events == MAX_EVENTS_PER_TRANSACTION {
            let mut events = read(self.stored.as_bytes());
            events.remove(MAX_EVENTS_PER_TRANSACTION / 2);
            *self = History::of(&events);
        }
        self.stored.put(line);
        self.events += 1;
    }
}

/// The event of what operators do.
const OPERATOR: &str = "operator";

/// What others are told of an operator's doing.
pub(crate) fn by_operator(at: Timestamp, detail: String) -> HistoryEvent {
    HistoryEvent { at_us: at.0, event: OPERATOR.to_owned(), participant: String::new(), detail, count: 1 }
}

/// What a note says, as others are told.
fn event_of(at: Timestamp, note: &Note) -> HistoryEvent {
    HistoryEvent {
        at_us: at.0,
        event: note.event().to_owned(),
        participant: note.participant().map(ToString::to_string).unwrap_or_default(),
        detail: note.to_string(),
        count: 1,
    }
}

fn read(stored: &[u8]) -> Vec<HistoryEvent> {
    stored_history::read(stored).expect("it was put together here")
}

fn alike(a: &Note, b: &Note) -> bool {
    a == b || matches!((a, b), (Note::Retried { .. }, Note::Retried { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tx() -> TxId {
        "t".parse().unwrap()
    }

    #[test]
    fn a_long_history_keeps_its_beginning_and_its_end() {
        let mut histories = Histories::new();
        for n in 0..1_000 {
            histories.note(Timestamp(n), tx(), Note::Begun { branches: n as usize });
        }
        let events = histories.of(&tx());
        assert_eq!(events.len(), MAX_EVENTS_PER_TRANSACTION);
        assert_eq!((events[0].at_us, events[MAX_EVENTS_PER_TRANSACTION - 1].at_us), (0, 999));
    }

    #[test]
    fn retries_in_a_row_are_counted() {
        let mut histories = Histories::new();
        histories.restore(tx(), &[]);
        (1..=3).for_each(|attempt| histories.note(Timestamp(1), tx(), Note::Retried { attempt }));
        let events = histories.of(&tx());
        assert_eq!((events.len(), events[0].count), (1, 3));
        histories.note(Timestamp(2), tx(), Note::Inquired { from: "bank".parse().unwrap() });
        histories.note(Timestamp(3), tx(), Note::Retried { attempt: 4 });
        assert_eq!(histories.of(&tx()).iter().map(|event| event.count).collect::<Vec<_>>(), [3, 1, 1]);
    }

    #[test]
    fn a_note_is_stored_as_the_event_that_watchers_hear() {
        let note = Note::Inquired { from: "bank".parse().unwrap() };
        let mut histories = Histories::new();
        histories.restore(tx(), &[]);
        histories.note(Timestamp(7), tx(), note.clone());
        assert_eq!(histories.of(&tx()), [event_of(Timestamp(7), &note)]);
    }

    #[test]
    fn of_what_has_ended_nothing_is_kept() {
        let mut histories = Histories::new();
        histories.note(Timestamp(1), tx(), Note::Inquired { from: "bank".parse().unwrap() });
        assert!(!histories.holds(&tx()));
    }
}
