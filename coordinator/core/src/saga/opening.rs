//! An open saga: its beginning, its records, and its return from the log.

use super::joining::Joined;
use super::nesting::{Child, Parent};
use super::{Acted, At, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Answer, Note, Timer};
use crate::input::{Beginning, Client};
use crate::record::{JoinedRecord, OpenedRecord, OpenedState, Progress, Record, Stage, Terms};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use undoubt_vocabulary::{AttemptNumber, Outcome, ParticipantName, SagaStep, time_left};

/// The part of a saga that only an open one has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Opening {
    pub(super) terms: Terms,
    pub(super) closed: bool,
    pub(super) check_back: Option<Arc<SagaStep>>,
    pub(super) owner: Option<Arc<str>>,
    /// True once it is on record that it was closed, or that it compensates.
    is_decided: bool,
    /// The clients who wait for the record of its beginning.
    beginners: BTreeSet<Client>,
    pub(super) parent: Option<Parent>,
    /// Those that have not ended, in the order in which they began.
    pub(super) children: Vec<Child>,
}

impl Saga {
    /// Begins an open saga. The client hears when that is on record. `after`: the number of steps that had joined its parent before,
    /// if it has one.
    pub(crate) fn open(
        beginning: Beginning,
        after: usize,
        attempt_number: AttemptNumber,
        cx: &mut Context<'_>,
    ) -> Saga {
        let Beginning { tx, digest, terms, check_back, parent, owner, timeout, client } = beginning;
        let mut saga = Saga {
            tx,
            attempt_number,
            digest,
            begun_at: cx.now,
            deadline: cx.now.plus(timeout),
            steps: Vec::new(),
            compensating: None,
            overdue: false,
            state: State::Beginning,
            unstable: VecDeque::new(),
            former: None,
            waiters: BTreeSet::new(),
            forgotten: false,
            opening: Some(Opening {
                terms,
                closed: false,
                check_back,
                owner,
                is_decided: false,
                beginners: BTreeSet::from([client]),
                parent: parent.map(|parent| Parent::new(parent, after)),
                children: Vec::new(),
            }),
            recovered: false,
            held: false,
        };
        saga.note(Note::Opened, cx);
        if let Some(parent) = saga.parent().cloned() {
            saga.note(Note::Nested { parent }, cx);
        }
        saga.append(super::Written::Begun, true, cx);
        cx.arm(&saga.tx, saga.attempt_number, Timer::Deadline { after: timeout });
        saga
    }

    /// Lets a client hear that the saga has begun, once that is on record.
    pub(crate) fn begin_again(&mut self, client: Client, cx: &mut Context<'_>) {
        match &mut self.opening {
            Some(opening) if self.state == State::Beginning => {
                opening.beginners.insert(client);
            }
            Some(_) | None => self.wait_for(client, false, cx),
        }
    }

    pub(super) fn answer_beginners(&mut self, cx: &mut Context<'_>) {
        let beginners = self.opening.as_mut().map(|opening| std::mem::take(&mut opening.beginners));
        for client in beginners.into_iter().flatten() {
            self.answer(client, Answer::Pending, cx);
        }
    }

    /// Returns true while steps may join it.
    pub(crate) fn takes_steps(&self) -> bool {
        self.opening.is_some() && matches!(self.state, State::Beginning | State::Open)
    }

    /// Returns true if nothing of it goes on before somebody asks for it, or its parent ends.
    pub(crate) fn is_idle(&self) -> bool {
        let is_running = |step: &Step| matches!(step.at, At::Running(_) | At::Waiting | At::Doubtful);
        // What is kept goes on with its parent.
        self.state == State::Kept
            || (self.takes_steps() && self.state == State::Open && !self.steps.iter().any(is_running))
    }

