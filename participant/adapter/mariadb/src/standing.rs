//! The standing of branches in the server: what is listed as prepared, what is evident, and what the server has lost.

use crate::class::told;
use crate::record::{branch_of, damaged, failure, read_branch};
use crate::session::Session;
use crate::value::bytes;
use mysql_async::{Error, Row};
use std::collections::{BTreeMap, BTreeSet};
use undoubt_participant::resource::{BranchId, ResourceError};
use undoubt_sql::{Identity, PreparedName, Xid};
use undoubt_vocabulary::Timestamp;

/// The standing of a branch that no session is working on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is listed as prepared.
    Prepared,
    /// Its evidence is there.
    Committed,
    /// There is nothing of it.
    Absent,
    /// It is not listed, and its evidence is there for those alone who look at what is not committed: the server has taken a
    /// commit or a rollback for done and has not done it. A restart of the server lists it again.
    Lost,
}

/// Returns a name as statements of XA take it.
pub(crate) fn xid_of(name: &PreparedName) -> String {
    let Xid { format_id, gtrid, bqual } = name.to_xid();
    format!("{},{},{format_id}", bytes(&gtrid), bytes(&bqual))
}

/// Returns the names of what this participant has prepared. Others' are not touched.
pub(crate) async fn prepared(session: &mut Session, identity: Identity) -> Result<Vec<PreparedName>, Error> {
    let listed = all_prepared(session).await?;
    let ours = listed.iter().filter_map(|xid| PreparedName::from_xid(xid).ok());
    Ok(ours.filter(|name| name.identity == identity).collect())
}

/// Returns the names of all that is prepared in the server, by whomever.
pub(crate) async fn all_prepared(session: &mut Session) -> Result<Vec<Xid>, Error> {
    // The data come as bytes, whatever character set is spoken.
    let rows = session.rows("XA RECOVER").await?;
    let xid = |row: &Row| -> Option<Xid> {
        let (gtrid, bqual): (usize, usize) = (row.get(1)?, row.get(2)?);
        let data: Vec<u8> = row.get(3)?;
        let (first, second) = data.split_at_checked(gtrid)?;
        let format_id: i64 = row.get(0)?;
        (second.len() == bqual).then(|| Xid {
            format_id: u32::try_from(format_id).unwrap_or_default(),
            gtrid: first.to_vec().into(),
            bqual: second.to_vec().into(),
        })
    };
    Ok(rows.iter().filter_map(xid).collect())
}

/// Returns the standing of a branch.
pub(crate) async fn look(session: &mut Session, name: &PreparedName) -> Result<Standing, ResourceError> {
    let id = branch_of(name);
    if prepared(session, name.identity)
        .await
        .map_err(|error| failure(&error))?
        .iter()
        .any(|listed| branch_of(listed) == id)
    {
        return Ok(Standing::Prepared);
    }
    look_for_evidence(session, &id).await
}

/// Returns the standing of a branch that is not listed.
pub(crate) async fn look_for_evidence(session: &mut Session, id: &BranchId) -> Result<Standing, ResourceError> {
    let wanted = format!(
        "SELECT 1 FROM undoubt_finished WHERE coordinator = {} AND attempt = {} AND tx = {}",
        bytes(&id.coordinator.0),
        id.attempt_number.0,
        bytes(id.tx.as_bytes())
    );
    let mut is_there = async |sql: &str| -> Result<bool, ResourceError> {
        Ok(!session.rows(sql).await.map_err(|error| failure(&error))?.is_empty())
    };
    if is_there(&wanted).await? {
        return Ok(Standing::Committed);
    }
    match is_there(&format!("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; {wanted}")).await? {
        // It may have been committed between the two looks.
        true if is_there(&wanted).await? => Ok(Standing::Committed),
        true => Ok(Standing::Lost),
        false => Ok(Standing::Absent),
    }
}

/// The branches that stand in the server without having committed.
#[derive(Debug, Default)]
pub(crate) struct Uncommitted {
    /// The results that branches voted with, by their branches, with the times when their transactions began.
    pub(crate) evidence: BTreeMap<BranchId, (Timestamp, Vec<u8>)>,
}

/// Reads the evidence of what has not committed.
pub(crate) async fn uncommitted(session: &mut Session, most_result_bytes: usize) -> Result<Uncommitted, ResourceError> {
    let keys = "SELECT coordinator, attempt, tx FROM undoubt_finished";
    let committed = session.rows(keys).await.map_err(|error| failure(&error))?;
    let committed: BTreeSet<BranchId> =
        committed.iter().map(|row| read_branch(row, [0, 1, 2])).collect::<Result<_, _>>()?;
    let all = format!(
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; SELECT coordinator, attempt, tx, begun_at, LEFT(result, {most_result_bytes}) \
         FROM undoubt_finished"
    );
    let mut found = Uncommitted::default();
    for row in session.rows(&all).await.map_err(|error| failure(&error))? {
        let id = read_branch(&row, [0, 1, 2])?;
        if !committed.contains(&id) {
            let begun_at: u64 = row.get(3).ok_or_else(|| damaged("a begin is missing"))?;
            found.evidence.insert(id, (Timestamp(begun_at), row.get(4).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// Returns what people are told of a branch that the server has lost.
pub(crate) fn lost(id: &BranchId) -> String {
    format!(
        "the server answered that {} was ended and has not done it: its rows are locked and XA RECOVER does not list it. Restart the \
         server; then it is listed again and ended",
        id.tx
    )
}

/// Notes an error of XA for people.
pub(crate) fn warn(xid: &str, verb: &str, error: &Error) {
    tracing::warn!(xid, verb, error = told(error), "a branch could not be ended; it is tried again");
}
