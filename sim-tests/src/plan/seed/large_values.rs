//! Worlds with large values, answers that are lost with their connection, and records that cannot be carried out. They
//! are drawn from a stream of their own, so that the rest of a seed's plan is the same with them and without them.

use super::Dice;
use crate::plan::{Direction, Fault, Host, Message, Plan, Shape, Tampering, What, When};
use crate::random::random;

/// The share of worlds with large values, in percent.
const LARGE_VALUES: u64 = 12;
/// The share of worlds with large values, in percent, in which some records are too large to be written.
const SMALL_WRITES: u64 = 30;
const LOST_ANSWERS: u64 = 35;
const POISONED: u64 = 8;
/// The share of poisonings, in percent, that come when a record has just been written.
const POISONED_AT_A_RECORD: u64 = 70;
/// The share of worlds with large values, in percent, in which a link is held for a while, so that answers meet.
const CLOGGED: u64 = 50;

/// The share of worlds with large values, in percent, in which many large reads meet a coordinator that gathers no more than it must.
const MUCH_GATHERED: u64 = 20;
const LEAST_GATHERED_BYTES: u32 = 16 << 20;

/// The share of worlds without large values, in percent, in which many branches only read, half of them alone, and votes are lost.
const LONE_READS: u64 = 10;
const MAX_LOST_VOTES: u64 = 5;

/// The most answers that are lost in one run.
const MAX_LOST_ANSWERS: u64 = 3;

pub(super) fn laden(plan: Plan) -> Plan {
    let mut plan = plan;
    let dice = Dice(random(plan.seed, "plan of large values"));
    if dice.chance(LARGE_VALUES) {
        plan.shape.value_bytes = u32::try_from(dice.between(2_000, 60_000)).unwrap_or_default();
        plan.shape.large_reads_percent = dice.small(5, 60);
        plan.shape.max_write_bytes =
            dice.chance(SMALL_WRITES).then(|| u32::try_from(dice.between(100_000, 2_000_000)).unwrap_or(u32::MAX));
        // More who read at once, and fewer transactions of each, lest runs become slow.
        plan.shape.clients = plan.shape.clients.max(dice.small(3, 8));
        plan.shape.transactions_per_client = dice.small(8, 20).into();
        if dice.chance(MUCH_GATHERED) {
            dice.gather_much(&mut plan);
        }
        if dice.chance(CLOGGED) {
            let (from, to) = (Host::Coordinator, Host::Participant(dice.number(&plan.shape)));
            let what = What::Clog { from, to, for_ms: dice.between(200, 2_000) };
            plan.faults.push(dice.soon(&plan.shape, what));
        }
    }
    if dice.chance(LOST_ANSWERS) {
        let lost: Vec<Fault> = (0..dice.between(1, MAX_LOST_ANSWERS))
            .map(|_| dice.soon(&plan.shape, dice.lost_answer(&plan.shape)))
            .collect();
        plan.faults.extend(lost);
    }
    if dice.chance(POISONED) {
        plan.faults.push(dice.poisoned(&plan.shape));
    }
    if plan.shape.value_bytes == 0 && dice.chance(LONE_READS) {
        plan.shape.large_reads_percent = dice.small(20, 50);
        let lost: Vec<Fault> = (0..dice.between(2, MAX_LOST_VOTES))
            .map(|_| dice.soon(&plan.shape, dice.lost(&plan.shape, Message::Vote)))
            .collect();
        plan.faults.extend(lost);
    }
    plan
}

impl Dice {
    /// Many read all that they may, at four participants of which one is slow: what the others answer waits meanwhile.
    fn gather_much(&self, plan: &mut Plan) {
        plan.shape = Shape {
            max_gathered_bytes: Some(LEAST_GATHERED_BYTES),
            value_bytes: u32::try_from(self.between(60_000, 64_000)).unwrap_or_default(),
            large_reads_percent: self.small(75, 85),
            participants: 4,
            clients: 8,
            transactions_per_client: self.small(6, 9).into(),
            keys: self.small(1, 2),
            think_ms: self.between(100, 300),
            timeout_ms: 3_000,
            cannot_prepare: None,
            ..plan.shape.clone()
        };
        let (participant, by_ms) = (self.number(&plan.shape), self.between(1_000, 2_000));
        let what = What::SlowPrepares { participant, by_ms, for_ms: 3_000 };
        plan.faults.push(Fault { when: When::At { ms: self.between(300, 800) }, what });
    }

    fn poisoned(&self, shape: &Shape) -> Fault {
        if !self.chance(POISONED_AT_A_RECORD) {
            return self.soon(shape, What::Poisoned);
        }
        let point = *self.pick(&[
            "after-append-committed",
            "after-append-delegated",
            "after-append-begun",
            "after-append-stepped",
            "after-append-compensation",
        ]);
        let most = if point == "after-append-compensation" { 3 } else { 20 };
        let count = self.small(1, most).into();
        let when = When::Point { host: Host::Coordinator, point: point.to_owned(), count, during: None };
        Fault { when, what: What::Poisoned }
    }

    fn lost_answer(&self, shape: &Shape) -> What {
        use Message::{Acted, Compensated, Confirmed, Finished, Vote};
        let message = *self.pick(&[Vote, Vote, Vote, Finished, Finished, Confirmed, Acted, Compensated]);
        self.lost(shape, message)
    }

    fn lost(&self, shape: &Shape, message: Message) -> What {
        What::Tamper {
            participant: self.number(shape),
            direction: Direction::ToCoordinator,
            message,
            count: self.small(1, 20).into(),
            tampering: Tampering::Lost,
        }
    }
}
