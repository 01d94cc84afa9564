//! The start: whose database it is, the end of earlier processes, and what survived.

use crate::background;
use crate::class::code_of;
use crate::connect::Absent;
use crate::enlisted::{self, InDoubt};
use crate::kept;
use crate::owner::{self, Keys};
use crate::record::{damaged, failure, on_record, read_branch, step_at, unclamped};
use crate::session::Session;
use crate::sessions::Hold;
use crate::shared::{Known, Shared};
use crate::step::state_of;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_postgres::{Error, Row};
use undoubt_participant::resource::{
    BranchId, CoordinatorMarks, FinishedBranch, Heuristic, HeuristicBranch, Kept, Pin, PreparedBranch, Recovered,
    RecoveredStep, ResourceError, SHORT_RESULT_BYTES,
};
use undoubt_sql::{Identity, PreparedName};
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, Epoch, LowWaterMark, ParticipantName, PublicKey, Timestamp,
};

/// The version of the schema that this participant works with.
pub(crate) const VERSION: i32 = 5;

/// The first version of PostgreSQL whose `pg_terminate_backend` waits.
pub(crate) const LEAST_SERVER_VERSION: i32 = 140_000;

pub(crate) async fn recover(shared: &Arc<Shared>, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
    shared.sessions.end().await;
    shared.forget_all();
    let settings = shared.sessions.connector().settings();
    let control = shared.sessions.connector().connect().await?;
    let hold = claim(&control, owner).await?;
    let keys = Keys::of(hold.identity);
    owner::take(&control, keys, settings.take_over).await?;
    owner::fence(&control, keys).await?;
    let hold = Hold { run: count_run(&control).await.map_err(|error| failure(&error))?, ..hold };
    owner::open(&control, keys).await?;
    shared.sessions.begin(control, hold).await;
    let numbers = kept::begin(shared).await?;
    let log = Some(numbers.recovered());
    shared.begin_numbers(numbers);
    let in_doubt = finish_intents(shared, in_doubt(shared, hold).await?).await?;
    let recovered = Recovered { log, ..read(shared, in_doubt).await? };
    background::look_at(shared).await?;
    tracing::info!(run = hold.run, identity = %hold.identity, prepared = recovered.prepared.len(), "the database is taken");
    Ok(recovered)
}

/// Checks that the database is this participant's, and takes it at the first start.
async fn claim(control: &Session, owner: &ParticipantName) -> Result<Hold, ResourceError> {
    let rows = control
        .query(
            "SELECT id, version, participant, system_identifier, database_oid, (SELECT system_identifier FROM pg_control_system()) AS \
             now, (SELECT oid FROM pg_database WHERE datname = current_database()) AS here, pg_is_in_recovery(), \
             current_setting('server_version_num')::integer, timeline, (SELECT timeline_id FROM pg_control_checkpoint()) FROM undoubt.identity",
            &[],
        )
        .await
        .map_err(|error| match code_of(&error) {
            Some("42P01" | "3F000") => ResourceError::Foreign {
                cause: "the database has no schema undoubt; make it with `undoubt-participant init`".to_owned(),
            },
            Some(_) | None => ResourceError::from(Absent::away(&error)),
        })?;
    let row = rows.first().ok_or_else(|| damaged("undoubt.identity is empty"))?;
    let facts = Facts::read(row).map_err(|error| failure(&error))?;
    facts.check(owner)?;
    let identity = Identity(facts.id[..].try_into().map_err(|_| damaged("the identity has another length than 8"))?);
    if facts.timeline.is_some_and(|known| known != facts.timeline_now) {
        tracing::warn!(
            before = facts.timeline,
            now = facts.timeline_now,
            "the server is on another timeline, as after a promotion: what the former one had not sent to it is lost"
        );
    }
    if facts.participant.is_none() || facts.timeline != Some(facts.timeline_now) {
        control
            .execute(
                "UPDATE undoubt.identity SET participant = $1, system_identifier = $2, database_oid = $3, timeline = $4 WHERE \
                 participant IS NULL OR participant = $1",
                &[&owner.as_str(), &facts.system_now, &facts.database_now, &facts.timeline_now],
            )
            .await
            .map_err(|error| failure(&error))?;
    }
    Ok(Hold { identity, run: 0, system_identifier: facts.system_now })
}

