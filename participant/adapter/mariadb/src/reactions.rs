//! The local transactions of subscriptions, whose rows stand in `undoubt_subscription`.

use crate::attempt::Declined;
use crate::local::{Failed, Local, Tried, deadline_in, in_time, put_back};
use crate::record::{binary, rows};
use crate::session::Session;
use crate::shared::Shared;
use crate::value::bytes;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::locks::Locks;
use undoubt_participant::resource::ResourceError;
use undoubt_platform::Family;
use undoubt_sql::{End, Outbox, Pair, Procedures, Ran, ReactionTable, RowChanges, Step, Task};
use undoubt_vocabulary::{Refusal, TxId};

const INBOX: &[u8] = undoubt_participant::subscription::INBOX.0.as_bytes();

/// Returns what puts a row.
pub(crate) fn put_row(Pair { family, key, value }: &Pair) -> String {
    format!(
        "INSERT INTO undoubt_subscription (family, name, value) VALUES ({}, {}, {}) ON DUPLICATE KEY UPDATE value = VALUES(value)",
        bytes(family.as_bytes()),
        bytes(key),
        bytes(value)
    )
}

/// Returns what moves a watermark, and finds one row if it was where it has to be.
fn step(Step { key, from, to, .. }: &Step) -> String {
    let (family, key, to) = (bytes(INBOX), bytes(key), bytes(to));
    match from {
        None => {
            // One that was set back is empty.
            format!(
                "DELETE FROM undoubt_subscription WHERE family = {family} AND name = {key} AND value = ''; INSERT IGNORE INTO \
                 undoubt_subscription (family, name, value) VALUES ({family}, {key}, {to})"
            )
        }
        Some(from) => format!(
            "UPDATE undoubt_subscription SET value = {to} WHERE family = {family} AND name = {key} AND value = {}",
            bytes(from)
        ),
    }
}

/// The table of subscriptions.
pub(crate) struct Reactions(pub(crate) Arc<Shared>);

impl ReactionTable for Reactions {
    fn procedures(&self) -> &Procedures {
        &self.0.procedures
    }

    fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    fn locks(&self) -> &Locks {
        &self.0.locks
    }

    async fn rows(
        &self,
        Family(family): Family,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ResourceError> {
        let before = to.map_or_else(String::new, |to| format!(" AND name < {}", bytes(to)));
        let sql = format!(
            "SELECT name, value FROM undoubt_subscription WHERE family = {} AND name >= {}{before} ORDER BY name LIMIT {limit}",
            bytes(family.as_bytes()),
            bytes(from)
        );
        let pair = |row: &mysql_async::Row| Ok((binary(row, 0)?.into(), binary(row, 1)?.into()));
        rows(&self.0, &sql).await?.iter().map(pair).collect()
    }

    async fn run(
        &self,
        tx: &TxId,
        task: &Task,
        timeout: Duration,
        end: impl FnOnce(Bytes) -> Result<End, Refusal> + Send,
    ) -> Result<Ran, ResourceError> {
        let shared = &*self.0;
        let statement_timeout = Duration::from_millis(shared.sessions.connector().settings().statement_timeout_ms);
        let (deadline, nobody) = (deadline_in(timeout + statement_timeout), CancellationToken::new());
        let most_bytes = shared.room().largest();
        let local = Local { shared, task, step: None, deadline, cancelled: &nobody, most_bytes };
        let ran = async {
            let mut worker = in_time(shared.sessions.worker(), "workers", tx, deadline, &nobody).await?;
            let tried = match transact(&local, &mut worker.session, end).await {
                Ok(Ran::Committed) => Ok(Ran::Committed),
                Ok(other) => match worker.session.run("ROLLBACK").await {
                    Ok(_) => Ok(other),
                    Err(error) => Err(Failed::broken(&crate::class::told(&error))),
                },
                Err(failed) => Err(local.undone(&mut worker.session, failed).await),
            };
            put_back(shared, worker, tried)
        };
        match ran.await {
            Ok(ran) => Ok(ran),
            Err(Declined::Refused(refusal)) => Ok(Ran::Refused(refusal)),
            Err(Declined::NoRoom) => Err(ResourceError::NoRoom),
            Err(Declined::Failed(ResourceError::Unclear { cause })) => {
                tracing::warn!(cause, "it is not known whether a reaction was written; it is looked at");
                Ok(Ran::Unclear)
            }
            Err(Declined::Failed(error)) => Err(error),
        }
    }

    async fn settle(&self) -> Result<(), ResourceError> {
        self.0.sessions.end_suspects().await
    }
}

/// Carries out a transaction, which is open yet if it returns that a row has moved.
async fn transact(
    local: &Local<'_>,
    session: &mut Session,
    end: impl FnOnce(Bytes) -> Result<End, Refusal>,
) -> Tried<Ran> {
    let results = local.run(session, &local.write()).await?;
    let End { rows: RowChanges { steps, put, deleted }, events } = end(results).map_err(Failed::free)?;
    let drop_row = |(Family(family), key): &(Family, Bytes)| {
        let (family, key) = (bytes(family.as_bytes()), bytes(key));
        format!("DELETE FROM undoubt_subscription WHERE family = {family} AND name = {key}")
    };
    for expected in steps.iter().map(step).chain(deleted.iter().map(drop_row)) {
        if local.record(session, &expected).await? != 1 {
            return Ok(Ran::Moved);
        }
    }
    let events = local.put_events(session, &events).await?;
    let put: String = put.iter().map(|row| format!("{}; ", put_row(row))).collect();
    local.last(session, &format!("{}{put}{events}COMMIT", local.outcome())).await?;
    Ok(Ran::Committed)
}
