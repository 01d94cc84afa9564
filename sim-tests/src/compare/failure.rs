//! The failures under which modes are compared.

use crate::plan::{Fault, Host, Mode, Plan, Shape, What, When};

/// The time that an outage lasts.
pub const OUTAGE_MS: u64 = 4_000;

/// The time at which those begin that wait for no point.
const BEGINS_AT_MS: u64 = 2_500;

/// One kind of failure.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    pub name: &'static str,
    what: fn() -> Option<What>,
    /// The point at which it strikes: the point of two-phase commit, and its like in a saga.
    at: Option<(Host, &'static str, &'static str)>,
}

const P1: Host = Host::Participant(1);

fn partition() -> Option<What> {
    Some(What::Partition { from: Host::Coordinator, to: P1, one_way: false, for_ms: OUTAGE_MS })
}

pub const FAILURES: [Failure; 8] = [
    Failure { name: "none: others read and write meanwhile", what: || None, at: None },
    Failure {
        name: "coordinator dies after votes, for a while",
        what: || Some(What::Crash { host: Host::Coordinator, power: false, down_ms: OUTAGE_MS }),
        at: Some((Host::Coordinator, "before-append-committed", "before-append-stepped")),
    },
    Failure {
        name: "coordinator dies after votes, for good",
        what: || Some(What::Gone { host: Host::Coordinator }),
        at: Some((Host::Coordinator, "before-append-committed", "before-append-stepped")),
    },
    Failure {
        name: "participant dies while prepared",
        what: || Some(What::Crash { host: P1, power: false, down_ms: OUTAGE_MS }),
        at: Some((P1, "after-send-vote", "after-send-acted")),
    },
    Failure {
        name: "partition before the votes",
        what: partition,
        at: Some((Host::Coordinator, "before-send-prepare", "before-send-act")),
    },
    Failure {
        name: "partition after the votes",
        what: partition,
        at: Some((Host::Coordinator, "before-append-committed", "before-append-stepped")),
    },
    Failure {
        name: "slow participant",
        what: || Some(What::SlowDisk { host: P1, sync_ms: 400, for_ms: OUTAGE_MS }),
        at: None,
    },
    Failure {
        name: "compensation fails",
        what: || Some(What::CompensationsRefused { participant: 1, for_ms: OUTAGE_MS }),
        at: None,
    },
];

impl Failure {
    /// The same work in another mode, for the same seed.
    pub fn plan(&self, mode: Mode, seed: u64) -> Plan {
        let shape = Shape {
            participants: 3,
            clients: 4,
            transactions_per_client: 60,
            keys: 4,
            timeout_ms: 1_500,
            think_ms: 120,
            latency_ms: (1, 10),
            heal_at_ms: 9_000,
            only: Some(mode),
            ..Shape::default()
        };
        let when = match self.at {
            None => When::At { ms: BEGINS_AT_MS },
            Some((host, two_phase, saga)) => {
                let point = match mode {
                    Mode::TwoPhase | Mode::OpenTwoPhase | Mode::Auto => two_phase,
                    Mode::Saga | Mode::GuardedSaga | Mode::OpenSaga => saga,
                };
                let count = 12 + u32::try_from(seed % 16).unwrap_or_default();
                When::Point { host, point: point.to_owned(), count, during: None }
            }
        };
        let faults = (self.what)().map(|what| Fault { when, what }).into_iter().collect();
        Plan { seed, shape, faults, mutant: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::MODES;

    #[test]
    fn the_plan_of_every_failure_is_sound_in_every_mode() {
        for plan in FAILURES.iter().flat_map(|failure| MODES.map(|mode| failure.plan(mode, 1))) {
            assert_eq!(plan.clone().sound(), Ok(plan));
        }
    }
}
