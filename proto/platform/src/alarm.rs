//! Alarms: what somebody has to look after, told when it begins, again with growing pauses while it lasts, and when it is over.
//!
//! An engine says at times which [`Condition`]s hold ([`Alarms::look`]); what is to be told of them goes to the log and, if there is one, to a
//! webhook ([`Bell`]). There is one condition for each kind and subject, however many transactions it concerns, so that neither
//! log nor webhook is flooded.

pub(crate) mod bell;
mod config;

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_vocabulary::Timestamp;

pub use bell::{Bell, Ringing};
pub use config::{AlarmConfig, BadAlarmUrl};

/// The pause before a condition that lasts is told again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

/// Something that does not mend itself, or has lasted too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The kind, for programs: `stuck`, `away`.
    pub kind: &'static str,
    /// The participant that it is about; empty where it is about the server.
    pub about: String,
    /// The number of transactions or branches that it concerns.
    pub number: usize,
    /// The oldest of them, if there is one.
    pub oldest: String,
    pub since: Timestamp,
    /// What is the matter, and what to do.
    pub text: String,
}

/// Something to tell about a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Begins(Condition),
    Lasts(Condition),
    Ends(Condition),
}

/// The conditions that hold.
#[derive(Debug, Default)]
pub struct Alarms(BTreeMap<(&'static str, String), Held>);

#[derive(Debug)]
struct Held {
    condition: Condition,
    again_at: Instant,
    pause: Duration,
}

impl Alarms {
    /// Takes the conditions that hold now, all of them, and returns what is to be told.
    pub fn look(&mut self, now: Instant, conditions: Vec<Condition>) -> Vec<Told> {
        let mut told = Vec::new();
        let mut before = std::mem::take(&mut self.0);
        for condition in conditions {
            let key = (condition.kind, condition.about.clone());
            let held = match before.remove(&key) {
                None => {
                    told.push(Told::Begins(condition.clone()));
                    Held { condition, again_at: now + FIRST_PAUSE, pause: FIRST_PAUSE }
                }
                Some(Held { again_at, pause, .. }) if again_at <= now => {
                    told.push(Told::Lasts(condition.clone()));
                    let pause = (pause * 2).min(MAX_PAUSE);
                    Held { condition, again_at: now + pause, pause }
                }
                Some(held) => Held { condition, ..held },
            };
            self.0.insert(key, held);
        }
        told.extend(before.into_values().map(|over| Told::Ends(over.condition)));
        told
    }
}

impl Told {
    pub fn condition(&self) -> &Condition {
        match self {
            Told::Begins(condition) | Told::Lasts(condition) | Told::Ends(condition) => condition,
        }
    }

    /// Returns the label, for programs.
    pub fn label(&self) -> &'static str {
        match self {
            Told::Begins(_) => "begins",
            Told::Lasts(_) => "lasts",
            Told::Ends(_) => "ends",
        }
    }

    /// Writes it to the log.
    pub fn log(&self) {
        let Condition { kind, about, number, oldest, since, text } = self.condition();
        match self {
            Told::Begins(_) | Told::Lasts(_) => {
                tracing::warn!(alarm = kind, state = self.label(), about, number, oldest, %since, "{text}");
            }
            Told::Ends(_) => tracing::info!(alarm = kind, state = "ends", about, "it is over: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(about: &str, number: usize) -> Condition {
        let (about, oldest, text) = (about.to_owned(), "t".to_owned(), "start it".to_owned());
        Condition { kind: "away", about, number, oldest, since: Timestamp(1), text }
    }

    #[test]
    fn a_condition_is_told_when_it_begins_with_growing_pauses_while_it_lasts_and_when_it_ends() {
        let (mut alarms, begun) = (Alarms::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..=10_000 {
            let now = begun + Duration::from_secs(second);
            told.extend(alarms.look(now, vec![condition("a", 1)]).into_iter().map(|told| (second, told.label())));
        }
        let lasts = [60, 180, 420, 900, 1_860, 3_780, 7_380].map(|second| (second, "lasts"));
        assert_eq!(told, [&[(0, "begins")], &lasts[..]].concat());
        assert_eq!(alarms.look(begun, Vec::new()), [Told::Ends(condition("a", 1))]);
        assert_eq!(alarms.look(begun, Vec::new()), []);
    }

    #[test]
    fn each_subject_has_an_alarm_of_its_own_and_more_of_the_same_is_no_other() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        assert_eq!(alarms.look(now, vec![condition("a", 1)]).len(), 1);
        assert_eq!(alarms.look(now, vec![condition("a", 2), condition("b", 1)]), [Told::Begins(condition("b", 1))]);
        assert_eq!(alarms.look(now, vec![condition("b", 1)]), [Told::Ends(condition("a", 2))]);
    }
}
