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

/// The number of requests of which one is cut off in each way, while connections are lost.
const CUT_OF: u64 = 40;

/// The longest time for which a session that its client has lost goes on.
const MAX_LATE_MS: u64 = 1_500;

/// The fate of a session's connection when it has a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::world) enum Cut {
    None,
    /// The request is lost, and the session ends.
    Before,
    /// The answer is lost, and the session ends.
    After,
    /// The client is gone, and the session goes on with what it was sent, this much later.
    Late {
        by_ms: u64,
    },
}

/// The number of requests of which one meets each kind of trouble, while a service is troubled.
const TROUBLES_OF: u64 = 20;

/// The longest time for which a troubled service keeps a request waiting: longer than callers wait.
const MAX_SLOW_MS: u64 = 2_500;

/// The way in which a troubled service treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::world) enum Trouble {
    None,
    /// It lets it wait before it does anything.
    Slow {
        by_ms: u64,
    },
    /// It does it, and lets the answer wait.
    SlowToAnswer {
        by_ms: u64,
    },
    /// The connection breaks, and nothing is done.
    Deaf,
    /// It is done, and the connection breaks.
    Mute,
    /// It is done, and the connection breaks amid the answer.
    HalfAnswer,
    /// Nothing is done, and it answers with this status; it may say that it is to be asked again at once.
    Says {
        status: u16,
        retry: bool,
    },
    /// The same, but it is done.
    SaysAfter {
        status: u16,
        retry: bool,
    },
    /// It refuses what it has not done yet, for good.
    Refuses,
}

#[derive(Debug)]
pub(super) struct Elsewhere {
    troubles: SeededRandom,
    unclear: SeededRandom,
    cuts: SeededRandom,
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
        Elsewhere {
            unclear: random(seed, "unclear answers"),
            cuts: random(seed, "cut sessions"),
            troubles: random(seed, "troubled services"),
            hands: Mutex::default(),
        }
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

    /// Returns what becomes of a session of this participant's database that has a request.
    pub(in crate::world) fn cut(&self, participant: Host) -> Cut {
        if !self.temper(participant).cuts_sessions {
            return Cut::None;
        }
        match self.elsewhere.cuts.below(CUT_OF) {
            0 => Cut::Before,
            1 => Cut::After,
            2 => Cut::Late { by_ms: self.elsewhere.cuts.below(MAX_LATE_MS) },
            3.. => Cut::None,
        }
    }

    /// Returns how a request is treated by the service of this participant.
    pub(in crate::world) fn trouble(&self, participant: Host) -> Trouble {
        if !self.temper(participant).troubles_service {
            return Trouble::None;
        }
        let dice = &self.elsewhere.troubles;
        let (by_ms, retry) = (dice.below(MAX_SLOW_MS), dice.below(2) == 0);
        match dice.below(TROUBLES_OF) {
            0 => Trouble::Slow { by_ms },
            1 => Trouble::SlowToAnswer { by_ms },
            2 => Trouble::Deaf,
            3 | 4 => Trouble::Mute,
            5 => Trouble::HalfAnswer,
            6 => Trouble::Says { status: 500, retry },
            7 => Trouble::SaysAfter { status: 500, retry },
            8 => Trouble::Says { status: 503, retry },
            9 => Trouble::Says { status: 429, retry },
            10 => Trouble::Says { status: 425, retry },
            11 => Trouble::SaysAfter { status: 425, retry },
            12 => Trouble::Refuses,
            13.. => Trouble::None,
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
