//! Events as text: `emit orders order.placed key=17 json={"total": 30}`.

use super::{Data, Emit, Parameter, Source};
use crate::call::is_argument_name;
use crate::text::{Word, to_word, word};
use serde_json::Value;
use smol_str::SmolStr;
use std::collections::BTreeSet;
use undoubt_vocabulary::{CorrelationId, TxId};

/// The verb with which an event begins.
pub(crate) const EMIT: &str = "emit";

/// The verb with which one begins that is appended to an entity.
pub(crate) const APPEND: &str = "append";

pub(crate) const VERBS: [&str; 2] = [EMIT, APPEND];

/// The grammar of events as text; part of the help.
pub const GRAMMAR: &str = "  emit TOPIC TYPE key=KEY [data=TEXT | json=JSON | data-from=SOURCE] [from.NAME=SOURCE ...]
       [key-from=SOURCE] [schema=TEXT] [content-type=TEXT] [correlation=ID]
  append TOPIC TYPE key=ENTITY expect=VERSION ...    refused if the entity has another version; 0: it has none yet

Publishes an event once the work that it is given with has taken effect, in the same local transaction; events with one key keep
their order. In JSON the string \"{NAME}\" stands for what from.NAME says. SOURCE is what another step left, STEP.N or STEP.N.COLUMN, or
what this work itself leaves: .N or .N.COLUMN, where N is the number of the operation or the call, from 0. key-from appends it to the
key. An event's data are any bytes, in hexadecimal where they are no text.";

/// A part of the line: JSON has quotes and spaces of its own.
enum Part {
    Word(Word),
    Json(Value),
}

/// Reads an event, from its verb on.
pub(crate) fn parse(text: &str) -> Result<Emit, String> {
    let wrong = |why: String| format!("{text:?} is no event: {why}");
    read(text).map_err(wrong)
}

fn read(text: &str) -> Result<Emit, String> {
    let usage = || format!("write it as\n{GRAMMAR}");
    let mut parts = parts(text)?.into_iter();
    let mut name = |what| match parts.next() {
        Some(Part::Word(word)) if word.named().is_none() => {
            word.bare().ok_or_else(|| format!("{what} is quoted; leave the quotes out"))
        }
        Some(Part::Word(_) | Part::Json(_)) | None => Err(format!("{what} is missing; {}", usage())),
    };
    let (verb, topic, kind) = (name("the verb")?, name("its topic")?, name("its type")?);
    let mut event = Emit::new(&topic, &kind, "");
    let mut given = BTreeSet::new();
    for part in parts {
        let (name, value) = match part {
            Part::Json(value) => ("json".to_owned(), Given::Json(value)),
            Part::Word(word) => match word.named() {
                Some((name, value)) => (name.to_owned(), Given::Word(value)),
                None => return Err(format!("behind the type all is NAME=VALUE; {}", usage())),
            },
        };
        event = with(event, &name, value)?;
        // They stand for the same thing.
        let thing = if matches!(&*name, "json" | "data-from") { "data".to_owned() } else { name };
        if given.contains(&thing) {
            return Err(format!("{thing} is given twice; leave one out"));
        }
        given.insert(thing);
    }
    check(&verb, &event)?;
    Ok(event)
}

/// Checks that an event says what its verb needs, and that it is one.
pub(super) fn check(verb: &str, event: &Emit) -> Result<(), String> {
    match (verb, event.expect) {
        (APPEND, None) => {
            return Err(
                "it appends to an entity; give expect and the version that it has until then, 0 if there is none"
                    .to_owned(),
            );
        }
        (EMIT, Some(_)) => return Err(format!("expect is for {APPEND}; leave it out, or write that")),
        (_, Some(_) | None) => {}
    }
    event.check().map_err(|why| why.to_string())
}

enum Given {
    Word(Word),
    Json(Value),
}

