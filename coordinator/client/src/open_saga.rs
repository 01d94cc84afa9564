//! Open sagas: begun, joined by steps while the application runs, closed or cancelled.

use crate::client::Client;
use crate::connection::{Failure, Repeat};
use crate::error::{CancelError, InvalidSubmission, JoinError, SubmitError};
use crate::options::{LONGEST, Patience};
use crate::submission::{Terms, milliseconds};
use crate::submit::{Answer, decided, known};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_proto::convert::{KnownOutcome, Malformed};
use undoubt_proto::v1;
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::{InvalidId, InvalidSaga, ParticipantName, RetryPolicy, SagaStep, TxId, saga};
use undoubt_work::{Results, Work};

/// The way in which the steps of an open transaction are completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompletionOrder {
    /// All at once: none waits for another.
    #[default]
    Together,
    /// One by one, in the order in which they joined.
    AsJoined,
    /// One by one, the last that joined first.
    Reversed,
    /// All or none, by one two-phase commit that begins when it is closed. Each step is a branch then: it has a completion and nothing
    /// else, and there is one at each participant.
    TwoPhase,
}

/// The terms on which an open saga is begun.
#[derive(Clone, Debug)]
pub struct Opening {
    terms: Terms,
    completion_order: CompletionOrder,
    check_back: Option<OpenStep>,
    parent: Option<TxId>,
    owner_only: bool,
}

impl Opening {
    /// Returns the terms of a new saga under a new id, the text of a UUID of version 7.
    #[allow(clippy::new_without_default, reason = "every one is another: a default should be always the same")]
    pub fn new() -> Self {
        Opening::of(Terms::drawn())
    }

    /// Returns the terms of a saga under an id of the application's own. Draw it once for each thing to be done, and keep it: whoever
    /// knows it goes on with the saga.
    pub fn with_id(id: TxId) -> Self {
        Opening::of(Terms::under(id))
    }

    fn of(terms: Terms) -> Self {
        Opening {
            terms,
            completion_order: CompletionOrder::default(),
            check_back: None,
            parent: None,
            owner_only: false,
        }
    }

    /// Sets what is asked of a participant when the time is over, instead of turning the saga back: done closes it, a refusal by
    /// condition turns it back, anything else is asked again. So a local transaction and the steps that follow it are atomic: begin
    /// the saga, let the steps with completions join, commit the local transaction, close. Whoever answers that it has failed must
    /// have made its own later commit impossible.
    #[must_use]
    pub fn check_back(self, participant: &str, question: impl Into<Work>) -> Self {
        let check_back = Some(OpenStep::new(saga::CHECK_BACK, participant).action(question));
        Opening { check_back, ..self }
    }

    /// Makes it a part of another open saga of the same coordinator, with which it is closed and turned back. It may be closed before:
    /// then its steps are completed at once, and should its parent turn back, what was completed is undone.
    #[must_use]
    pub fn parent(self, parent: TxId) -> Self {
        Opening { parent: Some(parent), ..self }
    }

    /// Takes steps, a close and a cancellation from nobody but the identity that begins it; without, from whoever knows the id. The
    /// coordinator has to know who asks: a token or a certificate.
    #[must_use]
    pub fn owner_only(self) -> Self {
        Opening { owner_only: true, ..self }
    }

    /// Sets the time after which it is turned back unless it is closed before. Without, the coordinator's own default holds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// Sets the way in which steps are completed.
    #[must_use]
    pub fn completions(self, completion_order: CompletionOrder) -> Self {
        Opening { completion_order, ..self }
    }

    /// Sets the W3C trace context in which it is carried out, as [`crate::Saga::trace_context`] does.
    #[must_use]
    pub fn trace_context(mut self, traceparent: &str, tracestate: &str) -> Self {
        self.terms.trace(traceparent, tracestate);
        self
    }

    /// Returns the id under which it is begun.
    pub fn id(&self) -> &TxId {
        &self.terms.id
    }

    fn request(&self) -> Result<v1::BeginRequest, InvalidSubmission> {
        let encode = |step: &OpenStep| step.encode(saga::check_check_back);
        let completion_order = match self.completion_order {
            CompletionOrder::Together => v1::CompletionOrder::Together,
            CompletionOrder::AsJoined => v1::CompletionOrder::AsJoined,
            CompletionOrder::Reversed => v1::CompletionOrder::Reversed,
            CompletionOrder::TwoPhase => v1::CompletionOrder::TwoPhase,
        };
        Ok(v1::BeginRequest {
            tx: self.terms.id.to_bytes(),
            timeout_ms: self.terms.timeout.map_or(0, milliseconds),
            completion_order: completion_order.into(),
            trace_context: self.terms.trace_context.clone(),
            check_back: self.check_back.as_ref().map(encode).transpose()?,
            parent: self.parent.as_ref().map(TxId::to_bytes).unwrap_or_default(),
            owner_only: self.owner_only,
        })
    }
}

/// A step that joins an open saga: an action, its compensation, its completion, or some of these.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenStep {
    name: String,
    participant: String,
    action: Option<Work>,
    compensation: Option<Work>,
    completion: Option<Work>,
    retry: RetryPolicy,
}

