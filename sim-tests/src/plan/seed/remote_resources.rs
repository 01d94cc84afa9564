//! Resources that lose answers or locks, or are touched by others. They are drawn from a stream of their own, so that the rest of
//! a seed's plan is the same with them and without them.

use super::Dice;
use crate::plan::{Fault, Plan, What};
use crate::random::random;

/// The share of worlds that have some, in percent.
const ELSEWHERE: u64 = 25;

/// The most in one world.
const MAX_TIMES: u64 = 3;

pub(super) fn elsewhere(mut plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of resources elsewhere"));
    if !dice.chance(ELSEWHERE) {
        return plan;
    }
    for _ in 0..dice.between(1, MAX_TIMES) {
        let participant = dice.number(&plan.shape);
        let what = match dice.between(0, 2) {
            0 => What::Unclear { participant, for_ms: dice.between(200, 5_000) },
            1 => What::ReadersForgotten { participant, for_ms: dice.between(300, 4_000) },
            _ => What::OtherHand { participant, commit: dice.chance(50) },
        };
        let fault = dice.anywhen(&plan.shape, what);
        let causes: Vec<Fault> = dice.causes_of(&plan.shape, &fault.when);
        if let What::ReadersForgotten { .. } = fault.what {
            // Whoever is late meets what others have changed in place of what was read.
            let late = dice.soon(&plan.shape, dice.hold_up(&plan.shape));
            plan.faults.push(late);
        }
        plan.faults.push(fault);
        plan.faults.extend(causes);
    }
    plan
}
