//! The branches that applications have prepared themselves: adopted when their transaction asks for it, undone when none does.
//!
//! Two records tell of it. The row in `undoubt.enlisted` is written within what is prepared, and seen exactly when it has
//! committed. The row in `undoubt.adopted` names the attempt that has it; who writes that row first has what is prepared, so that
//! it is not adopted and undone at the same time. Without an attempt it says that it is being undone.

use crate::attempt::Declined;
use crate::class::{UNKNOWN_NAME, code_of};
use crate::local::kept;
use crate::record::{clamped, evidence, failure, on_record, read_branch, unclamped};
use crate::sessions::Hold;
use crate::shared::{Known, Shared};
use std::collections::BTreeSet;
use tokio_postgres::Error;
use undoubt_participant::resource::{BranchId, ResourceError};
use undoubt_sql::EnlistedName;
use undoubt_vocabulary::{Execution, Prepare, Refusal, RefusalCode, Timestamp, Vote};
use undoubt_work::Results;

/// Returns the statement that deletes the records of what is over. What is adopted and still in doubt keeps its own.
/// `coordinator`: a literal. `is_over`: a condition on `attempt`.
pub(crate) fn collect(coordinator: &str, is_over: &str, most: u64) -> String {
    format!(
        "WITH over AS (DELETE FROM undoubt.adopted WHERE ctid = ANY(ARRAY(SELECT a.ctid FROM undoubt.adopted a JOIN undoubt.enlisted e USING \
         (coordinator, tx) WHERE a.coordinator = {coordinator} AND {is_over} LIMIT {most})) RETURNING coordinator, tx) DELETE FROM \
         undoubt.enlisted e USING over WHERE (e.coordinator, e.tx) = (over.coordinator, over.tx)"
    )
}

/// A branch that is in doubt, and the name under which it is prepared.
#[derive(Clone, Debug)]
pub(crate) struct InDoubt {
    pub(crate) id: BranchId,
    pub(crate) gid: String,
    pub(crate) begun_at: Timestamp,
}

/// Returns the name under which a branch is prepared if an application has prepared it.
pub(crate) fn name_of(hold: Hold, id: &BranchId) -> String {
    EnlistedName { identity: hold.identity, coordinator: id.coordinator, tx: id.tx.clone() }.to_gid()
}

/// Makes what an application has prepared the branch of this attempt.
pub(crate) async fn adopt(shared: &Shared, id: &BranchId, prepare: &Prepare) -> Result<Vote, Declined> {
    if prepare.execution == Execution::OnePhase {
        let detail = "what is enlisted is the only branch of its transaction; commit it without a coordinator, or submit it with the \
                      others' work";
        return Err(Refusal::new(RefusalCode::InvalidWork, detail).into());
    }
    let attempt = kept(id.attempt_number)?;
    let gid = name_of(shared.sessions.hold()?, id);
    // From here on there may be something that an abort has to end.
    shared.insert(id, Known::Prepared { gid: gid.clone(), row: None, publishes: false });
    let taken = match take(shared, id, attempt, prepare.begun_at).await {
        Ok(taken) => taken,
        Err(error) => {
            if matches!(error, ResourceError::Unavailable { .. }) {
                shared.remove(id);
            }
            return Err(Declined::Failed(error));
        }
    };
    let missing = match taken {
        Taken::First | Taken::Again => look(shared, &gid).await.map_err(unclear)?,
        Taken::No => {
            Some("it was not submitted in time, and is being undone; begin it again, with its own work".to_owned())
        }
    };
    let Some(missing) = missing else { return Ok(Vote::Prepared { result: Results::encode_calls(&[]) }) };
    match taken {
        Taken::First if evidence(shared, id).await.map_err(unclear)?.is_some() => {
            // The abort finds that it has committed, which is reported as damage.
            let cause = format!("somebody else has committed {gid} in the database before it was submitted");
            return Err(Declined::Failed(ResourceError::Unclear { cause }));
        }
        Taken::First | Taken::Again => let_go(shared, id).await.map_err(unclear)?,
        Taken::No => {}
    }
    shared.remove(id);
    Err(Refusal::new(RefusalCode::Condition, missing).into())
}