struct Facts {
    id: Vec<u8>,
    version: i32,
    participant: Option<String>,
    system: Option<i64>,
    database: Option<u32>,
    system_now: i64,
    database_now: u32,
    is_standby: bool,
    server_version: i32,
    timeline: Option<i32>,
    timeline_now: i32,
}

impl Facts {
    fn read(row: &Row) -> Result<Facts, Error> {
        Ok(Facts {
            id: row.try_get(0)?,
            version: row.try_get(1)?,
            participant: row.try_get(2)?,
            system: row.try_get(3)?,
            database: row.try_get(4)?,
            system_now: row.try_get(5)?,
            database_now: row.try_get(6)?,
            is_standby: row.try_get(7)?,
            server_version: row.try_get(8)?,
            timeline: row.try_get(9)?,
            timeline_now: row.try_get(10)?,
        })
    }

    fn check(&self, owner: &ParticipantName) -> Result<(), ResourceError> {
        let foreign = |cause: String| Err(ResourceError::Foreign { cause });
        if self.is_standby {
            let cause =
                "the server is a standby, which takes no writes; it is tried again until it is promoted".to_owned();
            return Err(ResourceError::Unavailable { cause });
        }
        if self.version != VERSION {
            let version = self.version;
            return foreign(format!(
                "its schema undoubt has version {version}, and this participant works with {VERSION}; {}",
                if version < VERSION {
                    "bring it up with `undoubt-participant init`"
                } else {
                    "start the version that wrote it, or a newer one"
                }
            ));
        }
        if self.server_version < LEAST_SERVER_VERSION {
            return foreign(format!(
                "the server has version {}; PostgreSQL 14 is the oldest that works",
                self.server_version / 10_000
            ));
        }
        let Some(participant) = &self.participant else { return Ok(()) };
        if participant != owner.as_str() {
            return foreign(format!("the database is that of the participant {participant}, not of {owner}"));
        }
        if (self.system, self.database) != (Some(self.system_now), Some(self.database_now)) {
            return foreign(format!(
                "its schema undoubt was made in another server or database (system identifier {}, now {}): it was restored from a dump, \
                 or copied. What it knows of transactions in doubt is not here",
                self.system.unwrap_or_default(),
                self.system_now
            ));
        }
        Ok(())
    }
}

async fn count_run(control: &Session) -> Result<i64, Error> {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let pid = i64::from(std::process::id());
    let rows = control
        .query("INSERT INTO undoubt.run (host, pid) VALUES ($1, $2) RETURNING number", &[&host.trim(), &pid])
        .await?;
    let number = rows[0].try_get(0)?;
    control.execute("DELETE FROM undoubt.run WHERE number < $1::bigint - 100", &[&number]).await?;
    Ok(number)
}

/// Carries out what an operator has decided and a crash has kept from being done. Returns those that nobody has decided about.
pub(crate) async fn finish_intents(shared: &Shared, found: Vec<InDoubt>) -> Result<Vec<InDoubt>, ResourceError> {
    let rows = on_record(shared, async |session| {
        session.query("SELECT coordinator, attempt, tx, committed FROM undoubt.heuristic", &[]).await
    })
    .await?;
    let mut decided = std::collections::BTreeMap::new();
    for row in &rows {
        let commit: bool = row.try_get(3).map_err(|error| failure(&error))?;
        decided.insert(read_branch(row, [0, 1, 2])?, commit);
    }
    let mut undecided = Vec::new();
    for branch in found {
        let Some(commit) = decided.get(&branch.id) else {
            undecided.push(branch);
            continue;
        };
        let InDoubt { id, gid, begun_at: _ } = branch;
        shared.insert(&id, Known::Prepared { gid, row: None, publishes: true });
        match commit {
            true => crate::ending::commit(shared, &id).await?,
            false => crate::ending::abort(shared, &id).await?,
        };
    }
    Ok(undecided)
}