fn with(event: Emit, name: &str, given: Given) -> Result<Emit, String> {
    let word = match given {
        Given::Json(value) => return Ok(event.json(value)),
        Given::Word(word) => word,
    };
    let label = || String::from_utf8(word.bytes()?.into()).map_err(|_| format!("{name} is no text; write it as such"));
    let source = || word.bare().unwrap_or_default().parse::<Source>();
    Ok(match name {
        "key" => Emit { key: word.bytes()?, ..event },
        "key-from" => event.key_suffix_from(source()?),
        "data" => event.data(word.bytes()?),
        "data-from" => event.data_from(source()?),
        "schema" => event.schema(&label()?),
        "content-type" => event.content_type(&label()?),
        "correlation" => event.correlation(correlation(&word.bytes()?)?),
        "expect" => event.expect(version(&word)?),
        _ => match name.strip_prefix("from.") {
            Some(parameter) if is_argument_name(parameter) => event.parameter(parameter, source()?),
            Some(_) => return Err(format!("{name} names no parameter: those have a-z A-Z 0-9 _, and no digit first")),
            None => return Err(format!("{name} is nothing that an event has; write it as\n{GRAMMAR}")),
        },
    })
}

pub(super) fn correlation(bytes: &[u8]) -> Result<CorrelationId, String> {
    TxId::new(bytes).map(CorrelationId).map_err(|why| format!("correlation: {why}"))
}

fn version(word: &Word) -> Result<u64, String> {
    let text = word.bare().unwrap_or_default();
    text.parse().map_err(|_| format!("expect is {text:?}, which is no version; give a number that is not negative"))
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let (part, after) = match rest.strip_prefix("json=") {
            Some(json) => json_value(json).map(|(value, after)| (Part::Json(value), after))?,
            None => word(rest).map(|(word, after)| (Part::Word(word), after))?,
        };
        parts.push(part);
        rest = after.trim_start();
    }
    Ok(parts)
}

/// Returns the JSON value with which a text begins, and what is behind it.
fn json_value(text: &str) -> Result<(Value, &str), String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            return Err(format!("what follows json= is no JSON ({error}); correct it, or give it as data"));
        }
        None => return Err("nothing follows json=; give a JSON value".to_owned()),
    };
    let after = &text[values.byte_offset()..];
    match after.is_empty() || after.starts_with(char::is_whitespace) {
        true => Ok((value, after)),
        false => Err(format!("{after} follows the JSON value directly; put a space between them")),
    }
}

/// Returns JSON with its control characters escaped: it leaves some of them as they are in strings, the only place where it may have them.
fn without_controls(json: &str) -> String {
    let escape = |text: String, c: char| match c {
        '\u{7f}'.. if c.is_control() => text + &format!("\\u{:04x}", u32::from(c)),
        _ => text + c.encode_utf8(&mut [0; 4]),
    };
    json.chars().fold(String::with_capacity(json.len()), escape)
}

impl Emit {
    /// Returns it as text that can be read back.
    pub(crate) fn to_text(&self) -> String {
        let Emit { topic, kind, key, key_suffix_from, data, parameters, schema, content_type, expect, correlation } =
            self;
        let verb = if expect.is_some() { APPEND } else { EMIT };
        let mut text = format!("{verb} {topic} {kind}");
        let mut add = |name: &str, value: String| {
            text.push(' ');
            text.push_str(name);
            text.push('=');
            text.push_str(&value);
        };
        if !key.is_empty() || key_suffix_from.is_none() {
            add("key", to_word(key));
        }
        key_suffix_from.iter().for_each(|from| add("key-from", from.to_string()));
        expect.iter().for_each(|version| add("expect", version.to_string()));
        match data {
            Data::Bytes(bytes) if bytes.is_empty() => {}
            Data::Bytes(bytes) => add("data", to_word(bytes)),
            Data::Json(json) => add("json", without_controls(json)),
            Data::From(from) => add("data-from", from.to_string()),
        }
        for Parameter { name, from } in parameters {
            add(&format!("from.{name}"), from.to_string());
        }
        let mut label = |name, label: &SmolStr| {
            if !label.is_empty() {
                add(name, to_word(label.as_bytes()));
            }
        };
        label("schema", schema);
        label("content-type", content_type);
        correlation.iter().for_each(|id| add("correlation", to_word(id.0.as_bytes())));
        text
    }
}
