//! The start: whose database it is, the end of earlier processes, and what survived.

use crate::class::{NO_TABLE, code_of};
use crate::connect::Absent;
use crate::kept;
use crate::owner::{self, Keys};
use crate::record::{binary, branch_of, damaged, failure, number, read_branch, rows, step_at};
use crate::session::Session;
use crate::sessions::{Hold, leases, server_of};
use crate::shared::{Known, Shared};
use crate::standing::{lost, prepared, uncommitted};
use crate::step::state_of;
use crate::value::text;
use crate::witness::{self, DRAWN};
use mysql_async::{Error, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use undoubt_participant::resource::{
    BranchId, CoordinatorMarks, FinishedBranch, Heuristic, HeuristicBranch, Kept, Pin, PreparedBranch, Recovered,
    RecoveredStep, ResourceError, SHORT_RESULT_BYTES,
};
use undoubt_sql::{Identity, PreparedName};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, Epoch, LowWaterMark, ParticipantName, PublicKey, Timestamp,
};

/// The version of the tables that this participant works with.
pub(crate) const VERSION: u64 = 5;

/// Runs that are kept, with the numbers of their writes. What others show of older ones is not looked up any more.
const MAX_RUNS: u64 = 10_000;

/// The number of a run that is not the present one, whichever it was.
const EARLIER: u64 = 0;

pub(crate) async fn recover(shared: &Arc<Shared>, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
    shared.sessions.end().await;
    for worker in shared.forget_all() {
        worker.session.close().await;
    }
    let settings = shared.sessions.connector().settings();
    let mut control = shared.sessions.connector().connect().await?;
    let hold = claim(&mut control, owner).await?;
    let keys = Keys(hold.identity);
    owner::take(&mut control, keys, settings.take_over).await?;
    // Counted before the fence looks: a session that comes later sees it, and ends itself.
    let (run, leases) = count_run(&mut control, settings.most_sessions()).await.map_err(|error| failure(&error))?;
    owner::fence(&mut control, keys, leases).await?;
    let hold = Hold { run, ..hold };
    shared.sessions.begin(control, hold.clone()).await;
    let kept = Arc::new(kept::open(shared).await?);
    *shared.kept.lock().expect("what is kept is whole") = Some(kept);
    finish_intents(shared, &hold).await?;
    let recovered = read(shared, &hold).await?;
    let mut control = shared.sessions.control().await?;
    shared.unfit.look(&mut control, &shared.procedures, true).await.map_err(|error| failure(&error))?;
    drop(control);
    tracing::info!(run = hold.run, identity = %hold.identity, prepared = recovered.prepared.len(), "the database is taken");
    Ok(recovered)
}

/// Checks that the database is this participant's, and takes it at the first start.
async fn claim(control: &mut Session, owner: &ParticipantName) -> Result<Hold, ResourceError> {
    let found = control.rows("SELECT id, version, participant, server FROM undoubt_identity").await;
    let found = found.map_err(|error| match code_of(&error) {
        Some(NO_TABLE) => ResourceError::Foreign {
            cause: "the database has no tables undoubt_…; make them with `undoubt-participant init`".to_owned(),
        },
        Some(_) | None => ResourceError::from(Absent::away(&error)),
    })?;
    let row = found.first().ok_or_else(|| damaged("undoubt_identity is empty"))?;
    let identity =
        Identity(binary(row, 0)?[..].try_into().map_err(|_| damaged("the identity has another length than 8"))?);
    let (version, participant, known): (u64, Option<String>, Option<String>) =
        (number(row, 1)?, row.get(2).unwrap_or_default(), row.get(3).unwrap_or_default());
    let server = server_of(control).await.map_err(|error| failure(&error))?;
    let foreign = |cause: String| Err(ResourceError::Foreign { cause });
    if version != VERSION {
        return foreign(format!(
            "its tables have version {version}, and this participant works with {VERSION}; {}",
            match version < VERSION {
                true => "bring them up with `undoubt-participant init`",
                false => "start the version that wrote them, or a newer one",
            }
        ));
    }
    if let Some(participant) = participant.filter(|participant| participant != owner.as_str()) {
        return foreign(format!("the database is that of the participant {participant}, not of {owner}"));
    }
    match known {
        Some(known) if known != server => {
            return foreign(format!(
                "its tables were made in another server ({known}, now {server}): it was restored from a dump, or copied or moved. What \
                 it knows of transactions in doubt may not be here. If nothing is in doubt at its coordinators, let it go on with \
                 UPDATE undoubt_identity SET server = NULL"
            ));
        }
        Some(_) => {}
        None => {
            let sql = format!(
                "UPDATE undoubt_identity SET participant = {}, server = {} WHERE participant IS NULL OR participant = {}",
                text(owner.as_str()),
                text(&server),
                text(owner.as_str())
            );
            control.run(&sql).await.map_err(|error| failure(&error))?;
        }
    }
    Ok(Hold { identity, run: 0, server })
}

