//! The figures of a participant: their names, what is counted, and who looks at the engine for the rest.
//!
//! The engine adds to plain atomics that nobody else writes: one addition for a vote, one for an end. All that is a state (open, in
//! doubt, in queues) is looked up when somebody asks.

use crate::engine::{Handle, View};
use futures::future::BoxFuture;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use undoubt_participant_core::Census;
use undoubt_platform::metrics::{Metric, Source, Tell, Telling};
use undoubt_platform::{Clock, Timestamp};
use undoubt_vocabulary::{BranchOutcome, RefusalCode, StepOutcome, ToCoordinator, Vote};

/// The metrics of a participant.
pub const METRICS: &[Metric] = &[
    VOTES,
    ENDED,
    STEPS,
    OPEN,
    MAX_OPEN,
    IN_DOUBT,
    OLDEST_IN_DOUBT,
    HEURISTIC,
    STEPS_UNDER_WAY,
    COORDINATORS,
    CONNECTED,
    COMMANDS,
    MAX_COMMANDS,
    RECEIVED,
    MAX_RECEIVED,
    UNSENT,
    MAX_UNSENT,
    KEPT,
    MAX_KEPT,
    WAITING,
    WAITING_BYTES,
    REFUSING,
    PUT_BACK,
    RECOVERY,
    RESOURCE,
];

const VOTES: Metric = Metric::counter(
    "undoubt_participant_votes",
    &["vote", "reason"],
    "Votes that were sent, repetitions among them; a refusal with its code",
);
const ENDED: Metric = Metric::counter(
    "undoubt_participant_branches_ended",
    &["outcome"],
    "Ends of branches that coordinators were told of, repetitions among them",
);
const STEPS: Metric = Metric::counter(
    "undoubt_participant_steps",
    &["outcome", "reason"],
    "Answers to actions and compensations of sagas, repetitions among them; a refusal with its code",
);
const OPEN: Metric = Metric::gauge("undoubt_participant_branches_open", &[], "Branches that are not finished");
const MAX_OPEN: Metric = Metric::gauge(
    "undoubt_participant_branches_open_max",
    &[],
    "The bound of branches that are not finished, with steps under way (max_open_branches)",
);
const IN_DOUBT: Metric = Metric::gauge(
    "undoubt_participant_branches_in_doubt",
    &[],
    "Branches that have voted prepared, keep their locks, and do not know the decision",
);
const OLDEST_IN_DOUBT: Metric = Metric::gauge(
    "undoubt_participant_branches_in_doubt_oldest_seconds",
    &[],
    "Age of the oldest of them, since its transaction began by its coordinator's clock; 0 if there is none",
);
const HEURISTIC: Metric = Metric::gauge(
    "undoubt_participant_branches_heuristic",
    &[],
    "Branches that were ended by somebody else than their coordinator, and are kept until that has heard of it",
);
const STEPS_UNDER_WAY: Metric =
    Metric::gauge("undoubt_participant_steps_under_way", &[], "Steps of sagas that the resource works on");
const COORDINATORS: Metric =
    Metric::gauge("undoubt_participant_coordinators_known", &[], "Coordinators that are known here");
const CONNECTED: Metric =
    Metric::gauge("undoubt_participant_coordinators_connected", &[], "Coordinators with a session");
const COMMANDS: Metric =
    Metric::gauge("undoubt_participant_queue_commands", &[], "Batches and requests that wait for the engine");
const MAX_COMMANDS: Metric =
    Metric::gauge("undoubt_participant_queue_max_commands", &[], "The bound of undoubt_participant_queue_commands");
const RECEIVED: Metric =
    Metric::gauge("undoubt_participant_received_bytes", &[], "Work that was received and not taken by the engine");
const MAX_RECEIVED: Metric =
    Metric::gauge("undoubt_participant_received_max_bytes", &[], "The bound of undoubt_participant_received_bytes");
const UNSENT: Metric = Metric::gauge(
    "undoubt_participant_unsent_bytes",
    &[],
    "Results that are computed and not written, and messages that wait to be sent",
);
const MAX_UNSENT: Metric =
    Metric::gauge("undoubt_participant_unsent_max_bytes", &[], "The bound of undoubt_participant_unsent_bytes");
const KEPT: Metric =
    Metric::gauge("undoubt_participant_kept_result_bytes", &[], "Results that are kept so that they can be said again");
