//! Conversations with the coordinator, word for word.
//!
//! Each is compared with its file in `tests/golden`; `UPDATE_GOLDEN=1` writes the files anew.

#[path = "golden/abilities.rs"]
mod abilities;
#[path = "golden/auto.rs"]
mod auto;
#[path = "golden/nested_sagas.rs"]
mod nested_sagas;
#[path = "golden/open_sagas.rs"]
mod open_sagas;
#[path = "golden/sagas.rs"]
mod sagas;
#[path = "golden/script.rs"]
mod script;

use bytes::Bytes;
use script::{Script, attempt_number, participant, prepared, read_only, refused, tx};
use std::time::Duration;
use undoubt_coordinator_core::{Client, Input, OpenKind, OpenRecord, Request, Stage, Timer, Unfinished};
use undoubt_vocabulary::{BranchOutcome, RefusalCode, Timestamp, ToCoordinator, Vote};

const DEADLINE: Timer = Timer::Deadline { after: Duration::from_secs(5) };
const FIRST_RETRY: Timer = Timer::Retry { attempt: 0 };

fn check(name: &str, text: &str) {
    // Relative to the package: several checkouts share what is compiled.
    let path = format!("tests/golden/{name}.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the folder of golden files can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path} differs; look at the difference, then run with UPDATE_GOLDEN=1");
}

#[test]
fn two_prepared_branches_commit() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", t, prepared("x=1"));
    script.vote("b", "T1", t, prepared("y=2"));
    script.stable();
    script.finished("a", "T1", t, BranchOutcome::Committed);
    script.fire("T1", t, FIRST_RETRY);
    script.finished("b", "T1", t, BranchOutcome::Committed);
    script.stable();
    check("commit", &script.text);
}

#[test]
fn a_refusal_aborts_at_once() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", t, prepared(""));
    script.vote("b", "T1", t, refused(RefusalCode::LockConflict));
    script.stable();
    script.hear("a", ToCoordinator::Inquiry { tx: tx("T1"), attempt_number: t });
    check("refusal", &script.text);
}

#[test]
fn a_deadline_aborts_and_late_votes_are_told_so() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", t, prepared(""));
    script.fire("T1", t, DEADLINE);
    script.vote("b", "T1", t, prepared(""));
    script.stable();
    script.vote("b", "T1", t, prepared(""));
    check("deadline", &script.text);
}

#[test]
fn a_read_only_branch_leaves_once_every_vote_is_in() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", t, read_only("x=1"));
    script.vote("b", "T1", t, prepared(""));
    script.hear("a", ToCoordinator::Confirmed { tx: tx("T1"), attempt_number: t, held: true });
    script.stable();
    script.finished("b", "T1", t, BranchOutcome::Committed);
    script.stable();
    check("read-only", &script.text);
}

#[test]
fn lost_read_locks_abort() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", t, read_only("x=1"));
    script.vote("b", "T1", t, prepared(""));
    script.hear("a", ToCoordinator::Confirmed { tx: tx("T1"), attempt_number: t, held: false });
    script.stable();
    check("read-locks-lost", &script.text);
}

#[test]
fn a_single_branch_that_keeps_silent_is_settled() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a"]);
    script.stable();
    script.fire("T1", t, DEADLINE);
    script.fire("T1", t, FIRST_RETRY);
    script.vote("a", "T1", t, Vote::Committed { result: Bytes::from_static(b"x=1") });
    script.stable();
    check("one-phase-silence", &script.text);
}

