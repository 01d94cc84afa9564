//! The records of a saga, and what each of them allows once it is stable.

use super::{Former, Saga, State, Step};
use crate::context::Context;
use crate::effect::{Effect, Note};
use crate::input::Client;
use crate::record::{Record, SagaRecord, Stage};

/// The reason for which a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Written {
    Begun,
    /// This step has joined an open saga.
    Joined(usize),
    /// This step is settled.
    Step(usize),
    /// An open saga was closed.
    Closed,
    Compensating,
    /// An operator has resolved this step.
    Resolved {
        step: usize,
        /// The client who waits for it.
        client: Option<Client>,
    },
    Decided,
    Ended,
}

impl Saga {
    pub(super) fn append(&mut self, written: Written, forced: bool, cx: &mut Context<'_>) {
        let record = self.record(written);
        self.append_record(record, written, forced, cx);
    }

    fn record(&self, written: Written) -> Record {
        if let Some(opening) = &self.opening {
            return match written {
                Written::Joined(step) | Written::Step(step) | Written::Resolved { step, .. } => {
                    self.joined_record(step)
                }
                Written::Begun | Written::Closed | Written::Compensating | Written::Decided | Written::Ended => {
                    self.opened_record(opening)
                }
            };
        }
        Record::Saga(SagaRecord {
            tx: self.tx.clone(),
            attempt_number: self.attempt_number,
            begun_at: self.begun_at,
            digest: self.digest,
            deadline: self.deadline,
            steps: self.steps.iter().map(|step| step.definition.clone()).collect(),
            compensating: self.compensating.clone(),
            progress: self.steps.iter().map(Step::progress).collect(),
        })
    }

    pub(super) fn append_record(&mut self, record: Record, written: Written, forced: bool, cx: &mut Context<'_>) {
        self.unstable.push_back((record.stage(), written));
        cx.effects.push(Effect::Append { record, forced });
    }

    /// Records become stable in the order in which they were appended.
    pub(super) fn handle_logged(&mut self, stage: Stage, cx: &mut Context<'_>) {
        if self.unstable.front().is_none_or(|(awaited, _)| *awaited != stage) {
            return;
        }
        let Some((_, written)) = self.unstable.pop_front() else { return };
        if let Some(stage) = written.noted_as() {
            self.note(Note::Logged { stage }, cx);
        }
        match written {
            Written::Begun => {
                self.release_former(cx);
                if self.state == State::Beginning {
                    self.state = if self.opening.is_some() { State::Open } else { State::Forward };
                    self.answer_beginners(cx);
                    self.advance(cx);
                }
            }
            Written::Joined(step) => self.handle_joined(step, cx),
            Written::Closed => {
                self.note_decided();
                if self.state == State::LoggingClose {
                    self.state = State::Completing;
                    self.advance_or_finish(cx);
                }
            }
            Written::Step(step) => {
                self.steps[step].on_record = true;
                self.answer_callers(step, cx);
                self.advance(cx);
            }
            Written::Compensating => {
                self.note_decided();
                if self.state == State::LoggingCompensation {
                    self.state = State::Compensating;
                    self.advance_or_finish(cx);
                }
            }
            Written::Resolved { step, client } => self.handle_stable_resolution(step, client, cx),
            Written::Decided => {
                self.note_decided();
                if self.state == State::Deciding {
                    self.close(cx);
                }
            }
            Written::Ended => match self.state {
                State::Ending { .. } => self.retire(cx),
                State::Beginning
                | State::Forward
                | State::Open
                | State::LoggingClose
                | State::Completing
                | State::Kept
                | State::LoggingCompensation
                | State::Compensating
                | State::Deciding
                | State::Closing { .. }
                | State::Ended => unreachable!("the end was appended, and the saga does not wait for it"),
            },
        }
    }

    /// Releases the attempt in whose place this saga came, which has ended, durably.
    fn release_former(&mut self, cx: &mut Context<'_>) {
        let Some(Former { attempt_number, participants }) = self.former.take() else { return };
        for participant in participants {
            cx.peers.low_water_marks.close(&participant, attempt_number);
        }
    }

    pub(super) fn stop_waiting_for_record(&mut self, gone: Client) {
        for (_, written) in &mut self.unstable {
            match written {
                Written::Resolved { client, .. } if *client == Some(gone) => *client = None,
                Written::Begun
                | Written::Joined(_)
                | Written::Step(_)
                | Written::Closed
                | Written::Compensating
                | Written::Resolved { .. }
                | Written::Decided
                | Written::Ended => {}
            }
        }
    }
}

impl Written {
    /// Returns the client that wants to hear of it.
    pub(super) fn client(self) -> Option<Client> {
        match self {
            Written::Resolved { client, .. } => client,
            Written::Begun
            | Written::Joined(_)
            | Written::Step(_)
            | Written::Closed
            | Written::Compensating
            | Written::Decided
            | Written::Ended => None,
        }
    }

    /// Returns its name in the history, which says nothing of what nobody waits for.
    fn noted_as(self) -> Option<&'static str> {
        match self {
            Written::Begun => Some("begun"),
            Written::Closed => Some("closed"),
            Written::Compensating => Some("compensation"),
            Written::Resolved { .. } => Some("resolved"),
            Written::Decided => Some("decided"),
            Written::Ended => Some("ended"),
            Written::Joined(_) | Written::Step(_) => None,
        }
    }
}
