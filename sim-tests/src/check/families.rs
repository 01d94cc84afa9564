//! The promise of nested sagas: a child has no effect that its parent has not, and ends before it.
//!
//! Whether each of them is all there or not at all, as its own outcome says, is for [`super::atomicity`] as of every transaction; here
//! the outcomes are compared. What is said of a parent and its child holds by steps for the outermost and all its descendants.
//!
//! * `against`: no child is committed whose parent is not.
//! * `apart`: what a client has closed, or left open and not had cancelled, is committed with its parent. A child that was left open
//!   has a time of its own, which a clock that jumps may have ended.
//! * `early`: once a client has heard that a saga has ended, none that is nested in it is decided any more. Not looked at where a
//!   coordinator that was replaced may still decide for itself.
//! * `completed`: what was completed is there where the child is committed, and is not where it is undone. Excused as an effect is in
//!   [`super::atomicity`].
//! * All are excused where a lying disk destroyed records of the child or of its parent, or a coordinator has lost them, and where an
//!   operator gave one of them up: what is nested in that goes on by itself.

use super::Violation;
use super::facts::{self, Transaction, names, transactions};
use crate::plan::{Host, Mode, What};
use crate::run::{CallKind, FinalOutcome, Participant, Reply, Run};
use crate::trace::Event;
use std::collections::BTreeMap;

pub fn check(run: &Run) -> Vec<Violation> {
    let all = transactions(run);
    let mut broken = Vec::new();
    for child in all.values() {
        let Some(parent) = parent(&all, child) else { continue };
        if !is_excused(run, child) {
            broken.extend(completed(child));
            if !is_excused(run, parent) {
                broken.extend(outcomes(run, parent, child));
            }
        }
    }
    broken.extend(early(run, &all));
    broken
}

fn parent<'a>(all: &'a BTreeMap<&str, Transaction<'a>>, child: &Transaction<'_>) -> Option<&'a Transaction<'a>> {
    all.get(Mode::parent_of(child.tx)?)
}

fn is_excused(run: &Run, transaction: &Transaction<'_>) -> bool {
    transaction.is_excused()
        || *transaction.outcome() == FinalOutcome::GivenUp
        || facts::operator_gave_up(run, transaction.tx)
}

fn outcomes(run: &Run, parent: &Transaction<'_>, child: &Transaction<'_>) -> Option<Violation> {
    let tx = child.tx;
    match (parent.decision()?, child.decision()?) {
        (false, true) => {
            let what = format!("{tx} is committed, and {}, in which it is nested, is not", parent.tx);
            Some(Violation::of("families.against", tx, what))
        }
        (true, false) if is_to_follow(run, child) => {
            let what =
                format!("{} is committed, and {tx}, which is nested in it and was not cancelled, is not", parent.tx);
            Some(Violation::of("families.apart", tx, what))
        }
        (true | false, false) | (true, true) => None,
    }
}

/// Returns true if a client has taken the child as far as it goes without its parent.
fn is_to_follow(run: &Run, child: &Transaction<'_>) -> bool {
    let is_cancelled = child.calls().any(|call| call.kind == CallKind::Cancel);
    let jumps = |what: &What| matches!(what, What::Clock { host, .. } if host.is_coordinator());
    let is_left_for_sure = !is_cancelled && !run.plan.faults.iter().any(|fault| jumps(&fault.what));
    child.calls().any(|call| match call.reply {
        Reply::Nested { closed } => closed || is_left_for_sure,
        Reply::Committed(_) | Reply::Aborted(_) | Reply::Refused(_) | Reply::Unknown(_) => false,
    })
}

fn completed(child: &Transaction<'_>) -> Option<Violation> {
    let (tx, decision) = (child.tx, child.decision()?);
    let is_wrong = |participant: &Participant| {
        child.was_completed(*participant) == Some(!decision)
            && child.heuristic(*participant).is_none()
            && !child.is_passed_over(*participant)
            && !child.is_lost_at(*participant)
    };
    let wrong: Vec<Participant> = facts::writers(child.work()?).filter(is_wrong).collect();
    (!wrong.is_empty() && !child.is_unfinished_saga()).then(|| {
        let (at, outcome) = (names(wrong), facts::describe(child.outcome()));
        let completed = if decision { "is not completed" } else { "is left completed" };
        Violation::of("families.completed", tx, format!("{tx} is {outcome}, and {completed} at {at}"))
    })
}

