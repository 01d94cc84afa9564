//! What a participant declares of its events: the topics that it publishes to, what begins there, and how it reacts to others' events.

mod reading;
mod tables;

use crate::facts::{Facts, Unfit};
use crate::template::Template;
use crate::work_template::WorkTemplate;
use bytes::Bytes;
use serde_json::Value;
use smol_str::SmolStr;
use std::fmt;
use std::time::Duration;
use undoubt_vocabulary::event::JSON;
use undoubt_vocabulary::{
    EventId, EventType, NewEvent, ParticipantName, ReactionName, SubscriptionName, Topic, TopicName,
};

pub use tables::SCHEMA;

/// Topics of one participant.
pub const MAX_TOPICS: usize = 256;

/// Reactions of one participant, and what begins there.
pub const MAX_REACTIONS: usize = 256;

/// Events that one reaction publishes, that undo it, or that keep it from expiring.
pub const MAX_EVENTS_OF_REACTION: usize = 64;

/// The attempts at a reaction that is refused for good, before the key of its event is parked.
pub const MAX_REACTION_ATTEMPTS: u32 = 1_000;

/// The attempts where a declaration says nothing.
pub const DEFAULT_REACTION_ATTEMPTS: u32 = 5;

/// The time after which something expires.
pub const MAX_EXPIRY: Duration = Duration::from_hours(24 * 366);

/// All that one participant declares of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declarations {
    pub topics: Vec<DeclaredTopic>,
    pub beginnings: Vec<Beginning>,
    pub reactions: Vec<Reaction>,
}

/// A topic that the participant publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTopic {
    pub topic: Topic,
    /// Types of its events that somebody hears of whom no declaration tells: subscribers outside.
    pub heard_outside: Vec<EventType>,
}

/// Events of others, or of its own, by which a participant is moved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Heard {
    /// The participant that publishes them.
    pub from: ParticipantName,
    pub topic: TopicName,
    pub kind: EventType,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} at {})", self.kind, self.topic, self.from)
    }
}

/// A type of events with which a choreographed saga begins: transactions publish them, no reaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    pub topic: TopicName,
    pub kind: EventType,
    pub expire: Option<Expiry>,
}

/// What is published if a saga that began here does not end in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The name of its barrier: the type of what is published.
    pub name: ReactionName,
    pub after: Duration,
    pub emit: EventTemplate,
    /// Any of them comes: it does not expire any more.
    pub unless: Vec<Heard>,
}

/// What a participant does when it hears of an event, in one local transaction with the position up to which it has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    pub name: ReactionName,
    pub on: Heard,
    pub work: WorkTemplate,
    pub emit: Vec<EventTemplate>,
    /// Is published instead if the work is refused for good.
    pub refused: Option<EventTemplate>,
    /// Events with the same correlation that undo it.
    pub undo_on: Vec<Heard>,
    /// Does away with what the work did; nothing if nothing has to be done; `None` if that is not said.
    pub undo: Option<WorkTemplate>,
    /// Is published when it is undone.
    pub undone: Option<EventTemplate>,
    pub attempts: u32,
}

/// An event to be published, to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTemplate {
    pub topic: TopicName,
    pub kind: EventType,
    pub key: Template,
    pub schema: SmolStr,
    pub data: DataTemplate,
}

/// Data in JSON, whose texts are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataTemplate {
    Text(Template),
    /// A number or a truth value.
    Fixed(Value),
    List(Vec<DataTemplate>),
    /// Members, in the order of their names.
    Object(Vec<(String, DataTemplate)>),
}

impl Declarations {
    pub fn topic(&self, name: &TopicName) -> Option<&Topic> {
        self.topics.iter().map(|declared| &declared.topic).find(|topic| topic.name == *name)
    }

    /// Returns all events that move the participant.
    pub fn heard(&self) -> impl Iterator<Item = &Heard> {
        let reactions = self.reactions.iter().flat_map(Reaction::heard);
        let expiries = self.beginnings.iter().filter_map(|beginning| beginning.expire.as_ref());
        reactions.chain(expiries.flat_map(|expiry| &expiry.unless))
    }

