//! The work at one participant in the language of what stands behind it: operations of a key-value store, or calls of the procedures
//! in `procedures.toml`, which the owner of a database declares for these loads.

use std::collections::BTreeMap;
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::work::Datum;
use undoubt_client::work::call::{Call, CallWork, MAX_CALLS};
use undoubt_client::{Results, Work};

/// The kind by which a key-value participant calls its resource.
const KEY_VALUE: &str = "kv";

/// The kinds of resources whose work is calls.
const DATABASES: [&str; 2] = ["mariadb", "postgresql"];

/// Keeps a batch of operations and its results well below a mebibyte.
const MAX_OPERATIONS_PER_BATCH: usize = 512;

/// The procedures that a participant in front of a database declares, and the tables that they need, as comments.
pub const PROCEDURES: &str = include_str!("procedures.toml");

/// The language of a participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    Operations,
    Calls,
}

impl Language {
    /// Returns the language of a kind of resource; `None` if these loads speak none that it understands.
    pub fn of(resource: &str) -> Option<Language> {
        match resource {
            KEY_VALUE => Some(Language::Operations),
            database if DATABASES.contains(&database) => Some(Language::Calls),
            _ => None,
        }
    }

    /// Returns how many accesses one batch may have.
    pub fn max_batch_accesses(self) -> usize {
        match self {
            Language::Operations => MAX_OPERATIONS_PER_BATCH,
            Language::Calls => MAX_CALLS,
        }
    }

    /// Returns work that does nothing yet.
    pub fn work(self) -> AccountWork {
        match self {
            Language::Operations => AccountWork::Operations(KvWork::new()),
            Language::Calls => AccountWork::Calls(CallWork::new()),
        }
    }
}

/// Work on accounts and markers: one operation or call for each access, in order.
#[derive(Clone, Debug)]
pub enum AccountWork {
    Operations(KvWork),
    Calls(CallWork),
}

impl AccountWork {
    /// Opens an account, or sets what is in it.
    pub fn open(self, account: String, balance: i64) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.put(account, balance.to_string())),
            Self::Calls(work) => Self::Calls(work.call(named("open", account).arg("balance", balance))),
        }
    }

    pub fn read(self, account: String) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.get(account)),
            Self::Calls(work) => Self::Calls(work.call(named("balance", account))),
        }
    }

    pub fn add(self, account: String, amount: i64) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.add(account, amount)),
            Self::Calls(work) => Self::Calls(work.call(named("add", account).arg("amount", amount))),
        }
    }

    /// Takes away what has to be there.
    pub fn withdraw(self, account: String, amount: i64) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.add(account, Add::of(-amount).floor(0))),
            Self::Calls(work) => Self::Calls(work.call(named("withdraw", account).arg("amount", amount))),
        }
    }

    /// Replaces a balance that has to be as it was read.
    pub fn replace(self, account: String, read: i64, new: i64) -> Self {
        match self {
            Self::Operations(work) => {
                let text = |balance: i64| Some(balance.to_string().into());
                Self::Operations(work.compare_and_set(account, text(read), text(new)))
            }
            Self::Calls(work) => Self::Calls(work.call(named("replace", account).arg("read", read).arg("new", new))),
        }
    }

    pub fn mark(self, marker: String) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.put(marker, "1")),
            Self::Calls(work) => Self::Calls(work.call(named("mark", marker))),
        }
    }

    pub fn unmark(self, marker: String) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.delete(marker)),
            Self::Calls(work) => Self::Calls(work.call(named("unmark", marker))),
        }
    }

    /// Reads a marker: 1, if it is there.
    pub fn marked(self, marker: String) -> Self {
        match self {
            Self::Operations(work) => Self::Operations(work.get(marker)),
            Self::Calls(work) => Self::Calls(work.call(named("marked", marker))),
        }
    }
}

impl From<AccountWork> for Work {
    fn from(work: AccountWork) -> Work {
        match work {
            AccountWork::Operations(work) => work.into(),
            AccountWork::Calls(work) => work.into(),
        }
    }
}

fn named(procedure: &str, name: String) -> Call {
    Call::new(procedure).arg("name", name)
}

/// Returns the number that each access came to, in order: `None` where there is none. `None` in all if these are no results of such work.
pub fn numbers(results: &Results) -> Option<Vec<Option<i64>>> {
    if let Some(calls) = results.calls() {
        let number = |datum: Option<&Datum>| match datum {
            Some(Datum::Integer(number)) => Some(*number),
            _ => None,
        };
        return Some(calls.iter().map(|call| number(call.rows.first().and_then(|row| row.first()))).collect());
    }
    let values = results.clone().into_bytes()?;
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok();
    Some(values.into_iter().map(|value| value.and_then(|value| number(&value))).collect())
}

/// The languages of participants, by their names; those that are not named speak operations.
pub type Languages = BTreeMap<String, Language>;

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_sql::{Dialect, Procedures};

    #[test]
    fn the_procedures_are_as_databases_take_them() {
        for dialect in [Dialect::PostgreSql, Dialect::MariaDb] {
            Procedures::read(PROCEDURES, dialect).unwrap();
        }
    }

    #[test]
    fn each_access_is_one_operation_or_one_call() {
        let all = |work: AccountWork| {
            let name = || "a".to_owned();
            let work = work.open(name(), 1).read(name()).add(name(), 1).withdraw(name(), 1).replace(name(), 1, 2);
            work.mark(name()).unmark(name()).marked(name())
        };
        let AccountWork::Calls(calls) = all(Language::Calls.work()) else { panic!("calls stay calls") };
        assert_eq!(calls.calls().len(), 8);
        let declared = Procedures::read(PROCEDURES, Dialect::PostgreSql).unwrap();
        assert!(calls.calls().iter().all(|call| declared.get(&call.procedure).is_some()));
        let AccountWork::Operations(operations) = all(Language::Operations.work()) else { panic!("they stay so") };
        assert_eq!(operations.operations().len(), 8);
    }
}
