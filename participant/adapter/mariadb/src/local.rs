//! A transaction of a branch or a step on one session.

use crate::attempt::{CutShort, Declined, add, attended, refusal, within};
use crate::class::told;
use crate::ready::shares_rows;
use crate::session::{ANSWER_PATIENCE, Answer, Session};
use crate::sessions::Worker;
use crate::shared::Shared;
use crate::value::{bytes, literal};
use mysql_async::Error;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_participant::locks::over;
use undoubt_participant::resource::{BranchId, ResourceError, StepId};
use undoubt_sql::{Bound, Isolation, Task};
use undoubt_vocabulary::{Refusal, RefusalCode, Timestamp, TxId};
use undoubt_work::Results;
use undoubt_work::call::CallResult;

/// No deadline is further away.
const FAR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FAR)
}

/// The state of a session after a transaction that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in no transaction.
    Free,
    /// The server may yet carry out what it was sent, or hold locks for it.
    Suspect,
}

/// The outcome of a transaction that did not succeed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) declined: Declined,
    pub(crate) session: Fate,
}

pub(crate) type Tried<T> = Result<T, Failed>;

impl Failed {
    pub(crate) fn free(declined: impl Into<Declined>) -> Failed {
        Failed { declined: declined.into(), session: Fate::Free }
    }

    pub(crate) fn unclear(cause: String) -> Failed {
        Failed { declined: Declined::Failed(ResourceError::Unclear { cause }), session: Fate::Suspect }
    }

    /// Nothing was sent that could take effect.
    pub(crate) fn broken(cause: &str) -> Failed {
        let refusal =
            Refusal::new(RefusalCode::Unavailable, format!("the database went away: {cause}; try again later"));
        Failed { declined: refusal.into(), session: Fate::Suspect }
    }
}

/// Waits for a session, as long as there is time. `setting`: what bounds the number of those that there are.
pub(crate) async fn in_time(
    waiting: impl Future<Output = Result<Worker, crate::connect::Absent>>,
    setting: &str,
    tx: &TxId,
    deadline: Instant,
    cancelled: &CancellationToken,
) -> Result<Worker, Declined> {
    tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(over(tx).into()),
        worker = waiting => Ok(worker?),
        () = tokio::time::sleep_until(deadline) => {
            let detail = format!("all sessions for it were busy until its time was over (resource.{setting}); try again");
            Err(Refusal::new(RefusalCode::LockTimeout, detail).into())
        }
    }
}

/// Puts a worker's session back, or away.
pub(crate) fn put_back<T>(shared: &Shared, worker: Worker, tried: Tried<T>) -> Result<T, Declined> {
    match tried {
        Ok(done) => {
            shared.sessions.give_back(worker);
            Ok(done)
        }
        Err(Failed { declined, session }) => {
            match session {
                Fate::Free => shared.sessions.give_back(worker),
                Fate::Suspect => shared.sessions.suspect(worker),
            }
            Err(declined)
        }
    }
}

/// Returns true if what was locked for it may be given to others.
pub(crate) fn is_certain(declined: &Declined) -> bool {
    match declined {
        Declined::Refused(_) | Declined::NoRoom => true,
        Declined::Failed(error) => match error {
            ResourceError::Unavailable { .. } | ResourceError::NoRoom => true,
            ResourceError::Unclear { .. }
            | ResourceError::Foreign { .. }
            | ResourceError::Stopped { .. }
            | ResourceError::Fenced { .. } => false,
        },
    }
}

/// A transaction, which runs on a session that is handed to its methods.
pub(crate) struct Local<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) task: &'a Task,
    /// The step that it is of: its saga may meet its own marks.
    pub(crate) step: Option<&'a StepId>,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: &'a CancellationToken,
    /// The most bytes that its result may have.
    pub(crate) most_bytes: usize,
}

