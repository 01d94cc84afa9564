//! Steps that join an open saga, and their callers.

use super::{At, Run, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Rejection, StepAnswer};
use crate::input::{Client, Joining};
use crate::low_water_mark::Hold;
use crate::saga::log::Written;
use std::collections::BTreeSet;
use std::sync::Arc;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES};
use undoubt_vocabulary::saga::InvalidSaga;
use undoubt_vocabulary::{AttemptNumber, Direction, ParticipantName, Refusal, SagaStep};

/// The joining of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Joined {
    /// The digest of what joined under its name.
    pub(super) digest: [u8; 32],
    /// The attempt number under which its participant knows the saga.
    pub(super) attempt_number: AttemptNumber,
    /// True once its joining is on stable storage. Before, nothing is sent or answered.
    recorded: bool,
    /// The clients who wait for what its action comes to, or for the record of its joining.
    callers: BTreeSet<Caller>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Caller {
    client: Client,
    /// True if it waits for the action; else for the record alone.
    for_action: bool,
}

impl Joined {
    pub(super) fn recorded(digest: [u8; 32], attempt_number: AttemptNumber) -> Joined {
        Joined { digest, attempt_number, recorded: true, callers: BTreeSet::new() }
    }

    /// Returns the joining of a step that no client asked for.
    pub(super) fn unrecorded(attempt_number: AttemptNumber) -> Joined {
        Joined { digest: [0; 32], attempt_number, recorded: false, callers: BTreeSet::new() }
    }
}

impl Step {
    /// Returns true unless the step joins an open saga and that is not on record yet.
    pub(super) fn has_joined(&self) -> bool {
        self.joined.as_ref().is_none_or(|joined| joined.recorded)
    }
}

impl Saga {
    /// Returns true if no step has joined under this name.
    pub(crate) fn is_new(&self, step: &SagaStep) -> bool {
        self.place_of(step).is_none()
    }

    /// Returns the attempt number under which the participant knows the saga, if it has a step there.
    pub(crate) fn known_at(&self, participant: &ParticipantName) -> Option<AttemptNumber> {
        if self.is_two_phase() {
            return Some(self.attempt_number);
        }
        let there = self.steps.iter().find(|step| step.definition.participant == *participant)?;
        Some(there.attempt_number(self.attempt_number))
    }

    /// Checks that a step that is new may join.
    pub(crate) fn check_new(&self, step: &SagaStep) -> Result<(), Rejection> {
        if !self.takes_steps() {
            return Err(Rejection::NotOpen { phase: self.view().phase });
        }
        if let Some(parent) = self.ends_with() {
            return Err(Rejection::ParentEnding { parent: parent.clone() });
        }
        if self.is_two_phase() {
            self.check_branch(step)?;
        }
        if self.parent().is_some() && step.completion.is_some() && step.compensation.is_none() {
            let what = "the saga is nested, so what is completed may have to be undone with its parent; give it a compensation";
            return Err(InvalidSaga { path: "step.compensation".into(), what: what.into() }.into());
        }
        let max = MAX_BRANCHES_PER_TRANSACTION;
        if self.parts() >= max {
            return Err(Rejection::TooManySteps { max });
        }
        let bytes: usize = self.steps.iter().map(|step| step.definition.work_bytes()).sum();
        let given = bytes + step.work_bytes();
        if given > MAX_TRANSACTION_BYTES {
            return Err(Rejection::TooLarge { given, max: MAX_TRANSACTION_BYTES });
        }
        Ok(())
    }

    /// Checks that a step is a branch of the two-phase commit that follows the close.
    fn check_branch(&self, step: &SagaStep) -> Result<(), Rejection> {
        let needless = [("step.action", step.action.is_some()), ("step.compensation", step.compensation.is_some())];
        if let Some((path, _)) = needless.into_iter().find(|(_, given)| *given) {
            let what = "the transaction was begun with two-phase completions, so nothing is done before it is closed; give its work as \
                        its completion";
            return Err(InvalidSaga { path: path.into(), what: what.into() }.into());
        }
        if self.involves(&step.participant) {
            return Err(Rejection::TwoBranches { participant: step.participant.clone() });
        }
        Ok(())
    }

    /// Lets a step join that [may](Saga::check_new). `attempt_number`: the one under which its participant knows the saga, or is
    /// to.
    pub(crate) fn join(&mut self, joining: Joining, attempt_number: AttemptNumber, cx: &mut Context<'_>) {
        let Joining { step, digest, client, wait, .. } = joining;
        if !self.is_two_phase() {
            cx.peers.low_water_marks.open(&step.participant, attempt_number, Hold::WhileYoung);
        }
        self.note(Note::Joined { at: step.participant.clone(), step: step.name.clone() }, cx);
        let callers = BTreeSet::from([Caller { client, for_action: wait }]);
        let joined = Joined { digest, attempt_number, recorded: false, callers };
        self.steps.push(Step { joined: Some(joined), ..Step::new(Arc::new(step), At::Waiting) });
        self.append(Written::Joined(self.steps.len() - 1), true, cx);
    }

