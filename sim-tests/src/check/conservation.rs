//! The promise that nothing is made and nothing vanishes: balances are what the committed work makes of the opening
//! ones.
//!
//! Unknown outcomes count as what their marks say. A destroyed balance or epoch excuses all but `results`: such a balance
//! may be anything. Operators need no excuse, since marks show what took effect where.
//!
//! * `balance`: an account's history is replayed from the marks. Excused if a lying disk destroyed records of a
//!   transaction that touches the account, or if the participant could not be looked at. What auto did once more as a saga
//!   after another hand had committed its branch may be there twice, which the record calls damage. That all accounts
//!   together keep the opening sum, as far as the work is zero-sum, follows from this and from atomicity.
//! * `negative`: a floor is kept whatever is lost: each state of a disk is one that the floor was checked in.
//! * `total`: who read all accounts of its participants read the opening total, give or take transactions that are not
//!   zero-sum there: by their work, because an operator decided alone, or because a lying disk lost one side. Each of
//!   these may have been seen or not.
//! * `results`: nothing excuses a balance that is no number.

use super::Violation;
use super::facts::{Transaction, names, transactions};
use crate::run::{Op, Participant, Run, Work};
use std::collections::{BTreeMap, BTreeSet};

type Account = (Participant, u8);

pub fn check(run: &Run) -> Vec<Violation> {
    let transactions = transactions(run);
    let mut broken = Vec::new();
    if !run.finals.excuses_data() {
        broken.extend(balances(run, &transactions));
        broken.extend(transactions.values().flat_map(|transaction| total(run, transaction, &transactions)));
    }
    broken.extend(transactions.values().flat_map(|transaction| results(run, transaction)));
    broken
}

fn balances(run: &Run, transactions: &BTreeMap<&str, Transaction<'_>>) -> Vec<Violation> {
    let mut expected: BTreeMap<Account, i64> = BTreeMap::new();
    let mut excused: BTreeSet<Account> = BTreeSet::new();
    let mut perhaps_twice: BTreeMap<Account, BTreeSet<i64>> = BTreeMap::new();
    for (participant, found) in &run.finals.participants {
        expected.extend(found.accounts.keys().map(|account| ((*participant, *account), Op::OPENING_BALANCE)));
    }
    for transaction in transactions.values() {
        if transaction.is_excused() {
            excused.extend(transaction.contents().flat_map(deltas).map(|(account, _)| account));
        }
        for (account, delta) in transaction.work().into_iter().flat_map(deltas) {
            let balance = expected.entry(account).or_insert(Op::OPENING_BALANCE);
            if transaction.took_effect(account.0) == Some(true) {
                *balance += delta;
            }
            if transaction.may_be_there_twice(account.0) {
                let sums = perhaps_twice.entry(account).or_insert_with(|| BTreeSet::from([0]));
                let with: Vec<i64> = sums.iter().map(|sum| sum + delta).collect();
                sums.extend(with);
            }
        }
    }
    let mut broken = Vec::new();
    for ((participant, account), expected) in expected {
        let Some(found) = run.finals.participants.get(&participant) else { continue };
        let balance = found.accounts.get(&account).copied().unwrap_or(Op::OPENING_BALANCE);
        if balance < 0 {
            let what = format!("account {account} of p{participant} has fallen to {balance}");
            broken.push(Violation::new("conservation.negative", what));
        }
        let is_twice =
            perhaps_twice.get(&(participant, account)).is_some_and(|sums| sums.contains(&(balance - expected)));
        if balance != expected && !is_twice && !excused.contains(&(participant, account)) {
            let what = format!(
                "account {account} of p{participant} holds {balance}; what took effect there makes it {expected}"
            );
            broken.push(Violation::new("conservation.balance", what));
        }
    }
    broken
}

fn deltas(work: &Work) -> impl Iterator<Item = (Account, i64)> + '_ {
    work.iter().flat_map(|(participant, ops)| {
        ops.iter().filter_map(|op| match op {
            Op::Transfer { account, delta } => Some(((*participant, *account), *delta)),
            Op::ReadAccount { .. } | Op::ReadWrite { .. } | Op::ReadRegister { .. } => None,
        })
    })
}

