//! The one task that owns the core.
//!
//! Each round takes all commands or a finished call of the resource manager, lets the core answer them, and hands the
//! effects on. What a round prepares and commits goes to the resource manager together. Calls overlap, so a slow branch
//! holds nobody else back.

mod calls;
pub(crate) mod commands;
mod coordinator_memory;
mod lookout;
mod recall;
mod steps;
mod traced;
mod turns;
pub(crate) mod waiting_work;

use crate::config::Config;
use crate::emitted::{Emitted, is_told_with};
use crate::metrics::Figures;
use crate::outbox::{Outbox, Outgoing};
use crate::resource::{
    Branches, Cancellations, CoordinatorMarks, FinishedBranch, HeuristicBranch, Loss, PreparedBranch, Recovered,
    RecoveredStep, ResourceError, SHORT_RESULT_BYTES,
};
use crate::room::Room;
use bytes::Bytes;
use calls::Done;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use recall::Recalls;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use traced::TracedWork;
use turns::InTurn;
use undoubt_participant_core as core;
use undoubt_participant_core::{
    Answer, AskedAbout, BranchId, Effect, Input, Limits, Operator, Participant, Session, StepId, Trust,
};
use undoubt_platform::alarm::Bell;
use undoubt_platform::pulse::Heart;
use undoubt_platform::{Clock, CrashPoints, Random, Traces};
use undoubt_vocabulary::{
    BranchOutcome, CoordinatorId, EventId, Execution, LowWaterMark, ParticipantName, Prepare, WriteNumber,
};
use waiting_work::{LOOK_THROUGH_EVERY, Waiting};

pub(crate) use commands::{Command, Handle, KnownHere, View};

/// Commands that may wait for the engine; whoever brings more waits.
pub(crate) const MAX_QUEUED_COMMANDS: usize = 4_096;

/// Commands taken in one round.
const MAX_COMMANDS_PER_ROUND: usize = 256;

/// The period in which the engine says that it goes on.
const BEAT_EVERY: Duration = Duration::from_millis(250);

pub(crate) struct Engine<R> {
    core: Participant,
    figures: Arc<Figures>,
    traced: TracedWork,
    watch: lookout::Watch,
    resource: Arc<R>,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    crash: CrashPoints,
    calls: FuturesUnordered<BoxFuture<'static, Result<Done, ResourceError>>>,
    cancellations: Cancellations,
    /// The branches that this round has to prepare.
    preparing: Vec<(BranchId, Prepare)>,
    /// The branches that this round has to commit.
    committing: Vec<BranchId>,
    actions: BTreeMap<StepId, CancellationToken>,
    room: Room,
    waiting: Waiting,
    recalls: Recalls,
    /// True while sessions may read on.
    takes_work: watch::Sender<bool>,
    in_turn: InTurn,
    sessions: BTreeMap<Session, Outbox>,
    operators: BTreeMap<Operator, oneshot::Sender<Answer>>,
    next_operator: u64,
    /// Losses that operators have accepted.
    losses: Vec<(Loss, WriteNumber)>,
    /// Coordinators whose low-water marks have left something behind.
    collectable: BTreeMap<CoordinatorId, LowWaterMark>,
    collect_at: Option<Instant>,
    commands: mpsc::Receiver<Command>,
    effects: Vec<Effect>,
    emitted: Emitted,
    /// The last event of the work whose end is being handled.
    telling: Option<EventId>,
}

