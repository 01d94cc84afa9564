//! Running the action or the compensation of a step, until it is answered or there is no sense in trying.
//!
//! A refusal says that nothing is in effect; silence says nothing (R6). So before the pivot a step that fails too often
//! has the saga compensated, whichever it was. Where there is no way but on, one that is refused for good too often
//! waits for an operator; one that is not answered, or told to come back, is asked for ever.

use super::{Acted, At, Run, Saga, State, WaitsFor, step_index};
use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Timer};
use crate::room::NoRoom;
use crate::saga::log::Written;
use bytes::Bytes;
use undoubt_vocabulary::limits::MAX_STEP_INPUT_BYTES;
use undoubt_vocabulary::{
    AbortReason, Direction, ParticipantName, Refusal, RefusalCode, RunStep, SagaStep, StepIndex, StepOutcome,
    ToParticipant,
};

impl Saga {
    pub(super) fn start(&mut self, step: usize, direction: Direction, cx: &mut Context<'_>) {
        self.start_after(step, direction, 0, cx);
    }

    /// Starts a step, or starts it anew after so many attempts: an answer to one of these is none to those that follow.
    pub(super) fn start_after(&mut self, step: usize, direction: Direction, earlier: u32, cx: &mut Context<'_>) {
        let known = &mut self.steps[step];
        let in_effect = known.at.may_be_in_effect();
        let is_handed_over = direction == Direction::Completing || known.was_completed;
        if let (true, At::Done { result, pending }) = (is_handed_over, &known.at) {
            known.acted = Acted { result: result.clone(), pending: *pending };
        }
        let waits_for = WaitsFor::Answer;
        if self.opening.is_some() {
            self.steps[step].on_record = false;
        }
        let attempt = earlier.saturating_add(1);
        self.attempt(step, Run { direction, attempt, earlier, refusals: 0, in_effect, waits_for }, cx);
    }

    pub(super) fn attempt(&mut self, step: usize, mut run: Run, cx: &mut Context<'_>) {
        run.waits_for = WaitsFor::Answer;
        self.steps[step].at = At::Running(run);
        if let Err(refusal) = self.check_inputs(step) {
            return self.handle_failure(step, Failure::NotSent(refusal), cx);
        }
        self.send_run(step, cx);
        let after = self.steps[step].definition.retry.attempt_timeout;
        let timer = Timer::Attempt { step: step_index(step), direction: run.direction, attempt: run.attempt, after };
        cx.arm(&self.tx, self.attempt_number, timer);
    }

    /// Checks that the results that the step uses fit into one message.
    fn check_inputs(&self, step: usize) -> Result<(), Refusal> {
        let used =
            self.steps[step].definition.uses.iter().map(|used| self.steps[usize::from(used.0)].at.result_bytes());
        let bytes: usize = used.sum();
        if bytes <= MAX_STEP_INPUT_BYTES {
            return Ok(());
        }
        let detail = format!(
            "the results that it uses have {bytes} bytes, more than the {MAX_STEP_INPUT_BYTES} that one step may be given; let the steps before it hand back less"
        );
        Err(Refusal::new(RefusalCode::TooLarge, detail))
    }

