//! Operations as `undoubt.work.v1.Work`.

use super::{Add, Extras, MAX_OPERATIONS, Operation};
use crate::event;
use crate::event::Emit;
use crate::invalid_work::InvalidWork;
use crate::kinds::{EVENTS, OPERATIONS, refused};
use crate::reference::Input;
use crate::wire::{Fields, Malformed, Writer, once};
use bytes::Bytes;

/// Reads the operations of work of which a resource does no other kind, and publishes no events. Each comes with what it has besides
/// itself.
///
/// # Errors
/// At the first thing that is wrong or not known. Limits other than the number of operations are for
/// [`Operation::check`], once references are resolved.
pub fn read(work: &Bytes) -> Result<Operations<'_>, InvalidWork> {
    Operations::of(work, || Err(refused(EVENTS, OPERATIONS)))
}

/// Reads the operations of work as [`read`] does, and the events beside them, which are [held to their limits](event::read).
///
/// # Errors
/// At the first thing that is wrong or not known.
pub fn read_with_events(work: &Bytes) -> Result<(Operations<'_>, Vec<Emit<Input>>), InvalidWork> {
    let mut has_events = false;
    let operations = Operations::of(work, || {
        has_events = true;
        Ok(())
    })?;
    Ok((operations, if has_events { event::read(work)? } else { Vec::new() }))
}

/// The operations of a work, in order.
#[derive(Debug)]
pub struct Operations<'a> {
    whole: &'a Bytes,
    fields: Fields<'a>,
    at: usize,
    count: usize,
}

impl<'a> Operations<'a> {
    /// Counts the operations of work, and says of each event that it is there.
    #[inline]
    fn of(work: &'a Bytes, mut event: impl FnMut() -> Result<(), InvalidWork>) -> Result<Self, InvalidWork> {
        let (mut fields, mut count) = (Fields::of(work), 0);
        while let Some(field) = fields.next()? {
            match field.number {
                OPERATIONS => count += 1,
                EVENTS => event()?,
                number => return Err(refused(number, OPERATIONS)),
            }
        }
        if count > MAX_OPERATIONS {
            return Err(InvalidWork::TooManyOperations { count });
        }
        Ok(Operations { whole: work, fields: Fields::of(work), at: 0, count })
    }
}

impl Iterator for Operations<'_> {
    type Item = Result<(Operation, Extras<Input>), InvalidWork>;

    // Into the loop of whoever reads them, which then need not move each of them several times.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let field = match self.fields.next() {
                Ok(None) => return None,
                Ok(Some(field)) => field,
                Err(malformed) => return Some(Err(malformed.into())),
            };
            if field.number == OPERATIONS {
                let at = self.at;
                self.at += 1;
                return match field.message() {
                    Ok(fields) => Some(operation(fields, self.whole, at)),
                    Err(malformed) => Some(Err(malformed.into())),
                };
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Operations<'_> {}

/// The context in which a part of an operation is read.
#[derive(Clone, Copy)]
struct Part<'a> {
    fields: Fields<'a>,
    whole: &'a Bytes,
    at: usize,
    of: &'static str,
}

impl Part<'_> {
    fn unknown(&self, number: u64) -> InvalidWork {
        InvalidWork::UnknownField { place: format!("{} of operation {}", self.of, self.at), number }
    }

    fn none(mut self) -> Result<(), InvalidWork> {
        match self.fields.next()? {
            None => Ok(()),
            Some(field) => Err(self.unknown(field.number)),
        }
    }
}

#[inline]
fn operation(mut fields: Fields<'_>, whole: &Bytes, at: usize) -> Result<(Operation, Extras<Input>), InvalidWork> {
    let (mut key, mut extras) = (Bytes::new(), Extras::default());
    // Its key stands beside it.
    let mut operation = None;
    while let Some(field) = fields.next()? {
        let part = |of| Ok::<_, Malformed>(Part { fields: field.message()?, whole, at, of });
        match field.number {
            1 => key = field.bytes(whole)?,
            2 => {
                part("the get")?.none()?;
                once(&mut operation, Operation::Get { key: Bytes::new() })?;
            }
            3 => once(&mut operation, put(part("the put")?, &mut extras)?)?,
            4 => {
                part("the delete")?.none()?;
                once(&mut operation, Operation::Delete { key: Bytes::new() })?;
            }
            5 => once(&mut operation, add(part("the add")?)?)?,
            6 => once(&mut operation, compare_and_set(part("the compare-and-set")?, &mut extras)?)?,
            7 => once(&mut extras.key_suffix_from, input(part("a reference")?)?)?,
            8 => extras.pend = field.bool()?,
            9 => extras.respect_pending = field.bool()?,
            number => return Err(InvalidWork::UnknownField { place: format!("operation {at}"), number }),
        }
    }
    let mut operation = operation.ok_or(InvalidWork::NoKind { at })?;
    *operation.key_mut() = key;
    Ok((operation, extras))
}

