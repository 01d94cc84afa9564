//! What can be submitted, of whatever kind.

use crate::auto::Auto;
use crate::error::InvalidSubmission;
use crate::saga::Saga;
use crate::transaction::Transaction;
use std::time::Duration;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;
use uuid::Uuid;

/// Anything that can be submitted. The builders, and references to them, turn into it by themselves where it is wanted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Submission {
    /// By two-phase commit.
    Transaction(Transaction),
    /// Step by step.
    Saga(Saga),
    /// As the coordinator chooses.
    Auto(Auto),
}

impl Submission {
    /// Returns the id under which it is submitted.
    pub fn id(&self) -> &TxId {
        &self.terms().id
    }

    /// Sets the time for which the coordinator tries to reach a commit, as the builders do.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms_mut().timeout = Some(timeout);
        self
    }

    /// Sets the URL that hears the outcome, as the builders do.
    #[must_use]
    pub fn callback(mut self, url: &str) -> Self {
        self.terms_mut().callback = Some(url.to_owned());
        self
    }

    /// Sets the trace in which it is carried out, as the builders do.
    #[must_use]
    pub fn trace_context(mut self, traceparent: &str, tracestate: &str) -> Self {
        self.terms_mut().trace(traceparent, tracestate);
        self
    }

    /// Has the answer wait, once it is decided, until it is applied everywhere, at most for so long, and tell the events that it has
    /// published. For [`Client::submit`](crate::Client::submit) alone. A minute at most.
    #[must_use]
    pub fn applied_within(mut self, within: Duration) -> Self {
        self.terms_mut().applied_within = Some(within);
        self
    }

    /// Returns the time for which its application is waited for once it is decided, if it is.
    pub(crate) fn own_applied_within(&self) -> Option<Duration> {
        self.terms().applied_within
    }

    /// Returns the time for which the coordinator tries to reach a commit, if that was given.
    pub fn own_timeout(&self) -> Option<Duration> {
        self.terms().timeout
    }

    /// Returns the request that submits it, or what is wrong with it.
    pub(crate) fn request(&self) -> Result<v1::SubmitRequest, InvalidSubmission> {
        match self {
            Submission::Transaction(transaction) => transaction.request(),
            Submission::Saga(saga) => saga.request(),
            Submission::Auto(auto) => auto.request(),
        }
    }

    fn terms(&self) -> &Terms {
        match self {
            Submission::Transaction(transaction) => &transaction.terms,
            Submission::Saga(saga) => &saga.terms,
            Submission::Auto(auto) => &auto.saga.terms,
        }
    }

    fn terms_mut(&mut self) -> &mut Terms {
        match self {
            Submission::Transaction(transaction) => &mut transaction.terms,
            Submission::Saga(saga) => &mut saga.terms,
            Submission::Auto(auto) => &mut auto.saga.terms,
        }
    }
}

impl From<Transaction> for Submission {
    fn from(transaction: Transaction) -> Self {
        Submission::Transaction(transaction)
    }
}

impl From<Saga> for Submission {
    fn from(saga: Saga) -> Self {
        Submission::Saga(saga)
    }
}

impl From<Auto> for Submission {
    fn from(auto: Auto) -> Self {
        Submission::Auto(auto)
    }
}

/// So that whoever may have to submit the very same again keeps it.
impl<T: Clone> From<&T> for Submission
where
    Submission: From<T>,
{
    fn from(kept: &T) -> Self {
        kept.clone().into()
    }
}

/// What a submission says beside its work.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) id: TxId,
    pub(crate) timeout: Option<Duration>,
    pub(crate) callback: Option<String>,
    pub(crate) trace_context: Option<v1::TraceContext>,
    pub(crate) applied_within: Option<Duration>,
}

impl Terms {
    pub(crate) fn under(id: TxId) -> Self {
        Terms { id, timeout: None, callback: None, trace_context: None, applied_within: None }
    }

    /// Returns the terms of something new, under an id that nobody has drawn before: the text of a UUID of version 7.
    pub(crate) fn drawn() -> Self {
        let id = TxId::new(Uuid::now_v7().to_string()).expect("a UUID's text has 36 bytes, and an id may have 64");
        Terms::under(id)
    }

    /// Sets the trace context, as it stands in the headers of HTTP.
    pub(crate) fn trace(&mut self, traceparent: &str, tracestate: &str) {
        let (traceparent, tracestate) = (traceparent.to_owned(), tracestate.to_owned());
        self.trace_context = Some(v1::TraceContext { traceparent, tracestate });
    }

    /// Returns a request that lacks the work.
    pub(crate) fn request(&self, mode: v1::Mode) -> v1::SubmitRequest {
        v1::SubmitRequest {
            tx: self.id.to_bytes(),
            mode: mode.into(),
            timeout_ms: self.timeout.map_or(0, milliseconds),
            callback: self.callback.clone().unwrap_or_default(),
            trace_context: self.trace_context.clone(),
            applied_within_ms: self.applied_within.map_or(0, milliseconds),
            ..v1::SubmitRequest::default()
        }
    }
}

/// At least 1, because 0 asks for the coordinator's default.
pub(crate) fn milliseconds(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Step;
    use undoubt_work::Work;

    fn each() -> [Submission; 3] {
        let saga = Saga::new().step(Step::new("pay", "a", Work::raw("w")).pivot());
        [Transaction::new().on("a", Work::raw("w")).into(), (&saga).into(), saga.auto().into()]
    }

    #[test]
    fn each_kind_is_submitted_in_its_own_mode() {
        let modes = each().map(|submission| submission.request().unwrap().mode());
        assert_eq!(modes, [v1::Mode::TwoPhase, v1::Mode::Saga, v1::Mode::Auto]);
    }

    #[test]
    fn every_new_one_has_an_id_of_its_own() {
        assert_ne!(Transaction::new().id(), Transaction::new().id());
        assert_ne!(Saga::new().id(), Saga::new().id());
    }

    #[test]
    fn a_callback_is_asked_for_in_every_mode() {
        for submission in each() {
            assert_eq!(submission.callback("http://a/done").request().unwrap().callback, "http://a/done");
        }
    }

    #[test]
    fn a_trace_context_goes_along_in_every_mode_and_is_none_of_the_content() {
        for submission in each() {
            let without = submission.request().unwrap();
            let traced = submission.trace_context("00-1-2-01", "a=b").request().unwrap();
            let context = traced.trace_context.clone().unwrap();
            assert_eq!((context.traceparent.as_str(), context.tracestate.as_str()), ("00-1-2-01", "a=b"));
            assert_eq!(v1::SubmitRequest { trace_context: None, ..traced }, without);
        }
    }

    #[test]
    fn a_timeout_is_never_taken_for_the_default() {
        for submission in each() {
            let ms = |timeout| submission.clone().timeout(timeout).request().unwrap().timeout_ms;
            assert_eq!((ms(Duration::ZERO), ms(Duration::from_millis(250)), ms(Duration::MAX)), (1, 250, u32::MAX));
        }
    }
}
