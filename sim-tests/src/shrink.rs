//! The way from a plan that breaks a rule to a small one that still breaks it.
//!
//! Plans are made smaller in every way they have, and whatever still breaks the same rule is kept: fewer faults, clients,
//! transactions, participants and keys; no peculiar servers; less time until the healing; faults that wait for less and
//! are shorter. This goes on until nothing helps any more, or until the runs that were granted are used up.

mod reductions;
#[cfg(test)]
mod tests;

use crate::plan::Plan;
use reductions::{LENGTHS, PLAIN, SIZES, Size, count_of, fitting, lasting, set_count, whatever_is_under_way};

/// Runs granted where nobody says otherwise; about half a minute.
pub const DEFAULT_MAX_RUNS: usize = 250;

/// The smallest that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    pub plan: Plan,
    /// The number of plans that were tried.
    pub runs: usize,
    /// True if nothing that is left out of it lets it break the rule still; otherwise the runs were used up before.
    pub minimal: bool,
}

/// `oracle` tells which rule a plan breaks, if any. The plan itself is taken to break `rule`.
pub fn shrink(plan: &Plan, rule: &str, max_runs: usize, mut oracle: impl FnMut(&Plan) -> Option<String>) -> Shrunk {
    let mut breaks = |plan: &Plan| oracle(plan).as_deref() == Some(rule);
    let mut shrinker = Shrinker { best: plan.clone(), runs: 0, max_runs, out_of_runs: false, breaks: &mut breaks };
    loop {
        let before = shrinker.best.clone();
        shrinker.fewer_faults();
        PLAIN.iter().for_each(|plainer| shrinker.plainer(plainer));
        SIZES.iter().for_each(|size| shrinker.smaller(size));
        shrinker.simpler_points();
        shrinker.shorter_faults();
        LENGTHS.iter().for_each(|size| shrinker.smaller(size));
        if shrinker.out_of_runs || shrinker.best == before {
            return Shrunk { minimal: !shrinker.out_of_runs, plan: shrinker.best, runs: shrinker.runs };
        }
    }
}

struct Shrinker<'a> {
    best: Plan,
    runs: usize,
    max_runs: usize,
    /// True if something was not tried for want of runs.
    out_of_runs: bool,
    breaks: &'a mut dyn FnMut(&Plan) -> bool,
}

impl Shrinker<'_> {
    /// Takes the candidate if it breaks the rule as well.
    fn attempt(&mut self, candidate: Plan) -> bool {
        let candidate = fitting(candidate);
        if candidate == self.best {
            return false;
        }
        if self.runs == self.max_runs {
            self.out_of_runs = true;
            return false;
        }
        self.runs += 1;
        let breaks = (self.breaks)(&candidate);
        if breaks {
            self.best = candidate;
        }
        breaks
    }

    /// Leaves out ever smaller pieces (Zeller's ddmin): all, halves, quarters, and at last every single one.
    fn fewer_faults(&mut self) {
        let mut piece = self.best.faults.len();
        while piece > 0 {
            let mut at = 0;
            while at < self.best.faults.len() {
                let mut fewer = self.best.clone();
                fewer.faults.drain(at..(at + piece).min(fewer.faults.len()));
                if !self.attempt(fewer) {
                    at += piece;
                }
            }
            piece /= 2;
        }
    }

    fn plainer(&mut self, plainer: &fn(&mut Plan)) {
        let mut plain = self.best.clone();
        plainer(&mut plain);
        self.attempt(plain);
    }

    fn simpler_points(&mut self) {
        for index in 0..self.best.faults.len() {
            if let Some(simpler) = self.best.faults.get(index).and_then(whatever_is_under_way) {
                let mut plan = self.best.clone();
                plan.faults[index] = simpler;
                self.attempt(plan);
            }
            if let Some(now) = self.best.faults.get(index).and_then(count_of) {
                self.halve(now, 1, 1, &|plan, count| set_count(&mut plan.faults[index], count));
            }
        }
    }

    fn shorter_faults(&mut self) {
        for index in 0..self.best.faults.len() {
            let get = |plan: &Plan| plan.faults.get(index).and_then(|fault| fault.what.lasts_ms());
            if let Some(now) = get(&self.best) {
                self.halve(now, 10, 50, &|plan, ms| {
                    let what = &mut plan.faults[index].what;
                    *what = lasting(what.clone(), ms);
                });
            }
        }
    }

    fn smaller(&mut self, size: &Size) {
        self.halve((size.get)(&self.best), size.least, size.grain, &size.set);
    }

    /// The least value at once, or else by halving what is between one that breaks the rule and one that does not.
    fn halve(&mut self, mut now: u64, least: u64, grain: u64, set: &dyn Fn(&mut Plan, u64)) {
        if now <= least {
            return;
        }
        let mut too_small = least;
        let mut attempt = |value: u64| {
            let mut smaller = self.best.clone();
            set(&mut smaller, value);
            self.attempt(smaller)
        };
        if attempt(least) {
            return;
        }
        while now - too_small > grain {
            let middle = too_small + ((now - too_small) / 2).next_multiple_of(grain);
            if attempt(middle) {
                now = middle;
            } else {
                too_small = middle;
            }
        }
    }
}