/// Returns what this participant has prepared or adopted in this database. Others' are not touched.
async fn in_doubt(shared: &Shared, hold: Hold) -> Result<Vec<InDoubt>, ResourceError> {
    let rows = on_record(shared, async |session| {
        session.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()", &[]).await
    })
    .await?;
    let names = rows.iter().map(|row| row.try_get(0).map_err(|error| failure(&error)));
    let names: BTreeSet<String> = names.collect::<Result<_, _>>()?;
    let own = names.iter().filter_map(|gid| PreparedName::from_gid(gid).ok());
    let mut in_doubt: Vec<_> = own.filter(|name| name.identity == hold.identity).map(InDoubt::from).collect();
    in_doubt.extend(enlisted::recover(shared, hold, &names).await?);
    Ok(in_doubt)
}

impl From<PreparedName> for InDoubt {
    fn from(name: PreparedName) -> Self {
        let gid = name.to_gid();
        let PreparedName { identity: _, coordinator, attempt_number, begun_at, tx } = name;
        InDoubt { id: BranchId { tx, attempt_number, coordinator }, gid, begun_at }
    }
}

async fn read(shared: &Shared, in_doubt: Vec<InDoubt>) -> Result<Recovered, ResourceError> {
    let mut recovered = Recovered::default();
    for InDoubt { id, gid, begun_at } in in_doubt {
        shared.insert(&id, Known::Prepared { gid, row: None, publishes: true });
        recovered.prepared.push(PreparedBranch { branch: id, begun_at, result: None });
    }
    let tables = on_record(shared, async |session| {
        let coordinators = "SELECT id, epoch, low_water_mark, pin, pin_vouched, ARRAY(SELECT attempt FROM undoubt.still_open WHERE \
             coordinator = id) FROM undoubt.coordinator ORDER BY id";
        let heuristics =
            "SELECT coordinator, attempt, tx, begun_at, committed, at, who, reason, decision FROM undoubt.heuristic";
        // What is over may not be deleted yet. Long results stay where they are.
        let finished = "SELECT f.coordinator, f.attempt, f.tx, CASE WHEN length(result) <= $1 THEN result END FROM (SELECT coordinator, \
             attempt, tx, result FROM undoubt.finished UNION ALL SELECT coordinator, attempt, tx, '' FROM undoubt.adopted JOIN \
             undoubt.enlisted USING (coordinator, tx) WHERE attempt IS NOT NULL) f \
             LEFT JOIN undoubt.coordinator c ON c.id = f.coordinator WHERE (f.attempt >= coalesce(c.low_water_mark, 0) OR EXISTS \
             (SELECT FROM undoubt.still_open o WHERE (o.coordinator, o.attempt) = (f.coordinator, f.attempt))) AND NOT EXISTS \
             (SELECT FROM undoubt.heuristic h WHERE (h.coordinator, h.attempt, h.tx) = (f.coordinator, f.attempt, f.tx)) ORDER BY 1, 2, 3";
        let steps = "SELECT s.coordinator, s.attempt, s.step, s.tx, s.state, CASE WHEN length(result) <= $1 THEN result END, EXISTS \
             (SELECT FROM undoubt.pending p WHERE (p.coordinator, p.attempt, p.step, p.tx) = (s.coordinator, s.attempt, s.step, s.tx)) \
             FROM undoubt.step s LEFT JOIN undoubt.coordinator c ON c.id = s.coordinator WHERE s.attempt >= coalesce(c.low_water_mark, 0) OR EXISTS \
             (SELECT FROM undoubt.still_open o WHERE (o.coordinator, o.attempt) = (s.coordinator, s.attempt)) ORDER BY 1, 2, 3, 4";
        let short = i32::try_from(SHORT_RESULT_BYTES).expect("it is short");
        Ok((
            session.query(coordinators, &[]).await?,
            session.query(heuristics, &[]).await?,
            session.query(finished, &[&short]).await?,
            session.query(steps, &[&short]).await?,
        ))
    });
    let (coordinators, heuristics, finished, steps) = tables.await?;
    recovered.coordinators = coordinators.iter().map(coordinator).collect::<Result<_, _>>()?;
    recovered.heuristics = heuristics.iter().map(heuristic).collect::<Result<_, _>>()?;
    recovered.finished = finished.iter().map(finished_branch).collect::<Result<_, _>>()?;
    recovered.steps = steps.iter().map(step).collect::<Result<_, _>>()?;
    Ok(recovered)
}

