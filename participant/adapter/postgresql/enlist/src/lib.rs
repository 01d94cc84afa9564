//! The part of an application's own session in a transaction over several services.
//!
//! The application begins, runs its own SQL, prepares, and submits the rest. The participant of its database adopts what is
//! prepared, so that it commits or aborts with the other parts, whatever crashes.
//!
//! ```no_run
//! # use undoubt_enlist::{Enlisting, EnlistError};
//! # use undoubt_vocabulary::{CoordinatorId, TxId};
//! # use undoubt_work::Work;
//! # async fn order(client: &mut tokio_postgres::Client, coordinator: CoordinatorId, id: TxId) -> Result<Work, EnlistError> {
//! let enlisting = Enlisting::new(coordinator).role("undoubt");
//! let own = enlisting.begin(client, &id).await?;
//! own.execute("INSERT INTO orders (item, amount) VALUES ($1, $2)", &[&"apple", &3_i32]).await?;
//! let work: Work = own.prepare().await?.into();
//! # Ok(work) }
//! // Transaction::with_id(id).on("stock", take).on("orders", work), and it is submitted as ever.
//! ```
//!
//! * Until [`prepare`](Own::prepare) nothing is left behind: whatever drops what was begun rolls it back.
//! * What is prepared and not submitted the participant undoes after its `resource.enlist_grace_ms`. Submitted later than that, the
//!   transaction aborts, since there is nothing to adopt. Under an open transaction (`undoubt_client::Opening`, with two-phase completions) it waits until that
//!   is closed or cancelled, or its time is over: begin it before anything is prepared, prepare in each service under its id, and join it with the work.
//! * While it is prepared, it keeps its locks. Waits are as the session's own `lock_timeout` and `statement_timeout` say; set them.
//! * A lock that another transaction of the application waits for in the meantime is freed only with the outcome. Take no session lock,
//!   temporary table, `LISTEN` or cursor `WITH HOLD` into it: PostgreSQL prepares no such transaction.
//! * The application's role needs the participant's role granted to it; it is taken on for the last statements only.

use std::ops::{Deref, DerefMut};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Transaction};
use undoubt_vocabulary::{CoordinatorId, TxId};
use undoubt_work::Work;

/// The coordinator that decides, and the role of the participant.
#[derive(Clone, Debug)]
pub struct Enlisting {
    coordinator: CoordinatorId,
    role: Option<String>,
}

/// A transaction in the application's session, to be prepared. Dropped, it is rolled back.
pub struct Own<'a> {
    transaction: Transaction<'a>,
    /// The name under which it is prepared: base64, without what would have to be escaped.
    gid: String,
    /// The server's number of the transaction: whoever commits it by hand has left it.
    xid: String,
    enlisting: Enlisting,
    tx: TxId,
}

/// A part that is prepared, or may be. It is the work of the participant of its database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what is prepared is undone if nobody submits it"]
pub struct Enlisted {
    tx: TxId,
}

/// The reason why a part is not enlisted.
#[derive(Debug, thiserror::Error)]
pub enum EnlistError {
    #[error(
        "{tx} is enlisted here already, and prepared: submit it as it is, or begin it again once it is over or its time is"
    )]
    Prepared { tx: TxId, enlisted: Enlisted },
    #[error("{tx} has committed here already, with what was enlisted then; ask its coordinator for the outcome")]
    Committed { tx: TxId },
    #[error(
        "the transaction was ended before it was prepared: it must neither be committed nor rolled back by hand. Nothing is prepared"
    )]
    Ended,
    #[error("the database rolled the transaction back where it was to prepare it; begin it again")]
    RolledBack,
    #[error(
        "it is unknown whether it is prepared, since the connection broke: {cause}. Submit it all the same, which aborts if it is not; or \
         leave it, and it is undone after the participant's enlist_grace_ms"
    )]
    Unclear { enlisted: Enlisted, cause: Error },
    #[error("{todo}: {cause}")]
    Setup { todo: &'static str, cause: Error },
    /// The database refused a statement, as it could refuse the application's own SQL. Nothing is left behind.
    #[error("the database refused it, and nothing is prepared: {}", told(.0))]
    Refused(#[from] Error),
}

impl Enlisting {
    /// Returns how to enlist in transactions of this coordinator, which its description names.
    pub fn new(coordinator: CoordinatorId) -> Self {
        Enlisting { coordinator, role: None }
    }

    /// Sets the role of the participant, where the session has another: the one that prepares is the one that may end it.
    #[must_use]
    pub fn role(self, role: &str) -> Self {
        Enlisting { role: Some(role.to_owned()), ..self }
    }

    /// Begins a transaction in the application's session. `tx`: the id under which the rest is submitted. That it is enlisted already
    /// is told here, before own SQL waits for the locks of what is prepared.
    pub async fn begin<'a>(&self, client: &'a mut Client, tx: &TxId) -> Result<Own<'a>, EnlistError> {
        let transaction = client.transaction().await?;
        self.join(transaction, tx).await
    }

    /// Goes on with a transaction that the application has begun, in its own isolation.
    pub async fn join<'a>(&self, transaction: Transaction<'a>, tx: &TxId) -> Result<Own<'a>, EnlistError> {
        let enlist = async {
            let own_role: String = transaction.query_one("SELECT current_setting('role')", &[]).await?.try_get(0)?;
            self.take_role(&transaction).await?;
            let statement = "SELECT undoubt.enlist($1, $2), pg_current_xact_id()::text, set_config('role', $3, true)";
            let (coordinator, id) = (&self.coordinator.0[..], tx.as_bytes());
            let row = transaction.query_one(statement, &[&coordinator, &id, &own_role]).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        };
        let (gid, xid) = enlist.await.map_err(|error| refused(tx, error))?;
        Ok(Own { gid, xid, transaction, enlisting: self.clone(), tx: tx.clone() })
    }

    async fn take_role(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        let Some(role) = &self.role else { return Ok(()) };
        transaction.batch_execute(&format!("SET LOCAL ROLE \"{}\"", role.replace('"', "\"\""))).await
    }
}

