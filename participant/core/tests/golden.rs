//! Conversations with a participant, word for word.
//!
//! Each is compared with its file in `tests/golden`; `UPDATE_GOLDEN=1` writes the files anew.

#[path = "golden/open_sagas.rs"]
mod open_sagas;
#[path = "golden/script.rs"]
mod script;
#[path = "golden/steps.rs"]
mod steps;

use bytes::Bytes;
use script::{Script, attempt_number, branch, committed_alone, coordinator, prepared, read_only, refused, tx};
use undoubt_participant_core::{Heuristic, Input, Kept, Operator, Recovered, Session};
use undoubt_vocabulary::Execution::{OnePhase, TwoPhase};
use undoubt_vocabulary::{CoordinatorId, Timestamp, ToParticipant, Vote};

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
fn a_branch_prepares_commits_and_is_forgotten_below_the_low_water_mark() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.prepare("T1", t, TwoPhase);
    script.executed("T1", t, prepared());
    script.commit("T1", t);
    script.committed("T1", t);
    script.commit("T1", t);
    script.low_water_mark(t.next());
    script.commit("T1", t);
    check("commit", &script.text);
}

#[test]
fn an_abort_before_its_prepare_leaves_nothing_behind() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.abort("T1", t);
    script.prepare("T1", t, TwoPhase);
    script.low_water_mark(t.next());
    script.prepare("T1", t, TwoPhase);
    check("abort-before-prepare", &script.text);
}

#[test]
fn an_abort_during_the_execution_undoes_what_it_comes_to() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.prepare("T1", t, TwoPhase);
    script.abort("T1", t);
    script.executed("T1", t, prepared());
    script.aborted("T1", t);
    check("abort-during-execution", &script.text);
}

#[test]
fn a_prepare_below_the_low_water_mark_is_late() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.low_water_mark(t.next());
    script.prepare("T1", t, TwoPhase);
    check("late-prepare", &script.text);
}

#[test]
fn a_prepare_that_comes_twice_is_answered_twice_and_done_once() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.prepare("T1", t, TwoPhase);
    script.prepare("T1", t, TwoPhase);
    script.executed("T1", t, prepared());
    script.prepare("T1", t, TwoPhase);
    check("prepare-twice", &script.text);
}

#[test]
fn what_a_lone_branch_read_is_read_anew_for_a_later_session_only() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.prepare("T1", t, OnePhase);
    script.executed("T1", t, read_only());
    // Said twice within a session: it has been answered.
    script.prepare("T1", t, OnePhase);
    script.hello(2, 1);
    script.hear_prepare(2, "T1", t, OnePhase);
    script.executed("T1", t, read_only());
    script.hello(3, 1);
    script.hear(3, ToParticipant::Settle { tx: tx("T1"), attempt_number: t });
    script.hear_prepare(3, "T1", t, OnePhase);
    check("lone-read", &script.text);
}

#[test]
fn what_was_read_is_confirmed_by_the_resource_and_not_from_memory() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    for (id, held) in [("held", true), ("lost", false)] {
        script.prepare(id, t, TwoPhase);
        script.executed(id, t, read_only());
        script.confirm(id, t);
        script.confirm(id, t);
        script.sweep();
        script.confirmed(id, t, held);
        script.confirm(id, t);
    }
    check("confirm", &script.text);
}

#[test]
fn an_abort_or_a_later_attempt_waits_for_a_confirmation_that_is_under_way() {
    let (mut script, t, later) = (Script::new(), attempt_number(1, 0), attempt_number(1, 1));
    for id in ["aborted", "anew"] {
        script.prepare(id, t, TwoPhase);
        script.executed(id, t, read_only());
        script.confirm(id, t);
    }
    script.abort("aborted", t);
    script.confirmed("aborted", t, true);
    script.prepare("anew", later, TwoPhase);
    script.confirm("anew", t);
    script.confirmed("anew", t, true);
    script.executed("anew", later, prepared());
    check("confirm-overtaken", &script.text);
}

#[test]
fn what_another_hand_has_ended_is_a_heuristic_outcome_and_reported() {
    let (mut script, t, later) = (Script::new(), attempt_number(1, 0), attempt_number(2, 0));
    for id in ["undone", "committed", "unclear", "resolved"] {
        script.prepare(id, t, TwoPhase);
    }
    script.gone("unclear", t);
    for id in ["undone", "committed", "resolved"] {
        script.executed(id, t, prepared());
    }
    script.commit("undone", t);
    script.gone("undone", t);
    script.commit("undone", t);
    script.abort("committed", t);
    script.prepare("committed", later, TwoPhase);
    script.gone("committed", t);
    script.resolve("resolved", true);
    script.gone("resolved", t);
    script.sweep();
    script.sweep();
    check("gone", &script.text);
}

