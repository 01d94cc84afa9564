//! Participants that publish events. They are drawn from a stream of their own, so that the rest of a seed's plan is the same with them
//! and without them.

use super::Dice;
use super::{open_sagas, restored_disks};
use crate::plan::{Backward, Fault, Host, Plan, Shape, Trips, What, When};
use crate::random::random;

/// The share of worlds in which a disk is put back, in percent.
const PUT_BACK: u64 = 35;

/// The share of the others in which many sagas are open.
const OPEN: u64 = 40;

/// The share of the disks that are put back that are a participant's for certain.
const OF_A_PARTICIPANT: u64 = 50;

/// The most of what befalls readers in one world, and participants amid what they publish.
const MAX_TIMES: u64 = 4;

/// The share of worlds in which participants keep views of each other's changes, in percent.
const VIEWS: u64 = 70;

/// The share of worlds in which trips begin.
const TRIPS: u64 = 75;

/// Points of a participant at which it is about to publish, or has just done so.
const AT_WORK: [&str; 5] = ["before-store", "committing", "aborting", "acting", "compensating"];

pub(super) fn published(seed: u64) -> Plan {
    let dice = Dice(random(seed, "plan of events"));
    let plan = Plan::without_databases(seed);
    let mut plan = match dice.between(0, 99) {
        0..PUT_BACK => restored_disks::always_restored(plan),
        _ if dice.chance(OPEN) => open_sagas::with_many(plan),
        _ => plan,
    };
    plan.shape.readers = dice.small(1, 2);
    for fault in &mut plan.faults {
        if let What::PutBack { host, .. } = &mut fault.what
            && host.is_coordinator()
            && dice.chance(OF_A_PARTICIPANT)
        {
            *host = dice.participant(&plan.shape);
        }
    }
    for _ in 0..dice.between(1, MAX_TIMES) {
        plan.faults.push(dice.of_readers(&plan.shape));
    }
    reacting(plan)
}

/// Returns a world in which participants react to what others publish, in most.
fn reacting(mut plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of reactions"));
    plan.shape.views = dice.chance(VIEWS);
    if dice.chance(TRIPS) {
        plan.shape.trips = Some(Trips {
            steps: dice.small(2, plan.shape.participants.into()),
            backward: *dice.pick(&[Backward::Chain, Backward::Broadcast]),
            expire_ms: dice.chance(75).then(|| dice.between(300, 4_000)),
            seats: dice.small(1, 12).into(),
            percent: dice.small(25, 80),
            alone: None,
        });
    }
    for _ in 0..dice.between(0, MAX_TIMES) {
        if plan.shape.reacts() {
            plan.faults.extend(dice.of_reactions(&plan.shape));
        }
    }
    plan
}

impl Dice {
    /// Returns what befalls those who react; nothing if it does not fit into this world.
    fn of_reactions(&self, shape: &Shape) -> Option<Fault> {
        let (participant, for_ms) = (self.number(shape), self.between(500, 6_000));
        let by_ms = self.between(20, 1_500);
        let expire_ms = shape.trips.as_ref().and_then(|trips| trips.expire_ms);
        let source = self.number(shape);
        let (from, to) = (Host::Participant(participant), Host::Participant(source));
        let what = match self.between(0, 99) {
            0..40 if source == participant => return None,
            0..20 => What::LateSource { participant, from: source, by_ms, for_ms },
            20..32 => What::Partition { from, to, one_way: self.chance(30), for_ms },
            32..40 => What::Clog { from, to, for_ms: for_ms.min(3_000) },
            40..58 => What::ReactionsRefused { participant, for_ms },
            58..70 => What::SlowReactions { participant, by_ms: by_ms.min(400), for_ms },
            70..83 if shape.trips.is_some() => What::UnknownSchema,
            83..100 => {
                // What is about to expire expires at once.
                let by_ms = i64::try_from(expire_ms?).unwrap_or_default()
                    - i64::try_from(self.between(0, 200)).unwrap_or_default();
                What::Clock { host: Host::Participant(1), by_ms }
            }
            _ => return None,
        };
        Some(self.soon(shape, what))
    }

    fn of_readers(&self, shape: &Shape) -> Fault {
        let reader = self.small(1, shape.readers.into());
        let (from, to) = (Host::Reader(reader), self.participant(shape));
        match self.between(0, 99) {
            0..20 => {
                let for_ms = self.between(50, 5_000);
                self.soon(shape, What::Partition { from, to, one_way: self.chance(30), for_ms })
            }
            20..35 => self.soon(shape, What::Clog { from, to, for_ms: self.between(20, 3_000) }),
            35..55 => {
                let (by_ms, for_ms) = (self.between(20, 1_500), self.between(1_000, 8_000));
                self.soon(shape, What::SlowReader { reader, by_ms, for_ms })
            }
            _ => {
                let (point, count) = ((*self.pick(&AT_WORK)).to_owned(), u32::from(self.small(1, 60)));
                let power = self.chance(75);
                let what = What::Crash { host: to, power, down_ms: self.between(10, 2_000) };
                Fault { when: When::Point { host: to, point, count, during: None }, what }
            }
        }
    }
}
