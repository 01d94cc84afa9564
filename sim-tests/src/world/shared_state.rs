//! The state that hosts and the conductor share: machines with their disks and clocks, orders, and who was promised
//! what.

mod hearing;
mod remote_resources;
mod restored_disks;

use super::cells::{stands, states_hit};
use super::database::Post;
use super::observation::Recorder;
use super::planted::Planted;
use super::temper::Temper;
use super::witness::Witnesses;
use crate::disk::Disk;
use crate::plan::{Copied, Host, Mutant, Plan, What, When};
use crate::process::Process;
use crate::random::{random, seed_of};
use crate::run::{Call, CallKind, Finals, Reply};
use crate::trace::Event;
use hearing::Hearing;
use remote_resources::Elsewhere;
pub(super) use remote_resources::{Cut, Fate, Trouble};
use restored_disks::Copy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use undoubt_platform::{Clock, CrashPoints, SeededRandom, Timestamp};

/// The beginning of simulated time: the first of January 2026.
pub(super) const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// A deed that the world has to do once the hosts have had their turn.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// A fault of the plan waits for its point, which was reached, and met these states there.
    Strike { fault: usize, met: Vec<String> },
    /// The process has ended by itself.
    Exited { host: Host },
}

/// A simulated machine.
#[derive(Debug, Default)]
struct Machine {
    process: Process,
    starts: u32,
    clock_offset_us: Arc<AtomicI64>,
    /// The number of times that each point was reached.
    reached: BTreeMap<&'static str, u32>,
    /// The number of times that each fault that waits for a point during a state found that state there.
    found: BTreeMap<usize, u32>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) recorder: Recorder,
    disks: BTreeMap<Host, Disk>,
    machines: Mutex<BTreeMap<Host, Machine>>,
    orders: Mutex<Vec<Order>>,
    /// The owners of the disks that are in other machines than their own.
    swapped: Mutex<BTreeMap<Host, Host>>,
    /// The numbers that each has to know of the others' logs.
    witnesses: Arc<Mutex<Witnesses>>,
    /// Earlier states of disks, by the fault that is to put them back.
    copies: Mutex<BTreeMap<usize, Copy>>,
    /// Hosts whose folders show that they are copies.
    signs: Mutex<BTreeSet<Host>>,
    /// The coordinator that clients talk to.
    primary: Mutex<Host>,
    tempers: Mutex<BTreeMap<Host, Temper>>,
    elsewhere: Elsewhere,
    /// What participants and their databases say to each other.
    pub(super) post: Post,
    calls: Mutex<Vec<Call>>,
    /// Operators' desks in use.
    desks: Mutex<u32>,
    finals: Mutex<Finals>,
    pub(super) healed: watch::Sender<bool>,
    /// Clients that have nothing more to ask.
    pub(super) done: watch::Sender<u8>,
    hearing: Mutex<Hearing>,
    /// Nothing takes effect any more, so that readers can come to an end.
    pub(super) audited: watch::Sender<bool>,
    /// For the planted bugs of what participants publish.
    pub(super) planted: Planted,
}

impl Shared {
    pub(super) fn new(plan: Plan, recorder: Recorder) -> Arc<Shared> {
        let participants = (1..=plan.shape.participants).map(Host::Participant);
        let witnesses = Arc::new(Mutex::new(Witnesses::default()));
        let disk = |host: Host| {
            let disk = Disk::new(host.to_string(), seed_of(plan.seed, &format!("disk of {host}")));
            let (recorder, witnesses) = (recorder.clone(), witnesses.clone());
            disk.observed_by(Arc::new(move |event| {
                lock(&witnesses).heed(host, &event, recorder.now_us());
                recorder.record(host, Event::Disk { what: format!("{event:?}") });
            }));
            (host, disk)
        };
        let services = plan.shape.services.iter().copied().map(Host::Service);
        let disks = participants.chain(services).chain([Host::Coordinator]).map(disk).collect();
        let disks: BTreeMap<Host, Disk> = disks;
        let max_write_bytes = plan.shape.max_write_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        disks[&Host::Coordinator].set_max_write_bytes(max_write_bytes);
        Arc::new(Shared {
            recorder,
            disks,
            machines: Mutex::default(),
            orders: Mutex::default(),
            swapped: Mutex::default(),
            witnesses,
            copies: Mutex::default(),
            signs: Mutex::default(),
            primary: Mutex::new(Host::Coordinator),
            tempers: Mutex::default(),
            elsewhere: Elsewhere::new(plan.seed),
            post: Post::default(),
            calls: Mutex::default(),
            desks: Mutex::default(),
            finals: Mutex::default(),
            healed: watch::Sender::new(false),
            done: watch::Sender::new(0),
            hearing: Mutex::default(),
            audited: watch::Sender::new(false),
            planted: Planted::default(),
            plan,
        })
    }

