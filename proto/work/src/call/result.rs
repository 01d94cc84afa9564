//! The results of calls.

use crate::datum::Datum;
use crate::results::NoResults;
use crate::wire::{Fields, Writer};
use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// The values of a row, one for each column.
pub type Cells = Vec<Datum>;

/// The result of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallResult {
    /// The rows that its statements have written.
    pub affected: u64,
    /// The columns of what its last statement that returns rows returned.
    pub columns: Vec<String>,
    pub rows: Vec<Cells>,
}

impl CallResult {
    /// Returns the value of a column in a row, by its name; `None` if there is no such row or column.
    pub fn cell(&self, row: usize, column: &str) -> Option<&Datum> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(place)
    }

    /// Returns lines for people: one for each row, or how many rows were written where none is returned.
    pub(crate) fn shown(&self) -> Vec<String> {
        if self.columns.is_empty() {
            let rows = if self.affected == 1 { "row" } else { "rows" };
            return vec![format!("{} {rows} written", self.affected)];
        }
        if self.rows.is_empty() {
            return vec!["no rows".to_owned()];
        }
        let cell = |(name, value): (&String, &Datum)| match value.to_text() {
            Some(text) => format!("{name}={}", crate::text::to_word(text.as_bytes())),
            None => format!("{name}=null"),
        };
        self.rows.iter().map(|row| self.columns.iter().zip(row).map(cell).collect::<Vec<_>>().join(" ")).collect()
    }

    pub(crate) fn read(mut fields: Fields<'_>, whole: &Bytes) -> Result<CallResult, NoResults> {
        let mut result = CallResult::default();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => result.affected = field.uint64()?,
                2 => {
                    let name = String::from_utf8(field.bytes(whole)?.into());
                    result.columns.push(name.map_err(|_| NoResults::Column)?);
                }
                3 => result.rows.push(read_row(field.message()?, whole)?),
                number => return Err(NoResults::Unknown { what: "a call's result's field", number }),
            }
        }
        match result.rows.iter().all(|row| row.len() == result.columns.len()) {
            true => Ok(result),
            false => Err(NoResults::Row),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        if self.affected > 0 {
            out.uint64(1, self.affected);
        }
        self.columns.iter().for_each(|name| out.bytes(2, name.as_bytes()));
        for row in &self.rows {
            out.message(3, |out| row.iter().for_each(|value| out.message(1, |out| value.write(out))));
        }
    }
}

fn read_row(mut fields: Fields<'_>, whole: &Bytes) -> Result<Cells, NoResults> {
    let mut row = Cells::new();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => row.push(Datum::read(field.message()?, whole).map_err(NoResults::Datum)?),
            number => return Err(NoResults::Unknown { what: "a row's field", number }),
        }
    }
    Ok(row)
}

impl Serialize for CallResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("affected", &self.affected)?;
        map.serialize_entry("columns", &self.columns)?;
        map.serialize_entry("rows", &self.rows)?;
        map.end()
    }
}
