//! The tasks of a server: its engine, and what runs beside it.

use crate::reason::Reason;
use futures::FutureExt as _;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

/// The time that tasks may take to end once they have been told to: that of a last write.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A task of which neither the result nor a panic is lost.
#[derive(Debug)]
pub struct Task<E>(JoinHandle<thread::Result<Result<(), E>>>);

/// The error of a task that was cancelled by the runtime.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a task of the server was cancelled: {0}")]
pub struct TaskCancelled(String);

impl<E: Send + 'static> Task<E> {
    /// Starts a task. A panic in it is caught and goes on where its end is waited for, because a runtime that catches a panic
    /// may end its other tasks in the midst of what they do.
    pub fn spawn(task: impl Future<Output = Result<(), E>> + Send + 'static) -> Task<E> {
        Task(tokio::spawn(AssertUnwindSafe(task).catch_unwind()))
    }

    /// Waits for its end. To stop waiting leaves it running; it must not be waited for again once it has ended.
    ///
    /// # Panics
    /// With the task's own panic.
    pub async fn ended<R: From<E> + From<TaskCancelled>>(&mut self) -> Result<(), R> {
        match (&mut self.0).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => Err(TaskCancelled(error.to_string()).into()),
        }
    }

    /// Ends the task at once, in the midst of what it does.
    pub fn abort(&self) {
        self.0.abort();
    }
}

/// Waits for the end of tasks that have been told to stop, for 5 s at most. After that they are left as a crash would leave
/// them, which the log tells as `unanswered`.
pub async fn stopped<R>(stopping: impl Future<Output = Result<(), R>>, unanswered: &str) -> Result<(), R> {
    timeout(STOP_TIMEOUT, stopping).await.unwrap_or_else(|_elapsed| {
        tracing::error!("{unanswered}");
        Ok(())
    })
}

/// The error of whoever asks an engine that has ended, because its server is stopping or its storage failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the {server} is stopping; {}", .why.as_deref().unwrap_or("try again after its restart"))]
pub struct EngineGone {
    /// `coordinator` or `participant`.
    pub server: &'static str,
    /// The cause for which it ends, if not for the sake of a restart.
    pub why: Option<Arc<str>>,
}

impl From<EngineGone> for Status {
    fn from(gone: EngineGone) -> Status {
        Reason::Stopping.refuse(gone.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Ended {
        #[error("failed: {0}")]
        Failed(#[from] std::fmt::Error),
        #[error(transparent)]
        Cancelled(#[from] TaskCancelled),
    }

    async fn never() -> Result<(), std::fmt::Error> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_task_that_failed_tells_its_error_and_one_that_was_ended_says_so() {
        let failed = Task::spawn(async { Err(std::fmt::Error) }).ended().await;
        assert!(matches!(failed, Err(Ended::Failed(_))));
        let mut ended = Task::spawn(never());
        ended.abort();
        assert!(matches!(ended.ended().await, Err(Ended::Cancelled(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_not_waited_for_for_ever() {
        let mut task = Task::spawn(never());
        let left: Result<(), Ended> = stopped(task.ended(), "it does not answer").await;
        assert!(left.is_ok());
    }

    #[tokio::test]
    #[should_panic(expected = "as planned")]
    async fn a_panic_of_a_task_goes_on_where_its_end_is_waited_for() {
        let ended: Result<(), Ended> = Task::<std::fmt::Error>::spawn(async { panic!("as planned") }).ended().await;
        unreachable!("{ended:?}");
    }
}
