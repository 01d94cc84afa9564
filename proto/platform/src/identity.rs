//! The identity of a folder's data.
//!
//! Kept in the family `meta`, one key each, so that a folder can be looked into with RocksDB's own tools:
//!
//! | key | value |
//! | --- | --- |
//! | `format` | version of everything stored: u32, big endian |
//! | `kind` | `coordinator` or `participant` |
//! | `name` | the owner's name, UTF-8 |
//! | `id` | 16 bytes, drawn when the folder was new: tells a wiped folder from the one before it |
//!
//! The data of another owner, or in a format that this program does not read, is refused before anything is read from it or written to it.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::store::{Batch, Direction, Durability, Family, Store, StoreError, write_until_taken};

/// The version of what this program stores.
///
/// It reads what every version since [`OLDEST_FORMAT`] has stored, and a folder becomes of this one when it is opened. A small
/// folder of each is kept in the tests (`bin/tests/formats`), and opened by them.
///
/// * 5: the first that is kept.
/// * 6: a participant over a key-value store keeps the events that work publishes, and subscriptions, in families of their own.
/// * 7: logs of events are dropped behind their readers, and subscriptions may begin behind what was dropped; attempts of reactions over HTTP.
pub const FORMAT: u32 = 7;

/// The oldest version whose folders this program opens.
pub const OLDEST_FORMAT: u32 = 5;

/// The family in which both servers keep it.
pub const META_NAME: &str = "meta";

const FORMAT_KEY: &str = "format";
const KIND_KEY: &str = "kind";
const NAME_KEY: &str = "name";
const ID_KEY: &str = "id";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Coordinator,
    Participant,
    Observer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub kind: Kind,
    pub name: String,
    pub id: [u8; 16],
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    #[error(
        "what is stored here has format {found}, but this program knows formats up to {known}. A newer version wrote it: \
         start that version, or a newer one"
    )]
    NewerFormat { found: u32, known: u32 },
    #[error(
        "what is stored here has format {found}, and this program reads formats from {oldest} on. A version of before the first \
         whose data is kept wrote it: let that version finish what is open, then begin with an empty folder"
    )]
    OlderFormat { found: u32, oldest: u32 },
    #[error("what is stored here belongs to a {found}, not a {expected}. Give this {expected} data of its own")]
    OtherKind { found: Kind, expected: Kind },
    #[error(
        "what is stored here belongs to {kind} '{found}', not '{expected}'. Start it under its own name, or give it other data: \
         what it has promised holds for that name only"
    )]
    OtherName { kind: Kind, found: String, expected: String },
    #[error(
        "the stored {key} is missing or malformed, so it is unknown whose data this is. Restore it from a backup; do \
         not start with an older copy"
    )]
    Malformed { key: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns whose data it is, for people, from what is stored under the keys of the family [`META_NAME`]; `None` where that cannot
/// be told.
pub fn owner(stored: impl Fn(&str) -> Option<Vec<u8>>) -> Option<String> {
    let text = |key| Some(String::from_utf8_lossy(&stored(key)?).into_owned());
    Some(format!("{} '{}'", text(KIND_KEY)?, text(NAME_KEY)?))
}

/// Reads whose data this is and refuses if it is another's; a new store becomes the caller's, with `fresh_id`, and
/// that is on stable storage when this returns.
pub async fn establish(
    store: &dyn Store,
    meta: Family,
    kind: Kind,
    name: &str,
    fresh_id: [u8; 16],
) -> Result<Identity, IdentityError> {
    if is_new(store, meta)? {
        let mut batch = Batch::default();
        batch.put(meta, FORMAT_KEY, FORMAT.to_be_bytes());
        batch.put(meta, KIND_KEY, kind.as_str());
        batch.put(meta, NAME_KEY, name);
        batch.put(meta, ID_KEY, fresh_id);
        write_until_taken(store, batch, Durability::Forced).await?;
    }
    let (identity, format) = read_and_compare(store, meta, kind, name)?;
    if format < FORMAT {
        // Before anything is stored that the version before could not read.
        let mut batch = Batch::default();
        batch.put(meta, FORMAT_KEY, FORMAT.to_be_bytes());
        write_until_taken(store, batch, Durability::Forced).await?;
    }
    Ok(identity)
}

/// Returns the name of the owner that is stored; `None` if nobody has owned it yet.
pub fn stored_owner(store: &dyn Store, meta: Family) -> Result<Option<String>, StoreError> {
    let stored = store.get(meta, NAME_KEY.as_bytes())?;
    Ok(stored.map(|name| String::from_utf8_lossy(&name).into_owned()))
}

/// Stores the name of the owner, of a store that holds nothing else of an identity.
pub fn put_owner(batch: &mut Batch, meta: Family, name: &str) {
    batch.put(meta, NAME_KEY, name);
}

fn is_new(store: &dyn Store, meta: Family) -> Result<bool, StoreError> {
    Ok(store.scan(meta, &[], None, Direction::Forward, 1)?.is_empty())
}

fn read_and_compare(store: &dyn Store, meta: Family, kind: Kind, name: &str) -> Result<(Identity, u32), IdentityError> {
    let stored = |key: &'static str| -> Result<Bytes, IdentityError> {
        store.get(meta, key.as_bytes())?.ok_or(IdentityError::Malformed { key })
    };
    let format = u32::from_be_bytes(fixed(&stored(FORMAT_KEY)?, FORMAT_KEY)?);
    if format > FORMAT {
        return Err(IdentityError::NewerFormat { found: format, known: FORMAT });
    }
    if format < OLDEST_FORMAT {
        return Err(IdentityError::OlderFormat { found: format, oldest: OLDEST_FORMAT });
    }
    let found_kind = Kind::parse(&stored(KIND_KEY)?).ok_or(IdentityError::Malformed { key: KIND_KEY })?;
    if found_kind != kind {
        return Err(IdentityError::OtherKind { found: found_kind, expected: kind });
    }
    let found_name =
        String::from_utf8(stored(NAME_KEY)?.to_vec()).map_err(|_| IdentityError::Malformed { key: NAME_KEY })?;
    if found_name != name {
        return Err(IdentityError::OtherName { kind, found: found_name, expected: name.to_owned() });
    }
    Ok((Identity { kind, name: found_name, id: fixed(&stored(ID_KEY)?, ID_KEY)? }, format))
}

fn fixed<const BYTES: usize>(stored: &Bytes, key: &'static str) -> Result<[u8; BYTES], IdentityError> {
    stored.as_ref().try_into().map_err(|_| IdentityError::Malformed { key })
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Coordinator => "coordinator",
            Kind::Participant => "participant",
            Kind::Observer => "observer",
        }
    }

    fn parse(stored: &[u8]) -> Option<Kind> {
        [Kind::Coordinator, Kind::Participant, Kind::Observer]
            .into_iter()
            .find(|kind| kind.as_str().as_bytes() == stored)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
