//! A local transaction of a branch or a step on one session.

use crate::attempt::{CutShort, Declined, NO_ANSWER, Planned, attended, in_time, plan, refusal, results, statements};
use crate::class::{NOT_AS_EXPECTED, class_of, code_of, told};
use crate::events;
use crate::record::clamped;
use crate::session::{Session, Unready};
use crate::sessions::Worker;
use crate::shared::Shared;
use crate::trip::{Answer, Part, in_one_trip};
use crate::value::literal;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;
use undoubt_participant::locks::over;
use undoubt_participant::resource::{BranchId, ResourceError, StepId};
use undoubt_sql::{Class, Isolation, Place, RowNumber, Task};
use undoubt_vocabulary::{AttemptNumber, Refusal, RefusalCode, TxId};

/// The evidence of a branch: a row that is seen exactly when it has committed.
const PUT_EVIDENCE: &str =
    "INSERT INTO undoubt.finished (coordinator, attempt, tx, result, start, write) VALUES ($1, $2, $3, $4, $5, $6)";

const PUT_OUTCOME: &str =
    "INSERT INTO undoubt.outcome (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Raises an error if another saga than that of `$2`, `$3`, `$4` has marked one of the keys.
const RESPECT: &str = "SELECT undoubt.expect(count(*), 0) FROM undoubt.pending WHERE key = ANY($1) AND (coordinator, attempt, tx) IS DISTINCT FROM ($2::bytea, $3::bigint, $4::bytea)";

/// The participant's own statements that are sent with others, and so are prepared before.
pub(crate) const STATEMENTS: &[&str] = &[
    PUT_EVIDENCE,
    PUT_OUTCOME,
    RESPECT,
    crate::step::PUT_STEP,
    crate::step::PUT_MARKS,
    crate::step::END_STEP,
    crate::step::DROP_MARKS,
    events::PUT_EVENT,
    events::APPEND_EVENT,
    crate::reactions::PUT_ROW,
    crate::reactions::FIRST_STEP,
    crate::reactions::NEXT_STEP,
    crate::reactions::DROP_ROW,
];

/// No deadline is further away.
const FAR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FAR)
}

/// Returns an attempt number as the tables keep it.
pub(crate) fn kept(AttemptNumber(number): AttemptNumber) -> Result<i64, Refusal> {
    i64::try_from(number).map_err(|_| {
        let detail = format!("attempt number {number} is above {}, the highest that this participant keeps", i64::MAX);
        Refusal::new(RefusalCode::InvalidWork, detail)
    })
}

/// The outcome of a transaction that did not succeed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) declined: Declined,
    /// True if the session is in no transaction, and good for another.
    is_free: bool,
}

pub(crate) type Tried<T> = Result<T, Failed>;

impl Failed {
    pub(crate) fn free(declined: impl Into<Declined>) -> Failed {
        Failed { declined: declined.into(), is_free: true }
    }

    /// Returns the failure of a transaction of which what was sent may have taken effect, or may yet.
    pub(crate) fn unclear(cause: String) -> Failed {
        Failed { declined: Declined::Failed(ResourceError::Unclear { cause }), is_free: false }
    }

    /// Nothing was sent that could take effect.
    pub(crate) fn broken(cause: &str) -> Failed {
        let refusal =
            Refusal::new(RefusalCode::Unavailable, format!("the database went away: {cause}; try again later"));
        Failed { declined: refusal.into(), is_free: false }
    }
}

/// Waits for a worker, as long as there is time.
pub(crate) async fn worker(
    shared: &Shared,
    tx: &TxId,
    deadline: Instant,
    cancelled: &CancellationToken,
) -> Result<Worker, Declined> {
    tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(over(tx).into()),
        worker = shared.sessions.worker() => Ok(worker?),
        () = tokio::time::sleep_until(deadline) => {
            let workers = shared.sessions.connector().settings().workers;
            let detail = format!("all {workers} sessions for work were busy until its time was over (resource.workers); try again");
            Err(Refusal::new(RefusalCode::LockTimeout, detail).into())
        }
    }
}

