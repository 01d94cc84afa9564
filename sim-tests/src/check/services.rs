//! The promise to HTTP services: each effect that one was asked for is done or undone in the end, once, and never both.
//!
//! Services tell this themselves: what is looked at is what each has kept of every effect. Whether the effects of a transaction are
//! those of its outcome is for [`super::atomicity`] and [`super::conservation`], which read a service's accounts and marks like a
//! store's.
//!
//! * `held`: what was tried is confirmed or cancelled in the end. Excused while the participant's branch is still open (that is for
//!   [`super::orphans`]), where no coordinator is left that could decide, and if a lying disk destroyed an epoch: participants refuse
//!   a coordinator whose epoch has gone back (R5).
//! * `both-ways`: an effect is not confirmed and cancelled, nor completed and compensated. Excused where an operator decided the
//!   branch alone, passed over the step, or gave the transaction up: he may not have known what had been asked for. What is nested
//!   may have been completed and be undone with its parent; see [`super::families`].
//! * `untried`: nothing is confirmed that was not tried with success. Nothing excuses that.
//! * `twice`: a transaction is in effect at a service at most once, whatever its attempts were. Excused where a lying disk or the end
//!   of its retention made its coordinator forget it, and where somebody else ended its branch.
//!
//! What a service refuses for good has no other way on: a confirm whose hold somebody dropped ends as reported damage, which the rules
//! of operators' decisions are about, as if an operator had decided so.

use super::Violation;
use super::facts::{self, Transaction, transactions};
use crate::plan::Mode;
use crate::run::{Effect, Participant, Run};
use std::collections::BTreeMap;

pub fn check(run: &Run) -> Vec<Violation> {
    let transactions = transactions(run);
    let all = run.finals.services.iter().flat_map(|(at, effects)| effects.iter().map(move |effect| (*at, effect)));
    let mut broken: Vec<Violation> =
        all.flat_map(|(at, effect)| one(run, at, effect, transactions.get(effect.tx.as_str()))).collect();
    for (at, effects) in &run.finals.services {
        broken.extend(twice(*at, effects, &transactions));
    }
    broken
}

fn one(run: &Run, at: Participant, effect: &Effect, transaction: Option<&Transaction<'_>>) -> Vec<Violation> {
    let Effect { tx, name, done, .. } = effect;
    let mut broken = Vec::new();
    if effect.held && !may_be_held(run, at, tx) {
        let what = format!("the service of p{at} holds for {tx} what nobody will confirm or cancel ({name})");
        broken.push(Violation::of("services.held", tx, what));
    }
    let has = |one: &str, other: &str| done.contains(one) && done.contains(other);
    let by_hand = |found: &Transaction<'_>| {
        found.heuristic(at).is_some() || found.is_passed_over(at) || facts::operator_gave_up(run, tx)
    };
    let is_undone_anew = Mode::parent_of(tx).is_some();
    if (has("confirm", "cancel") || (has("completion", "compensation") && !is_undone_anew))
        && !transaction.is_some_and(by_hand)
    {
        let what = format!("the service of p{at} was told to do {tx} and to undo it ({name})");
        broken.push(Violation::of("services.both-ways", tx, what));
    }
    if done.contains("confirm") && !done.contains("try") {
        let what = format!("the service of p{at} confirmed for {tx} what it had not tried ({name})");
        broken.push(Violation::of("services.untried", tx, what));
    }
    broken
}

/// Returns true if nobody can be expected to have ended what the service holds.
fn may_be_held(run: &Run, at: Participant, tx: &str) -> bool {
    let is_open = run.finals.participants.get(&at).is_some_and(|found| found.open.iter().any(|open| open.tx == tx));
    is_open || facts::coordinator_is_gone(run) || run.finals.excused_epochs
}

fn twice(at: Participant, effects: &[Effect], transactions: &BTreeMap<&str, Transaction<'_>>) -> Vec<Violation> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.in_effect) {
        *counts.entry(effect.tx.as_str()).or_default() += 1;
    }
    let is_excused = |tx: &str| {
        let found = transactions.get(tx);
        found.is_some_and(|found| found.is_excused() || found.may_be_collected() || found.has_met_other_hands())
    };
    let twice = counts.into_iter().filter(|(tx, count)| *count > 1 && !is_excused(tx));
    twice
        .map(|(tx, count)| {
            Violation::of("services.twice", tx, format!("{tx} is in effect {count} times at the service of p{at}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, rules, transfer};
    use crate::plan::Host;
    use crate::run::OpenBranch;
    use std::collections::BTreeSet;

    fn effect(name: &str, done: &[&str], in_effect: bool) -> Effect {
        let done = done.iter().map(|one| (*one).to_owned()).collect();
        Effect { tx: "t1".into(), name: name.into(), done, in_effect, ..Effect::default() }
    }

    /// The service of p1 knows these effects of `t1`.
    fn broken(effects: Vec<Effect>, change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = Fixture::default().commit("t1", transfer(1, 2, 10)).run();
        run.finals.services.insert(1, effects);
        change(&mut run);
        rules(check, &run)
    }

    #[test]
    fn what_was_confirmed_once_is_well() {
        assert_eq!(
            broken(vec![effect("a", &["try", "confirm"], true), effect("b", &["cancel"], false)], |_| {}),
            [""; 0]
        );
    }

    #[test]
    fn a_hold_that_nobody_ends_is_found_unless_its_branch_is_open_or_nobody_is_left() {
        let held = || vec![Effect { held: true, ..effect("a", &["try"], false) }];
        assert_eq!(broken(held(), |_| {}), ["services.held"]);
        let open = broken(held(), |run| {
            let branch = OpenBranch { tx: "t1".into(), state: "prepared".into(), orphaned_by_design: true };
            run.finals.participants.get_mut(&1).unwrap().open.push(branch);
        });
        assert_eq!(open, [""; 0]);
        assert_eq!(broken(held(), |run| run.finals.gone = BTreeSet::from([Host::Coordinator])), [""; 0]);
        assert_eq!(broken(held(), |run| run.finals.excused_epochs = true), [""; 0]);
    }

    #[test]
    fn an_effect_that_ended_both_ways_is_found_unless_an_operator_decided_alone() {
        for done in [["try", "confirm", "cancel"], ["action", "completion", "compensation"]] {
            let both = || vec![effect("a", &done, true)];
            assert_eq!(broken(both(), |_| {}), ["services.both-ways"]);
            let alone = broken(both(), |run| {
                run.finals.participants.get_mut(&1).unwrap().heuristics.insert("t1".into(), true);
            });
            assert_eq!(alone, [""; 0]);
        }
    }

    #[test]
    fn a_confirm_without_a_try_is_found() {
        assert_eq!(broken(vec![effect("a", &["confirm"], true)], |_| {}), ["services.untried"]);
    }

    #[test]
    fn a_transaction_that_is_in_effect_twice_is_found_unless_its_coordinator_may_have_forgotten_it() {
        let twice = || vec![effect("a", &["action"], true), effect("b", &["action"], true)];
        assert_eq!(broken(twice(), |_| {}), ["services.twice"]);
        assert_eq!(broken(twice(), |run| run.finals.excused = BTreeSet::from(["t1".to_owned()])), [""; 0]);
        assert_eq!(broken(twice(), |run| run.simulated_us += 3_601_000_000), [""; 0]);
        let compensated = vec![effect("a", &["action", "compensation"], false), effect("b", &["action"], true)];
        assert_eq!(broken(compensated, |_| {}), [""; 0]);
    }
}
