//! What happened to each open transaction, and telling it to whoever watches.
//!
//! Each record of a transaction holds its history so far. So a history is kept as it is stored, and each event is put into
//! that form once.

pub(crate) mod watched;

use crate::log::stored_history::{self, Line, StoredHistory};
use std::collections::{BTreeMap, VecDeque};
use undoubt_coordinator_core::Note;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::{DigestMap, Epoch, EventKind, ParticipantName, Timestamp, TxId};
use watched::Watchers;
pub(crate) use watched::{Position, Told, Watch, What};

/// Beyond this many the middle is not kept: the beginning and the end tell what happened.
pub(crate) const MAX_EVENTS_PER_TRANSACTION: usize = 256;

#[derive(Debug)]
pub(crate) struct Histories {
    /// Boxed, so that the map moves little as it changes.
    open: DigestMap<TxId, Box<History>>,
    earlier: Earlier,
    /// Where the last one was found: what comes next is mostly about the same transaction.
    last_place: usize,
    watchers: Watchers,
}

/// The events that participants told of attempts that left nothing here, under ids of which nothing is open. Such an
/// attempt was lost with a coordinator that crashed before its decision; often it is heard of just before the id is
/// submitted again. In memory only, and bounded: the oldest goes first.
#[derive(Debug, Default)]
struct Earlier {
    heard: BTreeMap<TxId, Vec<HistoryEvent>>,
    /// As they were heard of first.
    order: VecDeque<TxId>,
}

/// Ids of which it is remembered what was heard of earlier attempts.
const MAX_EARLIER_TRANSACTIONS: usize = 4_096;

const MAX_EARLIER_EVENTS_PER_TRANSACTION: usize = 16;

/// What happened to one transaction.
#[derive(Debug, Default)]
struct History {
    stored: StoredHistory,
    events: usize,
    /// The last event, which counts up when it comes again.
    last: Option<(Note, u32)>,
}

impl Histories {
    pub(crate) fn new(epoch: Epoch) -> Histories {
        Histories { open: DigestMap::new(), earlier: Earlier::default(), last_place: 0, watchers: Watchers::new(epoch) }
    }

    /// Begins a watch of all events from now on, or goes on with one.
    pub(crate) fn watch(&self, after: Option<Position>) -> Watch {
        self.watchers.watch(after)
    }

    pub(crate) fn restore(&mut self, tx: TxId, events: &[HistoryEvent]) {
        self.open.insert(tx, Box::new(History::of(events)));
    }

    pub(crate) fn holds(&self, tx: &TxId) -> bool {
        self.open.contains_key(tx)
    }

    /// Gives the note back if nothing is held of the transaction, and it does not begin with it.
    pub(crate) fn note(&mut self, at: Timestamp, tx: &TxId, note: Note) -> Result<(), Note> {
        self.watchers.tell(at, tx, || event_of(at, &note));
        let history =
            if matches!(note, Note::Begun { .. } | Note::SagaBegun { .. } | Note::Opened | Note::Chosen { .. }) {
                let earlier = &mut self.earlier;
                self.open.get_or_insert_with(tx.clone(), || Box::new(History::begun(earlier.take(tx))))
            } else if let Some(history) = self.find(tx) {
                history
            } else if matches!(note, Note::Earlier { .. }) {
                self.earlier.remember(tx, event_of(at, &note));
                return Ok(());
            } else {
                return Err(note);
            };
        history.note(at, note);
        Ok(())
    }

    /// Returns what was heard of earlier attempts under this id since it ended.
    pub(crate) fn heard_since_its_end(&self, tx: &TxId) -> Vec<HistoryEvent> {
        self.earlier.heard.get(tx).cloned().unwrap_or_default()
    }

    /// One that has ended goes on with a note that was given back.
    pub(crate) fn reopen(&mut self, at: Timestamp, tx: TxId, events: &[HistoryEvent], note: Note) {
        let mut history = Box::new(History::of(events));
        history.note(at, note);
        self.open.insert(tx, history);
    }

