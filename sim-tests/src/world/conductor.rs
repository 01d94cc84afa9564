//! Lets time pass, and makes happen what the plan says.

use super::cells::states_hit;
use super::impostor;
use super::operator;
use super::shared_state::{Order, Shared};
use super::workload;
use crate::disk::Disk;
use crate::plan::{Copied, Fault, Host, What, When};
use crate::random::random;
use crate::run::Recovery;
use crate::trace::Event;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use undoubt_platform::{Random as _, SeededRandom};

/// The time that whoever supervises a process waits before it starts it anew.
const RESTART_AFTER_MS: u64 = 300;

/// Between two starts of a process that has nothing to do, when recoveries are compared.
const QUIET_MS: u64 = 1_000;

/// A deed that is to be done at a certain time.
#[derive(Clone, Debug)]
enum Act {
    Strike(usize),
    Start(Host),
    Resume(Host),
    Repair {
        from: Host,
        to: Host,
        one_way: bool,
    },
    Release {
        from: Host,
        to: Host,
    },
    /// The disk does what it should.
    Mend(Host),
    /// It lied until now, and the power fails.
    LiesEnd(Host),
    PutDisksRight,
    /// Puts back the state of a disk that this fault has kept.
    PutBack(usize),
    /// This fault has upset a resource until now.
    Calm(usize),
}

pub(super) struct Conductor<'a> {
    sim: turmoil::Sim<'a>,
    shared: Arc<Shared>,
    random: SeededRandom,
    agenda: BTreeMap<(u64, usize), Act>,
    acts: usize,
    /// Struck by now; a fault strikes once.
    struck: Vec<bool>,
    pub(super) hits: Vec<Hit>,
}

/// A fault that struck, and how far things were.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) fault: usize,
    pub(super) states: Vec<String>,
}

