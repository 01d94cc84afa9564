//! Spans: what a server did for one transaction, and when, as plain data.
//!
//! A server begins and ends them by the clock that its environment brings, and hands those that are over to [`Traces`]. Ids are
//! derived ([`ids`]), never drawn, so the same run has the same ones. Which transactions are traced is decided once, by the caller
//! or by the trace's id ([`TracesConfig::sample_percent`]); of all others nothing is kept.

pub mod attributes;
mod config;
pub mod ids;

use crate::metrics::{Metric, Tell, Telling};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use undoubt_vocabulary::{SpanId, Timestamp, TraceContext, TraceId, TraceState};

pub use config::{BadTraces, Sampling, TracesConfig, collector};

/// Events of one span; those in the middle of more are left out, and counted.
pub const MAX_EVENTS_PER_SPAN: usize = 64;

/// A piece of work that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub name: &'static str,
    pub kind: SpanKind,
    pub trace: TraceId,
    pub id: SpanId,
    /// The span for which it was done; `None`: it is a root.
    pub parent: Option<SpanId>,
    /// True if that is a span of another process.
    pub parent_is_remote: bool,
    pub state: TraceState,
    pub began: Timestamp,
    pub ended: Timestamp,
    pub attributes: Vec<(&'static str, Value)>,
    pub events: Vec<SpanEvent>,
    pub events_left_out: u32,
    /// Spans of the same trace that it belongs to and is no child of.
    pub links: Vec<SpanId>,
    /// The reason why it came to nothing, if it did.
    pub failed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// It asks another process.
    Client,
    /// It was asked by another process.
    Server,
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// A moment within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanEvent {
    pub name: &'static str,
    pub at: Timestamp,
    pub detail: String,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl Span {
    /// Returns a span that begins, for the span of its context.
    pub fn begin(name: &'static str, kind: SpanKind, id: SpanId, context: &TraceContext, began: Timestamp) -> Span {
        Span {
            name,
            kind,
            trace: context.trace,
            id,
            parent: Some(context.span),
            parent_is_remote: kind == SpanKind::Server,
            state: context.state.clone(),
            began,
            ended: began,
            attributes: Vec::new(),
            events: Vec::new(),
            events_left_out: 0,
            links: Vec::new(),
            failed: None,
        }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Span {
        self.set(name, value);
        self
    }

    /// Says something of it, in place of what was said under this name.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.retain(|(known, _)| *known != name);
        self.attributes.push((name, value.into()));
    }

    /// Adds a moment. Of too many the first ones stay, and the last.
    pub fn happened(&mut self, name: &'static str, at: Timestamp, detail: String) {
        if self.events.len() == MAX_EVENTS_PER_SPAN {
            self.events.pop();
            self.events_left_out += 1;
        }
        self.events.push(SpanEvent { name, at, detail });
    }

    /// Returns the span as it ends. A clock that was set back has it last no time.
    #[must_use]
    pub fn end(mut self, at: Timestamp) -> Span {
        self.ended = at.max(self.began);
        self
    }

    /// Returns the context of what is done for this span.
    pub fn context(&self) -> TraceContext {
        TraceContext { trace: self.trace, span: self.id, sampled: true, state: self.state.clone() }
    }
}

/// Takes spans that are over. It never waits.
pub trait Tracer: Send + Sync + 'static {
    /// Returns false if there was no room for it.
    fn record(&self, span: Span) -> bool;
}

/// The destination of a server's spans, and the choice of transactions that have some. Clones are the same; the default is nowhere, and none.
#[derive(Clone, Default)]
pub struct Traces {
    tracer: Option<Arc<dyn Tracer>>,
    sampling: Sampling,
    figures: Arc<SpanFigures>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Traces {
    pub fn new(tracer: Arc<dyn Tracer>, sampling: Sampling, figures: Arc<SpanFigures>) -> Traces {
        Traces { tracer: Some(tracer), sampling, figures }
    }

    /// Returns true if spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.tracer.is_some()
    }

    /// Returns true if a trace that begins here is one of those that are recorded.
    pub fn samples(&self, trace: TraceId) -> bool {
        self.is_on() && self.sampling.takes(trace)
    }

