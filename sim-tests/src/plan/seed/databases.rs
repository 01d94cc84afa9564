//! Participants in front of databases. They are drawn from a stream of their own, so that the rest of a seed's plan is the same with
//! them and without them.

use super::Dice;
use crate::plan::points::IN_DATABASES;
use crate::plan::{Fault, Host, Plan, Shape, What, When};
use crate::random::random;
use std::collections::BTreeSet;

/// The share of worlds that have some, in percent.
const SOME: u64 = 12;

/// The share of those in which all participants do.
const ALL: u64 = 25;

/// The share of those in which a database keeps few prepared transactions.
const FEW_SLOTS: u64 = 20;

/// The most of what goes wrong with databases in one world.
const MAX_TIMES: u64 = 5;

/// Points of a participant after whose death its sessions may have something left to do.
const AT_WORK: [&str; 4] = ["executing", "acting", "before-execute", "committing"];

/// Not where a disk is put back: a database does not show that it was.
pub(super) fn behind_some(plan: Plan) -> Plan {
    let dice = dice(plan.seed);
    if dice.chance(SOME) && !plan.puts_disks_back() { with_databases(plan, &dice) } else { plan }
}

/// Has databases, whatever the seed says of it.
pub(super) fn behind(mut plan: Plan) -> Plan {
    let dice = dice(plan.seed);
    plan.faults.retain(|fault| !matches!(fault.what, What::PutBack { .. }));
    with_databases(plan, &dice)
}

fn dice(seed: u64) -> Dice {
    Dice(random(seed, "plan of databases"))
}

fn with_databases(mut plan: Plan, dice: &Dice) -> Plan {
    let all = dice.chance(ALL);
    let count = if all { plan.shape.participants.into() } else { dice.between(1, 2) };
    let mut databases = BTreeSet::new();
    while (databases.len() as u64) < count {
        databases.insert(dice.number(&plan.shape));
    }
    plan.shape.databases = databases;
    if dice.chance(FEW_SLOTS) {
        plan.shape.prepared_slots = Some(dice.small(1, 4).into());
    }
    for fault in &mut plan.faults {
        fault.what = dice.beside_databases(&plan.shape, fault.what.clone());
    }
    for _ in 0..dice.between(1, MAX_TIMES) {
        plan.faults.extend(dice.of_database(&plan.shape));
    }
    plan
}

impl Dice {
    /// What takes from a participant's disk what was stable takes nothing from a database; its machine fails instead. And other
    /// hands undo there, no more: work that they commit may be done once more by another attempt, which marks do not tell apart.
    fn beside_databases(&self, shape: &Shape, what: What) -> What {
        let concerned = what.hosts().into_iter().find_map(|host| match host {
            Host::Participant(number) if shape.databases.contains(&number) => Some(number),
            Host::Participant(_)
            | Host::Coordinator
            | Host::Standby
            | Host::Database(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_) => None,
        });
        if let (Some(participant), What::OtherHand { .. }) = (concerned, &what) {
            return What::OtherHand { participant, commit: false };
        }
        match concerned {
            Some(number) if what.takes_from_disks() => self.crash(Host::Database(number)),
            Some(_) | None => what,
        }
    }

    fn of_database(&self, shape: &Shape) -> Vec<Fault> {
        let databases: Vec<u8> = shape.databases.iter().copied().collect();
        let number = *self.pick(&databases);
        let (participant, database) = (Host::Participant(number), Host::Database(number));
        match self.between(0, 99) {
            0..25 => {
                let for_ms = self.between(500, 5_000);
                vec![self.soon(shape, What::SessionsCut { participant: number, for_ms })]
            }
            25..50 => vec![Fault { when: self.at_work(participant), what: self.crash(participant) }],
            50..65 => {
                let point = (*self.pick(&IN_DATABASES)).to_owned();
                let count = u32::from(self.small(1, 25));
                let when = When::Point { host: database, point, count, during: None };
                vec![Fault { when, what: self.crash(database) }]
            }
            65..72 => vec![self.soon(shape, self.crash(database))],
            72..82 => {
                let for_ms = self.between(50, 4_000);
                let what = What::Partition { from: participant, to: database, one_way: self.chance(40), for_ms };
                // Who is cut off and dies leaves sessions that nobody tells so.
                let cut_off = if self.chance(60) {
                    self.soon(shape, what)
                } else {
                    Fault { when: self.at_work(participant), what }
                };
                let dies = Fault { when: self.at_work(participant), what: self.crash(participant) };
                if self.chance(50) { vec![cut_off, dies] } else { vec![cut_off] }
            }
            82..90 => {
                let what = What::Clog { from: participant, to: database, for_ms: self.between(20, 3_000) };
                vec![Fault { when: self.at_work(participant), what: what.clone() }, self.soon(shape, what)]
            }
            _ => vec![self.soon(shape, What::OtherHand { participant: number, commit: false })],
        }
    }

    fn at_work(&self, participant: Host) -> When {
        let point = (*self.pick(&AT_WORK)).to_owned();
        When::Point { host: participant, point, count: u32::from(self.small(1, 30)), during: None }
    }
}