/// Gives a worker back whose session is good for more.
pub(crate) fn put_back<T>(shared: &Shared, worker: Worker, tried: Tried<T>) -> Result<T, Declined> {
    match tried {
        Ok(done) => {
            shared.sessions.give_back(worker);
            Ok(done)
        }
        Err(Failed { declined, is_free }) => {
            if is_free {
                shared.sessions.give_back(worker);
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

/// A local transaction.
pub(crate) struct Local<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) task: &'a Task,
    pub(crate) session: &'a Session,
    /// The step that it is of: its saga may meet its own marks.
    pub(crate) step: Option<&'a StepId>,
    /// True if it keeps records, whatever the task does.
    pub(crate) keeps_records: bool,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: &'a CancellationToken,
    /// The most bytes that its result may have.
    pub(crate) most_bytes: usize,
}

/// The first answer of a trip that is an error: its place, the error, and how the wait was cut short.
pub(crate) type FirstError = (usize, Error, Option<CutShort>);

impl<'a> Local<'a> {
    /// Has the server describe the statements, as far as this session does not know them. Nothing is begun.
    pub(crate) async fn plan(&self) -> Tried<Vec<Planned>> {
        plan(self.session, self.task).await.map_err(|(place, unready)| {
            let code = match &unready {
                Unready::Unfit(_) => RefusalCode::InvalidWork,
                Unready::Server(error) => match class_of(error).refusal() {
                    Some(code) => code,
                    None => return Failed::broken(&unready.told()),
                },
            };
            let cause = unready.told();
            if code == RefusalCode::InvalidWork {
                tracing::error!(place, cause, "the database does not take a declared statement");
            }
            let detail = format!("{place}: {cause}; correct the procedure or the database (undoubt-participant check)");
            Failed::free(Refusal::new(code, detail))
        })
    }

    /// Returns what begins the transaction. Its waits for locks end no later than its own time.
    fn begin(&self) -> Vec<Part<'a>> {
        // To the server, whoever locks rows writes.
        let only_reads = !self.keeps_records && self.task.only_reads() && !self.task.locks_rows();
        let access = if only_reads { "READ ONLY" } else { "READ WRITE" };
        let left_ms = self.deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        let usual_ms = self.shared.sessions.connector().settings().lock_timeout_ms;
        let begin = match self.task.isolation() {
            // Sessions are set so.
            Isolation::ReadCommitted => format!("BEGIN {access}"),
            higher @ (Isolation::RepeatableRead | Isolation::Serializable) => {
                format!("BEGIN ISOLATION LEVEL {} {access}", higher.as_sql())
            }
        };
        let mut parts = vec![Part::Text(begin)];
        if left_ms < u128::from(usual_ms) {
            parts.push(Part::Text(format!("SET LOCAL lock_timeout = {left_ms}")));
        }
        parts
    }

    /// Returns what comes before the task's statements: the beginning, and at last the check for marks of others, if it makes one.
    pub(crate) fn opening(&self) -> Vec<Part<'a>> {
        let mut parts = self.begin();
        if !self.task.respect.is_empty() {
            let null = || "NULL".to_owned();
            let own = match self.step.map(|step| (step, i64::try_from(step.attempt_number.0))) {
                Some((step, Ok(attempt))) => {
                    [literal::bytes(&step.coordinator.0), literal::number(attempt), literal::bytes(step.tx.as_bytes())]
                }
                Some((_, Err(_))) | None => [null(), null(), null()],
            };
            let keys = literal::keys(self.task.respect.iter().map(|key| &key[..]));
            let literals: Vec<String> = std::iter::once(keys).chain(own).collect();
            parts.push(self.session.joined(RESPECT, &literals));
        }
        parts
    }

    pub(crate) fn statements(&self, plan: &'a [Planned]) -> Tried<Vec<Part<'a>>> {
        statements(self.task, plan, self.most_bytes).map_err(Failed::free)
    }

    /// Returns what keeps the outcome under a key of the application's, if it asks for that.
    pub(crate) fn outcome(&self) -> Option<Part<'a>> {
        let (key, value) = self.task.outcome.as_ref()?;
        Some(self.session.joined(PUT_OUTCOME, &[literal::bytes(key), literal::bytes(value)]))
    }

    /// Returns what publishes the events of the task. `results`: what its calls returned; empty where no event takes anything from that.
    pub(crate) fn events(&self, place: Place<'_>, results: &Bytes, tx: &TxId) -> Result<Vec<Part<'a>>, Refusal> {
        let events = self.task.events(place, results, &self.shared.outbox, tx)?;
        Ok(events::put(self.session, &events))
    }

    /// Says that it has committed.
    pub(crate) fn published(&self) {
        if self.task.publishes() {
            self.shared.outbox.committed();
        }
    }

    pub(crate) fn evidence(&self, id: &BranchId, result: &[u8], row: RowNumber) -> Result<Part<'a>, Refusal> {
        let literals = [
            literal::bytes(&id.coordinator.0),
            literal::number(kept(id.attempt_number)?),
            literal::bytes(id.tx.as_bytes()),
            literal::bytes(result),
            literal::number(row.start),
            literal::number(clamped(row.write)),
        ];
        Ok(self.session.joined(PUT_EVIDENCE, &literals))
    }

    /// Sends a trip and waits for its answers.
    pub(crate) async fn trip(&self, parts: Vec<Part<'_>>) -> Option<Result<Vec<Answer>, FirstError>> {
        let answered = in_one_trip(&self.session.client, parts);
        let (answers, cut_short) =
            attended(&self.shared.sessions, self.session, self.deadline, self.cancelled, answered).await?;
        Some(answers.map_err(|(at, error)| (at, error, cut_short)))
    }

    /// Returns how it is refused, if it is certain that the error has ended it. `first`: the place of the first of the task's
    /// statements in the trip.
    pub(crate) fn refusal(
        &self,
        plan: &[Planned],
        first: usize,
        (at, error, cut_short): &FirstError,
    ) -> Option<Refusal> {
        if class_of(error) == Class::Declaration {
            self.session.describe_anew();
        }
        if let Some(refusal) = events::refusal(error) {
            return Some(refusal);
        }
        // The last of the opening asks for marks of others.
        if !self.task.respect.is_empty() && *at + 1 == first && code_of(error) == Some(NOT_AS_EXPECTED) {
            let detail = "a key that it needs is pending: another saga has touched it and is not over; try again later";
            return Some(Refusal::new(RefusalCode::Pending, detail));
        }
        refusal(self.task, plan, at.checked_sub(first), error, *cut_short)
    }

    pub(crate) fn results(&self, plan: &[Planned], answers: &[Answer]) -> Result<Bytes, Declined> {
        results(self.task, plan, answers, self.most_bytes)
    }

    /// Begins the transaction and runs the statements. Nothing is sent that could commit, so what fails is undone for certain.
    pub(crate) async fn run(&self) -> Tried<Bytes> {
        let plan = self.plan().await?;
        let mut parts = self.opening();
        let first = parts.len();
        parts.extend(self.statements(&plan)?);
        let declined = match self.trip(parts).await {
            None => return Err(Failed::broken(NO_ANSWER)),
            Some(Ok(answers)) => match self.results(&plan, &answers[first..]) {
                Ok(result) => return Ok(result),
                Err(declined) => declined,
            },
            Some(Err(error)) => match self.refusal(&plan, first, &error) {
                Some(refusal) => refusal.into(),
                None => return Err(Failed::broken(&told(&error.1))),
            },
        };
        Err(self.undone(declined).await)
    }

    /// Ends the transaction without effect.
    pub(crate) async fn undone(&self, declined: impl Into<Declined>) -> Failed {
        // If it cannot be told, the session ends, and the server undoes it.
        Failed { declined: declined.into(), is_free: self.rolled_back().await }
    }

    /// Has the server undo the transaction, and returns whether it has answered that.
    pub(crate) async fn rolled_back(&self) -> bool {
        matches!(in_time(self.session.client.batch_execute("ROLLBACK")).await, Some(Ok(())))
    }

    /// Sends the last statements of the transaction and its COMMIT. Each of `rows` has to be written: of a failed transaction a COMMIT says
    /// nothing, and undoes it.
    pub(crate) async fn commit(&self, beside: Vec<Part<'_>>, rows: Vec<Part<'_>>) -> Tried<()> {
        let (first, count) = (beside.len(), beside.len() + rows.len());
        let parts = beside.into_iter().chain(rows).chain([Part::Text("COMMIT".to_owned())]);
        match self.trip(parts.collect()).await {
            None => Err(Failed::unclear(NO_ANSWER.to_owned())),
            Some(Ok(answers)) if answers[first..count].iter().all(|answer| matches!(answer, Answer::Count(1..))) => {
                Ok(())
            }
            // The COMMIT came all the same.
            Some(Ok(_)) => Err(Failed::unclear("a record of the participant was not kept".to_owned())),
            Some(Err((at, error, _))) if at < count && code_of(&error) == Some(NOT_AS_EXPECTED) => {
                let detail = "the database does not have the barrier of the action, which is to be undone or completed";
                Err(self.undone(Refusal::new(RefusalCode::Unavailable, detail)).await)
            }
            Some(Err(error)) => match self.refusal(&[], count, &error) {
                // The COMMIT was not reached, or undid it.
                Some(refusal) => Err(self.undone(refusal).await),
                None => Err(Failed::unclear(told(&error.1))),
            },
        }
    }
}