    /// Returns true if it is an open transaction whose steps are to be completed by two-phase commit.
    pub(crate) fn is_two_phase(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.terms.are_two_phase())
    }

    pub(crate) fn owner(&self) -> Option<&Arc<str>> {
        self.opening.as_ref()?.owner.as_ref()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.closed)
    }

    /// Notes that it is on record that the saga was closed, or compensates.
    pub(super) fn note_decided(&mut self) {
        self.opening.iter_mut().for_each(|opening| opening.is_decided = true);
    }

    /// Returns true if it is an open saga, and it is on record that it was closed, or compensates.
    pub(super) fn is_decided(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.is_decided)
    }

    /// Returns the outcome, if it is on record; of an open saga, if it is or will be, should its record of this stage be refused.
    pub(crate) fn decided_without(&self, refused: Stage) -> Option<Outcome> {
        let is_on_its_way = match self.state {
            State::LoggingClose => refused != Stage::Closed,
            State::LoggingCompensation => self.opening.is_some() && refused != Stage::Compensating,
            State::Beginning
            | State::Forward
            | State::Open
            | State::Completing
            | State::Kept
            | State::Compensating
            | State::Deciding
            | State::Closing { .. }
            | State::Ending { .. }
            | State::Ended => false,
        };
        // What a nested saga comes to is decided with its parent's end.
        ((self.is_decided() && !self.is_provisional()) || is_on_its_way || self.is_announced()).then(|| self.outcome())
    }

    /// Returns the attempt number under which the participant knows it.
    pub(crate) fn attempt_number_at(&self, participant: &ParticipantName) -> AttemptNumber {
        let first = self.steps.iter().find(|step| step.definition.participant == *participant);
        first.map_or(self.attempt_number, |step| step.attempt_number(self.attempt_number))
    }

    pub(super) fn opened_record(&self, opening: &Opening) -> Record {
        let state = match &self.compensating {
            Some(reason) if opening.closed => OpenedState::Reverting(reason.clone()),
            Some(reason) => OpenedState::Compensating(reason.clone()),
            None if opening.closed => OpenedState::Closed,
            None => OpenedState::Open,
        };
        Record::Opened(OpenedRecord {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            digest: self.digest,
            deadline: self.deadline,
            terms: opening.terms,
            check_back: opening.check_back.clone(),
            parent: opening.parent.as_ref().map(Parent::record),
            owner: opening.owner.clone(),
            state,
        })
    }

    pub(super) fn joined_record(&self, step: usize) -> Record {
        let known = &self.steps[step];
        let joined = known.joined.as_ref().expect("every step of an open saga has joined it");
        Record::Joined(JoinedRecord {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            index: super::step_index(step),
            step: known.definition.clone(),
            digest: joined.digest,
            at_participant: joined.attempt_number,
            progress: known.progress(),
        })
    }

    /// Folds the records of the log back into the state that wrote them. Goes on when it is told to.
    pub(crate) fn recover_open(record: OpenedRecord, steps: Vec<JoinedRecord>, cx: &mut Context<'_>) -> Saga {
        let OpenedRecord { tx, attempt_number, begun_at, digest, deadline, terms, check_back, parent, owner, state } =
            record;
        let (state, closed, compensating, stage) = match state {
            OpenedState::Open => (State::Open, false, None, "opened"),
            OpenedState::Closed => (State::Completing, true, None, "closed"),
            OpenedState::Compensating(reason) => (State::Compensating, false, Some(reason), "compensation"),
            OpenedState::Reverting(reason) => (State::Compensating, true, Some(reason), "compensation"),
        };
        let mut saga = Saga {
            tx,
            attempt_number,
            digest,
            begun_at,
            deadline,
            steps: steps.into_iter().map(|step| Step::recover_joined(step, state)).collect(),
            compensating,
            overdue: false,
            state,
            unstable: VecDeque::new(),
            former: None,
            waiters: BTreeSet::new(),
            forgotten: false,
            opening: Some(Opening {
                terms,
                closed,
                check_back,
                owner,
                is_decided: state != State::Open,
                beginners: BTreeSet::new(),
                parent: parent.map(Parent::recorded),
                children: Vec::new(),
            }),
            recovered: true,
            held: true,
        };
        saga.open_low_water_marks(cx);
        if saga.is_reverting() {
            saga.settle_what_needs_no_completion();
            saga.steps.iter_mut().for_each(Step::undo_completed);
        } else if saga.is_closed() {
            saga.settle_what_needs_no_completion();
        } else if saga.compensating.is_some() {
            saga.ask_no_more(&At::Undone);
        }
        saga.note(Note::Recovered { stage }, cx);
        if saga.takes_steps() {
            let after = time_left(saga.begun_at, saga.deadline, cx.now);
            cx.arm(&saga.tx, saga.attempt_number, Timer::Deadline { after });
        }
        saga
    }

    pub(super) fn take_beginners(&mut self) -> BTreeSet<Client> {
        self.opening.as_mut().map(|opening| std::mem::take(&mut opening.beginners)).unwrap_or_default()
    }

    pub(super) fn stop_beginning(&mut self, client: Client) {
        if let Some(opening) = &mut self.opening {
            opening.beginners.remove(&client);
        }
    }

    pub(super) fn beginners(&self) -> usize {
        self.opening.as_ref().map_or(0, |opening| opening.beginners.len())
    }
}

impl Step {
    /// Returns the attempt number under which its participant knows it; `of_saga` is that of its saga.
    pub(super) fn attempt_number(&self, of_saga: AttemptNumber) -> AttemptNumber {
        self.joined.as_ref().map_or(of_saga, |joined| joined.attempt_number)
    }

    fn recover_joined(record: JoinedRecord, state: State) -> Step {
        let JoinedRecord { step, digest, at_participant, progress, .. } = record;
        let mut acted = Acted::default();
        let at = match progress {
            Progress::Pending
                if step.action.is_none() && (state != State::Compensating || step.compensation.is_some()) =>
            {
                At::Elsewhere
            }
            Progress::Pending if step.action.is_none() => At::Undone,
            Progress::Pending => At::Doubtful,
            // See `Saga::compensate`, which its record says nothing of.
            Progress::Done { .. } if state == State::Compensating && step.compensation.is_none() => At::Skipped,
            Progress::Done { result, pending } => At::Done { result, pending },
            Progress::Refused(refusal) => At::Refused(refusal),
            Progress::Completed { result, pending } => {
                acted = Acted { result, pending };
                At::Completed
            }
            Progress::Undone => At::Undone,
            Progress::Skipped => At::Skipped,
        };
        let locks_unknown = at == At::Undone;
        let joined = Joined::recorded(digest, at_participant);
        let on_record = !matches!(at, At::Doubtful | At::Elsewhere);
        Step { on_record, locks_unknown, joined: Some(joined), acted, ..Step::new(step, at) }
    }
}
