//! All that is prepared in a database, for operators.

use crate::config::Settings;
use crate::connect::Connector;
use crate::schema::SchemaError;
use std::time::Duration;
use undoubt_sql::{EnlistedName, Identity, PreparedName};

/// A prepared transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its name in the server.
    pub gid: String,
    /// The name's parts, if this project gave it.
    pub name: Option<PreparedName>,
    /// The parts of the name under which an application has enlisted it.
    pub enlisted: Option<EnlistedName>,
    /// True if the participant of this database prepared it, or an application for it.
    pub ours: bool,
    pub age: Duration,
    /// The role that prepared it: it, or a superuser, may end it.
    pub owner: String,
    /// The tables that it keeps locks on.
    pub tables: Vec<String>,
}

/// Returns all that is prepared in this database, by whomever, the oldest first.
pub async fn list(settings: &Settings) -> Result<Vec<Prepared>, SchemaError> {
    let session = Connector::new(settings, "undoubt-list")?.connect().await?;
    let known = session.query("SELECT id FROM undoubt.identity", &[]).await;
    let identity = known.ok().and_then(|rows| {
        let id: Vec<u8> = rows.first()?.try_get(0).ok()?;
        Some(Identity(id.try_into().ok()?))
    });
    let rows = session
        .query(
            "SELECT p.gid, (extract(epoch FROM clock_timestamp() - p.prepared) * 1000)::bigint, p.owner::text, \
             array(SELECT DISTINCT l.relation::regclass::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relkind IN \
             ('r', 'p') WHERE l.pid IS NULL AND l.virtualtransaction = (SELECT t.virtualtransaction FROM pg_locks t WHERE t.pid IS NULL AND t.locktype = 'transactionid' AND t.transactionid = p.transaction) ORDER BY 1) FROM \
             pg_prepared_xacts p WHERE p.database = current_database() ORDER BY p.prepared",
            &[],
        )
        .await?;
    let mut listed = Vec::new();
    for row in &rows {
        let (gid, age_ms): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (name, enlisted) = (PreparedName::from_gid(&gid).ok(), EnlistedName::from_gid(&gid).ok());
        let of = name.as_ref().map(|name| name.identity).or(enlisted.as_ref().map(|name| name.identity));
        listed.push(Prepared {
            ours: of.is_some() && of == identity,
            name,
            enlisted,
            gid,
            age: Duration::from_millis(u64::try_from(age_ms).unwrap_or_default()),
            owner: row.try_get(2)?,
            tables: row.try_get(3)?,
        });
    }
    Ok(listed)
}
