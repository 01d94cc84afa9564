//! The actions: all that can happen next.

use crate::coordinator::Process;
use crate::mutant::Mutant;
use crate::network::{LinkState, Packet};
use crate::operator::Word;
use crate::resource::{Call, Caller, Upset};
use crate::restoration::{Beside, Restoring};
use crate::scenario::{Crashing, Deadlines, RequestKind, Scenario, Sessions};
use crate::work;
use crate::world::{RequestState, Seat, World};
use std::collections::BTreeSet;
use undoubt_coordinator_core::{EndedRecord, Phase, StepResolution, Timer, TransactionView};
use undoubt_vocabulary::{AttemptNumber, Direction, StepIndex, TxId};

/// The number of times that the coordinator repeats itself though a sweep could help as well. Beyond it the sweep has
/// to come first, or a participant that cannot answer before it would let the coordinator count for ever.
const RETRIES: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask {
        request: usize,
    },
    /// The arrival of a packet, by its place among those in flight.
    Deliver {
        participant: usize,
        packet: usize,
    },
    Duplicate {
        participant: usize,
        packet: usize,
    },
    Lose {
        participant: usize,
        packet: usize,
    },
    /// The oldest record that isn't yet is now on stable storage.
    BecomeStable,
    /// The store refuses one of those that aren't yet, for good.
    Refuse {
        record: usize,
    },
    Fire {
        tx: TxId,
        attempt_number: AttemptNumber,
        timer: Timer,
    },
    /// A new session from beginning to end, and the end of the one before.
    Connect {
        participant: usize,
    },
    Dial {
        participant: usize,
    },
    /// The coordinator sees that a session is over.
    NoticeEnd {
        participant: usize,
    },
    Disconnect {
        participant: usize,
    },
    RecordEpoch {
        participant: usize,
    },
    /// The resource manager gets on with a call.
    CarryOn {
        participant: usize,
        caller: Caller,
    },
    /// An execution ends without its locks.
    GiveUp {
        participant: usize,
        caller: Caller,
    },
    Sweep {
        participant: usize,
    },
    /// The resource looks at what is prepared.
    Find {
        participant: usize,
    },
    /// A coordinator is asked about what an application has prepared by itself.
    AskAbout {
        participant: usize,
        tx: TxId,
    },
    /// The resource undoes what nobody will have, unless it was adopted meanwhile.
    UndoUnsubmitted {
        participant: usize,
    },
    /// An operator decides a branch in doubt.
    Resolve {
        participant: usize,
        tx: TxId,
        commit: bool,
    },
    /// An operator resolves a step, stuck or not. Of stuck ones somebody always does.
    ResolveStep(Word),
    /// An operator gives up a transaction that is held, because it can be neither recorded nor carried out. Somebody
    /// always does.
    ForgetHeld {
        tx: TxId,
    },
    /// An operator releases the semantic locks of a saga.
    ReleaseMarks {
        participant: usize,
        tx: TxId,
    },
    /// An upset of a participant's resource.
    Upset {
        participant: usize,
        upset: Upset,
    },
    /// The pause of the breakers that are open is over.
    EndPause,
    /// An operator pauses the recovery.
    Pause,
    Resume,
    /// An operator drains the coordinator.
    Drain,
    /// A drained coordinator ends, and starts again.
    Stop,
    /// The first `written` of the records that weren't stable are found in the log nevertheless.
    CrashCoordinator {
        written: usize,
    },
    RestartCoordinator,
    /// The open record of this transaction will be read, and cannot be carried out.
    Spoil {
        tx: TxId,
    },
    /// The log drops the record of an ended transaction.
    Drop {
        tx: TxId,
    },
    Recover {
        paused: bool,
    },
    /// The first `kept` of the writes that weren't forced are found nevertheless.
    CrashParticipant {
        participant: usize,
        kept: usize,
    },
    RestartParticipant {
        participant: usize,
    },
    /// An action on folders.
    Restoring(Restoring),
}

