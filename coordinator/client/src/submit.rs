//! Submitting one transaction.

use crate::client::Client;
use crate::connection::{Failure, Repeat};
use crate::error::{SubmitError, Unanswered};
use crate::options::Patience;
use crate::retry::{explain, reason};
use crate::submission::Submission;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};
use undoubt_proto::convert::{Applied, KnownOutcome, Malformed};
use undoubt_proto::v1;
use undoubt_vocabulary::{Outcome, PartName, TxId};
use undoubt_work::Results;

/// How a transaction was decided, and what its branches or steps handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The decision. Of a saga, committed means that all is done, and aborted that all is undone.
    pub outcome: Outcome,
    /// What each handed back, as it came, for [`Results::read`], by the names of participants or of a saga's steps; only
    /// while the coordinator still has it. Where auto went by two-phase commit, by those of participants.
    pub results: BTreeMap<PartName, Bytes>,
    /// It is a nested saga, whose steps are completed. It ends with its parent, and may be undone with that.
    pub provisional: bool,
    /// How far it is applied, and the events that it has published; if that was asked for
    /// ([`Submission::applied_within`]).
    pub applied: Option<Applied>,
}

impl Answer {
    /// Returns the answer with this outcome and these results, as the coordinator would give it.
    pub fn new(outcome: Outcome, results: BTreeMap<PartName, Bytes>) -> Answer {
        Answer { outcome, results, provisional: false, applied: None }
    }

    /// Returns what a participant, or a step of a saga, handed back; `None` if there is no result of it.
    pub fn result(&self, name: &str) -> Option<Results> {
        let (_, result) = self.results.iter().find(|(known, _)| known.as_str() == name)?;
        Some(Results::read(result))
    }
}

impl TryFrom<KnownOutcome> for Answer {
    type Error = Malformed;

    fn try_from(known: KnownOutcome) -> Result<Self, Malformed> {
        let provisional = known.closed;
        let decided = known.decided.or(provisional.then_some(Outcome::Committed));
        let outcome = decided.ok_or(Malformed::Undecided)?;
        Ok(Answer { outcome, results: known.results, provisional, applied: known.applied })
    }
}

impl Client {
    /// Runs a transaction, a saga or either, and waits for its outcome.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Answer, SubmitError> {
        let submission = submission.into();
        decided(submission.id(), self.send(&submission, false).await?)
    }

    /// Hands a transaction, a saga or either over without waiting for its outcome; returns how it stands. From then on the
    /// coordinator carries it on. Until it is decided, a crash of the coordinator aborts a transaction; a saga goes on.
    pub async fn submit_no_wait(&self, submission: impl Into<Submission>) -> Result<KnownOutcome, SubmitError> {
        let submission = submission.into();
        self.send(&submission, true).await
    }

    async fn send(&self, submission: &Submission, no_wait: bool) -> Result<KnownOutcome, SubmitError> {
        let (tx, request) = (submission.id(), v1::SubmitRequest { no_wait, ..submission.request()? });
        let request = if no_wait { v1::SubmitRequest { applied_within_ms: 0, ..request } } else { request };
        let attempt = || {
            let (mut coordinator, request) = (self.coordinator(), request.clone());
            async move { coordinator.submit(request).await }
        };
        let (options, now) = (&self.connection.options, Instant::now());
        let patience =
            if no_wait { Patience::until(options.deadline_from(now)) } else { options.patience(submission, now) };
        let response: Result<v1::SubmitResponse, _> =
            self.connection.call_patiently(patience, Duration::ZERO, Repeat::Always, tx, attempt).await;
        match response {
            Ok(response) => known(response.outcome).map_err(|cause| SubmitError::Malformed { tx: tx.clone(), cause }),
            Err(Failure::Answered(status)) => Err(SubmitError::answered(&self.connection.address, tx.clone(), &status)),
            Err(Failure::Unanswered(cause)) => Err(SubmitError::unanswered(tx.clone(), cause)),
        }
    }
}

/// The answer to whoever waits for it.
pub(crate) fn decided(tx: &TxId, known: KnownOutcome) -> Result<Answer, SubmitError> {
    if let Some(stuck) = known.stuck {
        return Err(SubmitError::Stuck { tx: tx.clone(), stuck: Box::new(stuck) });
    }
    known.try_into().map_err(|cause| SubmitError::Malformed { tx: tx.clone(), cause })
}

pub(crate) fn known(outcome: Option<v1::Outcome>) -> Result<KnownOutcome, Malformed> {
    outcome.ok_or(Malformed::Missing { field: "outcome" })?.try_into()
}

impl SubmitError {
    pub(crate) fn answered(address: &str, tx: TxId, status: &Status) -> Self {
        let (message, reason) = (explain(status), reason(status));
        match status.code() {
            Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated => SubmitError::NotOffered {
                tx,
                address: address.into(),
                message,
                reason: reason.map(String::into_boxed_str),
            },
            Code::InvalidArgument => SubmitError::Refused { tx, message, reason },
            Code::NotFound if reason.as_deref() == Some("NOT_FOUND") => {
                SubmitError::NotPossible { tx, message, reason }
            }
            Code::NotFound => SubmitError::UnknownParticipant { tx, message, reason },
            // The transaction is the one that is meant, and a step of it another.
            Code::AlreadyExists if reason.as_deref() == Some("OTHER_STEP") => {
                SubmitError::NotPossible { tx, message, reason }
            }
            Code::AlreadyExists => SubmitError::IdReused { tx, message, reason },
            Code::FailedPrecondition => SubmitError::NotPossible { tx, message, reason },
            code @ (Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss) => SubmitError::Unexpected { tx, code, message, reason },
        }
    }

