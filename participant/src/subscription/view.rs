//! How subscriptions stand, for operators and for figures.

use super::showing::Stored;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use undoubt_stream::inbox::Watermark;
use undoubt_stream::parked::{ParkedEvent, Turn};
use undoubt_vocabulary::{ParticipantName, Position, SubscriptionName, Timestamp};

/// A subscription, and the source that it reads.
pub(crate) type Name = (SubscriptionName, ParticipantName);

/// How a subscription stands with a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing was heard of the source since the start.
    #[default]
    Beginning,
    Reading,
    /// The source cannot be read, which is tried again.
    Away(String),
    /// An event is refused for now, and tried again; later ones wait.
    HeldUp(String),
    /// It waits for room among the parked events.
    Full(String),
    /// Nothing more is read until somebody has looked at it.
    Stopped(String),
}

impl Standing {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Standing::Beginning => "beginning",
            Standing::Reading => "reading",
            Standing::Away(_) => "away",
            Standing::HeldUp(_) => "held-up",
            Standing::Full(_) => "full",
            Standing::Stopped(_) => "stopped",
        }
    }

    pub(crate) fn why(&self) -> &str {
        match self {
            Standing::Beginning | Standing::Reading => "",
            Standing::Away(why) | Standing::HeldUp(why) | Standing::Full(why) | Standing::Stopped(why) => why,
        }
    }
}

/// What is shown of one subscription and one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) standing: Standing,
    pub(crate) through: Watermark,
    pub(crate) stable: Position,
    /// The time at which the last event that it took was published.
    pub(crate) last_at: Option<Timestamp>,
}

/// A parked event, with its key and its turn.
pub(crate) type ShownParked = (Vec<u8>, Turn, ParkedEvent);

/// What operators have given up of a subscription: the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShownGivenUp {
    pub(crate) events: Vec<ShownParked>,
    /// There are more.
    pub(crate) more: bool,
}

#[derive(Debug, Default)]
struct State {
    sources: BTreeMap<Name, Shown>,
    parked: BTreeMap<SubscriptionName, Vec<ShownParked>>,
    given_up: BTreeMap<SubscriptionName, ShownGivenUp>,
}

/// What is shown of all subscriptions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct View(Arc<Mutex<State>>);

impl View {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it is held")
    }

    pub(super) fn begins(&self, name: Name, through: Watermark) {
        self.state().sources.insert(name, Shown { through, ..Shown::default() });
    }

    pub(super) fn stands(&self, name: &Name, standing: Standing) {
        if let Some(shown) = self.state().sources.get_mut(name) {
            shown.standing = standing;
        }
    }

    /// Notes that a source was read, and where it ends.
    pub(super) fn reads(&self, name: &Name, stable: Position) {
        if let Some(shown) = self.state().sources.get_mut(name) {
            (shown.standing, shown.stable) = (Standing::Reading, stable);
        }
    }

    /// Shows how far a subscription is, and what it has parked and given up: all in one moment, so that whoever sees the first sees the rest.
    pub(super) fn show(&self, subscription: &SubscriptionName, stored: Stored) {
        let mut state = self.state();
        for (from, (through, last_at)) in stored.reached {
            if let Some(shown) = state.sources.get_mut(&(subscription.clone(), from)) {
                (shown.through, shown.last_at) = (through, last_at.or(shown.last_at));
            }
        }
        if let Some((parked, given_up)) = stored.parked {
            state.parked.insert(subscription.clone(), parked);
            state.given_up.insert(subscription.clone(), given_up);
        }
    }

    /// Returns all subscriptions, by name and source.
    pub(crate) fn sources(&self) -> Vec<(Name, Shown)> {
        self.state().sources.iter().map(|(name, shown)| (name.clone(), shown.clone())).collect()
    }

    /// Returns the parked events of a subscription.
    pub(crate) fn parked_of(&self, subscription: &SubscriptionName) -> Vec<ShownParked> {
        self.state().parked.get(subscription).cloned().unwrap_or_default()
    }

    /// Returns what operators have given up of a subscription.
    pub(crate) fn given_up_of(&self, subscription: &SubscriptionName) -> ShownGivenUp {
        self.state().given_up.get(subscription).cloned().unwrap_or_default()
    }

    /// Returns the number of parked events of a subscription.
    pub(crate) fn parked_count(&self, subscription: &SubscriptionName) -> usize {
        self.state().parked.get(subscription).map_or(0, Vec::len)
    }
}
