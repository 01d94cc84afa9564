//! The answers to a task's statements: what they come to, and how a task is refused.

use crate::class::{class_of, is_full, told};
use crate::owner;
use crate::session::{ANSWER_PATIENCE, Answer, Session};
use crate::sessions::Sessions;
use crate::value::cell;
use bytes::Bytes;
use mysql_async::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Bound, Class, Verb};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::Datum;
use undoubt_work::call::CallResult;

/// The reason why the work was not done.
#[derive(Debug)]
pub(crate) enum Declined {
    /// Nothing is left behind.
    Refused(Refusal),
    /// It read more than there is room for now. Nothing is left behind.
    NoRoom,
    Failed(ResourceError),
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Declined::Refused(refusal)
    }
}

impl From<crate::connect::Absent> for Declined {
    fn from(absent: crate::connect::Absent) -> Self {
        match ResourceError::from(absent) {
            ResourceError::Unavailable { cause } => Refusal::new(RefusalCode::Unavailable, cause).into(),
            error @ (ResourceError::NoRoom
            | ResourceError::Unclear { .. }
            | ResourceError::Foreign { .. }
            | ResourceError::Stopped { .. }
            | ResourceError::Fenced { .. }) => Declined::Failed(error),
        }
    }
}

/// Adds the answer to a statement to the result of its call.
pub(crate) fn add(
    result: &mut CallResult,
    bound: &Bound,
    at: usize,
    answer: Answer,
    most_bytes: usize,
) -> Result<(), Declined> {
    let declared = &bound.procedure.statements[at];
    let Answer { columns, rows, affected, is_too_large } = answer;
    if is_too_large {
        return Err(too_large(most_bytes));
    }
    let found = if columns.is_some() { rows.len() as u64 } else { affected };
    if declared.rows.is_some_and(|expected| expected != found) {
        return Err(bound.refusal(at).into());
    }
    if declared.statement.verb == Verb::Writes {
        result.affected += found;
    }
    let Some(columns) = columns else { return Ok(()) };
    result.columns = columns.iter().map(|column| column.name_str().into_owned()).collect();
    result.rows = rows
        .into_iter()
        .map(|row| row.unwrap().into_iter().zip(columns.iter()).map(|(value, column)| cell(column, value)).collect())
        .collect::<Result<Vec<Vec<Datum>>, String>>()
        .map_err(|why| {
            let detail = format!("statement {} of procedure {}: {why}", at + 1, bound.procedure.name);
            Declined::Refused(Refusal::new(RefusalCode::InvalidWork, detail))
        })?;
    Ok(())
}

/// Returns the result if there is room for it.
pub(crate) fn within(result: Bytes, most_bytes: usize) -> Result<Bytes, Declined> {
    if result.len() > most_bytes { Err(too_large(most_bytes)) } else { Ok(result) }
}

fn too_large(most_bytes: usize) -> Declined {
    if most_bytes < MAX_RESULT_BYTES {
        return Declined::NoRoom;
    }
    let detail = format!("its result has more than the {MAX_RESULT_BYTES} bytes that are allowed; read less at a time");
    Refusal::new(RefusalCode::TooLarge, detail).into()
}

/// The way in which a wait was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutShort {
    Cancelled,
    TimedOut,
}

/// Sends statements, and waits for the answers. At the deadline, or once cancelled, the server is told to stop, and the answers
/// are still waited for. `None`: nothing came for long after that.
pub(crate) async fn attended(
    sessions: &Sessions,
    session: &mut Session,
    deadline: Instant,
    cancelled: &CancellationToken,
    sql: &str,
    most_bytes: usize,
) -> Option<(Result<Vec<Answer>, Error>, Option<CutShort>)> {
    let backend = session.backend.clone();
    let settings = sessions.connector().settings();
    let deadline = deadline.min(Instant::now() + std::time::Duration::from_millis(settings.statement_timeout_ms));
    let (answers, cut_short) = {
        let mut answers = std::pin::pin!(session.ask(sql, most_bytes));
        let cut_short = tokio::select! {
            biased;
            answers = &mut answers => return Some((answers, None)),
            () = cancelled.cancelled() => CutShort::Cancelled,
            () = tokio::time::sleep_until(deadline) => CutShort::TimedOut,
        };
        // What is called off must be told before the session goes on to something else, or that would be called off.
        let both = async {
            let calling_off = async {
                if let Ok(mut control) = sessions.control().await {
                    owner::call_off(&mut control, &backend).await;
                }
            };
            tokio::join!(&mut answers, calling_off).0
        };
        (tokio::time::timeout(ANSWER_PATIENCE, both).await.ok()?, cut_short)
    };
    // One that was told between two statements stops the next.
    if !session.is_broken() {
        let _ = session.run("DO 0").await;
    }
    Some((answers, Some(cut_short)))
}

/// Returns how a branch or a step is refused that met this error; `None` if it is unknown what happened. `place`: what was being
/// done, for people.
pub(crate) fn refusal(place: &str, error: &Error, cut_short: Option<CutShort>) -> Option<Refusal> {
    let class = class_of(error);
    let code = match (class, cut_short) {
        (Class::Cancelled, Some(CutShort::Cancelled)) => RefusalCode::Late,
        // Its own time is over, or that which the server gives to a statement.
        (Class::Cancelled, Some(CutShort::TimedOut) | None) => RefusalCode::LockTimeout,
        (
            Class::Condition
            | Class::Declaration
            | Class::Conflict
            | Class::LockTimeout
            | Class::Unavailable
            | Class::Unknown
            | Class::Access
            | Class::Failed,
            _,
        ) => class.refusal()?,
    };
    let what_to_do = match class {
        Class::Condition => "the data do not allow it",
        Class::Declaration => "the procedure does not fit the database any more; correct one of them",
        Class::Conflict | Class::LockTimeout | Class::Cancelled => "try again",
        Class::Unavailable | Class::Failed if is_full(error) => {
            "there is no room on its disk or in its tablespace; make room there. What is prepared ends all the same"
        }
        Class::Unavailable | Class::Access | Class::Failed | Class::Unknown => "try again later",
    };
    if class.is_alarming() {
        tracing::error!(place, error = told(error), "the database refused what was declared");
    }
    Some(Refusal::new(code, format!("{place}: {}; {what_to_do}", told(error))))
}
