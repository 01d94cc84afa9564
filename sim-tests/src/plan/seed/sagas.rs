//! What befalls worlds with sagas besides. It is drawn from a stream of its own, so that the rest of a seed's plan is the
//! same with it and without it.

use super::Dice;
use crate::plan::{Breaker, Fault, HowResolved, Plan, Shape, What, When};
use crate::world::random::random;

/// In percent.
const CANNOT_PREPARE: u64 = 15;
const BREAKER: u64 = 50;
const SLOW_PREPARES: u64 = 25;
const ACTIONS_REFUSED: u64 = 30;
const OPERATORS: u64 = 70;

/// Operators who look after stuck steps while one fault lasts.
const MAX_OPERATORS: u64 = 3;

pub(super) fn troubled(plan: Plan) -> Plan {
    let mut plan = plan;
    if plan.shape.sagas_percent == 0 {
        return plan;
    }
    let dice = Dice(random(plan.seed, "plan of sagas"));
    let shape = &mut plan.shape;
    shape.cannot_prepare = dice.chance(CANNOT_PREPARE).then(|| dice.number(shape));
    shape.breaker = dice
        .chance(BREAKER)
        .then(|| Breaker { threshold: u32::from(dice.small(1, 3)), pause_ms: dice.between(300, 3_000) });
    if dice.chance(SLOW_PREPARES) {
        let (participant, by_ms) = (dice.number(shape), dice.between(shape.timeout_ms / 2, 2 * shape.timeout_ms));
        let what = What::SlowPrepares { participant, by_ms, for_ms: dice.between(1_000, 6_000) };
        plan.faults.push(dice.soon(shape, what));
    }
    if dice.chance(ACTIONS_REFUSED) {
        let what = What::ActionsRefused { participant: dice.number(shape), for_ms: dice.between(1_000, 7_000) };
        plan.faults.push(dice.soon(shape, what));
    }
    let operators: Vec<Fault> = plan.faults.iter().flat_map(|fault| dice.operators(&plan.shape, fault)).collect();
    plan.faults.extend(operators);
    plan
}

impl Dice {
    /// Whom stuck steps call on the scene.
    fn operators(&self, shape: &Shape, fault: &Fault) -> Vec<Fault> {
        let (What::ActionsRefused { for_ms, .. } | What::CompensationsRefused { for_ms, .. }) = &fault.what else {
            return Vec::new();
        };
        let begins_ms = match &fault.when {
            When::At { ms } => *ms,
            When::Point { .. } => 0,
        };
        let count = if self.chance(OPERATORS) { self.between(1, MAX_OPERATORS) } else { 0 };
        let one = |_| {
            let ms = (begins_ms + self.between(400, for_ms + 1_000)).min(shape.heal_at_ms.saturating_sub(1));
            let how = *self.pick(&[HowResolved::Retry, HowResolved::Skip, HowResolved::Done]);
            Fault { when: When::At { ms }, what: What::ResolveStuck { how } }
        };
        (0..count).map(one).collect()
    }
}
