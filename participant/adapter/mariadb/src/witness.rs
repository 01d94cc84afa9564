//! The numbers of this database's writes, by which others notice that an older state of it was put back.
//!
//! A run is a start of the log; its writes are the commits of branches and steps of which an answer came. Each row of evidence, and
//! each barrier, has the run in which it was committed, and the run keeps how many of its rows are deleted. So what the database
//! holds of a run is what can be counted in it: never less than was told, unless it was put back to an earlier state. Rows are
//! counted, and their numbers are not compared: a branch may be long in doubt while later ones commit.

use crate::record::{binary, damaged, failure, number, rows, run};
use crate::sessions::Hold;
use crate::shared::Shared;
use crate::value::{bytes, text};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use undoubt_participant::resource::{BranchId, Loss, RecoveredLog, ResourceError};
use undoubt_vocabulary::{Start, Starts, Timestamp, WriteNumber};

/// The most that is remembered of others by one statement.
const MAX_SEEN_PER_WRITE: usize = 64;

/// The statement's part that draws the mark of a start.
pub(crate) const DRAWN: &str =
    "CAST(CONV(LEFT(SHA2(CONCAT(UUID(), RAND(), CONNECTION_ID(), NOW(6)), 256), 15), 16, 10) AS UNSIGNED)";

