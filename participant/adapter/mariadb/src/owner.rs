//! The owner of the database: one process of one participant, known by a named lock that its control session holds.
//!
//! A session whose client is gone still runs what is in its socket, so that an XA PREPARE may land after the recovery has
//! looked. The fence is the end of the session. Each session holds a numbered named lock as a lease from before its first
//! statement. Who takes over ends the holders, and waits until the server's list of sessions and InnoDB's list of transactions
//! no longer name them: who has ended prepares nothing any more. The second list matters, too: a branch that another session
//! commits while the one that prepared it is just ending is answered OK and not committed.

use crate::class::{NO_RIGHT, NO_SESSION, code_of, told};
use crate::connect::Absent;
use crate::session::{Backend, Session};
use mysql_async::Error;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_sql::Identity;

/// A holder of the owner lock that says nothing for so long is taken for gone. It speaks every [`PING`].
const SILENCE: Duration = Duration::from_secs(10);

/// The time between two signs of life of the control session.
pub(crate) const PING: Duration = Duration::from_secs(2);

/// The time in which sessions of an earlier process have to end once they are told.
const FENCE_PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// InnoDB makes its list of transactions anew for who asks when nobody has for 100 ms.
const LIST_PAUSE: Duration = Duration::from_millis(120);

/// The time that InnoDB is given to let go of an ended session's transaction, where its list may not be seen.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(2);

/// Leases that are asked for in one statement.
const LEASES_AT_ONCE: usize = 200;

/// The names of the locks by which processes of a participant know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys(pub(crate) Identity);

impl Keys {
    fn owner(self) -> String {
        format!("'undoubt/{}/owner'", self.0)
    }

    fn lease(self, number: usize) -> String {
        format!("'undoubt/{}/{number}'", self.0)
    }
}

fn away(error: Error) -> Absent {
    Absent::away(&error)
}

/// Takes the owner lock for the control session.
///
/// # Errors
/// [`Absent::Fenced`] if another process has it and answers, unless `take_over`.
pub(crate) async fn take(control: &mut Session, keys: Keys, take_over: bool) -> Result<(), Absent> {
    let deadline = Instant::now() + SILENCE + FENCE_PATIENCE;
    let mut before: Option<Holder> = None;
    loop {
        if get_lock(control, &keys.owner()).await? {
            return Ok(());
        }
        let Some(holder) = holder(control, keys).await? else { continue };
        let has_spoken =
            before.as_ref().is_some_and(|before| before.backend == holder.backend && before.silent > holder.silent);
        if take_over || holder.silent > SILENCE {
            tracing::warn!(
                id = holder.backend.id,
                from = holder.backend.from,
                "the owner of the database is ended, and taken over from"
            );
            terminate(control, &holder.backend).await?;
        } else if has_spoken || Instant::now() > deadline {
            let Holder { backend: Backend { id, from }, silent } = holder;
            return Err(Absent::Fenced(format!(
                "the session {id} from {from} owns it, and spoke {} ms ago; stop that participant, or start this one with `--set resource.take_over=true`",
                silent.as_millis()
            )));
        }
        before = Some(holder);
        tokio::time::sleep(4 * POLL).await;
    }
}

/// The session that has the owner lock.
#[derive(Debug)]
struct Holder {
    backend: Backend,
    /// In whole seconds.
    silent: Duration,
}

async fn holder(control: &mut Session, keys: Keys) -> Result<Option<Holder>, Absent> {
    let sql = format!(
        "SELECT ID, HOST, TIME FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK({}) AND ID <> CONNECTION_ID()",
        keys.owner()
    );
    let rows = control.rows(&sql).await.map_err(away)?;
    Ok(rows.first().map(|row| {
        let silent_s: i64 = row.get(2).unwrap_or_default();
        Holder {
            backend: Backend { id: row.get(0).unwrap_or_default(), from: row.get(1).unwrap_or_default() },
            silent: Duration::from_secs(u64::try_from(silent_s).unwrap_or_default()),
        }
    }))
}

async fn get_lock(session: &mut Session, name: &str) -> Result<bool, Absent> {
    let rows = session.rows(&format!("SELECT GET_LOCK({name}, 0)")).await.map_err(away)?;
    Ok(rows.first().and_then(|row| row.get::<Option<i64>, _>(0)).flatten() == Some(1))
}

/// Takes a lease of this number for a session, before it does anything. `false`: a session that has not ended yet has it.
pub(crate) async fn lease(session: &mut Session, keys: Keys, number: usize) -> Result<bool, Absent> {
    let is_leased = get_lock(session, &keys.lease(number)).await?;
    if is_leased {
        session.lease = Some(number);
    }
    Ok(is_leased)
}

/// Ends all sessions that hold one of so many leases. New ones of earlier runs end themselves once they see this run.
pub(crate) async fn fence(control: &mut Session, keys: Keys, leases: usize) -> Result<(), Absent> {
    let deadline = Instant::now() + FENCE_PATIENCE;
    loop {
        let holders = holders(control, keys, leases).await?;
        if holders.is_empty() {
            return settle(control, deadline).await;
        }
        for holder in &holders {
            tracing::info!(id = holder.id, "a session of an earlier process is ended");
            terminate(control, holder).await?;
        }
        if Instant::now() > deadline {
            let ids: Vec<String> = holders.iter().map(|holder| holder.id.to_string()).collect();
            return Err(Absent::Away(format!(
                "sessions of an earlier process do not end ({}); it is tried again, and they may be ended by hand with KILL",
                ids.join(", ")
            )));
        }
    }
}

