//! The promises that every run has to keep: one file per promise, each a pure function of the [`Run`].
//!
//! Each rule says in its file what excuses it, and why. What may excuse at all: a lying disk that destroyed
//! acknowledged records ([`Finals::excused`](crate::run::Finals)), an operator who decided alone and whose damage is
//! reported (R3), a coordinator that is gone on purpose (P8), a retention that has passed.

pub mod atomicity;
pub mod choice;
pub mod choreography;
pub mod conservation;
pub mod durability;
pub mod events;
mod facts;
pub mod families;
#[cfg(test)]
mod fixture;
pub mod impostors;
pub mod inbox;
pub mod isolation;
pub mod losses;
pub mod operators;
pub mod orphans;
pub mod reads;
pub mod real_time;
pub mod recovery;
pub mod services;
pub mod sizes;
pub mod stability;
pub mod standing;
mod subscriptions;
pub mod termination;

use crate::run::Run;
use std::fmt;

/// A rule that a run has broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `checker.rule`.
    pub rule: &'static str,
    /// The explanation for people: who, where, which values.
    pub what: String,
    pub tx: Option<String>,
    pub at_us: Option<u64>,
}

pub type Checker = fn(&Run) -> Vec<Violation>;

/// The checkers by name; every rule starts with the name of its checker.
pub const CHECKERS: [(&str, Checker); 20] = [
    ("atomicity", atomicity::check),
    ("stability", stability::check),
    ("durability", durability::check),
    ("orphans", orphans::check),
    ("termination", termination::check),
    ("conservation", conservation::check),
    ("recovery", recovery::check),
    ("isolation", isolation::check),
    ("real-time", real_time::check),
    ("operators", operators::check),
    ("choice", choice::check),
    ("reads", reads::check),
    ("sizes", sizes::check),
    ("standing", standing::check),
    ("impostors", impostors::check),
    ("services", services::check),
    ("families", families::check),
    ("events", events::check),
    ("inbox", inbox::check),
    ("choreography", choreography::check),
];

pub fn check_all(run: &Run) -> Vec<Violation> {
    CHECKERS.iter().flat_map(|(_, check)| check(run)).collect()
}

impl Violation {
    fn new(rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { rule, what: what.into(), tx: None, at_us: None }
    }

    fn of(rule: &'static str, tx: &str, what: impl Into<String>) -> Violation {
        Violation { tx: Some(tx.to_owned()), ..Violation::new(rule, what) }
    }

    fn at(self, us: u64) -> Violation {
        Violation { at_us: Some(us), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)?;
        match self.at_us {
            Some(us) => write!(f, " (at {}.{:03} ms)", us / 1_000, us % 1_000),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixture::{healthy, rules};

    #[test]
    fn a_healthy_run_keeps_every_promise() {
        assert_eq!(check_all(&healthy()), []);
    }

    #[test]
    fn what_is_broken_is_said_by_a_rule_of_the_checker_that_found_it() {
        let mut run = healthy();
        run.finals.participants.get_mut(&1).unwrap().marks.clear();
        run.finals.probe = None;
        run.finals.failures.push("p1 panicked".into());
        for (name, check) in CHECKERS {
            assert!(rules(check, &run).iter().all(|rule| rule.starts_with(&format!("{name}."))), "{name}");
        }
        let names: Vec<&str> = check_all(&run).iter().filter_map(|broken| broken.rule.split('.').next()).collect();
        assert!(
            ["atomicity", "durability", "orphans", "recovery"].iter().all(|name| names.contains(name)),
            "{names:?}"
        );
    }

    #[test]
    fn a_violation_reads_as_one_line() {
        let broken = Violation::of("atomicity.partial", "t1", "t1 is at p1 and not at p2").at(1_234_567);
        assert_eq!(broken.to_string(), "atomicity.partial: t1 is at p1 and not at p2 (at 1234.567 ms)");
    }
}
