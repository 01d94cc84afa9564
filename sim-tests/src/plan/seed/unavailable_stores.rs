//! Stores that cannot be written for a while. They are drawn from a stream of their own, so that the rest of a seed's plan is the
//! same with them and without them.

use super::Dice;
use crate::plan::{Fault, Plan, What};
use crate::random::random;

/// The share of worlds that have some, in percent.
const AWAY: u64 = 25;

/// The most in one world.
const MAX_TIMES_AWAY: u64 = 3;

pub(super) fn away(mut plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of stores that are away"));
    if !dice.chance(AWAY) {
        return plan;
    }
    for _ in 0..dice.between(1, MAX_TIMES_AWAY) {
        let what = What::DiskAway { host: dice.server(&plan.shape), for_ms: dice.between(100, 5_000) };
        let fault = dice.anywhen(&plan.shape, what);
        let causes: Vec<Fault> = dice.causes_of(&plan.shape, &fault.when);
        plan.faults.push(fault);
        plan.faults.extend(causes);
    }
    plan
}
