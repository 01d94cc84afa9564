//! A look at what a server lacks before anything runs, with the exact line to change.

use crate::class::told;
use crate::config::Settings;
use crate::connect::Connector;
use crate::ready::Ready;
use crate::recovery::{LEAST_SERVER_VERSION, VERSION};
use crate::session::Session;
use tokio_postgres::Error;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Fault, Lack, Procedures};

/// Returns what the database lacks; empty if all is well. That it cannot be reached is a lack too.
pub async fn check(settings: &Settings, procedures: &Procedures) -> Vec<Lack> {
    let mut lacks = Vec::new();
    let connector = match Connector::new(settings, "undoubt-check") {
        Ok(connector) => connector,
        Err(invalid) => {
            lacks.push(Lack::needed(invalid.to_string(), "correct the table [resource] of the configuration"));
            return lacks;
        }
    };
    let session = match connector.connect().await {
        Ok(session) => session,
        Err(absent) => {
            let change = "correct resource.url, resource.password_file or the server's pg_hba.conf";
            lacks.push(Lack::needed(ResourceError::from(absent).to_string(), change));
            return lacks;
        }
    };
    let looked = async {
        server(&session, settings, &mut lacks).await?;
        pooler(&session, &mut lacks).await?;
        schema(&session, &mut lacks).await
    };
    match looked.await {
        Ok(true) => {}
        // What is declared is described with the help of the schema.
        Ok(false) => return lacks,
        Err(error) => {
            lacks.push(Lack::needed(
                format!("the check itself failed: {}", told(&error)),
                "run it again once the database answers",
            ));
            return lacks;
        }
    }
    for procedure in procedures.iter() {
        for (at, declared) in procedure.statements.iter().enumerate() {
            if let Err(unready) = Ready::describe(&session.client, procedure, at, session.next_name()).await {
                let fault = Fault {
                    procedure: procedure.name.clone(),
                    statement: Some(at + 1),
                    line: Some(declared.line),
                    what: unready.told(),
                };
                lacks.push(Lack::needed(
                    fault.to_string(),
                    "correct the statement, the types of its parameters, or the tables and grants",
                ));
            }
        }
    }
    lacks
}

/// Sessions of which there is one each: for control, for numbering events and for reading them.
const SINGLE_SESSIONS: usize = 3;

async fn server(session: &Session, settings: &Settings, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    let rows = session
        .query(
            "SELECT current_setting('server_version_num')::integer, current_setting('max_prepared_transactions')::bigint, \
             current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(), current_setting('max_connections')::bigint \
             - current_setting('superuser_reserved_connections')::bigint, (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)::bigint, \
             current_user::text, current_setting('server_encoding')",
            &[],
        )
        .await?;
    let row = &rows[0];
    let (version, slots): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
    if version < LEAST_SERVER_VERSION {
        lacks.push(Lack::needed(
            format!("the server has version {}", version / 10_000),
            "upgrade to PostgreSQL 14 or later",
        ));
    }
    let sessions = (settings.workers + settings.committers + settings.max_readers + SINGLE_SESSIONS) as i64;
    let wanted = 200.max(4 * sessions);
    if slots == 0 {
        let change = format!("max_prepared_transactions = {wanted}   # in postgresql.conf, then restart the server");
        lacks.push(Lack::needed(
            "the server prepares no transactions: two-phase commit is not possible, only sagas and one-phase work",
            change,
        ));
    } else if slots < settings.max_in_doubt as i64 {
        let change = format!("max_prepared_transactions = {wanted}   # in postgresql.conf, then restart the server");
        lacks.push(Lack::advised(
            format!("only {slots} transactions can be in doubt at a time; more are refused"),
            change,
        ));
    }
    for (place, name) in [(2, "fsync"), (3, "full_page_writes")] {
        if row.try_get::<_, &str>(place)? != "on" {
            let change = format!("{name} = on   # in postgresql.conf, then reload the server");
            lacks.push(Lack::needed(
                format!("{name} is off: what is prepared or committed does not survive a crash"),
                change,
            ));
        }
    }
    if row.try_get(4)? {
        lacks.push(Lack::needed(
            "the server is a standby, which takes no writes",
            "name the primary in resource.url, or several hosts",
        ));
    }
    let role: &str = row.try_get(7)?;
    let (room, limit): (i64, i64) = (row.try_get(5)?, row.try_get(6)?);
    if room < sessions {
        let change = format!(
            "max_connections = {}   # in postgresql.conf, then restart the server; or fewer resource.workers",
            sessions + 20
        );
        lacks.push(Lack::needed(format!("the server takes {room} connections, and {sessions} may be needed"), change));
    }
    if (0..sessions).contains(&limit) {
        let change = format!("ALTER ROLE \"{role}\" CONNECTION LIMIT {};", sessions + 5);
        lacks.push(Lack::needed(
            format!("the role {role} may have {limit} connections, and {sessions} may be needed"),
            change,
        ));
    }
    if row.try_get::<_, &str>(8)? != "UTF8" {
        lacks.push(Lack::needed(
            "the database is not encoded in UTF-8",
            "CREATE DATABASE … ENCODING 'UTF8' and move the data there",
        ));
    }
    Ok(())
}

