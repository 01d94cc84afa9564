//! Events that participants publish.

use schemars::JsonSchema;
use serde::Serialize;
use undoubt_client::work::text::to_string;
use undoubt_vocabulary::Event;
use undoubt_vocabulary::event::JSON;

/// An event that a participant has published.
#[derive(Debug, JsonSchema, Serialize)]
pub struct PublishedEvent {
    /// Its place in the participant's log, from 1 without gaps over all topics.
    pub position: u64,
    /// The incarnation of the log that published it, and the position, joined by `-`. No other event has it.
    pub id: String,
    pub topic: String,
    /// Events with one key are in one partition, and in order there.
    pub partition: u16,
    /// The position of the event before it in its topic's partition; 0: it is the first.
    pub previous: u64,
    pub key: String,
    pub r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema: String,
    pub content_type: String,
    /// JSON where that is its content type; else text, or `0x` and hexadecimal digits.
    pub data: serde_json::Value,
    pub published_at: String,
    /// The version of its entity from then on, of a topic that is sourced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The id of the transaction or of the choreographed saga.
    pub correlation: String,
    /// The id of the event that led to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<String>,
}

impl From<&Event> for PublishedEvent {
    fn from(event: &Event) -> PublishedEvent {
        let parsed = (event.content_type == JSON).then(|| serde_json::from_slice(&event.data).ok()).flatten();
        PublishedEvent {
            position: event.position.0,
            id: event.id().to_string(),
            topic: event.topic.to_string(),
            partition: event.partition.0,
            previous: event.previous.0,
            key: to_string(&event.key),
            r#type: event.kind.to_string(),
            schema: event.schema.to_string(),
            content_type: event.content_type.to_string(),
            data: parsed.unwrap_or_else(|| to_string(&event.data).into()),
            published_at: event.published_at.to_string(),
            version: event.version,
            correlation: event.correlation.to_string(),
            caused_by: event.causation.map(|id| id.to_string()),
        }
    }
}