#[test]
fn a_commit_in_the_log_is_carried_on() {
    let t = attempt_number(1, 0);
    let record = OpenRecord {
        kind: OpenKind::Committed,
        tx: tx("T1"),
        attempt_number: t,
        begun_at: Timestamp(1_000_000),
        digest: [1; 32],
        participants: vec![participant("a"), participant("b")],
        read_only: Vec::new(),
        results: vec![(participant("a").into(), Bytes::from_static(b"x=1"))],
    };
    let mut script = Script::recovering(2, &[Unfinished::TwoPhase(record)]);
    script.connect("a");
    script.hear("a", ToCoordinator::Inquiry { tx: tx("T1"), attempt_number: t });
    script.submit(1, "T1", 1, &["a", "b"]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.submit(1, "T1", 1, &["a", "b"]);
    script.hear("a", ToCoordinator::Inquiry { tx: tx("T1"), attempt_number: t });
    script.finished("a", "T1", t, BranchOutcome::Committed);
    script.connect("b");
    script.finished("b", "T1", t, BranchOutcome::Committed);
    script.stable();
    check("recovery", &script.text);
}

#[test]
fn a_recovered_commit_tells_its_results_in_the_order_in_which_it_told_them_before() {
    let t = attempt_number(1, 0);
    let results = [("a", "x=1"), ("b", "y=2")];
    let record = OpenRecord {
        kind: OpenKind::Committed,
        tx: tx("T1"),
        attempt_number: t,
        begun_at: Timestamp(1_000_000),
        digest: [1; 32],
        participants: vec![participant("b")],
        read_only: vec![participant("a")],
        results: results
            .map(|(name, result)| (participant(name).into(), Bytes::from_static(result.as_bytes())))
            .to_vec(),
    };
    let mut script = Script::recovering(2, &[Unfinished::TwoPhase(record)]);
    script.tell("the log is read", Input::RecoveryDone { paused: false });
    script.submit(1, "T1", 1, &["a", "b"]);
    script.connect("b");
    script.finished("b", "T1", t, BranchOutcome::Committed);
    script.stable();
    check("recovery-read-only", &script.text);
}

#[test]
fn an_abort_is_certain_while_no_record_is_dropped_that_is_as_late() {
    let (mut script, t) = (Script::new(), |counter| attempt_number(1, counter));
    script.inquiry("a", "T1", t(3));
    script.tell("the record of attempt 1.5 is dropped", Input::Forgotten { latest: t(5) });
    script.inquiry("a", "T1", t(5));
    script.inquiry("a", "T2", t(6));
    script.finished("b", "T1", t(5), BranchOutcome::HeuristicallyAborted);
    script.stable();
    script.inquiry("a", "T1", t(5));
    script.tell("the record of attempt 1.4 is dropped", Input::Forgotten { latest: t(4) });
    script.inquiry("a", "T1", t(5));
    check("forgotten-commits", &script.text);
}

#[test]
fn a_single_branch_that_asks_hears_of_its_commit_once_that_is_stable() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a"]);
    script.stable();
    script.vote("a", "T1", t, Vote::Committed { result: Bytes::from_static(b"x=1") });
    script.inquiry("a", "T1", t);
    script.stable();
    script.inquiry("a", "T1", t);
    check("one-phase-inquiry", &script.text);
}

#[test]
fn the_same_id_again_gets_the_same_outcome() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.submit(2, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", t, refused(RefusalCode::Condition));
    script.stable();
    script.submit(3, "T1", 1, &["a", "b"]);
    check("submitted-again", &script.text);
}

#[test]
fn the_same_id_with_other_content_is_rejected() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.submit(2, "T1", 2, &["a", "b"]);
    script.vote("a", "T1", t, refused(RefusalCode::Condition));
    script.stable();
    script.submit(3, "T1", 2, &["a", "b"]);
    check("other-content", &script.text);
}

#[test]
fn two_heuristic_outcomes_after_the_end_are_both_kept_before_either_is_thanked_for() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    script.fire("T1", t, DEADLINE);
    script.stable();
    script.finished("a", "T1", t, BranchOutcome::HeuristicallyCommitted);
    script.finished("b", "T1", t, BranchOutcome::HeuristicallyAborted);
    script.stable();
    script.stable();
    check("heuristics-after-the-end", &script.text);
}

#[test]
fn a_submission_during_the_report_of_a_heuristic_outcome_is_answered_by_its_record() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.finished("a", "T1", t, BranchOutcome::HeuristicallyCommitted);
    script.submit(1, "T1", 1, &["a", "b"]);
    script.stable();
    check("submitted-during-a-report", &script.text);
}

#[test]
fn a_commit_of_nothing_but_reads_is_told_nobody_before_it_is_stable() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.submit(1, "T1", 1, &["a", "b"]);
    for name in ["a", "b"] {
        script.vote(name, "T1", t, read_only("x=1"));
    }
    for name in ["a", "b"] {
        script.hear(name, ToCoordinator::Confirmed { tx: tx("T1"), attempt_number: t, held: true });
    }
    script.hear("a", ToCoordinator::Inquiry { tx: tx("T1"), attempt_number: t });
    script.stable();
    check("all-read-only", &script.text);
}

