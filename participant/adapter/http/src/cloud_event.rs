//! An event as the body of a request: [CloudEvents](https://cloudevents.io) 1.0 in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use undoubt_vocabulary::Event;
use undoubt_vocabulary::event::JSON;
use undoubt_work::text::to_string;

/// Its media type.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

/// Returns the event. Its id and its source say which it is; `partitionkey`, `sequence` and `correlationid` are known extensions.
pub fn body_of(event: &Event, source: &str) -> Bytes {
    let text = |text: &str| Value::from(text);
    let mut told = Map::from_iter([
        ("specversion".to_owned(), text("1.0")),
        ("id".to_owned(), event.id().to_string().into()),
        ("source".to_owned(), json!(format!("/participants/{source}/topics/{}", event.topic))),
        ("type".to_owned(), text(event.kind.as_str())),
        ("subject".to_owned(), to_string(&event.key).into()),
        ("time".to_owned(), event.published_at.to_string().into()),
        ("datacontenttype".to_owned(), text(&event.content_type)),
        ("partitionkey".to_owned(), to_string(&event.key).into()),
        // As text, for it does not fit into the 32 bits of a number there.
        ("sequence".to_owned(), event.position.to_string().into()),
        ("correlationid".to_owned(), event.correlation.to_string().into()),
    ]);
    if !event.schema.is_empty() {
        told.insert("dataschema".to_owned(), text(&event.schema));
    }
    if let Some(causation) = event.causation {
        told.insert("causationid".to_owned(), causation.to_string().into());
    }
    let json = (event.content_type == JSON).then(|| serde_json::from_slice::<Value>(&event.data).ok()).flatten();
    match (json, std::str::from_utf8(&event.data)) {
        (Some(data), _) => drop(told.insert("data".to_owned(), data)),
        (None, Ok(data)) => drop(told.insert("data".to_owned(), text(data))),
        (None, Err(_)) => drop(told.insert("data_base64".to_owned(), STANDARD.encode(&event.data).into())),
    }
    Value::Object(told).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::event::OCTETS;
    use undoubt_vocabulary::{Incarnation, Partition, Position, Timestamp};

    fn told(content_type: &str, data: &'static [u8]) -> Value {
        let event = Event {
            position: Position(7),
            incarnation: Incarnation([0xab; 16]),
            topic: "orders".parse().unwrap(),
            partition: Partition(0),
            previous: Position(3),
            key: "order-1".into(),
            kind: "order.placed".parse().unwrap(),
            schema: "".into(),
            content_type: content_type.into(),
            data: Bytes::from_static(data),
            published_at: Timestamp(0),
            version: None,
            correlation: "trip-1".parse().unwrap(),
            causation: None,
        };
        serde_json::from_slice(&body_of(&event, "shop")).unwrap()
    }

    #[test]
    fn it_has_what_cloud_events_must_have_and_its_data_by_their_type() {
        let told_json = told(JSON, br#"{"a": 1}"#);
        assert_eq!(told_json["data"], json!({"a": 1}));
        assert_eq!(told_json["id"], "abababababababababababababababab-7");
        assert_eq!(told_json["source"], "/participants/shop/topics/orders");
        for (name, value) in
            [("specversion", "1.0"), ("type", "order.placed"), ("subject", "order-1"), ("sequence", "7")]
        {
            assert_eq!(told_json[name], value);
        }
        assert_eq!(told(JSON, b"{")["data"], "{");
        assert_eq!(told(OCTETS, b"\xff")["data_base64"], "/w==");
    }
}