const MAX_KEPT: Metric = Metric::gauge(
    "undoubt_participant_kept_result_max_bytes",
    &[],
    "The bound of undoubt_participant_kept_result_bytes (max_kept_result_bytes)",
);
const WAITING: Metric =
    Metric::gauge("undoubt_participant_waiting_work", &[], "Prepares and actions that wait for room for their results");
const WAITING_BYTES: Metric = Metric::gauge("undoubt_participant_waiting_work_bytes", &[], "Their bytes");
const REFUSING: Metric =
    Metric::gauge("undoubt_participant_refusing_work", &[], "1 while new work is refused or waits");
const PUT_BACK: Metric =
    Metric::gauge("undoubt_participant_put_back", &[], "1 while its data are believed to be an older copy");
const RECOVERY: Metric = Metric::gauge(
    "undoubt_participant_recovery_duration_seconds",
    &[],
    "Time from the start until what is in doubt was locked again",
);
const RESOURCE: Metric =
    Metric::gauge("undoubt_participant_resource", &["resource", "number"], "Numbers that the resource tells of itself");

/// The votes, steps' answers and ends that are counted beside refusals.
const VOTED: [&str; 3] = ["prepared", "read-only", "committed"];
const STEPPED: [&str; 2] = ["done", "empty"];
const OUTCOMES: [BranchOutcome; 5] = [
    BranchOutcome::Committed,
    BranchOutcome::Aborted,
    BranchOutcome::HeuristicallyCommitted,
    BranchOutcome::HeuristicallyAborted,
    BranchOutcome::Unknown,
];
const CODES: [RefusalCode; 9] = [
    RefusalCode::Condition,
    RefusalCode::InvalidWork,
    RefusalCode::TooLarge,
    RefusalCode::LockConflict,
    RefusalCode::LockTimeout,
    RefusalCode::Unavailable,
    RefusalCode::Late,
    RefusalCode::Pending,
    RefusalCode::Unclear,
];

/// The counts of a participant since its start.
#[derive(Default)]
pub(crate) struct Figures {
    votes: [AtomicU64; VOTED.len()],
    votes_refused: [AtomicU64; CODES.len()],
    steps: [AtomicU64; STEPPED.len()],
    steps_refused: [AtomicU64; CODES.len()],
    ended: [AtomicU64; OUTCOMES.len()],
    state: Mutex<Option<State>>,
}

fn add<T: PartialEq>(counts: &[AtomicU64], kinds: &[T], kind: &T) {
    if let Some(place) = kinds.iter().position(|one| one == kind) {
        counts[place].fetch_add(1, Ordering::Relaxed);
    }
}

fn get(counts: &[AtomicU64]) -> impl Iterator<Item = u64> + '_ {
    counts.iter().map(|count| count.load(Ordering::Relaxed))
}

impl Figures {
    /// Counts a message to a coordinator.
    pub(crate) fn sent(&self, message: &ToCoordinator) {
        match message {
            ToCoordinator::Vote { vote, .. } => match vote {
                Vote::Prepared { .. } => add(&self.votes, &VOTED, &"prepared"),
                Vote::ReadOnly { .. } => add(&self.votes, &VOTED, &"read-only"),
                Vote::Committed { .. } => add(&self.votes, &VOTED, &"committed"),
                Vote::Refused(refusal) => add(&self.votes_refused, &CODES, &refusal.code),
            },
            ToCoordinator::Ran { outcome, .. } => match outcome {
                StepOutcome::Done { .. } => add(&self.steps, &STEPPED, &"done"),
                StepOutcome::Empty => add(&self.steps, &STEPPED, &"empty"),
                StepOutcome::Refused(refusal) => add(&self.steps_refused, &CODES, &refusal.code),
            },
            ToCoordinator::Finished { outcome, .. } => add(&self.ended, &OUTCOMES, outcome),
            ToCoordinator::Confirmed { .. } | ToCoordinator::Inquiry { .. } | ToCoordinator::Closed { .. } => {}
        }
    }

