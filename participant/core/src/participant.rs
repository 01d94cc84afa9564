//! The branches and steps of one participant: sessions, epochs, the low-water mark, the sweep.

mod close;
mod evidence;
mod found;
mod marks;
mod messages;
mod operator;
mod results;
mod sessions;
mod steps;
mod unsubmitted;

use crate::branch::{Branch, BranchView, Finished, State, Then};
use crate::branch_id::BranchId;
use crate::effect::{Answer, Effect};
use crate::input::{Input, Recovered, Session};
use crate::kept_result::Kept;
use crate::pin::{Pin, Trust};
use crate::saga::Sagas;
use crate::standing::{Seen, Standing};
use crate::step::{StepState, StepView};
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, DigestMap, Epoch, Execution, LowWaterMark, ToCoordinator, TxId, WriteNumber,
};

pub use unsubmitted::AskedAbout;

/// Bounds of one participant (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Branches that are not finished and steps under way; a prepare or an action beyond it is refused.
    pub max_open_branches: usize,
    /// A longer result of what is over, in bytes, is left with the resource, which tells it again.
    pub largest_kept_bytes: usize,
    pub trust: Trust,
}

/// The participant as a state machine. The crate's documentation states its contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    limits: Limits,
    coordinators: BTreeMap<CoordinatorId, Known>,
    branches: DigestMap<TxId, Box<Branch>>,
    /// The branches by their attempt numbers, for the low-water mark.
    by_attempt_number: BTreeMap<(CoordinatorId, AttemptNumber), TxId>,
    open: usize,
    /// The bytes that branches keep.
    kept_bytes: usize,
    sagas: Sagas,
    standing: Standing,
    /// The coordinator that was known last under each name.
    names: BTreeMap<String, CoordinatorId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    epoch: Epoch,
    low_water_mark: LowWaterMark,
    /// What is over and was forgotten, since the start.
    forgotten: LowWaterMark,
    session: Option<Session>,
    /// A hello whose epoch is being recorded.
    joining: Option<(Session, Epoch)>,
    /// The key of whoever may speak for it, from the hello on that brought it: a later one has to prove the same.
    pin: Option<Pin>,
    /// True once the pin is durable.
    is_pin_stored: bool,
    /// The number that was seen of its log.
    seen: Seen,
    /// The number of its log that its hello named.
    number: Option<WriteNumber>,
    /// True if the resource keeps something that the low-water mark has passed.
    is_uncollected: bool,
    /// The attempt number from which on the next sweep asks about evidence.
    asks_from: AttemptNumber,
}

/// The knowledge of a coordinator, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCoordinator {
    pub id: CoordinatorId,
    pub epoch: Epoch,
    pub low_water_mark: LowWaterMark,
    pub connected: bool,
    pub pin: Option<Pin>,
}

impl Participant {
    pub fn new(limits: Limits) -> Participant {
        Participant {
            limits,
            coordinators: BTreeMap::new(),
            branches: DigestMap::new(),
            by_attempt_number: BTreeMap::new(),
            open: 0,
            kept_bytes: 0,
            sagas: Sagas::default(),
            standing: Standing::default(),
            names: BTreeMap::new(),
        }
    }

