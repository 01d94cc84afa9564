//! The participant's own tables: made before the first start, and removed after the last.

use crate::class::{NO_TABLE, class_of, code_of, told};
use crate::config::{InvalidSettings, Settings};
use crate::connect::{Absent, Connector};
use crate::owner::{self, Keys};
use crate::session::Session;
use crate::sessions::leases;
use crate::standing::prepared;
use mysql_async::Error;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Class, Identity};

/// The tables, and last the identity, without which nothing begins.
const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    "\n",
    include_str!("schema_since_2.sql"),
    "\n",
    include_str!("schema_since_3.sql"),
    "\n",
    include_str!("schema_since_4.sql"),
    "\n",
    include_str!("schema_identity.sql")
);

/// The statements that bring tables of a version to the next one, which they say last.
const STEPS: [(u64, &str); 4] = [
    (1, concat!(include_str!("schema_from_1.sql"), "\n", include_str!("schema_since_2.sql"))),
    (2, include_str!("schema_from_2.sql")),
    (3, concat!(include_str!("schema_since_3.sql"), "\n", include_str!("schema_from_3.sql"))),
    (4, concat!(include_str!("schema_since_4.sql"), "\n", include_str!("schema_from_4.sql"))),
];

/// Returns the statements that bring tables of this version to the present one; `None`: it is that, or not known.
fn steps_from(version: u64) -> Option<String> {
    let steps = STEPS.iter().filter(|(from, _)| version >= 1 && *from >= version);
    let steps: Vec<&str> = steps.map(|(_, statements)| *statements).collect();
    (!steps.is_empty()).then(|| steps.join("\n"))
}

/// The participant's own tables, in the order in which they are removed; the identity, without which nothing begins, first.
pub(crate) const TABLES: [&str; 20] = [
    "undoubt_identity",
    "undoubt_run",
    "undoubt_coordinator",
    "undoubt_finished",
    "undoubt_step",
    "undoubt_pending",
    "undoubt_heuristic",
    "undoubt_outcome",
    "undoubt_seen",
    "undoubt_loss",
    "undoubt_kept",
    "undoubt_still_open",
    "undoubt_unnumbered",
    "undoubt_event",
    "undoubt_log_end",
    "undoubt_lane",
    "undoubt_incarnation",
    "undoubt_topic",
    "undoubt_entity",
    "undoubt_subscription",
];

/// The reason why the tables are not made or not removed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error("{0}")]
    Away(String),
    #[error(
        "the database has tables undoubt_… already; nothing was changed. Start the participant, or remove them first"
    )]
    Exists,
    #[error("the database has no tables undoubt_…; there is nothing to remove")]
    Missing,
    #[error(
        "the user may not do this: {cause}; let one that may run what `init --show` tells, or grant CREATE and DROP on the database"
    )]
    Rights { cause: String },
    #[error("{what}; nothing was removed. {todo}")]
    InUse { what: String, todo: &'static str },
    #[error("the database refused: {0}")]
    Refused(String),
}

impl From<Absent> for SchemaError {
    fn from(absent: Absent) -> Self {
        SchemaError::Away(ResourceError::from(absent).to_string())
    }
}

impl From<ResourceError> for SchemaError {
    fn from(error: ResourceError) -> Self {
        SchemaError::Away(error.to_string())
    }
}

impl From<Error> for SchemaError {
    fn from(error: Error) -> Self {
        let cause = told(&error);
        match (code_of(&error), class_of(&error)) {
            (Some(NO_TABLE), _) => SchemaError::Missing,
            (Some(1142 | 1143 | 1227), _) | (_, Class::Access) => SchemaError::Rights { cause },
            (Some(_), _) => SchemaError::Refused(cause),
            (None, _) => SchemaError::Away(cause),
        }
    }
}

/// Returns the SQL that makes the tables. `user`: the participant's user, as `name@host`, where another one makes them.
pub fn init_sql(user: Option<&str>) -> String {
    with_grants(SCHEMA, user)
}

