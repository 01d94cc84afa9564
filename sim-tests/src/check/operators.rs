//! The promises about what operators make of stuck steps: just that is what a saga ends with, no more and no less.
//!
//! A step is stuck because its action or its compensation was refused for good, so nothing of that is in effect. An
//! operator who passes it over, by skipping it or by saying that it is done, changes no data here: where the saga was
//! done the step is not in effect, where it was undone it still is. [`super::atomicity`] and [`super::durability`]
//! leave such steps to this.
//!
//! * `effect`: a step that was passed over while it was stuck is as its refusals left it. One that was not stuck, or that
//!   another operator had tried again since the first one saw it stuck, and what was left of a saga that was given up, may be in
//!   effect or not; so may one at an HTTP service, which may have done what an earlier attempt asked for and not answered it. Excused where an operator has committed a branch of
//!   the same transaction, which is why the step was refused.
//!   Nor is anything said of a nested saga's step: what was passed over may have been its completion, and be undone since.
//! * `unfounded`: nobody but an operator passes over a step, or gives a saga up. What becomes of a step at a participant whose
//!   disk was put back is not known either, also of one that was said to be done; that is for [`super::atomicity`].
//! * `lost`: what an operator was told is on record stays so. Not so for an undone saga's step that is said to be done:
//!   the record knows it only as undone; nor for a step of an open saga, which may have no results to lack.
//! * All are excused for what a lying disk destroyed, and where no coordinator is left to ask.

use super::Violation;
use super::facts::{self, Transaction, describe, transactions};
use super::losses;
use crate::plan::{HowResolved, Mode};
use crate::run::{FinalOutcome, Participant, PassedOver, Run};
use std::collections::BTreeMap;

pub fn check(run: &Run) -> Vec<Violation> {
    let sound = transactions(run).into_values().filter(|transaction| !transaction.is_excused());
    sound.flat_map(|transaction| one(run, &transaction)).collect()
}

fn one(run: &Run, transaction: &Transaction<'_>) -> Vec<Violation> {
    let tx = transaction.tx;
    let done = match transaction.outcome() {
        FinalOutcome::Committed { .. } => true,
        FinalOutcome::Aborted { .. } => false,
        FinalOutcome::GivenUp | FinalOutcome::NotFound | FinalOutcome::Unknown => return Vec::new(),
    };
    let nothing = BTreeMap::new();
    let record = run.finals.done_without.get(tx).unwrap_or(&nothing);
    let claims = || run.finals.passed_over.iter().filter(|claim| claim.tx == tx);
    let gave_up = facts::operator_gave_up(run, tx);
    // A step that was not stuck when it was ended may be in effect or not.
    let is_as_refused = |participant: Participant| {
        let is_nested = Mode::parent_of(tx).is_some();
        !gave_up && !is_nested && claims().filter(|claim| claim.participant == participant).all(|claim| claim.stuck)
    };
    let mut broken = Vec::new();
    for (participant, how) in record {
        let founded = |claim: &PassedOver| claim.participant == *participant && (claim.how == *how || !claim.stuck);
        let claimed = || claims().any(|claim| claim.participant == *participant);
        let is_lost = *how == HowResolved::Skip
            && (transaction.is_lost_at(*participant) || claimed() && losses::may_have_lost(run, *participant));
        if !claims().any(founded) && !gave_up && !is_lost {
            let what =
                format!("the record of {tx} says {} of the step at p{participant}, and no operator did", word(*how));
            broken.push(Violation::of("operators.unfounded", tx, what));
        }
        if is_as_refused(*participant) {
            broken.extend(effect(transaction, *participant, done));
        }
    }
    // Of what its caller does himself there are no results, so no record says by whom it was completed.
    let tells_who = Mode::of(tx) != Mode::OpenSaga;
    for claim in claims().filter(|claim| claim.certain && !record.contains_key(&claim.participant)) {
        if done && tells_who || claim.how == HowResolved::Skip {
            let (how, at) = (word(claim.how), claim.participant);
            let what =
                format!("an operator was told that the step of {tx} at p{at} is {how}, and its record does not say so");
            broken.push(Violation::of("operators.lost", tx, what));
        } else if !done && is_as_refused(claim.participant) {
            broken.extend(effect(transaction, claim.participant, done));
        }
    }
    broken
}

fn effect(transaction: &Transaction<'_>, participant: Participant, done: bool) -> Option<Violation> {
    let tx = transaction.tx;
    let is_committed_alone = transaction.heuristic(participant) == Some(true);
    let is_known = !is_committed_alone && !transaction.is_lost_at(participant);
    (is_known && transaction.took_effect(participant) == Some(done)).then(|| {
        let (outcome, effect) = (describe(transaction.outcome()), if done { "in effect" } else { "not in effect" });
        let what = format!("{tx} is {outcome}; an operator passed over its step at p{participant}, and it is {effect}");
        Violation::of("operators.effect", tx, what)
    })
}

