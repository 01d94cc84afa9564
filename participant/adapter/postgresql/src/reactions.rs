//! The local transactions of subscriptions, whose rows stand in `undoubt.subscription`.

use crate::attempt::{Declined, NO_ANSWER};
use crate::class::{NOT_AS_EXPECTED, code_of, told};
use crate::events;
use crate::local::{Failed, Local, Tried, deadline_in, put_back, worker};
use crate::record::failure;
use crate::session::Session;
use crate::shared::Shared;
use crate::trip::{Answer, Part};
use crate::value::literal;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use undoubt_participant::locks::Locks;
use undoubt_participant::resource::ResourceError;
use undoubt_platform::Family;
use undoubt_sql::{End, Outbox, Pair, Procedures, Ran, ReactionTable, RowChanges, Step, Task};
use undoubt_vocabulary::{Refusal, TxId};

pub(crate) const PUT_ROW: &str = "INSERT INTO undoubt.subscription (family, key, value) VALUES ($1, $2, $3) ON CONFLICT (family, key) DO \
     UPDATE SET value = excluded.value";

/// Raises an error if the watermark is anywhere already. One that was set back is empty.
pub(crate) const FIRST_STEP: &str = "WITH stepped AS (INSERT INTO undoubt.subscription (family, key, value) VALUES ('inbox', $1, $2) ON \
     CONFLICT (family, key) DO UPDATE SET value = excluded.value WHERE undoubt.subscription.value = '' RETURNING 1) SELECT \
     undoubt.expect((SELECT count(*) FROM stepped), 1)";

/// Raises an error if the watermark is elsewhere.
pub(crate) const NEXT_STEP: &str = "WITH stepped AS (UPDATE undoubt.subscription SET value = $3 WHERE family = 'inbox' AND key = $1 AND \
     value = $2 RETURNING 1) SELECT undoubt.expect((SELECT count(*) FROM stepped), 1)";

/// Raises an error if there is no such row.
pub(crate) const DROP_ROW: &str = "WITH dropped AS (DELETE FROM undoubt.subscription WHERE family = $1 AND key = $2 RETURNING 1) SELECT \
     undoubt.expect((SELECT count(*) FROM dropped), 1)";

/// Returns what puts a row.
pub(crate) fn put_row(session: &Session, Pair { family, key, value }: &Pair) -> Part<'static> {
    session.joined(PUT_ROW, &[literal::text(family), literal::bytes(key), literal::bytes(value)])
}

fn changes(session: &Session, RowChanges { steps, put, deleted }: &RowChanges) -> Vec<Part<'static>> {
    let step = |Step { key, from, to, .. }: &Step| match from {
        None => session.joined(FIRST_STEP, &[literal::bytes(key), literal::bytes(to)]),
        Some(from) => session.joined(NEXT_STEP, &[literal::bytes(key), literal::bytes(from), literal::bytes(to)]),
    };
    let drop_row = |(Family(family), key): &(Family, Bytes)| {
        session.joined(DROP_ROW, &[literal::text(family), literal::bytes(key)])
    };
    let put = put.iter().map(|row| put_row(session, row));
    steps.iter().map(step).chain(deleted.iter().map(drop_row)).chain(put).collect()
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
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = self.0.sessions.reading_events(async move |session| {
            let statement = "SELECT key, value FROM undoubt.subscription WHERE family = $1 AND key >= $2 AND ($3::bytea IS NULL OR key < $3) \
                 ORDER BY key LIMIT $4";
            let rows = session.query(statement, &[&family, &from, &to, &limit]).await?;
            let pair = |row: &tokio_postgres::Row| {
                let (key, value): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
                Ok((Bytes::from(key), Bytes::from(value)))
            };
            rows.iter().map(pair).collect::<Result<Vec<_>, tokio_postgres::Error>>()
        });
        read.await?.map_err(|error| failure(&error))
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
        let ran = async {
            let worker = worker(shared, tx, deadline, &nobody).await?;
            let most_bytes = shared.room().largest();
            let local = Local {
                shared,
                task,
                session: worker.session(),
                step: None,
                keeps_records: true,
                deadline,
                cancelled: &nobody,
                most_bytes,
            };
            let tried = transact(&local, end).await;
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

async fn transact(local: &Local<'_>, end: impl FnOnce(Bytes) -> Result<End, Refusal>) -> Tried<Ran> {
    let results = local.run().await?;
    let End { rows, events } = match end(results) {
        Ok(end) => end,
        Err(refusal) => return Err(local.undone(refusal).await),
    };
    let mut parts = changes(local.session, &rows);
    parts.extend(local.outcome());
    parts.extend(events::put(local.session, &events));
    let count = parts.len();
    parts.push(Part::Text("COMMIT".to_owned()));
    match local.trip(parts).await {
        None => Err(Failed::unclear(NO_ANSWER.to_owned())),
        Some(Ok(answers)) if answers[..count].iter().all(|answer| matches!(answer, Answer::Count(1..))) => {
            Ok(Ran::Committed)
        }
        // The COMMIT came all the same.
        Some(Ok(_)) => Err(Failed::unclear("a row of the participant was not kept".to_owned())),
        Some(Err((at, error, _))) if at < count && code_of(&error) == Some(NOT_AS_EXPECTED) => {
            match local.rolled_back().await {
                true => Ok(Ran::Moved),
                false => Err(Failed::unclear(told(&error))),
            }
        }
        Some(Err(error)) => match local.refusal(&[], count + 2, &error) {
            // The COMMIT was not reached, or undid it.
            Some(refusal) => Err(local.undone(refusal).await),
            None => Err(Failed::unclear(told(&error.1))),
        },
    }
}