#[derive(Debug, Default)]
pub(crate) struct Witness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None` before the first recovery.
    stable: Option<WriteNumber>,
    seen: BTreeMap<Bytes, Bytes>,
    /// The keys of those that are not stored as they are here.
    unstored: BTreeSet<Bytes>,
}

impl Witness {
    pub(crate) fn stable(&self) -> Option<WriteNumber> {
        self.state().stable
    }

    /// Counts a write of this run, which is told from now on.
    pub(crate) fn count(&self, run: u64) {
        if let Some(stable) = &mut self.state().stable
            && u64::from(stable.start.count) == run
        {
            stable.writes += 1;
        }
    }

    pub(crate) fn remember(&self, key: Bytes, value: Bytes) {
        let mut state = self.state();
        if state.seen.get(&key) != Some(&value) {
            state.unstored.insert(key.clone());
            state.seen.insert(key, value);
        }
    }

    /// Takes some of what is not stored.
    fn take_unstored(&self) -> Vec<(Bytes, Bytes)> {
        let mut state = self.state();
        let mut taken = Vec::new();
        while taken.len() < MAX_SEEN_PER_WRITE
            && let Some(key) = state.unstored.pop_first()
        {
            let value = state.seen.get(&key).cloned().unwrap_or_default();
            taken.push((key, value));
        }
        taken
    }

    /// Begins to count the writes of a start.
    fn begin(&self, log: [u8; 16], start: Start) {
        self.state().stable = Some(WriteNumber { log, start, writes: 0 });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between taking and freeing it can panic.
        self.0.lock().expect("the state is whole")
    }
}

/// Counts the commit of a branch whose evidence is of this run. That of an earlier one becomes this one's first.
pub(crate) async fn committed(shared: &Shared, id: &BranchId, of_run: u64) -> Result<(), ResourceError> {
    let now = shared.sessions.hold()?.run;
    if of_run != now {
        let of_branch = crate::record::of_branch(id);
        run(shared, &format!("UPDATE undoubt_finished SET run = {now} WHERE {of_branch}")).await?;
    }
    shared.witness.count(now);
    Ok(())
}

/// Stores what is remembered of others, as far as it is not.
pub(crate) async fn store_remembered(shared: &Shared) -> Result<(), ResourceError> {
    loop {
        let unstored = shared.witness.take_unstored();
        if unstored.is_empty() {
            return Ok(());
        }
        let values: Vec<String> =
            unstored.iter().map(|(key, value)| format!("({}, {})", bytes(key), bytes(value))).collect();
        let sql = format!(
            "INSERT INTO undoubt_seen (name, value) VALUES {} ON DUPLICATE KEY UPDATE value = VALUES(value)",
            values.join(", ")
        );
        if let Err(error) = run(shared, &sql).await {
            shared.witness.state().unstored.extend(unstored.into_iter().map(|(key, _)| key));
            return Err(error);
        }
    }
}

/// Tells the log as the database has it, and begins to count the writes of the present run.
pub(crate) async fn recovered(shared: &Shared, hold: &Hold) -> Result<RecoveredLog, ResourceError> {
    let identity = rows(shared, "SELECT put_back FROM undoubt_identity").await?;
    let put_back: Option<String> = identity.first().and_then(|row| row.get(0)).unwrap_or_default();
    let starts = starts(shared, hold.run).await?;
    let mut remembered = BTreeMap::new();
    for row in &rows(shared, "SELECT name, value FROM undoubt_seen").await? {
        remembered.insert(Bytes::from(binary(row, 0)?), Bytes::from(binary(row, 1)?));
    }
    let losses = losses(shared, starts.log).await?;
    let mut state = shared.witness.state();
    state.seen = remembered.clone();
    state.unstored.clear();
    drop(state);
    shared.witness.begin(starts.log, starts.now);
    Ok(RecoveredLog { starts, put_back, remembered, losses })
}

/// Returns all runs, with the number of writes that the database holds of each.
async fn starts(shared: &Shared, now: u64) -> Result<Starts, ResourceError> {
    let log = rows(shared, "SELECT log FROM undoubt_identity").await?;
    let log = log.first().ok_or_else(|| damaged("undoubt_identity is empty"))?;
    let log = binary(log, 0)?[..].try_into().map_err(|_| damaged("the log's id has another length than 16"))?;
    let mut held: BTreeMap<u64, u64> = BTreeMap::new();
    for counted in [
        "SELECT run, COUNT(*) FROM undoubt_finished GROUP BY run",
        "SELECT run, COUNT(*) FROM undoubt_step GROUP BY run",
        "SELECT undone_run, COUNT(*) FROM undoubt_step WHERE undone_run IS NOT NULL GROUP BY undone_run",
    ] {
        for row in &rows(shared, counted).await? {
            *held.entry(number(row, 0)?).or_default() += number(row, 1)?;
        }
    }
    let (mut present, mut past) = (None, Vec::new());
    for row in &rows(shared, "SELECT number, losses, mark, collected FROM undoubt_run ORDER BY number").await? {
        let (run, start) = (number(row, 0)?, start_at(row, [1, 0, 2])?);
        match run == now {
            true => present = Some(start),
            false => past.push((start, number(row, 3)? + held.get(&run).copied().unwrap_or_default())),
        }
    }
    let present = present.ok_or_else(|| damaged("the present run is not in undoubt_run"))?;
    let mut starts = Starts::new(log, present);
    past.into_iter().for_each(|(start, writes)| starts.add_past(start, writes));
    Ok(starts)
}

async fn losses(shared: &Shared, log: [u8; 16]) -> Result<Vec<(Loss, WriteNumber)>, ResourceError> {
    let sql = "SELECT accepted_at, who, reason, put_back, losses, run, mark, writes FROM undoubt_loss ORDER BY number";
    let words = |row: &mysql_async::Row, place| {
        String::from_utf8(binary(row, place)?).map_err(|_| damaged("an operator's words are no UTF-8"))
    };
    rows(shared, sql)
        .await?
        .iter()
        .map(|row| {
            let (who, reason, put_back) = (words(row, 1)?, words(row, 2)?, words(row, 3)?);
            let loss = Loss { at: Timestamp(number(row, 0)?), who, reason, put_back, above: Start::default() };
            Ok((loss, WriteNumber { log, start: start_at(row, [4, 5, 6])?, writes: number(row, 7)? }))
        })
        .collect()
}

/// Reads a start's losses, its run and its mark from these columns.
fn start_at(row: &mysql_async::Row, [losses, count, mark]: [usize; 3]) -> Result<Start, ResourceError> {
    let small = |place| u32::try_from(number(row, place)?).map_err(|_| damaged("a run has a number that is too high"));
    Ok(Start { losses: small(losses)?, count: small(count)?, mark: number(row, mark)? })
}

pub(crate) async fn store_put_back(shared: &Shared, why: &str) -> Result<(), ResourceError> {
    let why = text(why);
    run(shared, &format!("UPDATE undoubt_identity SET put_back = COALESCE(put_back, {why})")).await.map(drop)
}

/// Begins another run after a loss that an operator has accepted.
pub(crate) async fn accept_loss(shared: &Shared, loss: &Loss, mark: u64) -> Result<Starts, ResourceError> {
    let kept = shared.witness.stable().ok_or_else(|| damaged("a loss is accepted before the recovery"))?;
    let Loss { at, who, reason, put_back, above } = loss;
    let Start { losses, count, mark: mark_before } = kept.start;
    let (after, least) = (losses.max(above.losses).saturating_add(1), u64::from(count.max(above.count)) + 1);
    // No session looks at the runs meanwhile.
    let _renumbering = shared.sessions.renumber().await;
    let mut session = shared.sessions.control().await?;
    let done = session
        .run(&format!(
            "START TRANSACTION; INSERT INTO undoubt_run (number, host, pid, sessions, losses, mark) SELECT GREATEST(MAX(number) + 1, {least}), \
             '', {}, MAX(sessions), {after}, {mark} FROM undoubt_run; INSERT INTO undoubt_loss (accepted_at, who, reason, put_back, losses, \
             run, mark, writes) VALUES ({}, {}, {}, {}, {losses}, {count}, {mark_before}, {}); UPDATE undoubt_identity SET put_back = \
             NULL; COMMIT",
            std::process::id(),
            at.0,
            text(who),
            text(reason),
            text(put_back),
            kept.writes
        ))
        .await;
    if let Err(error) = done {
        if !session.is_broken() {
            session.run("ROLLBACK").await.map_err(|error| failure(&error))?;
        }
        return Err(failure(&error));
    }
    let found = session.rows("SELECT MAX(number) FROM undoubt_run").await.map_err(|error| failure(&error))?;
    let now = number(found.first().ok_or_else(|| damaged("undoubt_run is empty"))?, 0)?;
    shared.sessions.set_run(now);
    drop(session);
    let starts = starts(shared, now).await?;
    shared.witness.begin(starts.log, starts.now);
    Ok(starts)
}
