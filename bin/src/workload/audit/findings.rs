//! The comparison: what was acknowledged, against what was found.

use crate::workload::ledger::{Ledger, Reply};
use crate::workload::step::Account;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// More than these are counted, but not told one by one.
const MAX_VIOLATIONS_TOLD: usize = 100;

/// The answers of the participants and the coordinator after a run.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// `None`: there is no number.
    pub balances: BTreeMap<Account, Option<i64>>,
    /// Transaction's number and participant's place, for every marker that is there.
    pub markers: BTreeSet<(usize, usize)>,
    /// The answers to transactions that were submitted once more.
    pub again: Vec<(usize, Reply)>,
}

/// The result of an audit: what was checked, and what is wrong. Names are stable, as in [`crate::workload::Report`];
/// amounts are in cents.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// Accounts that were compared.
    pub accounts: u64,
    /// Sum of all accounts at first.
    pub opened: i128,
    /// The sum that there has to be after all commits.
    pub expected: i128,
    pub found: i128,
    /// Acknowledged commits whose markers were looked for at every branch that they wrote.
    pub commits: u64,
    /// Acknowledged aborts of which no marker may be anywhere.
    pub aborts: u64,
    /// Places that were looked at for a marker.
    pub markers: u64,
    /// Transactions that were submitted once more.
    pub submitted_again: u64,
    /// Still without an outcome. Their accounts could not be compared, nor could the sum.
    pub unknown: u64,
    /// The number of all violations; only some are told in `violations`.
    pub violation_count: u64,
    pub violations: Vec<String>,
}

impl Audit {
    pub fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    fn violated(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < MAX_VIOLATIONS_TOLD {
            self.violations.push(what);
        }
    }
}

/// Compares a ledger with what was found.
pub fn findings(ledger: &Ledger, observed: &Observed) -> Audit {
    let mut audit = Audit::default();
    unknown(ledger, &mut audit);
    balances(ledger, observed, &mut audit);
    if ledger.bank.marks() {
        markers(ledger, observed, &mut audit);
    }
    again(ledger, observed, &mut audit);
    audit
}

/// Returns how many transactions left markers at some of the participants that they write, and not at others.
pub fn in_part(ledger: &Ledger, observed: &Observed) -> u64 {
    let mut in_part = 0;
    for (number, entry) in ledger.entries.iter().enumerate() {
        let homes = ledger.bank.written(&entry.step);
        let marked = homes.iter().filter(|home| observed.markers.contains(&(number, **home))).count();
        in_part += u64::from((1..homes.len()).contains(&marked));
    }
    in_part
}

fn unknown(ledger: &Ledger, audit: &mut Audit) {
    for number in ledger.unknown() {
        audit.unknown += 1;
        audit.violated(format!("{}: its outcome never became known", ledger.bank.tx(number as u64)));
    }
}

fn balances(ledger: &Ledger, observed: &Observed, audit: &mut Audit) {
    let open = ledger.unknown();
    let uncertain: BTreeSet<Account> =
        open.iter().flat_map(|number| ledger.entries[*number].step.deltas()).map(|(account, _)| account).collect();
    let expected = ledger.expected();
    audit.opened = sum(ledger.opened.values());
    audit.expected = sum(expected.values());
    audit.found = sum(observed.balances.values().flatten());
    if uncertain.is_empty() && audit.expected != audit.found {
        let Audit { opened, expected, found, .. } = audit;
        let what = format!(
            "money is not conserved: all accounts opened with {opened}, and what committed makes that {expected}, but \
             they hold {found}"
        );
        audit.violated(what);
    }
    for (account, expected) in expected {
        let key = ledger.bank.key(account);
        let Some(found) = observed.balances.get(&account).copied().flatten() else {
            audit.violated(format!("{key}: holds no balance"));
            continue;
        };
        if account.floor().is_some_and(|floor| found < floor) {
            audit.violated(format!("{key}: holds {found}, which is below its floor"));
        }
        if !uncertain.contains(&account) {
            audit.accounts += 1;
            if found != expected {
                audit.violated(format!("{key}: holds {found}, but what committed makes {expected}"));
            }
        }
    }
}

fn sum<'a>(balances: impl IntoIterator<Item = &'a i64>) -> i128 {
    balances.into_iter().copied().map(i128::from).sum()
}

fn markers(ledger: &Ledger, observed: &Observed, audit: &mut Audit) {
    for (number, entry) in ledger.entries.iter().enumerate() {
        match entry.told {
            Reply::Unknown => continue,
            Reply::Committed => audit.commits += 1,
            Reply::Aborted(_) => audit.aborts += 1,
        }
        for home in ledger.bank.written(&entry.step) {
            audit.markers += 1;
            let (tx, participant) = (ledger.bank.tx(number as u64), &ledger.bank.participants()[home]);
            match (entry.told, observed.markers.contains(&(number, home))) {
                (Reply::Committed, false) => {
                    audit.violated(format!("{tx}: was acknowledged as committed, but {participant} has no trace of it"))
                }
                (Reply::Aborted(reason), true) => audit.violated(format!(
                    "{tx}: was acknowledged as aborted ({reason}), but {participant} has committed it"
                )),
                (Reply::Committed, true) | (Reply::Aborted(_), false) | (Reply::Unknown, _) => {}
            }
        }
    }
}

fn again(ledger: &Ledger, observed: &Observed, audit: &mut Audit) {
    for &(number, told) in &observed.again {
        audit.submitted_again += 1;
        let first = ledger.entries[number].told;
        if first != told {
            let tx = ledger.bank.tx(number as u64);
            audit.violated(format!("{tx}: was acknowledged as {first:?}, and submitted again as {told:?}"));
        }
    }
}
