//! What happened to each open transaction, and telling it to whoever watches.
//!
//! Each record of a transaction holds its history so far. So a history is kept as it is stored, and each event is put into
//! that form once.

use crate::log::history_event;
use std::collections::BTreeMap;
use tokio::sync::broadcast;
use undoubt_coordinator_core::Note;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::{Timestamp, TxId};

/// Beyond this many the middle is not kept: the beginning and the end tell what happened.
const MAX_EVENTS_PER_TRANSACTION: usize = 256;

/// What two branches or steps that go well take.
const USUAL_BYTES: usize = 512;

/// Events a watcher may be behind before it loses some.
const MAX_EVENTS_QUEUED_PER_WATCHER: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Histories {
    /// Boxed, so that the map moves little as it changes.
    open: BTreeMap<TxId, Box<History>>,
    watchers: broadcast::Sender<News>,
}

/// What happened to one transaction.
#[derive(Debug, Default)]
struct History {
    /// As in a record.
    stored: Vec<u8>,
    events: usize,
    last: Option<Last>,
}

/// The last event, which counts up when it comes again.
#[derive(Debug)]
struct Last {
    note: Note,
    count: u32,
    /// Where it begins in what is stored.
    at: usize,
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
        Histories { open: BTreeMap::new(), watchers: broadcast::channel(MAX_EVENTS_QUEUED_PER_WATCHER).0 }
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<News> {
        self.watchers.subscribe()
    }

    pub(crate) fn restore(&mut self, tx: TxId, events: Vec<HistoryEvent>) {
        self.open.insert(tx, Box::new(History::of(events)));
    }

    pub(crate) fn holds(&self, tx: &TxId) -> bool {
        self.open.contains_key(tx)
    }

    pub(crate) fn note(&mut self, at: Timestamp, tx: TxId, note: Note) {
        if self.watchers.receiver_count() > 0 {
            self.tell(&tx, history_event::event_of(at, &note, 1));
        }
        if matches!(note, Note::Begun { .. } | Note::SagaBegun { .. } | Note::Chosen { .. }) {
            self.open.entry(tx).or_insert_with(|| Box::new(History::begun())).note(at, note);
        } else if let Some(history) = self.open.get_mut(&tx) {
            history.note(at, note);
        }
    }

    /// Adds what the core knows nothing of.
    pub(crate) fn add(&mut self, tx: &TxId, event: HistoryEvent) {
        if let Some(history) = self.open.get_mut(tx) {
            history.add(&event);
        }
        self.tell(tx, event);
    }

    /// As it is stored.
    pub(crate) fn stored(&self, tx: &TxId) -> &[u8] {
        self.open.get(tx).map_or(&[], |history| &history.stored)
    }

    pub(crate) fn of(&self, tx: &TxId) -> Vec<HistoryEvent> {
        history_event::read(self.stored(tx))
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
        History { stored: Vec::with_capacity(USUAL_BYTES), ..History::default() }
    }

    fn of(events: Vec<HistoryEvent>) -> History {
        let mut history = History::default();
        events.iter().for_each(|event| history.add(event));
        history
    }

    /// A retry of what came just before is counted, not repeated.
    fn note(&mut self, at: Timestamp, note: Note) {
        let last = self.last.take().filter(|last| alike(&last.note, &note));
        let (count, begins) = last.map_or((1, self.stored.len()), |last| (last.count.saturating_add(1), last.at));
        if count == 1 {
            self.events += 1;
        }
        self.stored.truncate(begins);
        history_event::put_note(&mut self.stored, at, &note, count);
        self.last = Some(Last { note, count, at: begins });
        self.shorten();
    }

    fn add(&mut self, event: &HistoryEvent) {
        history_event::put(&mut self.stored, event);
        self.events += 1;
        self.last = None;
        self.shorten();
    }

    fn shorten(&mut self) {
        if self.events > MAX_EVENTS_PER_TRANSACTION {
            let mut events = history_event::read(&self.stored);
            events.remove(MAX_EVENTS_PER_TRANSACTION / 2);
            *self = History::of(events);
        }
    }
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
        histories.restore(tx(), Vec::new());
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
        histories.restore(tx(), Vec::new());
        histories.note(Timestamp(7), tx(), note.clone());
        assert_eq!(histories.of(&tx()), [history_event::event_of(Timestamp(7), &note, 1)]);
    }

    #[test]
    fn of_what_has_ended_nothing_is_kept() {
        let mut histories = Histories::new();
        histories.note(Timestamp(1), tx(), Note::Inquired { from: "bank".parse().unwrap() });
        assert!(!histories.holds(&tx()));
    }
}
