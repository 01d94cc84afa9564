//! What the barrier does with a call. Pure.

use crate::answer::{late, never_tried, not_committed};
use crate::{Answer, Operation};

/// What a row keeps the answer to. A try is an action, a confirm a completion, a cancel a compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The action, the try, or the service's own transaction.
    Action,
    /// The completion or the confirm.
    Completion,
    /// The compensation or the cancel.
    Compensation,
}

impl Part {
    pub(crate) fn of(operation: Operation) -> Self {
        match operation {
            Operation::Action | Operation::Try | Operation::CheckBack => Self::Action,
            Operation::Completion | Operation::Confirm => Self::Completion,
            Operation::Compensation | Operation::Cancel => Self::Compensation,
        }
    }
}

/// A row: what was answered under one effect, as far as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub(crate) action: Option<Answer>,
    pub(crate) completion: Option<Answer>,
    pub(crate) compensation: Option<Answer>,
}

impl Row {
    fn answer(self, part: Part) -> Option<Answer> {
        match part {
            Part::Action => self.action,
            Part::Completion => self.completion,
            Part::Compensation => self.compensation,
        }
    }
}

/// What is done with a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The handler runs.
    Run,
    /// It is answered, and nothing changes.
    Answer(Answer),
    /// It is answered, and each repetition gets the same.
    Keep(Answer),
}

/// Decides by the row of a call's effect. `always`: a compensation runs though its action was never heard.
pub(crate) fn decide(row: Row, operation: Operation, always: bool) -> Decision {
    let is_done = |answer: &Option<Answer>| answer.as_ref().is_some_and(Answer::is_done);
    let (is_acted, is_heard, is_completed) = (is_done(&row.action), row.action.is_some(), row.completion.is_some());
    let is_undone = row.compensation.is_some();
    if let Some(before) = row.answer(Part::of(operation)) {
        return Decision::Answer(before);
    }
    match operation {
        Operation::Action | Operation::Try | Operation::Completion | Operation::Confirm if is_undone => {
            Decision::Answer(late())
        }
        Operation::Action | Operation::Try | Operation::Completion => Decision::Run,
        Operation::Confirm if is_acted => Decision::Run,
        Operation::Confirm => Decision::Answer(never_tried()),
        Operation::Compensation | Operation::Cancel if is_acted || is_completed => Decision::Run,
        Operation::Compensation | Operation::Cancel if always && !is_heard => Decision::Run,
        Operation::Compensation | Operation::Cancel => Decision::Keep(Answer::done()),
        Operation::CheckBack => Decision::Keep(not_committed()),
    }
}

/// What becomes of a handler's changes and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both stay.
    Commit,
    /// The changes go, and the answer stays.
    KeepRefusal,
    /// Both go.
    RollBack,
}

/// Returns what becomes of a handler's answer.
pub(crate) fn settle(operation: Operation, answer: &Answer) -> Ending {
    match Part::of(operation) {
        _ if answer.is_done() => Ending::Commit,
        Part::Action if answer.is_refusal() => Ending::KeepRefusal,
        // An operator may have the others tried again.
        Part::Action | Part::Completion | Part::Compensation => Ending::RollBack,
    }
}
