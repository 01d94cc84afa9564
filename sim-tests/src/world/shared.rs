//! What hosts and the conductor share: machines with their disks and clocks, orders, and who was promised what.

use super::Process;
use super::cells::{stands, states_hit};
use super::mutant::Mutant;
use super::random::{random, seed_of};
use super::temper::Temper;
use super::witness::{self, Life, Witness, Witnesses};
use crate::disk::{Disk, DiskCopy};
use crate::plan::{Copied, Host, Plan, What, When};
use crate::run::{Call, CallKind, Finals, PutBack, Reply};
use crate::trace::{Event, Recorder, Standing};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use undoubt_platform::numbered::FolderSign;
use undoubt_platform::{Clock, CrashPoints, SeededRandom, Timestamp};
use undoubt_proto::record::SeenOfCoordinator;
use undoubt_proto::v1::LogNumber;
use undoubt_vocabulary::WriteNumber;

/// When simulated time begins: on the first of January 2026.
pub(super) const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// What the world has to do once the hosts have had their turn.
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
    /// How often each point was reached.
    reached: BTreeMap<&'static str, u32>,
    /// How often each fault that waits for a point during a state found that state there.
    found: BTreeMap<usize, u32>,
}

/// An earlier state of a disk.
#[derive(Debug)]
struct Copy {
    of: Host,
    state: DiskCopy,
    signed: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) recorder: Recorder,
    disks: BTreeMap<Host, Disk>,
    machines: Mutex<BTreeMap<Host, Machine>>,
    orders: Mutex<Vec<Order>>,
    /// Whose disk is in which machine, where it is not its own.
    swapped: Mutex<BTreeMap<Host, Host>>,
    /// What each has to know of the others' logs.
    witnesses: Arc<Mutex<Witnesses>>,
    /// By the fault that is to put it back.
    copies: Mutex<BTreeMap<usize, Copy>>,
    /// Whose folders show that they are copies.
    signs: Mutex<BTreeSet<Host>>,
    /// The coordinator that clients talk to.
    primary: Mutex<Host>,
    tempers: Mutex<BTreeMap<Host, Temper>>,
    calls: Mutex<Vec<Call>>,
    /// Operators' desks in use.
    desks: Mutex<u32>,
    finals: Mutex<Finals>,
    pub(super) healed: watch::Sender<bool>,
    /// Clients that have nothing more to ask.
    pub(super) done: watch::Sender<u8>,
}