    /// Sends what awaits its answer, if it can be sent.
    pub(super) fn send_run(&mut self, step: usize, cx: &mut Context<'_>) {
        let Some(run) = self.run(step).filter(|run| run.waits_for == WaitsFor::Answer) else { return };
        let definition = &*self.steps[step].definition;
        let SagaStep { name, participant, retry, uses, .. } = definition;
        if self.held || !cx.peers.connected.contains(participant) {
            return;
        }
        match run.direction {
            Direction::Forward => {}
            Direction::Compensating => assert!(
                self.compensating.is_some() && self.state == State::Compensating,
                "it is not on record that it compensates"
            ),
            Direction::Completing => assert!(
                self.compensating.is_none() && self.state == State::Completing,
                "it is not on record that it was closed"
            ),
        }
        let work = definition.work(run.direction).cloned();
        let is_undone_anew = self.steps[step].was_completed;
        let inputs = match is_undone_anew {
            // Its participant does not look for the result, as this is no step that it has acted on.
            true => definition.action.iter().map(|_| self.steps[step].acted.result.clone()).collect(),
            false => uses.iter().map(|used| self.steps[usize::from(used.0)].at.result()).collect(),
        };
        let message = ToParticipant::Run(RunStep {
            tx: self.tx.clone(),
            attempt_number: self.steps[step].attempt_number(self.attempt_number),
            step: self.index_there(step),
            direction: run.direction,
            acted_elsewhere: definition.action.is_none() || is_undone_anew,
            check_back: self.steps[step].is_check_back(),
            attempt: run.attempt,
            begun_at: self.begun_at,
            timeout: retry.attempt_timeout,
            work: work.expect("a step runs only in a direction for which it has work, or the saga is not sound"),
            inputs,
        });
        let note =
            Note::Run { to: participant.clone(), step: name.clone(), direction: run.direction, attempt: run.attempt };
        self.note(note, cx);
        cx.effects.push(Effect::Send { to: participant.clone(), message });
        self.steps[step].at = At::Running(Run { in_effect: true, ..run });
    }

    pub(super) fn handle_ran(
        &mut self,
        from: &ParticipantName,
        step: StepIndex,
        direction: Direction,
        attempt: u32,
        outcome: StepOutcome,
        cx: &mut Context<'_>,
    ) {
        let Some(place) = self.place_at(step) else { return };
        let Some(known) = self.steps.get(place).filter(|step| step.definition.participant == *from) else { return };
        self.note(Note::ran(from, &known.definition.name, direction, &outcome), cx);
        match (direction, outcome) {
            (Direction::Forward, StepOutcome::Done { result, pending }) => {
                self.handle_acted(place, result, pending, cx)
            }
            (Direction::Compensating, StepOutcome::Done { .. } | StepOutcome::Empty) => {
                self.handle_finished(place, direction, At::Undone, cx)
            }
            (Direction::Completing, StepOutcome::Done { .. }) => {
                self.handle_finished(place, direction, At::Completed, cx)
            }
            (_, StepOutcome::Refused(refusal)) => {
                if self.is_waiting(place, direction, attempt, WaitsFor::Answer) {
                    self.handle_failure(place, Failure::Refused(refusal), cx);
                }
            }
            // Only a compensation can find nothing to do.
            (Direction::Forward | Direction::Completing, StepOutcome::Empty) => {}
        }
    }

    /// Takes the answer that the action is in effect, whichever attempt it was.
    fn handle_acted(&mut self, step: usize, result: Bytes, pending: bool, cx: &mut Context<'_>) {
        if let (true, State::Open, Some(run)) = (self.steps[step].is_check_back(), self.state, self.run(step)) {
            return self.handle_checked(step, run, cx);
        }
        match (&self.steps[step].at, self.state) {
            (
                At::Running(Run { direction: Direction::Forward, .. }) | At::Unanswered { .. },
                State::Forward | State::Open,
            ) => {
                let kept = cx.room.keep(self.gathered(), result.len());
                match kept {
                    Err(no_room) if self.may_compensate() => {
                        let at = self.steps[step].definition.participant.clone();
                        self.compensate(AbortReason::TooMuch { at, refusal: no_room.refusal() }, cx);
                    }
                    Err(no_room) => {
                        let result = self.kept_all_the_same(step, result, no_room, cx);
                        self.done(step, result, pending, cx);
                    }
                    Ok(()) => self.done(step, result, pending, cx),
                }
            }
            // It is to be undone now, but is doubtful no more. No other step was given what it handed back.
            (At::Doubtful, State::LoggingCompensation | State::Compensating) => {
                self.steps[step].at = At::Done { result: Bytes::new(), pending };
            }
            (
                At::Waiting
                | At::Doubtful
                | At::Running(_)
                | At::Elsewhere
                | At::Unanswered { .. }
                | At::Refused(_)
                | At::Done { .. }
                | At::Completed
                | At::Undone
                | At::Skipped,
                _,
            ) => {}
        }
    }

    fn done(&mut self, step: usize, result: Bytes, pending: bool, cx: &mut Context<'_>) {
        self.steps[step].at = At::Done { result, pending };
        self.answer_callers(step, cx);
        let awaited = self.after(step).any(|after| self.waits_for_record(after));
        self.settled(step, awaited, cx);
    }

