//! The promise that what a client was told survives everything (R10).
//!
//! * `told-differently`, `outcome`, `reads`: excused for a transaction whose records a lying disk destroyed, at
//!   whichever host: the coordinator may have to presume an abort. "Not found" is a true answer about an abort that is
//!   presumed, and about anything once its retention has passed; "unknown" is for `termination`.
//! * `outcome` says nothing about what an operator gave up, which is reported as damage (O3), nor about what is listed as damaged
//!   because a participant's disk was put back.
//! * `effect`: excused by a lying disk too, and at a participant where an operator decided otherwise (whether that is
//!   reported is for `atomicity`) or passed over a step (for `operators`), and where the branch is still open (that is for `orphans`).
//! * `refused`: a definite refusal did nothing; excused by nothing, but another submission of the id may have done it.
//! * `results`: nothing excuses answers that do not fit the question, or one of the questions. A branch that commits alone loses its results if
//!   its coordinator has to ask what became of it, so none at all is no violation.

use super::Violation;
use super::facts::{self, Transaction, describe, names, transactions};
use crate::run::{FinalOutcome, Participant, Reads, Reply, Run, Work};

pub fn check(run: &Run) -> Vec<Violation> {
    let mut broken = Vec::new();
    for transaction in transactions(run).values() {
        if !transaction.is_excused() {
            broken.extend(told_differently(transaction));
            broken.extend(outcome(transaction));
            broken.extend(effects(transaction));
            broken.extend(reads(transaction));
        }
        broken.extend(refused(transaction));
        broken.extend(results(transaction));
    }
    broken
}

fn told_differently(transaction: &Transaction<'_>) -> Option<Violation> {
    let tx = transaction.tx;
    let (committed_us, aborted_us) = (transaction.told_committed_us()?, transaction.told_aborted_us()?);
    let what = format!("one client was told that {tx} committed, another that it aborted");
    Some(Violation::of("durability.told-differently", tx, what).at(committed_us.max(aborted_us)))
}

/// Returns whether clients were told commit or abort, if they were told anything.
fn told(transaction: &Transaction<'_>) -> Option<bool> {
    let committed = transaction.told_committed_us().map(|_| true);
    committed.or_else(|| transaction.told_aborted_us().map(|_| false))
}

fn outcome(transaction: &Transaction<'_>) -> Option<Violation> {
    let tx = transaction.tx;
    let committed = told(transaction)?;
    let survived = match transaction.outcome() {
        FinalOutcome::Committed { .. } => committed,
        FinalOutcome::Aborted { damaged } => !committed || *damaged && transaction.is_lost_somewhere(),
        FinalOutcome::NotFound => transaction.may_be_collected() || (!committed && was_presumed(transaction)),
        FinalOutcome::GivenUp | FinalOutcome::Unknown => true,
    };
    (!survived).then(|| {
        let (told, outcome) = (word(committed), describe(transaction.outcome()));
        Violation::of(
            "durability.outcome",
            tx,
            format!("a client was told that {tx} {told}; in the end it is {outcome}"),
        )
    })
}

fn word(committed: bool) -> &'static str {
    if committed { "committed" } else { "aborted" }
}

fn was_presumed(transaction: &Transaction<'_>) -> bool {
    transaction.calls().any(|call| call.reply == Reply::Aborted("presumed".to_owned()))
}

fn effects(transaction: &Transaction<'_>) -> Option<Violation> {
    let tx = transaction.tx;
    let committed = told(transaction)?;
    let against = |participant: &Participant| {
        transaction.took_effect(*participant) == Some(!committed)
            && transaction.heuristic(*participant) != Some(!committed)
            && !transaction.is_passed_over(*participant)
            && !transaction.is_lost_at(*participant)
    };
    let wrong: Vec<Participant> = facts::writers(transaction.work()?).filter(against).collect();
    (!wrong.is_empty()).then(|| {
        let effect = if committed { "did not take effect" } else { "took effect" };
        let what = format!("a client was told that {tx} {}, and it {effect} at {}", word(committed), names(wrong));
        Violation::of("durability.effect", tx, what)
    })
}

/// Each telling against the first that says anything about the participant.
fn reads(transaction: &Transaction<'_>) -> Option<Violation> {
    let tx = transaction.tx;
    let mut first = Reads::new();
    for (participant, results) in transaction.tellings().flatten().filter(|(_, results)| !results.is_empty()) {
        let told = first.entry(*participant).or_insert_with(|| results.clone());
        if told != results {
            let what = format!("{tx} read {told:?} at p{participant}, and later {results:?} was told");
            return Some(Violation::of("durability.reads", tx, what));
        }
    }
    None
}

fn refused(transaction: &Transaction<'_>) -> Option<Violation> {
    let tx = transaction.tx;
    let at: Vec<Participant> = transaction.marked().collect();
    (transaction.work().is_none() && !at.is_empty()).then(|| {
        let what = format!("{tx} was refused whenever it was submitted, and took effect at {}", names(at));
        Violation::of("durability.refused", tx, what)
    })
}