impl<'a> Deref for Own<'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Transaction<'a> {
        &self.transaction
    }
}

impl<'a> DerefMut for Own<'a> {
    fn deref_mut(&mut self) -> &mut Transaction<'a> {
        &mut self.transaction
    }
}

impl std::fmt::Debug for Own<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("tx", &self.tx).field("enlisting", &self.enlisting).finish_non_exhaustive()
    }
}

impl Own<'_> {
    /// Prepares it: from here on it outlives the session, and ends as the transaction does that it is submitted with.
    pub async fn prepare(self) -> Result<Enlisted, EnlistError> {
        let Own { transaction, gid, xid, enlisting, tx } = self;
        let ready = async {
            // Deferred checks must run as the application's own role.
            transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
            enlisting.take_role(&transaction).await?;
            let row = transaction.query_one("SELECT pg_current_xact_id_if_assigned()::text", &[]).await?;
            row.try_get::<_, Option<String>>(0)
        };
        if ready.await.map_err(|error| refused(&tx, error))? != Some(xid) {
            return Err(EnlistError::Ended);
        }
        let enlisted = Enlisted { tx: tx.clone() };
        if let Err(cause) = transaction.batch_execute(&format!("PREPARE TRANSACTION '{gid}'")).await {
            return Err(match is_told(&cause) {
                true => refused(&tx, cause),
                false => EnlistError::Unclear { enlisted, cause },
            });
        }
        // PREPARE TRANSACTION rolls back a transaction that had failed before, and reports success all the same.
        let look = transaction.query_one("SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = $1)", &[&gid]).await;
        match look.and_then(|row| row.try_get(0)) {
            Ok(true) => Ok(enlisted),
            Ok(false) => Err(EnlistError::RolledBack),
            Err(cause) => Err(EnlistError::Unclear { enlisted, cause }),
        }
    }
}

impl Enlisted {
    /// Returns the id of the transaction that it is a part of.
    pub fn tx(&self) -> &TxId {
        &self.tx
    }
}

impl From<Enlisted> for Work {
    fn from(_: Enlisted) -> Self {
        Work::enlisted()
    }
}

/// Returns true if the server told the error, so that the transaction is rolled back. An end of the session tells nothing of what
/// was sent before.
fn is_told(error: &Error) -> bool {
    error.code().is_some_and(|code| !code.code().starts_with("57P") && !code.code().starts_with("08"))
}

fn refused(tx: &TxId, cause: Error) -> EnlistError {
    let database = cause.as_db_error();
    let at_evidence =
        database.is_some_and(|error| (error.schema(), error.table()) == (Some("undoubt"), Some("enlisted")));
    let todo = match cause.code() {
        Some(code) if *code == SqlState::DUPLICATE_OBJECT => {
            return EnlistError::Prepared { tx: tx.clone(), enlisted: Enlisted { tx: tx.clone() } };
        }
        Some(code) if *code == SqlState::UNIQUE_VIOLATION && at_evidence => {
            return EnlistError::Committed { tx: tx.clone() };
        }
        Some(code) if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            "set max_prepared_transactions in postgresql.conf, and restart the server"
        }
        Some(code) if [SqlState::UNDEFINED_FUNCTION, SqlState::INVALID_SCHEMA_NAME].contains(code) => {
            "the database has no schema undoubt that can do this; make it with `undoubt-participant init`"
        }
        Some(code) if [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::INVALID_PARAMETER_VALUE].contains(code) => {
            "name the participant's role (Enlisting::role), and grant that to the role of the session (GRANT undoubt TO orders)"
        }
        Some(_) | None => return EnlistError::Refused(cause),
    };
    EnlistError::Setup { todo, cause }
}

fn told(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |error| format!("{} ({})", error.message(), error.code().code()))
}
