//! Open sagas. They are drawn from a stream of their own, so that the rest of a seed's plan is the same with them and without them.

use super::Dice;
use crate::plan::{Fault, Host, Plan, When};
use crate::random::random;
use undoubt_coordinator::OPEN_SAGA_POINTS as OF_COORDINATOR;
use undoubt_participant::OPEN_SAGA_POINTS as OF_PARTICIPANT;

/// The share of worlds that have some, in percent.
const SOME: u64 = 40;

/// The share of crashes at points that only open sagas reach, where there are many.
const AT_THEIR_POINTS: u64 = 70;

/// The most of these in one world.
const MAX_CRASHES: u64 = 3;

pub(super) fn with_some(mut plan: Plan) -> Plan {
    let dice = dice(plan.seed);
    if dice.chance(SOME) && plan.shape.max_gathered_bytes.is_none() {
        plan.shape.open_sagas_percent = dice.small(5, 30);
        plan.shape.nested_sagas_percent = dice.small(0, 50);
    }
    plan
}

/// Has many, whatever the seed says of it.
pub(super) fn with_many(mut plan: Plan) -> Plan {
    let dice = dice(plan.seed);
    plan.shape.open_sagas_percent = dice.small(30, 60);
    plan.shape.sagas_percent = plan.shape.sagas_percent.min(20);
    if dice.chance(AT_THEIR_POINTS) {
        for _ in 0..dice.between(1, MAX_CRASHES) {
            let (host, point) = match dice.chance(60) {
                true => (Host::Coordinator, *dice.pick(OF_COORDINATOR)),
                false => (Host::Participant(dice.number(&plan.shape)), *dice.pick(OF_PARTICIPANT)),
            };
            let count = u32::from(dice.small(1, 12));
            let when = When::Point { host, point: point.to_owned(), count, during: None };
            plan.faults.push(Fault { when, what: dice.crash(host) });
        }
    }
    plan.shape.nested_sagas_percent = dice.small(20, 70);
    plan
}

fn dice(seed: u64) -> Dice {
    Dice(random(seed, "plan of open sagas"))
}
