//! What an exploration came to.

use super::scenario::Budget;
use super::search::seconds;
use std::fmt;
use std::time::Duration;

/// Bounds of one exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Worlds beyond it are not looked at; the report says so.
    pub max_states: usize,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub scenario: &'static str,
    pub budget: Budget,
    pub states: usize,
    pub transitions: usize,
    /// Steps of the longest history without a detour.
    pub depth: usize,
    /// Nothing was left out.
    pub complete: bool,
    pub elapsed: Duration,
    pub violation: Option<Trace>,
}

/// A history that breaks a rule, and none is shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub steps: Vec<String>,
    pub broken: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { scenario, budget, states, transitions, depth, .. } = self;
        let complete = if self.complete { "" } else { " (cut)" };
        let elapsed = seconds(self.elapsed);
        write!(
            f,
            "{scenario:<10} {budget:<12} {states:>9} states{complete} {transitions:>10} steps  depth {depth:>3}  {elapsed:>6} s"
        )?;
        match &self.violation {
            Some(trace) => write!(f, "\n{trace}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:>4}. {step}")?;
        }
        write!(f, "   => {}", self.broken)
    }
}

impl fmt::Display for Budget {
    /// One letter a fault: crashes, losses, duplicates, disconnections, heuristic decisions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { crashes, losses, duplicates, disconnections, heuristics } = self;
        let named = [("c", crashes), ("l", losses), ("d", duplicates), ("n", disconnections), ("h", heuristics)];
        let shown: Vec<String> =
            named.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name}{count}")).collect();
        f.pad(&shown.join(" "))
    }
}