#[test]
fn what_looks_committed_after_a_restart_and_is_to_be_aborted_was_another_hands_work() {
    let (mut script, t, later) = (Script::empty(), attempt_number(1, 0), attempt_number(2, 0));
    script.recovered("coordinator", coordinator(1, attempt_number(1, 0)));
    for id in ["aborted", "asked-again", "anew"] {
        let committed = Recovered::Committed { branch: branch(id, t), result: Kept::Here(Bytes::new()) };
        script.recovered(&format!("{id}/1.0, which has committed"), committed);
    }
    script.hello(1, 1);
    script.epoch_recorded(1);
    script.abort("aborted", t);
    script.gone("aborted", t);
    script.prepare("asked-again", t, TwoPhase);
    script.gone("asked-again", t);
    script.prepare("anew", later, TwoPhase);
    script.gone("anew", t);
    check("found-committed", &script.text);
}

#[test]
fn whoever_finds_evidence_of_a_commit_asks_and_keeps_it_until_there_is_an_answer() {
    let (mut script, t) = (Script::empty(), |counter| attempt_number(1, counter));
    script.recovered("coordinator", coordinator(1, t(0)));
    let found = ["decided", "others", "forgotten", "others-too", "open"];
    for (counter, id) in (1..).zip(found) {
        let evidence = Recovered::Evidence { branch: branch(id, t(counter)), result: Kept::Here(Bytes::new()) };
        script.recovered(&format!("evidence of {id}/1.{counter}"), evidence);
    }
    script.hello(1, 1);
    script.epoch_recorded(1);
    script.low_water_mark(t(5));
    script.commit("decided", t(1));
    script.abort("others", t(2));
    script.low_water_mark(t(6));
    script.gone("others", t(2));
    script.presumed("forgotten", t(3));
    script.prepare("others-too", t(7), TwoPhase);
    script.abort("others-too", t(4));
    script.gone("others-too", t(4));
    script.hear(1, ToParticipant::Undecided { tx: tx("open"), attempt_number: t(5) });
    script.sweep();
    script.prepare("open", t(8), OnePhase);
    script.commit("open", t(5));
    script.low_water_mark(t(7));
    script.sweep();
    check("evidence", &script.text);
}

#[test]
fn a_mark_is_not_stored_that_has_passed_what_is_in_doubt() {
    let mut script = Script::new();
    for (id, counter) in [("T1", 1), ("T2", 2), ("T3", 3)] {
        script.prepare(id, attempt_number(1, counter), TwoPhase);
        script.executed(id, attempt_number(1, counter), prepared());
    }
    for (id, counter) in [("T1", 1), ("T3", 3)] {
        script.commit(id, attempt_number(1, counter));
        script.committed(id, attempt_number(1, counter));
    }
    script.low_water_mark(attempt_number(1, 4));
    script.presumed("T2", attempt_number(1, 2));
    script.aborted("T2", attempt_number(1, 2));
    script.low_water_mark(attempt_number(1, 5));
    check("mark-behind-doubt", &script.text);
}

#[test]
fn an_abort_that_may_be_a_forgotten_commit_blames_nobody_for_a_commit() {
    let (mut script, t) = (Script::new(), attempt_number(1, 1));
    script.prepare("T1", t, TwoPhase);
    script.executed("T1", t, prepared());
    script.commit("T1", t);
    script.committed("T1", t);
    script.presumed("T1", t);
    script.abort("T1", t);
    check("presumed-abort", &script.text);
}

#[test]
fn an_abort_that_owes_something_goes_on_after_a_restart() {
    let (mut script, t) = (Script::empty(), attempt_number(1, 0));
    script.recovered("coordinator", coordinator(1, attempt_number(1, 0)));
    let aborting = Recovered::Aborting { branch: branch("T1", t), begun_at: Timestamp(1_000_000) };
    script.recovered("T1/1.0, whose abort is not done", aborting);
    script.hello(1, 1);
    script.epoch_recorded(1);
    script.sweep();
    script.aborted("T1", t);
    script.prepare("T1", t, TwoPhase);
    check("aborting-recovered", &script.text);
}

#[test]
fn a_branch_that_is_alone_and_was_interrupted_amid_its_end_votes_once_it_is_settled() {
    let (mut script, t) = (Script::empty(), attempt_number(1, 0));
    script.recovered("coordinator", coordinator(1, attempt_number(1, 0)));
    for id in ["T1", "T2"] {
        let settling = Recovered::Settling { branch: branch(id, t), begun_at: Timestamp(1_000_000) };
        script.recovered(&format!("{id}/1.0, which was about to end alone"), settling);
    }
    script.hello(1, 1);
    script.epoch_recorded(1);
    script.prepare("T1", t, OnePhase);
    script.settle("T2", t);
    script.sweep();
    script.executed("T1", t, committed_alone());
    script.executed("T2", t, refused());
    script.prepare("T1", t, OnePhase);
    script.settle("T2", t);
    check("settling-recovered", &script.text);
}

