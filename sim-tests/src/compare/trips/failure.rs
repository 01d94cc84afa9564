//! The failures under which trips are compared.

use super::{LIMIT_MS, Way};
use crate::compare::OUTAGE_MS;
use crate::plan::{Fault, Host, Plan, What, When};

/// The time at which they begin.
const BEGINS_AT_MS: u64 = 2_500;

/// One kind of failure, by way and number of steps.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub name: &'static str,
    what: fn(Way, u8) -> Option<What>,
}

const P1: Host = Host::Participant(1);
const P2: Host = Host::Participant(2);

fn dies(host: Host) -> Option<What> {
    Some(What::Crash { host, power: false, down_ms: OUTAGE_MS })
}

fn cut(from: Host, to: Host) -> Option<What> {
    Some(What::Partition { from, to, one_way: false, for_ms: OUTAGE_MS })
}

pub const FAILURES: [Failure; 10] = [
    Failure { name: "none", what: |_, _| None },
    Failure { name: "the first participant dies, for a while", what: |_, _| dies(P1) },
    Failure { name: "the second participant dies, for a while", what: |_, _| dies(P2) },
    Failure { name: "the second participant dies, for good", what: |_, _| Some(What::Gone { host: P2 }) },
    Failure { name: "the coordinator dies, for a while", what: |_, _| dies(Host::Coordinator) },
    Failure { name: "partition between two participants", what: |_, _| cut(P1, P2) },
    Failure { name: "partition between the coordinator and a participant", what: |_, _| cut(Host::Coordinator, P2) },
    Failure {
        name: "the last step is refused",
        what: |way, steps| {
            Some(match way {
                Way::Orchestrated => What::ActionsRefused { participant: steps, for_ms: OUTAGE_MS },
                Way::Chain | Way::Broadcast => What::ReactionsRefused { participant: steps, for_ms: OUTAGE_MS },
            })
        },
    },
    Failure {
        name: "a slow participant",
        what: |_, _| Some(What::SlowDisk { host: P2, sync_ms: 400, for_ms: OUTAGE_MS }),
    },
    Failure {
        name: "the clock of whoever minds time limits jumps over them",
        what: |way, _| {
            let host = match way {
                Way::Orchestrated => Host::Coordinator,
                Way::Chain | Way::Broadcast => P1,
            };
            Some(What::Clock { host, by_ms: LIMIT_MS.cast_signed() })
        },
    },
];

impl Failure {
    /// The same trips in another way, for the same seed.
    pub fn plan(&self, way: Way, steps: u8, seed: u64) -> Plan {
        let fault = |what| Fault { when: When::At { ms: BEGINS_AT_MS + seed % 16 * 7 }, what };
        let faults = (self.what)(way, steps).map(fault).into_iter().collect();
        Plan { seed, shape: way.shape(steps), faults, mutant: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::trips::{STEPS, WAYS};

    #[test]
    fn the_plan_of_every_failure_is_sound_in_every_way_and_of_every_length() {
        for (failure, way) in FAILURES.iter().flat_map(|failure| WAYS.map(|way| (failure, way))) {
            for plan in STEPS.map(|steps| failure.plan(way, steps, 1)) {
                assert_eq!(plan.clone().sound(), Ok(plan));
            }
        }
    }
}