    pub(crate) fn unanswered(tx: TxId, cause: Unanswered) -> Self {
        let cause = Box::new(cause);
        if cause.maybe_received {
            SubmitError::OutcomeUnknown { tx, cause }
        } else {
            SubmitError::NotAccepted { tx, cause }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::Saga;
    use crate::step::Step;
    use crate::test_server::{Reply, TestServer, quick};
    use crate::transaction::Transaction;
    use undoubt_work::Work;

    fn transaction() -> Transaction {
        Transaction::with_id("tx".parse().unwrap()).on("a", Work::raw("w"))
    }

    #[tokio::test(start_paused = true)]
    async fn every_attempt_carries_the_same_id_and_content() {
        let server = TestServer::one(|attempt| match attempt {
            0 => Reply::Break(Status::unavailable("recovering")),
            1 => Reply::Break(Status::internal("h2 protocol error")),
            2 => Reply::Silence,
            _ => Reply::Commit,
        });
        let answer = server.client(quick()).submit(&transaction()).await.unwrap();
        assert_eq!(answer.outcome, Outcome::Committed);
        let requests = server.requests();
        assert_eq!(requests.len(), 4);
        assert!(requests.iter().all(|request| *request == transaction().request().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_coordinator_is_left_alone_for_as_long_as_it_asks() {
        let server = TestServer::one(|attempt| if attempt == 0 { Reply::Busy(700) } else { Reply::Commit });
        let began = Instant::now();
        server.client(quick()).submit(&transaction()).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_until_the_deadline_leaves_the_outcome_unknown_and_says_how_to_find_out() {
        let server = TestServer::one(|_| Reply::Silence);
        let began = Instant::now();
        let error = server.client(quick()).submit(&transaction()).await.unwrap_err();
        assert!(matches!(&error, SubmitError::OutcomeUnknown { tx, .. } if tx.to_string() == "tx"), "{error}");
        assert!(error.to_string().contains("submit the same again"), "{error}");
        assert!(began.elapsed() <= quick().deadline, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_waited_for_as_long_as_it_may_take() {
        let saga = Saga::with_id("tx".parse().unwrap()).step(Step::new("s", "a", Work::raw("w")).pivot());
        let long = Duration::from_secs(14);
        for (submission, options, least_s) in [
            (Submission::from(transaction().timeout(long)), quick(), 14),
            (transaction().into(), quick().default_timeout(long), 14),
            (saga.timeout(long).into(), quick(), 28),
            (transaction().into(), quick(), 1),
        ] {
            let began = Instant::now();
            let server = TestServer::one(|_| Reply::Silence);
            let error = server.client(options.clone()).submit(&submission).await.unwrap_err();
            assert!(matches!(error, SubmitError::OutcomeUnknown { .. }), "{error}");
            let (took, least) = (began.elapsed(), Duration::from_secs(least_s));
            assert!(took >= least && took <= least + Duration::from_secs(6), "{took:?} instead of {least:?}");
            let began = Instant::now();
            let error = TestServer::unreachable().client(options.clone()).submit(&submission).await.unwrap_err();
            assert!(matches!(error, SubmitError::NotAccepted { .. }), "{error}");
            server.client(options).submit_no_wait(&submission).await.unwrap_err();
            assert!(
                began.elapsed() <= 2 * quick().deadline,
                "nobody has heard of it, or its outcome is not waited for"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_attempt_was_let_in_nothing_was_done() {
        let error = TestServer::unreachable().client(quick()).submit(&transaction()).await.unwrap_err();
        assert!(matches!(error, SubmitError::NotAccepted { .. }), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        let busy = TestServer::one(|_| Reply::Busy(50)).client(quick()).submit(&transaction()).await.unwrap_err();
        assert!(matches!(busy, SubmitError::NotAccepted { .. }), "{busy}");
        let broken = TestServer::one(|_| Reply::Break(Status::unavailable("stopping")));
        let error = broken.client(quick()).submit(&transaction()).await.unwrap_err();
        assert!(matches!(error, SubmitError::OutcomeUnknown { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_repeated() {
        let server = TestServer::one(|_| Reply::Break(Status::already_exists("other work")));
        let error = server.client(quick()).submit(&transaction()).await.unwrap_err();
        assert!(matches!(error, SubmitError::IdReused { .. }), "{error}");
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalid_transaction_is_not_sent() {
        let server = TestServer::one(|_| Reply::Commit);
        assert!(matches!(server.client(quick()).submit(&Transaction::new()).await, Err(SubmitError::Invalid(_))));
        assert_eq!(server.requests().len(), 0);
    }
}