    pub fn record(&self, span: Span) {
        if let Some(tracer) = &self.tracer {
            self.figures.recorded.fetch_add(1, Ordering::Relaxed);
            if !tracer.record(span) {
                self.figures.lost(1);
            }
        }
    }

    pub fn figures(&self) -> Arc<SpanFigures> {
        self.figures.clone()
    }

    /// Reads a context as it came; `None` if it is none, which is counted, or is not to be recorded.
    pub fn read(&self, traceparent: &str, tracestate: &str) -> Option<TraceContext> {
        match TraceContext::read(traceparent, tracestate) {
            Ok(context) => Some(context),
            Err(bad) => {
                self.figures.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%bad, "a trace context is ignored");
                None
            }
        }
    }
}

/// The counts of spans.
#[derive(Debug, Default)]
pub struct SpanFigures {
    recorded: AtomicU64,
    lost: AtomicU64,
    unreadable: AtomicU64,
}

/// The metrics of spans.
pub const METRICS: &[Metric] = &[RECORDED, LOST, UNREADABLE];

const RECORDED: Metric = Metric::counter("undoubt_spans", &[], "Spans of transactions that are traced");
const LOST: Metric = Metric::counter(
    "undoubt_spans_lost",
    &[],
    "Spans that were left out: too many waited for the collector, or it did not take them in time",
);
const UNREADABLE: Metric = Metric::counter(
    "undoubt_trace_contexts_ignored",
    &[],
    "Trace contexts that could not be read; what came with them was done without a trace",
);

impl SpanFigures {
    pub fn lost(&self, spans: usize) {
        self.lost.fetch_add(spans as u64, Ordering::Relaxed);
    }
}

impl Tell for Arc<SpanFigures> {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        telling.one(&RECORDED, self.recorded.load(Ordering::Relaxed))?;
        telling.one(&LOST, self.lost.load(Ordering::Relaxed))?;
        telling.one(&UNREADABLE, self.unreadable.load(Ordering::Relaxed))
    }
}

/// Keeps all spans, for tests and the simulation.
#[derive(Debug, Default)]
pub struct KeptSpans(Mutex<Vec<Span>>);

impl Tracer for KeptSpans {
    fn record(&self, span: Span) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        true
    }
}

impl KeptSpans {
    /// Returns what it has kept so far, in the order in which it ended.
    pub fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        let context = TraceContext::read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "").unwrap();
        Span::begin("prepare", SpanKind::Client, SpanId::new([7; 8]).unwrap(), &context, Timestamp(9))
    }

    #[test]
    fn a_span_with_many_events_keeps_the_first_and_the_last() {
        let mut span = span();
        for number in 0..1_000 {
            span.happened("retried", Timestamp(number), number.to_string());
        }
        assert_eq!(
            (span.events.len(), span.events_left_out),
            (MAX_EVENTS_PER_SPAN, 1_000 - MAX_EVENTS_PER_SPAN as u32)
        );
        assert_eq!((span.events[0].at.0, span.events[MAX_EVENTS_PER_SPAN - 1].at.0), (0, 999));
    }

    #[test]
    fn a_clock_that_is_set_back_has_a_span_last_no_time() {
        assert_eq!(span().end(Timestamp(3)).ended, Timestamp(9));
    }

    #[test]
    fn spans_for_which_there_is_no_room_are_counted_and_nothing_goes_where_traces_are_off() {
        struct Full;
        impl Tracer for Full {
            fn record(&self, _: Span) -> bool {
                false
            }
        }
        let traces = Traces::new(Arc::new(Full), Sampling::default(), Arc::default());
        traces.record(span());
        assert_eq!(
            (traces.figures.recorded.load(Ordering::Relaxed), traces.figures.lost.load(Ordering::Relaxed)),
            (1, 1)
        );
        let off = Traces::default();
        off.record(span());
        assert!(!off.is_on() && off.figures.recorded.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn a_context_that_cannot_be_read_is_counted() {
        let traces = Traces::default();
        assert_eq!(traces.read("nonsense", ""), None);
        assert_eq!(traces.figures.unreadable.load(Ordering::Relaxed), 1);
    }
}
