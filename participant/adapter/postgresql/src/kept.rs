//! The table of what a participant keeps beside its transactions.

use crate::attempt::in_time;
use crate::class::{class_of, told};
use crate::connect::Absent;
use crate::shared::Shared;
use std::sync::{Arc, Weak};
use tokio_postgres::Error;
use undoubt_participant::resource::ResourceError;
use undoubt_platform::{Fenced, StoreError};
use undoubt_sql::{Changes, Keeper, KeptStore, Pair, RowNumber, WriteNumbers, not_kept};

/// One statement, and so all or none; on the session that owns the database, and so by nobody else.
const KEEP: &str = "WITH gone AS (DELETE FROM undoubt.kept k USING unnest($1::text[], $2::bytea[]) AS d (family, key) \
     WHERE k.family = d.family AND k.key = d.key) \
     INSERT INTO undoubt.kept (family, key, value) SELECT * FROM unnest($3::text[], $4::bytea[], $5::bytea[]) \
     ON CONFLICT (family, key) DO UPDATE SET value = excluded.value";

/// Starts whose highest numbers are kept.
const MAX_PAST_STARTS: i64 = 100;

struct Table(Weak<Shared>);

impl Table {
    async fn with<T>(
        &self,
        call: impl AsyncFnOnce(&crate::session::Session) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let ended = || StoreError::Stopped { cause: "the participant has ended".to_owned() };
        let shared = self.0.upgrade().ok_or_else(ended)?;
        let control = shared.sessions.control().await.map_err(absent)?;
        in_time(call(&control)).await.ok_or(Absent::Silent).map_err(absent)?.map_err(|error| refused(&error))
    }
}

impl Keeper for Table {
    async fn load(&self) -> Result<Vec<Pair>, StoreError> {
        let rows = self.with(async |session| session.query("SELECT family, key, value FROM undoubt.kept", &[]).await);
        let pair = |row: &tokio_postgres::Row| {
            let (key, value): (Vec<u8>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
            Ok(Pair { family: row.try_get(0)?, key: key.into(), value: value.into() })
        };
        rows.await?.iter().map(pair).collect::<Result<_, Error>>().map_err(|error| refused(&error))
    }

    async fn keep(&self, changes: &Changes) -> Result<(), StoreError> {
        let (gone_families, gone_keys): (Vec<&str>, Vec<&[u8]>) =
            changes.deleted.iter().map(|(family, key)| (family.as_str(), &key[..])).unzip();
        let families: Vec<&str> = changes.put.iter().map(|pair| pair.family.as_str()).collect();
        let keys: Vec<&[u8]> = changes.put.iter().map(|pair| &pair.key[..]).collect();
        let values: Vec<&[u8]> = changes.put.iter().map(|pair| &pair.value[..]).collect();
        self.with(async |session| {
            session.execute(KEEP, &[&gone_families, &gone_keys, &families, &keys, &values]).await.map(drop)
        })
        .await
    }
}

fn absent(absent: Absent) -> StoreError {
    match absent {
        Absent::Away(cause) => StoreError::Unavailable { cause },
        Absent::Fenced(detail) => Fenced { detail }.into(),
        Absent::Foreign(cause) => StoreError::Stopped { cause },
        Absent::Silent => StoreError::Unavailable { cause: crate::attempt::NO_ANSWER.to_owned() },
    }
}

fn refused(error: &Error) -> StoreError {
    not_kept(class_of(error), "undoubt.kept", told(error))
}

/// Opens what is kept, and begins to number the writes of another start.
pub(crate) async fn begin(shared: &Arc<Shared>) -> Result<WriteNumbers, ResourceError> {
    let store = KeptStore::open(Table(Arc::downgrade(shared)), &undoubt_sql::KEPT_FAMILIES).await?;
    let control = shared.sessions.control().await?;
    let failed = |error: Error| crate::record::failure(&error);
    let drawn = control.query("SELECT ('x' || substr(gen_random_uuid()::text, 1, 8) || substr(gen_random_uuid()::text, 1, 8))::bit(64)::bigint", &[]);
    let mark: i64 = drawn.await.map_err(failed)?[0].try_get(0).map_err(failed)?;
    let rows = control.query(HIGHEST, &[]).await.map_err(failed)?;
    let mut held = std::collections::BTreeMap::new();
    for row in &rows {
        let start: i64 = row.try_get(0).map_err(failed)?;
        held.insert(start, crate::record::unclamped(row.try_get(1).map_err(failed)?));
    }
    let last = held.keys().last().copied().unwrap_or_default();
    control
        .execute("DELETE FROM undoubt.written WHERE start < $1", &[&(last - MAX_PAST_STARTS)])
        .await
        .map_err(failed)?;
    let log = shared.sessions.hold()?.identity.as_log();
    let held = |start: u32| held.get(&i64::from(start)).copied().unwrap_or_default();
    WriteNumbers::begin(Arc::new(store), log, mark.cast_unsigned(), held).await
}

/// The highest numbers of rows that prove a commit, by start.
const HIGHEST: &str = "SELECT start, max(write) FROM (SELECT start, write FROM undoubt.finished UNION ALL SELECT start, write FROM undoubt.step \
     UNION ALL SELECT start, write FROM undoubt.written) AS w GROUP BY start ORDER BY start";

/// Notes how far the present start has come, so that rows may go whose numbers say so.
pub(crate) async fn note_written(session: &crate::session::Session, highest: RowNumber) -> Result<(), Error> {
    session.client.batch_execute(&note_written_text(highest)).await
}

/// Returns the same as a statement.
pub(crate) fn note_written_text(RowNumber { start, write }: RowNumber) -> String {
    let write = crate::record::clamped(write);
    format!(
        "INSERT INTO undoubt.written AS w (start, write) VALUES ({start}, {write}) ON CONFLICT (start) DO UPDATE SET write = \
         greatest(w.write, excluded.write)"
    )
}

/// Returns whether the database holds all that was answered for in this start: after a reconnect, for it may be another one.
pub(crate) async fn holds(session: &crate::session::Session, highest: RowNumber) -> Result<bool, Error> {
    let statement = "SELECT coalesce(max(write), 0) FROM (SELECT write FROM undoubt.finished WHERE start = $1 UNION ALL SELECT write FROM \
         undoubt.step WHERE start = $1 UNION ALL SELECT write FROM undoubt.written WHERE start = $1) AS w";
    let rows = session.query(statement, &[&i64::from(highest.start)]).await?;
    let held: i64 = rows[0].try_get(0)?;
    Ok(held >= crate::record::clamped(highest.write))
}
