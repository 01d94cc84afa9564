//! Texts with places for facts.

use crate::facts::{Facts, Unfit, to_bytes, to_value};
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::fmt;
use undoubt_work::Reference;

/// A template, as it is written.
pub const MAX_TEMPLATE_BYTES: usize = 65_536;

/// The places of templates; part of the help.
pub const PLACES: &str = "  {key} {type} {topic} {correlation}   of the event that was heard
  {data} {data.MEMBER.MEMBER}          of its data, which are JSON; an element of a list by its number, from 0
  {result.N} {result.N.COLUMN}         what piece number N of the work left (from 0); in what is emitted, and in `undo`
  {{ }}                                a brace";

/// A text in which places stand for facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// A fact, as a template names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Key,
    Type,
    Topic,
    Correlation,
    /// The members on the way to it.
    Data(Vec<String>),
    /// A result of the step `result`.
    Result(Reference),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Key => f.write_str("key"),
            Place::Type => f.write_str("type"),
            Place::Topic => f.write_str("topic"),
            Place::Correlation => f.write_str("correlation"),
            Place::Data(path) => {
                f.write_str("data")?;
                path.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            Place::Result(from) => fmt::Display::fmt(from, f),
        }
    }
}

impl Place {
    fn read(name: &str) -> Result<Place, String> {
        let unknown = || format!("{{{name}}} stands for nothing; write one of\n{PLACES}");
        match name.split_once('.') {
            None => match name {
                "key" => Ok(Place::Key),
                "type" => Ok(Place::Type),
                "topic" => Ok(Place::Topic),
                "correlation" => Ok(Place::Correlation),
                "data" => Ok(Place::Data(Vec::new())),
                _ => Err(unknown()),
            },
            Some(("data", path)) => {
                let path: Vec<String> = path.split('.').map(str::to_owned).collect();
                if path.iter().any(String::is_empty) { Err(unknown()) } else { Ok(Place::Data(path)) }
            }
            Some(("result", _)) => {
                let from: Reference = name.parse().map_err(|_| unknown())?;
                if from.step() == "result" { Ok(Place::Result(from)) } else { Err(unknown()) }
            }
            Some(_) => Err(unknown()),
        }
    }

    fn value(&self, facts: &Facts) -> Result<Value, Unfit> {
        Ok(match self {
            Place::Key => to_value(&facts.key),
            Place::Type => facts.kind.as_str().into(),
            Place::Topic => facts.topic.as_str().into(),
            Place::Correlation => facts.correlation.to_string().into(),
            Place::Data(path) => facts.data(path)?.clone(),
            Place::Result(from) => serde_json::to_value(facts.result(from)?)
                .map_err(|error| Unfit::NoResult { place: self.to_string(), why: error.to_string() })?,
        })
    }

    fn bytes(&self, facts: &Facts) -> Result<Bytes, Unfit> {
        let bytes = match self {
            Place::Key => Some(facts.key.clone()),
            Place::Result(from) => facts.result(from)?.into_bytes(),
            Place::Type | Place::Topic | Place::Correlation | Place::Data(_) => to_bytes(&self.value(facts)?),
        };
        bytes.ok_or_else(|| Unfit::Null { place: self.to_string() })
    }
}

impl Template {
    /// Reads a template. The error says what is wrong and what would be right.
    pub fn read(text: &str) -> Result<Template, String> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("it has {} bytes, more than the {MAX_TEMPLATE_BYTES} allowed; shorten it", text.len()));
        }
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let name = if brace == "{" { after.split_once('}') } else { None };
            let Some((name, after)) = name else {
                return Err(format!("{text:?} has a brace without its other one; write {{key}}, or double the brace"));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Place(Place::read(name)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template(parts))
    }

    /// Returns the template that is the event's key.
    pub fn key() -> Template {
        Template(vec![Part::Place(Place::Key)])
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            Part::Text(_) => None,
        })
    }

    /// Returns true if it refers to results, which are there only after the work.
    pub(crate) fn needs_results(&self) -> bool {
        self.places().any(|place| matches!(place, Place::Result(_)))
    }

    /// Returns it with what it refers to, as bytes.
    pub fn bytes(&self, facts: &Facts) -> Result<Bytes, Unfit> {
        let mut bytes = BytesMut::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Part::Place(place) => bytes.extend_from_slice(&place.bytes(facts)?),
            }
        }
        Ok(bytes.freeze())
    }

    /// Returns it as a URL, in which each place is one part, percent-encoded.
    pub(crate) fn url(&self, facts: &Facts) -> Result<String, Unfit> {
        let mut url = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Place(place) => {
                    for byte in place.bytes(facts)? {
                        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                            url.push(char::from(byte));
                        } else {
                            url.push_str(&format!("%{byte:02X}"));
                        }
                    }
                }
            }
        }
        Ok(url)
    }

    /// Returns it as a value of JSON: that of the place itself where it is nothing but one, so that numbers stay numbers; else text.
    pub fn value(&self, facts: &Facts) -> Result<Value, Unfit> {
        match &self.0[..] {
            [Part::Place(place)] => place.value(facts),
            _ => {
                let bytes = self.bytes(facts)?;
                Ok(std::str::from_utf8(&bytes).map_or_else(|_| to_value(&bytes), Value::from))
            }
        }
    }

    /// Returns it with a digit in each place, to see what it would be.
    pub(crate) fn sample(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(_) => "1".to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Place(place) => write!(f, "{{{place}}}"),
        })
    }
}
