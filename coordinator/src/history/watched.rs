//! The latest events of all transactions, for those who watch them.
//!
//! Every event has a number, which counts from the coordinator's start. While somebody watches, and for a while after the
//! last one has left, the latest events are kept, so that a watch whose connection broke goes on where it was. What has left
//! memory by then is told as lost.

use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast;
use undoubt_proto::v1::HistoryEvent;
use undoubt_vocabulary::{Epoch, Timestamp, TxId};

/// Events that are kept for watches that go on, and the bytes that their texts take.
pub(crate) const MAX_EVENTS_KEPT: usize = 16_384;
pub(crate) const MAX_BYTES_KEPT: usize = 8 << 20;

/// The time for which events are kept after the last watcher has left.
const KEPT_FOR_US: u64 = 60_000_000;

/// Events a watcher may be behind before it has to go on from those that are kept.
pub(crate) const MAX_EVENTS_QUEUED_PER_WATCHER: usize = 4_096;

/// About what an event takes besides its texts.
const EVENT_BYTES: usize = 192;

/// What watchers are told.
#[derive(Debug)]
pub(crate) struct Told {
    /// The number of the event; of an end, the number of the last event before it.
    pub(crate) number: u64,
    pub(crate) tx: TxId,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Event(HistoryEvent),
    /// Nothing more will happen to the transaction.
    Over,
}

/// The place of a watch: the events up to this number have been told, counted from the coordinator's start with this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    pub(crate) number: u64,
}

/// A watch that has begun, or goes on.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The place where it begins.
    pub(crate) from: Position,
    /// Events between the place that was asked for and `from`: they are kept no more.
    pub(crate) lost: u64,
    /// The coordinator has been started since, and how many events were lost with its memory is not known.
    pub(crate) restarted: bool,
    /// What happened since `from`.
    pub(crate) kept: VecDeque<Arc<Told>>,
    pub(crate) live: broadcast::Receiver<Arc<Told>>,
}

#[derive(Debug)]
pub(super) struct Watchers {
    epoch: Epoch,
    /// The number of the latest event.
    number: u64,
    kept: VecDeque<Arc<Told>>,
    kept_bytes: usize,
    keep_until: Timestamp,
    live: broadcast::Sender<Arc<Told>>,
}

impl Watchers {
    pub(super) fn new(epoch: Epoch) -> Watchers {
        Watchers {
            epoch,
            number: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            keep_until: Timestamp(0),
            live: broadcast::channel(MAX_EVENTS_QUEUED_PER_WATCHER).0,
        }
    }

    /// Begins a watch from now on, or goes on with one.
    pub(super) fn watch(&self, after: Option<Position>) -> Watch {
        let now = Position { epoch: self.epoch, number: self.number };
        let is_of_this_start = after.is_some_and(|after| after.epoch == self.epoch && after.number <= self.number);
        let wanted = match after {
            None => self.number,
            Some(after) if is_of_this_start => after.number,
            Some(_) => 0,
        };
        let events = |told: &&Arc<Told>| matches!(told.what, What::Event(_));
        let oldest = self.kept.iter().find(events).map_or(self.number + 1, |told| told.number);
        let number = wanted.max(oldest - 1);
        Watch {
            from: Position { number, ..now },
            lost: number - wanted,
            restarted: after.is_some() && !is_of_this_start,
            kept: self.kept.iter().filter(|told| told.number > number).cloned().collect(),
            live: self.live.subscribe(),
        }
    }

    /// Counts an event, and tells it if somebody watches or may go on with a watch.
    pub(super) fn tell(&mut self, at: Timestamp, tx: &TxId, event: impl FnOnce() -> HistoryEvent) {
        self.number += 1;
        if self.is_wanted(at) {
            self.send(Told { number: self.number, tx: tx.clone(), what: What::Event(event()) });
        }
    }

    pub(super) fn tell_end(&mut self, tx: &TxId) {
        if !self.kept.is_empty() || self.live.receiver_count() > 0 {
            self.send(Told { number: self.number, tx: tx.clone(), what: What::Over });
        }
    }