fn early(run: &Run, all: &BTreeMap<&str, Transaction<'_>>) -> Vec<Violation> {
    if run.plan.has(Host::Standby) {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for entry in run.trace.iter().filter(|entry| entry.host.is_some_and(Host::is_coordinator)) {
        let Event::Noted { tx, note, .. } = &entry.event else { continue };
        let Some(child) = all.get(tx.as_str()).filter(|_| note.starts_with("decided")) else { continue };
        let ancestors = std::iter::successors(Some(child), |saga| parent(all, saga));
        let excused = ancestors.clone().any(|saga| is_excused(run, saga));
        let heard = |saga: &&Transaction<'_>| {
            let told_us = [saga.told_committed_us(), saga.told_aborted_us()].into_iter().flatten().min();
            told_us.is_some_and(|told_us| told_us < entry.at_us)
        };
        if let Some(ended) = ancestors.skip(1).find(heard).filter(|_| !excused) {
            let what =
                format!("a client had heard that {} has ended when {tx}, which is nested in it, was decided", ended.tx);
            broken.push(Violation::of("families.early", tx, what).at(entry.at_us));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, rules, transfer};
    use crate::plan::{Fault, When};

    const ABORTED: FinalOutcome = FinalOutcome::Aborted { damaged: false };

    /// `o1.1` was closed, and its outcome was never told; `o1.2w` was left open; both are nested in `o1`, which was closed.
    fn family() -> Run {
        let mut run = Fixture::default()
            .commit("o1.1", transfer(1, 2, 10))
            .commit("o1.2w", transfer(1, 2, 10))
            .commit("o1", transfer(1, 2, 10))
            .run();
        run.calls[0].reply = Reply::Nested { closed: true };
        run.calls[1].reply = Reply::Nested { closed: false };
        for participant in [1, 2] {
            run.finals.participants.get_mut(&participant).unwrap().completed.insert("o1.1".into());
        }
        run
    }

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = family();
        change(&mut run);
        rules(check, &run)
    }

    fn abort(run: &mut Run, tx: &str) {
        run.finals.outcomes.insert(tx.into(), ABORTED);
    }

    fn nothing_completed(run: &mut Run) {
        run.finals.participants.values_mut().for_each(|found| found.completed.clear());
    }

    #[test]
    fn a_family_that_is_closed_as_one_keeps_every_promise() {
        assert_eq!(crate::check::check_all(&family()), []);
    }

    #[test]
    fn a_child_that_is_committed_without_its_parent_is_found_unless_an_operator_gave_that_up() {
        assert_eq!(broken(|run| abort(run, "o1")), ["families.against"; 2]);
        let given_up = broken(|run| drop(run.finals.outcomes.insert("o1".into(), FinalOutcome::GivenUp)));
        assert_eq!(given_up, [""; 0]);
        let lost = broken(|run| {
            abort(run, "o1");
            run.finals.excused.insert("o1".into());
        });
        assert_eq!(lost, [""; 0]);
    }

    #[test]
    fn a_child_that_does_not_follow_its_parent_is_found_unless_it_was_cancelled_before() {
        let kept = broken(|run| {
            abort(run, "o1.1");
            nothing_completed(run);
        });
        assert_eq!(kept, ["families.apart"]);
        assert_eq!(
            broken(|run| drop(run.finals.outcomes.insert("o1.2w".into(), FinalOutcome::NotFound))),
            ["families.apart"]
        );
        let cancelled = broken(|run| {
            abort(run, "o1.2w");
            run.calls[1].reply = Reply::Aborted("cancelled".into());
        });
        assert_eq!(cancelled, [""; 0]);
        let jumped = broken(|run| {
            abort(run, "o1.2w");
            let what = What::Clock { host: Host::Coordinator, by_ms: 9_000 };
            run.plan.faults.push(Fault { when: When::At { ms: 1 }, what });
        });
        assert_eq!(jumped, [""; 0]);
    }

    #[test]
    fn a_completion_that_is_missing_or_left_is_found() {
        assert_eq!(broken(nothing_completed), ["families.completed"]);
        let left = broken(|run| {
            abort(run, "o1");
            abort(run, "o1.1");
            abort(run, "o1.2w");
        });
        assert_eq!(left, ["families.completed"]);
    }

    #[test]
    fn an_end_that_is_told_before_that_of_a_child_is_found() {
        let run = Fixture::default().commit("o1", transfer(1, 2, 10)).commit("o1.1w", transfer(1, 2, 10)).run();
        assert_eq!(rules(check, &run), ["families.early"]);
    }
}