fn word(how: HowResolved) -> &'static str {
    match how {
        HowResolved::Retry => "tried again",
        HowResolved::Skip => "skipped",
        HowResolved::Done => "done by other means",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, rules, transfer};
    use crate::check::{atomicity, durability};

    /// A saga of two steps, whose second an operator has passed over.
    fn skipped() -> Run {
        let mut run = Fixture::default().commit("s1", transfer(1, 2, 10)).run();
        let found = run.finals.participants.get_mut(&2).unwrap();
        found.marks.clear();
        found.accounts.insert(0, 100);
        run.finals.outcomes.insert("s1".into(), FinalOutcome::Committed { reads: None, damaged: true });
        run.finals.done_without.insert("s1".into(), BTreeMap::from([(2, HowResolved::Skip)]));
        let claim = PassedOver { tx: "s1".into(), participant: 2, how: HowResolved::Skip, stuck: true, certain: true };
        run.finals.passed_over.push(claim);
        run
    }

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = skipped();
        change(&mut run);
        crate::check::check_all(&run).into_iter().map(|broken| broken.rule).collect()
    }

    #[test]
    fn a_saga_may_end_without_a_step_that_an_operator_passed_over() {
        assert_eq!(broken(|_| {}), [""; 0]);
    }

    #[test]
    fn a_step_that_was_not_stuck_when_it_was_skipped_may_be_in_effect() {
        let found = broken(|run| {
            run.finals.passed_over[0].stuck = false;
            let found = run.finals.participants.get_mut(&2).unwrap();
            found.marks.insert("s1".into());
            found.accounts.insert(0, 110);
        });
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn the_other_steps_have_to_be_there_all_the_same() {
        let mut run = skipped();
        run.finals.participants.get_mut(&1).unwrap().marks.clear();
        assert_eq!(rules(atomicity::check, &run), ["atomicity.outcome"]);
        assert_eq!(rules(durability::check, &run), ["durability.effect"]);
    }

    #[test]
    fn a_step_whose_work_an_operator_had_committed_before_is_in_effect() {
        let found = broken(|run| {
            let found = run.finals.participants.get_mut(&2).unwrap();
            found.marks.insert("s1".into());
            found.accounts.insert(0, 110);
            found.heuristics.insert("s1".into(), true);
        });
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_skipped_step_that_took_effect_is_found() {
        let found = broken(|run| {
            let found = run.finals.participants.get_mut(&2).unwrap();
            found.marks.insert("s1".into());
            found.accounts.insert(0, 110);
        });
        assert_eq!(found, ["operators.effect"]);
    }

    #[test]
    fn nobody_but_an_operator_passes_over_a_step_and_his_word_is_kept() {
        assert_eq!(broken(|run| run.finals.passed_over.clear()), ["operators.unfounded"]);
        assert_eq!(broken(|run| run.finals.passed_over[0].how = HowResolved::Done), ["operators.unfounded"]);
        let lost = broken(|run| {
            run.finals.done_without.clear();
            run.finals.outcomes.insert("s1".into(), FinalOutcome::Committed { reads: None, damaged: false });
        });
        assert_eq!(lost, ["atomicity.partial", "durability.effect", "operators.lost"]);
    }

    #[test]
    fn a_skipped_step_is_damage_and_has_to_be_reported() {
        let silent = FinalOutcome::Committed { reads: None, damaged: false };
        let found = broken(|run| drop(run.finals.outcomes.insert("s1".into(), silent)));
        assert_eq!(found, ["atomicity.damage-unreported"]);
    }

    #[test]
    fn a_compensation_that_was_passed_over_leaves_its_action_in_effect() {
        let undone = |run: &mut Run, how| {
            *run = Fixture::default().abort("s1", transfer(1, 2, 10)).run();
            let found = run.finals.participants.get_mut(&2).unwrap();
            found.marks.insert("s1".into());
            found.accounts.insert(0, 110);
            let claim = PassedOver { tx: "s1".into(), participant: 2, how, stuck: true, certain: true };
            run.finals.passed_over.push(claim);
        };
        assert_eq!(broken(|run| undone(run, HowResolved::Done)), [""; 0]);
        let gone = broken(|run| {
            undone(run, HowResolved::Done);
            let found = run.finals.participants.get_mut(&2).unwrap();
            found.marks.clear();
            found.accounts.insert(0, 100);
        });
        assert_eq!(gone, ["operators.effect"]);
    }
}
