//! The findings of a benchmark: named figures, some with a goal.

use serde::Serialize;

/// The value that a figure has to reach: a ratio to what was measured beside it, or bytes, so that no goal depends on how fast a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// One figure. As a line of JSON the names of the fields are stable.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Parts from the general to the particular, like `2pc/participants=2/rate`.
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// The lowest and the highest of the rounds that `value` is the median of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<(f64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// The note to a finding.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Finding {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Finding {
        Finding { name: name.into(), value, unit, spread: None, goal: None, met: None, note: String::new() }
    }

    /// Returns the median of several rounds as a finding.
    ///
    /// # Panics
    /// Without any round.
    pub fn of_rounds(name: impl Into<String>, mut rounds: Vec<f64>, unit: &'static str) -> Finding {
        assert!(!rounds.is_empty(), "a median needs a round");
        rounds.sort_by(f64::total_cmp);
        let spread = Some((rounds[0], rounds[rounds.len() - 1]));
        Finding { spread, ..Finding::new(name, median(&rounds), unit) }
    }

    #[must_use]
    pub fn goal(self, goal: Goal) -> Finding {
        let met = match goal {
            Goal::AtLeast(least) => self.value >= least,
            Goal::AtMost(most) => self.value <= most,
        };
        Finding { goal: Some(goal), met: Some(met), ..self }
    }

    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Finding {
        Finding { note: note.into(), ..self }
    }
}

/// Returns the median of sorted values.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_rounds_is_kept_with_the_lowest_and_the_highest() {
        let finding = Finding::of_rounds("a", vec![3.0, 1.0, 2.0], "x");
        assert_eq!((finding.value, finding.spread), (2.0, Some((1.0, 3.0))));
        assert_eq!(Finding::of_rounds("a", vec![4.0, 1.0], "x").value, 2.5);
    }

    #[test]
    fn a_goal_is_met_or_missed() {
        let met = |value, goal| Finding::new("a", value, "x").goal(goal).met;
        assert_eq!(met(2.0, Goal::AtLeast(2.0)), Some(true));
        assert_eq!(met(1.9, Goal::AtLeast(2.0)), Some(false));
        assert_eq!(met(2.1, Goal::AtMost(2.0)), Some(false));
    }
}
