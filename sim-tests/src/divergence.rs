//! The divergence of two runs of one plan: the first event that differs tells what leaked into the simulation.

use serde_json::Value;
use std::fmt;

/// Lines before the first difference that are shown, since what leaked in did so earlier.
const CONTEXT: usize = 5;

/// The first difference between two runs' events in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Counted from 1.
    pub line: usize,
    /// Simulated time of the last event before it that has one.
    pub at_us: u64,
    /// `None` where one of them ends.
    pub one: Option<String>,
    pub other: Option<String>,
    /// The events of both just before.
    pub before: Vec<String>,
}

/// The first line in which they differ, if they do.
pub fn first_divergence(one: &[String], other: &[String]) -> Option<Divergence> {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    if same == one.len() && same == other.len() {
        return None;
    }
    let differing = [one.get(same), other.get(same)];
    let at_us = differing.into_iter().flatten().chain(one[..same].iter().rev()).find_map(|line| time_of(line));
    Some(Divergence {
        line: same + 1,
        at_us: at_us.unwrap_or_default(),
        one: one.get(same).cloned(),
        other: other.get(same).cloned(),
        before: one[same.saturating_sub(CONTEXT)..same].to_vec(),
    })
}

/// Entries of the trace have their time; what libraries tell happens at the time of the last one.
fn time_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?.get("at_us")?.as_u64()
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "they part in line {}, at about {} us of simulated time", self.line, self.at_us)?;
        for line in &self.before {
            writeln!(f, "  both: {line}")?;
        }
        writeln!(f, "  one:   {}", self.one.as_deref().unwrap_or("has ended"))?;
        write!(f, "  other: {}", self.other.as_deref().unwrap_or("has ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    const EARLY: &str = r#"{"at_us":5,"host":"p1","event":"started"}"#;
    const LATE: &str = r#"{"at_us":9,"host":"p1","event":"serving"}"#;

    #[test]
    fn what_is_the_same_does_not_part() {
        assert_eq!(first_divergence(&[], &[]), None);
        assert_eq!(first_divergence(&lines(&[EARLY, "a"]), &lines(&[EARLY, "a"])), None);
    }

    #[test]
    fn the_first_difference_is_shown_with_its_time_and_what_came_before() {
        let found = first_divergence(&lines(&[EARLY, "a", "b", LATE]), &lines(&[EARLY, "a", "c"])).unwrap();
        assert_eq!((found.line, found.at_us), (3, 5));
        assert_eq!((found.one.as_deref(), found.other.as_deref()), (Some("b"), Some("c")));
        assert_eq!(found.before, lines(&[EARLY, "a"]));
        assert!(found.to_string().contains("line 3"), "{found}");
    }

    #[test]
    fn an_end_that_comes_too_early_is_a_difference() {
        let found = first_divergence(&lines(&[EARLY]), &lines(&[EARLY, LATE])).unwrap();
        assert_eq!((found.line, found.at_us, found.one), (2, 9, None));
    }
}