/// A pooler that hands a session from one transaction to the next takes leases and settings away with it.
async fn pooler(session: &Session, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    session
        .client
        .batch_execute("SELECT set_config('undoubt.check', 'kept', false), pg_advisory_lock(-7140201)")
        .await?;
    let mut is_kept = true;
    for _ in 0..3 {
        session.client.batch_execute("BEGIN; COMMIT").await?;
        let rows = session
            .client
            .query(
                "SELECT current_setting('undoubt.check', true) IS NOT DISTINCT FROM 'kept' AND pg_backend_pid() = $1",
                &[&session.backend.pid],
            )
            .await?;
        is_kept = is_kept && rows[0].try_get(0)?;
    }
    session.client.batch_execute("SELECT pg_advisory_unlock_all(); RESET ALL").await?;
    if !is_kept {
        let change = "name the server itself in resource.url; or pool_mode = session   # in pgbouncer.ini, for this database and role";
        lacks.push(Lack::needed("a pooler in between changes sessions from one transaction to the next", change));
    }
    Ok(())
}

/// Returns whether the schema is there and may be used.
async fn schema(session: &Session, lacks: &mut Vec<Lack>) -> Result<bool, Error> {
    let rows =
        session.query("SELECT to_regclass('undoubt.identity')::oid IS NOT NULL, current_user::text", &[]).await?;
    let (exists, role): (bool, String) = (rows[0].try_get(0)?, rows[0].try_get(1)?);
    if !exists {
        lacks.push(Lack::needed("the database has no schema undoubt", "undoubt-participant init --config FILE"));
        return Ok(false);
    }
    let rows = session
        .query(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'undoubt' AND \
             c.relkind = 'r' AND NOT (has_schema_privilege('undoubt', 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND \
             has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))",
            &[],
        )
        .await?;
    if !rows.is_empty() {
        let change = format!(
            "GRANT USAGE ON SCHEMA undoubt TO \"{role}\"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA undoubt TO \"{role}\";"
        );
        lacks.push(Lack::needed(format!("the role {role} may not use the schema undoubt"), change));
        return Ok(false);
    }
    let rows = session.query("SELECT version FROM undoubt.identity", &[]).await?;
    let version: Option<i32> = rows.first().map(|row| row.try_get(0)).transpose()?;
    if version != Some(VERSION) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        lacks.push(Lack::needed(
            format!("the schema undoubt has version {found}, not {VERSION}"),
            "update the older of participant and schema",
        ));
        return Ok(false);
    }
    Ok(true)
}
