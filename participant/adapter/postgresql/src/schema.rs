//! The schema `undoubt`: made before the first start, and removed after the last.

use crate::class::{code_of, told};
use crate::config::{InvalidSettings, Settings};
use crate::connect::{Absent, Connector};
use crate::owner::{self, Keys};
use crate::session::Session;
use tokio_postgres::Error;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{EnlistedName, Identity, PreparedName};

/// The schema as it is made new.
const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    "\n",
    include_str!("schema_since_2.sql"),
    "\n",
    include_str!("schema_since_3.sql"),
    "\n",
    include_str!("schema_since_4.sql")
);

/// The statements that bring a schema of a version to the next one, which they say last.
const STEPS: [(i32, &str); 4] = [
    (1, concat!(include_str!("schema_from_1.sql"), "\n", include_str!("schema_since_2.sql"))),
    (2, include_str!("schema_from_2.sql")),
    (3, concat!(include_str!("schema_since_3.sql"), "\n", include_str!("schema_from_3.sql"))),
    (4, concat!(include_str!("schema_since_4.sql"), "\n", include_str!("schema_from_4.sql"))),
];

/// Returns the statements that bring a schema of this version to the present one; `None`: it is that, or not known.
fn steps_from(version: i32) -> Option<String> {
    let steps = STEPS.iter().filter(|(from, _)| version >= 1 && *from >= version);
    let steps: Vec<&str> = steps.map(|(_, statements)| *statements).collect();
    (!steps.is_empty()).then(|| steps.join("\n"))
}

/// The reason why the schema is not made or not removed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error("{0}")]
    Away(String),
    #[error(
        "the database has a schema undoubt already; nothing was changed. Start the participant, or remove it first"
    )]
    Exists,
    #[error("the database has no schema undoubt; there is nothing to remove")]
    Missing,
    #[error(
        "the role may not do this: {cause}; let a role that may run what `init --show` tells, or grant CREATE on the database"
    )]
    Rights { cause: String },
    #[error("{what}; nothing was removed. {todo}")]
    InUse { what: String, todo: &'static str },
    #[error("the database refused: {0}; nothing was changed")]
    Refused(String),
}

impl From<Absent> for SchemaError {
    fn from(absent: Absent) -> Self {
        SchemaError::Away(ResourceError::from(absent).to_string())
    }
}

impl From<Error> for SchemaError {
    fn from(error: Error) -> Self {
        let cause = told(&error);
        match code_of(&error) {
            Some("42P06") => SchemaError::Exists,
            Some("3F000" | "42P01") => SchemaError::Missing,
            Some("42501") => SchemaError::Rights { cause },
            Some(_) => SchemaError::Refused(cause),
            None => SchemaError::Away(cause),
        }
    }
}

/// Returns the SQL that makes the schema. `role`: the participant's role, where another one makes the schema.
pub fn init_sql(role: Option<&str>) -> String {
    in_one_transaction(SCHEMA, role)
}

fn in_one_transaction(statements: &str, role: Option<&str>) -> String {
    let mut sql = format!("BEGIN;\n\n{statements}\n");
    if let Some(role) = role {
        let role = format!("\"{}\"", role.replace('"', "\"\""));
        sql.push_str(&format!(
            "GRANT USAGE ON SCHEMA undoubt TO {role};\nGRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA undoubt TO {role};\n\
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA undoubt TO {role};\nGRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA undoubt TO {role};\n\n"
        ));
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// Makes the schema, or brings an older one up to this version; all of it or nothing.
pub async fn init(settings: &Settings, role: Option<&str>) -> Result<(), SchemaError> {
    let session = Connector::new(settings, "undoubt-init")?.connect().await?;
    let sql = match version(&session).await? {
        None => init_sql(role),
        Some(version) => match steps_from(version) {
            Some(steps) => in_one_transaction(&steps, role),
            None => return Err(SchemaError::Exists),
        },
    };
    Ok(session.client.batch_execute(&sql).await?)
}

/// Returns the version of the schema, if there is one.
async fn version(session: &Session) -> Result<Option<i32>, SchemaError> {
    match session.query("SELECT version FROM undoubt.identity", &[]).await {
        Ok(rows) => Ok(rows.first().map(|row| row.try_get(0)).transpose()?),
        Err(error) => match SchemaError::from(error) {
            SchemaError::Missing => Ok(None),
            failed @ (SchemaError::Settings(_)
            | SchemaError::Away(_)
            | SchemaError::Exists
            | SchemaError::Rights { .. }
            | SchemaError::InUse { .. }
            | SchemaError::Refused(_)) => Err(failed),
        },
    }
}

/// Removes the schema, with all that it keeps. Not while a process owns it, and not while something is in doubt or was resolved by
/// an operator and is not forgotten.
pub async fn remove(settings: &Settings) -> Result<(), SchemaError> {
    let session = Connector::new(settings, "undoubt-remove")?.connect().await?;
    let rows = session.query("SELECT id FROM undoubt.identity", &[]).await?;
    let id: Vec<u8> = rows.first().ok_or(SchemaError::Missing)?.try_get(0)?;
    let id = id.try_into().map_err(|_| SchemaError::Refused("the identity cannot be read".to_owned()))?;
    let identity = Identity(id);
    owner::take(&session, Keys::of(identity), false).await.map_err(|absent| match absent {
        Absent::Fenced(what) => SchemaError::InUse { what, todo: "Stop the participant first" },
        Absent::Away(_) | Absent::Foreign(_) | Absent::Silent => absent.into(),
    })?;
    owner::fence(&session, Keys::of(identity)).await?;
    refuse_in_use(&session, identity).await?;
    Ok(session.client.batch_execute("DROP SCHEMA undoubt CASCADE").await?)
}

async fn refuse_in_use(session: &Session, identity: Identity) -> Result<(), SchemaError> {
    let rows = session.query("SELECT gid FROM pg_prepared_xacts", &[]).await?;
    let mut ours = Vec::new();
    for row in &rows {
        let gid: &str = row.try_get(0)?;
        let own = PreparedName::from_gid(gid).ok().filter(|name| name.identity == identity).map(|name| name.tx);
        let enlisted = EnlistedName::from_gid(gid).ok().filter(|name| name.identity == identity).map(|name| name.tx);
        ours.extend(own.or(enlisted).map(|tx| tx.to_string()));
    }
    if !ours.is_empty() {
        let what = format!("{} transactions are in doubt here: {}", ours.len(), ours.join(", "));
        let todo = "Start the participant and let their coordinator end them, or resolve them with `undoubt participants resolve`";
        return Err(SchemaError::InUse { what, todo });
    }
    let rows = session.query("SELECT count(*) FROM undoubt.heuristic", &[]).await?;
    let heuristics: i64 = rows[0].try_get(0)?;
    if heuristics > 0 {
        let what = format!("{heuristics} outcomes that an operator decided alone are kept here");
        return Err(SchemaError::InUse { what, todo: "Forget them with `undoubt participants forget` first" });
    }
    let rows = session.query("SELECT count(*) FROM undoubt.pending", &[]).await?;
    let pending: i64 = rows[0].try_get(0)?;
    if pending > 0 {
        let what = format!("{pending} keys are marked by sagas that are not over");
        return Err(SchemaError::InUse { what, todo: "Let them end first" });
    }
    Ok(())
}
