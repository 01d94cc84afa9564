//! Sagas that are nested in others.

use super::check;
use crate::open_sagas::{acting, elsewhere};
use crate::script::{Script, attempt_number, done, tx};
use std::time::Duration;
use undoubt_coordinator_core::{Beginning, Client, Completions, Input, Joining, Request, Terms, Timer, Unfinished};
use undoubt_vocabulary::saga::UNDONE_ANEW;
use undoubt_vocabulary::{Direction, SagaStep};

const COMPENSATION: Direction = Direction::Compensating;
const COMPLETION: Direction = Direction::Completing;
const DEADLINE: Timer = Timer::Deadline { after: Duration::from_secs(5) };

impl Script {
    /// Makes stable what is appended, and what is appended then.
    fn settle(&mut self) {
        while self.unstable() > 0 {
            self.all_stable();
        }
    }

    fn open(&mut self, client: u64, id: &str, parent: Option<&str>, completions: Completions) {
        let nested = parent.map_or_else(String::new, |parent| format!(" as a part of {parent}"));
        let beginning = Beginning {
            tx: tx(id),
            digest: [1; 32],
            terms: Terms { completions },
            check_back: None,
            parent: parent.map(tx),
            owner: None,
            timeout: Duration::from_secs(5),
            client: Client(client),
        };
        self.tell(&format!("client {client} begins {id}{nested}"), Input::Request(Request::Begin(beginning)));
    }

    fn nest(&mut self, client: u64, id: &str, parent: &str) {
        self.open(client, id, Some(parent), Completions::Together);
    }

    fn join_in(&mut self, client: u64, id: &str, step: SagaStep) {
        let line = format!("client {client} lets {} join {id}", step.name);
        let joining = Joining { tx: tx(id), step, digest: [1; 32], client: Client(client), wait: false };
        self.tell(&line, Input::Request(Request::Join(Box::new(joining))));
    }

    fn close(&mut self, client: u64, id: &str) {
        let request = Request::Close { tx: tx(id), client: Client(client), wait: true };
        self.tell(&format!("client {client} closes {id}, and waits"), Input::Request(request));
    }
}

/// A saga with a step at `b`, and one nested in it with a step at `a`, whose callers act themselves; all that is stable. Participants
/// know them by the numbers 1 and 3.
fn nested() -> Script {
    let mut script = Script::new();
    script.open(1, "T1", None, Completions::Together);
    script.stable();
    script.join_in(2, "T1", elsewhere("b"));
    script.nest(3, "T2", "T1");
    script.settle();
    script.join_in(4, "T2", elsewhere("a"));
    script.settle();
    script
}

/// Returns a coordinator that finds these in its log, as they are stored.
fn after_a_crash(script: &Script, epoch: u32, ids: &[&str]) -> Script {
    let log: Vec<Unfinished> = ids.iter().filter_map(|id| script.stored(id)).collect();
    let mut again = Script::recovering(epoch, &log);
    again.tell("the log is read", Input::RecoveryDone { paused: false });
    again.connect("a");
    again.connect("b");
    again
}

#[test]
fn a_nested_saga_is_completed_when_it_is_closed_and_ends_with_its_parent() {
    let mut script = nested();
    script.show("T1");
    script.close(5, "T2");
    script.stable();
    script.ran("a", "T2", attempt_number(1, 3), (0, COMPLETION, 1), done(""));
    script.settle();
    script.show("T2");
    script.close(6, "T2");
    script.cancel(7, "T2");
    script.join_in(8, "T2", elsewhere("a2"));
    script.close(9, "T1");
    script.stable();
    script.ran("b", "T1", attempt_number(1, 1), (0, COMPLETION, 1), done(""));
    script.settle();
    check("nested-closed", &script.text);
}

#[test]
fn what_a_nested_saga_has_completed_is_undone_with_its_parent_before_what_came_before_it() {
    let mut script = nested();
    script.join_in(5, "T2", acting("a2"));
    script.stable();
    script.acted("a", "T2", attempt_number(1, 3), 1, "x=1");
    script.close(6, "T2");
    script.settle();
    script.ran("a", "T2", attempt_number(1, 3), (0, COMPLETION, 1), done(""));
    script.ran("a", "T2", attempt_number(1, 3), (1, COMPLETION, 1), done(""));
    script.settle();
    script.cancel(7, "T1");
    script.settle();
    script.show("T2");
    script.ran("a", "T2", attempt_number(1, 3), (1 + UNDONE_ANEW, COMPENSATION, 1), done(""));
    script.ran("a", "T2", attempt_number(1, 3), (UNDONE_ANEW, COMPENSATION, 1), done(""));
    script.settle();
    script.ran("b", "T1", attempt_number(1, 1), (0, COMPENSATION, 1), done(""));
    script.settle();
    check("nested-undone", &script.text);
}

#[test]
fn a_saga_cannot_be_closed_while_a_step_of_one_nested_in_it_is_under_way() {
    let mut script = nested();
    script.join_in(5, "T2", acting("a2"));
    script.stable();
    script.close(6, "T1");
    script.acted("a", "T2", attempt_number(1, 3), 1, "x=1");
    script.close(7, "T1");
    script.join_in(8, "T2", elsewhere("a3"));
    script.nest(9, "T3", "T2");
    script.cancel(10, "T2");
    script.fire("T2", attempt_number(1, 2), DEADLINE);
    script.settle();
    script.show("T2");
    check("nested-under-way", &script.text);
}

#[test]
fn a_nested_saga_that_is_cancelled_leaves_its_parent_open() {
    let mut script = nested();
    script.cancel(5, "T2");
    script.settle();
    script.ran("a", "T2", attempt_number(1, 3), (0, COMPENSATION, 1), done(""));
    script.settle();
    script.show("T1");
    script.close(6, "T1");
    script.settle();
    check("nested-cancelled", &script.text);
}

#[test]
fn a_saga_begins_within_none_that_takes_no_steps() {
    let mut script = nested();
    script.nest(5, "T3", "T9");
    script.nest(6, "T3", "T3");
    script.open(7, "T3", Some("T1"), Completions::TwoPhase);
    script.open(8, "T4", None, Completions::TwoPhase);
    script.stable();
    script.nest(9, "T5", "T4");
    script.join_in(10, "T2", SagaStep { compensation: None, ..elsewhere("a2") });
    for depth in 5..12 {
        let parent = if depth == 5 { "T2".to_owned() } else { format!("T{}", depth - 1) };
        script.nest(depth + 10, &format!("T{depth}"), &parent);
        script.settle();
    }
    check("nested-nowhere", &script.text);
}

#[test]
fn a_family_is_found_again_after_a_crash() {
    let mut script = nested();
    script.close(5, "T2");
    script.settle();
    let mut again = after_a_crash(&script, 2, &["T1", "T2"]);
    again.text.insert_str(0, &script.text);
    let mut script = again;
    script.show("T1");
    script.ran("a", "T2", attempt_number(1, 3), (0, COMPLETION, 1), done(""));
    script.cancel(6, "T1");
    script.settle();
    let mut again = after_a_crash(&script, 3, &["T1", "T2"]);
    again.text.insert_str(0, &script.text);
    let mut script = again;
    script.show("T2");
    script.ran("a", "T2", attempt_number(1, 3), (UNDONE_ANEW, COMPENSATION, 1), done(""));
    script.settle();
    script.ran("b", "T1", attempt_number(1, 1), (0, COMPENSATION, 1), done(""));
    script.settle();
    check("nested-crash", &script.text);
}
