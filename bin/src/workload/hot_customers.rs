//! The draw of customers: customers, of which some may be in demand more than others.

use undoubt_platform::{Random, SeededRandom};

/// A hot spot: the first `customers` get `percent` of the demand. None with 0 customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hot {
    pub customers: u32,
    pub percent: u8,
}

#[derive(Clone, Copy, Debug)]
pub struct Customers {
    count: u32,
    hot: Hot,
}

impl Customers {
    /// `count` is at least 2, and more than are hot; [`crate::workload::Load::check`] sees to it.
    pub fn new(count: u32, hot: Hot) -> Self {
        Customers { count, hot }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn all(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.count
    }

    pub fn draw(&self, random: &SeededRandom) -> u32 {
        let is_hot = self.hot.customers > 0 && random.below(100) < u64::from(self.hot.percent);
        let (first, end) = if is_hot { (0, self.hot.customers) } else { (self.hot.customers, self.count) };
        first + below(end - first, random)
    }

    /// Another than `customer`.
    pub fn draw_other(&self, customer: u32, random: &SeededRandom) -> u32 {
        let other = self.draw(random);
        if other == customer { (customer + 1) % self.count } else { other }
    }
}

pub fn below(bound: u32, random: &SeededRandom) -> u32 {
    u32::try_from(random.below(bound.into())).expect("what is below a u32 is one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_customers_get_their_share_and_the_others_the_rest() {
        let (customers, random) = (Customers::new(1_000, Hot { customers: 10, percent: 90 }), SeededRandom::new(1));
        let drawn: Vec<u32> = (0..10_000).map(|_| customers.draw(&random)).collect();
        let hot = drawn.iter().filter(|customer| **customer < 10).count();
        assert!((8_800..9_200).contains(&hot), "{hot}");
        assert!(drawn.iter().all(|customer| *customer < 1_000));
        assert!(drawn.iter().any(|customer| *customer > 900));
    }

    #[test]
    fn the_other_customer_is_never_the_same_however_few_are_hot() {
        let (customers, random) = (Customers::new(2, Hot { customers: 1, percent: 100 }), SeededRandom::new(1));
        assert!((0..100).all(|_| customers.draw_other(0, &random) == 1));
    }
}
