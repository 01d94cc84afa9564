//! Records of the participant's own: single statements, each a transaction by itself, which may be repeated.

use crate::class::{class_of, code_of, told};
use crate::session::Session;
use crate::shared::Shared;
use crate::trip::{Answer, Part, in_one_trip};
use crate::value::literal;
use crate::{enlisted, kept};
use std::sync::Arc;
use tokio_postgres::Error;
use undoubt_participant::resource::{BranchId, Heuristic, Mark, Pin, Release, ResourceError, StepId};
use undoubt_sql::{Class, RowNumber};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Epoch, LowWaterMark, StepIndex, Timestamp, TxId};

/// Rows that one statement deletes of what is over.
const MAX_COLLECTED_ROWS: u64 = 2_000;

/// Returns what an error of a record means for the call that needs it.
pub(crate) fn failure(error: &Error) -> ResourceError {
    let cause = told(error);
    match (class_of(error), code_of(error)) {
        (Class::Unknown, _) => ResourceError::Unclear { cause },
        (_, Some("42P01" | "42703" | "42883" | "XX001" | "XX002")) => {
            let cause = format!("the participant's own tables in the schema undoubt are damaged: {cause}");
            ResourceError::Stopped { cause }
        }
        (
            Class::Condition
            | Class::Declaration
            | Class::Conflict
            | Class::LockTimeout
            | Class::Cancelled
            | Class::Unavailable
            | Class::Access
            | Class::Failed,
            _,
        ) => ResourceError::Unavailable { cause },
    }
}

/// Runs statements on a session that many share.
pub(crate) async fn on_record<T, F>(shared: &Shared, call: impl FnOnce(Arc<Session>) -> F) -> Result<T, ResourceError>
where
    F: Future<Output = Result<T, Error>>,
{
    shared.sessions.committing(call).await?.map_err(|error| failure(&error))
}