impl Action {
    /// Costs some of the budget; without it everything has to come to its end.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Action::Duplicate { .. }
            | Action::Lose { .. }
            | Action::Disconnect { .. }
            | Action::Refuse { .. }
            | Action::Spoil { .. }
            | Action::Drop { .. }
            | Action::Resolve { .. }
            | Action::Upset { .. }
            | Action::Pause
            | Action::Drain
            | Action::Recover { paused: true }
            | Action::CrashCoordinator { .. }
            | Action::CrashParticipant { .. }
            | Action::Restoring(
                Restoring::Copy
                | Restoring::PutBack { .. }
                | Restoring::Empty
                | Restoring::Beside(Beside::Start { .. }),
            ) => true,
            Action::Ask { .. }
            | Action::Deliver { .. }
            | Action::BecomeStable
            | Action::Fire { .. }
            | Action::Connect { .. }
            | Action::Dial { .. }
            | Action::NoticeEnd { .. }
            | Action::RecordEpoch { .. }
            | Action::CarryOn { .. }
            | Action::GiveUp { .. }
            | Action::Sweep { .. }
            | Action::Find { .. }
            | Action::AskAbout { .. }
            | Action::UndoUnsubmitted { .. }
            | Action::ResolveStep(_)
            | Action::ForgetHeld { .. }
            | Action::ReleaseMarks { .. }
            | Action::EndPause
            | Action::Resume
            | Action::Stop
            | Action::RestartCoordinator
            | Action::Recover { paused: false }
            | Action::RestartParticipant { .. }
            | Action::Restoring(
                Restoring::Recall { .. }
                | Restoring::TimeIsOver
                | Restoring::SessionClosed { .. }
                | Restoring::AcceptLoss
                | Restoring::AcceptLossOf { .. }
                | Restoring::Beside(
                    Beside::Recall { .. } | Beside::TimeIsOver | Beside::SessionClosed { .. } | Beside::Stop,
                ),
            ) => false,
        }
    }
}

impl World {
    /// Returns all that can happen now.
    pub(crate) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let quiet = self.is_quiet();
        let deadlines_may_pass = match scenario.deadlines {
            Deadlines::Never => false,
            Deadlines::WhenStuck | Deadlines::OfTwoPhase => quiet,
            Deadlines::Always => true,
        };
        let mut now = Now { world: self, scenario, quiet, deadlines_may_pass, actions: Vec::with_capacity(32) };
        now.clients();
        now.coordinator();
        now.operator();
        for (participant, seat) in self.seats.iter().enumerate() {
            now.session(participant, seat);
            now.participant(participant, seat);
            now.packets(participant, seat);
        }
        self.restoring(scenario, &mut now.actions);
        now.actions
    }

    /// Returns true if nothing can happen but that a timer fires: nothing is in flight or being done, and everybody is
    /// connected.
    ///
    /// Only then is anything repeated, or asked by a sweep, for nothing. To repeat it before is no more than a duplicate,
    /// and counts as one; so repetition is bounded by what went wrong.
    pub(crate) fn is_quiet(&self) -> bool {
        let coordinator = self
            .coordinator
            .process
            .as_ref()
            .is_some_and(|process| process.unstable.is_empty() && process.is_serving());
        let idle = |seat: &Seat| {
            seat.packets.is_empty()
                && seat.link.state == LinkState::Up
                && seat.session_is_alive()
                && seat.host.process.iter().all(|process| {
                    process.memory.calls.values().all(Call::waits_for_locks) && process.memory.unsubmitted.is_empty()
                })
        };
        coordinator && self.seats.iter().all(idle)
    }

    fn somebody_is_in_doubt(&self) -> bool {
        self.seats
            .iter()
            .filter_map(|seat| seat.host.process.as_ref())
            .any(|process| process.core.branches_in_doubt() > 0)
    }
}

/// The actions of one world, as they are gathered.
struct Now<'a> {
    world: &'a World,
    scenario: &'a Scenario,
    quiet: bool,
    deadlines_may_pass: bool,
    actions: Vec<Action>,
}