/// Counts the run. Returns its number, and the number of leases that any run may have.
async fn count_run(control: &mut Session, most_sessions: usize) -> Result<(u64, usize), Error> {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let (host, pid) = (text(host.trim()), std::process::id());
    control
        .run(&format!("INSERT INTO undoubt_run (host, pid, sessions, losses, mark) VALUES ({host}, {pid}, {most_sessions}, (SELECT \
             COALESCE(MAX(losses), 0) FROM (SELECT losses FROM undoubt_run) AS r), {DRAWN})"
        ))
        .await?;
    let found = control.rows("SELECT MAX(number), MAX(sessions) FROM undoubt_run").await?;
    let row = found.first();
    let run: u64 = row.and_then(|row| row.get(0)).unwrap_or_default();
    let sessions: u64 = row.and_then(|row| row.get(1)).unwrap_or_default();
    control.run(&format!("DELETE FROM undoubt_run WHERE number + {MAX_RUNS} < {run}")).await?;
    Ok((run, leases(usize::try_from(sessions).unwrap_or(usize::MAX))))
}

/// Carries out what an operator has decided and a crash has kept from being done.
async fn finish_intents(shared: &Shared, hold: &Hold) -> Result<(), ResourceError> {
    let mut decided = BTreeMap::new();
    for row in &rows(shared, "SELECT coordinator, attempt, tx, committed FROM undoubt_heuristic").await? {
        decided.insert(read_branch(row, [0, 1, 2])?, number(row, 3)? > 0);
    }
    for name in listed(shared, hold).await? {
        let id = branch_of(&name);
        if let Some(commit) = decided.get(&id) {
            shared.insert(&id, Known::Prepared { name, slot: None, run: EARLIER, publishes: true });
            match commit {
                true => crate::ending::commit(shared, &id).await?,
                false => crate::ending::abort(shared, &id).await?,
            };
        }
    }
    Ok(())
}

async fn listed(shared: &Shared, hold: &Hold) -> Result<Vec<PreparedName>, ResourceError> {
    let mut session = shared.sessions.recorder().await?;
    prepared(&mut session, hold.identity).await.map_err(|error| failure(&error))
}

async fn read(shared: &Shared, hold: &Hold) -> Result<Recovered, ResourceError> {
    let open: BTreeSet<(CoordinatorId, AttemptNumber)> =
        all(shared, STILL_OPEN, still_open).await?.into_iter().collect();
    let recovered = Recovered {
        prepared: in_doubt(shared, hold).await?,
        coordinators: all(shared, COORDINATORS, |row| coordinator(row, &open)).await?,
        log: Some(witness::recovered(shared, hold).await?),
        heuristics: all(shared, HEURISTICS, heuristic).await?,
        finished: all(shared, &finished(), finished_branch).await?,
        steps: all(shared, &steps(), step).await?,
        ..Recovered::default()
    };
    Ok(recovered)
}

/// Returns the branches in doubt, with the results that they voted with: their evidence can be read though it has not committed.
async fn in_doubt(shared: &Shared, hold: &Hold) -> Result<Vec<PreparedBranch>, ResourceError> {
    let mut session = shared.sessions.recorder().await?;
    let mut evidence = uncommitted(&mut session, MAX_RESULT_BYTES).await?.evidence;
    let listed = prepared(&mut session, hold.identity).await.map_err(|error| failure(&error))?;
    drop(session);
    let mut found = Vec::new();
    for name in listed {
        let (branch, begun_at) = (branch_of(&name), name.begun_at);
        let result = evidence.remove(&branch).map(|(_, result)| result.into());
        shared.insert(&branch, Known::Prepared { name, slot: None, run: EARLIER, publishes: true });
        found.push(PreparedBranch { branch, begun_at, result });
    }
    // Earlier sessions have ended, so what is neither listed nor committed is lost until the server restarts. It is in doubt all the
    // same.
    for (branch, (begun_at, result)) in evidence {
        tracing::error!(cause = lost(&branch), "a branch is lost until the server restarts");
        shared.note_lost(&branch, true);
        let BranchId { tx, attempt_number, coordinator } = branch.clone();
        let name = PreparedName { identity: hold.identity, coordinator, attempt_number, begun_at, tx };
        shared.insert(&branch, Known::Prepared { name, slot: None, run: EARLIER, publishes: true });
        found.push(PreparedBranch { branch, begun_at, result: Some(result.into()) });
    }
    let known: BTreeSet<BranchId> = found.iter().map(|prepared| prepared.branch.clone()).collect();
    shared.lost().iter().filter(|id| !known.contains(id)).for_each(|id| shared.note_lost(id, false));
    Ok(found)
}

async fn all<T>(
    shared: &Shared,
    sql: &str,
    read: impl Fn(&Row) -> Result<T, ResourceError>,
) -> Result<Vec<T>, ResourceError> {
    rows(shared, sql).await?.iter().map(read).collect()
}

