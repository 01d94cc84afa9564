//! A local transaction: its statements are sent in one trip, and the answers say what became of it.

use crate::class::{class_of, code_of, told};
use crate::owner;
use crate::ready::Ready;
use crate::session::{Owned, Parameter, Session, Unready};
use crate::sessions::Sessions;
use crate::value::{Argument, cells};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Error, Row};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::ResourceError;
use undoubt_sql::{Class, Task, Verb};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{Refusal, RefusalCode};
use undoubt_work::Results;
use undoubt_work::call::CallResult;

/// The time that a server has beyond a deadline before its session is taken for broken.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

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

/// The answer to one message.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Count(u64),
    Rows(Vec<Row>),
    /// It returned more bytes than were asked for; they are dropped.
    TooLarge,
}

pub(crate) type Request<'a> = BoxFuture<'a, Result<Answer, Error>>;

/// Sends all, in order, before it waits for any answer.
pub(crate) async fn in_one_trip(mut requests: Vec<Request<'_>>) -> Vec<Result<Answer, Error>> {
    let mut answered = Vec::with_capacity(requests.len());
    for request in &mut requests {
        // The first poll sends it.
        answered.push(match futures::poll!(request.as_mut()) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        });
    }
    let mut answers = Vec::with_capacity(requests.len());
    for (request, answered) in requests.into_iter().zip(answered) {
        answers.push(match answered {
            Some(answer) => answer,
            None => request.await,
        });
    }
    answers
}

pub(crate) fn text<'a>(session: &'a Session, sql: &'a str) -> Request<'a> {
    async move { session.client.batch_execute(sql).await.map(|()| Answer::Done) }.boxed()
}

/// Runs one of the participant's own statements, which the session has described before.
pub(crate) fn execute<'a>(session: &'a Session, sql: &'static str, parameters: Vec<Owned>) -> Request<'a> {
    async move {
        let parameters: Vec<Parameter<'_>> = parameters.iter().map(|parameter| &**parameter as Parameter<'_>).collect();
        session.execute(sql, &parameters).await.map(Answer::Count)
    }
    .boxed()
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

/// Returns the requests that run the task's statements. `most_bytes`: of all rows together.
pub(crate) fn statements<'a>(
    session: &'a Session,
    task: &'a Task,
    plan: &'a [Planned],
    most_bytes: usize,
) -> Vec<Request<'a>> {
    let request = |planned: &'a Planned| {
        let bound = &task.calls[planned.call];
        let arguments: Vec<Argument<'a>> =
            bound.arguments_of(&bound.procedure.statements[planned.at]).map(Argument).collect();
        let ready = &planned.ready;
        async move {
            if ready.columns.is_empty() && ready.rows.is_none() {
                return session.client.execute_raw(&ready.statement, arguments).await.map(Answer::Count);
            }
            let rows = session.client.query_raw(&ready.statement, arguments).await?;
            let (mut rows, mut kept, mut bytes) = (Box::pin(rows), Vec::new(), 0_usize);
            while let Some(row) = rows.next().await {
                let row = row?;
                bytes = bytes.saturating_add(row.raw_size_bytes());
                if bytes <= most_bytes {
                    kept.push(row);
                } else {
                    kept.clear();
                }
            }
            Ok(if bytes > most_bytes { Answer::TooLarge } else { Answer::Rows(kept) })
        }
        .boxed()
    };
    plan.iter().map(request).collect()
}

/// Returns what the calls came to. `answers`: of the statements, all of them good.
pub(crate) fn results(task: &Task, plan: &[Planned], answers: &[Answer], most_bytes: usize) -> Result<Bytes, Declined> {
    let mut results = vec![CallResult::default(); task.calls.len()];
    for (planned, answer) in plan.iter().zip(answers) {
        let (result, ready) = (&mut results[planned.call], &planned.ready);
        let rows = match answer {
            Answer::Done => continue,
            Answer::TooLarge => return Err(too_large(most_bytes)),
            Answer::Count(count) => {
                result.affected += count;
                continue;
            }
            Answer::Rows(rows) => rows,
        };
        if ready.verb == Verb::Writes {
            result.affected += ready.rows.unwrap_or(rows.len() as u64);
        }
        if !ready.columns.is_empty() {
            result.columns = ready.columns.clone();
            // What checks that there is no row returns one of nulls.
            let shown = if ready.rows == Some(0) { &[][..] } else { &rows[..] };
            let read = shown.iter().map(cells).collect::<Result<_, Error>>();
            result.rows = read.map_err(|error| Declined::Failed(ResourceError::Stopped { cause: told(&error) }))?;
        }
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
