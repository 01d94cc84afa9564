//! Asking a coordinator what it knows, waiting for an outcome, and cancelling.

use crate::client::Client;
use crate::connection::{Failure, Repeat};
use crate::error::{CancelError, QueryError, WaitError};
use crate::options::Patience;
use crate::retry::{Pauses, explain, reason};
use crate::submit::{Answer, known};
use crate::view::TransactionView;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::{Code, Response, Status};
use undoubt_proto::convert::KnownOutcome;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;

/// How long the coordinator's "not decided yet" may take to arrive once the waiting is over.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

impl Client {
    /// What is known of one transaction, with its history.
    pub async fn get(&self, tx: &TxId) -> Result<TransactionView, QueryError> {
        let attempt = || {
            let (mut coordinator, request) = (self.coordinator(), v1::GetRequest { tx: tx.to_bytes() });
            async move { coordinator.get(request).await }
        };
        let response = self.connection.call(self.connection.deadline(), Repeat::Always, tx, attempt).await;
        Ok(response.map_err(|failure| QueryError::about(tx, failure))?.try_into()?)
    }

    /// Waits until a transaction is decided, whoever submitted it.
    pub async fn wait(&self, tx: &TxId) -> Result<Answer, WaitError> {
        let (began, deadline) = (Instant::now(), self.connection.deadline());
        let mut pauses = Pauses::new(&self.connection.options, tx);
        let mut pending = false;
        loop {
            let attempt = || {
                let timeout_ms = self.patience_ms(deadline);
                let (mut coordinator, request) =
                    (self.coordinator(), v1::AwaitRequest { tx: tx.to_bytes(), timeout_ms });
                async move {
                    match coordinator.r#await(request).await {
                        Ok(response) => Ok(response.map(Some)),
                        Err(status) if status.code() == Code::DeadlineExceeded => Ok(Response::new(None)),
                        Err(status) => Err(status),
                    }
                }
            };
            let asked = self
                .connection
                .call_patiently(Patience::until(deadline), ANSWER_GRACE, Repeat::Always, tx, attempt)
                .await;
            let still_pending = || WaitError::StillPending { tx: tx.clone(), after: began.elapsed() };
            let response: Option<v1::SubmitResponse> = match asked {
                Ok(response) => response,
                // The last question was cut off by the deadline; what was heard before it still holds.
                Err(_) if pending && Instant::now() >= deadline => return Err(still_pending()),
                Err(failure) => return Err(QueryError::about(tx, failure).into()),
            };
            pending = true;
            if let Some(v1::SubmitResponse { outcome }) = response {
                let known = known(outcome).map_err(QueryError::Malformed)?;
                if let Some(stuck) = known.stuck {
                    return Err(WaitError::Stuck { tx: tx.clone(), stuck: Box::new(stuck) });
                }
                return Ok(known.try_into().map_err(QueryError::Malformed)?);
            }
            let pause = pauses.next(None);
            if pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(still_pending());
            }
            sleep(pause).await;
        }
    }

    /// How long the coordinator may hold an attempt; its answer has [`ANSWER_GRACE`] beyond that.
    fn patience_ms(&self, deadline: Instant) -> u32 {
        let left = deadline.saturating_duration_since(Instant::now()).min(self.connection.options.attempt_timeout);
        u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    /// Aborts a transaction that is not decided yet, and waits until it is over: a saga until all is undone.
    pub async fn cancel(&self, tx: &TxId) -> Result<KnownOutcome, CancelError> {
        let attempt = || {
            let (mut coordinator, request) = (self.coordinator(), v1::CancelRequest { tx: tx.to_bytes() });
            async move { coordinator.cancel(request).await }
        };
        let response: Result<v1::CancelResponse, _> =
            self.connection.call(self.connection.deadline(), Repeat::Always, tx, attempt).await;
        match response {
            Ok(response) => known(response.outcome).map_err(|cause| CancelError::Query(cause.into())),
            Err(Failure::Answered(status)) if status.code() == Code::FailedPrecondition => {
                Err(CancelError::TooLate { tx: tx.clone(), message: explain(&status), reason: reason(&status) })
            }
            // It takes until all is undone, and goes on whether anybody waits or not.
            Err(Failure::Unanswered(cause)) if cause.maybe_received => {
                Err(CancelError::NotOver { tx: tx.clone(), cause: Box::new(cause) })
            }
            Err(failure) => Err(CancelError::Query(QueryError::about(tx, failure))),
        }
    }
}

impl QueryError {
    pub(crate) fn about(tx: &TxId, failure: Failure) -> Self {
        match failure {
            Failure::Answered(status) if status.code() == Code::NotFound => QueryError::NotFound { tx: tx.clone() },
            Failure::Answered(_) | Failure::Unanswered(_) => failure.into(),
        }
    }
}

impl From<Failure> for QueryError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answered(status) => status.into(),
            Failure::Unanswered(cause) => QueryError::Unanswered(cause),
        }
    }
}

impl From<Status> for QueryError {
    fn from(status: Status) -> Self {
        let (message, reason) = (explain(&status), reason(&status));
        let code = status.code();
        if code == Code::InvalidArgument {
            QueryError::Refused { message, reason }
        } else if matches!(code, Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated) {
            QueryError::NotOffered { message, reason }
        } else {
            QueryError::Unexpected { code, message, reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::{Reply, TestServer, quick};
    use undoubt_vocabulary::Outcome;

    fn tx() -> TxId {
        "tx".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_outcome_however_often_it_has_to_ask() {
        let server = TestServer::one(|attempt| match attempt {
            0..=3 => Reply::Break(Status::deadline_exceeded("not decided yet")),
            4 => Reply::Break(Status::unavailable("recovering")),
            _ => Reply::Commit,
        });
        assert_eq!(server.client(quick()).wait(&tx()).await.unwrap().outcome, Outcome::Committed);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_what_stays_pending_ends_at_the_deadline() {
        let (server, began) = (TestServer::one(|_| Reply::Break(Status::deadline_exceeded(""))), Instant::now());
        let error = server.client(quick()).wait(&tx()).await.unwrap_err();
        assert!(matches!(error, WaitError::StillPending { .. }), "{error}");
        assert!(began.elapsed() <= quick().deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_coordinator_has_no_trace_of_is_not_found() {
        let server = TestServer::one(|_| Reply::Break(Status::not_found("")));
        assert!(matches!(server.client(quick()).get(&tx()).await, Err(QueryError::NotFound { .. })));
        let error = server.client(quick()).cancel(&tx()).await.unwrap_err();
        assert!(matches!(error, CancelError::Query(QueryError::NotFound { .. })), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancel_whose_end_is_not_heard_in_time_may_have_been_heard() {
        let server = TestServer::one(|_| Reply::Silence);
        let error = server.client(quick()).cancel(&tx()).await.unwrap_err();
        assert!(matches!(error, CancelError::NotOver { .. }), "{error}");
        let error = TestServer::unreachable().client(quick()).cancel(&tx()).await.unwrap_err();
        assert!(matches!(error, CancelError::Query(QueryError::Unanswered(_))), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_too_late_says_how_it_ended() {
        let server = TestServer::one(|_| Reply::Break(Status::failed_precondition("it has committed")));
        let error = server.client(quick()).cancel(&tx()).await.unwrap_err();
        assert!(matches!(&error, CancelError::TooLate { message, .. } if message == "it has committed"), "{error}");
    }
}
