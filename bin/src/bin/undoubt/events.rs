//! `undoubt events`: the events that a participant publishes.

use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::output::{Format, json_line, line};
use bytes::Bytes;
use clap::Args;
use futures::StreamExt as _;
use serde::Serialize;
use std::pin::pin;
use undoubt_client::work::text::{from_string, to_string, to_word};
use undoubt_client::{EventNews, EventPlace, EventQuery};
use undoubt_vocabulary::{Event, Position, Timestamp, TopicName};

/// Shows the events that a participant has published, in the order in which they took effect.
#[derive(Debug, Args)]
pub struct Events {
    /// The participant's name, or its address.
    #[arg(value_name = "NAME|URL")]
    participant: String,
    /// Only events of this topic. May be repeated.
    #[arg(long)]
    topic: Vec<TopicName>,
    /// Only events with this key: text, or 0x and hexadecimal digits.
    #[arg(long, value_name = "KEY", value_parser = from_string)]
    with_key: Option<Bytes>,
    /// Begins behind this position.
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// At most this many.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Goes on with those that come, until interrupted.
    #[arg(long, short)]
    follow: bool,
}

/// An event as programs read it.
#[derive(Debug, Serialize)]
struct EventLine {
    position: u64,
    id: String,
    topic: String,
    partition: u16,
    previous: u64,
    key: String,
    r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    schema: String,
    content_type: String,
    data: serde_json::Value,
    published_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    correlation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<String>,
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> EventLine {
        let json = event.content_type == undoubt_vocabulary::event::JSON;
        let parsed = json.then(|| serde_json::from_slice(&event.data).ok()).flatten();
        EventLine {
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
            published_at: at(event.published_at),
            version: event.version,
            correlation: event.correlation.to_string(),
            caused_by: event.causation.map(|id| id.to_string()),
        }
    }
}

fn at(time: Timestamp) -> String {
    time.to_string()
}

/// Prints them. One is a line.
pub async fn events(arguments: &Events, global: &Global) -> Result<Exit, Failure> {
    let Events { participant, topic, with_key, after, limit, follow } = arguments;
    let after = EventPlace { position: Position(*after), incarnation: None };
    let mut query = topic.iter().cloned().fold(EventQuery::new().after(after), EventQuery::topic);
    query = with_key.iter().cloned().fold(query, EventQuery::key);
    query = limit.iter().copied().fold(query, EventQuery::limit);
    if !follow {
        query = query.until_now();
    }
    let client = global.participant_called(participant).await?;
    let mut news = pin!(client.events(query));
    while let Some(told) = news.next().await {
        match told? {
            EventNews::Events { events, .. } => {
                for event in &events {
                    let printed = print(event, global);
                    if printed.is_err() {
                        return Exit::shown(printed);
                    }
                }
            }
            EventNews::Interrupted { cause } => tracing::warn!("interrupted, going on: {cause}"),
            _ => {}
        }
    }
    Ok(Exit::Done)
}

/// Prints an event as a line.
pub fn print(event: &Event, global: &Global) -> std::io::Result<()> {
    match global.output {
        Format::Json => json_line(&EventLine::from(event)),
        Format::Table => line(shown(event)),
    }
}

fn shown(event: &Event) -> String {
    let Event { position, topic, partition, kind, key, data, version, published_at, correlation, .. } = event;
    let version = version.map(|version| format!(" v{version}")).unwrap_or_default();
    let (key, data) = (to_word(key), to_string(data));
    format!(
        "{position:>8}  {}  {topic}/{partition}  {kind}  {key}{version}  {data}  ({correlation})",
        at(*published_at)
    )
}
