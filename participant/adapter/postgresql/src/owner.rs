//! The owner of the database: one process of one participant, known by a lock that its control session holds.
//!
//! A session whose client is gone still runs what is in its socket, so that a PREPARE TRANSACTION may land after the recovery
//! has looked. The fence is the end of the session. Each session that does work holds a lock of the whole run as a lease,
//! shared, from before its first statement. Who takes over ends the holders, then takes that lock alone: it is granted when
//! the last of them has ended, and who has ended prepares nothing any more.

use crate::connect::Absent;
use crate::session::{Backend, Session};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Error;
use undoubt_sql::Identity;

/// A holder of the owner lock that says nothing for so long is taken for gone. It speaks every [`PING`].
const SILENCE: Duration = Duration::from_secs(10);

/// The time between two signs of life of the control session.
pub(crate) const PING: Duration = Duration::from_secs(2);

/// The time in which sessions of an earlier process have to end once they are told.
const FENCE_PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// The keys of the locks by which processes of a participant know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) owner: i64,
    pub(crate) lease: i64,
}

impl Keys {
    pub(crate) fn of(identity: Identity) -> Keys {
        let owner = i64::from_be_bytes(identity.0);
        Keys { owner, lease: owner ^ 1 }
    }
}

/// Takes the owner lock for the control session.
///
/// # Errors
/// [`Absent::Fenced`] if another process has it and answers, unless `take_over`.
pub(crate) async fn take(control: &Session, keys: Keys, take_over: bool) -> Result<(), Absent> {
    let away = |error: Error| Absent::away(&error);
    let deadline = Instant::now() + SILENCE + FENCE_PATIENCE;
    let mut first_seen: Option<Holder> = None;
    loop {
        let row = control.query("SELECT pg_try_advisory_lock($1)", &[&keys.owner]).await.map_err(away)?;
        if row[0].try_get(0).map_err(away)? {
            return Ok(());
        }
        let Some(holder) = holder(control, keys.owner).await.map_err(away)? else { continue };
        let has_spoken = first_seen
            .as_ref()
            .is_some_and(|first| first.backend == holder.backend && first.spoke_us < holder.spoke_us);
        if take_over || holder.silent > SILENCE {
            tracing::warn!(
                pid = holder.backend.pid,
                from = holder.from,
                "the owner of the database is ended, and taken over from"
            );
            terminate(control, holder.backend).await.map_err(away)?;
        } else if has_spoken || Instant::now() > deadline {
            let Holder { backend, from, silent, .. } = holder;
            return Err(Absent::Fenced(format!(
                "the session with pid {} from {from} owns it, and spoke {} ms ago; stop that participant, or start this one with \
                 `--set resource.take_over=true`",
                backend.pid,
                silent.as_millis()
            )));
        }
        first_seen.get_or_insert(holder);
        tokio::time::sleep(POLL).await;
    }
}

/// The session that has the owner lock.
#[derive(Debug)]
struct Holder {
    backend: Backend,
    from: String,
    spoke_us: i64,
    silent: Duration,
}

async fn holder(control: &Session, key: i64) -> Result<Option<Holder>, Error> {
    let rows = control.query(HOLDERS, &[&key]).await?;
    rows.first()
        .map(|row| {
            let silent_us: i64 = row.try_get(4)?;
            Ok(Holder {
                backend: Backend { pid: row.try_get(0)?, started_us: row.try_get(1)? },
                from: row.try_get(2)?,
                spoke_us: row.try_get(3)?,
                silent: Duration::from_micros(u64::try_from(silent_us).unwrap_or_default()),
            })
        })
        .transpose()
}

/// The sessions that hold an advisory lock with this key in this database, other than the one that asks.
const HOLDERS: &str = "SELECT a.pid, (extract(epoch FROM a.backend_start) * 1000000)::bigint, \
     coalesce(host(a.client_addr), 'this machine') || ' (' || a.application_name || ')', \
     coalesce(extract(epoch FROM a.state_change) * 1000000, 0)::bigint, \
     coalesce(extract(epoch FROM clock_timestamp() - a.state_change) * 1000000, 0)::bigint \
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.granted AND l.objsubid = 1 \
     AND (l.classid::bigint << 32 | l.objid::bigint) = $1 AND l.pid <> pg_backend_pid()";

/// Ends all sessions that hold a lease, and keeps new ones from taking one until `control` frees it.
pub(crate) async fn fence(control: &Session, keys: Keys) -> Result<(), Absent> {
    let away = |error: Error| Absent::away(&error);
    let deadline = Instant::now() + FENCE_PATIENCE;
    loop {
        let row = control.query("SELECT pg_try_advisory_lock($1)", &[&keys.lease]).await.map_err(away)?;
        if row[0].try_get(0).map_err(away)? {
            return Ok(());
        }
        let holders = control.query(HOLDERS, &[&keys.lease]).await.map_err(away)?;
        for row in &holders {
            let backend = Backend { pid: row.try_get(0).map_err(away)?, started_us: row.try_get(1).map_err(away)? };
            tracing::info!(pid = backend.pid, "a session of an earlier process is ended");
            terminate(control, backend).await.map_err(away)?;
        }
        if Instant::now() > deadline {
            let pids: Vec<String> =
                holders.iter().filter_map(|row| row.try_get::<_, i32>(0).ok()).map(|pid| pid.to_string()).collect();
            return Err(Absent::Away(format!(
                "sessions of an earlier process do not end (pid {}); it is tried again, and they may be ended by hand",
                pids.join(", ")
            )));
        }
        if holders.is_empty() {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Frees the lease that [`fence`] took.
pub(crate) async fn open(control: &Session, keys: Keys) -> Result<(), Absent> {
    control.query("SELECT pg_advisory_unlock($1)", &[&keys.lease]).await.map_err(|error| Absent::away(&error))?;
    Ok(())
}

/// Takes a lease for a session, before it does anything.
pub(crate) async fn lease(session: &Session, keys: Keys) -> Result<(), Absent> {
    session.query("SELECT pg_advisory_lock_shared($1)", &[&keys.lease]).await.map_err(|error| Absent::away(&error))?;
    Ok(())
}

/// Tells a server's process to end, and waits some seconds for it. Returns whether it has ended: then nothing of what it was sent
/// takes effect any more that has not yet.
pub(crate) async fn terminate(control: &Session, backend: Backend) -> Result<bool, Error> {
    let Backend { pid, started_us } = backend;
    let rows = control
        .query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = $1 AND (extract(epoch FROM backend_start) * \
             1000000)::bigint = $2",
            &[&pid, &started_us],
        )
        .await?;
    rows.first().map_or(Ok(true), |row| row.try_get(0))
}

/// Calls off what a session is doing. When it returns, the session has been told: what it begins afterwards is not meant.
pub(crate) async fn call_off(control: &Session, backend: Backend) -> Result<(), Error> {
    let Backend { pid, started_us } = backend;
    control
        .query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND (extract(epoch FROM backend_start) * \
             1000000)::bigint = $2",
            &[&pid, &started_us],
        )
        .await?;
    Ok(())
}
