//! The steps of open sagas: their completions, and actions that their callers have done themselves.

use super::check;
use crate::script::{Script, attempt_number, coordinator, outcome_words};
use crate::steps::{did, did_pending, refused, run, step};
use bytes::Bytes;
use undoubt_participant_core::{Input, Recovered, StepState};
use undoubt_vocabulary::saga::UNDONE_ANEW;
use undoubt_vocabulary::{Direction, RunStep, StepOutcome, ToParticipant};

impl Script {
    fn complete(&mut self, index: u16, attempt: u32) {
        self.hear(1, ToParticipant::Run(run(attempt_number(1, 0), index, Direction::Completing, attempt)));
    }

    /// Ends a step whose caller has acted himself.
    fn end_elsewhere(&mut self, index: u16, direction: Direction, attempt: u32) {
        let run = RunStep { acted_elsewhere: true, ..run(attempt_number(1, 0), index, direction, attempt) };
        self.hear(1, ToParticipant::Run(run));
    }

    /// Undoes what was completed, and brings its action's result along.
    fn undo_anew(&mut self, index: u16, attempt: u32) {
        let run = run(attempt_number(1, 0), index + UNDONE_ANEW, Direction::Compensating, attempt);
        let run = RunStep { acted_elsewhere: true, inputs: vec![Bytes::from_static(b"x=1")], ..run };
        self.hear(1, ToParticipant::Run(run));
    }

    fn completed(&mut self, index: u16, outcome: StepOutcome) {
        let line = format!("completion S1/{}/{index} ran: {}", attempt_number(1, 0), outcome_words(&outcome));
        self.tell(&line, Input::StepFinished { step: step(attempt_number(1, 0), index), outcome });
    }
}

#[test]
fn a_completion_follows_its_action_once_and_is_answered_each_time() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did_pending());
    script.complete(0, 1);
    script.complete(0, 2);
    script.act(0, 1);
    script.completed(0, did());
    script.complete(0, 1);
    script.compensate(0, 1);
    script.act(0, 2);
    script.close();
    script.closed();
    script.complete(0, 3);
    check("step-completed", &script.text);
}

#[test]
fn a_refused_completion_runs_again_at_a_higher_attempt_only() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did());
    script.complete(0, 2);
    script.completed(0, refused());
    script.complete(0, 1);
    script.complete(0, 2);
    script.complete(0, 3);
    script.completed(0, did());
    check("step-completion-refused", &script.text);
}

#[test]
fn what_was_refused_or_undone_or_is_not_known_is_not_completed() {
    let mut script = Script::new();
    script.complete(0, 1);
    script.act(1, 1);
    script.complete(1, 1);
    script.acted(1, refused());
    script.complete(1, 1);
    script.act(2, 1);
    script.acted(2, did());
    script.compensate(2, 1);
    script.complete(2, 1);
    script.compensated(2, did());
    script.complete(2, 1);
    script.compensate(3, 1);
    script.emptied(3);
    script.complete(3, 1);
    check("step-not-completed", &script.text);
}

#[test]
fn what_was_done_elsewhere_is_undone_though_nobody_saw_an_action() {
    let mut script = Script::new();
    script.end_elsewhere(0, Direction::Compensating, 1);
    script.end_elsewhere(0, Direction::Compensating, 2);
    script.compensated(0, refused());
    script.end_elsewhere(0, Direction::Compensating, 2);
    script.end_elsewhere(0, Direction::Compensating, 3);
    script.compensated(0, did());
    script.end_elsewhere(0, Direction::Compensating, 1);
    script.end_elsewhere(0, Direction::Completing, 1);
    script.act(0, 1);
    check("step-elsewhere-undone", &script.text);
}

#[test]
fn what_was_completed_is_undone_anew_unless_its_completion_was_lost_with_an_earlier_folder() {
    let mut script = Script::new();
    script.act(0, 1);
    script.acted(0, did());
    script.complete(0, 1);
    script.completed(0, did());
    script.undo_anew(0, 1);
    script.compensated(UNDONE_ANEW, did());
    script.undo_anew(0, 2);
    script.undo_anew(1, 1);
    script.emptied(1 + UNDONE_ANEW);
    script.undo_anew(1, 2);
    check("step-undone-anew", &script.text);
}

#[test]
fn what_was_done_elsewhere_is_completed_once_also_over_a_restart() {
    let mut script = Script::empty();
    script.recovered("the coordinator", coordinator(1, attempt_number(1, 0)));
    let stored = Recovered::Step { step: step(attempt_number(1, 0), 0), state: StepState::Completed };
    script.recovered("a step that is completed", stored);
    script.hello(1, 1);
    script.end_elsewhere(0, Direction::Completing, 1);
    script.end_elsewhere(1, Direction::Completing, 1);
    script.completed(1, did());
    script.end_elsewhere(1, Direction::Completing, 2);
    script.end_elsewhere(1, Direction::Compensating, 1);
    check("step-elsewhere-completed", &script.text);
}
