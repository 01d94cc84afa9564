//! Calls as `undoubt.work.v1.Work`.

use super::{
    Argument, Call, Calls, Given, MAX_ARGUMENTS, MAX_CALLS, OutcomeKey, check_argument, check_count, check_procedure,
};
use crate::datum::{Datum, NoDatum};
use crate::event;
use crate::event::Emit;
use crate::invalid_work::InvalidWork;
use crate::kinds::{CALLS, EVENTS, OUTCOME_KEY, refused};
use crate::reference::Input;
use crate::wire::{Field, Fields, Writer, once};
use bytes::Bytes;
use std::collections::BTreeSet;

/// Reads the calls of work of which a resource does no other kind, and publishes no events, and holds them to their limits.
///
/// # Errors
/// At the first thing that is wrong or not known.
pub fn read(work: &Bytes) -> Result<Calls, InvalidWork> {
    match calls(work)? {
        (calls, false) => Ok(calls),
        (_, true) => Err(refused(EVENTS, CALLS)),
    }
}

/// Reads the calls of work as [`read`] does, and the events beside them, or alone.
///
/// # Errors
/// At the first thing that is wrong or not known.
pub fn read_with_events(work: &Bytes) -> Result<(Calls, Vec<Emit<Input>>), InvalidWork> {
    let (calls, has_events) = calls(work)?;
    Ok((calls, if has_events { event::read(work)? } else { Vec::new() }))
}

/// Returns the calls, and whether there are events beside them.
fn calls(work: &Bytes) -> Result<(Calls, bool), InvalidWork> {
    let (mut fields, mut count) = (Fields::of(work), 0);
    while let Some(field) = fields.next()? {
        count += usize::from(field.number == CALLS);
    }
    if count > MAX_CALLS {
        return Err(InvalidWork::TooManyCalls { count });
    }
    let (mut fields, mut calls, mut outcome, mut has_events) =
        (Fields::of(work), Vec::with_capacity(count), None, false);
    while let Some(field) = fields.next()? {
        match field.number {
            CALLS => calls.push(call(field, work, calls.len())?),
            OUTCOME_KEY => once(&mut outcome, outcome_key(field, work)?)?,
            EVENTS => has_events = true,
            number => return Err(refused(number, CALLS)),
        }
    }
    if calls.is_empty() && !has_events {
        return Err(InvalidWork::NoCalls);
    }
    if let Some(outcome) = &outcome {
        outcome.check()?;
    }
    Ok((Calls { calls, outcome }, has_events))
}

fn call(field: Field<'_>, whole: &Bytes, at: usize) -> Result<Call<Input>, InvalidWork> {
    let mut fields = field.message()?;
    let (mut procedure, mut arguments) = (None, Vec::new());
    let (mut pend, mut respect_pending, mut undo) = (false, false, false);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut procedure, text(field, whole)?)?,
            // What is too much is counted below, and takes no memory until then.
            2 if arguments.len() <= MAX_ARGUMENTS => arguments.push(argument(field, whole, at)?),
            2 => {}
            3 => pend = field.bool()?,
            4 => respect_pending = field.bool()?,
            5 => undo = field.bool()?,
            number => return Err(InvalidWork::UnknownField { place: format!("call {at}"), number }),
        }
    }
    let procedure = procedure.unwrap_or_default();
    check_procedure(&procedure)?;
    check_count(&procedure, arguments.len())?;
    let mut names = BTreeSet::new();
    for argument in &arguments {
        check_argument(&procedure, &argument.name, argument.value_bytes())?;
        if !names.insert(&argument.name) {
            let name = argument.name.clone();
            return Err(InvalidWork::ArgumentTwice { procedure, name });
        }
    }
    Ok(Call { procedure, arguments, pend, respect_pending, undo })
}

fn argument(field: Field<'_>, whole: &Bytes, at: usize) -> Result<Argument<Input>, InvalidWork> {
    let (mut fields, mut name, mut given) = (field.message()?, None, None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut name, text(field, whole)?)?,
            2 => {
                let value = Datum::read(field.message()?, whole).map_err(|why| unreadable(at, why))?;
                once(&mut given, Given::Value(value))?;
            }
            3 => once(&mut given, Given::From(Input::read(field.message()?, whole, at)?))?,
            number => return Err(InvalidWork::UnknownField { place: format!("an argument of call {at}"), number }),
        }
    }
    let name = name.unwrap_or_default();
    match given {
        Some(given) => Ok(Argument { name, given }),
        None => Err(InvalidWork::ArgumentWithoutValue { name: crate::text::shown(name.as_bytes()) }),
    }
}

fn outcome_key(field: Field<'_>, whole: &Bytes) -> Result<OutcomeKey, InvalidWork> {
    let mut fields = field.message()?;
    let (mut key, mut value, mut value_in_branch) = (None, None, None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut key, field.bytes(whole)?)?,
            2 => once(&mut value, field.bytes(whole)?)?,
            3 => once(&mut value_in_branch, field.bytes(whole)?)?,
            number => return Err(InvalidWork::UnknownField { place: "the outcome's key".to_owned(), number }),
        }
    }
    Ok(OutcomeKey { key: key.unwrap_or_default(), value: value.unwrap_or_default(), value_in_branch })
}

fn text(field: Field<'_>, whole: &Bytes) -> Result<String, InvalidWork> {
    let bytes = field.bytes(whole)?;
    String::from_utf8(bytes.into()).map_err(|_| InvalidWork::Unreadable { cause: "a name is no UTF-8".to_owned() })
}

fn unreadable(at: usize, why: NoDatum) -> InvalidWork {
    InvalidWork::Unreadable { cause: format!("call {at}: {why}") }
}

/// Appends these calls to a work.
pub(super) fn write(out: &mut Writer, calls: &[Call<Input>], outcome: Option<&OutcomeKey>) {
    for Call { procedure, arguments, pend, respect_pending, undo } in calls {
        out.message(2, |out| {
            out.bytes(1, procedure.as_bytes());
            for Argument { name, given } in arguments {
                out.message(2, |out| {
                    out.bytes(1, name.as_bytes());
                    match given {
                        Given::Value(value) => out.message(2, |out| value.write(out)),
                        Given::From(from) => from.write(out, 3),
                    }
                });
            }
            for (number, flag) in [(3, *pend), (4, *respect_pending), (5, *undo)] {
                if flag {
                    out.uint32(number, 1);
                }
            }
        });
    }
    if let Some(OutcomeKey { key, value, value_in_branch }) = outcome {
        out.message(5, |out| {
            out.bytes(1, key);
            out.bytes(2, value);
            value_in_branch.iter().for_each(|value| out.bytes(3, value));
        });
    }
}