impl Local<'_> {
    /// Returns what goes before the statement that begins a transaction.
    pub(crate) fn isolation(&self) -> String {
        // Less than that frees locks in share mode when a branch is prepared, also those of calls that only read.
        let shares = !self.task.only_reads() && self.task.calls.iter().any(|call| shares_rows(&call.procedure));
        let least = if shares { Isolation::Serializable } else { Isolation::default() };
        match self.task.isolation().max(least) {
            // That of the session.
            Isolation::ReadCommitted => String::new(),
            other @ (Isolation::RepeatableRead | Isolation::Serializable) => {
                format!("SET TRANSACTION ISOLATION LEVEL {}; ", other.as_sql())
            }
        }
    }

    /// Returns the statements that begin a transaction of the session's own.
    pub(crate) fn begin(&self) -> String {
        // To the server, whoever locks rows writes.
        match self.task.only_reads() && !self.task.locks_rows() {
            true => format!("{}START TRANSACTION READ ONLY", self.isolation()),
            false => self.write(),
        }
    }

    /// Returns the statements that begin a transaction of the session's own which writes a record, whatever the task does.
    pub(crate) fn write(&self) -> String {
        format!("{}START TRANSACTION READ WRITE", self.isolation())
    }

    /// Returns what keeps the outcome under a key of the application's, if it asks for that; it ends with a semicolon.
    pub(crate) fn outcome(&self) -> String {
        let Some((key, value)) = &self.task.outcome else { return String::new() };
        let (key, value) = (bytes(key), bytes(value));
        format!(
            "INSERT INTO undoubt_outcome (name, value) VALUES ({key}, {value}) ON DUPLICATE KEY UPDATE value = {value}; "
        )
    }

    /// Begins the transaction with `begin`, and runs the statements, each in a trip of its own. Nothing is sent that could make it
    /// last. The transaction is open afterwards, whatever is returned.
    pub(crate) async fn run(&self, session: &mut Session, begin: &str) -> Tried<bytes::Bytes> {
        let mut begin = Some(begin.to_owned());
        if let Some(sql) = self.respect() {
            let sql = format!("{}; {sql}", begin.take().unwrap_or_default());
            let marked = self.trip(session, &sql, &|| "the check for pending keys".to_owned()).await?;
            if marked.is_some_and(|answer| !answer.rows.is_empty()) {
                let detail =
                    "a key that it needs is pending: another saga has touched it and is not over; try again later";
                return Err(Failed::free(Refusal::new(RefusalCode::Pending, detail)));
            }
        }
        let mut results = Vec::with_capacity(self.task.calls.len());
        for bound in &self.task.calls {
            let mut result = CallResult::default();
            for at in 0..bound.procedure.statements.len() {
                let statement = statement(bound, at).map_err(Failed::free)?;
                let sql = match begin.take() {
                    Some(begin) => format!("{begin}; {statement}"),
                    None => statement,
                };
                let place = || format!("statement {} of procedure {}", at + 1, bound.procedure.name);
                let answer = self.trip(session, &sql, &place).await;
                let answer = answer.inspect_err(|failed| self.note_unfit(bound, failed))?.unwrap_or_default();
                add(&mut result, bound, at, answer, self.most_bytes).map_err(Failed::free)?;
            }
            results.push(result);
        }
        if let Some(begin) = begin {
            self.trip(session, &begin, &|| "the beginning".to_owned()).await?;
        }
        within(Results::encode_calls(&results), self.most_bytes).map_err(Failed::free)
    }

    /// Notes for people that a procedure does not fit the database.
    fn note_unfit(&self, bound: &Bound, Failed { declined, .. }: &Failed) {
        match declined {
            Declined::Refused(refusal) if refusal.code == RefusalCode::InvalidWork => {
                self.shared.unfit.met(&bound.procedure.name, &refusal.detail);
            }
            Declined::Refused(_) | Declined::NoRoom | Declined::Failed(_) => {}
        }
    }

    /// Returns the query for marks that others have on the keys that it respects.
    fn respect(&self) -> Option<String> {
        if self.task.respect.is_empty() {
            return None;
        }
        let keys: Vec<String> = self.task.respect.iter().map(|key| bytes(key)).collect();
        let others = match self.step {
            None => String::new(),
            Some(StepId { coordinator, attempt_number, tx, .. }) => format!(
                " AND NOT (coordinator = {} AND attempt = {} AND tx = {})",
                bytes(&coordinator.0),
                attempt_number.0,
                bytes(tx.as_bytes())
            ),
        };
        Some(format!("SELECT 1 FROM undoubt_pending WHERE marked IN ({}){others} LIMIT 1", keys.join(", ")))
    }

    /// Sends statements of which nothing lasts yet, and returns the last answer.
    pub(crate) async fn trip(
        &self,
        session: &mut Session,
        sql: &str,
        place: &(dyn Fn() -> String + Sync),
    ) -> Tried<Option<Answer>> {
        match self.attended(session, sql).await {
            None => Err(Failed::broken("it did not answer in time")),
            Some((Ok(mut answers), _)) => Ok(answers.pop()),
            Some((Err(error), cut_short)) => Err(match refusal(&place(), &error, cut_short) {
                Some(refusal) => Failed::free(refusal),
                None => Failed::broken(&told(&error)),
            }),
        }
    }

    async fn attended(
        &self,
        session: &mut Session,
        sql: &str,
    ) -> Option<(Result<Vec<Answer>, Error>, Option<CutShort>)> {
        attended(&self.shared.sessions, session, self.deadline, self.cancelled, sql, self.most_bytes).await
    }

    /// Ends a transaction of the session's own without effect.
    pub(crate) async fn undone(&self, session: &mut Session, failed: Failed) -> Failed {
        match failed.session {
            Fate::Suspect => failed,
            Fate::Free => match session.run("ROLLBACK").await {
                Ok(_) => failed,
                // The session ends, and the server undoes it.
                Err(_) => Failed { session: Fate::Suspect, ..failed },
            },
        }
    }

    /// Sends a record of the participant's own, of which nothing lasts yet, and returns the number of rows that it has found.
    pub(crate) async fn record(&self, session: &mut Session, sql: &str) -> Tried<u64> {
        let answer = self.trip(session, sql, &|| RECORDS.to_owned()).await?;
        Ok(answer.map_or(0, |answer| answer.affected))
    }

    /// Sends the last records and what makes all of it last, in one trip. What is certain has failed may be undone.
    pub(crate) async fn last(&self, session: &mut Session, sql: &str) -> Tried<()> {
        // A record may wait for one that another branch holds; being called off here would leave it unclear.
        let lock_timeout = Duration::from_millis(self.shared.sessions.connector().settings().lock_timeout_ms);
        match tokio::time::timeout(ANSWER_PATIENCE + 2 * lock_timeout, session.ask(sql, usize::MAX)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match refusal(RECORDS, &error, None) {
                Some(refusal) => Failed::free(refusal),
                None => Failed::unclear(told(&error)),
            }),
            Err(_) => Err(Failed::unclear("the database did not answer in time".to_owned())),
        }
    }
}

const RECORDS: &str = "the participant's own records";

/// Returns the evidence of a branch: a row that is seen exactly when it has committed.
pub(crate) fn evidence(id: &BranchId, begun_at: Timestamp, run: u64, result: &[u8]) -> String {
    format!(
        "INSERT INTO undoubt_finished (coordinator, attempt, tx, begun_at, run, result) VALUES ({}, {}, {}, {}, {run}, {})",
        bytes(&id.coordinator.0),
        id.attempt_number.0,
        bytes(id.tx.as_bytes()),
        begun_at.0,
        bytes(result)
    )
}

/// Returns a declared statement with its arguments in their places.
fn statement(bound: &Bound, at: usize) -> Result<String, Refusal> {
    let declared = &bound.procedure.statements[at];
    let mut literals = Vec::new();
    for argument in bound.arguments_of(declared) {
        literals.push(literal(argument).map_err(|why| {
            let detail = format!("procedure {}: {why}; give another value", bound.procedure.name);
            Refusal::new(RefusalCode::InvalidWork, detail)
        })?);
    }
    // A comment at the end would take along what follows on its line.
    Ok(format!("{}\n", declared.statement.with(|parameter| literals[parameter].clone())))
}
