//! The report of an exploration.

use crate::cells::Cells;
use crate::scenario::Budget;
use crate::words::StepWords;
use std::fmt;
use std::time::Duration;

/// Bounds of one exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Worlds beyond it are not looked at; the report says so.
    pub max_states: usize,
    /// Worlds that differ only in the names of interchangeable participants are one. Without it each is looked at, and
    /// how many there are up to renaming is counted.
    pub symmetry: bool,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub scenario: &'static str,
    pub budget: Budget,
    pub states: usize,
    /// States, up to renaming.
    pub orbits: usize,
    /// The number of ways in which participants can be renamed.
    pub renamings: usize,
    pub transitions: usize,
    /// Steps of the longest history without a detour.
    pub depth: usize,
    /// True if nothing was left out.
    pub complete: bool,
    pub elapsed: Duration,
    /// The faults that struck, by states.
    pub cells: Cells,
    pub violation: Option<Trace>,
}

/// A history that breaks a rule, and none is shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub steps: Vec<StepWords>,
    pub broken: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { scenario, budget, states, renamings, transitions, depth, .. } = self;
        let complete = if self.complete { "" } else { " (cut)" };
        let elapsed = self.elapsed.as_secs_f64();
        write!(
            f,
            "{scenario:<12} {budget:<12} {states:>9} states{complete} {transitions:>10} steps  depth {depth:>3}  \
             {elapsed:>6.2} s",
        )?;
        if *renamings > 1 {
            write!(f, "  {renamings} names")?;
        }
        if self.orbits != *states {
            write!(f, " ({} up to renaming)", self.orbits)?;
        }
        match &self.violation {
            Some(trace) => write!(f, "\n{trace}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, StepWords { who, what, then }) in (1..).zip(&self.steps) {
            writeln!(f, "{number:>4}. {who:<11}  {what}")?;
            for effect in then {
                writeln!(f, "{:>20}-> {effect}", "")?;
            }
        }
        write!(f, "  => {}", self.broken)
    }
}
