//! The books of a service: its accounts, registers and marks, under the names that key-value stores have them, and what it knows of each
//! effect.

use super::wire::Answer;
use crate::plan::Shape;
use crate::run::{Effect, Op};
use crate::world::workload::{account_key, mark_key, padded, register_key};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use undoubt_platform::{Batch, Direction, Family, Store, StoreError};

pub(super) const DATA: Family = Family("data");
pub(in crate::world) const EFFECT: Family = Family("effect");
pub(super) const FAMILIES: [Family; 2] = [DATA, EFFECT];

/// The effects that are read at once; no world has more.
const MAX_EFFECTS: usize = 100_000;

/// What is kept of an effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) tx: String,
    /// What it does; nothing of an effect that was undone before anybody asked for it.
    pub(super) ops: Vec<Op>,
    /// What was answered, by operation: only what is to be answered again.
    pub(super) answers: BTreeMap<String, Answer>,
    pub(super) held: bool,
    pub(super) in_effect: bool,
    pub(super) undone: bool,
    /// Somebody else dropped what it held.
    pub(super) dropped: bool,
    /// The former contents of the registers that it has written.
    pub(super) replaced: BTreeMap<String, Option<String>>,
}

/// Returns what a row of [`EFFECT`] tells; `None` if it is no such row.
pub(in crate::world) fn effect_of(key: &[u8], value: &[u8]) -> Option<Effect> {
    let Page { tx, answers, held, in_effect, dropped, .. } = serde_json::from_slice(value).ok()?;
    let done = answers.into_iter().filter(|(_, answer)| answer.is_done()).map(|(operation, _)| operation).collect();
    Some(Effect { tx, name: String::from_utf8_lossy(key).into_owned(), done, in_effect, held, dropped })
}

/// The changes that one request makes, on top of what is kept.
pub(super) struct Draft<'a> {
    books: &'a Books,
    changes: BTreeMap<String, Option<String>>,
}

pub(super) struct Books {
    store: Arc<dyn Store>,
    shape: Shape,
}

impl Books {
    pub(super) fn new(store: Arc<dyn Store>, shape: Shape) -> Books {
        Books { store, shape }
    }

    /// Returns all that is kept of effects, by their names.
    pub(super) fn pages(&self) -> Result<BTreeMap<String, Page>, StoreError> {
        let rows = self.store.scan(EFFECT, &[], None, Direction::Forward, MAX_EFFECTS)?;
        let read = |(key, value): (Bytes, Bytes)| {
            Some((String::from_utf8_lossy(&key).into_owned(), serde_json::from_slice(&value).ok()?))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) fn draft(&self) -> Draft<'_> {
        Draft { books: self, changes: BTreeMap::new() }
    }

    fn value(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.store.get(DATA, key.as_bytes())?.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
}

/// The reason why a draft is not made.
pub(super) enum NoDraft {
    /// An account would fall below its floor.
    Floor(u8),
    Store(StoreError),
}

impl From<StoreError> for NoDraft {
    fn from(error: StoreError) -> Self {
        NoDraft::Store(error)
    }
}

impl Draft<'_> {
    fn value(&self, key: &str) -> Result<Option<String>, StoreError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.books.value(key),
        }
    }

    /// Does what a transaction does, and returns what each operation is answered, as a key-value store answers it.
    pub(super) fn does(&mut self, tx: &str, ops: &[Op]) -> Result<Vec<Option<String>>, NoDraft> {
        let mut values = Vec::new();
        for op in ops {
            match op {
                Op::Transfer { account, delta } => {
                    let sum = self.number(*account)? + delta;
                    if sum < -Op::OPENING_BALANCE {
                        return Err(NoDraft::Floor(*account));
                    }
                    self.changes.insert(account_key(*account), Some(sum.to_string()));
                    values.push(Some(sum.to_string()));
                }
                Op::ReadAccount { account } => values.push(self.value(&account_key(*account))?),
                Op::ReadRegister { register } => values.push(self.value(&register_key(*register))?),
                Op::ReadWrite { register } => {
                    let key = register_key(*register);
                    values.extend([self.value(&key)?, None]);
                    let own = String::from_utf8_lossy(&padded(tx, &self.books.shape)).into_owned();
                    self.changes.insert(key, Some(own));
                }
            }
        }
        if ops.iter().any(Op::writes) {
            let empty = String::from_utf8_lossy(&padded("", &self.books.shape)).into_owned();
            self.changes.insert(mark_key(tx), Some(empty));
        }
        Ok(values)
    }

    /// Takes back what a page says was done.
    pub(super) fn takes_back(&mut self, page: &Page) -> Result<(), StoreError> {
        for op in &page.ops {
            match op {
                Op::Transfer { account, delta } => {
                    let sum = self.number(*account)? - delta;
                    self.changes.insert(account_key(*account), Some(sum.to_string()));
                }
                Op::ReadWrite { .. } | Op::ReadAccount { .. } | Op::ReadRegister { .. } => {}
            }
        }
        self.changes.extend(page.replaced.clone());
        self.changes.insert(mark_key(&page.tx), None);
        Ok(())
    }

    fn number(&self, account: u8) -> Result<i64, StoreError> {
        Ok(self.value(&account_key(account))?.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// Returns what registers held that this writes.
    pub(super) fn replaced(&self) -> Result<BTreeMap<String, Option<String>>, StoreError> {
        let registers = self.changes.keys().filter(|key| key.starts_with("register/"));
        registers.map(|key| Ok((key.clone(), self.books.value(key)?))).collect()
    }

    /// Returns the one write of these changes and of what is known of the effect from then on.
    pub(super) fn with_page(self, effect: &str, page: &Page) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        for (key, value) in self.changes {
            match value {
                Some(value) => batch.put(DATA, key.into_bytes(), value.into_bytes()),
                None => batch.delete(DATA, key.into_bytes()),
            };
        }
        let cause = |error: serde_json::Error| StoreError::Stopped { cause: error.to_string() };
        batch.put(EFFECT, effect.as_bytes(), serde_json::to_vec(page).map_err(cause)?);
        Ok(batch)
    }
}