impl<R: Branches> Engine<R> {
    /// Learns from the resource what survived, once that is there. When it returns, what is in doubt is locked again.
    pub(crate) async fn recover(
        resource: Arc<R>,
        owner: ParticipantName,
        config: Arc<Config>,
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
        crash: CrashPoints,
        (figures, bell, traces): (Arc<Figures>, Option<Bell>, Traces),
    ) -> Result<(Engine<R>, Handle), ResourceError> {
        let (sender, commands) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let (takes_work, taking) = watch::channel(true);
        let room = Room::new(config.max_kept_result_bytes);
        resource.use_room(room.clone());
        let emitted = Emitted::default();
        resource.use_emitted(emitted.clone());
        let largest_kept_bytes = if resource.recalls_results() { SHORT_RESULT_BYTES } else { usize::MAX };
        let trust =
            Trust { max_unvouched_pins: config.max_unvouched_pins, unproven: config.accept_unproven_coordinators };
        let limits = Limits { max_open_branches: config.max_open_branches, largest_kept_bytes, trust };
        let mut engine = Engine {
            core: Participant::new(limits),
            figures,
            traced: TracedWork::new(traces, &owner),
            watch: lookout::Watch::new(Instant::now(), config.alarm.status_every(), bell),
            resource: resource.clone(),
            config,
            clock,
            random,
            crash,
            calls: FuturesUnordered::new(),
            cancellations: Cancellations::default(),
            preparing: Vec::new(),
            committing: Vec::new(),
            actions: BTreeMap::new(),
            room: room.clone(),
            waiting: Waiting::default(),
            recalls: Recalls::default(),
            takes_work,
            in_turn: InTurn::default(),
            sessions: BTreeMap::new(),
            operators: BTreeMap::new(),
            next_operator: 0,
            losses: Vec::new(),
            collectable: BTreeMap::new(),
            collect_at: None,
            commands,
            effects: Vec::new(),
            emitted: emitted.clone(),
            telling: None,
        };
        let recovered = engine.patience().until_done(|| resource.recover(&owner)).await?;
        engine.losses = recovered.log.iter().flat_map(|log| log.losses.clone()).collect();
        let in_doubt = recovered.prepared.len();
        for input in inputs_of(recovered, resource.others_can_commit()) {
            engine.handle_input(Input::Recovered(input));
        }
        tracing::info!(target: "undoubt::life", in_doubt, resource = resource.kind(), "recovery done: what is in doubt is locked again");
        Ok((engine, Handle::new(sender, room, taking)))
    }