fn put(mut part: Part<'_>, extras: &mut Extras<Input>) -> Result<Operation, InvalidWork> {
    let mut value = Bytes::new();
    while let Some(field) = part.fields.next()? {
        match field.number {
            1 => value = field.bytes(part.whole)?,
            2 => once(&mut extras.value_from, input(Part { fields: field.message()?, ..part })?)?,
            3 => extras.value_in_branch = Some(field.bytes(part.whole)?),
            number => return Err(part.unknown(number)),
        }
    }
    Ok(Operation::Put { key: Bytes::new(), value })
}

fn add(mut part: Part<'_>) -> Result<Operation, InvalidWork> {
    let mut add = Add::of(0);
    while let Some(field) = part.fields.next()? {
        match field.number {
            1 => add.delta = field.sint64()?,
            2 => add.floor = Some(field.sint64()?),
            3 => add.ceiling = Some(field.sint64()?),
            number => return Err(part.unknown(number)),
        }
    }
    Ok(Operation::Add { key: Bytes::new(), add })
}

fn compare_and_set(mut part: Part<'_>, extras: &mut Extras<Input>) -> Result<Operation, InvalidWork> {
    let (mut expected, mut value) = (None, None);
    while let Some(field) = part.fields.next()? {
        match field.number {
            1 => expected = Some(field.bytes(part.whole)?),
            2 => value = Some(field.bytes(part.whole)?),
            3 => once(&mut extras.expected_from, input(Part { fields: field.message()?, ..part })?)?,
            4 => once(&mut extras.value_from, input(Part { fields: field.message()?, ..part })?)?,
            number => return Err(part.unknown(number)),
        }
    }
    Ok(Operation::CompareAndSet { key: Bytes::new(), expected, value })
}

fn input(part: Part<'_>) -> Result<Input, InvalidWork> {
    Input::read(part.fields, part.whole, part.at)
}

/// Appends one operation to a work.
pub(super) fn write(out: &mut Writer, operation: &Operation, extras: &Extras<Input>) {
    let Extras { key_suffix_from, value_from, expected_from, pend, respect_pending, value_in_branch } = extras;
    out.message(1, |out| {
        if !operation.key().is_empty() {
            out.bytes(1, operation.key());
        }
        match operation {
            Operation::Get { .. } => out.message(2, |_| ()),
            Operation::Put { value, .. } => out.message(3, |out| {
                if !value.is_empty() {
                    out.bytes(1, value);
                }
                reference(out, 2, value_from.as_ref());
                optional(out, 3, value_in_branch.as_ref());
            }),
            Operation::Delete { .. } => out.message(4, |_| ()),
            Operation::Add { add: Add { delta, floor, ceiling }, .. } => out.message(5, |out| {
                if *delta != 0 {
                    out.sint64(1, *delta);
                }
                for (number, bound) in [(2, floor), (3, ceiling)] {
                    bound.iter().for_each(|bound| out.sint64(number, *bound));
                }
            }),
            Operation::CompareAndSet { expected, value, .. } => out.message(6, |out| {
                optional(out, 1, expected.as_ref());
                optional(out, 2, value.as_ref());
                reference(out, 3, expected_from.as_ref());
                reference(out, 4, value_from.as_ref());
            }),
        }
        reference(out, 7, key_suffix_from.as_ref());
        for (number, flag) in [(8, *pend), (9, *respect_pending)] {
            if flag {
                out.uint32(number, 1);
            }
        }
    });
}

fn optional(out: &mut Writer, number: u32, value: Option<&Bytes>) {
    value.iter().for_each(|value| out.bytes(number, value));
}

fn reference(out: &mut Writer, number: u32, from: Option<&Input>) {
    from.iter().for_each(|from| from.write(out, number));
}
