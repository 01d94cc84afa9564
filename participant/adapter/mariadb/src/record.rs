//! Records of the participant's own: each a transaction by itself, which may be repeated.

use crate::class::{NO_TABLE, class_of, code_of, told};
use crate::session::Answer;
use crate::shared::Shared;
use crate::value::{bytes, digits, text};
use bytes::Bytes;
use mysql_async::{Error, Row};
use std::collections::BTreeMap;
use undoubt_participant::resource::{BranchId, Heuristic, Mark, Pin, Release, ResourceError, StepId};
use undoubt_sql::{Class, PreparedName};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Epoch, LowWaterMark, StepIndex, Timestamp, TxId};

/// Rows that one statement deletes of what the low-water mark has passed.
const MAX_COLLECTED_ROWS: usize = 500;

/// Returns what an error of a record means for the call that needs it.
pub(crate) fn failure(error: &Error) -> ResourceError {
    let cause = told(error);
    match (class_of(error), code_of(error)) {
        (Class::Unknown, _) => ResourceError::Unclear { cause },
        (_, Some(NO_TABLE | 1054 | 1932 | 1712)) => {
            ResourceError::Stopped { cause: format!("the participant's own tables (undoubt_…) are damaged: {cause}") }
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

/// Runs one statement, which may be repeated, on a session that many share.
pub(crate) async fn run(shared: &Shared, sql: &str) -> Result<u64, ResourceError> {
    Ok(answer(shared, sql).await?.affected)
}

/// Returns the rows of a query on a session that many share.
pub(crate) async fn rows(shared: &Shared, sql: &str) -> Result<Vec<Row>, ResourceError> {
    Ok(answer(shared, sql).await?.rows)
}

async fn answer(shared: &Shared, sql: &str) -> Result<Answer, ResourceError> {
    let first = shared.sessions.recorder().await?.run(sql).await;
    match first {
        Ok(answer) => Ok(answer),
        // The session may have been ended while nobody used it.
        Err(error) if error.is_fatal() => {
            shared.sessions.recorder().await?.run(sql).await.map_err(|error| failure(&error))
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Returns the condition that is true of the rows of a branch.
pub(crate) fn of_branch(id: &BranchId) -> String {
    of_saga(id.coordinator, id.attempt_number, &id.tx)
}

fn of_saga(coordinator: CoordinatorId, attempt: AttemptNumber, tx: &TxId) -> String {
    format!("coordinator = {} AND attempt = {} AND tx = {}", bytes(&coordinator.0), attempt.0, bytes(tx.as_bytes()))
}

pub(crate) async fn record_epoch(
    shared: &Shared,
    coordinator: CoordinatorId,
    epoch: Epoch,
    pin: Option<Pin>,
) -> Result<(), ResourceError> {
    let (id, epoch) = (bytes(&coordinator.0), epoch.0);
    let Some(Pin { key, vouched }) = pin else {
        let sql = format!(
            "INSERT INTO undoubt_coordinator (id, epoch) VALUES ({id}, {epoch}) ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch, {epoch})"
        );
        return run(shared, &sql).await.map(drop);
    };
    let (key, vouched) = (bytes(&key.0), u8::from(vouched));
    // Assignments are made in this order, and each sees what those before it have set; this stays as it is through all of them.
    let replaces =
        format!("pin_vouched IS NULL OR pin_vouched < {vouched} OR pin_vouched = {vouched} AND pin_epoch <= {epoch}");
    let sql = format!(
        "INSERT INTO undoubt_coordinator (id, epoch, pin, pin_vouched, pin_epoch) VALUES ({id}, {epoch}, {key}, {vouched}, {epoch}) \
         ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch, {epoch}), pin = IF({replaces}, {key}, pin), \
         pin_epoch = IF({replaces}, {epoch}, pin_epoch), pin_vouched = IF({replaces}, {vouched}, pin_vouched)"
    );
    run(shared, &sql).await.map(drop)
}

/// Remembers first what is over: it is not told again, whether it is deleted yet or not. One at a time: two would wait for
/// each other's rows.
pub(crate) async fn collect(
    shared: &Shared,
    coordinator: CoordinatorId,
    over: &LowWaterMark,
) -> Result<(), ResourceError> {
    let (id, mark) = (bytes(&coordinator.0), over.below().0);
    let numbers: Vec<String> = over.still_open().iter().map(|attempt| attempt.0.to_string()).collect();
    // What is still open has few rows, which are looked at again each time.
    let is_over = match numbers.is_empty() {
        true => format!("attempt < {mark}"),
        false => format!("attempt < {mark} AND attempt NOT IN ({})", numbers.join(", ")),
    };
    // Their ends were unclear, and are asked for again: what their evidence says is needed then.
    let open: Vec<String> = shared
        .open_below(coordinator, mark)
        .iter()
        .map(|(attempt, tx)| format!("({attempt}, {})", bytes(tx.as_bytes())))
        .collect();
    let spared = match open.is_empty() {
        true => String::new(),
        false => format!(" AND (attempt, tx) NOT IN ({})", open.join(", ")),
    };
    let _alone = shared.collecting.lock().await;
    remember(shared, &id, mark, &numbers, &is_over).await?;
    let (attempt, step) = (Part::Number("attempt"), Part::Number("step"));
    let (tx, marked) = (Part::Bytes("tx"), Part::Bytes("marked"));
    for (table, key, runs) in [
        ("undoubt_finished", &[attempt, tx][..], &["run"][..]),
        ("undoubt_step", &[attempt, step, tx], &["run", "undone_run"]),
        ("undoubt_pending", &[attempt, step, tx, marked], &[]),
    ] {
        let spared = if table == "undoubt_finished" { spared.as_str() } else { "" };
        delete_below(shared, table, key, runs, &format!("coordinator = {id} AND {is_over}{spared}"), &id).await?;
    }
    Ok(())
}

/// Remembers a low-water mark, and which attempts below it are still open. What was over by an earlier one stays over.
async fn remember(
    shared: &Shared,
    id: &str,
    mark: u64,
    still_open: &[String],
    is_over: &str,
) -> Result<(), ResourceError> {
    let mut statements: Vec<String> = Vec::new();
    if !still_open.is_empty() {
        statements.push(format!(
            "INSERT IGNORE INTO undoubt_still_open (coordinator, attempt) SELECT {id}, o.attempt FROM JSON_TABLE('[{}]', '$[*]' COLUMNS \
             (attempt BIGINT UNSIGNED PATH '$')) AS o WHERE o.attempt >= COALESCE((SELECT low_water_mark FROM undoubt_coordinator WHERE id \
             = {id}), 0)",
            still_open.join(",")
        ));
    }
    statements.push(format!(
        "INSERT INTO undoubt_coordinator (id, low_water_mark) VALUES ({id}, {mark}) ON DUPLICATE KEY UPDATE low_water_mark = \
         GREATEST(low_water_mark, {mark})"
    ));
    statements.push(format!("DELETE FROM undoubt_still_open WHERE coordinator = {id} AND {is_over}"));
    together(shared, &statements.join("; ")).await
}

/// Deletes the rows below a mark that can be seen, each looked up by its whole key: what is in doubt is not seen, and so is not waited
/// for. If it were left to the server to find them, it would look at all rows of a small table, and wait for those in doubt.
/// `below`: which rows, and `id` the coordinator's. `runs`: the columns that name the runs whose writes they are, which go on counting them.
async fn delete_below(
    shared: &Shared,
    table: &str,
    key: &[Part],
    runs: &[&str],
    below: &str,
    id: &str,
) -> Result<(), ResourceError> {
    let names: Vec<&str> = key.iter().map(|part| part.name()).chain(runs.iter().copied()).collect();
    let over = format!("SELECT {} FROM {table} WHERE {below} LIMIT {MAX_COLLECTED_ROWS}", names.join(", "));
    let columns: Vec<String> = (0..).zip(key).map(|(place, part)| part.column(place)).collect();
    let is_it: Vec<String> = key.iter().map(|part| part.is_it()).collect();
    loop {
        let over = rows(shared, &over).await?;
        if over.is_empty() {
            return Ok(());
        }
        let (mut keys, mut counted) = (Vec::with_capacity(over.len()), BTreeMap::new());
        for row in &over {
            for place in key.len()..names.len() {
                if let Some(run) = row.get::<Option<u64>, _>(place).flatten() {
                    *counted.entry(run).or_default() += 1;
                }
            }
            let values: Result<Vec<String>, _> =
                key.iter().enumerate().map(|(place, part)| part.value(row, place)).collect();
            keys.push(format!("[{}]", values?.join(",")));
        }
        let delete = format!(
            "DELETE f FROM JSON_TABLE('[{}]', '$[*]' COLUMNS ({})) AS k STRAIGHT_JOIN {table} AS f FORCE INDEX (PRIMARY) ON f.coordinator \
             = {id} AND {}",
            keys.join(","),
            columns.join(", "),
            is_it.join(" AND ")
        );
        together(shared, &format!("{delete}{}", floors(&counted))).await?;
        if over.len() < MAX_COLLECTED_ROWS {
            return Ok(());
        }
    }
}

/// Returns the statements that keep, of each run, how many of its writes are deleted, each with a semicolon before it.
fn floors(counted: &BTreeMap<u64, u64>) -> String {
    let floor = |(run, rows): (&u64, &u64)| {
        format!("; UPDATE undoubt_run SET collected = collected + {rows} WHERE number = {run}")
    };
    counted.iter().map(floor).collect()
}

/// Runs statements as one transaction, which may be repeated.
async fn together(shared: &Shared, statements: &str) -> Result<(), ResourceError> {
    let mut session = shared.sessions.recorder().await?;
    let done = session.run(&format!("START TRANSACTION; {statements}; COMMIT")).await;
    // The next user of the session must find it in no transaction.
    if done.is_err() && !session.is_broken() {
        session.run("ROLLBACK").await.map_err(|error| failure(&error))?;
    }
    done.map(drop).map_err(|error| failure(&error))
}

/// A column of a key.
#[derive(Clone, Copy, Debug)]
enum Part {
    Number(&'static str),
    Bytes(&'static str),
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Number(name) | Part::Bytes(name) => name,
        }
    }

    /// Returns the column of a JSON table in which it stands at this place.
    fn column(self, place: usize) -> String {
        match self {
            Part::Number(name) => format!("{name} BIGINT UNSIGNED PATH '$[{place}]'"),
            Part::Bytes(name) => format!("{name} VARCHAR(2048) PATH '$[{place}]'"),
        }
    }

    fn value(self, row: &Row, place: usize) -> Result<String, ResourceError> {
        match self {
            Part::Number(_) => Ok(number(row, place)?.to_string()),
            Part::Bytes(_) => Ok(format!("\"{}\"", digits(&binary(row, place)?))),
        }
    }

    fn is_it(self) -> String {
        match self {
            Part::Number(name) => format!("f.{name} = k.{name}"),
            Part::Bytes(name) => format!("f.{name} = UNHEX(k.{name})"),
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
    let (begun_at, kept) = match begun_at {
        Some(Timestamp(begun_at)) => (begun_at, format!("begun_at = {begun_at}, ")),
        None => (0, String::new()),
    };
    let (coordinator, attempt, tx) = (bytes(&id.coordinator.0), id.attempt_number.0, bytes(id.tx.as_bytes()));
    let (at, who, reason) = (at.0, text(who), text(reason));
    let decision = decision.map_or("NULL", |commit| if commit { "TRUE" } else { "FALSE" });
    let sql = format!(
        "INSERT INTO undoubt_heuristic (coordinator, attempt, tx, begun_at, committed, decided_at, who, reason, decision) VALUES \
         ({coordinator}, {attempt}, {tx}, {begun_at}, {commit}, {at}, {who}, {reason}, {decision}) ON DUPLICATE KEY UPDATE \
         {kept}committed = {commit}, decided_at = {at}, who = {who}, reason = {reason}, decision = {decision}"
    );
    run(shared, &sql).await.map(drop)
}

/// Forgets a heuristic outcome, and the evidence of what an operator committed with it, which goes first: without the other record it
/// would be told as a commit.
pub(crate) async fn forget_heuristic(shared: &Shared, id: &BranchId) -> Result<(), ResourceError> {
    let of_branch = of_branch(id);
    let known = rows(shared, &format!("SELECT 1 FROM undoubt_heuristic WHERE {of_branch}")).await?;
    if known.is_empty() {
        return Ok(());
    }
    let _alone = shared.collecting.lock().await;
    let found = rows(shared, &format!("SELECT run FROM undoubt_finished WHERE {of_branch}")).await?;
    if let Some(row) = found.first() {
        let counted = BTreeMap::from([(number(row, 0)?, 1)]);
        let delete = format!("DELETE FROM undoubt_finished WHERE {of_branch}{}", floors(&counted));
        together(shared, &delete).await?;
    }
    run(shared, &format!("DELETE FROM undoubt_heuristic WHERE {of_branch}")).await.map(drop)
}

/// Returns the result that stands with the evidence of a branch; `None` if there is no evidence.
pub(crate) async fn evidence(shared: &Shared, id: &BranchId) -> Result<Option<Bytes>, ResourceError> {
    let found = rows(shared, &format!("SELECT result FROM undoubt_finished WHERE {}", of_branch(id))).await?;
    found.first().map(|row| binary(row, 0).map(Bytes::from)).transpose()
}

pub(crate) async fn close_saga(
    shared: &Shared,
    coordinator: CoordinatorId,
    attempt: AttemptNumber,
    tx: &TxId,
    release: Option<Release>,
) -> Result<(), ResourceError> {
    let of_saga = of_saga(coordinator, attempt, tx);
    if let Some(Release { at, who, reason }) = release {
        let (at, who, reason) = (at.0, text(&who), text(&reason));
        let sql = format!(
            "UPDATE undoubt_step SET released_at = {at}, released_by = {who}, released_why = {reason} WHERE {of_saga}"
        );
        run(shared, &sql).await?;
    }
    run(shared, &format!("DELETE FROM undoubt_pending WHERE {of_saga}")).await.map(drop)
}

pub(crate) async fn marks(shared: &Shared, after: &[u8], limit: usize) -> Result<Vec<Mark>, ResourceError> {
    // Steps of one saga may have marked a key together; it is listed once.
    let sql = format!(
        "SELECT marked, coordinator, attempt, step, tx, begun_at FROM undoubt_pending p WHERE marked > {} AND NOT EXISTS (SELECT 1 FROM \
         undoubt_pending q WHERE q.marked = p.marked AND (q.coordinator, q.attempt, q.step, q.tx) < (p.coordinator, p.attempt, p.step, \
         p.tx)) ORDER BY marked LIMIT {limit}",
        bytes(after)
    );
    rows(shared, &sql)
        .await?
        .iter()
        .map(|row| Ok(Mark { key: binary(row, 0)?.into(), by: step_at(row, 1)?, begun_at: Timestamp(number(row, 5)?) }))
        .collect()
}

/// Reads coordinator, attempt, step and transaction from a row, in that order from `place` on.
pub(crate) fn step_at(row: &Row, place: usize) -> Result<StepId, ResourceError> {
    let step = u16::try_from(number(row, place + 2)?).map_err(|_| damaged("a step has a number that none can have"))?;
    let BranchId { tx, attempt_number, coordinator } = read_branch(row, [place, place + 1, place + 3])?;
    Ok(StepId { coordinator, attempt_number, step: StepIndex(step), tx })
}

/// Reads coordinator, attempt and transaction from these columns of a row.
pub(crate) fn read_branch(row: &Row, places: [usize; 3]) -> Result<BranchId, ResourceError> {
    Ok(BranchId {
        coordinator: CoordinatorId::try_from(&binary(row, places[0])?[..])
            .map_err(|error| damaged(&error.to_string()))?,
        attempt_number: AttemptNumber(number(row, places[1])?),
        tx: TxId::new(binary(row, places[2])?).map_err(|error| damaged(&error.to_string()))?,
    })
}

pub(crate) fn branch_of(name: &PreparedName) -> BranchId {
    let PreparedName { identity: _, coordinator, attempt_number, begun_at: _, tx } = name.clone();
    BranchId { tx, attempt_number, coordinator }
}

pub(crate) fn number(row: &Row, place: usize) -> Result<u64, ResourceError> {
    row.get_opt(place).and_then(Result::ok).ok_or_else(|| damaged("a number is missing"))
}

pub(crate) fn binary(row: &Row, place: usize) -> Result<Vec<u8>, ResourceError> {
    row.get_opt(place).and_then(Result::ok).ok_or_else(|| damaged("a value is missing"))
}

pub(crate) fn damaged(why: &str) -> ResourceError {
    ResourceError::Stopped {
        cause: format!("a record in the participant's own tables (undoubt_…) cannot be read: {why}"),
    }
}