    /// Lets a client join with what has joined already under the same name.
    pub(crate) fn join_again(&mut self, joining: Joining, cx: &mut Context<'_>) -> Result<(), Rejection> {
        let Joining { step, digest, client, wait, .. } = joining;
        let place = self.place_of(&step).expect("it has joined");
        let (takes_steps, is_free) = (self.takes_steps(), self.is_free());
        let joined = self.steps[place].joined.as_mut().ok_or(Rejection::OtherContent)?;
        if joined.digest != digest {
            return Err(Rejection::OtherStep { step: step.name });
        }
        if !takes_steps || !is_free {
            self.wait_for(client, true, cx);
            return Ok(());
        }
        joined.callers.insert(Caller { client, for_action: wait });
        if let (At::Unanswered { attempts }, State::Open) = (&self.steps[place].at, self.state) {
            self.start_after(place, Direction::Forward, *attempts, cx);
        }
        self.answer_callers(place, cx);
        Ok(())
    }

    fn place_of(&self, step: &SagaStep) -> Option<usize> {
        self.steps.iter().position(|known| known.definition.name == step.name)
    }

    /// Goes on with a step whose joining is on record.
    pub(super) fn handle_joined(&mut self, step: usize, cx: &mut Context<'_>) {
        let known = &mut self.steps[step];
        if let Some(joined) = &mut known.joined {
            joined.recorded = true;
        }
        if known.at == At::Waiting && known.definition.action.is_none() {
            known.at = At::Elsewhere;
        }
        self.answer_callers(step, cx);
        self.advance(cx);
    }

    /// Answers the callers of a step what there is to tell.
    pub(super) fn answer_callers(&mut self, step: usize, cx: &mut Context<'_>) {
        let known = &mut self.steps[step];
        let Some(joined) = known.joined.as_mut().filter(|joined| joined.recorded) else { return };
        if known.word_unrecorded {
            return;
        }
        let (answer, is_last) = match &known.at {
            At::Elsewhere => (StepAnswer::Joined, true),
            At::Done { result, .. } => (StepAnswer::Done { result: result.clone() }, true),
            At::Unanswered { attempts } => (StepAnswer::Unanswered { attempts: *attempts }, true),
            // Once told, it has to be the same after a crash.
            At::Refused(refusal) if known.on_record => (StepAnswer::Refused(refusal.clone()), true),
            At::Skipped => (StepAnswer::Skipped, true),
            At::Waiting | At::Doubtful | At::Running(_) | At::Refused(_) => (StepAnswer::Running, false),
            At::Completed | At::Undone => return,
        };
        let told: Vec<Caller> = joined.callers.iter().filter(|caller| is_last || !caller.for_action).copied().collect();
        for caller in told {
            joined.callers.remove(&caller);
            let (client, tx) = (caller.client, self.tx.clone());
            cx.effects.push(Effect::Answer { client, tx, answer: Answer::Step(answer.clone()) });
        }
    }

    /// Handles that the action of an open saga's step was refused for good, or asked for as often as its policy has it. That is told
    /// to its caller, and the saga stays as it is.
    pub(super) fn handle_failed_action(
        &mut self,
        step: usize,
        run: Run,
        refusal: Option<Refusal>,
        cx: &mut Context<'_>,
    ) {
        match refusal {
            Some(refusal) => {
                self.steps[step].at = At::Refused(refusal);
                self.append(Written::Step(step), true, cx);
            }
            None => {
                self.steps[step].at = At::Unanswered { attempts: run.attempt };
                self.answer_callers(step, cx);
            }
        }
    }

    /// Returns all who wait for a step or for the beginning, and forgets them: they hear how the saga ended.
    pub(super) fn take_callers(&mut self) -> BTreeSet<Client> {
        let joined = self.steps.iter_mut().filter_map(|step| step.joined.as_mut());
        let callers = joined.flat_map(|joined| std::mem::take(&mut joined.callers)).map(|caller| caller.client);
        let mut clients: BTreeSet<Client> = callers.collect();
        clients.extend(self.take_beginners());
        clients
    }

    pub(super) fn stop_calling(&mut self, client: Client) {
        self.stop_beginning(client);
        for joined in self.steps.iter_mut().filter_map(|step| step.joined.as_mut()) {
            joined.callers.retain(|caller| caller.client != client);
        }
    }

    pub(super) fn callers(&self) -> usize {
        let joined = self.steps.iter().filter_map(|step| step.joined.as_ref());
        self.beginners() + joined.map(|joined| joined.callers.len()).sum::<usize>()
    }
}
