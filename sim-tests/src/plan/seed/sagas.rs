//! Faults that only worlds with sagas have. They are drawn from a stream of their own, so that the rest of a seed's plan is the
//! same with them and without them.

use super::Dice;
use crate::plan::{Breaker, Direction, Fault, Host, HowResolved, Message, Plan, Shape, Tampering, What, When};
use crate::random::random;

/// The share in percent.
const CANNOT_PREPARE: u64 = 15;
const BREAKER: u64 = 50;
const SLOW_PREPARES: u64 = 25;
const ACTIONS_REFUSED: u64 = 30;
const OPERATORS: u64 = 70;
/// The share of these operators that come at some point of the coordinator's code.
const OPERATORS_AT_A_POINT: u64 = 30;
const LATE_ACTIONS: u64 = 30;
/// The share of these at a participant that stops amid an abort.
const LATE_AMID_AN_ABORT: u64 = 20;

/// Operators who look after stuck steps while one fault lasts.
const MAX_OPERATORS: u64 = 3;

pub(super) fn troubled(plan: Plan) -> Plan {
    let mut plan = plan;
    if plan.shape.sagas_percent == 0 {
        return plan;
    }
    let dice = Dice(random(plan.seed, "plan of sagas"));
    let drawn = plan.faults.len();
    let shape = &mut plan.shape;
    shape.cannot_prepare = dice.chance(CANNOT_PREPARE).then(|| dice.number(shape));
    shape.breaker = dice
        .chance(BREAKER)
        .then(|| Breaker { threshold: u32::from(dice.small(1, 3)), pause_ms: dice.between(300, 3_000) });
    if dice.chance(SLOW_PREPARES) {
        let (participant, by_ms) = (dice.number(shape), dice.between(shape.timeout_ms / 2, 2 * shape.timeout_ms));
        let what = What::SlowPrepares { participant, by_ms, for_ms: dice.between(1_000, 6_000) };
        plan.faults.push(dice.anywhen(shape, what));
    }
    if dice.chance(ACTIONS_REFUSED) {
        let what = What::ActionsRefused { participant: dice.number(shape), for_ms: dice.between(1_000, 7_000) };
        plan.faults.push(dice.anywhen(shape, what));
    }
    if dice.chance(LATE_ACTIONS) {
        let participant = dice.number(shape);
        let what = dice.late_action(shape, participant);
        plan.faults.push(dice.soon(shape, what));
        if dice.chance(LATE_AMID_AN_ABORT) {
            plan.faults.push(dice.paused_amid_an_abort(participant));
        }
    }
    let causes: Vec<Fault> =
        plan.faults[drawn..].iter().flat_map(|fault| dice.causes_of(&plan.shape, &fault.when)).collect();
    plan.faults.extend(causes);
    let operators: Vec<Fault> = plan.faults.iter().flat_map(|fault| dice.operators(&plan.shape, fault)).collect();
    plan.faults.extend(operators);
    plan
}

impl Dice {
    /// Returns an action so late that its compensation may overtake it (N5).
    fn late_action(&self, shape: &Shape, participant: u8) -> What {
        What::Tamper {
            participant,
            direction: Direction::ToParticipant,
            message: Message::Act,
            count: self.small(1, 12).into(),
            tampering: Tampering::Delay { by_ms: self.between(shape.timeout_ms / 2, 3_000) },
        }
    }

    /// An abort takes no time, unless its process stops.
    fn paused_amid_an_abort(&self, participant: u8) -> Fault {
        let host = Host::Participant(participant);
        let (point, count) = ("aborting".to_owned(), self.small(1, 8).into());
        let when = When::Point { host, point, count, during: None };
        Fault { when, what: What::Pause { host, for_ms: self.between(1_000, 4_000) } }
    }

    /// Returns the operators whom stuck steps call on the scene.
    fn operators(&self, shape: &Shape, fault: &Fault) -> Vec<Fault> {
        let (What::ActionsRefused { for_ms, .. } | What::CompensationsRefused { for_ms, .. }) = &fault.what else {
            return Vec::new();
        };
        let begins_ms = match &fault.when {
            When::At { ms } => *ms,
            When::Point { .. } => shape.heal_at_ms / 4,
        };
        let count = if self.chance(OPERATORS) { self.between(1, MAX_OPERATORS) } else { 0 };
        let one = |_| {
            let how = *self.pick(&[HowResolved::Retry, HowResolved::Skip, HowResolved::Done]);
            let what = What::ResolveStuck { how };
            if self.chance(OPERATORS_AT_A_POINT) {
                return Fault { when: self.point_of(Host::Coordinator), what };
            }
            let ms = (begins_ms + self.between(400, for_ms + 1_000)).min(shape.heal_at_ms.saturating_sub(1));
            Fault { when: When::At { ms }, what }
        };
        (0..count).map(one).collect()
    }
}
