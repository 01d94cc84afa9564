//! The steps of a workload on its accounts, free of any wire format. Money is in whole cents.
//!
//! An operation is what a customer asks for; it takes one transaction, or two where the second depends on what the first
//! one read. What one transaction does is a step: small, because a ledger keeps every one of them.

use crate::workload::smallbank::FollowUp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Never below 0.
    Savings,
    /// May be overdrawn, by checks.
    Checking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    pub customer: u32,
    pub kind: Kind,
}

impl Account {
    pub fn savings(customer: u32) -> Self {
        Account { customer, kind: Kind::Savings }
    }

    pub fn checking(customer: u32) -> Self {
        Account { customer, kind: Kind::Checking }
    }

    /// Returns the balance below which no transaction may leave it.
    pub fn floor(self) -> Option<i64> {
        match self.kind {
            Kind::Savings => Some(0),
            Kind::Checking => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    /// Adds, whatever the balance is. What is added may be negative.
    Add(i64),
    /// Takes away; refused where less than 0 would be left.
    Withdraw(i64),
    /// Refused unless the balance is still what was read.
    Replace {
        read: i64,
        new: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub account: Account,
    pub action: Action,
}

impl Access {
    /// Returns by how much the balance changes if it commits. `None` for a read: it leaves no trace.
    pub fn delta(&self) -> Option<i64> {
        match self.action {
            Action::Read => None,
            Action::Add(amount) => Some(amount),
            Action::Withdraw(amount) => Some(-amount),
            Action::Replace { read, new } => Some(new - read),
        }
    }
}

/// The operations of one transaction, in this order; no account twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(Box<[Access]>);

impl Step {
    pub fn new(accesses: impl IntoIterator<Item = (Account, Action)>) -> Self {
        Step(accesses.into_iter().map(|(account, action)| Access { account, action }).collect())
    }

    pub fn accesses(&self) -> &[Access] {
        &self.0
    }

    /// Returns every account that it writes, and by how much.
    pub fn deltas(&self) -> impl Iterator<Item = (Account, i64)> {
        self.0.iter().filter_map(|access| access.delta().map(|delta| (access.account, delta)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its type, as reports name it.
    pub name: &'static str,
    pub step: Step,
    /// The step that follows from the balances that it read.
    pub then: Option<FollowUp>,
}