/// Returns how it is told once the record is there: an abort has to take it back.
fn unclear(error: ResourceError) -> Declined {
    Declined::Failed(match error {
        ResourceError::Unavailable { cause } => ResourceError::Unclear { cause },
        other @ (ResourceError::NoRoom
        | ResourceError::Unclear { .. }
        | ResourceError::Foreign { .. }
        | ResourceError::Stopped { .. }
        | ResourceError::Fenced { .. }) => other,
    })
}

/// Whether an attempt has what is prepared for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// No attempt had it before.
    First,
    Again,
    /// It is being undone.
    No,
}

async fn take(shared: &Shared, id: &BranchId, attempt: i64, begun_at: Timestamp) -> Result<Taken, ResourceError> {
    let rows = on_record(shared, async move |session| {
        // Where a row is updated, it has an xmax: the transaction that locked the one before.
        let statement = "INSERT INTO undoubt.adopted AS a (coordinator, tx, attempt, begun_at) VALUES ($1, $2, $3, $4) ON CONFLICT \
             (coordinator, tx) DO UPDATE SET attempt = excluded.attempt, begun_at = excluded.begun_at WHERE a.attempt <= excluded.attempt \
             RETURNING xmax = 0";
        let (coordinator, tx, begun_at) = (&id.coordinator.0[..], id.tx.as_bytes(), clamped(begun_at.0));
        session.query(statement, &[&coordinator, &tx, &attempt, &begun_at]).await
    })
    .await?;
    let Some(row) = rows.first() else { return Ok(Taken::No) };
    let is_first: bool = row.try_get(0).map_err(|error| failure(&error))?;
    Ok(if is_first { Taken::First } else { Taken::Again })
}

