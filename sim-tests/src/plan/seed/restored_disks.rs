//! Disks that are put back. They are drawn from a stream of their own, so that the rest of a seed's plan is the same with them and
//! without them.

use super::Dice;
use crate::plan::{Copied, Fault, Host, Plan, Shape, What, When};
use crate::random::random;

/// The share of all worlds, in percent, in which a disk is put back.
const PUT_BACK: u64 = 8;
/// The share of these in which that happens twice.
const TWICE: u64 = 35;
/// The share of those in which it is twice the same host.
const SAME_HOST: u64 = 40;
/// The share of coordinators among the disks that are put back.
const COORDINATORS: u64 = 55;
/// The share of those that come back while some participant cannot be asked about it.
const UNREACHED: u64 = 35;
/// The share of copies that are taken at some point of the server's code.
const AT_A_POINT: u64 = 40;

pub(super) fn restored(plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of disks that are put back"));
    if dice.chance(PUT_BACK) { with_disks_put_back(plan, &dice) } else { plan }
}

/// Puts back a disk, or two, whatever the seed says of it.
pub(super) fn always_restored(plan: Plan) -> Plan {
    let dice = Dice(random(plan.seed, "plan of disks that are put back"));
    if plan.puts_disks_back() { plan } else { with_disks_put_back(plan, &dice) }
}

fn with_disks_put_back(plan: Plan, dice: &Dice) -> Plan {
    let mut plan = plan;
    let first = dice.disk(&plan.shape);
    dice.put_back(&mut plan, first);
    if dice.chance(TWICE) {
        let second = if dice.chance(SAME_HOST) { first } else { dice.disk(&plan.shape) };
        dice.put_back(&mut plan, second);
    }
    plan
}

impl Dice {
    fn disk(&self, shape: &Shape) -> Host {
        if self.chance(COORDINATORS) { Host::Coordinator } else { self.participant(shape) }
    }

    fn put_back(&self, plan: &mut Plan, host: Host) {
        let copy = *self.pick(&[
            Copied::Hot,
            Copied::Hot,
            Copied::Cold,
            Copied::Cold,
            Copied::Snapshot,
            Copied::Snapshot,
            Copied::Snapshot,
            Copied::Emptied,
        ]);
        let most_ms = if self.chance(50) { 600 } else { plan.shape.heal_at_ms / 3 };
        let what = What::PutBack { host, copy, after_ms: self.between(20, most_ms) };
        let copied_ms = self.between(300, plan.shape.heal_at_ms / 2);
        let when = if self.chance(AT_A_POINT) { self.point_of(host) } else { When::At { ms: copied_ms } };
        if host == Host::Coordinator && self.chance(UNREACHED) {
            let (from, to) = (host, self.participant(&plan.shape));
            let cut_off = What::Partition { from, to, one_way: false, for_ms: self.between(500, 5_000) };
            plan.faults.push(Fault { when: when.clone(), what: cut_off });
        }
        if self.chance(30) {
            // So that whole starts are lost.
            let ms = (copied_ms + self.between(10, most_ms)).min(plan.shape.heal_at_ms - 1);
            plan.faults.push(Fault { when: When::At { ms }, what: self.crash(host) });
        }
        plan.faults.push(Fault { when, what });
    }
}
