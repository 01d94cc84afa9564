//! The promise of all or nothing: a transaction took effect at each participant where it writes, or at none, as it was
//! decided.
//!
//! Effects are seen by the marks that branches leave. What clients were told is compared in [`super::durability`].
//!
//! * `partial`, `outcome`: excused for a transaction whose records a lying disk destroyed, since a lost vote cannot
//!   commit and a lost decision is presumed an abort. A branch that is still open has not taken sides (`orphans`
//!   tells). Where an operator decided alone, the others have to agree all the same; his branch may differ if that is
//!   reported. A step that an operator passed over is not held against the others; see [`super::operators`].
//!   Nor does a saga whose coordinator is gone for good: it is left half done, and nobody was told an outcome.
//! * `damage-unreported`: excused by a lying disk that may have lost the operator's record, and if the coordinator is
//!   gone: there is nobody to report it. Nor is an abort alone damage where an operator passed over the step: only
//!   sagas have steps, so the attempt was aborted, just as he said. What is in effect there is for `operators`.
//! * `loss-unlisted`: a participant whose disk was put back has lost its part, and the coordinator says so of the transaction.
//!   Excused like `damage-unreported`; whether that loss may be is for [`super::losses`].
//! * `damage-unfounded`: a lost vote (S9), an operator who gave up on a branch (O3) and a step that was skipped (O4) are
//!   damage too.
//! * `other-work`, `other-accepted`: other work under an id whose outcome is known does nothing (R10). Excused if a
//!   lying disk or the end of the retention made the coordinator forget the id.
//! * `nobody-asked`: nothing excuses an effect that nobody asked for.

use super::facts::{self, Transaction, describe, names, transactions};
use super::{Violation, losses};
use crate::run::{CallKind, FinalOutcome, Op, Participant, Reply, Run, Work};
use std::collections::BTreeSet;

pub fn check(run: &Run) -> Vec<Violation> {
    let transactions = transactions(run);
    let submitted = transactions.values().filter(|transaction| !transaction.is_excused());
    let mut broken: Vec<Violation> = submitted.flat_map(|transaction| one(run, transaction)).collect();
    for (participant, found) in &run.finals.participants {
        for tx in found.marks.iter().filter(|tx| !transactions.contains_key(tx.as_str())) {
            let what = format!("{tx} took effect at p{participant}, and nobody submitted it");
            broken.push(Violation::of("atomicity.nobody-asked", tx, what));
        }
    }
    broken
}

fn one(run: &Run, transaction: &Transaction<'_>) -> Vec<Violation> {
    let mut broken = Vec::new();
    if let Some(work) = transaction.work() {
        broken.extend(all_or_nothing(transaction, work));
        broken.extend(damage(run, transaction, work));
        broken.extend(other_work(run, transaction, work));
    }
    broken.extend(other_accepted(transaction));
    broken
}

fn all_or_nothing(transaction: &Transaction<'_>, work: &Work) -> Option<Violation> {
    let tx = transaction.tx;
    let at = |effect: bool| -> Vec<Participant> {
        let alone = |participant: &Participant| {
            transaction.heuristic(*participant).is_some()
                || transaction.is_passed_over(*participant)
                || transaction.is_lost_at(*participant)
        };
        let decided = facts::writers(work).filter(|participant| !alone(participant));
        decided.filter(|participant| transaction.took_effect(*participant) == Some(effect)).collect()
    };
    let (there, missing) = (at(true), at(false));
    let outcome = transaction.outcome();
    if !there.is_empty() && !missing.is_empty() && !transaction.is_unfinished_saga() {
        let (there, missing, outcome) = (names(there), names(missing), describe(outcome));
        let what = format!("{tx} took effect at {there} and not at {missing}; its outcome is {outcome}");
        return Some(Violation::of("atomicity.partial", tx, what));
    }
    let against = match transaction.decision()? {
        true => missing,
        false => there,
    };
    let effect = if transaction.decision()? { "did not take effect" } else { "took effect" };
    (!against.is_empty()).then(|| {
        let what = format!("the outcome of {tx} is {}, and it {effect} at {}", describe(outcome), names(against));
        Violation::of("atomicity.outcome", tx, what)
    })
}