    /// Returns what is kept of a result for which there is no room, where there is no way but on. Only what a later
    /// step uses is kept beyond the room that all transactions share; otherwise the result is left out, and a step that
    /// uses it gets none.
    fn kept_all_the_same(&self, step: usize, result: Bytes, no_room: NoRoom, cx: &mut Context<'_>) -> Bytes {
        let is_used = || self.steps.iter().any(|other| other.definition.uses.contains(&step_index(step)));
        match no_room {
            NoRoom::Now(_) if is_used() => result,
            NoRoom::Now(refusal) | NoRoom::TooLarge(refusal) => {
                let SagaStep { name, participant, .. } = &*self.steps[step].definition;
                self.note(Note::LeftOut { from: participant.clone(), step: Some(name.clone()), refusal }, cx);
                Bytes::new()
            }
        }
    }

    /// Takes the answer that a step was undone or completed, whichever attempt it was.
    fn handle_finished(&mut self, step: usize, direction: Direction, at: At, cx: &mut Context<'_>) {
        if self.run(step).is_some_and(|run| run.direction == direction) {
            self.steps[step].at = at;
            self.steps[step].acted.pending = false;
            self.settled(step, false, cx);
        }
    }

    /// Goes on once a step is settled. `awaited`: a step waits for the record; else nobody does.
    pub(super) fn settled(&mut self, step: usize, awaited: bool, cx: &mut Context<'_>) {
        if self.is_settled() {
            self.finish(false, cx);
        } else {
            self.append(Written::Step(step), awaited, cx);
            self.advance(cx);
        }
    }

    /// Handles that the attempt's time is over.
    pub(super) fn handle_attempt_timeout(
        &mut self,
        timer: Timer,
        step: StepIndex,
        direction: Direction,
        attempt: u32,
        cx: &mut Context<'_>,
    ) {
        let place = usize::from(step.0);
        if !self.is_waiting(place, direction, attempt, WaitsFor::Answer) {
            return;
        }
        if self.held {
            // Silence counts only where somebody was asked, or could have been.
            return cx.arm(&self.tx, self.attempt_number, timer);
        }
        let SagaStep { name, participant, .. } = &*self.steps[place].definition;
        let note = Note::Unanswered { by: participant.clone(), step: name.clone(), direction, attempt };
        self.note(note, cx);
        self.handle_failure(place, Failure::Unanswered, cx);
    }

    fn handle_failure(&mut self, step: usize, failure: Failure, cx: &mut Context<'_>) {
        let Some(mut run) = self.run(step) else { return };
        let definition = self.steps[step].definition.clone();
        let SagaStep { name, participant, retry, pivot, .. } = &*definition;
        let definite = match &failure {
            Failure::Unanswered => false,
            Failure::Refused(refusal) => is_definite(refusal.code),
            Failure::NotSent(_) => true,
        };
        run.in_effect &= !matches!(&failure, Failure::Refused(refusal) if leaves_nothing(refusal));
        if definite {
            run.refusals = run.refusals.saturating_add(1);
        }
        run.waits_for = WaitsFor::Pause;
        let is_last = run.attempt.saturating_sub(run.earlier) >= retry.max_attempts;
        self.steps[step].at = At::Running(run);
        if self.takes_steps() && self.steps[step].is_check_back() {
            return self.handle_not_checked(step, run, failure.refusal(), cx);
        }
        if self.takes_steps() && (definite || is_last) {
            let refusal = failure.refusal().filter(leaves_nothing);
            return self.handle_failed_action(step, run, refusal, cx);
        }
        let may_compensate = run.direction == Direction::Forward && self.may_compensate();
        if may_compensate && (definite || is_last || (*pivot && self.overdue)) {
            let reason = match failure {
                Failure::Refused(refusal) => AbortReason::Refused { by: participant.clone(), refusal },
                Failure::NotSent(refusal) => AbortReason::TooMuch { at: participant.clone(), refusal },
                Failure::Unanswered if is_last => {
                    AbortReason::Unanswered { by: participant.clone(), attempts: run.attempt }
                }
                Failure::Unanswered => AbortReason::DeadlinePassed { unanswered: vec![participant.clone()] },
            };
            return self.compensate(reason, cx);
        }
        let refusal = failure.refusal();
        if !may_compensate {
            self.steps[step].refused.clone_from(&refusal);
            if definite && run.refusals >= retry.max_attempts {
                self.steps[step].at = At::Running(Run { waits_for: WaitsFor::Operator, ..run });
                return self.is_stuck(step, cx);
            }
            if run.attempt == retry.max_attempts {
                let (by, step, direction) = (participant.clone(), name.clone(), run.direction);
                self.note(Note::HeldUp { by, step, direction, refusal }, cx);
            }
        }
        let timer = Timer::StepRetry {
            step: step_index(step),
            direction: run.direction,
            attempt: run.attempt,
            first_pause: retry.first_pause,
            max_pause: retry.max_pause,
        };
        cx.arm(&self.tx, self.attempt_number, timer);
    }

