//! The figures of a coordinator: what is counted, and who looks at the engine for the rest.
//!
//! The engine adds to plain atomics that nobody else writes: one or two additions for the beginning and the end of a transaction, no
//! lock, no memory. All that is a state (open, stuck, in queues) is looked up when somebody asks.

mod catalogue;

pub use catalogue::METRICS;

use crate::engine::{Handle, LinkState, View};
use crate::limits::Limit;
use crate::log::WeakLog;
use catalogue::{
    AWAY, BEGUN, COMMAND_BYTES, COMMANDS, CONNECT_FAILURES, CONNECTED, DAMAGED, DAMAGED_ENDS, DURATION, ENDED, EPOCH,
    GATHERED, GATHERING, MAX_COMMAND_BYTES, MAX_COMMANDS, MAX_GATHERED, MAX_GATHERING, MAX_OPEN, MAX_WORK, OLDEST,
    OLDEST_STUCK, OLDEST_UNACKNOWLEDGED, OPEN, OPEN_WITH, PAUSED, PHASE, QUEUED, QUEUED_BYTES, RECOVERED, RECOVERY,
    REFUSING, REJECTED, SESSIONS, SPARED, STUCK, UNACKNOWLEDGED, UNNUMBERED, UNUSABLE, WORK,
};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use undoubt_coordinator_core::{Census, Counted, EndedRecord, Rejection};
use undoubt_platform::metrics::{Distribution, LATENCY_SECONDS, Source, Tell, Telling};
use undoubt_platform::{Clock, Timestamp};
use undoubt_vocabulary::{CoordinatorPhase, Outcome};

/// Damaged transactions that are counted.
const MAX_DAMAGED_COUNTED: usize = 10_000;

/// The labels of reasons for which a transaction aborts.
const REASONS: [&str; 17] = [
    "condition",
    "invalid-work",
    "too-large",
    "lock-conflict",
    "lock-timeout",
    "unavailable",
    "late",
    "pending",
    "deadline",
    "unanswered",
    "read-locks-lost",
    "not-executed",
    "given-up",
    "cancelled",
    "presumed",
    "unusable",
    "other",
];

/// The labels of the two ways.
const MODES: [&str; 2] = ["two-phase", "saga"];

