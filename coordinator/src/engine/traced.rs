//! The spans of transactions that are traced, made of what the core notes and sends.
//!
//! The core knows nothing of them. Of a transaction that is not traced nothing is kept, so it costs a look at an empty map.

mod transaction;

use super::Engine;
use crate::log::Traced;
use std::sync::Arc;
use transaction::{About, Transaction};
use undoubt_coordinator_core::{Note, Stage};
use undoubt_platform::traces::attributes::{INTERRUPTED, RECOVERED, TX};
use undoubt_platform::traces::ids::{span_of, trace_of};
use undoubt_platform::traces::{Span, SpanKind};
use undoubt_platform::{Clock, Traces};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    DigestMap, Epoch, ParticipantName, SpanId, Timestamp, ToParticipant, TraceContext, TraceId, TxId,
};

/// The name of a transaction's own span.
const TRANSACTION: &str = "transaction";

/// The transactions that are traced and open: no more than may be open.
pub(super) struct TracedTransactions {
    traces: Traces,
    /// The coordinator's name, which with its epoch tells its spans from those of other lives and of others.
    coordinator: Arc<str>,
    epoch: Epoch,
    /// The trace of the submission that is being put to the core.
    offered: Option<Offered>,
    open: DigestMap<TxId, Box<Transaction>>,
}

/// The trace of a submission.
enum Offered {
    ByCaller(TraceContext),
    /// It begins here.
    Own(TraceId),
}

impl TracedTransactions {
    pub(super) fn new(traces: Traces, coordinator: &str, epoch: Epoch) -> TracedTransactions {
        TracedTransactions { traces, coordinator: coordinator.into(), epoch, offered: None, open: DigestMap::new() }
    }

    /// Has the trace of a submission at hand until [`Self::put`]. A caller that brought a context has decided whether it is
    /// recorded.
    pub(super) fn offer(&mut self, tx: &TxId, by_caller: Option<&v1::TraceContext>) {
        let by_caller = by_caller.and_then(|given| self.traces.read(&given.traceparent, &given.tracestate));
        self.offered = match by_caller {
            Some(context) => context.sampled.then_some(Offered::ByCaller(context)),
            None if self.traces.is_on() => {
                let trace = trace_of(tx);
                self.traces.samples(trace).then_some(Offered::Own(trace))
            }
            None => None,
        };
    }

    /// The submission was put to the core, which has begun it or not.
    pub(super) fn put(&mut self) {
        self.offered = None;
    }

    fn begin(&mut self, now: Timestamp, tx: &TxId) {
        let Some(offered) = self.offered.take() else { return };
        let transaction = match offered {
            Offered::ByCaller(caller) if self.traces.is_on() => {
                let id = self.id_of(caller.trace, tx);
                Transaction::begun(
                    Span::begin(TRANSACTION, SpanKind::Server, id, &caller, now).with(TX, tx.to_string()),
                )
            }
            // Spans go nowhere from here, so participants are handed what the caller said.
            Offered::ByCaller(caller) => Transaction::handed_on(caller),
            Offered::Own(trace) => {
                let id = self.id_of(trace, tx);
                let own = TraceContext { trace, span: id, sampled: true, state: Default::default() };
                let mut span = Span::begin(TRANSACTION, SpanKind::Server, id, &own, now).with(TX, tx.to_string());
                (span.parent, span.parent_is_remote) = (None, false);
                Transaction::begun(span)
            }
        };
        self.open.insert(tx.clone(), Box::new(transaction));
    }

    /// Takes up a transaction that a former process left open. Its span ends as that of the former process, which has not told it;
    /// what follows belongs to another, with a link to it.
    pub(super) fn recover(&mut self, now: Timestamp, tx: &TxId, begun_at: Timestamp, traced: &Traced) {
        if !self.traces.is_on() {
            return;
        }
        let Traced { context, parent } = traced;
        let mut former = Span::begin(TRANSACTION, SpanKind::Server, context.span, context, begun_at);
        (former.parent, former.parent_is_remote) = (*parent, parent.is_some());
        self.traces.record(former.with(TX, tx.to_string()).with(INTERRUPTED, true).end(now));
        let id = self.id_of(context.trace, tx);
        let mut span = Span::begin(TRANSACTION, SpanKind::Internal, id, context, now);
        (span.parent, span.links) = (None, vec![context.span]);
        self.open.insert(tx.clone(), Box::new(Transaction::begun(span.with(TX, tx.to_string()).with(RECOVERED, true))));
    }

    /// Returns what is to be stored with the transaction's record, behind its history.
    pub(super) fn stored(&self, tx: &TxId) -> Option<Vec<u8>> {
        if self.open.is_empty() {
            return None;
        }
        self.open.get(tx)?.traced().map(|traced| traced.stored())
    }

    pub(super) fn noted(&mut self, now: Timestamp, tx: &TxId, note: &Note) {
        if self.offered.is_some()
            && matches!(note, Note::Begun { .. } | Note::SagaBegun { .. } | Note::Opened | Note::Chosen { .. })
        {
            self.begin(now, tx);
        }
        if self.open.is_empty() {
            return;
        }
        if let Some(transaction) = self.open.get_mut(tx) {
            transaction.noted(now, note, &self.traces);
        }
    }

    /// Returns the context that a message is sent in, if its transaction is traced.
    pub(super) fn sent(
        &mut self,
        now: Timestamp,
        to: &ParticipantName,
        message: &ToParticipant,
    ) -> Option<Box<TraceContext>> {
        if self.open.is_empty() {
            return None;
        }
        Some(Box::new(self.open.get_mut(message.tx())?.sent(now, to, message, &self.traces)))
    }

    pub(super) fn write_begins(&mut self, now: Timestamp, tx: &TxId, stage: Stage) {
        if self.open.is_empty() {
            return;
        }
        if let Some(transaction) = self.open.get_mut(tx) {
            transaction.write_begins(now, stage);
        }
    }

    pub(super) fn is_written(&mut self, clock: &dyn Clock, tx: &TxId, stage: Stage) {
        if self.open.is_empty() {
            return;
        }
        let now = clock.now();
        if let Some(transaction) = self.open.get_mut(tx) {
            transaction.over(now, &About::Write(stage), &self.traces, |_| {});
        }
    }

    pub(super) fn retired(&mut self, now: Timestamp, tx: &TxId) {
        if self.open.is_empty() {
            return;
        }
        if let Some(transaction) = self.open.remove(tx) {
            transaction.retired(now, &self.traces);
        }
    }

    fn id_of(&self, trace: TraceId, tx: &TxId) -> SpanId {
        let parts = [tx.as_bytes(), self.coordinator.as_bytes(), &self.epoch.0.to_be_bytes()];
        span_of(trace, TRANSACTION, &parts)
    }
}

impl Engine {
    /// The coordinator serves in this epoch, so its new spans are told from those of all before.
    pub(super) fn trace_in(&mut self, epoch: Epoch) {
        self.traced.epoch = epoch;
    }
}