    /// Tells all clients that wait for the outcome why there is none.
    fn is_stuck(&mut self, step: usize, cx: &mut Context<'_>) {
        let stuck = self.stuck_at(step).expect("it was refused, and waits for an operator");
        self.note(Note::Stuck(stuck.clone()), cx);
        for client in std::mem::take(&mut self.waiters) {
            self.answer(client, Answer::Stuck(stuck.clone()), cx);
        }
    }

    pub(super) fn handle_pause_over(
        &mut self,
        step: StepIndex,
        direction: Direction,
        attempt: u32,
        cx: &mut Context<'_>,
    ) {
        let step = usize::from(step.0);
        if let Some(run) = self.run(step).filter(|_| self.is_waiting(step, direction, attempt, WaitsFor::Pause)) {
            self.attempt(step, Run { attempt: attempt.saturating_add(1), ..run }, cx);
        }
    }

    fn is_waiting(&self, step: usize, direction: Direction, attempt: u32, waits_for: WaitsFor) -> bool {
        let same = |run: Run| run.direction == direction && run.attempt == attempt && run.waits_for == waits_for;
        self.run(step).is_some_and(same)
    }

    pub(super) fn run(&self, step: usize) -> Option<Run> {
        match self.steps.get(step)?.at {
            At::Running(run) => Some(run),
            At::Waiting
            | At::Doubtful
            | At::Elsewhere
            | At::Unanswered { .. }
            | At::Refused(_)
            | At::Done { .. }
            | At::Completed
            | At::Undone
            | At::Skipped => None,
        }
    }
}

/// The reason why an attempt failed.
enum Failure {
    Unanswered,
    Refused(Refusal),
    /// The results that the step uses are too much for one message.
    NotSent(Refusal),
}

impl Failure {
    fn refusal(self) -> Option<Refusal> {
        match self {
            Failure::Unanswered => None,
            Failure::Refused(refusal) | Failure::NotSent(refusal) => Some(refusal),
        }
    }
}

impl At {
    pub(super) fn result_bytes(&self) -> usize {
        match self {
            At::Done { result, .. } => result.len(),
            At::Waiting
            | At::Doubtful
            | At::Running(_)
            | At::Elsewhere
            | At::Unanswered { .. }
            | At::Refused(_)
            | At::Completed
            | At::Undone
            | At::Skipped => 0,
        }
    }

    /// Returns the result; it is empty for what was skipped.
    pub(super) fn result(&self) -> Bytes {
        match self {
            At::Done { result, .. } => result.clone(),
            At::Waiting
            | At::Doubtful
            | At::Running(_)
            | At::Elsewhere
            | At::Unanswered { .. }
            | At::Refused(_)
            | At::Completed
            | At::Undone
            | At::Skipped => Bytes::new(),
        }
    }
}

fn leaves_nothing(refusal: &Refusal) -> bool {
    refusal.code != RefusalCode::Unclear
}

/// Returns true if the same step would be refused again. What came too late may succeed under a new id, never as this
/// step.
fn is_definite(code: RefusalCode) -> bool {
    code == RefusalCode::Late || !code.is_transient()
}