    pub(super) fn mutates(&self, mutant: Mutant) -> bool {
        self.plan.mutant == Some(mutant)
    }

    /// The one in the host's machine.
    pub(super) fn disk(&self, host: Host) -> &Disk {
        &self.disks[&self.inside(host)]
    }

    /// Returns the host whose disk that is.
    fn inside(&self, host: Host) -> Host {
        let own = own_disk(host);
        lock(&self.swapped).get(&own).copied().unwrap_or(own)
    }

    /// Returns the disk for its server to open. A server makes an empty disk its own: were that another's, nobody would
    /// notice, nor get it back.
    pub(super) fn disk_to_open(&self, host: Host) -> Result<&Disk, String> {
        let disk = self.disk(host);
        let is_anothers = lock(&self.swapped).contains_key(&own_disk(host));
        if let Some(life) = self.life(host) {
            lock(&self.witnesses).opened(self.inside(host), life);
        }
        if is_anothers && disk.is_empty() {
            Err(format!("{host} has an empty disk that is not its own"))
        } else {
            Ok(disk)
        }
    }

    /// Returns who serves from the host's own disk: the standby, once it has taken over; a participant's database.
    pub(super) fn user_of_disk(&self, host: Host) -> Host {
        match host {
            Host::Coordinator => self.primary(),
            Host::Participant(number) if self.has_database(host) => Host::Database(number),
            Host::Participant(_)
            | Host::Database(_)
            | Host::Service(_)
            | Host::Standby
            | Host::Client(_)
            | Host::Reader(_) => host,
        }
    }

    /// Returns true of a participant that stands in front of a database.
    pub(super) fn has_database(&self, host: Host) -> bool {
        matches!(host, Host::Participant(number) if self.plan.shape.databases.contains(&number))
    }

    /// Returns true of a participant that calls an HTTP service.
    pub(super) fn has_service(&self, host: Host) -> bool {
        matches!(host, Host::Participant(number) if self.plan.shape.services.contains(&number))
    }

