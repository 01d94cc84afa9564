//! Worlds with large values, and answers that are lost with their connection. They are drawn from a stream of their own, so
//! that the rest of a seed's plan is the same with them and without them.

use super::Dice;
use crate::plan::{Direction, Fault, Message, Plan, Shape, Tampering, What};
use crate::world::random::random;

/// In percent.
const LARGE_VALUES: u64 = 12;
const LOST_ANSWERS: u64 = 35;

/// Of one run, at most.
const MAX_LOST_ANSWERS: u64 = 3;

pub(super) fn laden(plan: Plan) -> Plan {
    let mut plan = plan;
    let dice = Dice(random(plan.seed, "plan of large values"));
    if dice.chance(LARGE_VALUES) {
        plan.shape.value_bytes = u32::try_from(dice.between(2_000, 60_000)).unwrap_or_default();
        plan.shape.large_reads_percent = dice.small(5, 40);
    }
    if dice.chance(LOST_ANSWERS) {
        let lost: Vec<Fault> = (0..dice.between(1, MAX_LOST_ANSWERS))
            .map(|_| dice.soon(&plan.shape, dice.lost_answer(&plan.shape)))
            .collect();
        plan.faults.extend(lost);
    }
    plan
}

impl Dice {
    fn lost_answer(&self, shape: &Shape) -> What {
        use Message::{Acted, Compensated, Confirmed, Finished, Vote};
        What::Tamper {
            participant: self.number(shape),
            direction: Direction::ToCoordinator,
            message: *self.pick(&[Vote, Vote, Vote, Finished, Finished, Confirmed, Acted, Compensated]),
            count: self.small(1, 20).into(),
            tampering: Tampering::Lost,
        }
    }
}
