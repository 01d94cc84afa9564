//! The trace of a transaction, as it is stored with its record.

use super::{ENDED, Log, LogError, OPEN, unreadable};
use bytes::Bytes;
use prost::Message as _;
use undoubt_proto::record;
use undoubt_vocabulary::{SpanId, TraceContext, TraceId, TraceState, TxId};

/// The span of a transaction whose trace is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traced {
    /// Its own span.
    pub(crate) context: TraceContext,
    /// The caller's.
    pub(crate) parent: Option<SpanId>,
}

impl Traced {
    /// Returns the field of its record that says it, which both kinds of records have under the same number.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let Traced { context, parent } = self;
        let traced = record::Traced {
            trace_id: Bytes::copy_from_slice(&context.trace.bytes()),
            span_id: Bytes::copy_from_slice(&context.span.bytes()),
            parent_span_id: parent.map_or_else(Bytes::new, |parent| Bytes::copy_from_slice(&parent.bytes())),
            trace_state: context.state.as_str().to_owned(),
        };
        record::OpenTransaction { traced: Some(traced), ..record::OpenTransaction::default() }.encode_to_vec()
    }

    /// Returns what was stored. What cannot be read is as if it were not there: it concerns no outcome.
    pub(super) fn read(stored: Option<&record::Traced>) -> Option<Traced> {
        let stored = stored?;
        let trace = TraceId::new(stored.trace_id[..].try_into().ok()?)?;
        let span = |id: &Bytes| SpanId::new(id[..].try_into().ok()?);
        let state = TraceState::read(&stored.trace_state);
        let context = TraceContext { trace, span: span(&stored.span_id)?, sampled: true, state };
        Some(Traced { context, parent: span(&stored.parent_span_id) })
    }
}

impl Log {
    /// Returns the trace of a transaction that has a record.
    pub(crate) fn traced(&self, tx: &TxId) -> Result<Option<Traced>, LogError> {
        let key = tx.as_bytes();
        if let Some(open) = self.store.get(OPEN, key)? {
            let open = record::OpenTransaction::decode(open).map_err(|why| unreadable(key, OPEN, why.into()))?;
            return Ok(Traced::read(open.traced.as_ref()));
        }
        let Some(ended) = self.store.get(ENDED, key)? else { return Ok(None) };
        let ended = record::EndedTransaction::decode(ended).map_err(|why| unreadable(key, ENDED, why.into()))?;
        Ok(Traced::read(ended.traced.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Apart, in_memory};
    use undoubt_coordinator_core::{EndedRecord, OpenKind, OpenRecord, Record};
    use undoubt_platform::{Batch, Durability};
    use undoubt_vocabulary::{AttemptNumber, Timestamp};

    #[tokio::test]
    async fn the_trace_of_a_transaction_is_read_back_while_it_is_open_and_when_it_has_ended() {
        let tx: TxId = "t".parse().unwrap();
        let context = TraceContext::read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b").unwrap();
        let open = OpenRecord {
            kind: OpenKind::Committed,
            tx: tx.clone(),
            attempt_number: AttemptNumber(7),
            begun_at: Timestamp(1),
            digest: [1; 32],
            participants: vec!["bank".parse().unwrap()],
            read_only: Vec::new(),
            results: Vec::new(),
        };
        let ended = EndedRecord::presumed(tx.clone(), AttemptNumber(7), Timestamp(2));
        for parent in [None, SpanId::new([3; 8])] {
            let log = Log::new(in_memory());
            let traced = Traced { context: context.clone(), parent };
            for record in [Record::Open(open.clone()), Record::Ended(ended.clone())] {
                let mut batch = Batch::default();
                Log::put(&mut batch, &record, Timestamp(3), &traced.stored(), &mut Apart::default());
                log.write(batch, Durability::Forced).await.unwrap();
                assert_eq!(log.traced(&tx).unwrap(), Some(traced.clone()));
                let found = log.unfinished().unwrap();
                assert!(found.iter().all(|found| found.traced == Some(traced.clone())));
                assert_eq!(found.len(), usize::from(matches!(record, Record::Open(_))));
                assert_eq!(log.ended(&tx).unwrap().is_some(), found.is_empty());
            }
            assert_eq!(log.traced(&"u".parse().unwrap()).unwrap(), None);
        }
    }

    #[test]
    fn a_stored_trace_that_cannot_be_read_is_none() {
        let bad = record::Traced { trace_id: Bytes::from_static(b"short"), ..record::Traced::default() };
        assert_eq!((Traced::read(Some(&bad)), Traced::read(None)), (None, None));
    }
}