    /// Serves until it is told to stop, or the resource fails.
    pub(crate) async fn run(mut self, heart: Heart) -> Result<(), ResourceError> {
        let period = Duration::from_millis(self.config.sweep_period_ms);
        let mut sweep_at = Instant::now() + period;
        let mut look_through_at = Instant::now();
        let mut beat_at = Instant::now();
        let mut commands = Vec::with_capacity(MAX_COMMANDS_PER_ROUND);
        loop {
            self.room.set_kept(self.core.kept_bytes());
            self.hand_on()?;
            self.take_waiting();
            self.take_recalls();
            self.open_or_close_intake();
            let look_at = (!self.waiting.is_empty()).then_some(look_through_at);
            let wake_at = [self.collect_at, look_at, Some(beat_at)].into_iter().flatten().fold(sweep_at, Instant::min);
            tokio::select! {
                biased;
                Some(done) = self.calls.next() => self.handle_done(done?),
                taken = self.commands.recv_many(&mut commands, MAX_COMMANDS_PER_ROUND) => {
                    if taken == 0 {
                        break;
                    }
                    commands.drain(..).for_each(|command| self.handle_command(command));
                }
                () = self.room.freed(), if self.waits_for_room() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            // After each round, as a load that never lets up would keep the timer from its turn.
            let now = Instant::now();
            if sweep_at <= now {
                sweep_at = now + period;
                self.take_found();
                self.ask_about_unsubmitted();
                self.handle_input(Input::SweepDue);
            }
            self.watch(now);
            if beat_at <= now {
                beat_at = now + BEAT_EVERY;
                heart.beat();
                self.watch.status.take().into_iter().for_each(|status| heart.say(status));
            }
            if look_through_at <= now {
                look_through_at = now + LOOK_THROUGH_EVERY;
                self.look_through_waiting(now);
            }
            if self.collect_at.is_some_and(|collect_at| collect_at <= now) {
                self.collect();
            }
        }
        // What the resource manager has begun it may finish, and so may what takes turns; nobody else is told any more.
        self.cancellations.cancel_all();
        self.actions.values().for_each(CancellationToken::cancel);
        while let Some(done) = self.calls.next().await {
            let done = done?;
            if let Done::InTurn { .. } = done {
                self.handle_done(done);
            }
        }
        Ok(())
    }

    /// Hands on what has gathered. Whoever leaves does so before others ask for its locks.
    fn hand_on(&mut self) -> Result<(), ResourceError> {
        while !self.committing.is_empty() || !self.preparing.is_empty() {
            self.commit_all();
            while let Some(Some(done)) = self.calls.next().now_or_never() {
                self.handle_done(done?);
            }
            self.prepare_all();
        }
        Ok(())
    }

    /// Takes up what the resource has found prepared by itself.
    fn take_found(&mut self) {
        for PreparedBranch { branch, begun_at, result } in self.resource.found() {
            self.handle_input(Input::Found { branch, begun_at, result: result.unwrap_or_default() });
        }
    }

    /// Has coordinators asked about what applications have prepared and nobody has submitted: what one holds open is not undone.
    fn ask_about_unsubmitted(&mut self) {
        for (coordinator, tx) in self.resource.unsubmitted() {
            match self.core.ask_about_unsubmitted(coordinator, tx.clone()) {
                AskedAbout::In(session, message) => self.carry_out(Effect::Send { session, message }),
                AskedAbout::ByNobody => self.resource.nobody_submits(coordinator, &tx),
                AskedAbout::Later => {}
            }
        }
    }

    fn handle_input(&mut self, input: Input) {
        if self.traced.is_under_way() {
            self.traced.end(self.clock.now(), &input);
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.telling = self.emitted.take(&input);
        self.core.handle_input(input, &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.telling = None;
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        if self.traced.is_asked()
            && let Some((call, context)) = self.traced.begin(self.clock.now(), &effect)
        {
            self.resource.traced(call, context);
        }
        let Some(effect) = self.in_turn.pass(effect) else { return };
        match effect {
            Effect::Welcome { session, seen } => self.out(session, Outgoing::Welcome { seen }),
            Effect::Send { session, message } => {
                self.figures.sent(&message);
                let emitted = self.telling.filter(|_| is_told_with(&message));
                self.out(session, Outgoing::Message { message, emitted });
            }
            Effect::Close { session, why } => {
                self.out(session, Outgoing::Close(why));
                self.sessions.remove(&session);
            }
            Effect::Cancel { branch } => {
                // Also if it has not begun to wait for locks, or waits for room.
                self.cancellations.token(&branch).cancel();
            }
            Effect::Answer { operator, answer } => {
                if let Some(reply) = self.operators.remove(&operator) {
                    // The operator may have gone; the answer is in the branch's state all the same.
                    let _ = reply.send(answer);
                }
            }
            Effect::Execute { branch, prepare } => self.preparing.push((branch, prepare)),
            Effect::RecordEpoch { session, coordinator, epoch, pin } => {
                self.record_epoch(coordinator, epoch, pin, Input::EpochRecorded { session });
            }
            Effect::RecordPin { coordinator, epoch, pin, operator } => {
                let pinned = Input::Pinned { coordinator, key: pin.key, operator };
                self.record_epoch(coordinator, epoch, Some(pin), pinned);
            }
            Effect::RememberSeen { coordinator, seen } => {
                self.resource
                    .remember(coordinator_memory::seen_key(coordinator), coordinator_memory::encode(coordinator, seen));
            }
            Effect::RememberName { name, coordinator } => {
                self.resource.remember(coordinator_memory::name_key(&name), Bytes::copy_from_slice(&coordinator.0));
            }
            Effect::StorePutBack { why } => self.store_put_back(why),
            Effect::AcceptLoss { loss, operator } => self.accept_loss(loss, operator),
            Effect::Confirm { branch } => self.confirm(branch),
            Effect::Commit { branch } => self.committing.push(branch),
            Effect::Abort { branch } => self.abort(branch),
            Effect::Settle { branch } => {
                self.clear_up(branch, Execution::OnePhase, "a crash interrupted it".to_owned());
            }
            Effect::Release { branch } => self.release(branch),
            Effect::Resolve { branch, heuristic } => self.resolve(branch, heuristic),
            Effect::StoreHeuristic { branch, begun_at, heuristic } => self.store_heuristic(branch, begun_at, heuristic),
            Effect::ForgetHeuristic { branch, operator } => self.forget_heuristic(branch, operator),
            Effect::RunAction { step, run } => self.take_action(step, run),
            Effect::CancelAction { step } => {
                if let Some(token) = self.actions.get(&step) {
                    token.cancel();
                }
            }
            Effect::FinishStep { step, run, recall } => self.finish_step(step, run, recall),
            Effect::RecallVote { branch } => self.recalls.vote(branch),
            Effect::RecallOutcome { step, attempt } => self.recalls.outcome(step, attempt),
            Effect::StoreEmpty { step } => self.store_empty(step),
            Effect::CloseSaga { coordinator, attempt_number, tx } => self.close_saga(coordinator, attempt_number, tx),
            Effect::ReleaseMarks { coordinator, attempt_number, tx, release } => {
                self.release_marks(coordinator, attempt_number, tx, release);
            }
            Effect::Collect { coordinator, low_water_mark } => {
                self.collectable.insert(coordinator, low_water_mark);
                let after = self.resource.collect_after();
                self.collect_at.get_or_insert_with(|| Instant::now() + after);
            }
        }
    }

    fn waits_for_room(&self) -> bool {
        !self.waiting.is_empty() || !self.recalls.is_empty() || !*self.takes_work.borrow()
    }

    fn out(&mut self, session: Session, outgoing: Outgoing) {
        if let Some(sender) = self.sessions.get(&session) {
            sender.put(outgoing);
        }
    }
}

/// Returns what survived, in the order in which a core has to hear of it. `others_can_commit`: what has committed is evidence of that,
/// and of nothing more.
pub(crate) fn inputs_of(recovered: Recovered, others_can_commit: bool) -> impl Iterator<Item = core::Recovered> {
    let Recovered { coordinators, prepared, aborting, settling, finished, heuristics, steps, log } = recovered;
    let coordinators = coordinators.into_iter().map(|CoordinatorMarks { id, epoch, low_water_mark, pin }| {
        core::Recovered::Coordinator { id, epoch, low_water_mark, pin }
    });
    let prepared = prepared.into_iter().map(|PreparedBranch { branch, begun_at, result }| core::Recovered::Prepared {
        branch,
        begun_at,
        result: result.unwrap_or_default(),
    });
    let aborting = aborting.into_iter();
    let aborting =
        aborting.map(|PreparedBranch { branch, begun_at, result: _ }| core::Recovered::Aborting { branch, begun_at });
    let settling = settling.into_iter();
    let settling =
        settling.map(|PreparedBranch { branch, begun_at, result: _ }| core::Recovered::Settling { branch, begun_at });
    let finished = finished.into_iter().filter_map(move |FinishedBranch { branch, outcome, result }| match outcome {
        BranchOutcome::Committed if others_can_commit => Some(core::Recovered::Evidence { branch, result }),
        BranchOutcome::Committed => Some(core::Recovered::Committed { branch, result }),
        // Heuristic outcomes have records of their own; aborts leave none.
        BranchOutcome::Aborted
        | BranchOutcome::HeuristicallyCommitted
        | BranchOutcome::HeuristicallyAborted
        | BranchOutcome::Unknown => None,
    });
    let heuristics = heuristics.into_iter().map(|HeuristicBranch { branch, begun_at, heuristic }| {
        core::Recovered::Heuristic { branch, begun_at, heuristic }
    });
    let steps = steps.into_iter().map(|RecoveredStep { step, state }| core::Recovered::Step { step, state });
    let log = log.into_iter().flat_map(coordinator_memory::inputs_of);
    // What is open comes first: a finished record of an earlier attempt gives way to it.
    let open = prepared.chain(aborting).chain(settling).chain(heuristics);
    coordinators.chain(log).chain(open).chain(finished).chain(steps)
}

#[cfg(test)]
mod tests;
