//! A result of a step that a later one uses, whatever the kinds of the two.

use crate::call::CallResult;
use crate::datum::Datum;
use crate::http::HttpResult;
use crate::invalid_work::InvalidWork;
use crate::results::{Known, Value, referred};
use crate::wire::{Fields, Writer};
use crate::work::Work;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;
use undoubt_vocabulary::{Refusal, RefusalCode};

/// A value that an earlier step of the saga read or made: the value in its results at this place. A compensation may
/// also refer to the results of its own step. As text: `STEP.N`, of a call's result `STEP.N.COLUMN` or `STEP.N.COLUMN[ROW]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    step: String,
    place: Place,
}

/// The place of a value in results. As text it is what a [`Reference`] has behind the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operation or the call, from 0.
    pub operation: u32,
    /// The place in a call's result; `None` of an operation's.
    pub cell: Option<Cell>,
}

/// A place in the rows of a call's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The column, by its name.
    pub column: String,
    /// The row, from 0.
    pub row: u32,
}

impl Reference {
    /// Returns a reference to what an operation of a step left. `operation` counts from 0.
    pub fn to(step: &str, operation: u32) -> Self {
        Reference { step: step.to_owned(), place: Place { operation, cell: None } }
    }

    /// Returns a reference to a column of the first row that a call of a step returned. `call` counts from 0.
    pub fn to_column(step: &str, call: u32, column: &str) -> Self {
        Reference { step: step.to_owned(), place: Place::of_column(call, column) }
    }

    /// Refers to another row, counted from 0. Of a reference to a column.
    #[must_use]
    pub fn row(self, row: u32) -> Self {
        Reference { place: self.place.row(row), ..self }
    }

    /// Returns the step's name.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// Returns the place in the step's results.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn into_place(self) -> Place {
        self.place
    }

    /// Returns the place of the operation or the call in the step, from 0.
    pub fn operation(&self) -> u32 {
        self.place.operation
    }

    /// Returns the place in a call's result; `None` of an operation's.
    pub fn cell(&self) -> Option<&Cell> {
        self.place.cell.as_ref()
    }

    pub(crate) fn resolve(&self, inputs: &[&str]) -> Result<Input, InvalidWork> {
        let input = inputs.iter().position(|input| *input == self.step).and_then(|at| u32::try_from(at).ok());
        let input = input.ok_or_else(|| InvalidWork::NoSuchInput { step: self.step.clone() })?;
        let Place { operation, cell } = self.place.clone();
        Ok(Input { input, operation, cell: cell.map(Box::new) })
    }

    /// Returns the fault of a reference to what this work leaves, as far as it is known beforehand.
    pub(crate) fn fault(&self, work: &Work) -> Option<InvalidWork> {
        work.is_no_value(&self.place).map(|why| InvalidWork::NoSuchValue { from: self.clone().into(), why })
    }
}

impl Place {
    /// Returns the place of a column in the first row that a call returned. `call` counts from 0.
    pub(crate) fn of_column(call: u32, column: &str) -> Place {
        Place { operation: call, cell: Some(Cell { column: column.to_owned(), row: 0 }) }
    }

    /// Returns it in another row, counted from 0. Of a place in a column.
    pub(crate) fn row(mut self, row: u32) -> Place {
        if let Some(cell) = &mut self.cell {
            cell.row = row;
        }
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { operation, cell } = self;
        match cell {
            None => write!(f, "{operation}"),
            Some(Cell { column, row: 0 }) => write!(f, "{operation}.{column}"),
            Some(Cell { column, row }) => write!(f, "{operation}.{column}[{row}]"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.step, self.place)
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Reference, String> {
        let operation = |text: &str| {
            let (step, operation) = text.rsplit_once('.')?;
            Some(Reference::to(step, operation.parse().ok()?))
        };
        let cell = || {
            let (operation_text, cell) = text.rsplit_once('.')?;
            let (column, row) = match cell.strip_suffix(']').and_then(|cell| cell.split_once('[')) {
                Some((column, row)) => (column, row.parse().ok()?),
                None => (cell, 0),
            };
            let is_name = !column.is_empty() && !column.starts_with(|first: char| first.is_ascii_digit());
            let cell = Cell { column: column.to_owned(), row };
            operation(operation_text)
                .filter(|_| is_name)
                .map(|from| Reference { place: Place { cell: Some(cell), ..from.place }, ..from })
        };
        operation(text).or_else(cell).ok_or_else(|| {
            format!(
                "{text:?} is no result of a step; write STEP.N, where N counts from 0, or STEP.N.COLUMN of a call's"
            )
        })
    }
}

/// A reference as the participant reads it: its step is one of those whose results it is handed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The place of the input, from 0.
    pub input: u32,
    /// The place of the operation or the call, from 0.
    pub operation: u32,
    /// The place in a call's result; boxed, because operations have many references, and few are to calls.
    pub cell: Option<Box<Cell>>,
}

/// For refusals.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "result {} of input {}", self.operation, self.input)
    }
}

