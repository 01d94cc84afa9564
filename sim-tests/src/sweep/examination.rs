//! One plan: run, and looked at by all checkers.

use super::panics;
use crate::check::{Violation, check_all};
use crate::picture::Shown;
use crate::plan::Plan;
use crate::run::Run;
use crate::world::simulate;
use serde::Serialize;
use std::fmt;

/// The rule that a run breaks that came to no end, because something in it panicked.
pub const PANIC: &str = "panic";

/// A plan's run, and what it broke.
#[derive(Clone, Debug)]
pub struct Examined {
    /// `None` if it panicked.
    pub run: Option<Run>,
    pub broken: Vec<Broken>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub rule: String,
    pub what: String,
    pub tx: Option<String>,
    pub at_us: Option<u64>,
}

/// Runs the plan. A panic inside is a violation like others.
pub fn examine(plan: &Plan) -> Examined {
    let done = panics::caught(|| {
        let run = simulate(plan);
        let broken = check_all(&run).into_iter().map(Broken::from).collect();
        Examined { run: Some(run), broken }
    });
    done.unwrap_or_else(|what| {
        let broken = Broken { rule: PANIC.to_owned(), what, tx: None, at_us: None };
        Examined { run: None, broken: vec![broken] }
    })
}

/// Returns, for shrinking, `rule`, if the plan breaks it, or else what it breaks first.
pub fn breaks(plan: &Plan, rule: &str) -> Option<String> {
    let Examined { broken, .. } = examine(plan);
    let same = broken.iter().find(|broken| broken.rule == rule);
    same.or(broken.first()).map(|broken| broken.rule.clone())
}

impl From<Violation> for Broken {
    fn from(Violation { rule, what, tx, at_us }: Violation) -> Broken {
        Broken { rule: rule.to_owned(), what, tx, at_us }
    }
}

impl From<&Broken> for Shown {
    fn from(broken: &Broken) -> Shown {
        let Broken { rule, what, tx, at_us } = broken.clone();
        Shown { rule, what, tx, at_us }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)?;
        match self.at_us {
            Some(us) => write!(f, " (at {}.{:03} s)", us / 1_000_000, us / 1_000 % 1_000),
            None => Ok(()),
        }
    }
}
