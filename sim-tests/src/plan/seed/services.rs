//! Participants that call HTTP services. They are drawn from a stream of their own, so that the rest of a seed's plan is the same with
//! them and without them.

use super::Dice;
use crate::plan::points::{BEFORE_STORE, IN_SERVICES};
use crate::plan::{Fault, Host, Plan, Shape, What, When};
use crate::random::random;
use std::collections::BTreeSet;

/// The share of worlds in which all participants do, in percent.
const ALL: u64 = 25;

/// The share of worlds in which many transactions are open.
const OPEN: u64 = 65;

/// The most of what goes wrong with services in one world.
const MAX_TIMES: u64 = 5;

/// Points of a participant at which a call is about to be made, or was just answered.
const AT_WORK: [&str; 8] =
    [BEFORE_STORE, BEFORE_STORE, BEFORE_STORE, "executing", "acting", "compensating", "committing", "aborting"];

/// Has services, whatever the seed says of databases, of disks that are put back, and of large values: answers are short.
pub(super) fn called(mut plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of services"));
    plan.faults.retain(|fault| !matches!(fault.what, What::PutBack { .. }));
    let shape = &mut plan.shape;
    (shape.value_bytes, shape.large_reads_percent, shape.max_gathered_bytes) = (0, 0, None);
    let count = if dice.chance(ALL) { shape.participants.into() } else { dice.between(1, 2) };
    let mut services = BTreeSet::new();
    while (services.len() as u64) < count {
        services.insert(dice.number(shape));
    }
    shape.services = services;
    if dice.chance(OPEN) {
        shape.open_sagas_percent = dice.small(20, 50);
        shape.sagas_percent = shape.sagas_percent.min(25);
    }
    for fault in &mut plan.faults {
        fault.what = dice.beside_services(&plan.shape, fault.what.clone());
    }
    for _ in 0..dice.between(1, MAX_TIMES) {
        plan.faults.extend(dice.of_service(&plan.shape));
    }
    if plan.shape.open_sagas_percent > 0 {
        plan.shape.nested_sagas_percent = dice.small(0, 50);
    }
    plan
}

impl Dice {
    /// What takes from a disk what was stable there takes nothing from a participant that calls a service: what that was asked for
    /// it would never hear the end of. Its machine fails instead, or the service's. And other hands undo there, no more: work that
    /// they commit may be done once more by another attempt, which marks do not tell apart.
    fn beside_services(&self, shape: &Shape, what: What) -> What {
        let concerned = what.hosts().into_iter().find_map(|host| match host {
            Host::Participant(number) if shape.services.contains(&number) => Some(number),
            Host::Participant(_)
            | Host::Coordinator
            | Host::Standby
            | Host::Database(_)
            | Host::Service(_)
            | Host::Client(_)
            | Host::Reader(_) => None,
        });
        match (concerned, &what) {
            (Some(participant), What::OtherHand { .. }) => What::OtherHand { participant, commit: false },
            (Some(number), _) if what.takes_from_disks() => {
                self.crash(if self.chance(50) { Host::Service(number) } else { Host::Participant(number) })
            }
            (Some(_) | None, _) => what,
        }
    }

    fn of_service(&self, shape: &Shape) -> Vec<Fault> {
        let services: Vec<u8> = shape.services.iter().copied().collect();
        let number = *self.pick(&services);
        let (participant, service) = (Host::Participant(number), Host::Service(number));
        match self.between(0, 99) {
            0..28 => {
                let for_ms = self.between(500, 6_000);
                vec![self.soon(shape, What::ServiceTroubled { participant: number, for_ms })]
            }
            28..44 => vec![Fault { when: self.about_to_call(participant), what: self.crash(participant) }],
            44..56 => vec![Fault { when: self.in_service(service), what: self.crash(service) }],
            56..62 => vec![self.soon(shape, self.crash(service))],
            62..74 => {
                let for_ms = self.between(50, 4_000);
                let what = What::Partition { from: participant, to: service, one_way: self.chance(40), for_ms };
                let when = if self.chance(50) { self.in_service(service) } else { self.about_to_call(participant) };
                let dies = Fault { when: self.about_to_call(participant), what: self.crash(participant) };
                let cut_off = Fault { when, what };
                if self.chance(40) { vec![cut_off, dies] } else { vec![cut_off] }
            }
            74..82 => {
                let what = What::Clog { from: participant, to: service, for_ms: self.between(20, 3_000) };
                vec![Fault { when: self.about_to_call(participant), what: what.clone() }, self.soon(shape, what)]
            }
            // The service has done it, or is about to, and whoever has asked is no more.
            82..92 => vec![Fault { when: self.in_service(service), what: self.crash(participant) }],
            _ => vec![self.soon(shape, What::OtherHand { participant: number, commit: false })],
        }
    }

    fn about_to_call(&self, participant: Host) -> When {
        let point = (*self.pick(&AT_WORK)).to_owned();
        When::Point { host: participant, point, count: u32::from(self.small(1, 40)), during: None }
    }

    fn in_service(&self, service: Host) -> When {
        let point = (*self.pick(&IN_SERVICES)).to_owned();
        When::Point { host: service, point, count: u32::from(self.small(1, 40)), during: None }
    }
}