impl<'a> Conductor<'a> {
    pub(super) fn new(sim: turmoil::Sim<'a>, shared: Arc<Shared>) -> Conductor<'a> {
        let random = random(shared.plan.seed, "faults");
        let struck = vec![false; shared.plan.faults.len()];
        let mut conductor =
            Conductor { sim, random, agenda: BTreeMap::new(), acts: 0, struck, hits: Vec::new(), shared };
        for (index, fault) in conductor.shared.plan.faults.clone().iter().enumerate() {
            if let When::At { ms } = fault.when {
                conductor.schedule(ms, Act::Strike(index));
            }
        }
        conductor
    }

    /// Runs until all clients and the auditor are done, or nobody has patience any more.
    pub(super) fn run(&mut self, patience: Duration) -> Result<(), String> {
        let heal_at_ms = self.shared.plan.shape.heal_at_ms;
        let mut healed = false;
        loop {
            let done = self.sim.step().map_err(|error| format!("the simulation broke off: {error}"))?;
            self.carry_out_what_is_due();
            if !healed && self.now_ms() >= heal_at_ms {
                healed = true;
                self.heal();
            }
            if done {
                return Ok(());
            }
            if self.now_ms() > heal_at_ms + u64::try_from(patience.as_millis()).unwrap_or(u64::MAX) {
                self.shared.finals().out_of_patience = true;
                return Ok(());
            }
        }
    }

    /// Starts every server once more, twice, without giving it work, and tells what changed on its disk.
    pub(super) fn compare_recoveries(&mut self, compared: impl Fn(Host, &Disk) -> String) -> Vec<Recovery> {
        let hosts: Vec<Host> = self.shared.servers().filter(|host| !self.is_gone(*host)).collect();
        let users = hosts.iter().map(|host| self.shared.user_of_disk(*host));
        let beside = hosts.iter().copied().filter(|host| self.shared.has_database(*host));
        let running: Vec<Host> = users.chain(beside).collect();
        let mut found = Vec::new();
        self.let_be(QUIET_MS, &mut found);
        let mut before: Vec<String> = hosts.iter().map(|host| compared(*host, self.shared.disk(*host))).collect();
        for _ in 0..2 {
            for host in &running {
                self.kill(*host, None);
                self.start(*host);
            }
            self.let_be(QUIET_MS, &mut found);
            for (index, host) in hosts.iter().enumerate() {
                let now = compared(*host, self.shared.disk(*host));
                let difference = (now != before[index]).then(|| super::finals::difference(&before[index], &now));
                found.push(Recovery { host: *host, difference });
                before[index] = now;
            }
        }
        found
    }

    fn let_be(&mut self, ms: u64, found: &mut Vec<Recovery>) {
        let until = self.now_ms() + ms;
        while self.now_ms() < until {
            if let Err(error) = self.sim.step() {
                return found.push(Recovery { host: Host::Coordinator, difference: Some(error.to_string()) });
            }
            self.carry_out_what_is_due();
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    fn schedule(&mut self, at_ms: u64, act: Act) {
        self.acts += 1;
        self.agenda.insert((at_ms, self.acts), act);
    }

    fn after(&mut self, ms: u64, act: Act) {
        self.schedule(self.now_ms() + ms, act);
    }

    fn carry_out_what_is_due(&mut self) {
        self.shared.recorder.set_now(self.now_us());
        for order in self.shared.orders() {
            match order {
                Order::Strike { fault, met } => self.strike(fault, met),
                Order::Exited { host } => {
                    if self.sim.is_host_running(host.to_string()) && self.shared.process(host).is_dead() {
                        self.crash(host);
                        self.after(RESTART_AFTER_MS, Act::Start(host));
                    }
                }
            }
        }
        let now_ms = self.now_ms();
        while let Some(due) = self.agenda.first_entry().filter(|next| next.key().0 <= now_ms) {
            let act = due.remove();
            self.act(act);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Strike(index) => {
                let met = states_hit(&self.shared.plan.faults[index].what, &self.shared.recorder);
                self.strike(index, met);
            }
            Act::Start(host) => self.start(host),
            Act::Resume(host) => {
                self.shared.process(host).resume();
                self.record(Some(host), Event::Resumed);
            }
            Act::Repair { from, to, one_way: false } => self.sim.repair(from.to_string(), to.to_string()),
            Act::Repair { from, to, one_way: true } => self.sim.repair_oneway(from.to_string(), to.to_string()),
            Act::Release { from, to } => self.sim.release(from.to_string(), to.to_string()),
            Act::Mend(host) => self.mend(host),
            Act::LiesEnd(host) => {
                self.lose_power(host, None, RESTART_AFTER_MS);
                self.shared.disk(host).lie_about_syncs(false);
            }
            Act::PutDisksRight => self.shared.put_disks_right(),
            Act::PutBack(index) => self.put_back(index),
            Act::Calm(index) => self.shared.change_temper(&self.shared.plan.faults[index].what, false),
        }
    }

    fn strike(&mut self, index: usize, met: Vec<String>) {
        let Fault { what, .. } = self.shared.plan.faults[index].clone();
        let by_itself = matches!(what, What::Tamper { .. });
        if std::mem::replace(&mut self.struck[index], true) || (*self.shared.healed.borrow() && !by_itself) {
            return;
        }
        let now_us = self.now_us();
        let lasts = what.lasts_ms().map(|ms| now_us + ms * 1_000);
        self.hits.push(Hit { fault: index, states: met });
        self.record(None, Event::Fault { index, what: what.to_string(), ends_at_us: lasts });
        self.make_happen(index, &what, &self.shared.plan.faults[index].when.clone());
    }

    fn make_happen(&mut self, index: usize, what: &What, when: &When) {
        let point = match when {
            When::Point { host, point, .. } => Some((*host, point.clone())),
            When::At { .. } => None,
        };
        let point_of = |at: Host| point.clone().filter(|(host, _)| *host == at).map(|(_, point)| point);
        self.shared.take_hold(index, what);
        match what.clone() {
            What::Crash { host, power: false, down_ms } => {
                self.kill(host, point_of(host));
                self.after(down_ms, Act::Start(host));
            }
            What::Crash { host, power: true, down_ms } if self.shared.has_database(host) => {
                // Its disk is in another machine.
                self.end(host, Event::Crashed { point: point_of(host), power: true });
                self.after(down_ms, Act::Start(host));
            }
            What::Crash { host, power: true, down_ms } => self.lose_power(host, point_of(host), down_ms),
            What::Gone { host } => {
                self.kill(host, point_of(host));
                self.shared.finals().gone.insert(host);
            }
            What::Pause { host, for_ms } => {
                self.record(Some(host), Event::Paused);
                self.after(for_ms, Act::Resume(host));
            }
            What::Takeover { zombie_after_ms } => {
                if self.shared.primary() == Host::Coordinator {
                    self.shared.process(Host::Coordinator).pause();
                    self.record(Some(Host::Coordinator), Event::Paused);
                    self.shared.take_over();
                    self.start(Host::Standby);
                    self.after(zombie_after_ms, Act::Resume(Host::Coordinator));
                }
            }
            What::Partition { from, to, one_way, for_ms } => {
                match one_way {
                    true => self.sim.partition_oneway(from.to_string(), to.to_string()),
                    false => self.sim.partition(from.to_string(), to.to_string()),
                }
                self.after(for_ms, Act::Repair { from, to, one_way });
            }
            What::Clog { from, to, for_ms } => {
                self.sim.hold(from.to_string(), to.to_string());
                self.after(for_ms, Act::Release { from, to });
            }
            // Whoever stands between the two has done it already.
            What::Tamper { .. } => {}
            What::LyingSyncs { host, for_ms } => self.after(for_ms, Act::LiesEnd(host)),
            What::SyncFails { host } => self.shared.disk(host).fail_next_sync(true),
            What::RolledBack { host, frames } => {
                self.lose_power(host, point_of(host), RESTART_AFTER_MS);
                self.shared.disk(host).roll_back(usize::try_from(frames).unwrap_or(usize::MAX));
            }
            What::BitFlip { host, at_permille, repaired_after_ms } => {
                self.kill_users(host, point_of(host), false, RESTART_AFTER_MS);
                self.shared.disk(host).flip_bit(f64::from(at_permille) / 1_000.0);
                self.after(repaired_after_ms, Act::Mend(host));
            }
            What::DiskFull { host, for_ms }
            | What::ReadOnlyDisk { host, for_ms }
            | What::DiskAway { host, for_ms }
            | What::SlowDisk { host, for_ms, .. } => self.after(for_ms, Act::Mend(host)),
            What::Wiped { host } => {
                self.lose_power(host, point_of(host), RESTART_AFTER_MS);
                self.shared.disk(host).wipe();
            }
            What::PutBack { host, copy, after_ms } => {
                if copy == Copied::Cold {
                    self.kill_users(host, point_of(host), false, RESTART_AFTER_MS);
                }
                self.shared.copy(index, host, what);
                self.after(after_ms, Act::PutBack(index));
            }
            What::Swapped { host, with, repaired_after_ms } => {
                self.kill_users(host, point_of(host), false, RESTART_AFTER_MS);
                self.kill_users(with, point_of(with), false, RESTART_AFTER_MS);
                self.shared.swap_disks(host, with);
                self.after(repaired_after_ms, Act::PutDisksRight);
            }
            What::VoteLost { participant } => {
                let host = Host::Participant(participant);
                self.kill_users(host, point_of(host), false, RESTART_AFTER_MS);
                super::finals::lose_a_vote(self.shared.disk(host));
            }
            What::Poisoned => {
                self.kill_users(Host::Coordinator, point_of(Host::Coordinator), false, RESTART_AFTER_MS);
                super::finals::poison(&self.shared);
            }
            What::Clock { host, by_ms } => {
                self.shared.clock_offset(host).fetch_add(by_ms * 1_000, Ordering::Relaxed);
            }
            What::Resolve { participant, commit } => {
                operator::resolve(&mut self.sim, &self.shared, participant, commit)
            }
            What::CompensationsRefused { for_ms, .. }
            | What::ActionsRefused { for_ms, .. }
            | What::SlowPrepares { for_ms, .. }
            | What::SlowReader { for_ms, .. }
            | What::LateSource { for_ms, .. }
            | What::ReactionsRefused { for_ms, .. }
            | What::SlowReactions { for_ms, .. }
            | What::Unclear { for_ms, .. }
            | What::ReadersForgotten { for_ms, .. }
            | What::SessionsCut { for_ms, .. }
            | What::ServiceTroubled { for_ms, .. } => self.after(for_ms, Act::Calm(index)),
            What::OtherHand { participant, commit } => {
                self.shared.order_other_hand(Host::Participant(participant), commit);
            }
            What::UnknownSchema => workload::trips::begin_oddly(&mut self.sim, &self.shared),
            What::Impostor { participant } => impostor::knock(&mut self.sim, &self.shared, participant),
            What::ResolveStuck { how } => operator::resolve_stuck(&mut self.sim, &self.shared, how),
            What::EndSaga { how } => operator::end_saga(&mut self.sim, &self.shared, how),
            What::ReleaseMarks { participant } => operator::release_marks(&mut self.sim, &self.shared, participant),
            What::Forget => operator::forget(&mut self.sim, &self.shared),
        }
    }

    fn put_back(&mut self, index: usize) {
        let What::PutBack { host, copy, .. } = self.shared.plan.faults[index].what else { return };
        if !self.is_gone(self.shared.user_of_disk(host)) {
            self.kill_users(host, None, false, RESTART_AFTER_MS);
            self.shared.put_back(index, host, copy, self.now_us());
        }
    }

    /// Heals everything from here on, save what is gone for good.
    fn heal(&mut self) {
        self.shared.healed.send_replace(true);
        self.record(None, Event::Healed);
        let late: Vec<Act> = std::mem::take(&mut self.agenda).into_values().collect();
        for act in late {
            if !matches!(act, Act::Strike(_)) {
                self.act(act);
            }
        }
        for host in self.shared.servers().collect::<Vec<_>>() {
            self.mend(host);
            self.shared.disk(host).fail_next_sync(false);
        }
    }

    fn mend(&mut self, host: Host) {
        let disk = self.shared.disk(host);
        disk.set_full(false);
        disk.set_read_only(false);
        disk.set_away(false);
        disk.set_sync_latency(Duration::from_millis(1), Duration::from_millis(1));
        disk.repair();
    }

    /// The process is gone from this moment on.
    fn kill(&mut self, host: Host, point: Option<String>) {
        self.end(host, Event::Crashed { point, power: false });
    }

    /// The machine is off, and its disk keeps some of what was not stable.
    fn lose_power(&mut self, host: Host, point: Option<String>, down_ms: u64) {
        self.kill_users(host, point, true, down_ms);
        let keep = self.random.below(1_001) as f64 / 1_000.0;
        self.shared.disk(host).lose_power(keep);
    }

    /// Ends those who use the host's disk, before something happens to it: the process goes, and whoever has taken the
    /// disk over goes with it. An open store reads on from memory, and would vouch for what the disk no longer holds.
    fn kill_users(&mut self, host: Host, point: Option<String>, power: bool, down_ms: u64) {
        self.end(host, Event::Crashed { point, power });
        self.after(down_ms, Act::Start(host));
        let user = self.shared.user_of_disk(host);
        if user != host {
            self.end(user, Event::Crashed { point: None, power });
            self.after(down_ms, Act::Start(user));
        }
    }

    fn end(&mut self, host: Host, crashed: Event) {
        super::finals::subscriptions::note_log(&self.shared, host);
        self.shared.process(host).kill();
        if self.sim.is_host_running(host.to_string()) {
            self.record(Some(host), crashed);
            self.crash(host);
        }
    }

    fn crash(&mut self, host: Host) {
        let recorder = self.shared.recorder.clone();
        recorder.without_details(|| self.sim.crash(host.to_string()));
    }

    fn start(&mut self, host: Host) {
        let paused_for_good = host == Host::Coordinator && self.shared.primary() == Host::Standby;
        if !self.is_gone(host) && !paused_for_good && !self.sim.is_host_running(host.to_string()) {
            self.sim.bounce(host.to_string());
        }
    }

    fn is_gone(&self, host: Host) -> bool {
        self.shared.finals().gone.contains(&host)
    }

    fn record(&self, host: Option<Host>, event: Event) {
        self.shared.recorder.record_at(self.now_us(), host, event);
    }
}
