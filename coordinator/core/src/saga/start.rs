//! The start of a saga: submitted, in the place of another attempt, or from the log.

use super::{At, Former, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Note, Timer};
use crate::low_water_mark::Hold;
use crate::open_transaction::Admitted;
use crate::record::{Progress, SagaRecord};
use crate::saga::log::Written;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use undoubt_vocabulary::{AttemptNumber, SagaStep, time_left};

impl Saga {
    /// Begins a saga whose definition is [sound](undoubt_vocabulary::saga::check).
    pub(crate) fn begin(
        admitted: Admitted,
        steps: Vec<SagaStep>,
        former: Option<Former>,
        cx: &mut Context<'_>,
    ) -> Saga {
        let Admitted { tx, attempt_number, digest, begun_at, timeout } = admitted;
        let step = |definition| Step::new(Arc::new(definition), At::Waiting);
        let mut saga = Saga {
            tx,
            attempt_number,
            digest,
            begun_at,
            deadline: cx.now.plus(timeout),
            steps: steps.into_iter().map(step).collect(),
            compensating: None,
            overdue: false,
            state: State::Beginning,
            unstable: VecDeque::new(),
            former,
            waiters: BTreeSet::new(),
            forgotten: false,
            opening: None,
            recovered: false,
            held: false,
        };
        saga.open_low_water_marks(cx);
        saga.note(Note::SagaBegun { steps: saga.steps.len() }, cx);
        saga.append(Written::Begun, true, cx);
        cx.arm(&saga.tx, saga.attempt_number, Timer::Deadline { after: timeout });
        saga
    }

    /// Its own, and that of the attempt in whose place it came, until that has ended durably.
    pub(crate) fn attempt_numbers(&self) -> BTreeSet<AttemptNumber> {
        let former = self.former.iter().map(|former| former.attempt_number);
        let of_steps = self.steps.iter().map(|step| step.attempt_number(self.attempt_number));
        former.chain([self.attempt_number]).chain(of_steps).collect()
    }

    /// Folds a record of the log back into the state that wrote it. Goes on when it is told to.
    pub(crate) fn recover(record: SagaRecord, cx: &mut Context<'_>) -> Saga {
        let SagaRecord { tx, attempt_number, begun_at, digest, deadline, steps, compensating, progress } = record;
        assert_eq!(steps.len(), progress.len(), "the record of saga {tx} has not one progress for each step");
        let step = |(definition, progress): (Arc<SagaStep>, Progress)| {
            let at = match progress {
                Progress::Pending => At::Doubtful,
                Progress::Done { result, pending } => At::Done { result, pending },
                Progress::Undone => At::Undone,
                Progress::Skipped => At::Skipped,
                Progress::Refused(_) | Progress::Completed { .. } => {
                    unreachable!("only steps of open sagas are refused or completed, or the record has a fault")
                }
            };
            // The record does not tell on whose word it is undone.
            let locks_unknown = at == At::Undone;
            let on_record = at != At::Doubtful;
            Step { on_record, locks_unknown, ..Step::new(definition, at) }
        };
        let mut saga = Saga {
            tx,
            attempt_number,
            digest,
            begun_at,
            deadline,
            steps: steps.into_iter().zip(progress).map(step).collect(),
            state: if compensating.is_some() { State::Compensating } else { State::Forward },
            compensating,
            overdue: false,
            unstable: VecDeque::new(),
            former: None,
            waiters: BTreeSet::new(),
            forgotten: false,
            opening: None,
            recovered: true,
            held: true,
        };
        saga.open_low_water_marks(cx);
        let stage = if saga.compensating.is_some() { "compensation" } else { "begun" };
        saga.note(Note::Recovered { stage }, cx);
        if saga.compensating.is_none() {
            saga.rule_out_what_was_never_sent();
            cx.arm(
                &saga.tx,
                saga.attempt_number,
                Timer::Deadline { after: time_left(saga.begun_at, saga.deadline, cx.now) },
            );
        }
        saga
    }

    /// Settles what was never sent. A step that is sent only once the steps before it are on record was not sent if
    /// they are not, nor was what comes after it.
    fn rule_out_what_was_never_sent(&mut self) {
        loop {
            let never_sent = |step: &usize| {
                let before = || self.before(*step);
                self.steps[*step].at == At::Doubtful
                    && (before().any(|before| self.steps[before].at == At::Waiting)
                        || (self.waits_for_record(*step) && before().any(|before| !self.steps[before].on_record)))
            };
            match (0..self.steps.len()).find(never_sent) {
                Some(step) => self.steps[step].at = At::Waiting,
                None => return,
            }
        }
    }

    pub(super) fn open_low_water_marks(&self, cx: &mut Context<'_>) {
        if self.is_two_phase() {
            // Nothing is sent under its attempt number.
            return;
        }
        let hold = if self.opening.is_some() { Hold::WhileYoung } else { Hold::ToItsEnd };
        for participant in self.participants() {
            cx.peers.low_water_marks.open(&participant, self.attempt_number_at(&participant), hold);
        }
    }
}
