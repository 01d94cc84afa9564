use super::*;
use crate::workload::bank::Bank;
use crate::workload::ledger::Entry;
use crate::workload::step::{Action, Step};

/// Two committed transfers of 10 from customer 0 to customer 1, and one that aborted.
fn ledger() -> Ledger {
    let bank = Bank::new("run", &["a".to_owned(), "b".to_owned()], true, None).unwrap();
    let step = Step::new([(Account::savings(0), Action::Withdraw(10)), (Account::savings(1), Action::Add(10))]);
    let told = [Reply::Committed, Reply::Committed, Reply::Aborted("condition")];
    Ledger {
        bank,
        opened: [(Account::savings(0), 100), (Account::savings(1), 100)].into(),
        entries: told.map(|told| Entry { step: step.clone(), told }).into(),
    }
}

fn faultless() -> Observed {
    Observed {
        balances: [(Account::savings(0), Some(80)), (Account::savings(1), Some(120))].into(),
        markers: [(0, 0), (0, 1), (1, 0), (1, 1)].into(),
        again: vec![(0, Reply::Committed), (2, Reply::Aborted("condition"))],
    }
}

fn violations(ledger: &Ledger, change: impl FnOnce(&mut Observed)) -> String {
    let mut observed = faultless();
    change(&mut observed);
    let audit = findings(ledger, &observed);
    assert_eq!(audit.violation_count, audit.violations.len() as u64);
    assert_eq!(audit.is_clean(), audit.violations.is_empty());
    audit.violations.join("\n")
}

#[test]
fn what_agrees_is_clean_and_says_how_much_was_checked() {
    let audit = findings(&ledger(), &faultless());
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((audit.accounts, audit.commits, audit.aborts, audit.markers, audit.submitted_again), (2, 2, 1, 6, 2));
    assert_eq!((audit.opened, audit.expected, audit.found), (200, 200, 200));
}

#[test]
fn half_done_is_what_left_a_marker_at_some_branches_and_not_at_others() {
    let mut observed = faultless();
    assert_eq!(in_part(&ledger(), &observed), 0);
    observed.markers.remove(&(0, 1));
    observed.markers.insert((2, 0));
    assert_eq!(in_part(&ledger(), &observed), 2);
}

#[test]
fn money_that_appears_or_vanishes_is_found() {
    let found = violations(&ledger(), |observed| {
        observed.balances.insert(Account::savings(1), Some(121));
    });
    assert!(found.contains("not conserved") && found.contains("they hold 201"), "{found}");
    assert!(found.contains("run/savings/1: holds 121"), "{found}");
}

#[test]
fn money_on_the_wrong_account_is_found_though_the_sum_is_right() {
    let found = violations(&ledger(), |observed| {
        observed.balances = [(Account::savings(0), Some(90)), (Account::savings(1), Some(110))].into();
    });
    assert!(!found.contains("not conserved") && found.contains("savings/0") && found.contains("savings/1"), "{found}");
}

#[test]
fn a_balance_below_its_floor_or_without_a_number_is_found() {
    let found = violations(&ledger(), |observed| {
        observed.balances = [(Account::savings(0), Some(-1)), (Account::savings(1), None)].into();
    });
    assert!(found.contains("savings/0: holds -1, which is below") && found.contains("savings/1: holds no"), "{found}");
}

#[test]
fn a_commit_that_is_missing_at_one_branch_is_found() {
    let found = violations(&ledger(), |observed| {
        observed.markers.remove(&(1, 1));
    });
    assert!(found.contains("run-1: was acknowledged as committed, but b has no trace"), "{found}");
}

#[test]
fn an_abort_that_took_effect_at_one_branch_is_found() {
    let found = violations(&ledger(), |observed| {
        observed.markers.insert((2, 0));
    });
    assert!(found.contains("run-2: was acknowledged as aborted (condition), but a has committed"), "{found}");
}

#[test]
fn an_outcome_that_changes_when_submitted_again_is_found() {
    let found = violations(&ledger(), |observed| observed.again = vec![(0, Reply::Aborted("presumed"))]);
    assert!(found.contains("run-0"), "{found}");
}

#[test]
fn an_outcome_that_stays_unknown_is_told_and_nothing_is_concluded_from_it() {
    let mut ledger = ledger();
    ledger.entries[1].told = Reply::Unknown;
    let found = violations(&ledger, |_| {});
    assert_eq!(found, "run-1: its outcome never became known");
}

#[test]
fn the_sample_is_spread_over_the_run_and_bounded() {
    let mut ledger = ledger();
    let entry = ledger.entries[0].clone();
    ledger.entries = vec![entry; 1_050];
    let sample = sample(&ledger);
    assert!(sample.len() <= SAMPLE_TRANSACTIONS && sample.len() > SAMPLE_TRANSACTIONS / 2, "{}", sample.len());
    assert!(*sample.last().unwrap() > 1_000);
}