const COORDINATORS: &str = "SELECT id, epoch, low_water_mark, pin, pin_vouched FROM undoubt_coordinator ORDER BY id";

const STILL_OPEN: &str = "SELECT coordinator, attempt FROM undoubt_still_open";

const HEURISTICS: &str =
    "SELECT coordinator, attempt, tx, begun_at, committed, decided_at, who, reason, decision FROM undoubt_heuristic";

/// What is over may not be deleted yet. Long results stay where they are.
fn finished() -> String {
    format!(
        "SELECT f.coordinator, f.attempt, f.tx, IF(LENGTH(f.result) <= {SHORT_RESULT_BYTES}, f.result, NULL) FROM undoubt_finished f LEFT \
         JOIN undoubt_coordinator c ON c.id = f.coordinator WHERE (f.attempt >= COALESCE(c.low_water_mark, 0) OR EXISTS (SELECT 1 \
         FROM undoubt_still_open o WHERE o.coordinator = f.coordinator AND o.attempt = f.attempt)) AND NOT EXISTS (SELECT 1 FROM undoubt_heuristic h WHERE h.coordinator = f.coordinator AND h.attempt = f.attempt AND h.tx = f.tx) ORDER BY 1, 2, 3"
    )
}

fn steps() -> String {
    format!(
        "SELECT s.coordinator, s.attempt, s.step, s.tx, s.state, IF(LENGTH(s.result) <= {SHORT_RESULT_BYTES}, s.result, NULL), EXISTS \
         (SELECT 1 FROM undoubt_pending p WHERE p.coordinator = s.coordinator AND p.attempt = s.attempt AND p.step = s.step AND p.tx = \
         s.tx) FROM undoubt_step s LEFT JOIN undoubt_coordinator c ON c.id = s.coordinator WHERE s.attempt >= \
         COALESCE(c.low_water_mark, 0) OR EXISTS (SELECT 1 FROM undoubt_still_open o WHERE o.coordinator = s.coordinator AND o.attempt = \
         s.attempt) ORDER BY 1, 2, 3, 4"
    )
}

fn still_open(row: &Row) -> Result<(CoordinatorId, AttemptNumber), ResourceError> {
    Ok((coordinator_id(row)?, AttemptNumber(number(row, 1)?)))
}

fn coordinator_id(row: &Row) -> Result<CoordinatorId, ResourceError> {
    CoordinatorId::try_from(&binary(row, 0)?[..]).map_err(|error| damaged(&error.to_string()))
}

fn coordinator(row: &Row, open: &BTreeSet<(CoordinatorId, AttemptNumber)>) -> Result<CoordinatorMarks, ResourceError> {
    let id = coordinator_id(row)?;
    let open = open.iter().filter(|(coordinator, _)| *coordinator == id).map(|(_, attempt)| *attempt);
    let key: Option<Vec<u8>> = row.get(3).unwrap_or_default();
    let pin = key.map(|key| {
        let key = key[..].try_into().map_err(|_| damaged("a coordinator's key has another length than 32"))?;
        Ok::<_, ResourceError>(Pin { key: PublicKey(key), vouched: number(row, 4)? > 0 })
    });
    Ok(CoordinatorMarks {
        id,
        epoch: Epoch(u32::try_from(number(row, 1)?).map_err(|_| damaged("an epoch is too high"))?),
        low_water_mark: LowWaterMark::new(AttemptNumber(number(row, 2)?), open),
        pin: pin.transpose()?,
    })
}

fn heuristic(row: &Row) -> Result<HeuristicBranch, ResourceError> {
    let words =
        |place: usize| String::from_utf8(binary(row, place)?).map_err(|_| damaged("an operator's words are no UTF-8"));
    let decision: Option<u64> = row.get(8).unwrap_or_default();
    Ok(HeuristicBranch {
        branch: read_branch(row, [0, 1, 2])?,
        begun_at: Timestamp(number(row, 3)?),
        heuristic: Heuristic {
            commit: number(row, 4)? > 0,
            at: Timestamp(number(row, 5)?),
            who: words(6)?,
            reason: words(7)?,
            decision: decision.map(|decision| decision > 0),
        },
    })
}

fn finished_branch(row: &Row) -> Result<FinishedBranch, ResourceError> {
    Ok(FinishedBranch { branch: read_branch(row, [0, 1, 2])?, outcome: BranchOutcome::Committed, result: kept(row, 3) })
}

fn step(row: &Row) -> Result<RecoveredStep, ResourceError> {
    let state = state_of(&binary(row, 4)?, kept(row, 5), number(row, 6)? > 0)?;
    Ok(RecoveredStep { step: step_at(row, 0)?, state })
}

fn kept(row: &Row, place: usize) -> Kept {
    let result: Option<Vec<u8>> = row.get(place).unwrap_or_default();
    result.map_or(Kept::Stored, |result| Kept::Here(result.into()))
}
