//! Events that work publishes. `work.proto` is the contract.
//!
//! They stand beside operations or calls, or alone, and are published once those have taken effect. They leave no results, so the
//! places of results are those of operations or calls.

mod binary;
pub(crate) mod json;
mod resolve;
mod source;
pub(crate) mod text;

use crate::invalid_work::InvalidWork;
use crate::reference::{Input, Place, Reference};
use crate::template;
use crate::wire::Writer;
use crate::work::Work;
use bytes::Bytes;
use smol_str::SmolStr;
use undoubt_vocabulary::event::{MAX_EVENT_DATA_BYTES, MAX_EVENTS};
use undoubt_vocabulary::{CorrelationId, InvalidEvent, NewEvent};

pub use crate::template::Parameter;
pub use binary::read;
pub use resolve::Own;
pub use source::Source;

/// An event that is published. `R`: how it refers to the results of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit<R = Reference> {
    /// The topic, which the participant declares.
    pub topic: SmolStr,
    /// The type of the event.
    pub kind: SmolStr,
    pub key: Bytes,
    /// The source of what is appended to the key.
    pub key_suffix_from: Option<Source<R>>,
    pub data: Data<R>,
    /// Values that data in JSON use.
    pub parameters: Vec<Parameter<Source<R>>>,
    /// The schema of its data, empty if none is named.
    pub schema: SmolStr,
    /// The media type of its data, empty if it follows from them.
    pub content_type: SmolStr,
    /// The version that the entity with this key has until then.
    pub expect: Option<u64>,
    /// `None`: the transaction's id.
    pub correlation: Option<CorrelationId>,
}

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<R = Reference> {
    Bytes(Bytes),
    /// A JSON value as text, in which a string `"{NAME}"` stands for a parameter.
    Json(String),
    /// A value that is left elsewhere.
    From(Source<R>),
}

impl Emit {
    /// Returns an event without data. Events of one topic that have the same key keep their order.
    pub fn new(topic: &str, kind: &str, key: impl Into<Bytes>) -> Emit {
        Emit {
            topic: topic.into(),
            kind: kind.into(),
            key: key.into(),
            key_suffix_from: None,
            data: Data::Bytes(Bytes::new()),
            parameters: Vec::new(),
            schema: SmolStr::default(),
            content_type: SmolStr::default(),
            expect: None,
            correlation: None,
        }
    }

    /// Appends to its key a value that is left elsewhere.
    #[must_use]
    pub fn key_suffix_from(self, from: impl Into<Source>) -> Emit {
        Emit { key_suffix_from: Some(from.into()), ..self }
    }

    /// Gives its data as any bytes.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Emit {
        Emit { data: Data::Bytes(data.into()), ..self }
    }

    /// Gives its data as a JSON value.
    #[must_use]
    pub fn json(self, value: impl Into<serde_json::Value>) -> Emit {
        Emit { data: Data::Json(value.into().to_string()), ..self }
    }

    /// Has its data taken from a value that is left elsewhere.
    #[must_use]
    pub fn data_from(self, from: impl Into<Source>) -> Emit {
        Emit { data: Data::From(from.into()), ..self }
    }

    /// Names a value that is left elsewhere: `"{NAME}"` stands for it in data in JSON.
    #[must_use]
    pub fn parameter(mut self, name: &str, from: impl Into<Source>) -> Emit {
        self.parameters.push(Parameter { name: name.to_owned(), from: from.into() });
        self
    }

    /// Names the schema of its data.
    #[must_use]
    pub fn schema(self, schema: &str) -> Emit {
        Emit { schema: schema.into(), ..self }
    }

    /// Names the media type of its data, where they are no JSON, or more than that.
    #[must_use]
    pub fn content_type(self, content_type: &str) -> Emit {
        Emit { content_type: content_type.into(), ..self }
    }

    /// Appends it to the entity that its key names, which has this version until then, 0 if there is none yet; the work is refused if
    /// it has another. Of topics that are sourced.
    #[must_use]
    pub fn expect(self, version: u64) -> Emit {
        Emit { expect: Some(version), ..self }
    }

    /// Gives it the id that the events of one saga have in common, where that is not the transaction's.
    #[must_use]
    pub fn correlation(self, id: CorrelationId) -> Emit {
        Emit { correlation: Some(id), ..self }
    }

    /// Returns its references to steps, in the order of its fields.
    fn references(&self) -> impl Iterator<Item = &Reference> {
        self.sources().filter_map(|source| match source {
            Source::Step(from) => Some(from),
            Source::Own(_) => None,
        })
    }

    /// Returns the same where its own work comes to stand behind this many operations or calls, whose results are counted first.
    fn behind(mut self, count: u32) -> Emit {
        let Emit { key_suffix_from, data, parameters, .. } = &mut self;
        let data = match data {
            Data::From(from) => Some(from),
            Data::Bytes(_) | Data::Json(_) => None,
        };
        let parameters = parameters.iter_mut().map(|parameter| &mut parameter.from);
        for source in key_suffix_from.iter_mut().chain(data).chain(parameters) {
            match source {
                Source::Step(_) => {}
                Source::Own(place) => place.operation = place.operation.saturating_add(count),
            }
        }
        self
    }

    /// Returns the same with its references as the numbers of these inputs.
    fn with_inputs(&self, inputs: &[&str]) -> Result<Emit<Input>, InvalidWork> {
        let Emit { topic, kind, key, key_suffix_from, data, parameters, schema, content_type, expect, correlation } =
            self;
        let resolve = |source: &Source| source.with_inputs(inputs);
        Ok(Emit {
            topic: topic.clone(),
            kind: kind.clone(),
            key: key.clone(),
            key_suffix_from: key_suffix_from.as_ref().map(resolve).transpose()?,
            data: match data {
                Data::Bytes(bytes) => Data::Bytes(bytes.clone()),
                Data::Json(text) => Data::Json(text.clone()),
                Data::From(from) => Data::From(resolve(from)?),
            },
            parameters: parameters.iter().map(|parameter| parameter.map(resolve)).collect::<Result<_, _>>()?,
            schema: schema.clone(),
            content_type: content_type.clone(),
            expect: *expect,
            correlation: correlation.clone(),
        })
    }
}

