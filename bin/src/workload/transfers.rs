//! Random transfers: one account pays, others at other participants get it. The sum of all accounts stays as it is.

use crate::workload::hot_customers::{Customers, below};
use crate::workload::step::{Account, Action, Operation, Step};
use std::collections::BTreeMap;
use undoubt_platform::SeededRandom;

const OPENING_CENTS: i64 = 1_000;
/// The most that one of those who are paid gets; at least 1.
const MAX_AMOUNT_CENTS: u32 = 100;

/// Transfers between savings accounts, each at `branches` participants; with one branch, between two accounts of one
/// participant. Customer `c` banks with participant `c` modulo their number.
#[derive(Debug)]
pub struct Transfers {
    customers: Customers,
    participants: u32,
    branches: u32,
    random: SeededRandom,
}

impl Transfers {
    /// `branches` is 1 to `participants`, and each participant has at least two customers;
    /// [`crate::workload::Load::check`] sees to it.
    pub fn new(customers: Customers, participants: u32, branches: u32, seed: u64) -> Self {
        Transfers { customers, participants, branches, random: SeededRandom::new(seed) }
    }

    /// Returns what is in each account at first.
    pub fn opening(&self) -> BTreeMap<Account, i64> {
        self.customers.all().map(|customer| (Account::savings(customer), OPENING_CENTS)).collect()
    }

    pub fn draw(&self) -> Operation {
        let payer = self.customers.draw(&self.random);
        let paid: Vec<(u32, i64)> = self
            .payees(payer)
            .into_iter()
            .map(|payee| (payee, 1 + i64::from(below(MAX_AMOUNT_CENTS, &self.random))))
            .collect();
        let total = paid.iter().map(|(_, amount)| amount).sum();
        let payees = paid.into_iter().map(|(payee, amount)| (Account::savings(payee), Action::Add(amount)));
        let step = Step::new([(Account::savings(payer), Action::Withdraw(total))].into_iter().chain(payees));
        Operation { name: "transfer", step, then: None }
    }

    fn payees(&self, payer: u32) -> Vec<u32> {
        let home = payer % self.participants;
        if self.branches == 1 {
            let payee = self.draw_at(home);
            return vec![if payee != payer { payee } else { self.neighbour(payer) }];
        }
        let mut others: Vec<u32> = (0..self.participants).filter(|other| *other != home).collect();
        (1..self.branches)
            .map(|_| {
                let chosen = below(u32::try_from(others.len()).unwrap_or(u32::MAX), &self.random);
                self.draw_at(others.swap_remove(chosen as usize))
            })
            .collect()
    }

    /// A customer of that participant: the nearest to whom the demand falls on.
    fn draw_at(&self, participant: u32) -> u32 {
        let near = self.customers.draw(&self.random);
        let customer = near - near % self.participants + participant;
        if customer < self.customers.count() { customer } else { customer - self.participants }
    }

    fn neighbour(&self, customer: u32) -> u32 {
        customer.checked_sub(self.participants).unwrap_or(customer + self.participants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::hot_customers::Hot;
    use std::collections::BTreeSet;

    fn draw(customers: u32, participants: u32, branches: u32, hot: Hot) -> Vec<Operation> {
        let transfers = Transfers::new(Customers::new(customers, hot), participants, branches, 7);
        (0..1_000).map(|_| transfers.draw()).collect()
    }

    #[test]
    fn every_transfer_has_as_many_branches_as_asked_and_moves_nothing_in_sum() {
        for (customers, participants, branches) in [(4, 2, 2), (100, 5, 3), (11, 5, 5), (4, 2, 1), (2, 1, 1)] {
            for hot in [Hot::default(), Hot { customers: 1, percent: 100 }] {
                for operation in draw(customers, participants, branches, hot) {
                    let accounts: BTreeSet<Account> = operation.step.deltas().map(|(account, _)| account).collect();
                    let homes: BTreeSet<u32> = accounts.iter().map(|account| account.customer % participants).collect();
                    assert_eq!(homes.len(), branches as usize, "{operation:?}");
                    assert_eq!(accounts.len(), branches.max(2) as usize, "{operation:?}");
                    assert!(accounts.iter().all(|account| account.customer < customers), "{operation:?}");
                    assert_eq!(operation.step.deltas().map(|(_, delta)| delta).sum::<i64>(), 0);
                }
            }
        }
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(draw(50, 3, 2, Hot::default()), draw(50, 3, 2, Hot::default()));
    }
}