#[test]
fn a_newer_attempt_replaces_a_prepared_one() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.prepare("T1", t, TwoPhase);
    script.executed("T1", t, prepared());
    script.prepare("T1", attempt_number(2, 0), TwoPhase);
    script.commit("T1", t);
    script.aborted("T1", t);
    script.executed("T1", attempt_number(2, 0), prepared());
    script.prepare("T1", t, TwoPhase);
    check("newer-attempt", &script.text);
}

#[test]
fn a_settle_does_not_pass_by_an_attempt_that_waits_for_an_earlier_one() {
    let (mut script, t, later) = (Script::new(), attempt_number(1, 0), attempt_number(2, 0));
    script.prepare("T1", t, TwoPhase);
    script.executed("T1", t, prepared());
    script.prepare("T1", later, OnePhase);
    script.settle("T1", later);
    script.aborted("T1", t);
    script.settle("T1", later);
    script.executed("T1", later, committed_alone());
    script.settle("T1", later);
    check("settle-after-newer-attempt", &script.text);
}

#[test]
fn a_settle_before_its_prepare_is_remembered_in_place_of_an_earlier_attempt() {
    let (mut script, t, later) = (Script::new(), attempt_number(1, 0), attempt_number(2, 0));
    script.abort("T1", t);
    script.settle("T1", later);
    script.prepare("T1", later, OnePhase);
    check("settle-before-prepare", &script.text);
}

#[test]
fn a_lower_epoch_is_refused() {
    let mut script = Script::empty();
    script.hello(1, 2);
    script.hello(2, 1);
    script.epoch_recorded(1);
    script.hello(3, 1);
    script.hello(4, 2);
    script.hear(1, ToParticipant::Commit { tx: tx("T1"), attempt_number: attempt_number(2, 0) });
    check("lower-epoch", &script.text);
}

#[test]
fn a_heuristic_outcome_is_compared_with_the_decision_and_reported() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.prepare("T1", t, TwoPhase);
    script.executed("T1", t, prepared());
    script.resolve("T1", false);
    script.resolved("T1", t);
    script.commit("T1", t);
    script.sweep();
    script.sweep();
    script.hear(1, ToParticipant::Noted { tx: tx("T1"), attempt_number: t });
    script.sweep();
    // Its log may have lost what it noted.
    script.hello(2, 1);
    script.hear(2, ToParticipant::Noted { tx: tx("T1"), attempt_number: t });
    script.sweep();
    script.tell("operator 1 forgets T1", Input::Forget { tx: tx("T1"), operator: Operator(1) });
    script.tell("T1 is forgotten, durably", Input::Forgotten { operator: Operator(1) });
    check("heuristic", &script.text);
}

#[test]
fn a_heuristic_outcome_that_agreed_with_the_decision_is_not_reported_after_a_restart() {
    let (mut script, t) = (Script::empty(), attempt_number(1, 0));
    script.recovered("epoch 1", coordinator(1, t));
    let found = |commit, decision| {
        let (who, reason) = ("eve".to_owned(), "the coordinator burnt down".to_owned());
        Heuristic { commit, at: Timestamp(2_000_000), who, reason, decision }
    };
    let of = |id, heuristic| Recovered::Heuristic { branch: branch(id, t), begun_at: Timestamp(1_000_000), heuristic };
    script.recovered("T1/1.0 committed by an operator, as was decided", of("T1", found(true, Some(true))));
    script.recovered("T2/1.0 committed by an operator, against what was decided", of("T2", found(true, Some(false))));
    script.recovered("T3/1.0 committed by an operator, nobody knows whether rightly", of("T3", found(true, None)));
    script.hello(1, 1);
    script.sweep();
    script.sweep();
    check("heuristic-recovery", &script.text);
}

#[test]
fn a_commit_of_an_unknown_branch_reports_a_lost_vote() {
    let (mut script, t) = (Script::new(), attempt_number(1, 0));
    script.commit("T1", t);
    check("unknown-commit", &script.text);
}

#[test]
fn a_prepared_branch_asks_after_a_restart_and_until_it_hears() {
    let (mut script, t) = (Script::empty(), attempt_number(1, 0));
    script.recovered("epoch 1", coordinator(1, t));
    let result = Bytes::from_static(b"x=1");
    let found = Recovered::Prepared { branch: branch("T1", t), begun_at: Timestamp(1_000_000), result };
    script.recovered("T1/1.0 prepared", found);
    script.sweep();
    script.hello(1, 1);
    script.hear(1, ToParticipant::Undecided { tx: tx("T1"), attempt_number: t });
    script.sweep();
    script.low_water_mark(t.next());
    script.abort("T1", t);
    script.aborted("T1", t);
    check("recovery", &script.text);
}