    fn find(&mut self, tx: &TxId) -> Option<&mut Box<History>> {
        let is_there = self.open.at_mut(self.last_place).is_some_and(|(last, _)| last == tx);
        if !is_there {
            self.last_place = self.open.place(tx)?;
        }
        self.open.at_mut(self.last_place).map(|(_, history)| history)
    }

    /// Adds what the core knows nothing of: an operator's doing.
    pub(crate) fn add(&mut self, at: Timestamp, tx: &TxId, detail: String) {
        if let Some(history) = self.find(tx) {
            history.put(Line { at, kind: EventKind::Operator, participant: None, detail: &detail, count: 1 });
            history.last = None;
        }
        self.watchers.tell(at, tx, || by_operator(at, detail));
    }

    /// As it is stored.
    pub(crate) fn stored(&mut self, tx: &TxId) -> &[u8] {
        self.find(tx).map_or(&[], |history| history.stored.as_bytes())
    }

    pub(crate) fn of(&self, tx: &TxId) -> Vec<HistoryEvent> {
        self.open.get(tx).map_or_else(Vec::new, |history| read(history.stored.as_bytes()))
    }

    pub(crate) fn forget(&mut self, tx: &TxId) {
        self.open.remove(tx);
        self.watchers.tell_end(tx);
    }
}

impl Earlier {
    fn remember(&mut self, tx: &TxId, event: HistoryEvent) {
        let heard = self.heard.entry(tx.clone()).or_insert_with(|| {
            self.order.push_back(tx.clone());
            Vec::new()
        });
        let known = |other: &HistoryEvent| (&other.participant, &other.detail) == (&event.participant, &event.detail);
        if heard.len() < MAX_EARLIER_EVENTS_PER_TRANSACTION && !heard.iter().any(known) {
            heard.push(event);
        }
        if self.order.len() > MAX_EARLIER_TRANSACTIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.heard.remove(&oldest);
        }
    }

    fn take(&mut self, tx: &TxId) -> Vec<HistoryEvent> {
        if self.heard.is_empty() { Vec::new() } else { self.heard.remove(tx).unwrap_or_default() }
    }
}