/// The counts of a coordinator since its start.
pub(crate) struct Figures {
    begun: [AtomicU64; 2],
    committed: [AtomicU64; 2],
    aborted: [BTreeMap<&'static str, AtomicU64>; 2],
    damaged: [AtomicU64; 2],
    durations: [Distribution; 2],
    rejected: BTreeMap<&'static str, AtomicU64>,
    recovered: AtomicU64,
    state: Mutex<Option<State>>,
}

impl Default for Figures {
    fn default() -> Self {
        let counts = || REASONS.into_iter().map(|reason| (reason, AtomicU64::new(0))).collect();
        Figures {
            begun: Default::default(),
            committed: Default::default(),
            aborted: [counts(), counts()],
            damaged: Default::default(),
            durations: std::array::from_fn(|_| Distribution::new(LATENCY_SECONDS)),
            rejected: REJECTIONS.into_iter().map(|reason| (reason, AtomicU64::new(0))).collect(),
            recovered: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Figures {
    /// Sets how many open transactions the start found.
    pub(crate) fn recovered(&self, found: usize) {
        self.recovered.store(found as u64, Ordering::Relaxed);
    }

    pub(crate) fn begun(&self, saga: bool) {
        add(&self.begun[usize::from(saga)]);
    }

    pub(crate) fn ended(&self, ended: &EndedRecord, now: Timestamp) {
        let mode = usize::from(ended.saga);
        match &ended.outcome {
            Outcome::Committed => add(&self.committed[mode]),
            Outcome::Aborted(reason) => {
                let count = self.aborted[mode].get(reason.label()).or_else(|| self.aborted[mode].get("other"));
                count.into_iter().for_each(add);
            }
        }
        if ended.is_damaged() {
            add(&self.damaged[mode]);
        }
        self.durations[mode].add_time(now.since(ended.begun_at));
    }

    /// Returns how many have begun, committed and aborted.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let sum = |counts: &[AtomicU64]| counts.iter().map(get).sum();
        (sum(&self.begun), sum(&self.committed), self.aborted.iter().flat_map(BTreeMap::values).map(get).sum())
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.get(reason).into_iter().for_each(add);
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        // What is behind it is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Labels of rejections that come from the engine itself.
pub(crate) const NO_ROOM: &str = "no-room";
pub(crate) const UNKNOWN_PARTICIPANT: &str = "unknown-participant";
pub(crate) const NOT_OWNER: &str = "not-owner";
const RATE: &str = "rate-of-identity";
const SHARE: &str = "share-of-identity";

/// Returns the label of a limit of an identity.
pub(crate) fn exceeded(limit: Limit) -> &'static str {
    match limit {
        Limit::Rate(_) => RATE,
        Limit::Share { .. } => SHARE,
    }
}

/// The labels of all rejections.
const REJECTIONS: [&str; 18] = [
    NO_ROOM,
    UNKNOWN_PARTICIPANT,
    NOT_OWNER,
    RATE,
    SHARE,
    "recovering",
    "draining",
    "too-many-open",
    "too-many-begun",
    "too-much-open",
    "too-much-gathered",
    "too-many-waiters",
    "other-content",
    "invalid",
    "deadline-passed",
    "not-found",
    "not-possible-now",
    "lacks-ability",
];

/// Returns the label of a rejection.
pub(crate) fn label(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Recovering | Rejection::RecoveryPaused => "recovering",
        Rejection::Draining => "draining",
        Rejection::TooManyOpen { .. } => "too-many-open",
        Rejection::TooMuchOpen { .. } => "too-much-open",
        Rejection::TooMuchGathered { .. } => "too-much-gathered",
        Rejection::TooManyWaiters { .. } => "too-many-waiters",
        Rejection::TooManyBegun { .. } => "too-many-begun",
        Rejection::NoParent { .. } => "no-parent",
        Rejection::ParentEnding { .. } => "parent-ending",
        Rejection::NestedUnsettled { .. } => "nested-unsettled",
        Rejection::OtherContent | Rejection::OtherStep { .. } => "other-content",
        Rejection::NoBranches
        | Rejection::TooManyBranches { .. }
        | Rejection::TwoBranches { .. }
        | Rejection::TooLarge { .. }
        | Rejection::TooManySteps { .. }
        | Rejection::InvalidSaga(_) => "invalid",
        Rejection::DeadlinePassed => "deadline-passed",
        Rejection::NotFound | Rejection::NoSuchStep { .. } => "not-found",
        Rejection::Lacks { .. } | Rejection::NeitherWay { .. } => "lacks-ability",
        Rejection::NotDecided
        | Rejection::TooLate
        | Rejection::NotASaga
        | Rejection::Unusable { .. }
        | Rejection::NotStuck { .. }
        | Rejection::StepSettled { .. }
        | Rejection::NotOpen { .. }
        | Rejection::NotBegun
        | Rejection::Beginning
        | Rejection::StepUnsettled { .. }
        | Rejection::NothingToForget
        | Rejection::BeingNoted => "not-possible-now",
    }
}

/// A coordinator as somebody saw it.
struct State {
    at: Timestamp,
    census: Census,
    phase: CoordinatorPhase,
    refusing: Option<String>,
    gathering_bytes: usize,
    epoch: u32,
    participants: Vec<Participant>,
    commands: Queue,
    command_bytes: Queue,
    damaged: Option<usize>,
    recovery: Option<Duration>,
}

#[derive(Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) length: usize,
    pub(crate) max: usize,
}

struct Participant {
    name: String,
    connected: bool,
    away: Duration,
    sessions: u64,
    failures: u64,
    open: usize,
    messages: usize,
    bytes: usize,
    spared: bool,
    unnumbered: bool,
}

/// Looks at a coordinator.
pub(crate) struct Looking {
    pub(crate) figures: Arc<Figures>,
    pub(crate) engine: Handle,
    pub(crate) log: WeakLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) epoch: Arc<AtomicU32>,
    pub(crate) held_because: watch::Receiver<Vec<String>>,
    /// The time that the start took, once it is over.
    pub(crate) recovery: watch::Receiver<Option<Duration>>,
}

impl Source for Looking {
    fn look(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            // What is not seen now is not told as it was.
            self.figures.state().take();
            let now = self.clock.now();
            let (commands, command_bytes) = self.engine.queued();
            let looked =
                self.engine.inspect(move |view| State::of(view, now)).await.map_err(|gone| gone.to_string())?;
            let held_because = self.held_because.borrow().clone();
            let phase = if held_because.is_empty() { looked.phase } else { CoordinatorPhase::Held };
            // Beside the engine, which has others to serve.
            let damaged =
                self.log.log().and_then(|log| log.damaged(None, MAX_DAMAGED_COUNTED).ok()).map(|all| all.len());
            let recovery = *self.recovery.borrow();
            let refusing = looked.refusing.clone();
            *self.figures.state() = Some(State {
                phase,
                epoch: self.epoch.load(Ordering::Relaxed),
                commands,
                command_bytes,
                damaged,
                recovery,
                ..looked
            });
            let serves = matches!(phase, CoordinatorPhase::Serving | CoordinatorPhase::RecoveryPaused);
            match refusing {
                None if serves => Ok(()),
                Some(why) if serves => Err(format!("no new transactions are taken: {why}")),
                Some(_) | None if held_because.is_empty() => Err(format!("it is {}", phase.as_str())),
                Some(_) | None => Err(format!("it is held: {}", held_because.join("; "))),
            }
        })
    }
}

