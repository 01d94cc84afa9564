//! The events of resources elsewhere, without their participants having told them.

use super::{Shared, lock};
use crate::plan::Host;
use crate::random::random;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use undoubt_platform::{Random as _, SeededRandom};

/// The number of calls of which one is done and one is not, while answers are lost; all others are clear.
const UNCLEAR_OF: u64 = 4;

/// The fate of a call, and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::world) enum Fate {
    Clear,
    /// It is done, and nobody hears.
    Done,
    NotDone,
}

#[derive(Debug)]
pub(super) struct Elsewhere {
    unclear: SeededRandom,
    hands: Mutex<BTreeMap<Host, OtherHands>>,
}

/// The orders to other hands in one resource.
#[derive(Debug, Default)]
struct OtherHands {
    /// `true` is commit.
    orders: VecDeque<bool>,
    /// There is something to do, or something to do it to.
    stirred: Arc<Notify>,
}

impl Elsewhere {
    pub(super) fn new(seed: u64) -> Elsewhere {
        Elsewhere { unclear: random(seed, "unclear answers"), hands: Mutex::default() }
    }
}

impl Shared {
    /// Returns what becomes of a call of the resource there.
    pub(in crate::world) fn fate(&self, host: Host) -> Fate {
        if !self.temper(host).is_unclear {
            return Fate::Clear;
        }
        match self.elsewhere.unclear.below(UNCLEAR_OF) {
            0 => Fate::NotDone,
            1 => Fate::Done,
            2.. => Fate::Clear,
        }
    }

    /// Orders somebody else to end a branch that is prepared there.
    pub(in crate::world) fn order_other_hand(&self, host: Host, commit: bool) {
        lock(&self.elsewhere.hands).entry(host).or_default().orders.push_back(commit);
        self.stirred(host).notify_one();
    }

    /// Returns the way in which a branch is to be ended there, if one is: `true` is commit.
    pub(in crate::world) fn next_other_hand(&self, host: Host) -> Option<bool> {
        if *self.healed.borrow() {
            return None;
        }
        lock(&self.elsewhere.hands).get_mut(&host)?.orders.pop_front()
    }

    /// Returns what is notified once other hands have something to do there, or something to do it to.
    pub(in crate::world) fn stirred(&self, host: Host) -> Arc<Notify> {
        lock(&self.elsewhere.hands).entry(host).or_default().stirred.clone()
    }
}