/// Returns true if its only branch is at a participant that may have lost something: whether it had committed that, nobody can tell.
fn is_left_to_a_loser(run: &Run, work: &Work) -> bool {
    work.len() == 1 && work.keys().any(|participant| losses::may_have_lost(run, *participant))
}

fn damage(run: &Run, transaction: &Transaction<'_>, work: &Work) -> Option<Violation> {
    let tx = transaction.tx;
    let reported = match transaction.outcome() {
        FinalOutcome::Committed { damaged, .. } | FinalOutcome::Aborted { damaged } => *damaged,
        FinalOutcome::GivenUp => true,
        FinalOutcome::NotFound | FinalOutcome::Unknown => false,
    };
    if reported {
        let founded = transaction.has_heuristics()
            || transaction.has_skipped()
            || transaction.is_lost_somewhere()
            || facts::operator_gave_up(run, tx)
            // After a crash nobody can tell that somebody else ended a branch just as it was decided.
            || transaction.has_met_other_hands()
            || is_left_to_a_loser(run, work);
        let what = format!("{tx} is said to be damaged, and no operator decided anything about it");
        return (!founded).then(|| Violation::of("atomicity.damage-unfounded", tx, what));
    }
    if facts::coordinator_is_gone(run) {
        return None;
    }
    let decision = transaction.decision()?;
    let differs = |participant: &Participant| {
        let harmless = |commit: bool| !commit && transaction.is_passed_over(*participant);
        let heuristic = transaction.heuristic(*participant);
        heuristic.is_some_and(|commit| !harmless(commit)) && transaction.took_effect(*participant) == Some(!decision)
    };
    let damaged: Vec<Participant> = facts::writers(work).filter(differs).collect();
    if transaction.has_skipped() {
        let what =
            format!("an operator skipped a step of {tx}, and its outcome is just {}", describe(transaction.outcome()));
        return Some(Violation::of("atomicity.damage-unreported", tx, what));
    }
    let is_lost = |participant: &Participant| {
        transaction.is_lost_at(*participant) && transaction.took_effect(*participant) == Some(!decision)
    };
    let lost: Vec<Participant> = facts::writers(work).filter(is_lost).collect();
    if !lost.is_empty() {
        let (outcome, lost) = (describe(transaction.outcome()), names(lost));
        let what = format!("{lost} has lost its part of {tx}, and its outcome is just {outcome}");
        return Some(Violation::of("atomicity.loss-unlisted", tx, what));
    }
    (!damaged.is_empty()).then(|| {
        let (outcome, damaged) = (describe(transaction.outcome()), names(damaged));
        let what = format!("an operator decided {tx} otherwise at {damaged}, and its outcome is just {outcome}");
        Violation::of("atomicity.damage-unreported", tx, what)
    })
}

/// Traces of work that is not the transaction's own: marks and versions where only the other work writes.
fn other_work(run: &Run, transaction: &Transaction<'_>, work: &Work) -> Vec<Violation> {
    let tx = transaction.tx;
    let writers: BTreeSet<Participant> = facts::writers(work).collect();
    let marks = transaction.marked().filter(|participant| !writers.contains(participant));
    let marks = marks.map(|participant| format!("{tx} took effect at p{participant}, where its work writes nothing"));
    let versions = run.finals.participants.iter().flat_map(|(participant, found)| {
        let own = found.registers.iter().filter(|(_, writer)| *writer == tx).map(|(register, _)| *register);
        let strange = own.filter(|register| !writes_register(work, *participant, *register));
        strange.map(move |register| format!("{tx} wrote register {register} of p{participant}, which is not its work"))
    });
    marks.chain(versions).map(|what| Violation::of("atomicity.other-work", tx, what)).collect()
}

fn writes_register(work: &Work, participant: Participant, register: u8) -> bool {
    work.get(&participant).is_some_and(|ops| ops.contains(&Op::ReadWrite { register }))
}

