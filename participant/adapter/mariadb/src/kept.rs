//! The table of what a participant keeps beside its transactions: its audit record.

use crate::class::{class_of, told};
use crate::connect::Absent;
use crate::session::Session;
use crate::shared::Shared;
use crate::value::bytes;
use mysql_async::Error;
use std::sync::{Arc, Weak};
use undoubt_platform::audit::AUDIT;
use undoubt_platform::{Fenced, StoreError};
use undoubt_sql::{Changes, Keeper, KeptStore, Pair, not_kept};

/// The size of a statement's list; a single part may be larger, as large as a batch of the store.
const MAX_LIST_BYTES: usize = 1 << 20;

struct Table(Weak<Shared>);

/// Opens what is kept.
pub(crate) async fn open(shared: &Arc<Shared>) -> Result<KeptStore, StoreError> {
    KeptStore::open(Table(Arc::downgrade(shared)), &[AUDIT]).await
}

impl Table {
    /// Runs something on the session that owns the database, and so does nobody else.
    async fn with<T>(&self, call: impl AsyncFnOnce(&mut Session) -> Result<T, Error>) -> Result<T, StoreError> {
        let ended = || StoreError::Stopped { cause: "the participant has ended".to_owned() };
        let shared = self.0.upgrade().ok_or_else(ended)?;
        let mut control = shared.sessions.control().await.map_err(absent)?;
        call(&mut control).await.map_err(|error| refused(&error))
    }
}

impl Keeper for Table {
    async fn load(&self) -> Result<Vec<Pair>, StoreError> {
        let rows =
            self.with(async |session| session.rows("SELECT family, name, value FROM undoubt_kept").await).await?;
        let pair = |row: &mysql_async::Row| {
            let (family, key, value): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Some(Pair { family: String::from_utf8(family).ok()?, key: key.into(), value: value.into() })
        };
        let damaged = || StoreError::Stopped { cause: "the table undoubt_kept is damaged".to_owned() };
        rows.iter().map(pair).collect::<Option<_>>().ok_or_else(damaged)
    }

    async fn keep(&self, changes: &Changes) -> Result<(), StoreError> {
        let keys =
            changes.deleted.iter().map(|(family, key)| format!("({}, {})", bytes(family.as_bytes()), bytes(key)));
        let rows = changes.put.iter().map(|Pair { family, key, value }| {
            format!("({}, {}, {})", bytes(family.as_bytes()), bytes(key), bytes(value))
        });
        let deletes = lists(keys).map(|keys| format!("DELETE FROM undoubt_kept WHERE (family, name) IN ({keys})"));
        let inserts = lists(rows).map(|rows| {
            format!("INSERT INTO undoubt_kept (family, name, value) VALUES {rows} ON DUPLICATE KEY UPDATE value = VALUES(value)")
        });
        let mut statements = vec!["START TRANSACTION".to_owned()];
        statements.extend(deletes.chain(inserts));
        statements.push("COMMIT".to_owned());
        self.with(async |session| {
            for statement in &statements {
                if let Err(error) = session.run(statement).await {
                    if !session.is_broken() {
                        session.run("ROLLBACK").await?;
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
        .await
    }
}

/// Returns the parts as lists for one statement each. A server takes no message above its `max_allowed_packet`, and what could not be
/// kept for a while is more than that.
fn lists(parts: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut parts = parts.peekable();
    std::iter::from_fn(move || {
        let mut list = parts.next()?;
        while let Some(part) = parts.next_if(|part| list.len() + part.len() < MAX_LIST_BYTES) {
            list.push_str(", ");
            list.push_str(&part);
        }
        Some(list)
    })
}

fn absent(absent: Absent) -> StoreError {
    match absent {
        Absent::Away(cause) => StoreError::Unavailable { cause },
        Absent::Fenced(detail) => Fenced { detail }.into(),
        Absent::Foreign(cause) => StoreError::Stopped { cause },
    }
}

fn refused(error: &Error) -> StoreError {
    not_kept(class_of(error), "undoubt_kept", told(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_parts_go_in_several_statements_and_none_is_left_out() {
        let part = "x".repeat(MAX_LIST_BYTES / 3);
        let cut: Vec<usize> = lists(std::iter::repeat_n(part, 7)).map(|list| list.split(", ").count()).collect();
        assert_eq!(cut.iter().sum::<usize>(), 7);
        assert!(cut.len() > 2 && cut.iter().all(|parts| *parts <= 3), "{cut:?}");
        assert_eq!(lists(std::iter::empty()).count(), 0);
        assert_eq!(lists(std::iter::once("x".repeat(MAX_LIST_BYTES * 2))).count(), 1);
    }
}
