//! Circuit breakers: participants that let two-phase commits run into their deadlines are spared auto's choice for a
//! while. A convenience, never a rule: it steers which way a transaction goes, not whether that way is safe.
//!
//! ```text
//! Closed ── threshold reached ──▶ Open ── pause over, a transaction goes ──▶ Probing
//!   ▲                              ▲                                            │ │
//!   │                              └──────────────── silence ───────────────────┘ │
//!   └──────────────────────────── any answer ─────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_vocabulary::{AttemptNumber, ParticipantName, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Breakers {
    threshold: u32,
    pause: Duration,
    /// The breakers of participants, but for those that have answered last.
    known: BTreeMap<ParticipantName, Breaker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Breaker {
    Closed { silences: u32 },
    Open { until: Timestamp },
    Probing { by: AttemptNumber },
}

impl Breakers {
    /// Returns breakers, which a threshold of 0 never opens.
    pub(crate) fn new(threshold: u32, pause: Duration) -> Breakers {
        Breakers { threshold, pause, known: BTreeMap::new() }
    }

    pub(crate) fn is_open(&self, participant: &ParticipantName, now: Timestamp) -> bool {
        match self.known.get(participant) {
            Some(Breaker::Open { until }) => !self.is_over(*until, now),
            Some(Breaker::Probing { .. }) => true,
            Some(Breaker::Closed { .. }) | None => false,
        }
    }

    /// Returns true if the pause is over, also where the clock was set back: a pause is not longer than it is.
    fn is_over(&self, until: Timestamp, now: Timestamp) -> bool {
        until <= now || until.since(now) > self.pause
    }

    /// Notes that this attempt goes by two-phase commit. Where the pause is over it is the probe.
    pub(crate) fn pass(&mut self, participant: &ParticipantName, by: AttemptNumber, now: Timestamp) {
        match self.known.get(participant) {
            Some(Breaker::Open { until }) if self.is_over(*until, now) => {
                self.known.insert(participant.clone(), Breaker::Probing { by });
            }
            Some(Breaker::Open { .. } | Breaker::Closed { .. } | Breaker::Probing { .. }) | None => {}
        }
    }

    pub(crate) fn answered(&mut self, participant: &ParticipantName) {
        self.known.remove(participant);
    }

    pub(crate) fn silent(&mut self, participant: &ParticipantName, now: Timestamp) {
        if self.threshold == 0 {
            return;
        }
        let opened = Breaker::Open { until: now.plus(self.pause) };
        let breaker = self.known.entry(participant.clone()).or_insert(Breaker::Closed { silences: 0 });
        *breaker = match *breaker {
            Breaker::Closed { silences } if silences + 1 < self.threshold => Breaker::Closed { silences: silences + 1 },
            Breaker::Closed { .. } | Breaker::Open { .. } | Breaker::Probing { .. } => opened,
        };
    }

    /// Notes that the attempt is over. A probe that learned nothing, because others ended it, leaves the place to the
    /// next.
    pub(crate) fn over(&mut self, by: AttemptNumber, now: Timestamp) {
        for breaker in self.known.values_mut().filter(|breaker| **breaker == Breaker::Probing { by }) {
            *breaker = Breaker::Open { until: now };
        }
    }
}
