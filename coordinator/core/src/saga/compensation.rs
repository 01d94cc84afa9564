//! The way back: a saga that compensates what it has done.

use super::{At, Run, Saga, State};
use crate::context::Context;
use crate::effect::Note;
use crate::saga::log::Written;
use undoubt_vocabulary::{AbortReason, Direction, ParticipantName};

impl Saga {
    /// Returns true if a cancellation leads to an abort, or is overtaken by one. Of an open saga whoever comes second hears how it
    /// ended, whichever way.
    pub(crate) fn is_cancellable(&self) -> bool {
        self.compensating.is_some() || self.may_compensate() || self.opening.is_some()
    }

    pub(super) fn handle_deadline(&mut self, cx: &mut Context<'_>) {
        self.overdue = true;
        if !self.is_free() || self.opening.as_ref().is_some_and(|opening| opening.check_back.is_some()) {
            // It ends with its parent, or is asked about, see `Saga::to_be_asked`.
            return;
        }
        if !self.held && self.may_compensate() {
            self.note(Note::DeadlinePassed, cx);
            self.compensate(AbortReason::DeadlinePassed { unanswered: self.unanswered() }, cx);
        }
    }

    /// Returns participants of steps under way; where there are none, of all that is to be done.
    fn unanswered(&self) -> Vec<ParticipantName> {
        let running = |at: &At| matches!(at, At::Running(_));
        let any = self.steps.iter().any(|step| running(&step.at));
        let mut names: Vec<ParticipantName> = Vec::new();
        for step in &self.steps {
            let name = &step.definition.participant;
            let awaited = if any { running(&step.at) } else { !step.at.is_settled(Direction::Forward) };
            if awaited && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    pub(super) fn compensate(&mut self, reason: AbortReason, cx: &mut Context<'_>) {
        assert!(self.may_compensate(), "the pivot may be in effect, or the end is decided");
        self.note(Note::Compensating { reason: reason.clone() }, cx);
        self.compensating = Some(reason);
        self.state = State::LoggingCompensation;
        let callers = self.take_callers();
        self.waiters.extend(callers);
        self.ask_no_more(&At::Undone);
        self.tell_that_it_ends(cx);
        for step in &mut self.steps {
            match &step.at {
                At::Running(Run { in_effect: true, .. }) => step.at = At::Doubtful,
                At::Waiting | At::Running(Run { in_effect: false, .. }) => step.at = At::Undone,
                // It comes after the pivot, which is not in effect: so it was never sent, though the log could not say so.
                At::Doubtful if step.definition.compensation.is_none() => step.at = At::Undone,
                // It joined to be completed only.
                At::Elsewhere if step.definition.compensation.is_none() => step.at = At::Undone,
                At::Unanswered { .. } => step.at = At::Doubtful,
                // An operator has said so before its time; it cannot be undone, and the record tells of it.
                At::Done { .. } if step.definition.compensation.is_none() => step.at = At::Skipped,
                At::Doubtful
                | At::Elsewhere
                | At::Refused(_)
                | At::Done { .. }
                | At::Completed
                | At::Undone
                | At::Skipped => {}
            }
        }
        if self.is_settled() {
            // Nothing is to be undone, so nothing is sent that would have to wait for the record.
            self.finish(false, cx);
        } else {
            self.append(Written::Compensating, true, cx);
        }
    }
}
