//! The readers for which events are kept, and the end of those that nobody needs.
//!
//! Each change is made in memory under the lock that orders the log's writes, when its write is queued: a reader that registers is counted
//! by the next trim, and a trim is known to the next reader that registers.

use super::{EVENT, EVENT_LOG, EventLog, KeepError, ReadError, Readers, State, record, unreadable};
use crate::event_log::After;
use crate::resource::ResourceError;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use prost::Message as _;
use std::collections::BTreeSet;
use undoubt_platform::{Batch, Direction, Durability, StoreError, Written};
use undoubt_proto::record::StoredEvent;
use undoubt_stream::retention::{Keep, NotKept, Reader, Trim};
use undoubt_vocabulary::{Position, ReaderName};

/// Events that are read at once to find those of entities, which stay.
const LOOKED_AT_ONCE: usize = 256;

impl EventLog {
    pub(super) async fn keep_for(&self, name: ReaderName, after: After, anew: bool) -> Result<Position, KeepError> {
        let (trimmed, written) = {
            let mut state = self.state();
            state.admit(state.begin(after))?;
            let reader = state.retention.keep(&name, after.position, anew, self.clock.now()).map_err(refused)?;
            let mut batch = Batch::default();
            batch.put(EVENT_LOG, record::reader_key(&name), record::reader(reader).encode_to_vec());
            // Of one for whom events are kept, an older position is the worst that a crash can leave.
            let known = state.retention.readers().get(&name).filter(|known| known.dropped_at.is_none());
            let is_new = known.is_none_or(|known| known.after > reader.after);
            let durability = if is_new { Durability::Forced } else { Durability::Lazy };
            let written = queued(self.store.write(batch, durability)).map_err(ReadError::from)?;
            state.retention.note_reader(name, reader);
            (state.retention.trimmed().position, written)
        };
        written.await.map_err(|error| ReadError::from(ResourceError::from(error)))?;
        Ok(trimmed)
    }

    pub(super) fn registered(&self) -> Readers {
        let state = self.state();
        let readers = state.retention.readers().iter().map(|(name, reader)| (name.clone(), *reader)).collect();
        let (stable, kept_bytes) = (state.positions.stable(), state.retention.kept_bytes(state.bytes));
        Readers { readers, stable, kept_bytes }
    }

    pub(super) async fn forget_reader(&self, name: ReaderName) -> Result<bool, ResourceError> {
        let written = {
            let mut state = self.state();
            if !state.retention.readers().contains_key(&name) {
                return Ok(false);
            }
            let mut batch = Batch::default();
            batch.delete(EVENT_LOG, record::reader_key(&name));
            let written = queued(self.store.write(batch, Durability::Forced))?;
            state.retention.forget(&name);
            written
        };
        written.await?;
        Ok(true)
    }

    pub(super) async fn drop_old(&self, keep: Keep) -> Result<Vec<(ReaderName, Reader)>, ResourceError> {
        let (dropped, written, goes) = {
            let mut state = self.state();
            let stable = state.positions.stable();
            let Some(trim) = state.retention.due(keep, self.clock.now(), state.bytes, stable) else {
                return Ok(Vec::new());
            };
            let mut batch = Batch::default();
            let goes = (state.retention.trimmed().position.next(), trim.through.position);
            state.put_trim(&trim, &mut batch);
            if !self.has_entities() {
                batch.delete_range(EVENT, [], goes.1.next().0.to_be_bytes());
            }
            let dropped = trim.dropped.clone();
            let written = queued(self.store.write(batch, Durability::Forced))?;
            state.note_trim(trim);
            (dropped, written, goes)
        };
        written.await?;
        if self.has_entities() {
            self.drop_all_but_entities(goes).await?;
        }
        Ok(dropped)
    }

    fn has_entities(&self) -> bool {
        self.topics.as_slice().iter().any(|topic| topic.sourced)
    }

    /// Drops the events between two positions, both included, save those of entities: an entity is what all of its events come to.
    async fn drop_all_but_entities(&self, (first, last): (Position, Position)) -> Result<(), ResourceError> {
        let sourced: BTreeSet<&str> =
            self.topics.as_slice().iter().filter(|topic| topic.sourced).map(|topic| topic.name.as_str()).collect();
        let (mut from, to) = (first, last.next().0.to_be_bytes());
        loop {
            let page = self.store.scan(EVENT, &from.0.to_be_bytes(), Some(&to), Direction::Forward, LOOKED_AT_ONCE)?;
            let Some((key, _)) = page.last() else { return Ok(()) };
            from = Position(record::number(key).map_err(|cause| unreadable(EVENT, key, &cause))?).next();
            let mut batch = Batch::default();
            for (key, value) in &page {
                let event =
                    StoredEvent::decode(value.clone()).map_err(|cause| unreadable(EVENT, key, &cause.into()))?;
                if !sourced.contains(event.topic.as_str()) {
                    batch.delete(EVENT, key);
                }
            }
            self.store.write(batch, Durability::Lazy).await?;
        }
    }
}

impl State {
    /// Puts what is stored of a trim into a batch, save the events that go.
    fn put_trim(&self, Trim { through, dropped }: &Trim, batch: &mut Batch) {
        batch.put(EVENT_LOG, record::TRIMMED, record::mark(*through).encode_to_vec());
        batch.delete_range(EVENT_LOG, record::MARK, record::mark_key(through.position.next()));
        for (name, reader) in dropped {
            batch.put(EVENT_LOG, record::reader_key(name), record::reader(*reader).encode_to_vec());
        }
        // The incarnation of the last event that goes is still compared: a reader may have come just there.
        if let Some(first) = self.incarnations.first_of(through.position) {
            batch.delete_range(EVENT_LOG, record::INCARNATION, record::incarnation_key(first));
        }
    }

    fn note_trim(&mut self, trim: Trim) {
        self.incarnations.forget_before(trim.through.position);
        self.retention.note_trim(trim);
    }
}

/// Returns a write that is on its way; an error if it was refused at once, and nothing will come of it.
fn queued(mut written: Written) -> Result<BoxFuture<'static, Result<(), StoreError>>, ResourceError> {
    match (&mut written).now_or_never() {
        Some(Err(refused)) => Err(refused.into()),
        Some(Ok(())) => Ok(ready(Ok(())).boxed()),
        None => Ok(written.boxed()),
    }
}

fn refused(not_kept: NotKept) -> KeepError {
    match not_kept {
        NotKept::Trimmed { after, first } => ReadError::Trimmed { after, first }.into(),
        NotKept::TooMany => KeepError::TooMany,
    }
}
