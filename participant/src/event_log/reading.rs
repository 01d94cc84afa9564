//! The way of readers into a log.

use super::{EventLog, State, record, unreadable};
use crate::event_log::{
    After, EVENT, EventSource, EventsRead, KeepError, LogState, MAX_READ_BYTES, MAX_READ_EVENTS, ReadError, Readers,
};
use crate::resource::ResourceError;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use prost::Message as _;
use tokio::sync::watch;
use undoubt_platform::Direction;
use undoubt_proto::record::StoredEvent;
use undoubt_stream::retention::{Keep, Reader};
use undoubt_vocabulary::{Event, Incarnation, Position, ReaderName, Topic};

/// Events that are read from the store at once.
const READ_AT_ONCE: usize = 64;

impl State {
    /// Returns the place after which a reader goes on: one that has taken nothing, behind what was dropped.
    pub(super) fn begin(&self, after: After) -> After {
        if after.position > Position::START {
            return after;
        }
        let position = self.retention.trimmed().position;
        After { position, incarnation: self.incarnation_at(position) }
    }

    fn incarnation_at(&self, position: Position) -> Option<Incarnation> {
        self.incarnations.at(position)
    }

    /// Refuses a reader that has taken what the log does not have.
    pub(super) fn admit(&self, after: After) -> Result<(), ReadError> {
        let trimmed = self.retention.trimmed().position;
        if after.position < trimmed {
            return Err(ReadError::Trimmed { after: after.position, first: trimmed.next() });
        }
        self.incarnations.admit(after, self.positions.stable())
    }
}

impl EventLog {
    pub(super) fn read_after(&self, after: After) -> Result<EventsRead, ReadError> {
        let (stable, after) = {
            let state = self.state();
            let after = state.begin(after);
            state.admit(after)?;
            (state.positions.stable(), after)
        };
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut through = after.position;
        while through < stable && events.len() < MAX_READ_EVENTS && bytes < MAX_READ_BYTES {
            // Few at a time, for each may be large.
            let limit = READ_AT_ONCE.min(MAX_READ_EVENTS - events.len());
            let (from, to) = (through.next().0.to_be_bytes(), stable.next().0.to_be_bytes());
            let page =
                self.store.scan(EVENT, &from, Some(&to), Direction::Forward, limit).map_err(ResourceError::from)?;
            let Some((first, _)) = page.first() else {
                return Err(ReadError::Trimmed { after: through, first: stable.next() });
            };
            let first = Position(record::number(first).map_err(|cause| unreadable(EVENT, first, &cause))?);
            if first != through.next() {
                return Err(ReadError::Trimmed { after: through, first });
            }
            for (key, value) in page {
                through = through.next();
                bytes += value.len();
                let stored = StoredEvent::decode(value).map_err(|cause| unreadable(EVENT, &key, &cause.into()))?;
                events.push(self.event(through, stored).map_err(|cause| unreadable(EVENT, &key, &cause))?);
            }
        }
        let incarnation = self.state().incarnation_at(through);
        Ok(EventsRead { events, through: After { position: through, incarnation }, stable })
    }

    fn event(&self, position: Position, stored: StoredEvent) -> Result<Event, record::Unreadable> {
        let incarnation = self.state().incarnation_at(position).unwrap_or(self.incarnation);
        record::read(position, incarnation, stored)
    }

    pub(super) fn look(&self) -> LogState {
        let state = self.state();
        let (stable, first) = (state.positions.stable(), state.retention.trimmed().position.next());
        let kept_bytes = state.retention.kept_bytes(state.bytes);
        LogState { first, stable, incarnation: self.incarnation, kept_bytes }
    }
}

impl EventSource for EventLog {
    fn topics(&self) -> &[Topic] {
        self.topics.as_slice()
    }

    fn stable(&self) -> watch::Receiver<Position> {
        self.stable.subscribe()
    }

    fn state(&self) -> BoxFuture<'_, Result<LogState, ResourceError>> {
        ready(Ok(self.look())).boxed()
    }

    fn read(&self, after: After) -> BoxFuture<'_, Result<EventsRead, ReadError>> {
        ready(self.read_after(after)).boxed()
    }

    fn keep(&self, reader: ReaderName, after: After, anew: bool) -> BoxFuture<'_, Result<Position, KeepError>> {
        self.keep_for(reader, after, anew).boxed()
    }

    fn readers(&self) -> BoxFuture<'_, Result<Readers, ResourceError>> {
        ready(Ok(self.registered())).boxed()
    }

    fn forget(&self, reader: ReaderName) -> BoxFuture<'_, Result<bool, ResourceError>> {
        self.forget_reader(reader).boxed()
    }

    fn trim(&self, keep: Keep) -> BoxFuture<'_, Result<Vec<(ReaderName, Reader)>, ResourceError>> {
        self.drop_old(keep).boxed()
    }
}