    /// Returns the topics that it has to read, each once, with the participants that publish to them.
    pub fn sources(&self) -> Vec<(&ParticipantName, &TopicName)> {
        let mut sources: Vec<_> = self.heard().map(|heard| (&heard.from, &heard.topic)).collect();
        sources.sort();
        sources.dedup();
        sources
    }
}

impl Reaction {
    /// Returns the subscription that it is: a reaction that cannot go on holds no other one up.
    pub fn subscription(&self) -> SubscriptionName {
        self.name.as_str().parse().expect("both names have the same characters")
    }

    /// Returns true if it asks services over HTTP, and so can be of no participant but one over them.
    pub fn asks_services(&self) -> bool {
        self.work.is_request() || self.undo.as_ref().is_some_and(WorkTemplate::is_request)
    }

    /// Returns why a participant over HTTP services cannot carry it out, if it cannot.
    pub fn fault_over_http(&self) -> Option<&'static str> {
        let other = |work: &WorkTemplate| !work.is_nothing() && !work.is_request();
        if other(&self.work) || self.undo.as_ref().is_some_and(other) {
            return Some(
                "its work is no request, and this participant makes nothing else; write http METHOD URL [JSON]",
            );
        }
        self.undo.as_ref().is_some_and(WorkTemplate::needs_results).then_some(
            "what undoes it refers to its answer, which may be lost; let the service find what is to be undone by the header \
             undoubt-effect, or refer to the event",
        )
    }

    /// Returns all events that move it.
    pub fn heard(&self) -> impl Iterator<Item = &Heard> {
        std::iter::once(&self.on).chain(&self.undo_on)
    }
}

impl fmt::Display for DataTemplate {
    /// Writes it as JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}

impl DataTemplate {
    /// Reads JSON whose texts are templates.
    pub(crate) fn of_json(value: &Value) -> Result<DataTemplate, String> {
        Ok(match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => DataTemplate::Fixed(value.clone()),
            Value::String(text) => DataTemplate::Text(Template::read(text)?),
            Value::Array(elements) => {
                DataTemplate::List(elements.iter().map(DataTemplate::of_json).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| Ok((name.clone(), DataTemplate::of_json(value)?));
                DataTemplate::Object(members.iter().map(member).collect::<Result<_, String>>()?)
            }
        })
    }

    fn shown(&self) -> Value {
        match self {
            DataTemplate::Text(template) => template.to_string().into(),
            DataTemplate::Fixed(value) => value.clone(),
            DataTemplate::List(elements) => elements.iter().map(DataTemplate::shown).collect(),
            DataTemplate::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), value.shown())).collect()
            }
        }
    }

    pub(crate) fn value(&self, facts: &Facts) -> Result<Value, Unfit> {
        match self {
            DataTemplate::Text(template) => template.value(facts),
            DataTemplate::Fixed(value) => Ok(value.clone()),
            DataTemplate::List(elements) => elements.iter().map(|element| element.value(facts)).collect(),
            DataTemplate::Object(members) => {
                let member = |(name, value): &(String, DataTemplate)| Ok((name.clone(), value.value(facts)?));
                members.iter().map(member).collect()
            }
        }
    }

    /// Returns its templates.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            DataTemplate::Text(template) => vec![template],
            DataTemplate::Fixed(_) => Vec::new(),
            DataTemplate::List(elements) => elements.iter().flat_map(DataTemplate::templates).collect(),
            DataTemplate::Object(members) => members.iter().flat_map(|(_, value)| value.templates()).collect(),
        }
    }
}

impl EventTemplate {
    /// Returns the event. `causation`: the event that led to it.
    pub fn fill(&self, facts: &Facts, causation: Option<EventId>) -> Result<NewEvent, Unfit> {
        let event = NewEvent {
            topic: self.topic.clone(),
            key: self.key.bytes(facts)?,
            kind: self.kind.clone(),
            schema: self.schema.clone(),
            content_type: JSON.into(),
            data: Bytes::from(self.data.value(facts)?.to_string()),
            expect: None,
            correlation: Some(facts.correlation.clone()),
            causation,
        };
        event.check().map_err(|why| Unfit::NoEvent { why: why.to_string() })?;
        Ok(event)
    }

    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.key).chain(self.data.templates())
    }
}
