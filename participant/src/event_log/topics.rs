//! The topics of a log, and what may be published to them.

use super::OpenError;
use crate::subscription::read_event;
use undoubt_proto::record::StoredEvent;
use undoubt_stream::declarations::{Beginning, Declarations, MAX_TOPICS};
use undoubt_stream::expiry::Timer;
use undoubt_stream::facts::{Facts, Unfit};
use undoubt_vocabulary::{CorrelationId, NewEvent, Refusal, RefusalCode, Timestamp, Topic, TxId};

/// The topics that a participant declares, and the types of events with which sagas begin that have a time limit.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    declared: Vec<Topic>,
    beginnings: Vec<Beginning>,
}

impl Topics {
    /// Returns these topics, each of which has a name of its own.
    pub fn of(declared: Vec<Topic>) -> Result<Topics, OpenError> {
        if declared.len() > MAX_TOPICS {
            return Err(OpenError::TooMany { count: declared.len() });
        }
        for (place, topic) in declared.iter().enumerate() {
            if declared[..place].iter().any(|other| other.name == topic.name) {
                return Err(OpenError::Twice { topic: topic.name.clone() });
            }
        }
        Ok(Topics { declared, beginnings: Vec::new() })
    }

    /// Returns those of a participant's declarations.
    pub fn declared(declarations: &Declarations) -> Result<Topics, OpenError> {
        let topics = declarations.topics.iter().map(|declared| declared.topic.clone()).collect();
        Ok(Topics::of(topics)?.with_beginnings(declarations.beginnings.clone()))
    }

    /// Has a timer stored with each event with which a saga begins that has a time limit.
    #[must_use]
    pub fn with_beginnings(self, beginnings: Vec<Beginning>) -> Topics {
        Topics { beginnings, ..self }
    }

    pub fn as_slice(&self) -> &[Topic] {
        &self.declared
    }

    /// Returns true if the keys of this topic are entities with versions.
    pub fn is_sourced(&self, topic: &str) -> bool {
        self.declared.iter().any(|declared| declared.sourced && declared.name.as_str() == topic)
    }

    /// Refuses topics whose events are in another number of partitions than is declared.
    pub fn check_partitions<'a>(&self, stored: impl IntoIterator<Item = (&'a str, u32)>) -> Result<(), OpenError> {
        for (name, stored) in stored {
            let declared = self.declared.iter().find(|topic| topic.name.as_str() == name);
            if let Some(topic) = declared.filter(|topic| u32::from(topic.partitions) != stored) {
                let (topic, declared) = (topic.name.clone(), topic.partitions);
                return Err(OpenError::OtherPartitions { topic, declared, stored });
            }
        }
        Ok(())
    }

    /// Returns the topic to which an event is published that says what it may there. Whether an entity has the version that is expected is
    /// not looked at.
    pub fn admit(&self, event: &NewEvent, tx: &TxId) -> Result<&Topic, Refusal> {
        let topic = self.declared.iter().find(|topic| topic.name == event.topic).ok_or_else(|| self.unknown(event))?;
        if !topic.sourced && event.expect.is_some() {
            let detail = format!(
                "the keys of topic {} are no entities with versions, so nothing is appended to one; emit the event, or declare the \
                 topic with sourced = true",
                event.topic
            );
            return Err(Refusal::new(RefusalCode::InvalidWork, detail));
        }
        // What is filled in from it later can be.
        self.timer(event, &CorrelationId(tx.clone()), Timestamp(0)).map_err(|unfit| Refusal::from(&unfit))?;
        Ok(topic)
    }

    fn unknown(&self, event: &NewEvent) -> Refusal {
        let declared: Vec<&str> = self.declared.iter().map(|topic| topic.name.as_str()).collect();
        let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
        let detail = format!(
            "no topic {} is declared here, where the event {} is to be published; there are: {declared}",
            event.topic, event.kind
        );
        Refusal::new(RefusalCode::InvalidWork, detail)
    }

    /// Returns the timer that is stored with an event, if there is one.
    pub fn timer_of(&self, event: &StoredEvent, now: Timestamp) -> Option<Timer> {
        if self.beginnings.is_empty() {
            return None;
        }
        // It was admitted, so it can be read, and what follows be filled in.
        let event = read_event(event.clone()).ok()?;
        let correlation = event.correlation.clone()?;
        self.timer(&event, &correlation, now).ok().flatten()
    }

    fn timer(&self, event: &NewEvent, correlation: &CorrelationId, now: Timestamp) -> Result<Option<Timer>, Unfit> {
        match self.beginnings.iter().find(|beginning| beginning.begins(&event.topic, &event.kind)) {
            Some(beginning) => beginning.timer(&Facts::of_new(event, correlation), now),
            None => Ok(None),
        }
    }
}

/// Returns the version that an entity has from an event on that is appended to it. `before`: the one that it has; 0 if there is none yet.
pub fn next_version(event: &NewEvent, before: u64) -> Result<u64, Refusal> {
    match event.expect {
        Some(expected) if expected != before => Err(other_version(event.topic.as_str(), &event.key, expected, before)),
        Some(_) | None => Ok(before + 1),
    }
}

/// Returns the refusal of an event whose entity has another version than it expects.
pub fn other_version(topic: &str, key: &[u8], expected: u64, has: u64) -> Refusal {
    let detail = format!(
        "entity {} of topic {topic} has version {has}, not the expected {expected}; read it again and decide anew",
        undoubt_work::text::shown(key)
    );
    Refusal::new(RefusalCode::Condition, detail)
}