    pub fn handle_input(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Recovered(recovered) => self.handle_recovered(recovered, effects),
            Input::Hello { session, hello } => self.handle_hello(session, hello, effects),
            Input::Recall(recall) => {
                if self.may_ask(&recall).is_ok() {
                    self.handle_shown(recall.shown.as_ref(), effects);
                }
            }
            Input::Seen { session, writes } => self.handle_seen(session, writes, effects),
            Input::AcceptLoss { at, who, reason, operator } => {
                self.handle_accept_loss((at, who, reason), operator, effects)
            }
            Input::LossAccepted { starts, operator } => self.handle_loss_accepted(starts, operator, effects),
            Input::EpochRecorded { session } => self.handle_epoch_recorded(session, effects),
            Input::Pin { coordinator, key, operator } => self.handle_pin(coordinator, key, operator, effects),
            Input::Pinned { coordinator, key, operator } => self.handle_pinned(coordinator, key, operator, effects),
            Input::SessionClosed { session } => self.handle_session_closed(session),
            Input::LowWaterMark { session, low_water_mark } => {
                self.handle_low_water_mark(session, &low_water_mark, effects)
            }
            Input::Message { session, message } => self.handle_message(session, message, effects),
            Input::Executed { branch, vote } => self.handle_executed(&branch, vote, effects),
            Input::Confirmed { branch, held } => self.handle_confirmed(&branch, held, effects),
            Input::Committed { branch } => self.handle_committed(&branch, effects),
            Input::Aborted { branch } => self.handle_aborted(&branch, effects),
            Input::Resolved { branch } => self.handle_resolved(&branch, effects),
            Input::Gone { branch, at } => self.handle_gone(&branch, at, effects),
            Input::Found { branch, begun_at, result } => self.handle_found(branch, begun_at, result, effects),
            Input::Forgotten { operator } => effects.push(Effect::Answer { operator, answer: Answer::Forgotten }),
            Input::ActionRan { step, outcome } => self.handle_action_ran(step, outcome, effects),
            Input::VoteRecalled { branch, result } => self.handle_vote_recalled(&branch, result, effects),
            Input::OutcomeRecalled { step, attempt, result } => {
                self.handle_outcome_recalled(&step, attempt, result, effects)
            }
            Input::StepFinished { step, outcome } => self.handle_step_finished(step, outcome, effects),
            Input::EmptyStored { step } => self.handle_empty_stored(step, effects),
            Input::SagaClosed { coordinator, attempt_number, tx } => {
                self.handle_saga_closed((coordinator, attempt_number, tx), effects)
            }
            Input::MarksReleased { coordinator, attempt_number, tx } => {
                self.handle_marks_released((coordinator, attempt_number, tx), effects)
            }
            Input::SweepDue => self.handle_sweep_due(effects),
            Input::Resolve { tx, heuristic, operator } => self.handle_resolve(&tx, heuristic, operator, effects),
            Input::Forget { tx, operator } => self.handle_forget(&tx, operator, effects),
            Input::ReleaseMarks { coordinator, tx, release, operator } => {
                self.handle_release_marks(coordinator, &tx, &release, operator, effects);
            }
        }
    }

    /// Returns the number of branches that are not finished.
    pub fn open_branches(&self) -> usize {
        self.open
    }

    /// Returns the number of steps of sagas that the resource manager works on.
    pub fn steps_under_way(&self) -> usize {
        self.sagas.under_way()
    }

    /// Returns the bytes of results that are kept so that they can be said again, with work that is kept for later.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes + self.sagas.kept_bytes()
    }

    /// Returns of whose transactions most is kept, how many bytes that are, and up to where they are over.
    pub fn keeps_most_of(&self) -> Option<(KnownCoordinator, usize)> {
        let branches = self.branches.iter().map(|(_, branch)| (branch.id.coordinator, branch.state.kept_bytes()));
        let mut kept: BTreeMap<CoordinatorId, usize> = BTreeMap::new();
        for (coordinator, bytes) in branches.chain(self.sagas.kept()) {
            *kept.entry(coordinator).or_default() += bytes;
        }
        let (of, bytes) = kept.into_iter().max_by_key(|(_, bytes)| *bytes).filter(|(_, bytes)| *bytes > 0)?;
        self.coordinators().find(|known| known.id == of).map(|known| (known, bytes))
    }

    /// Returns the number of branches that have voted prepared and do not know the decision.
    pub fn branches_in_doubt(&self) -> usize {
        self.branches.in_any_order().filter(|(_, branch)| branch.is_in_doubt()).count()
    }

    pub(crate) fn branches_in_any_order(&self) -> impl Iterator<Item = (&TxId, &Branch)> {
        self.branches.in_any_order().map(|(tx, branch)| (tx, &**branch))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns all branches that are not finished, and heuristic outcomes.
    pub fn views(&self) -> impl Iterator<Item = BranchView> + '_ {
        self.branches.iter().map(|(_, branch)| branch).filter(|branch| branch.is_open()).map(|branch| branch.view())
    }

    /// Returns steps of sagas that the resource manager works on.
    pub fn step_views(&self) -> impl Iterator<Item = StepView> + '_ {
        self.sagas.views()
    }

    pub fn coordinators(&self) -> impl Iterator<Item = KnownCoordinator> + '_ {
        self.coordinators.iter().map(|(id, known)| KnownCoordinator {
            id: *id,
            epoch: known.epoch,
            low_water_mark: known.low_water_mark.clone(),
            connected: known.session.is_some(),
            pin: known.pin,
        })
    }

    fn handle_recovered(&mut self, recovered: Recovered, effects: &mut Vec<Effect>) {
        match recovered {
            Recovered::Coordinator { id, epoch, low_water_mark, pin } => {
                let is_pin_stored = pin.is_some();
                self.coordinators.insert(id, Known { epoch, low_water_mark, pin, is_pin_stored, ..Known::default() });
            }
            Recovered::Prepared { branch, begun_at, result } => {
                self.insert(branch, begun_at, State::Prepared { result });
            }
            Recovered::Aborting { branch, begun_at } => {
                self.insert(branch.clone(), begun_at, State::Aborting { next: None });
                effects.push(Effect::Abort { branch });
            }
            Recovered::Settling { branch, begun_at } => {
                let state = State::Executing { execution: Execution::OnePhase, then: Then::Vote };
                self.insert(branch.clone(), begun_at, state);
                effects.push(Effect::Settle { branch });
            }
            Recovered::Committed { branch, result } => {
                let result = self.kept(result);
                self.recover_finished(branch, Finished::CommittedAlone { result });
            }
            Recovered::Evidence { branch, result } => {
                let result = self.kept(result);
                self.recover_finished(branch, Finished::Unexplained { result });
            }
            Recovered::Heuristic { branch, begun_at, heuristic } => {
                // By now its coordinator may have forgotten the commit, and would presume abort.
                let noted = heuristic.is_reported();
                self.insert(branch, begun_at, State::Heuristic { heuristic, noted });
            }
            Recovered::Step { step, state } => {
                let state = match state {
                    StepState::Acted { result, pending } => StepState::Acted { result: self.kept(result), pending },
                    StepState::Compensated | StepState::Completed | StepState::Empty | StepState::Attempted => state,
                };
                self.sagas.set(&step, state.into());
            }
            Recovered::Log { starts, put_back } => {
                self.standing = Standing { starts: Some(starts), put_back, ..Standing::default() };
            }
            Recovered::Seen { id, seen } => self.coordinators.entry(id).or_default().seen = seen,
            Recovered::Named { name, id } => drop(self.names.insert(name, id)),
        }
    }

    /// An open branch of a later attempt under the same id matters more than what an earlier one came to.
    fn recover_finished(&mut self, branch: BranchId, finished: Finished) {
        if !self.branches.get(&branch.tx).is_some_and(|branch| branch.is_open()) {
            self.insert(branch, Default::default(), State::Finished(finished));
        }
    }

    fn kept(&self, result: Kept) -> Kept {
        match result {
            Kept::Here(result) => self.keep(result),
            Kept::Stored => Kept::Stored,
        }
    }

    /// Returns what is kept in memory of a result of what is over, and stored.
    fn keep(&self, result: Bytes) -> Kept {
        Kept::up_to(self.limits.largest_kept_bytes, result)
    }

    /// Takes a batch's low-water mark, which says what is over between the two (R11). What was over before stays over.
    fn handle_low_water_mark(&mut self, session: Session, told: &LowWaterMark, effects: &mut Vec<Effect>) {
        let Some((coordinator, known)) = self.of_session(session) else { return };
        let low_water_mark = known.low_water_mark.and(told);
        if low_water_mark == known.low_water_mark {
            return;
        }
        let passed = low_water_mark.since(&known.forgotten);
        (known.low_water_mark, known.forgotten) = (low_water_mark.clone(), low_water_mark);
        let mut durable = false;
        for attempt_numbers in passed {
            durable |= self.sagas.forget(coordinator, attempt_numbers);
        }
        let over: Vec<TxId> = self.over(coordinator).map(|(_, tx)| tx.clone()).collect();
        for tx in over {
            let Some(branch) = self.branches.get(&tx) else { continue };
            match &branch.state {
                // It is kept until its coordinator has said whether it is damage.
                State::Finished(Finished::Unexplained { .. }) => durable = true,
                State::Finished(finished) => {
                    durable |= finished.is_stored();
                    self.remove(&tx);
                }
                // It missed its decision, for the coordinator has none open any more.
                State::Prepared { .. } | State::ReadOnly { .. } => {
                    effects.extend(message_about(branch).map(|message| Effect::Send { session, message }));
                }
                State::Executing { .. }
                | State::Confirming
                | State::Committing
                | State::Aborting { .. }
                | State::Resolving { .. }
                | State::Heuristic { .. } => {}
            }
        }
        if let Some(known) = self.coordinators.get_mut(&coordinator) {
            known.is_uncollected |= durable;
        }
        self.collect(coordinator, effects);
    }

    /// Returns what is over with this coordinator.
    fn low_water_mark(&self, coordinator: CoordinatorId) -> LowWaterMark {
        self.coordinators.get(&coordinator).map(|known| known.low_water_mark.clone()).unwrap_or_default()
    }

    /// Returns the branches that are there though their attempts are over, in the order of attempt numbers.
    fn over(&self, coordinator: CoordinatorId) -> impl Iterator<Item = (AttemptNumber, &TxId)> {
        let low_water_mark = self.low_water_mark(coordinator);
        let below = (coordinator, AttemptNumber::default())..(coordinator, low_water_mark.below());
        let branches = self.by_attempt_number.range(below).map(|((_, attempt_number), tx)| (*attempt_number, tx));
        branches.filter(move |(attempt_number, _)| low_water_mark.is_over(*attempt_number))
    }

    /// Lets the resource drop what it keeps of what is over, up to the first branch that is not over here. Were the mark
    /// itself stored, a branch that somebody else commits while the participant is down would be over by it, and the next start would
    /// take its evidence for something that is over.
    pub(super) fn collect(&mut self, coordinator: CoordinatorId, effects: &mut Vec<Effect>) {
        if !self.coordinators.get(&coordinator).is_some_and(|known| known.is_uncollected) {
            return;
        }
        let is_heuristic = |tx: &TxId| self.branches.get(tx).is_some_and(|branch| branch.is_heuristic());
        let first = self.over(coordinator).find(|(_, tx)| !is_heuristic(tx)).map(|(attempt_number, _)| attempt_number);
        let Some(known) = self.coordinators.get_mut(&coordinator) else { return };
        known.is_uncollected = first.is_some();
        let low_water_mark =
            first.map_or_else(|| known.low_water_mark.clone(), |first| known.low_water_mark.up_to(first));
        effects.push(Effect::Collect { coordinator, low_water_mark });
    }

    /// Asks about everything that was in doubt at the last sweep already, and about evidence.
    fn handle_sweep_due(&mut self, effects: &mut Vec<Effect>) {
        for branch in self.branches.values_mut() {
            let Some(message) = message_about(branch) else { continue };
            let session = self.coordinators.get(&branch.id.coordinator).and_then(|known| known.session);
            if let (true, Some(session)) = (std::mem::replace(&mut branch.swept, true), session) {
                effects.push(Effect::Send { session, message });
            }
        }
        let coordinators: Vec<CoordinatorId> = self.coordinators.keys().copied().collect();
        coordinators.into_iter().for_each(|coordinator| self.ask_about_evidence(coordinator, effects));
    }

    fn is_full(&self) -> bool {
        self.open + self.sagas.under_way() >= self.limits.max_open_branches
    }

    /// Returns the reason why no more is taken.
    fn full(&self) -> String {
        let max = self.limits.max_open_branches;
        format!("{max} branches and steps are open here, the most there may be (max_open_branches)")
    }

    fn of_session(&mut self, session: Session) -> Option<(CoordinatorId, &mut Known)> {
        let mut known = self.coordinators.iter_mut();
        known.find(|(_, known)| known.session == Some(session)).map(|(id, known)| (*id, known))
    }

    fn send(&self, to: CoordinatorId, message: ToCoordinator, effects: &mut Vec<Effect>) {
        if let Some(session) = self.coordinators.get(&to).and_then(|known| known.session) {
            effects.push(Effect::Send { session, message });
        }
    }

    fn insert(&mut self, id: BranchId, begun_at: undoubt_vocabulary::Timestamp, state: State) {
        self.remove(&id.tx);
        self.by_attempt_number.insert((id.coordinator, id.attempt_number), id.tx.clone());
        let branch = Branch { id, begun_at, state, swept: false };
        self.open += usize::from(branch.is_open());
        self.kept_bytes += branch.state.kept_bytes();
        self.branches.insert(branch.id.tx.clone(), Box::new(branch));
    }

    fn remove(&mut self, tx: &TxId) {
        if let Some(branch) = self.branches.remove(tx) {
            self.by_attempt_number.remove(&(branch.id.coordinator, branch.id.attempt_number));
            self.open -= usize::from(branch.is_open());
            self.kept_bytes -= branch.state.kept_bytes();
        }
    }

    fn set(&mut self, tx: &TxId, state: State) {
        if let Some(branch) = self.branches.get_mut(tx) {
            let was_open = branch.is_open();
            self.kept_bytes += state.kept_bytes();
            let replaced = std::mem::replace(&mut branch.state, state);
            self.kept_bytes -= replaced.kept_bytes();
            self.open = self.open + usize::from(branch.is_open()) - usize::from(was_open);
        }
    }

    /// Returns the branch, if it is of this very attempt.
    fn state_of(&self, id: &BranchId) -> Option<State> {
        self.branches.get(&id.tx).filter(|branch| branch.id == *id).map(|branch| branch.state.clone())
    }
}

/// Returns the message by which a branch has to ask or to report, if there is one.
fn message_about(branch: &Branch) -> Option<ToCoordinator> {
    let (tx, attempt_number) = (branch.id.tx.clone(), branch.id.attempt_number);
    match &branch.state {
        State::Prepared { .. } | State::ReadOnly { .. } => Some(ToCoordinator::Inquiry { tx, attempt_number }),
        State::Heuristic { noted: true, .. } => None,
        State::Heuristic { heuristic, .. } => Some(match heuristic.decision {
            None => ToCoordinator::Inquiry { tx, attempt_number },
            Some(_) => ToCoordinator::Finished { tx, attempt_number, outcome: heuristic.outcome() },
        }),
        State::Executing { .. }
        | State::Confirming
        | State::Committing
        | State::Aborting { .. }
        | State::Resolving { .. }
        | State::Finished(_) => None,
    }
}