fn other_accepted(transaction: &Transaction<'_>) -> Vec<Violation> {
    let tx = transaction.tx;
    let other = transaction.calls().filter(|call| match call.kind {
        CallKind::SubmitOther(_) => transaction.has_to_be_refused(call) && !transaction.may_be_collected(),
        CallKind::Submit(_) | CallKind::Cancel | CallKind::Ask => false,
    });
    let accepted = other.filter_map(|call| {
        let answer = match &call.reply {
            Reply::Committed(_) => "committed",
            Reply::Aborted(_) => "aborted",
            Reply::Nested { .. } | Reply::Refused(_) | Reply::Unknown(_) => return None,
        };
        let what = format!("{tx} was submitted with other work by client{}, and answered: {answer}", call.client);
        Some(Violation { at_us: call.told_us, ..Violation::of("atomicity.other-accepted", tx, what) })
    });
    accepted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, other_work_of, rules, transfer};
    use crate::plan::{Host, HowResolved};
    use crate::run::PassedOver;
    use crate::trace::{Entry, Event};
    use std::collections::BTreeMap;

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = Fixture::default().commit("t1", transfer(1, 2, 10)).abort("t2", transfer(2, 1, 5)).run();
        change(&mut run);
        rules(check, &run)
    }

    fn unmark(run: &mut Run, participant: Participant) {
        run.finals.participants.get_mut(&participant).unwrap().marks.remove("t1");
    }

    fn mark(run: &mut Run, participant: Participant, tx: &str) {
        run.finals.participants.get_mut(&participant).unwrap().marks.insert(tx.into());
    }

    fn resolve(run: &mut Run, participant: Participant, commit: bool) {
        run.finals.participants.get_mut(&participant).unwrap().heuristics.insert("t1".into(), commit);
    }

    fn outcome(run: &mut Run, outcome: FinalOutcome) {
        run.finals.outcomes.insert("t1".into(), outcome);
    }

    const DAMAGED: FinalOutcome = FinalOutcome::Committed { reads: None, damaged: true };

    #[test]
    fn half_a_transaction_is_found_unless_a_lying_disk_lost_the_rest() {
        assert_eq!(broken(|run| unmark(run, 2)), ["atomicity.partial"]);
        let excused = broken(|run| {
            unmark(run, 2);
            run.finals.excused.insert("t1".into());
        });
        assert!(excused.is_empty());
        let excused = broken(|run| {
            unmark(run, 2);
            run.finals.excused_epochs = true;
        });
        assert!(excused.is_empty());
    }

    #[test]
    fn a_branch_that_is_still_open_is_no_half_transaction() {
        let found = broken(|run| {
            unmark(run, 2);
            let open = crate::run::OpenBranch { tx: "t1".into(), state: "prepared".into(), orphaned_by_design: true };
            run.finals.participants.get_mut(&2).unwrap().open.push(open);
        });
        assert!(found.is_empty());
    }

    #[test]
    fn effects_have_to_be_those_of_the_outcome() {
        assert_eq!(broken(|run| [1, 2].iter().for_each(|p| unmark(run, *p))), ["atomicity.outcome"]);
        assert_eq!(broken(|run| outcome(run, FinalOutcome::Aborted { damaged: false })), ["atomicity.outcome"]);
        assert_eq!(broken(|run| outcome(run, FinalOutcome::NotFound)), ["atomicity.outcome"]);
        let collected = broken(|run| {
            outcome(run, FinalOutcome::NotFound);
            run.simulated_us = 3_601_000_000;
        });
        assert!(collected.is_empty());
    }

    #[test]
    fn an_operators_wrong_decision_has_to_be_reported_and_nobody_may_cry_wolf() {
        let wrong = |run: &mut Run| {
            unmark(run, 2);
            resolve(run, 2, false);
        };
        assert_eq!(broken(wrong), ["atomicity.damage-unreported"]);
        let reported = broken(|run| {
            wrong(run);
            outcome(run, DAMAGED);
        });
        assert!(reported.is_empty());
        let gone = broken(|run| {
            wrong(run);
            run.finals.gone.insert(Host::Coordinator);
        });
        assert!(gone.is_empty());
        assert!(broken(|run| resolve(run, 2, true)).is_empty());
        assert_eq!(broken(|run| outcome(run, DAMAGED)), ["atomicity.damage-unfounded"]);
    }

    /// The step of `t1` at p2 is said to be done, after an operator had decided the branch of its attempt alone.
    fn passed_over(commit: bool, outcome: FinalOutcome) -> Vec<&'static str> {
        broken(|run| {
            let done = matches!(outcome, FinalOutcome::Committed { .. });
            if done {
                unmark(run, 2);
                run.finals.done_without.insert("t1".into(), BTreeMap::from([(2, HowResolved::Done)]));
            } else {
                unmark(run, 1);
            }
            resolve(run, 2, commit);
            run.finals.outcomes.insert("t1".into(), outcome);
            let claim =
                PassedOver { tx: "t1".into(), participant: 2, how: HowResolved::Done, stuck: true, certain: true };
            run.finals.passed_over.push(claim);
        })
    }

    #[test]
    fn an_abort_alone_is_no_damage_where_what_is_in_effect_is_a_step_that_was_passed_over() {
        let committed = || FinalOutcome::Committed { reads: None, damaged: false };
        let aborted = || FinalOutcome::Aborted { damaged: false };
        assert_eq!([committed(), aborted()].map(|outcome| passed_over(false, outcome)), [[""; 0], [""; 0]]);
        assert_eq!(passed_over(true, aborted()), ["atomicity.damage-unreported"]);
        let of_another = broken(|run| {
            unmark(run, 1);
            resolve(run, 2, false);
            outcome(run, aborted());
            let claim =
                PassedOver { tx: "t1".into(), participant: 1, how: HowResolved::Done, stuck: true, certain: true };
            run.finals.passed_over.push(claim);
        });
        assert_eq!(of_another, ["atomicity.damage-unreported"]);
    }

    #[test]
    fn an_operator_who_gave_up_is_damage_enough() {
        let found = broken(|run| {
            outcome(run, DAMAGED);
            gave_up(run, "t1");
        });
        assert!(found.is_empty());
        let found = broken(|run| {
            outcome(run, DAMAGED);
            gave_up(run, "t2");
        });
        assert_eq!(found, ["atomicity.damage-unfounded"]);
    }

    fn gave_up(run: &mut Run, tx: &str) {
        let event = Event::Noted { tx: tx.into(), phase: None, note: "forgotten".into() };
        run.trace.push(Entry { at_us: 1_000, host: Some(Host::Coordinator), event });
    }

    #[test]
    fn an_operators_decision_excuses_nobody_else() {
        let found = broken(|run| {
            run.calls.clear();
            *run = Fixture::default().commit("t1", other_work_of(&transfer(1, 2, 10))).run();
            unmark(run, 1);
            resolve(run, 2, true);
            outcome(run, DAMAGED);
        });
        assert_eq!(found, ["atomicity.partial"]);
    }

    #[test]
    fn other_work_under_a_known_id_has_to_be_refused_and_leaves_no_trace() {
        let other = other_work_of(&transfer(1, 2, 10));
        let asked = |reply| Fixture::default().commit("t1", transfer(1, 2, 10)).other("t1", other.clone(), reply).run();
        assert_eq!(rules(check, &asked(Reply::Refused("other content".into()))), [""; 0]);
        assert_eq!(rules(check, &asked(Reply::Committed(None))), ["atomicity.other-accepted"]);
        assert_eq!(rules(check, &asked(Reply::Aborted("deadline".into()))), ["atomicity.other-accepted"]);
        let mut run = asked(Reply::Unknown("silence".into()));
        mark(&mut run, 3, "t1");
        assert_eq!(rules(check, &run), ["atomicity.other-work"]);
        let mut run = asked(Reply::Unknown("silence".into()));
        run.finals.participants.get_mut(&1).unwrap().registers.insert(0, "t1".into());
        assert_eq!(rules(check, &run), ["atomicity.other-work"]);
    }

    #[test]
    fn other_work_may_take_the_place_of_what_left_no_trace() {
        let mut run = Fixture::default().commit("t1", other_work_of(&transfer(1, 2, 10))).run();
        let CallKind::Submit(work) = run.calls[0].kind.clone() else { panic!() };
        run.calls[0].kind = CallKind::SubmitOther(work);
        let mut first = run.calls[0].clone();
        first.kind = CallKind::Submit(transfer(1, 2, 10));
        first.asked_us -= 1;
        first.reply = Reply::Unknown("silence".into());
        run.calls.insert(0, first);
        assert_eq!(rules(check, &run), [""; 0]);
    }

    #[test]
    fn an_effect_that_nobody_asked_for_is_found() {
        assert_eq!(broken(|run| mark(run, 1, "t9")), ["atomicity.nobody-asked"]);
    }
}
