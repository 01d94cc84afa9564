//! The form of declarations in TOML.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use toml::Spanned;

/// The form of declarations; part of the help.
pub const SCHEMA: &str = r#"  [[topic]]                     # each topic that this participant publishes to
  name = "orders"
  partitions = 8                # 1, if it is left out; events with one key are in one partition, and in order
  sourced = false               # true: keys are entities, whose events are counted
  heard-outside = ["order.done"]   # types that subscribers hear of whom no declaration tells

  [[begin]]                     # a type that transactions publish, with which a saga begins
  topic = "orders"
  type = "order.placed"
  expire = { after = "30s", emit = { topic = "orders", type = "order.expired" },
             unless = [{ from = "bank", topic = "payments", type = "payment.taken" }] }

  [[on]]                        # a reaction: one local transaction for each event
  name = "reserve"
  from = "shop"                 # the participant that publishes what is heard
  topic = "orders"
  type = "order.placed"
  do = ["add stock/{data.item} -{data.count} floor=0"]
  emit = { topic = "stock", type = "stock.reserved", key = "{key}", data = { left = "{result.0}" } }
  refused = { topic = "stock", type = "stock.refused" }      # instead, if the work is refused for good
  undo-on = [{ from = "bank", topic = "payments", type = "payment.refused" }]   # with the same correlation
  undo = ["add stock/{data.item} {data.count}"]              # filled in from the event and the results of `do`; []: nothing to undo
  undone = { topic = "stock", type = "stock.released" }
  attempts = 5                  # when it is refused for good, and nothing stands for that: then the key is parked

  At a participant over HTTP services `do` and `undo` are one request each, like do = ["http post http://127.0.0.1:9001/seats/{data.seat}"]. Behind the
  URL comes JSON, whose texts are filled in; without any the request brings the event itself.

  emit may be a list of events. An event has a topic, a type, a key (that of what was heard, if it is left out), a schema and data."#;

/// Whatever else is in the file is somebody else's.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) topic: Vec<Spanned<TopicTable>>,
    #[serde(default)]
    pub(super) begin: Vec<Spanned<BeginTable>>,
    #[serde(default)]
    pub(super) on: Vec<Spanned<OnTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TopicTable {
    pub(super) name: String,
    pub(super) partitions: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) sourced: bool,
    #[serde(default)]
    pub(super) heard_outside: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeginTable {
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) expire: Option<Spanned<ExpireTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpireTable {
    pub(super) after: Spanned<String>,
    pub(super) emit: Spanned<EmitTable>,
    pub(super) unless: Vec<Spanned<HeardTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeardTable {
    pub(super) from: String,
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct OnTable {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, rename = "do")]
    pub(super) work: Vec<Spanned<String>>,
    pub(super) emit: Option<Spanned<OneOrMore>>,
    pub(super) refused: Option<Spanned<EmitTable>>,
    #[serde(default)]
    pub(super) undo_on: Vec<Spanned<HeardTable>>,
    pub(super) undo: Option<Vec<Spanned<String>>>,
    pub(super) undone: Option<Spanned<EmitTable>>,
    pub(super) attempts: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmitTable {
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) key: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) data: Option<toml::Value>,
}

/// A list, or the only one of it.
pub(super) struct OneOrMore(pub(super) Vec<EmitTable>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event, like { topic = \"orders\", type = \"order.done\" }, or a list of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMore, A::Error> {
                EmitTable::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMore(vec![one]))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