impl<R> Emit<R> {
    fn sources(&self) -> impl Iterator<Item = &Source<R>> {
        let data = match &self.data {
            Data::From(from) => Some(from),
            Data::Bytes(_) | Data::Json(_) => None,
        };
        self.key_suffix_from.iter().chain(data).chain(self.parameters.iter().map(|parameter| &parameter.from))
    }

    /// Checks it against the limits, as far as it is known: not what it takes from elsewhere.
    fn check(&self) -> Result<(), InvalidWork> {
        let key = match &self.key_suffix_from {
            Some(_) if self.key.is_empty() => Bytes::from_static(b"?"),
            Some(_) | None => self.key.clone(),
        };
        let known = NewEvent {
            topic: self.topic.parse()?,
            key,
            kind: self.kind.parse()?,
            schema: self.schema.clone(),
            content_type: self.content_type.clone(),
            data: Bytes::new(),
            expect: self.expect,
            correlation: self.correlation.clone(),
            causation: None,
        };
        known.check()?;
        let length = match &self.data {
            Data::Bytes(bytes) => bytes.len(),
            Data::Json(text) => text.len(),
            Data::From(_) => 0,
        };
        if length > MAX_EVENT_DATA_BYTES {
            return Err(InvalidEvent::DataTooLong { kind: known.kind, length }.into());
        }
        let first = template::check(&self.parameters)?.into_iter().next();
        match (&self.data, first) {
            (Data::Json(text), _) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => Ok(()),
                Err(error) => Err(InvalidWork::EventJson { kind: known.kind, cause: error.to_string() }),
            },
            (Data::Bytes(_) | Data::From(_), None) => Ok(()),
            (Data::Bytes(_) | Data::From(_), Some(name)) => {
                let why = "it stands in data in JSON, which the event does not have; leave it out, or give them";
                Err(InvalidWork::Parameter { name: name.to_owned(), why })
            }
        }
    }
}

/// The events of one work, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events(Vec<Emit>);

impl From<Emit> for Events {
    fn from(event: Emit) -> Self {
        Events(vec![event])
    }
}

impl Events {
    pub(crate) fn push(&mut self, event: Emit) {
        self.0.push(event);
    }

    pub(crate) fn as_slice(&self) -> &[Emit] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns those of both, of which `other` is about work that now stands behind this many operations or calls.
    pub(crate) fn then(mut self, other: Events, count: usize) -> Events {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.extend(other.0.into_iter().map(|event| event.behind(count)));
        self
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Emit::to_text)
    }

    pub(crate) fn referred_steps(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(Emit::references).map(Reference::step)
    }

    /// Checks them as part of a saga's step, and returns the first fault with the place of its event among them.
    pub(crate) fn check_in_saga<'a>(
        &self,
        action_of: impl Fn(&str) -> Option<&'a Work>,
    ) -> Result<(), (usize, InvalidWork)> {
        let fault = |event: &Emit| event.references().find_map(|from| from.fault(action_of(from.step())?));
        let fault = self.0.iter().enumerate().find_map(|(at, event)| Some((at, fault(event)?)));
        fault.map_or(Ok(()), Err)
    }

    /// Appends them to a work whose inputs are the results of these steps. `is_no_value`: why its own results never have a value at a
    /// place.
    pub(crate) fn write(
        &self,
        out: &mut Writer,
        inputs: &[&str],
        is_no_value: impl Fn(&Place) -> Option<&'static str>,
    ) -> Result<(), InvalidWork> {
        check_count(self.0.len())?;
        for event in &self.0 {
            event.check()?;
            for source in event.sources() {
                if let Source::Own(place) = source
                    && let Some(why) = is_no_value(place)
                {
                    return Err(InvalidWork::NoSuchValue { from: source.clone(), why });
                }
            }
            binary::write(out, &event.with_inputs(inputs)?);
        }
        Ok(())
    }

    /// Returns the bytes of work that has nothing else.
    pub(crate) fn encode_with(&self, inputs: &[&str]) -> Result<Bytes, InvalidWork> {
        let mut out = Writer::default();
        self.write(&mut out, inputs, |_| Some("nothing stands beside the events that leaves a result"))?;
        Ok(out.finish())
    }
}

fn check_count(count: usize) -> Result<(), InvalidWork> {
    if count > MAX_EVENTS { Err(InvalidWork::TooManyEvents { count }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
