//! The SmallBank benchmark: Alomari, Cahill, Fekete, Röhm, "The Cost of Serializability on Platforms That Use Snapshot
//! Isolation", ICDE 2008; mix, amounts and opening balances are those of H-Store and OLTP-Bench, in cents for dollars.
//!
//! Every customer has a savings and a checking account. A transaction here is submitted whole, so types that compute with
//! what they read (Amalgamate, WriteCheck) read in one transaction and write in a second one, which is refused if what
//! was read has changed. WriteCheck replaces the savings balance by itself: else two of them could overdraw together,
//! which is the anomaly the benchmark is known for.

use crate::workload::hot_customers::Customers;
use crate::workload::step::{Account, Action, Operation, Step};
use std::collections::BTreeMap;
use undoubt_platform::{Random, SeededRandom};

const DEPOSIT_CENTS: i64 = 130;
const PAYMENT_CENTS: i64 = 500;
const CHECK_CENTS: i64 = 500;
/// The penalty for a check that is not covered.
const PENALTY_CENTS: i64 = 100;
/// Put in or taken out, one as often as the other: the paper allows both.
const SAVINGS_CENTS: i64 = 2_020;
const MIN_OPENING_CENTS: i64 = 10_000;
const MAX_OPENING_CENTS: i64 = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Amalgamate,
    Balance,
    DepositChecking,
    SendPayment,
    TransactSavings,
    WriteCheck,
}

/// Percent; 100 in all.
const MIX: [(Type, u64); 6] = [
    (Type::Amalgamate, 15),
    (Type::Balance, 15),
    (Type::DepositChecking, 15),
    (Type::SendPayment, 25),
    (Type::TransactSavings, 15),
    (Type::WriteCheck, 15),
];

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Type::Amalgamate => "amalgamate",
            Type::Balance => "balance",
            Type::DepositChecking => "deposit-checking",
            Type::SendPayment => "send-payment",
            Type::TransactSavings => "transact-savings",
            Type::WriteCheck => "write-check",
        }
    }
}

/// The step that depends on the balances read. Both kinds read savings, then checking, of one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// The whole money of one customer goes to another's checking account.
    Amalgamate {
        from: u32,
        to: u32,
    },
    WriteCheck {
        customer: u32,
    },
}

impl FollowUp {
    pub fn step(self, savings: i64, checking: i64) -> Step {
        match self {
            FollowUp::Amalgamate { from, to } => Step::new([
                (Account::savings(from), Action::Replace { read: savings, new: 0 }),
                (Account::checking(from), Action::Replace { read: checking, new: 0 }),
                (Account::checking(to), Action::Add(savings.saturating_add(checking))),
            ]),
            FollowUp::WriteCheck { customer } => {
                let covered = savings.saturating_add(checking) >= CHECK_CENTS;
                let taken = if covered { CHECK_CENTS } else { CHECK_CENTS + PENALTY_CENTS };
                let new = checking.saturating_sub(taken);
                Step::new([
                    (Account::savings(customer), Action::Replace { read: savings, new: savings }),
                    (Account::checking(customer), Action::Replace { read: checking, new }),
                ])
            }
        }
    }
}

/// The operations that customers ask for, one after the other; the same for the same seed.
#[derive(Debug)]
pub struct SmallBank {
    customers: Customers,
    random: SeededRandom,
}

impl SmallBank {
    pub fn new(customers: Customers, seed: u64) -> Self {
        SmallBank { customers, random: SeededRandom::new(seed) }
    }

    /// Returns what is in each account at first.
    pub fn opening(&self) -> BTreeMap<Account, i64> {
        let span = MAX_OPENING_CENTS.abs_diff(MIN_OPENING_CENTS) + 1;
        let accounts = self.customers.all().flat_map(|c| [Account::savings(c), Account::checking(c)]);
        accounts.map(|account| (account, MIN_OPENING_CENTS.saturating_add_unsigned(self.random.below(span)))).collect()
    }

    pub fn draw(&self) -> Operation {
        let drawn = self.draw_type();
        let customer = self.customers.draw(&self.random);
        let read =
            || Step::new([(Account::savings(customer), Action::Read), (Account::checking(customer), Action::Read)]);
        let (step, then) = match drawn {
            Type::Balance => (read(), None),
            Type::DepositChecking => (Step::new([(Account::checking(customer), Action::Add(DEPOSIT_CENTS))]), None),
            Type::TransactSavings => {
                let deposit = self.random.below(2) == 0;
                let action = if deposit { Action::Add(SAVINGS_CENTS) } else { Action::Withdraw(SAVINGS_CENTS) };
                (Step::new([(Account::savings(customer), action)]), None)
            }
            Type::SendPayment => {
                let to = self.customers.draw_other(customer, &self.random);
                let step = Step::new([
                    (Account::checking(customer), Action::Withdraw(PAYMENT_CENTS)),
                    (Account::checking(to), Action::Add(PAYMENT_CENTS)),
                ]);
                (step, None)
            }
            Type::Amalgamate => {
                let to = self.customers.draw_other(customer, &self.random);
                (read(), Some(FollowUp::Amalgamate { from: customer, to }))
            }
            Type::WriteCheck => (read(), Some(FollowUp::WriteCheck { customer })),
        };
        Operation { name: drawn.as_str(), step, then }
    }

    fn draw_type(&self) -> Type {
        let mut drawn = self.random.below(MIX.iter().map(|(_, percent)| percent).sum());
        for (r#type, percent) in MIX {
            match drawn.checked_sub(percent) {
                Some(rest) => drawn = rest,
                None => return r#type,
            }
        }
        unreachable!("what is drawn is below the sum of all shares")
    }
}

#[cfg(test)]
mod tests;
