//! The choice of the transactions that matter, and their order.

use super::Shown;
use super::story::{Story, Tx};
use super::view::{self, Wanted};

#[derive(Debug)]
pub(super) struct Choice {
    /// The transactions that the violations name; or, if they name none, those that were open when a rule was violated.
    pub named: Vec<usize>,
    /// The other transactions, those next in time to the violations first.
    others: Vec<usize>,
    titles: Vec<String>,
}

impl Choice {
    pub fn of(story: &Story<'_>, violations: &[Shown]) -> Choice {
        let mut named = Vec::new();
        for id in violations.iter().filter_map(|shown| shown.tx.as_deref()) {
            named.extend(story.find(id).filter(|at| !named.contains(at)));
        }
        if named.is_empty() {
            let open = |tx: &Tx<'_>| {
                let moments = violations.iter().filter_map(|shown| shown.at_us);
                moments.into_iter().any(|at_us| tx.first_us <= at_us && at_us <= tx.last_us)
            };
            named = (0..story.txs.len()).filter(|at| open(&story.txs[*at])).collect();
        }
        let moments: Vec<u64> = match named.is_empty() {
            true => violations.iter().filter_map(|shown| shown.at_us).collect(),
            false => named.iter().flat_map(|at| [story.txs[*at].first_us, story.txs[*at].last_us]).collect(),
        };
        let distance = |at: &usize| {
            let tx = &story.txs[*at];
            moments.iter().map(|us| tx.first_us.saturating_sub(*us) + us.saturating_sub(tx.last_us)).min()
        };
        let mut others: Vec<usize> = (0..story.txs.len()).filter(|at| !named.contains(at)).collect();
        others.sort_by_key(|at| (distance(at), *at));
        Choice { named, others, titles: story.txs.iter().map(|tx| tx.id.to_owned()).collect() }
    }

    /// Returns all transactions, those that matter most first.
    pub fn order(&self) -> impl Iterator<Item = usize> {
        self.named.iter().chain(&self.others).copied()
    }

    /// Drawn first, and seen first.
    pub fn first_view(&self) -> Wanted {
        match self.named.len() {
            0 => self.all(),
            1 => self.one(self.named[0], true),
            _ => {
                let title = "what the violations name".to_owned();
                Wanted { name: view::NAMED.to_owned(), title, txs: self.named.clone(), with_others: true }
            }
        }
    }

    /// The others, the most useful first.
    pub fn other_views(&self) -> Vec<Wanted> {
        let faults = Wanted {
            name: view::FAULTS.to_owned(),
            title: "faults only".to_owned(),
            txs: Vec::new(),
            with_others: false,
        };
        let mut views = vec![faults];
        if self.named.len() > 1 {
            views.extend(self.named.iter().map(|at| self.one(*at, false)));
        }
        if !self.named.is_empty() {
            views.push(self.all());
        }
        views.extend(self.others.iter().map(|at| self.one(*at, false)));
        views
    }

    fn all(&self) -> Wanted {
        let (name, title) = (view::ALL.to_owned(), "all transactions".to_owned());
        Wanted { name, title, txs: self.order().collect(), with_others: false }
    }

    fn one(&self, at: usize, with_others: bool) -> Wanted {
        Wanted { name: format!("t{at}"), title: self.titles[at].clone(), txs: vec![at], with_others }
    }
}