impl OpenStep {
    /// Returns a step at a participant. Its name is unique within its saga: 1 to 64 characters of a-z A-Z 0-9 . _ -
    pub fn new(name: &str, participant: &str) -> Self {
        OpenStep {
            name: name.to_owned(),
            participant: participant.to_owned(),
            action: None,
            compensation: None,
            completion: None,
            retry: RetryPolicy::default(),
        }
    }

    /// Sets the action, which the coordinator has the participant do. A step without one leaves it to whoever has it join.
    #[must_use]
    pub fn action(self, action: impl Into<Work>) -> Self {
        OpenStep { action: Some(action.into()), ..self }
    }

    /// Sets what undoes the action if the saga is turned back. Needed with an action.
    #[must_use]
    pub fn undo(self, compensation: impl Into<Work>) -> Self {
        OpenStep { compensation: Some(compensation.into()), ..self }
    }

    /// Sets what follows once the saga is closed.
    #[must_use]
    pub fn complete(self, completion: impl Into<Work>) -> Self {
        OpenStep { completion: Some(completion.into()), ..self }
    }

    /// Sets how often and how fast it is tried.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        OpenStep { retry, ..self }
    }

    /// Returns its name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn to_wire(&self) -> Result<v1::SagaStep, InvalidSubmission> {
        self.encode(saga::check_joining)
    }

    fn encode(&self, check: impl Fn(&SagaStep) -> Result<(), InvalidSaga>) -> Result<v1::SagaStep, InvalidSubmission> {
        let participant: ParticipantName =
            self.participant.parse().map_err(|bad: InvalidId| InvalidSubmission::Name(bad))?;
        // What ends a step is given what its action handed back.
        let encode = |work: &Option<Work>, inputs: &[&str]| {
            let encode = |work: &Work| {
                let invalid = |cause| InvalidSubmission::Work { participant: participant.clone(), cause };
                let work = work.as_step_only().encode(inputs).map_err(invalid)?;
                let (length, max, participant) = (work.len(), MAX_WORK_BYTES, participant.clone());
                if length > max { Err(InvalidSubmission::WorkTooLarge { participant, length, max }) } else { Ok(work) }
            };
            work.as_ref().map(encode).transpose()
        };
        let step = SagaStep {
            name: self.name.parse().map_err(InvalidSubmission::Name)?,
            action: encode(&self.action, &[])?,
            compensation: encode(&self.compensation, &[&self.name])?,
            completion: encode(&self.completion, &[&self.name])?,
            participant,
            after: Vec::new(),
            uses: Vec::new(),
            pivot: false,
            retry: self.retry,
        };
        check(&step).map_err(InvalidSubmission::Saga)?;
        Ok(v1::SagaStep::from(&step))
    }
}

/// An open saga, by its id. Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct OpenSaga {
    client: Client,
    id: TxId,
}

/// The standing of a step that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Joined {
    /// It has no action here: whoever had it join may do the action now.
    Joined,
    /// Its action is under way; to have it join again tells what it came to.
    Running,
    /// Its action is in effect, and has handed this back.
    Done(Bytes),
    /// An operator has decided to go on without it.
    Skipped,
}

impl Client {
    /// Begins an open saga. Once this returns, that is on stable storage, and whoever knows the id goes on with it.
    ///
    /// # Errors
    /// [`JoinError::Over`]: it was begun before, and takes no steps any more.
    pub async fn begin(&self, opening: impl Into<Opening>) -> Result<OpenSaga, JoinError> {
        let opening = opening.into();
        let (tx, request) = (opening.id().clone(), opening.request().map_err(SubmitError::from)?);
        let attempt = || {
            let (mut coordinator, request) = (self.coordinator(), request.clone());
            async move { coordinator.begin(request).await }
        };
        let response: v1::BeginResponse = self.ask_about(&tx, attempt).await?;
        let known = known(response.outcome).map_err(|cause| malformed(&tx, cause))?;
        if known.decided.is_some() {
            return Err(JoinError::Over { tx, known: Box::new(known) });
        }
        Ok(self.open_saga(tx))
    }

    /// Returns the open saga with this id, which somebody has begun.
    pub fn open_saga(&self, id: TxId) -> OpenSaga {
        OpenSaga { client: self.clone(), id }
    }

    /// Asks what may be asked again, for as long as an answer is of use.
    async fn ask_about<T, F>(&self, tx: &TxId, attempt: impl FnMut() -> F) -> Result<T, SubmitError>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        self.ask_patiently_about(tx, Duration::ZERO, attempt).await
    }

    /// Asks, and waits for so much longer than for other answers.
    async fn ask_patiently_about<T, F>(
        &self,
        tx: &TxId,
        longer: Duration,
        attempt: impl FnMut() -> F,
    ) -> Result<T, SubmitError>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let patience = Patience::until(self.connection.options.deadline_from(Instant::now()) + longer.min(LONGEST));
        match self.connection.call_patiently(patience, Duration::ZERO, Repeat::Always, tx, attempt).await {
            Ok(response) => Ok(response),
            Err(Failure::Answered(status)) => Err(SubmitError::answered(&self.connection.address, tx.clone(), &status)),
            Err(Failure::Unanswered(cause)) => Err(SubmitError::unanswered(tx.clone(), cause)),
        }
    }
}

