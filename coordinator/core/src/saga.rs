//! One saga, from the record of its beginning to that of its end.
//!
//! ```text
//! Beginning ──▶ Forward ── every step done ─────┬──────────▶ Ending ──▶ (retired)
//!     │            │                            └▶ Deciding ─▶ Closing ─▲      (semantic locks to be closed)
//!     │            └── refusal, deadline, cancel ──▶ LoggingCompensation ──▶ Compensating ──┴─▶ as above, every step
//!     undone └───────────────── nothing was sent: straight to the end ─────────▲
//! ```
//!
//! What a crash may leave in doubt is kept small by three rules. Nothing is sent before the saga is on record. No
//! compensation is sent before it is on record that the saga compensates. And a pivot, or a step that uses others'
//! results, is sent only once it is on record that the steps before it are done: so whoever reads the log knows whether
//! the pivot may be in effect, and has the results that each compensation is to be given. All other progress is
//! recorded behind the saga's back, because barriers make it safe to run a step again.
//!
//! An open saga begins without steps, which [join](opening) while it goes on, until it is closed or turned back:
//!
//! ```text
//! Beginning ──▶ Open ──┬── close ───▶ LoggingClose ──▶ Completing ──▶ Ending, as above, every step
//!                      └── cancel, deadline ──▶ LoggingCompensation ──▶ Compensating, as above
//! ```

mod abandonment;
mod attempts;
mod check_back;
mod closing;
mod compensation;
mod end;
mod joining;
mod log;
mod nesting;
mod opening;
mod order;
mod resolution;
mod start;
mod view;

use crate::context::Context;
use crate::effect::{Answer, Effect, Note, Timer};
use crate::input::Client;
use crate::loss::{Part, PartStep};
use crate::open_transaction::OpenInput;
use crate::record::{Progress, Stage};
use crate::room::Held;
use bytes::Bytes;
use joining::Joined;
use log::Written;
pub(crate) use nesting::Kin;
use opening::Opening;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Direction, Outcome, ParticipantName, Refusal, SagaStep, StepIndex,
    StuckStep, Timestamp, ToCoordinator, TxId,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saga {
    pub(crate) tx: TxId,
    pub(crate) attempt_number: AttemptNumber,
    pub(crate) digest: [u8; 32],
    pub(crate) begun_at: Timestamp,
    deadline: Timestamp,
    steps: Vec<Step>,
    /// The reason for which it compensates, if it does.
    compensating: Option<AbortReason>,
    /// The deadline passed while it could not compensate.
    overdue: bool,
    state: State,
    /// Appended and not stable yet, oldest first.
    unstable: VecDeque<(Stage, Written)>,
    /// The attempt in whose place it came.
    former: Option<Former>,
    waiters: BTreeSet<Client>,
    /// An operator has given it up.
    forgotten: bool,
    /// Set for an open saga, whose steps join it while it goes on.
    opening: Option<Opening>,
    /// True if it came from the log at this coordinator's start.
    pub(crate) recovered: bool,
    /// True while nothing is sent for it: the log is still being read, or an operator has paused it.
    pub(crate) held: bool,
}

/// An attempt by two-phase commit under the same id. Its attempt number is over once this saga's beginning is stable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Former {
    pub(crate) attempt_number: AttemptNumber,
    pub(crate) participants: Vec<ParticipantName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Step {
    /// Shared with its records.
    definition: Arc<SagaStep>,
    at: At,
    /// A stable record says so, where it is done or skipped; of an open saga's step, a record of what it was in the direction that the
    /// saga goes.
    on_record: bool,
    /// True if it may have been undone on an operator's word, which says nothing of its semantic locks.
    locks_unknown: bool,
    /// An operator's word has settled it and is being recorded; until then nothing is built upon it.
    word_unrecorded: bool,
    /// The last refusal by its participant, where there is no way but on and the step is not settled.
    refused: Option<Refusal>,
    /// Its participant has yet to say that no semantic lock is left.
    to_be_closed: bool,
    /// Set for a step that joined an open saga.
    joined: Option<Joined>,
    /// The result of the action, while the step is being completed and after.
    acted: Acted,
    /// It was completed, in a nested saga that turns back with its parent.
    was_completed: bool,
}

/// The result of an action, and whether it left semantic locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Acted {
    result: Bytes,
    pending: bool,
}

impl Step {
    /// Returns a step of which nothing but its place is known.
    fn new(definition: Arc<SagaStep>, at: At) -> Step {
        Step {
            definition,
            at,
            on_record: false,
            locks_unknown: false,
            word_unrecorded: false,
            refused: None,
            to_be_closed: false,
            joined: None,
            acted: Acted::default(),
            was_completed: false,
        }
    }

    fn gathered(&self) -> usize {
        self.at.result_bytes() + self.acted.result.len()
    }