/// Looks for what is prepared, once the record is there: it cannot be undone any more. Returns what is missing, if anything is.
async fn look(shared: &Shared, gid: &str) -> Result<Option<String>, ResourceError> {
    let rows = on_record(shared, async |session| {
        let statement = "SELECT p.owner::text, p.owner = current_user OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
             EXISTS (SELECT FROM pg_locks l WHERE l.pid IS NULL AND l.locktype = 'relation' AND l.relation = 'undoubt.enlisted'::regclass \
             AND l.mode = 'RowExclusiveLock' AND l.virtualtransaction = (SELECT t.virtualtransaction FROM pg_locks t WHERE t.pid IS NULL \
             AND t.locktype = 'transactionid' AND t.transactionid = p.transaction)), current_user::text FROM pg_prepared_xacts p WHERE p.gid = $1 AND p.database = \
             current_database()";
        session.query(statement, &[&gid]).await
    })
    .await?;
    let Some(row) = rows.first() else {
        let why = "nothing is prepared here under this transaction's id and this coordinator's; prepare it before it is submitted, and \
                   submit it within resource.enlist_grace_ms. If it was prepared, it has ended: begin it again, with its own work";
        return Ok(Some(why.to_owned()));
    };
    let unreadable = |error: Error| failure(&error);
    let (owner, mine): (String, bool) = (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
    let (has_evidence, own): (bool, String) =
        (row.try_get(2).map_err(unreadable)?, row.try_get(3).map_err(unreadable)?);
    Ok(match (mine, has_evidence) {
        (false, _) => Some(format!(
            "it is prepared by the role {owner}, and only that one may end it; prepare it as {own} (SET LOCAL ROLE {own} before \
             PREPARE TRANSACTION), and let somebody with the role {owner} roll back {gid}"
        )),
        (true, false) => Some(
            "what is prepared under its name was not enlisted; call undoubt.enlist in the same transaction before PREPARE TRANSACTION"
                .to_owned(),
        ),
        (true, true) => None,
    })
}

/// Deletes the record of what was adopted, and is undone.
pub(crate) async fn let_go(shared: &Shared, id: &BranchId) -> Result<(), ResourceError> {
    on_record(shared, async move |session| {
        let statement = "DELETE FROM undoubt.adopted WHERE coordinator = $1 AND tx = $2 AND attempt = $3";
        let (coordinator, tx, attempt) = (&id.coordinator.0[..], id.tx.as_bytes(), clamped(id.attempt_number.0));
        session.execute(statement, &[&coordinator, &tx, &attempt]).await
    })
    .await
    .map(drop)
}

/// Returns whether this attempt has adopted something.
pub(crate) async fn has_adopted(shared: &Shared, id: &BranchId) -> Result<bool, ResourceError> {
    on_record(shared, async move |session| {
        let statement = "SELECT FROM undoubt.adopted WHERE coordinator = $1 AND tx = $2 AND attempt = $3";
        let (coordinator, tx, attempt) = (&id.coordinator.0[..], id.tx.as_bytes(), clamped(id.attempt_number.0));
        Ok(!session.query(statement, &[&coordinator, &tx, &attempt]).await?.is_empty())
    })
    .await
}

/// Undoes what nobody has submitted. Nobody has voted for it, so nobody can have decided about it.
pub(crate) async fn undo(shared: &Shared, name: &EnlistedName) -> Result<(), ResourceError> {
    let (coordinator, tx) = (&name.coordinator.0[..], name.tx.as_bytes());
    let taken = on_record(shared, async move |session| {
        let statement = "INSERT INTO undoubt.adopted AS a (coordinator, tx, begun_at) VALUES ($1, $2, 0) ON CONFLICT (coordinator, tx) DO \
             UPDATE SET begun_at = 0 WHERE a.attempt IS NULL";
        session.execute(statement, &[&coordinator, &tx]).await
    });
    if taken.await? == 0 {
        return Ok(());
    }
    let statement = format!("ROLLBACK PREPARED '{}'", name.to_gid());
    on_record(shared, async |session| match session.client.batch_execute(&statement).await {
        Err(error) if code_of(&error) == Some(UNKNOWN_NAME) => Ok(()),
        ended => ended,
    })
    .await?;
    on_record(shared, async move |session| {
        let statement = "DELETE FROM undoubt.adopted WHERE coordinator = $1 AND tx = $2 AND attempt IS NULL";
        session.execute(statement, &[&coordinator, &tx]).await
    })
    .await
    .map(drop)
}

/// Returns what is adopted and in doubt. Finishes what was being undone, and deletes the records of what is. `listed`: the names
/// of all that is prepared in this database.
pub(crate) async fn recover(
    shared: &Shared,
    hold: Hold,
    listed: &BTreeSet<String>,
) -> Result<Vec<InDoubt>, ResourceError> {
    let rows = on_record(shared, async |session| {
        let statement = "SELECT coordinator, coalesce(attempt, 0), tx, begun_at, attempt IS NULL FROM undoubt.adopted a WHERE NOT EXISTS \
             (SELECT FROM undoubt.enlisted e WHERE (e.coordinator, e.tx) = (a.coordinator, a.tx)) ORDER BY 1, 3";
        session.query(statement, &[]).await
    })
    .await?;
    let mut in_doubt = Vec::new();
    for row in &rows {
        let unreadable = |error: Error| failure(&error);
        let id = read_branch(row, [0, 1, 2])?;
        let gid = name_of(hold, &id);
        let begun_at: i64 = row.try_get(3).map_err(unreadable)?;
        match (row.try_get(4).map_err(unreadable)?, listed.contains(&gid)) {
            (true, _) => {
                let name = EnlistedName { identity: hold.identity, coordinator: id.coordinator, tx: id.tx };
                undo(shared, &name).await?;
            }
            (false, true) => in_doubt.push(InDoubt { id, gid, begun_at: Timestamp(unclamped(begun_at)) }),
            (false, false) => let_go(shared, &id).await?,
        }
    }
    Ok(in_doubt)
}
