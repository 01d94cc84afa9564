//! A look at what a server lacks before anything runs, with the exact line to change.

use crate::class::{NO_RIGHT, NO_TABLE, code_of, told};
use crate::config::Settings;
use crate::connect::Connector;
use crate::ready;
use crate::recovery::VERSION;
use crate::schema::TABLES;
use crate::session::Session;
use mysql_async::Error;
use std::collections::BTreeMap;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Lack, Procedures};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;

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
    let mut session = match connector.connect().await {
        Ok(session) => session,
        Err(absent) => {
            let change = "correct resource.url, resource.password_file or the user's rights";
            lacks.push(Lack::needed(ResourceError::from(absent).to_string(), change));
            return lacks;
        }
    };
    let looked = async {
        server(&mut session, settings, &mut lacks).await?;
        rights(&mut session, &mut lacks).await?;
        engines(&mut session, &mut lacks).await?;
        tables(&mut session, &mut lacks).await?;
        declared(&mut session, procedures, &mut lacks).await
    };
    if let Err(error) = looked.await {
        let what = format!("the check itself failed: {}", told(&error));
        lacks.push(Lack::needed(what, "run it again once the database answers"));
    }
    session.close().await;
    lacks
}

/// The settings of a server that matter.
const VARIABLES: [&str; 10] = [
    "version",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "sync_binlog",
    "binlog_format",
    "wsrep_on",
    "read_only",
    "max_connections",
    "max_allowed_packet",
    "xa_detach_on_prepare",
];

async fn server(session: &mut Session, settings: &Settings, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    let names = VARIABLES.map(|name| format!("'{name}'")).join(", ");
    let rows = session.rows(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")).await?;
    let values: BTreeMap<String, String> =
        rows.iter().filter_map(|row| Some((row.get::<String, _>(0)?.to_lowercase(), row.get(1)?))).collect();
    let value = |name: &str| values.get(name).map_or("", String::as_str);
    let number = |name: &str| value(name).parse::<u64>().unwrap_or_default();
    version(value("version"), lacks);
    if value("innodb_flush_log_at_trx_commit") != "1" {
        let change =
            "innodb_flush_log_at_trx_commit = 1   # in my.cnf; and SET GLOBAL innodb_flush_log_at_trx_commit = 1";
        lacks.push(Lack::needed("what is prepared or committed does not survive a crash", change));
    }
    if value("log_bin") == "ON" {
        if value("sync_binlog") != "1" {
            let change = "sync_binlog = 1   # in my.cnf; and SET GLOBAL sync_binlog = 1";
            lacks.push(Lack::needed(
                "the binary log is not forced: after a crash it decides what is prepared, and may not know it",
                change,
            ));
        }
        if value("binlog_format") == "STATEMENT" {
            let change = "binlog_format = ROW   # in my.cnf; and SET GLOBAL binlog_format = ROW";
            lacks.push(Lack::needed("binlog_format is STATEMENT, with which READ COMMITTED cannot write", change));
        }
    }
    if value("wsrep_on") == "ON" {
        lacks.push(Lack::needed(
            "the server is part of a Galera cluster, which does not have XA",
            "name a server without Galera in resource.url",
        ));
    }
    if matches!(value("read_only"), "ON" | "1") {
        lacks.push(Lack::needed(
            "the server only reads (read_only), as replicas do",
            "name the primary in resource.url",
        ));
    }
    let sessions = settings.most_sessions() as u64;
    if number("max_connections") < sessions + 1 {
        let what = format!("the server takes {} connections, and {sessions} may be needed", number("max_connections"));
        let change =
            format!("max_connections = {}   # in my.cnf; or fewer resource.slots and resource.workers", sessions + 20);
        lacks.push(Lack::needed(what, change));
    }
    // A result goes over in hexadecimal digits, with the statement around it.
    let wanted = 3 * MAX_RESULT_BYTES as u64;
    if number("max_allowed_packet") < wanted {
        let what = format!("messages may have {} bytes, and results need more", number("max_allowed_packet"));
        lacks.push(Lack::needed(what, format!("max_allowed_packet = {}   # in my.cnf", wanted.next_power_of_two())));
    }
    Ok(())
}

fn version(version: &str, lacks: &mut Vec<Lack>) {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or_default());
    let (major, minor, patch) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if version.contains("MariaDB") {
        if (major, minor) < (10, 6) {
            let what = format!(
                "the server has version {version}; before 10.6 what is prepared does not outlive its session for certain"
            );
            lacks.push(Lack::needed(what, "upgrade to MariaDB 10.6 or later"));
        }
    } else if (major, minor, patch) < (8, 0, 29) {
        lacks.push(Lack::needed(
            format!("the server is MySQL {version}"),
            "upgrade to MySQL 8.0.29 or later, or to MariaDB 10.6 or later",
        ));
    } else {
        let change = "try it with the drills of `undoubt-participant` before it matters, or use MariaDB 10.6 or later";
        lacks.push(Lack::advised(
            format!("the server is MySQL {version}, with which this participant has not been tested"),
            change,
        ));
    }
}

