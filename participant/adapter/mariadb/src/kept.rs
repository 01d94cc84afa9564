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
use undoubt_sql::{Changes, Class, Keeper, KeptStore, Pair};

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
        let mut statements = vec!["START TRANSACTION".to_owned()];
        if !changes.deleted.is_empty() {
            let keys =
                changes.deleted.iter().map(|(family, key)| format!("({}, {})", bytes(family.as_bytes()), bytes(key)));
            statements.push(format!("DELETE FROM undoubt_kept WHERE (family, name) IN ({})", list(keys)));
        }
        if !changes.put.is_empty() {
            let rows = changes.put.iter().map(|Pair { family, key, value }| {
                format!("({}, {}, {})", bytes(family.as_bytes()), bytes(key), bytes(value))
            });
            statements.push(format!(
                "INSERT INTO undoubt_kept (family, name, value) VALUES {} ON DUPLICATE KEY UPDATE value = VALUES(value)",
                list(rows)
            ));
        }
        statements.push("COMMIT".to_owned());
        let sql = statements.join("; ");
        self.with(async |session| match session.run(&sql).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if !session.is_broken() {
                    session.run("ROLLBACK").await?;
                }
                Err(error)
            }
        })
        .await
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn absent(absent: Absent) -> StoreError {
    match absent {
        Absent::Away(cause) => StoreError::Unavailable { cause },
        Absent::Fenced(detail) => Fenced { detail }.into(),
        Absent::Foreign(cause) => StoreError::Stopped { cause },
    }
}

fn refused(error: &Error) -> StoreError {
    let cause = told(error);
    match class_of(error) {
        Class::Declaration | Class::Condition => {
            StoreError::Stopped { cause: format!("the table undoubt_kept is damaged: {cause}") }
        }
        Class::Conflict
        | Class::LockTimeout
        | Class::Cancelled
        | Class::Unavailable
        | Class::Access
        | Class::Unknown
        | Class::Failed => StoreError::Unavailable { cause },
    }
}