/// Returns the violation if an audit saw a total that never was.
fn total(run: &Run, audit: &Transaction<'_>, transactions: &BTreeMap<&str, Transaction<'_>>) -> Option<Violation> {
    let tx = audit.tx;
    let audited: BTreeSet<Participant> = audit.work()?.keys().copied().collect();
    let mut seen = 0;
    for participant in &audited {
        seen += all_accounts(run, audit, *participant)?;
    }
    let accounts = audited.len() as i64 * i64::from(run.plan.shape.keys);
    let mut possible = BTreeSet::from([accounts * Op::OPENING_BALANCE]);
    for change in transactions.values().flat_map(|transaction| imbalances(transaction, &audited)) {
        let with: Vec<i64> = possible.iter().map(|total| total + change).collect();
        possible.extend(with);
    }
    (!possible.contains(&seen)).then(|| {
        let (at, possible) = (names(audited), possible.iter().map(i64::to_string).collect::<Vec<_>>().join(" or "));
        let what = format!("{tx} read all accounts of {at} and saw a total of {seen} instead of {possible}");
        Violation::of("conservation.total", tx, what)
    })
}

/// The sum of all accounts of a participant, if the transaction does nothing but read them all.
fn all_accounts(run: &Run, audit: &Transaction<'_>, participant: Participant) -> Option<i64> {
    let mut balances = BTreeMap::new();
    for (op, result) in audit.read_at(participant) {
        match op {
            Op::ReadAccount { account } => balances.insert(*account, balance(result)?),
            Op::Transfer { .. } | Op::ReadWrite { .. } => return None,
            Op::ReadRegister { .. } => None,
        };
    }
    (balances.len() == usize::from(run.plan.shape.keys)).then(|| balances.values().sum())
}

/// Returns what a transaction adds to the total of these participants, in the parts that are seen together; zeros left
/// out.
fn imbalances(transaction: &Transaction<'_>, audited: &BTreeSet<Participant>) -> Vec<i64> {
    let changes = |work: &Work| {
        let mut changes: BTreeMap<Participant, i64> = BTreeMap::new();
        for ((participant, _), delta) in deltas(work).filter(|((participant, _), _)| audited.contains(participant)) {
            // What a lying disk has lost may have been seen before.
            if transaction.is_excused()
                || transaction.is_lost_at(participant)
                || transaction.took_effect(participant) != Some(false)
            {
                *changes.entry(participant).or_default() += delta;
            }
        }
        changes.into_values()
    };
    let parts: Vec<i64> = if transaction.is_excused() {
        // Once its outcome was lost, other work under its id may have been done as well.
        transaction.contents().collect::<BTreeSet<_>>().into_iter().flat_map(changes).collect()
    } else if transaction.has_heuristics() || transaction.has_met_other_hands() || transaction.is_lost_somewhere() {
        transaction.work().into_iter().flat_map(changes).collect()
    } else {
        vec![transaction.work().into_iter().flat_map(changes).sum()]
    };
    parts.into_iter().filter(|change| *change != 0).collect()
}

/// An account that is not there yet has the opening balance.
fn balance(result: Option<&str>) -> Option<i64> {
    result.map_or(Some(Op::OPENING_BALANCE), |digits| digits.parse().ok())
}