    fn is_wanted(&mut self, at: Timestamp) -> bool {
        if self.live.receiver_count() > 0 {
            self.keep_until = Timestamp(at.0.saturating_add(KEPT_FOR_US));
            return true;
        }
        let is_kept = at <= self.keep_until;
        if !is_kept && !self.kept.is_empty() {
            (self.kept, self.kept_bytes) = (VecDeque::new(), 0);
        }
        is_kept
    }

    fn send(&mut self, told: Told) {
        let told = Arc::new(told);
        self.kept_bytes += bytes(&told);
        self.kept.push_back(told.clone());
        while self.kept.len() > MAX_EVENTS_KEPT || self.kept_bytes > MAX_BYTES_KEPT {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= bytes(&oldest);
        }
        // Nobody listening at this moment is no reason to stop.
        let _ = self.live.send(told);
    }
}

fn bytes(told: &Told) -> usize {
    match &told.what {
        What::Event(event) => EVENT_BYTES + event.detail.len(),
        What::Over => EVENT_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tx() -> TxId {
        "t".parse().unwrap()
    }

    fn happen(watchers: &mut Watchers, at_s: u64, detail: &str) {
        let event = || HistoryEvent { detail: detail.to_owned(), ..HistoryEvent::default() };
        watchers.tell(Timestamp(at_s * 1_000_000), &tx(), event);
    }

    fn numbers(watch: &Watch) -> Vec<u64> {
        watch.kept.iter().map(|told| told.number).collect()
    }

    #[test]
    fn a_watch_that_broke_goes_on_with_the_next_event_within_a_minute_and_later_says_how_many_are_lost() {
        let mut watchers = Watchers::new(Epoch(3));
        (0..5).for_each(|_| happen(&mut watchers, 1, ""));
        let watch = watchers.watch(None);
        assert_eq!((watch.from.number, watch.lost, watch.kept.len()), (5, 0, 0));
        happen(&mut watchers, 2, "");
        drop(watch);
        happen(&mut watchers, 61, "");
        let on = watchers.watch(Some(Position { epoch: Epoch(3), number: 6 }));
        assert_eq!((numbers(&on), on.lost, on.restarted), (vec![7], 0, false));
        drop(on);
        happen(&mut watchers, 200, "");
        let late = watchers.watch(Some(Position { epoch: Epoch(3), number: 6 }));
        assert_eq!((late.from.number, late.lost, late.kept.len()), (8, 2, 0));
    }

    #[test]
    fn a_watch_of_an_earlier_start_is_told_that_events_are_lost_and_gets_what_is_kept() {
        let mut watchers = Watchers::new(Epoch(4));
        let _somebody = watchers.watch(None);
        (0..3).for_each(|_| happen(&mut watchers, 1, ""));
        let on = watchers.watch(Some(Position { epoch: Epoch(3), number: 100 }));
        assert_eq!((numbers(&on), on.lost, on.restarted), (vec![1, 2, 3], 0, true));
        let ahead = watchers.watch(Some(Position { epoch: Epoch(4), number: 100 }));
        assert!(ahead.restarted, "no such event has happened");
    }

    #[test]
    fn what_is_kept_takes_bounded_room_and_what_left_it_counts_as_lost() {
        let mut watchers = Watchers::new(Epoch(1));
        let watch = watchers.watch(None);
        let many = MAX_EVENTS_KEPT as u64 + 10;
        (0..many).for_each(|_| happen(&mut watchers, 1, ""));
        let on = watchers.watch(Some(watch.from));
        assert_eq!((on.kept.len(), on.lost), (MAX_EVENTS_KEPT, 10));
        (0..100).for_each(|_| happen(&mut watchers, 1, &"x".repeat(1 << 20)));
        assert!(watchers.kept_bytes <= MAX_BYTES_KEPT && watchers.kept.len() < 9);
        let on = watchers.watch(Some(watch.from));
        assert_eq!(on.lost + on.kept.len() as u64, many + 100);
    }
}
