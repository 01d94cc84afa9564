//! Strangers who say that they are the coordinator. They are drawn from a stream of their own, so that the rest of a seed's plan is the
//! same with them and without them.

use super::Dice;
use crate::plan::{Copied, Fault, Host, Plan, What};
use crate::random::random;

/// The share of worlds that have some, in percent.
const KNOCKING: u64 = 12;

/// The most in one world.
const MAX_TIMES: u64 = 3;

pub(super) fn knocked_at(mut plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of impostors"));
    if !dice.chance(KNOCKING) {
        return plan;
    }
    for _ in 0..dice.between(1, MAX_TIMES) {
        let participant = dice.number(&plan.shape);
        let fault = dice.anywhen(&plan.shape, What::Impostor { participant });
        let causes: Vec<Fault> = dice.causes_of(&plan.shape, &fault.when);
        if plan.faults.iter().any(|fault| loses_pins(&fault.what, participant)) {
            continue;
        }
        plan.faults.push(fault);
        plan.faults.extend(causes);
    }
    plan
}

/// Returns true if this participant forgets whom it knows. It takes the first who comes then, whoever that is: roles keep strangers
/// out there, which these worlds do not have.
fn loses_pins(what: &What, participant: u8) -> bool {
    matches!(what, What::Wiped { host } | What::PutBack { host, copy: Copied::Emptied, .. } if *host == Host::Participant(participant))
}
