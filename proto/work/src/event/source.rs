//! The sources of what an event takes from elsewhere.

use crate::invalid_work::InvalidWork;
use crate::reference::{Input, Place, Reference};
use crate::wire::{Fields, Writer, once};
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// The source of a value. `R`: how it refers to the results of steps. As text it is a [`Reference`], and without the step what the very
/// work leaves that the event is part of: `.N`, `.N.COLUMN` or `.N.COLUMN[ROW]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<R = Reference> {
    /// Left by an earlier step of the saga.
    Step(R),
    /// Left by the very work that the event is part of.
    Own(Place),
}

impl Source {
    /// Returns what an operation of the same work leaves. `operation` counts from 0.
    pub fn own(operation: u32) -> Source {
        Source::Own(Place { operation, cell: None })
    }

    /// Returns a column of the first row that a call of the same work returns. `call` counts from 0.
    pub fn own_column(call: u32, column: &str) -> Source {
        Source::Own(Place::of_column(call, column))
    }

    /// Takes it from another row, counted from 0. Of a column.
    #[must_use]
    pub fn row(self, row: u32) -> Source {
        match self {
            Source::Step(from) => Source::Step(from.row(row)),
            Source::Own(place) => Source::Own(place.row(row)),
        }
    }

    pub(super) fn with_inputs(&self, inputs: &[&str]) -> Result<Source<Input>, InvalidWork> {
        match self {
            Source::Step(from) => from.resolve(inputs).map(Source::Step),
            Source::Own(place) => Ok(Source::Own(place.clone())),
        }
    }
}

impl From<Reference> for Source {
    fn from(from: Reference) -> Self {
        Source::Step(from)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Step(from) => write!(f, "{from}"),
            Source::Own(place) => write!(f, ".{place}"),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        let from: Reference = text.parse().map_err(|why| format!("{why}; without STEP it is what this work leaves"))?;
        // No step has an empty name.
        Ok(if from.step().is_empty() { Source::Own(from.into_place()) } else { Source::Step(from) })
    }
}

impl Source<Input> {
    /// Reads a message `Source` in the event at this place.
    pub(super) fn read(mut fields: Fields<'_>, whole: &Bytes, at: usize) -> Result<Source<Input>, InvalidWork> {
        let mut source = None;
        while let Some(field) = fields.next()? {
            let read = match field.number {
                1 => Source::Step(Input::read(field.message()?, whole, at)?),
                2 => match Input::read(field.message()?, whole, at)? {
                    Input { input: 0, operation, cell } => {
                        Source::Own(Place { operation, cell: cell.map(|cell| *cell) })
                    }
                    Input { .. } => {
                        return Err(unreadable(at, "a result of its own work is no input of it"));
                    }
                },
                number => return Err(InvalidWork::UnknownField { place: format!("a source of event {at}"), number }),
            };
            once(&mut source, read)?;
        }
        source.ok_or_else(|| unreadable(at, "a source names no result"))
    }

    pub(super) fn write(&self, out: &mut Writer, number: u32) {
        out.message(number, |out| match self {
            Source::Step(from) => from.write(out, 1),
            Source::Own(Place { operation, cell }) => {
                Input { input: 0, operation: *operation, cell: cell.clone().map(Box::new) }.write(out, 2);
            }
        });
    }
}

fn unreadable(at: usize, why: &str) -> InvalidWork {
    InvalidWork::Unreadable { cause: format!("event {at}: {why}") }
}