    pub(super) fn databases(&self) -> impl Iterator<Item = Host> + '_ {
        self.plan.shape.databases.iter().map(|number| Host::Database(*number))
    }

    /// Returns the temper of the resource there.
    pub(super) fn temper(&self, host: Host) -> Temper {
        lock(&self.tempers).get(&host).copied().unwrap_or_default()
    }

    pub(super) fn change_temper(&self, what: &What, begins: bool) {
        lock(&self.hearing).change(what, begins);
        if let Some(participant) = Temper::changed_by(what) {
            lock(&self.tempers).entry(Host::Participant(participant)).or_default().change(what, begins);
        }
    }

    /// Returns the time that a reader takes over a batch.
    pub(super) fn slowness(&self, reader: u8) -> Duration {
        lock(&self.hearing).slowness(reader)
    }

    /// Returns the time by which what a participant reads of another's log is late.
    pub(super) fn lateness(&self, participant: u8, from: u8) -> Duration {
        lock(&self.hearing).lateness(participant, from)
    }

    pub(super) fn swap_disks(&self, one: Host, other: Host) {
        lock(&self.swapped).extend([(one, other), (other, one)]);
    }

    pub(super) fn put_disks_right(&self) {
        lock(&self.swapped).clear();
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = Host> + '_ {
        self.disks.keys().copied()
    }

    pub(super) fn primary(&self) -> Host {
        *lock(&self.primary)
    }

    /// There is no coordinator any more, nor will there be.
    pub(super) fn is_abandoned(&self) -> bool {
        self.finals().gone.contains(&self.primary())
    }

    pub(super) fn take_over(&self) {
        *lock(&self.primary) = Host::Standby;
    }

    /// A new process on this host, with randomness of its own.
    pub(super) fn start(&self, host: Host) -> (Process, Arc<SeededRandom>) {
        let mut machines = lock(&self.machines);
        let machine = machines.entry(host).or_default();
        machine.process = Process::default();
        machine.starts += 1;
        let random = random(self.plan.seed, &format!("{host}, start {}", machine.starts));
        (machine.process.clone(), Arc::new(random))
    }

    pub(super) fn process(&self, host: Host) -> Process {
        lock(&self.machines).entry(host).or_default().process.clone()
    }

    pub(super) fn clock(&self, host: Host) -> Arc<dyn Clock> {
        Arc::new(HostClock(self.clock_offset(host)))
    }

    pub(super) fn clock_offset(&self, host: Host) -> Arc<AtomicI64> {
        lock(&self.machines).entry(host).or_default().clock_offset_us.clone()
    }

    pub(super) fn crash_points(self: &Arc<Self>, host: Host) -> CrashPoints {
        let shared = self.clone();
        CrashPoints::observed_by(Arc::new(move |point| shared.reach(host, point)))
    }

    /// The host's code reaches a point: faults that wait for it strike. A crash takes effect before anything else does.
    pub(super) fn reach(&self, host: Host, point: &'static str) {
        let count = {
            let mut machines = lock(&self.machines);
            let machine = machines.entry(host).or_default();
            if machine.process.is_dead() {
                return;
            }
            let count = machine.reached.entry(point).or_default();
            *count += 1;
            *count
        };
        if *self.healed.borrow() {
            return;
        }
        for (index, fault) in self.plan.faults.iter().enumerate() {
            let When::Point { host: at, point: name, count: nth, during } = &fault.when else { continue };
            if *at != host || name != point {
                continue;
            }
            let count = match during {
                None => count,
                Some(state) if stands(host, state, &self.recorder) => self.find(host, index),
                Some(_) => continue,
            };
            if *nth != count {
                continue;
            }
            let met = states_hit(&fault.what, &self.recorder);
            if !takes_effect_later(point) {
                if kills(&fault.what, host) {
                    self.process(host).kill();
                }
                self.take_hold(index, &fault.what);
            }
            self.order(Order::Strike { fault: index, met });
        }
    }

    fn find(&self, host: Host, fault: usize) -> u32 {
        let mut machines = lock(&self.machines);
        let found = machines.entry(host).or_default().found.entry(fault).or_default();
        *found += 1;
        *found
    }

    /// Does what a fault does to a process or its disk without anybody else's help. Doing it twice is like doing it once.
    pub(super) fn take_hold(&self, index: usize, what: &What) {
        match what {
            What::PutBack { host, copy: Copied::Hot | Copied::Snapshot, .. } => self.copy(index, *host, what),
            What::PutBack { copy: Copied::Cold | Copied::Emptied, .. } => {}
            What::Pause { host, .. } => self.process(*host).pause(),
            What::LyingSyncs { host, .. } => self.disk(*host).lie_about_syncs(true),
            What::DiskFull { host, .. } => self.disk(*host).set_full(true),
            What::ReadOnlyDisk { host, .. } => self.disk(*host).set_read_only(true),
            What::DiskAway { host, .. } => self.disk(*host).set_away(true),
            What::SlowDisk { host, sync_ms, .. } => {
                let base = Duration::from_millis(*sync_ms);
                self.disk(*host).set_sync_latency(base, base / 2);
            }
            What::Crash { .. }
            | What::Gone { .. }
            | What::Takeover { .. }
            | What::Partition { .. }
            | What::Clog { .. }
            | What::Tamper { .. }
            | What::SyncFails { .. }
            | What::RolledBack { .. }
            | What::BitFlip { .. }
            | What::Wiped { .. }
            | What::Swapped { .. }
            | What::VoteLost { .. }
            | What::Poisoned
            | What::Clock { .. }
            | What::OtherHand { .. }
            | What::Impostor { .. }
            | What::UnknownSchema
            | What::Resolve { .. }
            | What::Forget
            | What::ResolveStuck { .. }
            | What::EndSaga { .. }
            | What::ReleaseMarks { .. } => {}
            What::SlowReader { .. }
            | What::LateSource { .. }
            | What::ReactionsRefused { .. }
            | What::SlowReactions { .. }
            | What::CompensationsRefused { .. }
            | What::ActionsRefused { .. }
            | What::SlowPrepares { .. }
            | What::Unclear { .. }
            | What::ReadersForgotten { .. }
            | What::SessionsCut { .. }
            | What::ServiceTroubled { .. } => {
                self.change_temper(what, true);
            }
        }
    }

    pub(super) fn reached(&self) -> BTreeMap<(Host, &'static str), u32> {
        let machines = lock(&self.machines);
        let of = |(host, machine): (&Host, &Machine)| {
            let host = *host;
            machine.reached.clone().into_iter().map(move |(point, count)| ((host, point), count))
        };
        machines.iter().flat_map(of).collect()
    }

    pub(super) fn next_desk(&self) -> u32 {
        let mut desks = lock(&self.desks);
        *desks += 1;
        *desks
    }

    pub(super) fn order(&self, order: Order) {
        lock(&self.orders).push(order);
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut *lock(&self.orders))
    }

    /// A client begins a request; the answer goes to [`Shared::told`] under the same number.
    pub(super) fn asked(&self, client: u8, tx: &str, kind: CallKind) -> usize {
        let what = match &kind {
            CallKind::Submit(work) => format!("submit at {}", places(work)),
            CallKind::SubmitOther(work) => format!("submit something else under the same id at {}", places(work)),
            CallKind::Cancel => "cancel".to_owned(),
            CallKind::Ask => "ask".to_owned(),
        };
        self.recorder.record(Host::Client(client), Event::Requested { tx: tx.to_owned(), what });
        let mut calls = lock(&self.calls);
        let (asked_us, reply) = (now_us(), Reply::Unknown("never answered".to_owned()));
        calls.push(Call { client, tx: tx.to_owned(), kind, asked_us, told_us: None, reply });
        calls.len() - 1
    }

    pub(super) fn told(&self, call: usize, reply: Reply) {
        let mut calls = lock(&self.calls);
        let call = &mut calls[call];
        call.told_us = Some(now_us());
        call.reply = reply;
        let answer = match &call.reply {
            Reply::Committed(_) => "committed".to_owned(),
            Reply::Aborted(why) => format!("aborted: {why}"),
            Reply::Nested { closed: true } => "closed, and kept".to_owned(),
            Reply::Nested { closed: false } => "left open".to_owned(),
            Reply::Refused(why) => format!("refused: {why}"),
            Reply::Unknown(why) => format!("unknown: {why}"),
        };
        self.recorder.record(Host::Client(call.client), Event::Answered { tx: call.tx.clone(), answer });
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    pub(super) fn finals(&self) -> MutexGuard<'_, Finals> {
        lock(&self.finals)
    }
}