impl State {
    fn of(view: &View<'_>, now: Timestamp) -> State {
        let participants = view.links.iter().map(|(name, link)| {
            let (connected, messages, bytes) = match &link.state {
                LinkState::Connected { queue, .. } => (true, queue.len(), queue.bytes()),
                LinkState::Disconnected { .. } => (false, 0, 0),
            };
            Participant {
                name: name.to_string(),
                connected,
                away: if connected { Duration::ZERO } else { now.since(link.since) },
                sessions: link.sessions,
                failures: link.failures,
                open: view.core.open_with(name),
                messages,
                bytes,
                spared: view.core.spares(name, now),
                unnumbered: link.unnumbered,
            }
        });
        let unseen = Queue { length: 0, max: 0 };
        State {
            at: now,
            census: view.core.census(),
            phase: view.phase(),
            refusing: view.refusing.map(str::to_owned),
            gathering_bytes: view.gathering_bytes,
            epoch: 0,
            participants: participants.collect(),
            commands: unseen,
            command_bytes: unseen,
            damaged: None,
            recovery: None,
        }
    }

    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let census = &self.census;
        let age = |counted: &Counted| {
            counted.oldest.as_ref().map_or(Duration::ZERO, |(begun_at, _)| self.at.since(*begun_at))
        };
        let modes = [&census.two_phase, &census.sagas];
        telling.each(&OPEN, MODES.into_iter().zip(modes).map(|(mode, open)| ([mode], open.number)))?;
        telling.one(&MAX_OPEN, census.max_open)?;
        telling.each(&OLDEST, MODES.into_iter().zip(modes).map(|(mode, open)| ([mode], age(open))))?;
        telling.one(&UNACKNOWLEDGED, census.unacknowledged.number)?;
        telling.one(&OLDEST_UNACKNOWLEDGED, age(&census.unacknowledged))?;
        telling.one(&STUCK, census.stuck.number)?;
        telling.one(&OLDEST_STUCK, age(&census.stuck))?;
        telling.one(&UNUSABLE, census.unusable.number)?;
        telling.one(&PAUSED, census.paused.number)?;
        if let Some(damaged) = self.damaged {
            telling.one(&DAMAGED, damaged)?;
        }
        telling.one(&WORK, census.work_bytes)?;
        telling.one(&MAX_WORK, census.max_work_bytes)?;
        telling.one(&GATHERED, census.gathered_bytes)?;
        telling.one(&MAX_GATHERED, census.max_gathered_bytes)?;
        telling.one(&COMMANDS, self.commands.length)?;
        telling.one(&MAX_COMMANDS, self.commands.max)?;
        telling.one(&COMMAND_BYTES, self.command_bytes.length)?;
        telling.one(&MAX_COMMAND_BYTES, self.command_bytes.max)?;
        telling.one(&GATHERING, self.gathering_bytes)?;
        telling.one(&MAX_GATHERING, crate::engine::MAX_GATHERING_BYTES)?;
        telling.one(&REFUSING, self.refusing.is_some())?;
        telling.each(&PHASE, CoordinatorPhase::ALL.iter().map(|phase| ([phase.as_str()], *phase == self.phase)))?;
        telling.one(&EPOCH, u64::from(self.epoch))?;
        if let Some(took) = self.recovery {
            telling.one(&RECOVERY, took)?;
        }
        let all = &self.participants;
        telling.each(&CONNECTED, all.iter().map(|one| ([one.name.as_str()], one.connected)))?;
        telling.each(&SESSIONS, all.iter().map(|one| ([one.name.as_str()], one.sessions)))?;
        telling.each(&CONNECT_FAILURES, all.iter().map(|one| ([one.name.as_str()], one.failures)))?;
        telling.each(&AWAY, all.iter().map(|one| ([one.name.as_str()], one.away)))?;
        telling.each(&OPEN_WITH, all.iter().map(|one| ([one.name.as_str()], one.open)))?;
        telling.each(&QUEUED, all.iter().map(|one| ([one.name.as_str()], one.messages)))?;
        telling.each(&QUEUED_BYTES, all.iter().map(|one| ([one.name.as_str()], one.bytes)))?;
        telling.each(&SPARED, all.iter().map(|one| ([one.name.as_str()], one.spared)))?;
        telling.each(&UNNUMBERED, all.iter().map(|one| ([one.name.as_str()], one.unnumbered)))
    }
}

impl Tell for Figures {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let by_mode = |counts: &[AtomicU64; 2]| [([MODES[0]], get(&counts[0])), ([MODES[1]], get(&counts[1]))];
        telling.each(&BEGUN, by_mode(&self.begun))?;
        let mut ended = Vec::new();
        for (mode, name) in MODES.into_iter().enumerate() {
            ended.push(([name, "committed", ""], get(&self.committed[mode])));
            ended.extend(self.aborted[mode].iter().map(|(reason, count)| ([name, "aborted", *reason], get(count))));
        }
        telling.each(&ENDED, ended)?;
        telling.each(&DAMAGED_ENDS, by_mode(&self.damaged))?;
        telling.each(&DURATION, MODES.into_iter().zip(&self.durations).map(|(mode, all)| ([mode], all)))?;
        telling.each(&REJECTED, self.rejected.iter().map(|(reason, count)| ([*reason], get(count))))?;
        telling.one(&RECOVERED, get(&self.recovered))?;
        self.state().as_ref().map_or(Ok(()), |state| state.tell(telling))
    }
}
