//! Trouble in which no disk loses anything that was stable: nobody may be taken for an old copy in it.

use super::Dice;
use crate::plan::{Fault, Host, Plan, Shape, What};
use crate::random::random;
use undoubt_platform::Random as _;

/// Crashes of one run, at most.
const MAX_CRASHES: u64 = 12;

impl Plan {
    /// Crashes upon crashes, at every point, with power or without; and participants that are away when the coordinator starts.
    pub fn with_ordinary_crashes(seed: u64) -> Plan {
        let dice = Dice(random(seed, "plan of ordinary crashes"));
        let shape = dice.shape();
        let crashes = 4 + dice.0.below(MAX_CRASHES - 3);
        let mut faults: Vec<Fault> = (0..crashes).flat_map(|_| dice.ordinary(&shape)).collect();
        faults.extend((0..dice.0.below(3)).map(|_| dice.crash_in_recovery(&shape)));
        Plan { seed, shape, faults, mutant: None }
    }
}

impl Dice {
    fn ordinary(&self, shape: &Shape) -> Vec<Fault> {
        let host = self.server(shape);
        let what = match self.0.below(10) {
            0 => What::SyncFails { host },
            1 => What::Pause { host, for_ms: self.between(100, 3_000) },
            2 => What::ReadOnlyDisk { host, for_ms: self.between(200, 2_000) },
            _ => self.crash(host),
        };
        let when = if self.chance(60) { self.point_of(host) } else { self.soon(shape, what.clone()).when };
        let mut faults = vec![Fault { when: when.clone(), what }];
        if host == Host::Coordinator && self.chance(60) {
            faults.push(Fault { when, what: self.away(shape) });
        }
        faults
    }

    /// A participant that a coordinator does not reach when it starts.
    fn away(&self, shape: &Shape) -> What {
        let (host, for_ms) = (self.participant(shape), self.between(500, 5_000));
        if self.chance(50) {
            What::Crash { host, power: self.chance(50), down_ms: for_ms }
        } else {
            What::Partition { from: Host::Coordinator, to: host, one_way: self.chance(30), for_ms }
        }
    }
}