impl Input {
    /// Reads a message `Reference` in the operation or call at this place.
    pub(crate) fn read(mut fields: Fields<'_>, whole: &Bytes, at: usize) -> Result<Input, InvalidWork> {
        let (mut input, mut column, mut row) = (Input::default(), Bytes::new(), 0);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => input.input = field.uint32()?,
                2 => input.operation = field.uint32()?,
                3 => column = field.bytes(whole)?,
                4 => row = field.uint32()?,
                number => {
                    return Err(InvalidWork::UnknownField { place: format!("a reference of operation {at}"), number });
                }
            }
        }
        if !column.is_empty() {
            let column = String::from_utf8(column.into());
            let unreadable = |_| InvalidWork::Unreadable { cause: "a column's name is no UTF-8".to_owned() };
            input.cell = Some(Box::new(Cell { column: column.map_err(unreadable)?, row }));
        }
        Ok(input)
    }

    pub(crate) fn write(&self, out: &mut Writer, number: u32) {
        out.message(number, |out| {
            let row = self.cell.as_ref().map_or(0, |cell| cell.row);
            for (number, value) in [(1, self.input), (2, self.operation), (4, row)] {
                if value != 0 {
                    out.uint32(number, value);
                }
            }
            self.cell.iter().for_each(|cell| out.bytes(3, cell.column.as_bytes()));
        });
    }
}

/// The results of earlier steps. One is read when the first reference is to it: others may be raw.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// `None`: this is no step, so there are no earlier ones.
    encoded: Option<&'a [Bytes]>,
    read: BTreeMap<u32, Known>,
}

impl<'a> Inputs<'a> {
    /// Returns those of a branch, which has none.
    pub fn of_branch() -> Self {
        Inputs { encoded: None, read: BTreeMap::new() }
    }

    /// Returns those that a step is handed.
    pub fn of_step(inputs: &'a [Bytes]) -> Self {
        Inputs { encoded: Some(inputs), read: BTreeMap::new() }
    }

    /// Returns the value that this refers to, as an operation takes it.
    ///
    /// # Errors
    /// With [`RefusalCode::InvalidWork`] if there is no such result.
    pub fn value(&mut self, from: &Input) -> Result<Value, Refusal> {
        let Input { input, operation, cell } = from;
        let missing = |count| invalid(format!("{from} is referred to, but it has {count}, counted from 0; correct it"));
        match (self.results(*input)?, cell) {
            (Known::Values(values), None) => {
                values.get(*operation as usize).cloned().ok_or_else(|| missing(values.len()))
            }
            (Known::Values(_), Some(cell)) => Err(invalid(format!(
                "column {} of input {input} is referred to, but it holds results of operations, which have none; leave the column out",
                cell.column
            ))),
            (Known::Answer(answer), cell) => part_of(answer, cell.as_deref(), from).map(Into::into),
            (Known::Calls(calls), cell) => {
                let call = calls.get(*operation as usize).ok_or_else(|| missing(calls.len()))?;
                cell_of(call, cell.as_deref(), from).map(|datum| datum.clone().into())
            }
        }
    }

    /// Returns the value that this refers to, as a call takes it.
    ///
    /// # Errors
    /// With [`RefusalCode::InvalidWork`] if there is no such result.
    pub fn datum(&mut self, from: &Input) -> Result<Datum, Refusal> {
        match (self.results(from.input)?, &from.cell) {
            (Known::Answer(answer), cell) => part_of(answer, cell.as_deref(), from),
            (Known::Calls(calls), Some(cell)) if calls.len() > from.operation as usize => {
                cell_of(&calls[from.operation as usize], Some(cell), from).cloned()
            }
            (Known::Calls(_) | Known::Values(_), _) => self.value(from).map(Datum::from),
        }
    }

    /// Returns the bytes that stand for the value that this refers to.
    ///
    /// # Errors
    /// Also if there is no value.
    pub fn present(&mut self, from: &Input) -> Result<Bytes, Refusal> {
        self.value(from)?.into_bytes().ok_or_else(|| no_value(from))
    }

    fn results(&mut self, input: u32) -> Result<&Known, Refusal> {
        let Some(encoded) = self.encoded else {
            return Err(invalid(
                "only a saga's step can refer to results of earlier ones; give the value itself".into(),
            ));
        };
        match self.read.entry(input) {
            Entry::Occupied(read) => Ok(read.into_mut()),
            Entry::Vacant(unread) => {
                let Some(results) = encoded.get(input as usize) else {
                    let count = encoded.len();
                    return Err(invalid(format!(
                        "input {input} is referred to, but there are {count}, counted from 0; let the step use another"
                    )));
                };
                let results = referred(results).map_err(|why| {
                    invalid(format!(
                        "input {input} is no undoubt.work.v1.Results ({why}); refer to steps whose results are no raw bytes"
                    ))
                })?;
                Ok(unread.insert(results))
            }
        }
    }
}

/// Returns a value of the answer to a request.
fn part_of(answer: &HttpResult, cell: Option<&Cell>, from: &Input) -> Result<Datum, Refusal> {
    let refused = |why| invalid(format!("{from} is referred to: {why}; correct it"));
    if from.operation != 0 {
        return Err(refused("a request has one answer, which is number 0".to_owned()));
    }
    answer.value(cell).map_err(refused)
}

/// Returns a value of the result of a call, which `named` names in a refusal.
pub(crate) fn cell_of<'a>(
    call: &'a CallResult,
    cell: Option<&Cell>,
    named: &dyn fmt::Display,
) -> Result<&'a Datum, Refusal> {
    let Some(Cell { column, row }) = cell else {
        return Err(invalid(format!("{named} is a call's; name the column too, as in STEP.N.COLUMN")));
    };
    call.cell(*row as usize, column).ok_or_else(|| {
        let (rows, columns) = (call.rows.len(), call.columns.join(", "));
        invalid(format!(
            "row {row}, column {column} of {named} is referred to, but it has {rows} rows, counted from 0, of these columns: {columns}; \
             correct it"
        ))
    })
}

pub(crate) fn no_value(named: &dyn fmt::Display) -> Refusal {
    invalid(format!("{named} has no value; refer to a result that has one"))
}

pub(crate) fn invalid(detail: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidWork, detail)
}