/// Returns a number as the tables keep it; what is too high stands for the highest.
pub(crate) fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unclamped(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(crate) async fn record_epoch(
    shared: &Shared,
    coordinator: CoordinatorId,
    epoch: Epoch,
    pin: Option<Pin>,
) -> Result<(), ResourceError> {
    let (key, vouched) = (pin.map(|pin| pin.key.0.to_vec()), pin.map(|pin| pin.vouched));
    let epoch = i64::from(epoch.0);
    let pin_epoch = pin.map(|_| epoch);
    on_record(shared, async move |session| {
        let statement = "INSERT INTO undoubt.coordinator AS c (id, epoch, pin, pin_vouched, pin_epoch) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET epoch = greatest(c.epoch, excluded.epoch), \
             (pin, pin_vouched, pin_epoch) = (SELECT CASE WHEN r THEN excluded.pin ELSE c.pin END, \
             CASE WHEN r THEN excluded.pin_vouched ELSE c.pin_vouched END, CASE WHEN r THEN excluded.pin_epoch ELSE c.pin_epoch END \
             FROM (SELECT excluded.pin IS NOT NULL AND (c.pin IS NULL OR (excluded.pin_vouched, excluded.pin_epoch) >= \
             (c.pin_vouched, c.pin_epoch)) AS r) replaces)";
        session.execute(statement, &[&&coordinator.0[..], &epoch, &key, &vouched, &pin_epoch]).await
    })
    .await
    .map(drop)
}

/// Numbers a write that has no row of its own.
pub(crate) async fn note_written(shared: &Shared) -> Result<(), ResourceError> {
    let numbers = shared.numbers()?;
    let row = numbers.next();
    on_record(shared, async move |session| kept::note_written(&session, row).await).await?;
    numbers.note_stable(row);
    Ok(())
}

/// Remembers first what is over: it is not told again, whether it is deleted yet or not.
pub(crate) async fn collect(
    shared: &Shared,
    coordinator: CoordinatorId,
    over: &LowWaterMark,
) -> Result<(), ResourceError> {
    let mark = clamped(over.below().0);
    let still_open: Vec<String> = over.still_open().iter().map(|attempt| clamped(attempt.0).to_string()).collect();
    let still_open = format!("'{{{}}}'::bigint[]", still_open.join(","));
    // What is still open has few rows, which are looked at again each time.
    let is_over = format!("attempt < {mark} AND attempt <> ALL({still_open})");
    let highest = shared.numbers()?.highest();
    // Their ends were unclear, and are asked for again: what their evidence says is needed then.
    let open = shared.open_below(coordinator, mark.unsigned_abs());
    let open: String = open
        .iter()
        .map(|(attempt, tx)| format!(",({}::bigint, {}::bytea)", clamped(*attempt), literal::bytes(tx.as_bytes())))
        .collect();
    let id = literal::bytes(&coordinator.0);
    let below = |table: &str, and: &str| {
        format!(
            "DELETE FROM undoubt.{table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM undoubt.{table} WHERE coordinator = {id} AND \
             {is_over}{and} LIMIT {MAX_COLLECTED_ROWS}))"
        )
    };
    let spared = format!(" AND (attempt, tx) NOT IN (VALUES (-1::bigint, ''::bytea){open})");
    // One message is one transaction. That a crash may undo it is no harm, and so it waits for no forced write.
    let statements = [
        "SELECT set_config('synchronous_commit', 'off', true)".to_owned(),
        // Rows that say how far the start has come are among those that go.
        kept::note_written_text(highest),
        // What was over by an earlier mark stays over.
        format!(
            "INSERT INTO undoubt.still_open SELECT {id}, attempt FROM unnest({still_open}) attempt WHERE attempt >= coalesce((SELECT \
             low_water_mark FROM undoubt.coordinator WHERE id = {id}), 0) ON CONFLICT DO NOTHING"
        ),
        format!(
            "INSERT INTO undoubt.coordinator AS c (id, low_water_mark) VALUES ({id}, {mark}) ON CONFLICT (id) DO UPDATE SET \
             low_water_mark = greatest(c.low_water_mark, excluded.low_water_mark)"
        ),
        format!("DELETE FROM undoubt.still_open WHERE coordinator = {id} AND {is_over}"),
        below("finished", &spared),
        below("step", ""),
        below("pending", ""),
        enlisted::collect(&id, &is_over, MAX_COLLECTED_ROWS),
    ];
    loop {
        let parts: Vec<Part<'_>> = statements.iter().cloned().map(Part::Text).collect();
        let collect =
            async move |session: Arc<Session>| in_one_trip(&session.client, parts).await.map_err(|(_, error)| error);
        let answers = on_record(shared, collect).await?;
        let has_more = |answer: &Answer| matches!(answer, Answer::Count(count) if *count >= MAX_COLLECTED_ROWS);
        if !answers.iter().any(has_more) {
            return Ok(());
        }
    }
}

pub(crate) async fn put_heuristic(
    shared: &Shared,
    id: &BranchId,
    begun_at: Option<Timestamp>,
    heuristic: &Heuristic,
) -> Result<(), ResourceError> {
    let Heuristic { commit, at, who, reason, decision } = heuristic;
    // An operator's word comes without the time; the record has it, if there is one.
    let begun_at = begun_at.map(|at| clamped(at.0));
    on_record(shared, async move |session| {
        let statement = "INSERT INTO undoubt.heuristic AS h (coordinator, attempt, tx, begun_at, committed, at, who, reason, decision) \
             VALUES ($1, $2, $3, coalesce($4::bigint, (SELECT a.begun_at FROM undoubt.adopted a WHERE a.coordinator = $1 AND a.tx = $3), 0), $5, $6, $7, $8, $9) ON CONFLICT (coordinator, attempt, tx) DO UPDATE SET \
             begun_at = coalesce($4::bigint, h.begun_at), committed = excluded.committed, at = excluded.at, who = excluded.who, \
             reason = excluded.reason, decision = excluded.decision";
        let (coordinator, attempt, tx) = (&id.coordinator.0[..], clamped(id.attempt_number.0), id.tx.as_bytes());
        let parameters: &[crate::session::Parameter<'_>] =
            &[&coordinator, &attempt, &tx, &begun_at, commit, &clamped(at.0), who, reason, decision];
        session.execute(statement, parameters).await
    })
    .await
    .map(drop)
}

/// Forgets a heuristic outcome, and the evidence of what an operator committed with it.
pub(crate) async fn forget_heuristic(shared: &Shared, id: &BranchId) -> Result<(), ResourceError> {
    let highest = shared.numbers()?.highest();
    on_record(shared, async move |session| {
        kept::note_written(&session, highest).await?;
        let statement = "WITH h AS (DELETE FROM undoubt.heuristic WHERE coordinator = $1 AND attempt = $2 AND tx = $3 RETURNING 1), \
             a AS (DELETE FROM undoubt.adopted WHERE coordinator = $1 AND attempt = $2 AND tx = $3 AND EXISTS (SELECT FROM h) RETURNING 1), \
             e AS (DELETE FROM undoubt.enlisted WHERE coordinator = $1 AND tx = $3 AND EXISTS (SELECT FROM a)) \
             DELETE FROM undoubt.finished WHERE coordinator = $1 AND attempt = $2 AND tx = $3 AND EXISTS (SELECT FROM h)";
        let (coordinator, attempt, tx) = (&id.coordinator.0[..], clamped(id.attempt_number.0), id.tx.as_bytes());
        session.execute(statement, &[&coordinator, &attempt, &tx]).await
    })
    .await
    .map(drop)
}

/// Returns the result that stands with the evidence of a branch; `None` if there is no evidence.
pub(crate) async fn evidence(shared: &Shared, id: &BranchId) -> Result<Option<Vec<u8>>, ResourceError> {
    let rows = on_record(shared, async move |session| {
        let statement = "SELECT result, start, write FROM undoubt.finished WHERE coordinator = $1 AND attempt = $2 AND tx = $3 UNION ALL SELECT \
             ''::bytea, 0, 0 FROM undoubt.adopted JOIN undoubt.enlisted USING (coordinator, tx) WHERE coordinator = $1 AND attempt = $2 AND tx = $3";
        let (coordinator, attempt, tx) = (&id.coordinator.0[..], clamped(id.attempt_number.0), id.tx.as_bytes());
        session.query(statement, &[&coordinator, &attempt, &tx]).await
    });
    let Some(row) = rows.await?.into_iter().next() else { return Ok(None) };
    note_read(shared, &row, 1)?;
    row.try_get(0).map(Some).map_err(|error| failure(&error))
}

/// Notes that a row is committed whose start and number stand at this place.
pub(crate) fn note_read(shared: &Shared, row: &tokio_postgres::Row, place: usize) -> Result<(), ResourceError> {
    let start: i64 = row.try_get(place).map_err(|error| failure(&error))?;
    let write: i64 = row.try_get(place + 1).map_err(|error| failure(&error))?;
    let start = u32::try_from(start).map_err(|_| damaged("a row has a start that none can have"))?;
    shared.numbers()?.note_stable(RowNumber { start, write: unclamped(write) });
    Ok(())
}

pub(crate) async fn close_saga(
    shared: &Shared,
    coordinator: CoordinatorId,
    attempt: AttemptNumber,
    tx: &TxId,
    release: Option<Release>,
) -> Result<(), ResourceError> {
    on_record(shared, async move |session| {
        let (coordinator, attempt, tx) = (&coordinator.0[..], clamped(attempt.0), tx.as_bytes());
        let Some(Release { at, who, reason }) = release else {
            let statement = "DELETE FROM undoubt.pending WHERE coordinator = $1 AND attempt = $2 AND tx = $3";
            return session.execute(statement, &[&coordinator, &attempt, &tx]).await;
        };
        let statement = "WITH d AS (DELETE FROM undoubt.pending WHERE coordinator = $1 AND attempt = $2 AND tx = $3) UPDATE undoubt.step \
             SET released_at = to_timestamp(($4::bigint / 1000000.0)::double precision), released_by = $5, released_why = $6 \
             WHERE coordinator = $1 AND attempt = $2 AND tx = $3";
        session.execute(statement, &[&coordinator, &attempt, &tx, &clamped(at.0), &who, &reason]).await
    })
    .await
    .map(drop)
}

pub(crate) async fn marks(shared: &Shared, after: &[u8], limit: usize) -> Result<Vec<Mark>, ResourceError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = on_record(shared, async move |session| {
        // Steps of one saga may have marked a key together; it is listed once.
        let statement = "SELECT DISTINCT ON (key) key, coordinator, attempt, step, tx, begun_at FROM undoubt.pending WHERE key > $1 \
             ORDER BY key, coordinator, attempt, step LIMIT $2";
        session.query(statement, &[&after, &limit]).await
    })
    .await?;
    rows.iter()
        .map(|row| {
            let key: Vec<u8> = row.try_get(0).map_err(|error| failure(&error))?;
            let begun_at: i64 = row.try_get(5).map_err(|error| failure(&error))?;
            Ok(Mark { key: key.into(), by: step_at(row, 1)?, begun_at: Timestamp(unclamped(begun_at)) })
        })
        .collect()
}

/// Reads coordinator, attempt, step and transaction from a row, in that order from `place` on.
pub(crate) fn step_at(row: &tokio_postgres::Row, place: usize) -> Result<StepId, ResourceError> {
    let step: i32 = row.try_get(place + 2).map_err(|error| failure(&error))?;
    let step = u16::try_from(step).map_err(|_| damaged("a step has a number that none can have"))?;
    let BranchId { tx, attempt_number, coordinator } = read_branch(row, [place, place + 1, place + 3])?;
    Ok(StepId { coordinator, attempt_number, step: StepIndex(step), tx })
}

/// Reads coordinator, attempt and transaction from these columns of a row.
pub(crate) fn read_branch(row: &tokio_postgres::Row, places: [usize; 3]) -> Result<BranchId, ResourceError> {
    let unreadable = |error: Error| failure(&error);
    let coordinator: &[u8] = row.try_get(places[0]).map_err(unreadable)?;
    let attempt: i64 = row.try_get(places[1]).map_err(unreadable)?;
    let tx: &[u8] = row.try_get(places[2]).map_err(unreadable)?;
    Ok(BranchId {
        coordinator: CoordinatorId::try_from(coordinator).map_err(|error| damaged(&error.to_string()))?,
        attempt_number: AttemptNumber(unclamped(attempt)),
        tx: TxId::new(tx).map_err(|error| damaged(&error.to_string()))?,
    })
}

pub(crate) fn damaged(why: &str) -> ResourceError {
    ResourceError::Stopped { cause: format!("a record in the schema undoubt cannot be read: {why}") }
}
