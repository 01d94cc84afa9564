//! The events that work publishes beside its calls.

use crate::kept_store::Pair;
use crate::table_log::Outbox;
use crate::task::Place;
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_lock::Mode;
use undoubt_participant::event_log::{Topics, unplaced};
use undoubt_participant::subscription::{TIMER, timer_row};
use undoubt_proto::record::StoredEvent;
use undoubt_vocabulary::{NewEvent, Refusal, RefusalCode, TxId};
use undoubt_work::event::{Data, Emit, Own, Source};
use undoubt_work::{Input, Inputs, Results};

/// Stands before the names of entities' locks.
const ENTITY: &[u8] = b"\xff\xffentity/";

/// The events of one work, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Emits(Vec<Emit<Input>>);

impl Emits {
    /// Takes the events of work, and adds the locks of the entities to which they are appended.
    pub(crate) fn take(
        emits: Vec<Emit<Input>>,
        inputs: &mut Inputs<'_>,
        topics: &Topics,
        locks: &mut BTreeMap<Bytes, Mode>,
    ) -> Result<Emits, Refusal> {
        for emit in emits.iter().filter(|emit| topics.is_sourced(&emit.topic)) {
            let key = match &emit.key_suffix_from {
                None => emit.key.clone(),
                Some(Source::Step(from)) => [&emit.key[..], &inputs.present(from)?].concat().into(),
                Some(Source::Own(_)) => {
                    let detail = format!(
                        "the key of an event of topic {} names an entity, which is locked before the work is done; take it from an \
                         earlier step, not from the same work",
                        emit.topic
                    );
                    return Err(Refusal::new(RefusalCode::InvalidWork, detail));
                }
            };
            locks.insert(entity_lock(&emit.topic, &key), Mode::Exclusive);
        }
        Ok(Emits(emits))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if one of them takes something from what the calls beside it return.
    pub(crate) fn need_results(&self) -> bool {
        self.0.iter().any(|emit| {
            let data = match &emit.data {
                Data::From(from) => Some(from),
                Data::Bytes(_) | Data::Json(_) => None,
            };
            let parameters = emit.parameters.iter().map(|parameter| &parameter.from);
            emit.key_suffix_from.iter().chain(data).chain(parameters).any(|from| matches!(from, Source::Own(_)))
        })
    }

    /// Returns the events with what they take from elsewhere. `results`: what the calls returned; empty where none is needed.
    pub(crate) fn resolve(&self, place: Place<'_>, results: &Bytes) -> Result<Vec<NewEvent>, Refusal> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let results = Results::read(results);
        let own = Own::Calls(results.calls().unwrap_or_default());
        let mut inputs = place.inputs();
        self.0.iter().cloned().map(|emit| emit.resolve(&mut inputs, &own)).collect()
    }
}

/// An event on its way into the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub event: StoredEvent,
    /// True if its key names an entity, which gets another version with it.
    pub is_appended: bool,
    /// The version that the entity has to have until then.
    pub expect: Option<u64>,
    /// The row of the timer that is stored with it, if there is one.
    pub timer: Option<Pair>,
}

impl Outbox {
    /// Returns events as they are stored before they have positions. Their versions the database finds.
    pub fn outgoing(&self, events: Vec<NewEvent>, tx: &TxId) -> Result<Vec<Outgoing>, Refusal> {
        let outgoing = |event: NewEvent| {
            event.check().map_err(|bad| Refusal::new(RefusalCode::InvalidWork, bad.to_string()))?;
            let topic = self.topics.admit(&event, tx)?;
            let (is_appended, expect) = (topic.sourced, event.expect);
            let event = unplaced(event, topic, None, tx);
            let timer = self.topics.timer_of(&event, self.now()).map(|timer| {
                let (key, value) = timer_row(&timer);
                Pair { family: TIMER.0.to_owned(), key: key.into(), value: value.into() }
            });
            Ok(Outgoing { event, is_appended, expect, timer })
        };
        events.into_iter().map(outgoing).collect()
    }
}

fn entity_lock(topic: &str, key: &[u8]) -> Bytes {
    [ENTITY, topic.as_bytes(), &[0], key].concat().into()
}
