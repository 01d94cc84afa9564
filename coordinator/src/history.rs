//! What happened to each open transaction, and telling it to whoever watches.

use std::collections::BTreeMap;
use tokio::sync::broadcast;
use undoubt_coordinator_core::Note;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::{Timestamp, TxId};

/// Beyond this many the middle is not kept: the beginning and the end tell what happened.
const MAX_EVENTS_PER_TRANSACTION: usize = 256;

/// Events a watcher may be behind before it loses some.
const MAX_EVENTS_QUEUED_PER_WATCHER: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Histories {
    open: BTreeMap<TxId, Vec<HistoryEvent>>,
    watchers: broadcast::Sender<News>,
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
        self.open.insert(tx, events);
    }

    pub(crate) fn holds(&self, tx: &TxId) -> bool {
        self.open.contains_key(tx)
    }

    pub(crate) fn note(&mut self, at: Timestamp, tx: &TxId, note: &Note) {
        if matches!(note, Note::Begun { .. } | Note::SagaBegun { .. } | Note::Chosen { .. }) {
            self.open.entry(tx.clone()).or_default();
        }
        let event = HistoryEvent {
            at_us: at.0,
            event: note.event().to_owned(),
            participant: note.participant().map(ToString::to_string).unwrap_or_default(),
            detail: note.to_string(),
            count: 1,
        };
        self.add(tx, event);
    }

    /// Adds to a history that is held here; about anything else only watchers hear.
    pub(crate) fn add(&mut self, tx: &TxId, event: HistoryEvent) {
        if self.watchers.receiver_count() > 0 {
            // Nobody listening any more is no reason to stop.
            let _ = self.watchers.send(News::Event(tx.clone(), event.clone()));
        }
        if let Some(events) = self.open.get_mut(tx) {
            push(events, event);
        }
    }

    pub(crate) fn of(&self, tx: &TxId) -> &[HistoryEvent] {
        self.open.get(tx).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn forget(&mut self, tx: &TxId) {
        self.open.remove(tx);
        if self.watchers.receiver_count() > 0 {
            let _ = self.watchers.send(News::Over(tx.clone()));
        }
    }
}

/// Appends an event. A retry of what came just before is counted, not repeated.
fn push(events: &mut Vec<HistoryEvent>, event: HistoryEvent) {
    let alike = |a: &HistoryEvent, b: &HistoryEvent| {
        a.event == b.event && a.participant == b.participant && (a.detail == b.detail || a.event == "retried")
    };
    match events.last_mut() {
        Some(last) if alike(last, &event) => {
            *last = HistoryEvent { count: last.count.saturating_add(1), ..event };
        }
        Some(_) | None => events.push(event),
    }
    if events.len() > MAX_EVENTS_PER_TRANSACTION {
        events.remove(MAX_EVENTS_PER_TRANSACTION / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_history_keeps_its_beginning_and_its_end() {
        let mut histories = Histories::new();
        let tx: TxId = "t".parse().unwrap();
        for n in 0..1_000 {
            histories.note(Timestamp(n), &tx, &Note::Begun { branches: n as usize });
        }
        let events = histories.of(&tx);
        assert_eq!(events.len(), MAX_EVENTS_PER_TRANSACTION);
        assert_eq!((events[0].at_us, events[MAX_EVENTS_PER_TRANSACTION - 1].at_us), (0, 999));
    }

    #[test]
    fn retries_in_a_row_are_counted() {
        let mut histories = Histories::new();
        let tx: TxId = "t".parse().unwrap();
        histories.restore(tx.clone(), Vec::new());
        (1..=3).for_each(|attempt| histories.note(Timestamp(1), &tx, &Note::Retried { attempt }));
        assert_eq!(histories.of(&tx).len(), 1);
        assert_eq!(histories.of(&tx)[0].count, 3);
    }

    #[test]
    fn of_what_has_ended_nothing_is_kept() {
        let mut histories = Histories::new();
        let tx: TxId = "t".parse().unwrap();
        histories.note(Timestamp(1), &tx, &Note::Inquired { from: "bank".parse().unwrap() });
        assert!(!histories.holds(&tx));
    }
}