    /// Returns how far it is, for the record.
    fn progress(&self) -> Progress {
        let acted = || {
            let Acted { result, pending } = self.acted.clone();
            (result, pending)
        };
        match &self.at {
            At::Running(Run { direction, .. })
                if (*direction == Direction::Completing || self.was_completed) && self.definition.action.is_some() =>
            {
                let (result, pending) = acted();
                Progress::Done { result, pending }
            }
            At::Waiting | At::Doubtful | At::Elsewhere | At::Unanswered { .. } | At::Running(_) => Progress::Pending,
            At::Refused(refusal) => Progress::Refused(refusal.clone()),
            At::Done { result, pending } => Progress::Done { result: result.clone(), pending: *pending },
            At::Completed => {
                let (result, pending) = acted();
                Progress::Completed { result, pending }
            }
            At::Undone => Progress::Undone,
            At::Skipped => Progress::Skipped,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Its action is not in effect, and not on its way.
    Waiting,
    /// Its action may be in effect: what the log leaves open, or what was under way when the saga began to compensate.
    Doubtful,
    Running(Run),
    /// Its caller does the action himself, so it may be in effect.
    Elsewhere,
    /// Its action may be in effect, and was asked for as often as its policy has it. Its caller may ask again.
    Unanswered {
        attempts: u32,
    },
    /// Its action was refused, which only its caller heeds: nothing of it is in effect.
    Refused(Refusal),
    Done {
        result: Bytes,
        pending: bool,
    },
    Completed,
    Undone,
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    direction: Direction,
    /// The number of the attempt, from 1.
    attempt: u32,
    /// The attempts before its caller asked for it anew, of which messages may still be on their way.
    earlier: u32,
    refusals: u32,
    /// The action may be in effect: it was sent, and that was not answered by a refusal that leaves nothing behind.
    in_effect: bool,
    waits_for: WaitsFor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum WaitsFor {
    Answer,
    Pause,
    /// Refused too often, where there is no way but on.
    Operator,
    /// The operator lets it be tried again, and that is being recorded.
    Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// The record of its beginning is being forced. Nothing is sent.
    Beginning,
    Forward,
    /// Steps join it.
    Open,
    /// The record that it was closed is being forced.
    LoggingClose,
    Completing,
    /// Closed and completed, and [nested](nesting): it ends with its parent.
    Kept,
    /// The record that it compensates is being forced.
    LoggingCompensation,
    Compensating,
    /// The record that every step is settled is being forced: semantic locks wait for it.
    Deciding,
    /// Decided, stable, answered; semantic locks are being closed.
    Closing {
        attempt: u32,
    },
    /// The end is being recorded. `answered`: clients know already, else they hear when it is stable (R10).
    Ending {
        answered: bool,
    },
    Ended,
}

impl Saga {
    pub(crate) fn handle_input(&mut self, input: OpenInput, cx: &mut Context<'_>) {
        match input {
            OpenInput::Message { from, message } => match message {
                ToCoordinator::Ran { step, direction, attempt, outcome, .. } => {
                    self.handle_ran(&from, step, direction, attempt, outcome, cx);
                }
                ToCoordinator::Closed { .. } => self.handle_closed(&from, cx),
                // Two-phase commit's words: they belong to an earlier attempt, or to nobody.
                ToCoordinator::Vote { .. }
                | ToCoordinator::Confirmed { .. }
                | ToCoordinator::Finished { .. }
                | ToCoordinator::Inquiry { .. } => {}
            },
            OpenInput::Connected { participant } => self.send_again(Some(&participant), cx),
            OpenInput::Fired(timer) => match timer {
                Timer::Deadline { .. } => self.handle_deadline(cx),
                Timer::Retry { attempt } => self.close_again(attempt, cx),
                Timer::Attempt { step, direction, attempt, .. } => {
                    self.handle_attempt_timeout(timer, step, direction, attempt, cx)
                }
                Timer::StepRetry { step, direction, attempt, .. } => {
                    self.handle_pause_over(step, direction, attempt, cx)
                }
            },
            OpenInput::Logged(stage) => self.handle_logged(stage, cx),
            OpenInput::Cancelled => {
                if self.is_free() && self.may_compensate() {
                    self.compensate(AbortReason::Cancelled, cx);
                }
            }
            OpenInput::Resumed => self.handle_resumed(cx),
            // See `Saga::forget`.
            OpenInput::Forgotten => {}
            OpenInput::Kin(kin) => self.handle_kin(kin, cx),
        }
    }

    fn handle_resumed(&mut self, cx: &mut Context<'_>) {
        self.send_again(None, cx);
        if self.overdue && self.may_compensate() {
            self.handle_deadline(cx);
        }
        if self.is_settled() {
            // The log has brought it so far, or an operator's word that is being recorded.
            self.finish(self.unstable.is_empty(), cx);
        } else {
            self.advance(cx);
        }
    }

    /// Repeats what is awaited from this participant, or from all.
    fn send_again(&mut self, to: Option<&ParticipantName>, cx: &mut Context<'_>) {
        let wanted = |participant: &ParticipantName| to.is_none_or(|to| to == participant);
        for step in 0..self.steps.len() {
            if wanted(&self.steps[step].definition.participant) {
                self.send_run(step, cx);
            }
        }
        for participant in self.unclosed().iter().filter(|participant| wanted(participant)) {
            self.send_close(participant, cx);
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Returns the steps at this participant that are done or undone by what it has answered.
    pub(crate) fn answered_by(&self, participant: &ParticipantName) -> Vec<Part> {
        let part = |(index, step): (usize, &Step)| {
            let outcome = match step.at {
                // It was completed and is to be undone, and nothing tells whether its participant has done that already.
                At::Done { .. } if step.was_completed => return None,
                At::Done { .. } => BranchOutcome::Committed,
                At::Completed if step.definition.completion.is_some() || step.definition.action.is_some() => {
                    BranchOutcome::Committed
                }
                At::Undone => BranchOutcome::Aborted,
                At::Waiting
                | At::Doubtful
                | At::Running(_)
                | At::Elsewhere
                | At::Unanswered { .. }
                | At::Refused(_)
                | At::Completed
                | At::Skipped => return None,
            };
            let step_part = || PartStep { index: step_index(index), name: step.definition.name.clone() };
            let is_there = step.definition.participant == *participant;
            is_there.then(|| Part { participant: participant.clone(), step: Some(step_part()), outcome })
        };
        self.steps.iter().enumerate().filter_map(part).collect()
    }

    pub(crate) fn involves(&self, participant: &ParticipantName) -> bool {
        self.steps.iter().any(|step| step.definition.participant == *participant)
    }

    pub(crate) fn held_bytes(&self) -> Held {
        let work_bytes = self.steps.iter().map(|step| step.definition.work_bytes()).sum();
        let result_bytes = self.gathered();
        // One that is kept waits for the clients of its parent.
        let waits_for_clients = self.takes_steps() || self.state == State::Kept;
        let leaving_bytes = if self.is_being_recorded() { result_bytes } else { 0 };
        Held { work_bytes, result_bytes, leaving_bytes, begun: usize::from(waits_for_clients) }
    }

    /// Returns true while its decision or its end is on its way to the log.
    fn is_being_recorded(&self) -> bool {
        match self.state {
            State::Deciding | State::Ending { .. } => true,
            State::Beginning
            | State::Forward
            | State::Open
            | State::LoggingClose
            | State::Completing
            | State::Kept
            | State::LoggingCompensation
            | State::Compensating
            | State::Closing { .. }
            | State::Ended => false,
        }
    }

    fn gathered(&self) -> usize {
        self.steps.iter().map(Step::gathered).sum()
    }

    fn participants(&self) -> BTreeSet<ParticipantName> {
        self.steps.iter().map(|step| step.definition.participant.clone()).collect()
    }

    /// Lets a client hear the outcome: at once if it is stable, else when it is.
    pub(crate) fn wait_for(&mut self, client: Client, wait: bool, cx: &mut Context<'_>) {
        if self.is_announced() {
            self.answer(client, self.outcome_answer(), cx);
        } else if self.state == State::Kept {
            self.answer(client, Answer::Closed, cx);
        } else if let Some(stuck) = self.stuck() {
            self.answer(client, Answer::Stuck(stuck), cx);
        } else if wait {
            self.waiters.insert(client);
        } else {
            self.answer(client, Answer::Pending, cx);
        }
    }

    /// Returns the clients that wait, also operators who wait for the record of what they said, and forgets them.
    pub(crate) fn take_waiters(&mut self) -> BTreeSet<Client> {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.extend(self.unstable.iter().filter_map(|(_, written)| written.client()));
        waiters.extend(self.take_callers());
        waiters
    }

    pub(crate) fn stop_waiting(&mut self, client: Client) {
        self.waiters.remove(&client);
        self.stop_waiting_for_record(client);
        self.stop_calling(client);
    }

    pub(crate) fn waiters(&self) -> usize {
        self.waiters.len() + self.callers()
    }

    /// Returns a step that waits for an operator, if there is one.
    fn stuck(&self) -> Option<StuckStep> {
        (0..self.steps.len()).find_map(|step| self.stuck_at(step))
    }

    /// Returns true if some step goes on only with an operator.
    pub(crate) fn waits_for_an_operator(&self) -> bool {
        (0..self.steps.len()).any(|step| self.run(step).is_some_and(|run| run.waits_for == WaitsFor::Operator))
    }

    fn stuck_at(&self, step: usize) -> Option<StuckStep> {
        let Run { direction, .. } = self.run(step).filter(|run| run.waits_for == WaitsFor::Operator)?;
        let Step { definition, refused, .. } = &self.steps[step];
        let refusal = refused.clone()?;
        let (step, participant) = (definition.name.clone(), definition.participant.clone());
        Some(StuckStep { step, participant, direction, refusal })
    }

    fn answer(&self, client: Client, answer: Answer, cx: &mut Context<'_>) {
        cx.effects.push(Effect::Answer { client, tx: self.tx.clone(), answer });
    }

    fn outcome(&self) -> Outcome {
        self.compensating.clone().map_or(Outcome::Committed, Outcome::Aborted)
    }

    fn note(&self, note: Note, cx: &mut Context<'_>) {
        cx.note(&self.tx, note);
    }
}

pub(crate) fn step_index(step: usize) -> StepIndex {
    StepIndex(u16::try_from(step).expect("a sound saga has no more steps than a transaction may have branches"))
}
