//! Events as part of `undoubt.work.v1.Work`.

use super::{Data, Emit, Source, check_count};
use crate::invalid_work::InvalidWork;
use crate::kinds::EVENTS;
use crate::reference::Input;
use crate::template::{MAX_PARAMETERS, Parameter};
use crate::wire::{Field, Fields, Writer, once};
use bytes::Bytes;
use undoubt_vocabulary::{CorrelationId, TxId};

/// Reads the events of work, in order, and holds them to their limits. What stands beside them is not looked at: that is for whoever
/// reads it.
///
/// # Errors
/// At the first thing in them that is wrong or not known.
pub fn read(work: &Bytes) -> Result<Vec<Emit<Input>>, InvalidWork> {
    let (mut fields, mut count) = (Fields::of(work), 0);
    while let Some(field) = fields.next()? {
        count += usize::from(field.number == EVENTS);
    }
    check_count(count)?;
    let (mut fields, mut events) = (Fields::of(work), Vec::with_capacity(count));
    while let Some(field) = fields.next()? {
        if field.number == EVENTS {
            events.push(event(field, work, events.len())?);
        }
    }
    Ok(events)
}

fn event(field: Field<'_>, whole: &Bytes, at: usize) -> Result<Emit<Input>, InvalidWork> {
    let mut fields = field.message()?;
    let source = |field: Field<'_>| Source::read(field.message()?, whole, at);
    let (mut topic, mut kind, mut key, mut key_suffix_from, mut data) = (None, None, None, None, None);
    let (mut schema, mut content_type, mut expect, mut correlation) = (None, None, None, None);
    let mut parameters = Vec::new();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut topic, field.text()?.into())?,
            2 => once(&mut kind, field.text()?.into())?,
            3 => once(&mut key, field.bytes(whole)?)?,
            4 => once(&mut key_suffix_from, source(field)?)?,
            5 => once(&mut data, Data::Bytes(field.bytes(whole)?))?,
            6 => once(&mut data, Data::Json(field.text()?.to_owned()))?,
            7 => once(&mut data, Data::From(source(field)?))?,
            // What is too much is counted below, and takes no memory until then.
            8 if parameters.len() <= MAX_PARAMETERS => {
                parameters.push(Parameter::read(field, |from| Source::read(from, whole, at))?);
            }
            8 => {}
            9 => once(&mut schema, field.text()?.into())?,
            10 => once(&mut content_type, field.text()?.into())?,
            11 => once(&mut expect, field.uint64()?)?,
            12 => once(&mut correlation, field.bytes(whole)?)?,
            number => return Err(InvalidWork::UnknownField { place: format!("event {at}"), number }),
        }
    }
    let correlation = correlation.filter(|bytes| !bytes.is_empty()).map(TxId::new).transpose()?;
    let event = Emit {
        topic: topic.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
        key: key.unwrap_or_default(),
        key_suffix_from,
        data: data.unwrap_or(Data::Bytes(Bytes::new())),
        parameters,
        schema: schema.unwrap_or_default(),
        content_type: content_type.unwrap_or_default(),
        expect,
        correlation: correlation.map(CorrelationId),
    };
    event.check()?;
    Ok(event)
}

/// Appends one event to a work.
pub(super) fn write(out: &mut Writer, event: &Emit<Input>) {
    let Emit { topic, kind, key, key_suffix_from, data, parameters, schema, content_type, expect, correlation } = event;
    out.message(7, |out| {
        out.bytes(1, topic.as_bytes());
        out.bytes(2, kind.as_bytes());
        if !key.is_empty() {
            out.bytes(3, key);
        }
        key_suffix_from.iter().for_each(|from| from.write(out, 4));
        match data {
            Data::Bytes(bytes) if bytes.is_empty() => {}
            Data::Bytes(bytes) => out.bytes(5, bytes),
            Data::Json(text) => out.bytes(6, text.as_bytes()),
            Data::From(from) => from.write(out, 7),
        }
        for parameter in parameters {
            parameter.write(out, 8, |from, out| from.write(out, 2));
        }
        for (number, label) in [(9, schema), (10, content_type)] {
            if !label.is_empty() {
                out.bytes(number, label.as_bytes());
            }
        }
        expect.iter().for_each(|version| out.uint64(11, *version));
        correlation.iter().for_each(|id| out.bytes(12, id.0.as_bytes()));
    });
}
