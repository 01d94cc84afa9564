//! The statements of a local transaction, and what their answers come to.

use crate::class::{class_of, code_of, told};
use crate::owner;
use crate::ready::{Form, Ready};
use crate::session::{Session, Unready};
use crate::sessions::Sessions;
use crate::trip::{Answer, Part};
use crate::value::{Argument, cells};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Class, Task, Verb};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::Results;
use undoubt_work::call::CallResult;

/// The time that a server has beyond a deadline before its session is taken for broken.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

pub(crate) const NO_ANSWER: &str = "the database did not answer in time";

/// Waits for the answer to something that takes no time. `None`: none came.
pub(crate) async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER_PATIENCE, answer).await.ok()
}

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

/// A statement of the task: whose call, which statement, and what the server said of it.
#[derive(Debug)]
pub(crate) struct Planned {
    call: usize,
    at: usize,
    ready: Arc<Ready>,
}

/// Has the server describe what the task needs, as far as this session does not know it.
pub(crate) async fn plan(session: &Session, task: &Task) -> Result<Vec<Planned>, (String, Unready)> {
    let mut planned = Vec::new();
    for (call, bound) in task.calls.iter().enumerate() {
        for at in 0..bound.procedure.statements.len() {
            let ready = session.declared(bound, at).await;
            let named = |unready| (format!("statement {} of procedure {}", at + 1, bound.procedure.name), unready);
            planned.push(Planned { call, at, ready: ready.map_err(named)? });
        }
    }
    Ok(planned)
}

/// Returns what runs the task's statements. `most_bytes`: of the rows of each.
pub(crate) fn statements<'a>(task: &'a Task, plan: &'a [Planned], most_bytes: usize) -> Result<Vec<Part<'a>>, Refusal> {
    let part = |planned: &'a Planned| {
        let (bound, ready) = (&task.calls[planned.call], &*planned.ready);
        let arguments = bound.arguments_of(&bound.procedure.statements[planned.at]).map(Argument);
        let named = match &ready.form {
            Form::Rows(statement) => return Ok(Part::Rows { statement, arguments: arguments.collect(), most_bytes }),
            Form::Named(named) => named,
        };
        let literals: Option<Vec<String>> = arguments.map(|argument| argument.literal()).collect();
        let unfit = || {
            let name = &bound.procedure.name;
            let detail =
                format!("procedure {name}: a text has a NUL character, which PostgreSQL does not keep; leave it out");
            Refusal::new(RefusalCode::Condition, detail)
        };
        Ok(Part::Text(named.call(&literals.ok_or_else(unfit)?)))
    };
    plan.iter().map(part).collect()
}

/// Returns what the calls came to. `answers`: of the statements, all of them good.
pub(crate) fn results(task: &Task, plan: &[Planned], answers: &[Answer], most_bytes: usize) -> Result<Bytes, Declined> {
    let mut results = vec![CallResult::default(); task.calls.len()];
    for (planned, answer) in plan.iter().zip(answers) {
        let (result, ready) = (&mut results[planned.call], &planned.ready);
        let rows = match answer {
            Answer::TooLarge => return Err(too_large(most_bytes)),
            // A statement that checks the number of rows returns one row, whatever that number is.
            Answer::Count(count) => {
                result.affected += ready.rows.unwrap_or(*count);
                continue;
            }
            Answer::Rows(rows) => rows,
        };
        if ready.verb == Verb::Writes {
            result.affected += ready.rows.unwrap_or(rows.len() as u64);
        }
        result.columns = ready.columns.clone();
        // A statement that checks that there is no row returns one row of nulls.
        let shown = if ready.rows == Some(0) { &[][..] } else { &rows[..] };
        let read = shown.iter().map(cells).collect::<Result<_, Error>>();
        result.rows = read.map_err(|error| Declined::Failed(ResourceError::Stopped { cause: told(&error) }))?;
    }
    let encoded = Results::encode_calls(&results);
    if encoded.len() > most_bytes { Err(too_large(most_bytes)) } else { Ok(encoded) }
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

/// Waits for the answers. At the deadline, or once cancelled, the server is told to stop, and the answers are still waited for.
/// `None`: nothing came for long after that.
pub(crate) async fn attended<T>(
    sessions: &Sessions,
    session: &Session,
    deadline: Instant,
    cancelled: &CancellationToken,
    answers: impl Future<Output = T>,
) -> Option<(T, Option<CutShort>)> {
    let mut answers = std::pin::pin!(answers);
    let cut_short = tokio::select! {
        biased;
        answers = &mut answers => return Some((answers, None)),
        () = cancelled.cancelled() => CutShort::Cancelled,
        () = tokio::time::sleep_until(deadline) => CutShort::TimedOut,
    };
    // What is called off must be told before the session goes on to something else, or that would be called off.
    let calling_off = async {
        if let Ok(control) = sessions.control().await {
            // If it cannot be told, the server's own timeouts end the wait.
            let _ = owner::call_off(&control, session.backend).await;
        }
    };
    let both = futures::future::join(answers, calling_off);
    let settings = sessions.connector().settings();
    let patience = ANSWER_PATIENCE + Duration::from_millis(settings.lock_timeout_ms.max(settings.statement_timeout_ms));
    match tokio::time::timeout(patience, both).await {
        Ok((answers, ())) => Some((answers, Some(cut_short))),
        Err(_) => None,
    }
}

/// Returns how a branch or a step is refused that met this error; `None` if it is unknown what happened.
pub(crate) fn refusal(
    task: &Task,
    plan: &[Planned],
    at: Option<usize>,
    error: &Error,
    cut_short: Option<CutShort>,
) -> Option<Refusal> {
    let planned = at.and_then(|at| plan.get(at));
    if let (Some(planned), Some(crate::class::NOT_AS_EXPECTED)) = (planned, code_of(error)) {
        return Some(task.calls[planned.call].refusal(planned.at));
    }
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
    let place = match planned {
        Some(planned) => {
            let name = &task.calls[planned.call].procedure.name;
            format!("statement {} of procedure {name}", planned.at + 1)
        }
        None => format!("the transaction of {}", task.names()),
    };
    let what_to_do = match class {
        Class::Condition => "the data do not allow it",
        Class::Declaration => "the procedure does not fit the database any more; correct one of them",
        Class::Conflict | Class::LockTimeout | Class::Cancelled => "try again",
        Class::Unavailable | Class::Access | Class::Failed | Class::Unknown => "try again later",
    };
    if class.is_alarming() {
        tracing::error!(place, error = told(error), "the database refused what was declared");
    }
    Some(Refusal::new(code, format!("{place}: {}; {what_to_do}", told(error))))
}
