//! The row of a prepared transaction: all that is needed to commit it, and to lock it again.

use super::engine::Writes;
use super::locks::Key;
use crate::world::database::rows::{DATA, tables};
use bytes::Bytes;
use prost::Message;
use undoubt_lock::Mode;
use undoubt_platform::Family;

#[derive(Clone, PartialEq, Message)]
pub(super) struct PreparedRow {
    #[prost(message, repeated, tag = "1")]
    writes: Vec<WriteRow>,
    #[prost(message, repeated, tag = "2")]
    locks: Vec<LockRow>,
}

#[derive(Clone, PartialEq, Message)]
struct WriteRow {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct LockRow {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
    #[prost(bool, tag = "3")]
    exclusive: bool,
}

impl PreparedRow {
    pub(super) fn of(writes: &Writes, locks: Vec<(Key, Mode)>) -> PreparedRow {
        let write = |((family, key), value): (&Key, &Option<Bytes>)| WriteRow {
            table: family.0.to_owned(),
            key: key.clone(),
            value: value.clone(),
        };
        let lock = |((family, key), mode): (Key, Mode)| LockRow {
            table: family.0.to_owned(),
            key,
            exclusive: mode == Mode::Exclusive,
        };
        PreparedRow { writes: writes.iter().map(write).collect(), locks: locks.into_iter().map(lock).collect() }
    }

    pub(super) fn writes(&self) -> Writes {
        self.writes.iter().map(|row| ((table(&row.table), row.key.clone()), row.value.clone())).collect()
    }

    pub(super) fn locks(&self) -> impl Iterator<Item = (Key, Mode)> + '_ {
        self.locks.iter().map(|row| {
            let mode = if row.exclusive { Mode::Exclusive } else { Mode::Shared };
            ((table(&row.table), row.key.clone()), mode)
        })
    }
}

/// Nothing is written under a name that is not there.
fn table(name: &str) -> Family {
    tables().into_iter().find(|family| family.0 == name).unwrap_or(DATA)
}