async fn rights(session: &mut Session, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    let rows = session.rows("SELECT CURRENT_USER(), CONNECTION_ID()").await?;
    let user: String = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
    let id: u64 = rows.first().and_then(|row| row.get(1)).unwrap_or_default();
    if id != session.greeted {
        let what =
            "a proxy in between hands statements to sessions of its own: leases and what is prepared would be anywhere";
        lacks.push(Lack::needed(what, "name the server itself in resource.url"));
    }
    let user = user.rsplit_once('@').map_or(user.clone(), |(name, host)| format!("'{name}'@'{host}'"));
    match session.rows("SELECT COUNT(*) FROM information_schema.INNODB_TRX").await {
        Ok(_) => {}
        Err(error) if code_of(&error) == Some(NO_RIGHT) => {
            let what = "the user may not see InnoDB's transactions; recovery waits 2 s more, and is then not quite certain that the \
                        server has let go of earlier sessions";
            lacks.push(Lack::advised(what, format!("GRANT PROCESS ON *.* TO {user};")));
        }
        Err(error) => return Err(error),
    }
    match session.rows("XA RECOVER").await {
        Ok(_) => Ok(()),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => {
            let change = format!("GRANT XA_RECOVER_ADMIN ON *.* TO {user};");
            lacks.push(Lack::needed(format!("what is prepared cannot be listed: {}", told(&error)), change));
            Ok(())
        }
    }
}

async fn engines(session: &mut Session, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    let sql = "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND \
         ENGINE <> 'InnoDB' ORDER BY 1";
    for row in &session.rows(sql).await? {
        let (table, engine): (String, String) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
        let what = format!(
            "table {table} is kept by {engine}, which has no transactions: what a branch writes there stays when it is refused"
        );
        lacks.push(Lack::advised(what, format!("ALTER TABLE `{table}` ENGINE = InnoDB;")));
    }
    Ok(())
}

async fn tables(session: &mut Session, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    match session.rows("SELECT version FROM undoubt_identity").await {
        Ok(rows) => {
            let version: Option<u64> = rows.first().and_then(|row| row.get(0));
            if version != Some(VERSION) {
                let found = version.map_or("none".to_owned(), |version| version.to_string());
                let what = format!("the participant's tables have version {found}, not {VERSION}");
                lacks.push(Lack::needed(what, "update the older of participant and tables"));
            }
        }
        Err(error) if code_of(&error) == Some(NO_TABLE) => {
            lacks.push(Lack::needed("the database has no tables undoubt_…", "undoubt-participant init --config FILE"));
            return Ok(());
        }
        Err(error) if error.is_fatal() => return Err(error),
        Err(_) => {}
    }
    for table in TABLES {
        // Parsed and not run: that takes the rights that running takes.
        for sql in [format!("SELECT * FROM {table}"), format!("DELETE FROM {table} WHERE FALSE")] {
            match session.describe(&sql).await {
                Ok(_) => {}
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    let change = format!(
                        "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO CURRENT_USER;   # by an administrator"
                    );
                    lacks.push(Lack::needed(format!("table {table} cannot be used: {}", told(&error)), change));
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn declared(session: &mut Session, procedures: &Procedures, lacks: &mut Vec<Lack>) -> Result<(), Error> {
    for procedure in procedures.iter() {
        lacks.extend(ready::lacks(session, procedure).await?);
    }
    Ok(())
}