fn results(run: &Run, transaction: &Transaction<'_>) -> Vec<Violation> {
    let tx = transaction.tx;
    let participants = transaction.work().into_iter().flat_map(|work| work.keys());
    let read = participants.flat_map(|participant| {
        transaction.read_at(*participant).into_iter().map(|(op, result)| (*participant, op, result))
    });
    let wrong = read.filter_map(|(participant, op, result)| {
        let (account, rule) = match op {
            Op::Transfer { account, .. } if result.is_none() => (account, "conservation.results"),
            Op::Transfer { account, .. } | Op::ReadAccount { account } => match balance(result) {
                None => (account, "conservation.results"),
                Some(balance) if balance < 0 && !run.finals.excuses_data() => (account, "conservation.negative"),
                Some(_) => return None,
            },
            Op::ReadWrite { .. } | Op::ReadRegister { .. } => return None,
        };
        let shown = result.unwrap_or("nothing");
        Some(Violation::of(rule, tx, format!("{tx} read {shown} at account {account} of p{participant}")))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{Fixture, audit, rules, transfer};
    use crate::run::{FinalOutcome, Reads, Reply};

    fn broken(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
        let mut run = Fixture::default().commit("t1", transfer(1, 2, 10)).commit("t2", audit(&[1, 2])).run();
        change(&mut run);
        rules(check, &run)
    }

    fn holds(run: &mut Run, participant: Participant, balance: i64) {
        run.finals.participants.get_mut(&participant).unwrap().accounts.insert(0, balance);
    }

    /// Sets what the call at this place was told last, and what the coordinator says in the end.
    fn told(run: &mut Run, call: usize, participant: Participant, at: usize, value: &str) {
        let Reply::Committed(Some(reads)) = &mut run.calls[call].reply else { panic!() };
        reads.get_mut(&participant).unwrap()[at] = Some(value.into());
    }

    #[test]
    fn a_balance_that_the_history_does_not_explain_is_found_unless_records_were_destroyed() {
        assert_eq!(broken(|run| holds(run, 1, 95)), ["conservation.balance"]);
        let excused = broken(|run| {
            holds(run, 1, 95);
            run.finals.excused.insert("t1".into());
        });
        assert_eq!(excused, [""; 0]);
        let elsewhere = broken(|run| {
            holds(run, 3, 95);
            run.finals.excused.insert("t1".into());
        });
        assert_eq!(elsewhere, ["conservation.balance"]);
    }

    #[test]
    fn an_unknown_outcome_counts_as_its_marks_say() {
        let unknown = |run: &mut Run| {
            run.calls[0].reply = Reply::Unknown("silence".into());
            run.finals.outcomes.insert("t1".into(), FinalOutcome::Unknown);
        };
        assert_eq!(broken(unknown), [""; 0]);
        let not = broken(|run| {
            unknown(run);
            run.finals.participants.values_mut().for_each(|found| found.marks.clear());
        });
        assert_eq!(not, ["conservation.balance", "conservation.balance"]);
    }

    #[test]
    fn no_balance_falls_below_zero() {
        let found = broken(|run| holds(run, 1, -5));
        assert_eq!(found, ["conservation.negative", "conservation.balance"]);
        assert_eq!(broken(|run| told(run, 0, 1, 0, "-5")), ["conservation.negative"]);
    }

    #[test]
    fn an_audit_that_sees_half_a_transfer_is_found() {
        assert_eq!(broken(|run| told(run, 1, 1, 0, "100")), ["conservation.total"]);
        assert_eq!(broken(|run| run.finals.excused_data = true), [""; 0]);
    }

    #[test]
    fn an_audit_may_see_half_of_what_an_operator_tore_apart() {
        let torn = broken(|run| {
            holds(run, 1, 100);
            let found = run.finals.participants.get_mut(&1).unwrap();
            found.marks.clear();
            found.heuristics.insert("t1".into(), false);
            told(run, 1, 1, 0, "100");
        });
        assert_eq!(torn, [""; 0]);
    }

    #[test]
    fn an_audit_may_see_half_of_what_another_hand_committed_early() {
        let early = broken(|run| {
            run.finals.participants.get_mut(&1).unwrap().ended_by_others.insert("t1".into());
            told(run, 1, 1, 0, "100");
        });
        assert_eq!(early, [""; 0]);
    }

    #[test]
    fn what_another_hand_committed_may_be_there_twice_where_auto_went_on_as_a_saga() {
        let twice = |tx: &str, times: i64| {
            let mut run = Fixture::default().commit(tx, transfer(1, 2, 10)).run();
            holds(&mut run, 1, Op::OPENING_BALANCE - 10 * times);
            run.finals.participants.get_mut(&1).unwrap().ended_by_others.insert(tx.into());
            rules(check, &run)
        };
        assert_eq!([twice("a1", 1), twice("a1", 2)], [[""; 0]; 2]);
        assert_eq!(twice("a1", 3), ["conservation.balance"]);
        assert_eq!(twice("t1", 2), ["conservation.balance"]);
    }

    #[test]
    fn an_audit_may_see_half_of_what_a_lying_disk_lost() {
        let seen = |balance: &str| {
            broken(|run| {
                run.finals.excused.insert("t1".into());
                told(run, 1, 1, 0, balance);
            })
        };
        assert_eq!(seen("100"), [""; 0]);
        assert_eq!(seen("101"), ["conservation.total"]);
    }

    #[test]
    fn an_audit_of_some_participants_may_see_what_went_to_the_others() {
        let run = Fixture::default().commit("t1", transfer(1, 3, 10)).commit("t2", audit(&[1, 2])).run();
        assert_eq!(rules(check, &run), [""; 0]);
        let mut run = Fixture::default().commit("t1", transfer(1, 3, 10)).commit("t2", audit(&[1, 2])).run();
        told(&mut run, 1, 2, 0, "107");
        assert_eq!(rules(check, &run), ["conservation.total"]);
    }

    #[test]
    fn who_reads_only_some_accounts_makes_no_audit() {
        let work = Work::from([(1, vec![Op::ReadAccount { account: 0 }])]);
        let mut run = Fixture::default().commit("t1", transfer(1, 2, 10)).commit("t2", work).run();
        told(&mut run, 1, 1, 0, "7");
        assert_eq!(rules(check, &run), [""; 0]);
    }

    #[test]
    fn a_result_that_is_no_balance_is_found() {
        assert_eq!(broken(|run| told(run, 0, 1, 0, "t7")), ["conservation.results"]);
        let nothing = Reads::from([(1, vec![None]), (2, vec![Some("110".into())])]);
        assert_eq!(broken(|run| run.calls[0].reply = Reply::Committed(Some(nothing))), ["conservation.results"]);
    }
}