impl Now<'_> {
    fn clients(&mut self) {
        let Some(process) = &self.world.coordinator.process else { return };
        for (request, state) in self.world.clients.requests.iter().enumerate() {
            let asked = &self.scenario.requests[request];
            let worthwhile = match asked.kind {
                RequestKind::Submit(_)
                | RequestKind::Saga(_)
                | RequestKind::Auto(_)
                | RequestKind::Begin(..)
                | RequestKind::Nest(_)
                | RequestKind::Run(_)
                | RequestKind::Join(_)
                | RequestKind::Enlist(_)
                | RequestKind::Close
                | RequestKind::Cancel => true,
                // At any other time nothing would come of it.
                RequestKind::Forget => process
                    .core
                    .view(&asked.tx())
                    .is_some_and(|view| (view.saga || view.unacknowledged) && view.unusable_because.is_none()),
            };
            let has_come = asked.after.is_none_or(|before| self.world.clients.requests[before].is_over());
            if *state == RequestState::ToAsk && has_come && worthwhile {
                self.actions.push(Action::Ask { request });
            }
        }
    }

    fn coordinator(&mut self) {
        let world = self.world;
        let Some(process) = &world.coordinator.process else { return self.actions.push(Action::RestartCoordinator) };
        if process.standing.is_some() {
            return self.crash_coordinator(process);
        }
        if !process.is_serving() {
            self.actions.push(Action::Recover { paused: false });
        }
        if !process.unstable.is_empty() {
            self.actions.push(Action::BecomeStable);
        }
        if world.budget.refusals > 0 {
            self.actions.extend((0..process.unstable.len()).map(|record| Action::Refuse { record }));
        }
        for (tx, attempt_number, timer) in &process.timers {
            let due = match timer {
                Timer::Deadline { .. } => {
                    (self.deadlines_may_pass || self.is_always_due(process, tx)) && process.heeds_deadline(tx)
                }
                // A pause is no repetition: what it is for can go on no other way. Once it was refused often enough, it is
                // tried again only when whoever is in its way has gone, so that attempts do not count up for ever.
                Timer::StepRetry { step, direction, attempt, .. } => {
                    let in_vain =
                        || world.somebody_is_in_doubt() || self.is_kept_out(tx, *attempt_number, *step, *direction);
                    let worthwhile = *attempt < RETRIES || self.quiet && !in_vain();
                    worthwhile && process.is_useful(tx, *timer)
                }
                Timer::Attempt { attempt, .. } | Timer::Retry { attempt } => {
                    let in_time = matches!(timer, Timer::Attempt { .. }) && world.budget.duplicates > 0;
                    (in_time || self.quiet && (*attempt < RETRIES || !world.somebody_is_in_doubt()))
                        && process.is_useful(tx, *timer)
                }
            };
            if due {
                self.actions.push(Action::Fire { tx: tx.clone(), attempt_number: *attempt_number, timer: *timer });
            }
        }
        if process.may_end_pause(self.scenario) {
            self.actions.push(Action::EndPause);
        }
        self.crash_coordinator(process);
    }

    fn crash_coordinator(&mut self, process: &Process) {
        if self.world.budget.crashes > 0 && self.scenario.crashing == Crashing::Anybody {
            self.actions.extend((0..=process.unstable.len()).map(|written| Action::CrashCoordinator { written }));
        }
    }

    fn is_always_due(&self, process: &Process, tx: &TxId) -> bool {
        match self.scenario.deadlines {
            Deadlines::OfTwoPhase => process.core.view(tx).is_some_and(|view| !view.saga),
            Deadlines::Never | Deadlines::WhenStuck | Deadlines::Always => false,
        }
    }

    /// Returns true if a step is kept out by another saga's semantic lock.
    fn is_kept_out(&self, tx: &TxId, attempt_number: AttemptNumber, step: StepIndex, direction: Direction) -> bool {
        let process = self.world.coordinator.process.as_ref();
        let number = process.and_then(|process| process.number_of(tx, step)).unwrap_or(step);
        let Some((participant, work)) = self.scenario.step(tx, number, direction) else { return false };
        let storage = &self.world.seats[participant].host.storage;
        storage.is_marked_against(tx, attempt_number, &work::heeds(work.as_bytes()))
    }

    fn operator(&mut self) {
        let Some(process) = &self.world.coordinator.process else { return };
        if process.standing.is_some() {
            return;
        }
        let (core, log) = (&process.core, &self.world.coordinator.log);
        let may_operate = self.world.budget.operations > 0;
        match core.phase() {
            Phase::Recovering if may_operate && log.unfinished().next().is_some() => {
                self.actions.push(Action::Recover { paused: true });
            }
            Phase::Serving if may_operate => self.actions.push(Action::Drain),
            Phase::Draining => self.actions.push(Action::Stop),
            Phase::Recovering | Phase::Serving => {}
        }
        if self.world.budget.spoils > 0 && core.phase() == Phase::Recovering {
            self.actions.extend(log.sound().map(|tx| Action::Spoil { tx: tx.clone() }));
        }
        if self.world.budget.drops > 0 && core.phase() == Phase::Serving {
            let requests = || self.world.clients.requests.iter().zip(&self.scenario.requests);
            let is_asked_for = |tx: &TxId| {
                let asks = |state| matches!(state, RequestState::ToAsk | RequestState::Waiting);
                requests().any(|(state, request)| asks(*state) && request.tx() == *tx)
            };
            let is_over = |ended: &&EndedRecord| {
                let is_kept = ended.is_damaged() || core.holds(&ended.tx) || core.is_noting(&ended.tx);
                !is_kept && !log.dropped.contains(&ended.tx) && !is_asked_for(&ended.tx)
            };
            self.actions.extend(log.ended.values().filter(is_over).map(|ended| Action::Drop { tx: ended.tx.clone() }));
        }
        let is_held = |view: &TransactionView| view.unusable_because.is_some() && core.waiters(&view.tx) == 0;
        let held = core.views().filter(|view| process.is_serving() && is_held(view));
        self.actions.extend(held.map(|view| Action::ForgetHeld { tx: view.tx }));
        if process.is_serving() && core.recovery_is_paused() {
            self.actions.push(Action::Resume);
        }
        let resolutions = match self.scenario.resolutions {
            [] if self.quiet && !self.world.somebody_is_in_doubt() => &[StepResolution::Retry],
            resolutions => resolutions,
        };
        for (tx, step) in process.stuck() {
            let word = |resolution: &StepResolution| Word { tx: tx.clone(), step, resolution: *resolution };
            self.actions.extend(resolutions.iter().map(word).map(Action::ResolveStep));
        }
        // With two transactions, at any time is more than can be explored.
        if self.quiet || !self.scenario.has_several_transactions() {
            for (tx, step) in process.unsettled() {
                let word = |resolution: &StepResolution| Word { tx: tx.clone(), step, resolution: *resolution };
                self.actions.extend(self.scenario.interferes.iter().map(word).map(Action::ResolveStep));
            }
        }
        // At the first start there was nothing to recover.
        if process.is_serving() && !core.recovery_is_paused() && may_operate && log.epoch > 1 {
            self.actions.push(Action::Pause);
        }
    }

    fn session(&mut self, participant: usize, seat: &Seat) {
        let Some(process) = &self.world.coordinator.process else { return };
        if process.standing.is_some() && self.scenario.mutant != Some(Mutant::SpeaksWhileAsking) {
            return;
        }
        let alive = seat.session_is_alive();
        match (seat.link.state, self.scenario.sessions) {
            (LinkState::Down, Sessions::AtOnce) => self.actions.push(Action::Connect { participant }),
            (LinkState::Dialing | LinkState::Up, Sessions::AtOnce) if !alive => {
                self.actions.push(Action::Connect { participant });
            }
            (LinkState::Down, Sessions::StepByStep) if seat.host.process.is_some() => {
                self.actions.push(Action::Dial { participant });
            }
            (LinkState::Down, Sessions::StepByStep) => {}
            (LinkState::Dialing | LinkState::Up, Sessions::StepByStep) if !alive => {
                self.actions.push(Action::NoticeEnd { participant });
            }
            (LinkState::Dialing | LinkState::Up, Sessions::AtOnce | Sessions::StepByStep) => {
                if self.world.budget.disconnections > 0 {
                    self.actions.push(Action::Disconnect { participant });
                }
            }
        }
    }

    fn participant(&mut self, participant: usize, seat: &Seat) {
        let Some(process) = &seat.host.process else {
            return self.actions.push(Action::RestartParticipant { participant });
        };
        let budget = self.world.budget;
        if process.joining.is_some() {
            self.actions.push(Action::RecordEpoch { participant });
        }
        for (caller, call) in &process.memory.calls {
            if call.may_carry_on() {
                self.actions.push(Action::CarryOn { participant, caller: caller.clone() });
            }
            if call.may_stop() || (call.waits_for_locks() && self.deadlines_may_pass) {
                self.actions.push(Action::GiveUp { participant, caller: caller.clone() });
            }
        }
        let sweeps = self.scenario.mutant != Some(Mutant::NoSweep);
        let asks = process.core.open_branches() + process.core.unexplained_branches() > 0;
        if sweeps && asks && (self.quiet || budget.duplicates > 0) {
            self.actions.push(Action::Sweep { participant });
        }
        let is_there = match self.scenario.mutant {
            Some(Mutant::FoundUntold) => false,
            Some(Mutant::FoundAborted) => !seat.host.storage.prepared.is_empty(),
            Some(_) | None => !process.memory.late.landed.is_empty(),
        };
        if is_there {
            self.actions.push(Action::Find { participant });
        }
        if !process.memory.unsubmitted.is_empty() {
            self.actions.push(Action::UndoUnsubmitted { participant });
        }
        for tx in seat.host.storage.enlisted.keys().filter(|tx| !process.memory.unsubmitted.contains(*tx)) {
            if self.quiet || budget.inquiries > 0 {
                self.actions.push(Action::AskAbout { participant, tx: tx.clone() });
            }
        }
        if self.scenario.releases_marks {
            let marking: BTreeSet<&TxId> = seat.host.storage.pending().map(|step| &step.tx).collect();
            for tx in marking.into_iter().filter(|tx| !process.is_at_work_on(tx)) {
                self.actions.push(Action::ReleaseMarks { participant, tx: tx.clone() });
            }
        }
        if budget.heuristics > 0 {
            for tx in process.in_doubt() {
                self.actions.push(Action::Resolve { participant, tx: tx.clone(), commit: true });
                self.actions.push(Action::Resolve { participant, tx, commit: false });
            }
        }
        let upsets = Upset::possible(&process.memory, &seat.host.storage, budget).into_iter();
        self.actions.extend(upsets.map(|upset| Action::Upset { participant, upset }));
        if budget.crashes > 0 {
            let unforced = seat.host.storage.unforced.len();
            self.actions.extend((0..=unforced).map(|kept| Action::CrashParticipant { participant, kept }));
        }
    }

    fn packets(&mut self, participant: usize, seat: &Seat) {
        let mut before: Option<&Packet> = None;
        for (at, packet) in seat.packets.iter().enumerate() {
            // Two equal packets: it is all the same which of them is next.
            if before.replace(packet) == Some(packet) {
                continue;
            }
            let is_message = packet.body.is_message();
            let before_welcome = is_message
                && !packet.body.is_for_participant()
                && seat.link.session == packet.session
                && seat.link.state != LinkState::Up;
            if !before_welcome {
                self.actions.push(Action::Deliver { participant, packet: at });
            }
            if is_message && self.world.budget.losses > 0 {
                self.actions.push(Action::Lose { participant, packet: at });
            }
            if is_message && !before_welcome && self.world.budget.duplicates > 0 {
                self.actions.push(Action::Duplicate { participant, packet: at });
            }
        }
    }
}