fn results(transaction: &Transaction<'_>) -> Option<Violation> {
    let tx = transaction.tx;
    let work = transaction.work()?;
    // Where its outcome was lost, other work under its id may have been done and told as well.
    let mut candidates: Vec<&Work> =
        if transaction.is_excused() { transaction.contents().collect() } else { Vec::new() };
    candidates.push(work);
    let (participant, results) = transaction.tellings().flatten().find(|(participant, results)| {
        let fits = |work: &&Work| work.get(participant).is_some_and(|ops| ops.len() == results.len());
        !results.is_empty() && !candidates.iter().any(fits)
    })?;
    let asked = work.get(participant).map_or(0, Vec::len);
    let what = format!("{tx} has {asked} operations at p{participant}, and {} results were told", results.len());
    Some(Violation::of("durability.results", tx, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, read_write, rules};
    use crate::run::OpenBranch;

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = Fixture::default().commit("t1", read_write(&[1, 2])).abort("t2", read_write(&[1, 2])).run();
        change(&mut run);
        rules(check, &run)
    }

    fn lose(run: &mut Run) {
        run.finals.participants.get_mut(&2).unwrap().marks.remove("t1");
    }

    fn outcome(run: &mut Run, tx: &str, outcome: FinalOutcome) {
        run.finals.outcomes.insert(tx.into(), outcome);
    }

    const COMMITTED: FinalOutcome = FinalOutcome::Committed { reads: None, damaged: false };

    #[test]
    fn a_commit_that_was_told_and_lost_is_found_unless_a_disk_lied() {
        assert_eq!(broken(lose), ["durability.effect"]);
        let excused = broken(|run| {
            lose(run);
            run.finals.excused.insert("t1".into());
        });
        assert!(excused.is_empty());
    }

    #[test]
    fn an_abort_that_was_told_and_took_effect_is_found_unless_an_operator_did_it() {
        let mark = |run: &mut Run| {
            run.finals.participants.get_mut(&1).unwrap().marks.insert("t2".into());
        };
        assert_eq!(broken(mark), ["durability.effect"]);
        let resolved = broken(|run| {
            mark(run);
            run.finals.participants.get_mut(&1).unwrap().heuristics.insert("t2".into(), true);
        });
        assert!(resolved.is_empty());
    }

    #[test]
    fn a_branch_that_is_still_open_has_lost_nothing() {
        let open = OpenBranch { tx: "t1".into(), state: "prepared".into(), orphaned_by_design: true };
        let found = broken(|run| {
            lose(run);
            run.finals.participants.get_mut(&2).unwrap().open.push(open);
        });
        assert!(found.is_empty());
    }

    #[test]
    fn the_outcome_that_was_told_stays_and_may_only_be_forgotten_in_time() {
        assert_eq!(broken(|run| outcome(run, "t1", FinalOutcome::Aborted { damaged: false })), ["durability.outcome"]);
        assert_eq!(broken(|run| outcome(run, "t2", COMMITTED)), ["durability.outcome"]);
        for tx in ["t1", "t2"] {
            let forget = |run: &mut Run| outcome(run, tx, FinalOutcome::NotFound);
            assert_eq!(broken(forget), ["durability.outcome"]);
            let in_time = broken(|run| {
                forget(run);
                run.simulated_us += 3_601_000_000;
            });
            assert!(in_time.is_empty());
        }
        let presumed = broken(|run| {
            outcome(run, "t2", FinalOutcome::NotFound);
            run.calls[1].reply = Reply::Aborted("presumed".into());
        });
        assert!(presumed.is_empty());
    }

    #[test]
    fn two_clients_hear_the_same() {
        let run = Fixture::default().commit("t1", read_write(&[1, 2])).again("t1", Reply::Aborted("deadline".into()));
        assert_eq!(rules(check, &run.run()), ["durability.told-differently"]);
    }

    #[test]
    fn what_was_read_is_told_alike_to_everybody() {
        let told = |register: Option<&str>| {
            let reads = Reads::from([(1, vec![register.map(str::to_owned)]), (2, Vec::new())]);
            let run = Fixture::default().commit("t1", read_write(&[1, 2])).again("t1", Reply::Committed(Some(reads)));
            rules(check, &run.run())
        };
        assert_eq!(told(None), [""; 0]);
        assert_eq!(told(Some("t0")), ["durability.reads"]);
    }

    #[test]
    fn what_was_refused_did_nothing() {
        let found = broken(|run| run.calls[0].reply = Reply::Refused("too many open".into()));
        assert_eq!(found, ["durability.refused"]);
    }

    #[test]
    fn there_is_a_result_for_each_operation() {
        let reads = Reads::from([(1, vec![None, None])]);
        let found = broken(|run| {
            run.calls[0].reply = Reply::Committed(Some(reads.clone()));
            outcome(run, "t1", COMMITTED);
        });
        assert_eq!(found, ["durability.results"]);
    }
}