fn with_grants(statements: &str, user: Option<&str>) -> String {
    let mut sql = statements.to_owned();
    if let Some(user) = user {
        let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
        let quoted = |part: &str| format!("'{}'", part.replace('\\', "\\\\").replace('\'', "''"));
        let grantee = format!("{}@{}", quoted(name), quoted(host));
        for table in TABLES {
            sql.push_str(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {grantee};\n"));
        }
        // To see when the server has let go of a session that has ended.
        sql.push_str(&format!("GRANT PROCESS ON *.* TO {grantee};\n"));
    }
    sql
}

/// Makes the tables, or brings older ones up to this version. MariaDB makes each change by itself: what is there after a failure is
/// completed by the next try.
pub async fn init(settings: &Settings, user: Option<&str>) -> Result<(), SchemaError> {
    let mut session = Connector::new(settings, "undoubt-init")?.connect().await?;
    let version: Option<u64> = match session.rows("SELECT version FROM undoubt_identity").await {
        Ok(rows) => rows.first().and_then(|row| row.get(0)),
        Err(error) if code_of(&error) == Some(NO_TABLE) => None,
        Err(error) => return Err(error.into()),
    };
    let sql = match version {
        None => init_sql(user),
        Some(version) => match steps_from(version) {
            Some(steps) => with_grants(&steps, user),
            None => return Err(SchemaError::Exists),
        },
    };
    session.run(&sql).await?;
    session.close().await;
    Ok(())
}

/// Removes the tables, with all that they keep. Not while a process owns the database, and not while something is in doubt or was
/// resolved by an operator and is not forgotten.
pub async fn remove(settings: &Settings) -> Result<(), SchemaError> {
    let mut session = Connector::new(settings, "undoubt-remove")?.connect().await?;
    let identity = identity(&mut session).await?.ok_or(SchemaError::Missing)?;
    owner::take(&mut session, Keys(identity), false).await.map_err(|absent| match absent {
        Absent::Fenced(what) => SchemaError::InUse { what, todo: "Stop the participant first" },
        Absent::Away(_) | Absent::Foreign(_) => absent.into(),
    })?;
    let rows = session.rows("SELECT COALESCE(MAX(sessions), 0) FROM undoubt_run").await?;
    let most_sessions: u64 = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    owner::fence(&mut session, Keys(identity), leases(usize::try_from(most_sessions).unwrap_or_default())).await?;
    refuse_in_use(&mut session, identity).await?;
    session.run(&format!("DROP TABLE IF EXISTS {}", TABLES.join(", "))).await?;
    session.close().await;
    Ok(())
}

/// Returns the identity of the participant whose tables these are; `None` if there is none.
pub(crate) async fn identity(session: &mut Session) -> Result<Option<Identity>, Error> {
    let rows = session.rows("SELECT id FROM undoubt_identity").await?;
    let id: Option<Vec<u8>> = rows.first().and_then(|row| row.get(0));
    Ok(id.and_then(|id| id.try_into().ok()).map(Identity))
}

async fn refuse_in_use(session: &mut Session, identity: Identity) -> Result<(), SchemaError> {
    let ours = prepared(session, identity).await?;
    if !ours.is_empty() {
        let names: Vec<String> = ours.iter().map(|name| name.tx.to_string()).collect();
        let what = format!("{} transactions are in doubt here: {}", ours.len(), names.join(", "));
        let todo = "Start the participant and let their coordinator end them, or resolve them with `undoubt participants resolve`";
        return Err(SchemaError::InUse { what, todo });
    }
    let lost = crate::standing::uncommitted(session, 0).await?.evidence;
    if !lost.is_empty() {
        let what =
            format!("{} transactions are in doubt here that the server lists only once it is restarted", lost.len());
        return Err(SchemaError::InUse { what, todo: "Restart the server, then the participant" });
    }
    for (table, what, todo) in [
        (
            "undoubt_heuristic",
            "outcomes that an operator decided alone are kept here",
            "Forget them with `undoubt participants forget` first",
        ),
        ("undoubt_pending", "keys are marked by sagas that are not over", "Let them end first"),
    ] {
        let rows = session.rows(&format!("SELECT COUNT(*) FROM {table}")).await?;
        let count: u64 = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
        if count > 0 {
            return Err(SchemaError::InUse { what: format!("{count} {what}"), todo });
        }
    }
    Ok(())
}
