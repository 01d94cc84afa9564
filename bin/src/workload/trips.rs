//! Trips: a flight, a hotel and a car, each with few places, so that bookings are refused when something is sold out.
//!
//! Each kind has a participant of its own where there are as many. A place is one of a savings account's units, which
//! never falls below 0. Some trips are given back, so that bookings go on for ever.

use crate::workload::hot_customers::{Customers, below};
use crate::workload::step::{Account, Action, Operation, Step};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_platform::SeededRandom;

/// Places of each flight, hotel and car rental at first.
const PLACES: i64 = 20;
/// The percentage of trips that are given back.
const GIVEN_BACK_PERCENT: u32 = 45;
/// A flight, a hotel, a car.
const PARTS: u32 = 3;

/// Bookings. What customer `c` stands for is a flight, a hotel or a car rental, by `c` modulo the participants.
#[derive(Debug)]
pub struct Trips {
    offers: Customers,
    participants: u32,
    random: SeededRandom,
}

impl Trips {
    /// Each participant has at least two offers; [`crate::workload::Load::check`] sees to it.
    pub fn new(offers: Customers, participants: u32, seed: u64) -> Self {
        Trips { offers, participants, random: SeededRandom::new(seed) }
    }

    pub fn opening(&self) -> BTreeMap<Account, i64> {
        self.offers.all().map(|offer| (Account::savings(offer), PLACES)).collect()
    }

    pub fn draw(&self) -> Operation {
        let mut homes: Vec<u32> = (0..self.participants).collect();
        let mut offers = BTreeSet::new();
        for _ in 0..PARTS.min(self.participants) {
            let chosen = below(u32::try_from(homes.len()).unwrap_or(u32::MAX), &self.random);
            offers.insert(self.draw_at(homes.swap_remove(chosen as usize)));
        }
        let given_back = below(100, &self.random) < GIVEN_BACK_PERCENT;
        let (name, action) = if given_back { ("give-back", Action::Add(1)) } else { ("book", Action::Withdraw(1)) };
        Operation {
            name,
            step: Step::new(offers.into_iter().map(|offer| (Account::savings(offer), action))),
            then: None,
        }
    }

    /// An offer of that participant: the nearest to where the demand falls.
    fn draw_at(&self, participant: u32) -> u32 {
        let near = self.offers.draw(&self.random);
        let offer = near - near % self.participants + participant;
        if offer < self.offers.count() { offer } else { offer - self.participants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::hot_customers::Hot;

    #[test]
    fn a_trip_takes_one_place_each_at_different_participants() {
        let trips = Trips::new(Customers::new(30, Hot::default()), 3, 7);
        let drawn: Vec<Operation> = (0..1_000).map(|_| trips.draw()).collect();
        for operation in &drawn {
            let homes: BTreeSet<u32> = operation.step.deltas().map(|(account, _)| account.customer % 3).collect();
            assert_eq!(homes.len(), 3, "{operation:?}");
        }
        let booked = drawn.iter().filter(|operation| operation.name == "book").count();
        assert!((450..650).contains(&booked), "{booked}");
    }
}
