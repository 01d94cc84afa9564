//! Events.

use super::{Malformed, field};
use crate::v1;
use bytes::Bytes;
use undoubt_vocabulary::{CorrelationId, Event, EventId, Incarnation, Partition, Position, Timestamp};

impl From<EventId> for v1::EventId {
    fn from(EventId { incarnation, position }: EventId) -> Self {
        v1::EventId { incarnation: Bytes::copy_from_slice(&incarnation.0), position: position.0 }
    }
}

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        v1::Event {
            position: event.position.0,
            incarnation: Bytes::copy_from_slice(&event.incarnation.0),
            topic: event.topic.as_str().to_owned(),
            partition: event.partition.0.into(),
            previous: event.previous.0,
            key: event.key,
            r#type: event.kind.as_str().to_owned(),
            schema: event.schema.into(),
            content_type: event.content_type.into(),
            data: event.data,
            published_at_us: event.published_at.0,
            version: event.version,
            correlation: event.correlation.0.to_bytes(),
            caused_by: event.causation.map(Into::into),
        }
    }
}

impl TryFrom<v1::EventId> for EventId {
    type Error = Malformed;

    fn try_from(id: v1::EventId) -> Result<Self, Malformed> {
        Ok(EventId { incarnation: Incarnation::try_from(&id.incarnation[..])?, position: Position(id.position) })
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Malformed;

    fn try_from(event: v1::Event) -> Result<Self, Malformed> {
        let id = |field| move |cause| Malformed::Id { field, cause };
        let no_partition = |_| Malformed::UnknownValue { field: "partition", value: i32::MAX };
        Ok(Event {
            position: Position(event.position),
            incarnation: Incarnation::try_from(&event.incarnation[..])?,
            topic: event.topic.parse().map_err(id("topic"))?,
            partition: Partition(u16::try_from(event.partition).map_err(no_partition)?),
            previous: Position(event.previous),
            key: event.key,
            kind: event.r#type.parse().map_err(id("type"))?,
            schema: event.schema.into(),
            content_type: event.content_type.into(),
            data: event.data,
            published_at: Timestamp(event.published_at_us),
            version: event.version,
            correlation: CorrelationId(field::tx(event.correlation)?),
            causation: event.caused_by.map(EventId::try_from).transpose()?,
        })
    }
}
