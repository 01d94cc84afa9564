//! Events with what they take from elsewhere.

use super::{Data, Emit, Source};
use crate::call::CallResult;
use crate::datum::Datum;
use crate::invalid_work::InvalidWork;
use crate::reference::{Input, Inputs, Place, cell_of, invalid, no_value};
use crate::results::Value;
use crate::template::{Parameters, Unfilled, filled_in};
use std::fmt;
use undoubt_vocabulary::event::{JSON, MAX_EVENT_DATA_BYTES, OCTETS};
use undoubt_vocabulary::{EventType, NewEvent, Refusal};

/// The results of the very work that events are part of.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// The value after each operation, also where the operation brought it along.
    Operations(&'a [Value]),
    Calls(&'a [CallResult]),
}

impl Own<'_> {
    fn datum(&self, place: &Place) -> Result<Datum, Refusal> {
        let named = OwnResult(place);
        let missing =
            |count| invalid(format!("{named} is referred to, but it has {count}, counted from 0; correct it"));
        let at = place.operation as usize;
        match (self, &place.cell) {
            (Own::Operations(values), None) => {
                values.get(at).cloned().map(Datum::from).ok_or_else(|| missing(values.len()))
            }
            (Own::Operations(_), Some(cell)) => Err(invalid(format!(
                "column {} of {named} is referred to, but operations have none; leave the column out",
                cell.column
            ))),
            (Own::Calls(calls), cell) => {
                let call = calls.get(at).ok_or_else(|| missing(calls.len()))?;
                cell_of(call, cell.as_ref(), &named).cloned()
            }
        }
    }
}

/// For refusals.
struct OwnResult<'a>(&'a Place);

impl fmt::Display for OwnResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "result {} of its own work", self.0.operation)
    }
}

impl Source<Input> {
    /// Returns the value; `Null` if there is none.
    fn datum(&self, inputs: &mut Inputs<'_>, own: &Own<'_>) -> Result<Datum, Refusal> {
        match self {
            Source::Step(from) => inputs.datum(from),
            Source::Own(place) => own.datum(place),
        }
    }

    fn refused_without_value(&self) -> Refusal {
        match self {
            Source::Step(from) => no_value(from),
            Source::Own(place) => no_value(&OwnResult(place)),
        }
    }
}

impl Emit<Input> {
    /// Returns the event that is published, with what it takes from the results of earlier steps and from those of its own work, and
    /// within its limits. What led to it is not known here.
    ///
    /// # Errors
    /// If it takes what is not there, or is too large with it.
    pub fn resolve(self, inputs: &mut Inputs<'_>, own: &Own<'_>) -> Result<NewEvent, Refusal> {
        let Emit { topic, kind, key, key_suffix_from, data, parameters, schema, content_type, expect, correlation } =
            self;
        let kind: EventType = kind.parse().map_err(InvalidWork::Name)?;
        let key = match &key_suffix_from {
            None => key,
            Some(from) => {
                let suffix = from.datum(inputs, own)?.into_bytes().ok_or_else(|| from.refused_without_value())?;
                [key, suffix].concat().into()
            }
        };
        let (data, is_json) = match data {
            Data::Bytes(bytes) => (bytes, false),
            Data::Json(text) if parameters.is_empty() => (text.into(), true),
            Data::Json(text) => {
                let mut values = Parameters::new();
                for parameter in parameters {
                    values.insert(parameter.name, Some(parameter.from.datum(inputs, own)?));
                }
                let filled = filled_in(&text, &values, MAX_EVENT_DATA_BYTES).map_err(|why| match why {
                    Unfilled::NoJson(error) => InvalidWork::EventJson { kind: kind.clone(), cause: error.to_string() },
                    Unfilled::TooLong { max_bytes } => {
                        InvalidWork::EventValuesTooLong { kind: kind.clone(), max_bytes }
                    }
                })?;
                (filled.into(), true)
            }
            Data::From(from) => {
                let datum = from.datum(inputs, own)?;
                let is_json = matches!(datum, Datum::Json(_));
                (datum.into_bytes().ok_or_else(|| from.refused_without_value())?, is_json)
            }
        };
        let content_type = match content_type.as_str() {
            "" if is_json => JSON.into(),
            "" => OCTETS.into(),
            _ => content_type,
        };
        let topic = topic.parse().map_err(InvalidWork::Name)?;
        let event = NewEvent { topic, key, kind, schema, content_type, data, expect, correlation, causation: None };
        event.check().map_err(InvalidWork::Event)?;
        Ok(event)
    }
}