/// Every message and timer that makes no sense in a state is ignored there: no effect but notes, and the same answers to
/// whatever comes next.
#[test]
fn what_makes_no_sense_in_a_state_has_no_effect() {
    let t = attempt_number(1, 0);
    let preparing = |script: &mut Script| script.submit(1, "T1", 1, &["a", "b"]);
    let logging = |script: &mut Script| {
        preparing(script);
        script.vote("a", "T1", t, prepared(""));
        script.vote("b", "T1", t, prepared(""));
    };
    let committing = |script: &mut Script| {
        logging(script);
        script.stable();
    };
    let one_phase = |script: &mut Script| script.submit(1, "T1", 1, &["a"]);
    let delegated = |script: &mut Script| {
        one_phase(script);
        script.stable();
    };
    let hear = |message: ToCoordinator| Input::Request(Request::Message { from: participant("a"), message });
    let fired = |timer| Input::Fired { tx: tx("T1"), attempt_number: t, timer };
    let appended = |stage| Input::Appended { tx: tx("T1"), attempt_number: t, stage };
    let vote = |vote| hear(ToCoordinator::Vote { tx: tx("T1"), attempt_number: t, vote });
    let confirmed = hear(ToCoordinator::Confirmed { tx: tx("T1"), attempt_number: t, held: true });
    let finished = hear(ToCoordinator::Finished { tx: tx("T1"), attempt_number: t, outcome: BranchOutcome::Committed });
    let committed = vote(Vote::Committed { result: Bytes::new() });
    let stale = Input::Fired { tx: tx("T1"), attempt_number: attempt_number(1, 7), timer: DEADLINE };
    let forget = Input::Request(Request::Forget { tx: tx("T1"), client: Client(9) });

    type Lead<'a> = &'a dyn Fn(&mut Script);
    let pairs: [(&str, Lead, Vec<Input>); 5] = [
        (
            "preparing",
            &preparing,
            vec![
                confirmed.clone(),
                finished.clone(),
                committed,
                fired(FIRST_RETRY),
                appended(Stage::Committed),
                appended(Stage::Ended),
                stale.clone(),
            ],
        ),
        (
            "logging-commit",
            &logging,
            vec![
                confirmed.clone(),
                finished.clone(),
                vote(refused(RefusalCode::Late)),
                fired(DEADLINE),
                fired(FIRST_RETRY),
                appended(Stage::Ended),
                stale.clone(),
            ],
        ),
        (
            "committing",
            &committing,
            vec![
                confirmed.clone(),
                vote(refused(RefusalCode::Late)),
                fired(DEADLINE),
                fired(Timer::Retry { attempt: 3 }),
                appended(Stage::Committed),
                appended(Stage::Delegated),
                stale.clone(),
            ],
        ),
        (
            "logging-delegation",
            &one_phase,
            vec![
                confirmed.clone(),
                finished.clone(),
                vote(prepared("")),
                fired(FIRST_RETRY),
                appended(Stage::Ended),
                appended(Stage::Committed),
                stale.clone(),
            ],
        ),
        (
            "delegated",
            &delegated,
            vec![confirmed, finished, vote(prepared("")), fired(FIRST_RETRY), appended(Stage::Delegated), stale],
        ),
    ];
    for (state, lead, inputs) in pairs {
        for input in inputs {
            let mut script = Script::new();
            lead(&mut script);
            let (before, said) = (script.view(), script.text.len());
            script.tell("", input.clone());
            let wanted = script.text[said..].lines().find(|line| !line.is_empty() && !line.starts_with("    note"));
            assert_eq!(wanted, None, "{state} acts on {input:?}");
            assert!(script.view() == before, "{state} is changed by {input:?}");
        }
    }
    let mut script = Script::new();
    preparing(&mut script);
    let before = script.view();
    script.tell("client 9 would forget T1", forget);
    assert!(script.view() == before, "an operator cannot forget what is not decided");
}

#[test]
fn what_nobody_knows_of_a_branch_is_on_record_before_its_participant_may_forget_it() {
    let mut script = Script::new();
    script.submit(1, "T1", 1, &["a", "b"]);
    script.vote("a", "T1", attempt_number(1, 0), prepared(""));
    script.vote("b", "T1", attempt_number(1, 0), prepared(""));
    script.stable();
    script.finished("a", "T1", attempt_number(1, 0), BranchOutcome::Unknown);
    script.show("T1");
    script.finished("b", "T1", attempt_number(1, 0), BranchOutcome::Committed);
    script.show("T1");
    script.stable();
    check("committed-unknown", &script.text);
}