    /// Returns how many branches were told to have committed and aborted.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let mut ended = get(&self.ended);
        (ended.next().unwrap_or_default(), ended.next().unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        // What is behind it is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A participant as somebody saw it.
struct State {
    at: Timestamp,
    census: Census,
    coordinators: usize,
    connected: usize,
    refusing: Option<String>,
    put_back: bool,
    waiting: (usize, usize),
    resource: &'static str,
    numbers: Vec<(&'static str, u64)>,
    queues: Queues,
}

/// What waits at the edges of the engine, each with its bound.
#[derive(Clone, Copy, Default)]
pub(crate) struct Queues {
    pub(crate) commands: (usize, usize),
    pub(crate) received_bytes: (usize, usize),
    pub(crate) unsent_bytes: (usize, usize),
    pub(crate) kept_bytes: (usize, usize),
}

/// Looks at a participant.
pub(crate) struct Looking {
    pub(crate) figures: Arc<Figures>,
    pub(crate) engine: Handle,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Source for Looking {
    fn look(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            // What is not seen now is not told as it was.
            self.figures.state().take();
            let (now, queues) = (self.clock.now(), self.engine.queues());
            let looked =
                self.engine.inspect(move |view| State::of(view, now)).await.map_err(|gone| gone.to_string())?;
            let refusing = looked.refusing.clone();
            *self.figures.state() = Some(State { queues, ..looked });
            refusing.map_or(Ok(()), |why| Err(format!("no new work is taken: {why}")))
        })
    }
}

impl State {
    fn of(view: &View<'_>, now: Timestamp) -> State {
        State {
            at: now,
            census: view.core.census(),
            coordinators: view.core.coordinators().count(),
            connected: view.core.coordinators().filter(|known| known.connected).count(),
            refusing: view.health.refuses_work.clone(),
            put_back: view.core.put_back().is_some(),
            waiting: view.waiting,
            resource: view.resource,
            numbers: view.health.numbers.clone(),
            queues: Queues::default(),
        }
    }

    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let Census { open, in_doubt, oldest_in_doubt, heuristic, steps_under_way, max_open } = &self.census;
        let oldest = oldest_in_doubt.as_ref().map_or(Duration::ZERO, |(begun_at, _)| self.at.since(*begun_at));
        telling.one(&OPEN, *open)?;
        telling.one(&MAX_OPEN, *max_open)?;
        telling.one(&IN_DOUBT, *in_doubt)?;
        telling.one(&OLDEST_IN_DOUBT, oldest)?;
        telling.one(&HEURISTIC, *heuristic)?;
        telling.one(&STEPS_UNDER_WAY, *steps_under_way)?;
        telling.one(&COORDINATORS, self.coordinators)?;
        telling.one(&CONNECTED, self.connected)?;
        let Queues { commands, received_bytes, unsent_bytes, kept_bytes } = self.queues;
        telling.one(&COMMANDS, commands.0)?;
        telling.one(&MAX_COMMANDS, commands.1)?;
        telling.one(&RECEIVED, received_bytes.0)?;
        telling.one(&MAX_RECEIVED, received_bytes.1)?;
        telling.one(&UNSENT, unsent_bytes.0)?;
        telling.one(&MAX_UNSENT, unsent_bytes.1)?;
        telling.one(&KEPT, kept_bytes.0)?;
        telling.one(&MAX_KEPT, kept_bytes.1)?;
        telling.one(&WAITING, self.waiting.0)?;
        telling.one(&WAITING_BYTES, self.waiting.1)?;
        telling.one(&REFUSING, self.refusing.is_some())?;
        telling.one(&PUT_BACK, self.put_back)?;
        telling.each(&RESOURCE, self.numbers.iter().map(|(name, value)| ([self.resource, *name], *value)))
    }
}

impl Tell for Figures {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        let refused = |counts| CODES.iter().zip(get(counts)).map(|(code, count)| (["refused", code.as_str()], count));
        let voted = VOTED.into_iter().zip(get(&self.votes)).map(|(vote, count)| ([vote, ""], count));
        telling.each(&VOTES, voted.chain(refused(&self.votes_refused)))?;
        let stepped = STEPPED.into_iter().zip(get(&self.steps)).map(|(outcome, count)| ([outcome, ""], count));
        telling.each(&STEPS, stepped.chain(refused(&self.steps_refused)))?;
        telling
            .each(&ENDED, OUTCOMES.iter().zip(get(&self.ended)).map(|(outcome, count)| ([outcome.as_str()], count)))?;
        self.state().as_ref().map_or(Ok(()), |state| state.tell(telling))
    }
}

/// Tells how long the start took.
pub(crate) struct Recovery(pub(crate) Duration);

impl Tell for Recovery {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        telling.one(&RECOVERY, self.0)
    }
}