#[test]
fn a_branch_that_is_found_prepared_is_in_doubt_and_asked_about_at_once() {
    let (mut script, t, other) = (Script::new(), attempt_number(1, 0), CoordinatorId([8; 16]));
    script.found("T1", t);
    script.found("T1", t);
    script.low_water_mark(t.next());
    script.sweep();
    script.abort("T1", t);
    script.aborted("T1", t);
    // Also one that the low-water mark has passed before.
    script.found("T2", t);
    script.commit("T2", t);
    script.committed("T2", t);
    // Its coordinator is not connected.
    script.found_of(other, "T3", t);
    script.resolve("T3", false);
    check("found", &script.text);
}

#[test]
fn a_branch_that_is_found_prepared_and_is_over_ends_as_it_has_ended() {
    let (mut script, t, later) = (Script::new(), attempt_number(1, 0), attempt_number(1, 1));
    let ids = ["refused", "committed", "alone"];
    for (id, vote) in ids.into_iter().zip([refused(), prepared(), committed_alone()]) {
        script.prepare(id, t, if id == "alone" { OnePhase } else { TwoPhase });
        script.executed(id, t, vote);
    }
    script.commit("committed", t);
    script.committed("committed", t);
    script.abort("aborted", t);
    for id in ["refused", "committed", "alone", "aborted"] {
        script.found(id, t);
    }
    script.aborted("refused", t);
    script.committed("committed", t);
    script.gone("aborted", t);
    script.settle("alone", t);
    // While another attempt is open nothing is done; it is told again.
    script.prepare("again", later, TwoPhase);
    script.found("again", t);
    script.executed("again", later, refused());
    script.found("again", t);
    script.found("again", later.next());
    script.found_of(CoordinatorId([8; 16]), "alone", t);
    check("found-over", &script.text);
}

/// Every message that makes no sense in a state is ignored there.
#[test]
fn what_makes_no_sense_in_a_state_has_no_effect() {
    let t = attempt_number(1, 0);
    let other = attempt_number(1, 7);
    let hear = |message| Input::Message { session: Session(1), message };
    let commit = |attempt_number| hear(ToParticipant::Commit { tx: tx("T1"), attempt_number });
    let abort = |attempt_number| hear(ToParticipant::Abort { tx: tx("T1"), attempt_number, certain: true });
    let settle = || hear(ToParticipant::Settle { tx: tx("T1"), attempt_number: t });
    let undecided = || hear(ToParticipant::Undecided { tx: tx("T1"), attempt_number: t });
    let noted = || hear(ToParticipant::Noted { tx: tx("T1"), attempt_number: t });
    let old =
        || Input::Message { session: Session(9), message: ToParticipant::Commit { tx: tx("T1"), attempt_number: t } };
    let lowered = || Input::LowWaterMark { session: Session(1), low_water_mark: attempt_number(0, 0).into() };

    let executing = |script: &mut Script| script.prepare("T1", t, TwoPhase);
    let in_doubt = |script: &mut Script| {
        executing(script);
        script.executed("T1", t, prepared());
    };
    let committing = |script: &mut Script| {
        in_doubt(script);
        script.commit("T1", t);
    };
    let aborting = |script: &mut Script| {
        in_doubt(script);
        script.abort("T1", t);
    };
    let read_only = |script: &mut Script| {
        executing(script);
        script.executed("T1", t, Vote::ReadOnly { result: Bytes::new() });
    };
    let finished = |script: &mut Script| {
        executing(script);
        script.executed("T1", t, refused());
    };
    type Lead<'a> = &'a dyn Fn(&mut Script);
    let pairs: [(&str, Lead, Vec<Input>); 6] = [
        ("executing", &executing, vec![commit(t), settle(), undecided(), noted(), abort(other), old(), lowered()]),
        ("in doubt", &in_doubt, vec![settle(), undecided(), noted(), abort(other), old(), lowered()]),
        ("committing", &committing, vec![commit(t), abort(t), settle(), undecided(), noted(), old(), lowered()]),
        ("aborting", &aborting, vec![abort(t), settle(), undecided(), noted(), abort(other), old(), lowered()]),
        ("read-only", &read_only, vec![commit(t), settle(), undecided(), noted(), abort(other), old(), lowered()]),
        ("finished", &finished, vec![abort(t), undecided(), noted(), abort(other), old(), lowered()]),
    ];
    for (state, lead, inputs) in pairs {
        for input in inputs {
            let mut script = Script::new();
            lead(&mut script);
            let (before, said) = (script.view(), script.text.len());
            script.tell("", input.clone());
            assert_eq!(&script.text[said..], "\n", "{state} acts on {input:?}");
            assert!(script.view() == before, "{state} is changed by {input:?}");
        }
    }
}
