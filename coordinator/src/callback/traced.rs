//! The spans of calls: one for each, as children of the transaction's.

use super::call::CallError;
use crate::log::{Log, Traced};
use tonic::transport::Uri;
use undoubt_platform::Traces;
use undoubt_platform::traces::attributes::ATTEMPT;
use undoubt_platform::traces::ids::span_of;
use undoubt_platform::traces::{Span, SpanKind};
use undoubt_vocabulary::{Epoch, Timestamp, TxId};

const CALLBACK: &str = "callback";

/// The destination of the spans of calls.
pub(super) struct CallSpans {
    pub(super) traces: Traces,
    /// It tells the calls of one life of the coordinator from those of another.
    pub(super) epoch: Epoch,
}

impl CallSpans {
    /// Returns the trace of a transaction, if it has one. A record that cannot be read is told by whoever needs it.
    pub(super) fn traced(&self, log: &Log, tx: &TxId) -> Option<Traced> {
        if !self.traces.is_on() {
            return None;
        }
        log.traced(tx).ok().flatten()
    }

    pub(super) fn begin(&self, traced: &Traced, url: &Uri, attempt: u32, now: Timestamp) -> Span {
        let context = &traced.context;
        let (own, place) = (context.span.bytes(), url.to_string());
        let parts: [&[u8]; 4] = [&own, place.as_bytes(), &self.epoch.0.to_be_bytes(), &attempt.to_be_bytes()];
        let id = span_of(context.trace, CALLBACK, &parts);
        let span = Span::begin(CALLBACK, SpanKind::Client, id, context, now)
            .with("http.request.method", "POST")
            .with("server.address", url.host().unwrap_or_default());
        let span = span.with(ATTEMPT, attempt + 1);
        match url.port_u16() {
            Some(port) => span.with("server.port", u32::from(port)),
            None => span,
        }
    }

    pub(super) fn end(&self, mut span: Span, called: &Result<(), CallError>, now: Timestamp) {
        span.failed = called.as_ref().err().map(ToString::to_string);
        self.traces.record(span.end(now));
    }
}
