//! What is shown of a subscription: no more than is on stable storage, so that whoever goes by it is not deceived by a crash.

use super::view::{ShownGivenUp, ShownParked, View};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_stream::inbox::Watermark;
use undoubt_stream::parked::{Change, GivenUp, Parked};
use undoubt_vocabulary::{ParticipantName, SubscriptionName, Timestamp};

/// Given up events that are shown of one subscription.
pub(super) const MAX_GIVEN_UP_SHOWN: usize = 1_000;

/// What a subscription has stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// How far it is with each source, and when the last event was published that it took.
    pub(super) reached: BTreeMap<ParticipantName, (Watermark, Option<Timestamp>)>,
    /// What is parked and given up, if that has changed.
    pub(super) parked: Option<(Vec<ShownParked>, ShownGivenUp)>,
}

/// What a subscription has queued and stored.
#[derive(Debug)]
pub(super) struct Showing {
    view: View,
    subscription: SubscriptionName,
    /// The numbers of the writes that were not answered.
    unanswered: BTreeSet<u64>,
    /// The changes since the ones that wait, and the last write that they need.
    latest: Stored,
    needs: u64,
    /// The changes that are shown once all writes up to this one are answered.
    waiting: Option<(u64, Stored)>,
    given_up: ShownGivenUp,
}

impl Showing {
    pub(super) fn new(view: View, subscription: SubscriptionName, given_up: ShownGivenUp) -> Showing {
        let (unanswered, latest) = (BTreeSet::new(), Stored::default());
        Showing { view, subscription, unanswered, latest, needs: 0, waiting: None, given_up }
    }

    pub(super) fn queued(&mut self, write: u64) {
        self.unanswered.insert(write);
    }

    pub(super) fn answered(&mut self, write: u64) {
        self.unanswered.remove(&write);
        self.show();
    }

    /// Notes how far it is with a source, as far as is queued. `last`: the last write that is.
    pub(super) fn reached(
        &mut self,
        from: &ParticipantName,
        through: Watermark,
        last_at: Option<Timestamp>,
        last: u64,
    ) {
        let before = self.latest.reached.get(from).and_then(|(_, last_at)| *last_at);
        self.latest.reached.insert(from.clone(), (through, last_at.or(before)));
        self.needs = self.needs.max(last);
        self.show();
    }

    /// Notes what is parked, as far as is queued.
    pub(super) fn parked(&mut self, parked: &Parked, last: u64) {
        let all = parked
            .keys()
            .flat_map(|(key, events)| events.iter().map(move |(turn, event)| (key.to_vec(), *turn, event.clone())));
        self.latest.parked = Some((all.collect(), self.given_up.clone()));
        self.needs = self.needs.max(last);
        self.show();
    }

    pub(super) fn gave_up(&mut self, change: &Change) {
        if let Change::GiveUp { key, turn, given_up: GivenUp { parked, .. } } = change {
            self.given_up.events.insert(0, (key.to_vec(), *turn, parked.clone()));
            if self.given_up.events.len() > MAX_GIVEN_UP_SHOWN {
                self.given_up.events.truncate(MAX_GIVEN_UP_SHOWN);
                self.given_up.more = true;
            }
        }
    }

    fn show(&mut self) {
        let is_stored = |upto: u64| self.unanswered.first().is_none_or(|first| *first > upto);
        if let Some((upto, _)) = &self.waiting {
            if !is_stored(*upto) {
                return;
            }
            if let Some((_, stored)) = self.waiting.take() {
                self.view.show(&self.subscription, stored);
            }
        }
        let latest = std::mem::take(&mut self.latest);
        if latest.reached.is_empty() && latest.parked.is_none() {
            return;
        }
        if is_stored(self.needs) {
            self.view.show(&self.subscription, latest);
        } else {
            self.waiting = Some((self.needs, latest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::{EventId, Incarnation, Position};

    fn at(position: u64) -> Watermark {
        EventId { incarnation: Incarnation([1; 16]), position: Position(position) }.into()
    }

    #[test]
    fn what_is_shown_is_on_stable_storage() {
        let (view, shop): (View, ParticipantName) = (View::default(), "shop".parse().unwrap());
        let reserve: SubscriptionName = "reserve".parse().unwrap();
        view.begins((reserve.clone(), shop.clone()), at(1));
        let through = || view.sources()[0].1.through.position().0;
        let mut showing = Showing::new(view.clone(), reserve, ShownGivenUp::default());
        showing.queued(1);
        showing.reached(&shop, at(2), None, 1);
        assert_eq!(through(), 1, "it is queued alone");
        showing.queued(2);
        showing.reached(&shop, at(3), None, 2);
        showing.answered(2);
        assert_eq!(through(), 1, "the one before it is not answered");
        showing.answered(1);
        assert_eq!(through(), 3);
        showing.queued(3);
        showing.reached(&shop, at(4), None, 3);
        showing.queued(4);
        showing.reached(&shop, at(5), None, 4);
        showing.answered(3);
        assert_eq!(through(), 4);
        showing.answered(4);
        assert_eq!(through(), 5);
        showing.reached(&shop, at(6), None, 4);
        assert_eq!(through(), 6, "nothing was to be written");
    }
}