impl OpenSaga {
    /// Returns its id, by which others go on with it.
    pub fn id(&self) -> &TxId {
        &self.id
    }

    /// Has a step join and its action run; returns what that handed back. To run the same again is safe, and tells the same.
    ///
    /// # Errors
    /// [`JoinError::Refused`]: nothing of it is in effect, and the saga is as open as before. [`JoinError::Unanswered`]: it may be in
    /// effect; run it again, or cancel the saga.
    pub async fn run(&self, step: OpenStep) -> Result<Results, JoinError> {
        let name = step.name.clone();
        match self.join_in(&step, false).await? {
            Joined::Done(result) => Ok(Results::read(&result)),
            Joined::Joined | Joined::Running => Err(JoinError::NoAction { tx: self.id.clone(), step: name }),
            Joined::Skipped => Err(JoinError::Skipped { tx: self.id.clone(), step: name }),
        }
    }

    /// Has a step join, and waits for nothing more: once this returns, that is on stable storage. Of a step without an action the
    /// caller does the action himself, after this.
    pub async fn join(&self, step: OpenStep) -> Result<Joined, JoinError> {
        self.join_in(&step, true).await
    }

    async fn join_in(&self, step: &OpenStep, no_wait: bool) -> Result<Joined, JoinError> {
        use v1::join_response::State;
        let wire = step.to_wire().map_err(SubmitError::from)?;
        let request = v1::JoinRequest { tx: self.id.to_bytes(), step: Some(wire), no_wait };
        let attempt = || {
            let (mut coordinator, request) = (self.client.coordinator(), request.clone());
            async move { coordinator.join(request).await }
        };
        let response: v1::JoinResponse = self.client.ask_about(&self.id, attempt).await?;
        let (tx, name) = (self.id.clone(), step.name.clone());
        let state = response.state.ok_or(Malformed::Missing { field: "state" });
        match state.map_err(|cause| malformed(&tx, cause))? {
            State::Joined(v1::StepJoined {}) => Ok(Joined::Joined),
            State::Running(v1::StepRunning {}) => Ok(Joined::Running),
            State::Done(v1::StepDone { result, .. }) => Ok(Joined::Done(result)),
            State::Skipped(v1::StepSkippedByOperator {}) => Ok(Joined::Skipped),
            State::Refused(refusal) => {
                let refusal = refusal.try_into().map_err(|cause| malformed(&tx, cause))?;
                Err(JoinError::Refused { tx, step: name, refusal: Box::new(refusal) })
            }
            State::Unanswered(v1::StepUnanswered { attempts }) => {
                Err(JoinError::Unanswered { tx, step: name, attempts })
            }
            State::Ended(outcome) => {
                let known = KnownOutcome::try_from(outcome).map_err(|cause| malformed(&tx, cause))?;
                Err(JoinError::Over { tx, known: Box::new(known) })
            }
        }
    }

    /// Closes the saga and waits until every step is completed. Of a nested one the answer is [provisional](Answer::provisional). If somebody has cancelled it before, or its time was over, the answer
    /// is that it aborted.
    pub async fn close(&self) -> Result<Answer, SubmitError> {
        decided(&self.id, self.close_in(false, Duration::ZERO).await?)
    }

    /// Closes the saga as [`close`](Self::close) does, and has the answer wait, once it is decided, until it is applied everywhere, at most
    /// for so long, and tell the events that it has published.
    pub async fn close_applied(&self, within: Duration) -> Result<Answer, SubmitError> {
        decided(&self.id, self.close_in(false, within.max(Duration::from_millis(1))).await?)
    }

    /// Closes the saga; returns how it stands. From then on the coordinator carries it on.
    pub async fn close_no_wait(&self) -> Result<KnownOutcome, SubmitError> {
        self.close_in(true, Duration::ZERO).await
    }

    async fn close_in(&self, no_wait: bool, applied_within: Duration) -> Result<KnownOutcome, SubmitError> {
        let applied_within_ms = if applied_within.is_zero() { 0 } else { milliseconds(applied_within) };
        let request = v1::CloseRequest { tx: self.id.to_bytes(), no_wait, applied_within_ms };
        let attempt = || {
            let (mut coordinator, request) = (self.client.coordinator(), request.clone());
            async move { coordinator.close(request).await }
        };
        let response: v1::CloseResponse = self.client.ask_patiently_about(&self.id, applied_within, attempt).await?;
        known(response.outcome).map_err(|cause| SubmitError::Malformed { tx: self.id.clone(), cause })
    }

    /// Turns the saga back, and waits until every step is undone.
    pub async fn cancel(&self) -> Result<KnownOutcome, CancelError> {
        self.client.cancel(&self.id).await
    }
}

fn malformed(tx: &TxId, cause: Malformed) -> SubmitError {
    SubmitError::Malformed { tx: tx.clone(), cause }
}
