//! All that is prepared in a server, for operators.

use crate::config::Settings;
use crate::connect::Connector;
use crate::schema::{SchemaError, identity};
use crate::standing::all_prepared;
use crate::value::bytes;
use std::time::Duration;
use undoubt_sql::{PreparedName, Xid};

/// A prepared branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its name, as XA COMMIT and XA ROLLBACK take it.
    pub xid: String,
    /// The name's parts, if this project gave it.
    pub name: Option<PreparedName>,
    /// True if the participant of this database prepared it.
    pub ours: bool,
    /// The time since its transaction began, if this project gave its name. The server keeps none.
    pub age: Option<Duration>,
}

/// Returns all that is prepared in the server, by whomever, the oldest of this project's first.
pub async fn list(settings: &Settings) -> Result<Vec<Prepared>, SchemaError> {
    let mut session = Connector::new(settings, "undoubt-list")?.connect().await?;
    let ours = identity(&mut session).await.ok().flatten();
    let rows = session.rows("SELECT UNIX_TIMESTAMP()").await?;
    let now_s: u64 = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    let mut listed: Vec<Prepared> = all_prepared(&mut session)
        .await?
        .iter()
        .map(|xid| {
            let name = PreparedName::from_xid(xid).ok();
            let Xid { format_id, gtrid, bqual } = xid;
            let age =
                |name: &PreparedName| Duration::from_secs(now_s).saturating_sub(Duration::from_micros(name.begun_at.0));
            Prepared {
                xid: format!("{},{},{format_id}", bytes(gtrid), bytes(bqual)),
                ours: name.as_ref().is_some_and(|name| Some(name.identity) == ours),
                age: name.as_ref().map(age),
                name,
            }
        })
        .collect();
    session.close().await;
    listed.sort_by_key(|prepared| std::cmp::Reverse(prepared.age));
    Ok(listed)
}