/// Returns the host that a disk belongs to: the standby has the coordinator's, and a database is what its participant guards.
fn own_disk(host: Host) -> Host {
    match host {
        Host::Standby => Host::Coordinator,
        Host::Database(number) => Host::Participant(number),
        Host::Coordinator | Host::Participant(_) | Host::Service(_) | Host::Client(_) | Host::Reader(_) => host,
    }
}

fn places(work: &crate::run::Work) -> String {
    work.keys().map(|number| Host::Participant(*number).to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns true if this fault ends the process of `host`.
fn kills(what: &What, host: Host) -> bool {
    match what {
        What::Crash { host: at, .. }
        | What::Gone { host: at }
        | What::RolledBack { host: at, .. }
        | What::BitFlip { host: at, .. }
        | What::PutBack { host: at, copy: Copied::Cold, .. }
        | What::Wiped { host: at } => *at == host,
        What::VoteLost { participant } => Host::Participant(*participant) == host,
        What::Poisoned => host == Host::Coordinator,
        What::Swapped { host: at, with, .. } => *at == host || *with == host,
        What::Pause { .. }
        | What::Takeover { .. }
        | What::PutBack { copy: Copied::Hot | Copied::Snapshot | Copied::Emptied, .. }
        | What::Partition { .. }
        | What::Clog { .. }
        | What::Tamper { .. }
        | What::LyingSyncs { .. }
        | What::SyncFails { .. }
        | What::DiskFull { .. }
        | What::ReadOnlyDisk { .. }
        | What::DiskAway { .. }
        | What::SlowDisk { .. }
        | What::Clock { .. }
        | What::Resolve { .. }
        | What::Forget
        | What::CompensationsRefused { .. }
        | What::ActionsRefused { .. }
        | What::SlowPrepares { .. }
        | What::Unclear { .. }
        | What::ReadersForgotten { .. }
        | What::SlowReader { .. }
        | What::LateSource { .. }
        | What::ReactionsRefused { .. }
        | What::SlowReactions { .. }
        | What::UnknownSchema
        | What::SessionsCut { .. }
        | What::ServiceTroubled { .. }
        | What::OtherHand { .. }
        | What::Impostor { .. }
        | What::ResolveStuck { .. }
        | What::EndSaga { .. }
        | What::ReleaseMarks { .. } => false,
    }
}

/// Returns true if what was handed to a stream gets out before the process dies there.
fn takes_effect_later(point: &str) -> bool {
    point.starts_with("after-send") || point == "after-answer"
}

/// Returns the time as the running host has it.
pub(super) fn now_us() -> u64 {
    turmoil::sim_elapsed().map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// Locks a mutex. Nothing between taking and freeing these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Simulated time of day, off by what faults made of it.
struct HostClock(Arc<AtomicI64>);

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let epoch_us = u64::try_from(EPOCH.as_micros()).unwrap_or(u64::MAX);
        Timestamp((epoch_us + now_us()).saturating_add_signed(self.0.load(Ordering::Relaxed)))
    }
}