async fn holders(control: &mut Session, keys: Keys, leases: usize) -> Result<Vec<Backend>, Absent> {
    let mut holders = Vec::new();
    for from in (0..leases).step_by(LEASES_AT_ONCE) {
        let to = leases.min(from + LEASES_AT_ONCE);
        let uses: Vec<String> = (from..to).map(|number| format!("IS_USED_LOCK({})", keys.lease(number))).collect();
        let used = control.rows(&format!("SELECT {}", uses.join(", "))).await.map_err(away)?;
        let ids: Vec<String> = used
            .iter()
            .flat_map(|row| (0..row.len()).filter_map(|place| row.get::<Option<u64>, _>(place).flatten()))
            .map(|id| id.to_string())
            .collect();
        if ids.is_empty() {
            continue;
        }
        let sql = format!("SELECT ID, HOST FROM information_schema.PROCESSLIST WHERE ID IN ({})", ids.join(", "));
        let rows = control.rows(&sql).await.map_err(away)?;
        holders.extend(
            rows.iter().map(|row| Backend { id: row.get(0).unwrap_or_default(), from: row.get(1).unwrap_or_default() }),
        );
    }
    Ok(holders)
}

/// Waits until InnoDB names no session that has ended.
async fn settle(control: &mut Session, deadline: Instant) -> Result<(), Absent> {
    loop {
        let Some(holders) = transactions(control, deadline).await? else {
            let cause = "InnoDB does not tell what transactions there are; is its list asked for all the time? It is tried again";
            return Err(Absent::Away(cause.to_owned()));
        };
        if holders.iter().all(|holder| holder.backend.is_some()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let cause = "InnoDB does not let go of a session that has ended; it is tried again";
            return Err(Absent::Away(cause.to_owned()));
        }
    }
}

/// A session that has a transaction in InnoDB.
#[derive(Debug)]
struct InTransaction {
    id: u64,
    /// `None`: it has ended, and InnoDB has not let go of its transaction yet.
    backend: Option<Backend>,
}

/// Returns the sessions that have transactions in InnoDB, by a list that was made after this was called; `None` if none was made in
/// time. Where the list may not be seen, it waits for long enough that there would be nothing to see.
async fn transactions(control: &mut Session, deadline: Instant) -> Result<Option<Vec<InTransaction>>, Absent> {
    const OWN: &str = "SELECT trx_id FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = CONNECTION_ID()";
    let own = async |control: &mut Session| -> Result<Option<u64>, Error> {
        Ok(control.rows(OWN).await?.first().and_then(|row| row.get(0)))
    };
    let before = match own(control).await {
        Ok(before) => before,
        Err(error) if code_of(&error) == Some(NO_RIGHT) => {
            tokio::time::sleep(UNSEEN_PATIENCE).await;
            return Ok(Some(Vec::new()));
        }
        Err(error) => return Err(away(error)),
    };
    // A list that names this transaction is newer than it.
    control.run("START TRANSACTION READ WRITE; SELECT 1 FROM undoubt_identity FOR UPDATE").await.map_err(away)?;
    let mut found = None;
    while found.is_none() && Instant::now() < deadline {
        tokio::time::sleep(LIST_PAUSE).await;
        let sql = "SELECT t.trx_mysql_thread_id, t.trx_id, p.ID, p.HOST, t.trx_mysql_thread_id = CONNECTION_ID() FROM \
             information_schema.INNODB_TRX t LEFT JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id WHERE \
             t.trx_mysql_thread_id <> 0";
        let rows = control.rows(sql).await.map_err(away)?;
        let is_new =
            rows.iter().any(|row| row.get::<u64, _>(4) == Some(1) && row.get::<Option<u64>, _>(1).flatten() != before);
        if is_new {
            let holder = |row: &mysql_async::Row| {
                let id = row.get::<Option<u64>, _>(2).flatten();
                let backend =
                    id.map(|id| Backend { id, from: row.get::<Option<String>, _>(3).flatten().unwrap_or_default() });
                InTransaction { id: row.get(0).unwrap_or_default(), backend }
            };
            found = Some(rows.iter().map(holder).collect());
        }
    }
    control.run("ROLLBACK").await.map_err(away)?;
    Ok(found)
}

/// Tells a session to end, and waits for it. Returns whether it has ended: then nothing of what it was sent takes effect any
/// more that has not yet, and what it has prepared is anybody's to end.
pub(crate) async fn terminate(control: &mut Session, backend: &Backend) -> Result<bool, Absent> {
    let deadline = Instant::now() + FENCE_PATIENCE;
    let Backend { id, from } = backend;
    let listed = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE ID = {id} AND HOST = {}",
        crate::value::text(from)
    );
    while Instant::now() < deadline {
        if !control.rows(&listed).await.map_err(away)?.is_empty() {
            match control.run(&format!("KILL {id}")).await {
                Ok(_) => {}
                Err(error) if code_of(&error) == Some(NO_SESSION) => {}
                Err(error) => return Err(away(error)),
            }
            tokio::time::sleep(POLL).await;
            continue;
        }
        let Some(holders) = transactions(control, deadline).await? else { return Ok(false) };
        // After a restart of the server another session may have its number.
        let is_it =
            |holder: &InTransaction| holder.id == *id && holder.backend.as_ref().is_none_or(|other| other == backend);
        if !holders.iter().any(is_it) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Calls off what a session is doing. When it returns, the session has been told.
pub(crate) async fn call_off(control: &mut Session, backend: &Backend) {
    // If it cannot be told, the server's own timeouts end the wait.
    if let Err(error) = control.run(&format!("KILL QUERY {}", backend.id)).await {
        tracing::debug!(error = told(&error), "a statement could not be called off");
    }
}