impl Shared {
    pub(super) fn new(plan: Plan, recorder: Recorder) -> Arc<Shared> {
        let participants = (1..=plan.shape.participants).map(Host::Participant);
        let witnesses = Arc::new(Mutex::new(Witnesses::default()));
        let disk = |host: Host| {
            let disk = Disk::new(host.to_string(), seed_of(plan.seed, &format!("disk of {host}")));
            let (recorder, witnesses) = (recorder.clone(), witnesses.clone());
            disk.observed_by(Arc::new(move |event| {
                lock(&witnesses).heed(host, &event);
                recorder.record(host, Event::Disk { what: format!("{event:?}") });
            }));
            (host, disk)
        };
        let disks = participants.chain([Host::Coordinator]).map(disk).collect();
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
            calls: Mutex::default(),
            desks: Mutex::default(),
            finals: Mutex::default(),
            healed: watch::Sender::new(false),
            done: watch::Sender::new(0),
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

    /// Whose disk that is.
    fn inside(&self, host: Host) -> Host {
        let own = own_disk(host);
        lock(&self.swapped).get(&own).copied().unwrap_or(own)
    }

    /// For its server to open. A server makes an empty disk its own: were that another's, nobody would notice, nor get
    /// it back.
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

    /// Who serves from the host's own disk: the standby, once it has taken over.
    pub(super) fn user_of_disk(&self, host: Host) -> Host {
        if host == Host::Coordinator { self.primary() } else { host }
    }

    /// Of the resource there.
    pub(super) fn temper(&self, host: Host) -> Temper {
        lock(&self.tempers).get(&host).copied().unwrap_or_default()
    }

    pub(super) fn change_temper(&self, what: &What, begins: bool) {
        if let Some(participant) = Temper::changed_by(what) {
            lock(&self.tempers).entry(Host::Participant(participant)).or_default().change(what, begins);
        }
    }

    /// Keeps what the host's disk holds, for the fault that is to put it back. The first copy counts.
    pub(super) fn copy(&self, fault: usize, host: Host, what: &What) {
        let What::PutBack { copy, .. } = what else { return };
        let (of, mut copies) = (self.inside(host), lock(&self.copies));
        copies.entry(fault).or_insert_with(|| {
            let signed = lock(&self.signs).contains(&of);
            let disk = &self.disks[&of];
            match copy {
                Copied::Hot | Copied::Cold => Copy { of, state: disk.copy(true), signed: true },
                Copied::Snapshot => Copy { of, state: disk.copy(false), signed },
                Copied::Emptied => Copy { of, state: DiskCopy::default(), signed: false },
            }
        });
    }

    /// Nobody may have the disk open. It is left alone while it is in another's machine.
    pub(super) fn put_back(&self, fault: usize, host: Host, copied: Copied, at_us: u64) {
        let Some(Copy { of, state, signed }) = lock(&self.copies).remove(&fault) else { return };
        if self.inside(host) != of || of != own_disk(host) {
            return;
        }
        let mut lost = super::finals::transactions_of(&self.disks[&of].put_back(&state));
        if of == Host::Coordinator && copied == Copied::Emptied {
            // Whoever comes next is another coordinator, and knows of none that were under way either.
            lost.extend(self.calls().into_iter().map(|call| call.tx));
        }
        let mut signs = lock(&self.signs);
        if signed {
            signs.insert(of)
        } else {
            signs.remove(&of)
        };
        self.recorder.record_at(at_us, Some(of), Standing::PutBack { copy: copied, lost: lost.len() }.into());
        self.finals().put_back.push(PutBack { host: of, at_us, copy: copied, signed, lost });
    }

    /// What the folder of the host shows by itself.
    pub(super) fn folder_sign(self: &Arc<Self>, host: Host) -> Option<FolderSign> {
        let of = self.inside(host);
        if !lock(&self.signs).contains(&of) {
            return None;
        }
        self.recorder.record(host, Standing::Signed.into());
        if self.mutates(Mutant::FolderSignIgnored) {
            return None;
        }
        let shared = self.clone();
        let settle = move || {
            lock(&shared.signs).remove(&of);
            Ok(())
        };
        Some(FolderSign { why: "the folder is a copy".to_owned(), settle: Box::new(settle) })
    }

    /// The process of the host, if it lives.
    fn life(&self, host: Host) -> Option<Life> {
        let machines = lock(&self.machines);
        let machine = machines.get(&host)?;
        (!machine.process.is_dead()).then_some((host, machine.starts))
    }

    /// A participant has heard of the coordinator's log.
    pub(super) fn participant_learns(&self, host: Host, key: &[u8], value: &Bytes) {
        let Some(id) = key.strip_prefix(b"coordinator/") else { return };
        let (Some(life), Ok(seen)) = (self.life(host), SeenOfCoordinator::decode(value.clone())) else { return };
        let read = |number: LogNumber| WriteNumber::try_from(number).ok();
        let numbers = [seen.met.and_then(read), seen.number.and_then(read)];
        let highest = numbers.into_iter().flatten().max_by_key(|number| (number.start, number.writes));
        let Some(mut number) = highest.filter(|number| number.log == id) else { return };
        if number.start.mark == 0 {
            // For mutants: its own mark is known here all the same.
            let own = witness::starts(&self.disks[&Host::Coordinator]).map(|starts| starts.now);
            number.start = own.filter(|own| own.count == number.start.count).unwrap_or(number.start);
        }
        let witness = Witness { by: host, of: Host::Coordinator };
        lock(&self.witnesses).told(witness, number, life, now_us());
    }

    /// A coordinator has heard of a participant's log.
    pub(super) fn coordinator_learns(&self, host: Host, participant: u8, number: WriteNumber) {
        let Some(life) = self.life(host) else { return };
        let witness = Witness { by: Host::Coordinator, of: Host::Participant(participant) };
        lock(&self.witnesses).told(witness, number, life, now_us());
    }

    /// The number with which the coordinator's log begins its present start.
    pub(super) fn own_number(&self) -> Option<WriteNumber> {
        let starts = witness::starts(&self.disks[&Host::Coordinator])?;
        Some(WriteNumber { log: starts.log, start: starts.now, writes: 0 })
    }

    /// What the log of the one lacks that the other has known since before that moment, and knows still.
    pub(super) fn lack(&self, of: Host, by: Host, before_us: u64) -> Option<String> {
        let witness = Witness { by: own_disk(by), of: own_disk(of) };
        let life = self.life(by);
        let known = lock(&self.witnesses).known(witness, life, before_us)?;
        let lack = witness::starts(&self.disks[&witness.of])?.lack(&known)?;
        Some(format!("{by} has to know its {known}, and {lack}"))
    }

    /// What `by` has known of the log of `of` since before that moment, and does not show: it shows this number, and this epoch.
    pub(super) fn forgotten(
        &self,
        of: Host,
        by: Host,
        before_us: u64,
        shown: Option<WriteNumber>,
        epoch: u32,
    ) -> Option<WriteNumber> {
        let witness = Witness { by: own_disk(by), of: own_disk(of) };
        let known = lock(&self.witnesses).known(witness, self.life(by), before_us)?;
        let is_own = witness::starts(&self.disks[&witness.of])?.log == known.log;
        let is_shown = shown.is_some_and(|shown| shown.log != known.log || !shown.is_before(&known));
        let is_met = known.writes == 0 && epoch >= known.start.count;
        (is_own && !is_shown && !is_met).then_some(known)
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

    /// What a fault does to a process or its disk without anybody else's help. Doing it twice is like doing it once.
    pub(super) fn take_hold(&self, index: usize, what: &What) {
        match what {
            What::PutBack { host, copy: Copied::Hot | Copied::Snapshot, .. } => self.copy(index, *host, what),
            What::PutBack { copy: Copied::Cold | Copied::Emptied, .. } => {}
            What::Pause { host, .. } => self.process(*host).pause(),
            What::LyingSyncs { host, .. } => self.disk(*host).lie_about_syncs(true),
            What::DiskFull { host, .. } => self.disk(*host).set_full(true),
            What::ReadOnlyDisk { host, .. } => self.disk(*host).set_read_only(true),
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
            | What::Resolve { .. }
            | What::Forget
            | What::ResolveStuck { .. }
            | What::EndSaga { .. }
            | What::ReleaseMarks { .. } => {}
            What::CompensationsRefused { .. } | What::ActionsRefused { .. } | What::SlowPrepares { .. } => {
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
        self.recorder.record(Host::Client(client), Event::Asked { tx: tx.to_owned(), what });
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
            Reply::Refused(why) => format!("refused: {why}"),
            Reply::Unknown(why) => format!("unknown: {why}"),
        };
        self.recorder.record(Host::Client(call.client), Event::Told { tx: call.tx.clone(), answer });
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    pub(super) fn finals(&self) -> MutexGuard<'_, Finals> {
        lock(&self.finals)
    }
}

/// By the host whose it is: the standby has the coordinator's.
fn own_disk(host: Host) -> Host {
    if host == Host::Standby { Host::Coordinator } else { host }
}

fn places(work: &crate::run::Work) -> String {
    work.keys().map(|number| Host::Participant(*number).to_string()).collect::<Vec<_>>().join(", ")
}

/// Whether this fault ends the process of `host`.
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
        | What::SlowDisk { .. }
        | What::Clock { .. }
        | What::Resolve { .. }
        | What::Forget
        | What::CompensationsRefused { .. }
        | What::ActionsRefused { .. }
        | What::SlowPrepares { .. }
        | What::ResolveStuck { .. }
        | What::EndSaga { .. }
        | What::ReleaseMarks { .. } => false,
    }
}

/// What was handed to a stream gets out before the process dies.
fn takes_effect_later(point: &str) -> bool {
    point.starts_with("after-send") || point == "after-answer"
}

/// As the running host has it.
pub(super) fn now_us() -> u64 {
    turmoil::sim_elapsed().map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// Nothing between taking and freeing these locks can panic.
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