impl History {
    fn begun(earlier: Vec<HistoryEvent>) -> History {
        let mut history = History { stored: StoredHistory::begun(), events: earlier.len(), last: None };
        earlier.iter().for_each(|event| history.stored.add(event));
        history
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
            kind: note.kind(),
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

/// What others are told of an operator's doing.
pub(crate) fn by_operator(at: Timestamp, detail: String) -> HistoryEvent {
    HistoryEvent { at_us: at.0, kind: EventKind::Operator.number(), participant: String::new(), detail, count: 1 }
}

/// What a note says, as others are told.
fn event_of(at: Timestamp, note: &Note) -> HistoryEvent {
    HistoryEvent {
        at_us: at.0,
        kind: note.kind().number(),
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
        let mut histories = Histories::new(Epoch(1));
        for n in 0..1_000 {
            histories.note(Timestamp(n), &tx(), Note::Begun { branches: n as usize }).unwrap();
        }
        let events = histories.of(&tx());
        assert_eq!(events.len(), MAX_EVENTS_PER_TRANSACTION);
        assert_eq!((events[0].at_us, events[MAX_EVENTS_PER_TRANSACTION - 1].at_us), (0, 999));
    }

    #[test]
    fn retries_in_a_row_are_counted() {
        let mut histories = Histories::new(Epoch(1));
        histories.restore(tx(), &[]);
        (1..=3).for_each(|attempt| histories.note(Timestamp(1), &tx(), Note::Retried { attempt }).unwrap());
        let events = histories.of(&tx());
        assert_eq!((events.len(), events[0].count), (1, 3));
        histories.note(Timestamp(2), &tx(), Note::Inquired { from: "bank".parse().unwrap() }).unwrap();
        histories.note(Timestamp(3), &tx(), Note::Retried { attempt: 4 }).unwrap();
        assert_eq!(histories.of(&tx()).iter().map(|event| event.count).collect::<Vec<_>>(), [3, 1, 1]);
    }

    #[test]
    fn a_note_is_stored_as_the_event_that_watchers_hear() {
        let note = Note::Inquired { from: "bank".parse().unwrap() };
        let mut histories = Histories::new(Epoch(1));
        histories.restore(tx(), &[]);
        histories.note(Timestamp(7), &tx(), note.clone()).unwrap();
        assert_eq!(histories.of(&tx()), [event_of(Timestamp(7), &note)]);
    }

    #[test]
    fn of_what_has_ended_nothing_is_kept_unless_it_is_opened_again() {
        let mut histories = Histories::new(Epoch(1));
        let note = Note::Inquired { from: "bank".parse().unwrap() };
        assert_eq!(histories.note(Timestamp(1), &tx(), note.clone()), Err(note.clone()));
        assert!(!histories.holds(&tx()));
        histories.reopen(Timestamp(7), tx(), &[event_of(Timestamp(3), &note)], note.clone());
        assert_eq!(histories.of(&tx()), [3, 7].map(|at| event_of(Timestamp(at), &note)));
    }

    fn earlier(number: u64) -> Note {
        Note::Earlier {
            from: "bank".parse().unwrap(),
            attempt_number: undoubt_vocabulary::AttemptNumber(number),
            message: "inquiry",
        }
    }

    #[test]
    fn what_is_heard_of_an_attempt_that_was_lost_is_told_by_the_next_one_and_by_one_that_has_ended() {
        let mut histories = Histories::new(Epoch(1));
        for again in 1..=3 {
            histories.note(Timestamp(again), &tx(), earlier(7)).unwrap();
        }
        assert_eq!(histories.heard_since_its_end(&tx()), [event_of(Timestamp(1), &earlier(7))], "told once");
        let begun = Note::Begun { branches: 2 };
        histories.note(Timestamp(4), &tx(), begun.clone()).unwrap();
        histories.note(Timestamp(5), &tx(), earlier(8)).unwrap();
        let told = [(1, earlier(7)), (4, begun), (5, earlier(8))].map(|(at, note)| event_of(Timestamp(at), &note));
        assert_eq!(histories.of(&tx()), told);
        assert_eq!(histories.heard_since_its_end(&tx()), []);
    }

    #[test]
    fn what_is_heard_of_lost_attempts_takes_bounded_room() {
        let mut histories = Histories::new(Epoch(1));
        let tx = |number: usize| -> TxId { format!("t{number}").parse().unwrap() };
        for number in 0..2 * MAX_EARLIER_TRANSACTIONS {
            (0..20)
                .for_each(|attempt_number| histories.note(Timestamp(1), &tx(number), earlier(attempt_number)).unwrap());
        }
        assert_eq!(histories.earlier.heard.len(), MAX_EARLIER_TRANSACTIONS);
        assert_eq!(histories.earlier.order.len(), MAX_EARLIER_TRANSACTIONS);
        let newest = histories.heard_since_its_end(&tx(2 * MAX_EARLIER_TRANSACTIONS - 1));
        assert_eq!(newest.len(), MAX_EARLIER_EVENTS_PER_TRANSACTION);
    }

    #[test]
    fn notes_about_many_at_once_each_find_their_own() {
        let tx = |number: usize| -> TxId { format!("t{number}").parse().unwrap() };
        let asked_by = |number: usize| Note::Inquired { from: format!("p{number}").parse().unwrap() };
        let mut histories = Histories::new(Epoch(1));
        let begin = |histories: &mut Histories, number| {
            histories.note(Timestamp(0), &tx(number), Note::Begun { branches: number }).unwrap();
        };
        (0..9).for_each(|number| begin(&mut histories, number));
        for step in 0..100_usize {
            let (again, told) = (step % 9, step * 7 % 9);
            histories.forget(&tx(again));
            begin(&mut histories, again);
            histories.note(Timestamp(1), &tx(told), asked_by(told)).unwrap();
            for number in 0..9 {
                let stored = read(histories.stored(&tx(number)));
                assert_eq!(stored, histories.of(&tx(number)));
                let own = [Note::Begun { branches: number }, asked_by(number)].map(|note| note.to_string());
                assert!(stored.iter().all(|event| own.contains(&event.detail)), "{number} after step {step}");
            }
        }
    }
}