fn coordinator(row: &Row) -> Result<CoordinatorMarks, ResourceError> {
    let unreadable = |error: Error| failure(&error);
    let id: &[u8] = row.try_get(0).map_err(unreadable)?;
    let epoch: i64 = row.try_get(1).map_err(unreadable)?;
    let mark: i64 = row.try_get(2).map_err(unreadable)?;
    let key: Option<&[u8]> = row.try_get(3).map_err(unreadable)?;
    let vouched: Option<bool> = row.try_get(4).map_err(unreadable)?;
    let still_open: Vec<i64> = row.try_get(5).map_err(unreadable)?;
    let still_open = still_open.into_iter().map(|attempt| AttemptNumber(unclamped(attempt)));
    let pin = key.map(|key| {
        let key = key.try_into().map_err(|_| damaged("a coordinator's key has another length than 32"))?;
        Ok::<_, ResourceError>(Pin { key: PublicKey(key), vouched: vouched.unwrap_or_default() })
    });
    Ok(CoordinatorMarks {
        id: CoordinatorId::try_from(id).map_err(|error| damaged(&error.to_string()))?,
        epoch: Epoch(u32::try_from(epoch).map_err(|_| damaged("an epoch is too high"))?),
        low_water_mark: LowWaterMark::new(AttemptNumber(unclamped(mark)), still_open),
        pin: pin.transpose()?,
    })
}

fn heuristic(row: &Row) -> Result<HeuristicBranch, ResourceError> {
    let unreadable = |error: Error| failure(&error);
    let (begun_at, at): (i64, i64) = (row.try_get(3).map_err(unreadable)?, row.try_get(5).map_err(unreadable)?);
    Ok(HeuristicBranch {
        branch: read_branch(row, [0, 1, 2])?,
        begun_at: Timestamp(unclamped(begun_at)),
        heuristic: Heuristic {
            commit: row.try_get(4).map_err(unreadable)?,
            at: Timestamp(unclamped(at)),
            who: row.try_get(6).map_err(unreadable)?,
            reason: row.try_get(7).map_err(unreadable)?,
            decision: row.try_get(8).map_err(unreadable)?,
        },
    })
}

fn finished_branch(row: &Row) -> Result<FinishedBranch, ResourceError> {
    let result: Option<Vec<u8>> = row.try_get(3).map_err(|error| failure(&error))?;
    Ok(FinishedBranch { branch: read_branch(row, [0, 1, 2])?, outcome: BranchOutcome::Committed, result: kept(result) })
}

fn step(row: &Row) -> Result<RecoveredStep, ResourceError> {
    let unreadable = |error: Error| failure(&error);
    let result: Option<Vec<u8>> = row.try_get(5).map_err(unreadable)?;
    let state = state_of(row.try_get(4).map_err(unreadable)?, kept(result), row.try_get(6).map_err(unreadable)?)?;
    Ok(RecoveredStep { step: step_at(row, 0)?, state })
}

fn kept(result: Option<Vec<u8>>) -> Kept {
    result.map_or(Kept::Stored, |result| Kept::Here(result.into()))
}
