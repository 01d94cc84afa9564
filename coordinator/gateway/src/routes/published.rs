//! The events that participants publish, as server-sent events: `id` is the event's id, behind which another stream goes on exactly
//! (`Last-Event-ID`), `event` its type, `data` JSON.

use super::asked::{Asked, Named, invalid};
use super::stream::{SIGN_OF_LIFE, place, resumed_after, signs, streamed};
use crate::gate::{Asker, Gate};
use crate::json::PublishedEvent;
use crate::operation::{Content, Operation, shape};
use crate::problem::Problem;
use crate::run::stopped;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Interval;
use undoubt_client::work::text::from_string;
use undoubt_client::{EventNews, EventPlace, EventQuery, QueryError};
use undoubt_vocabulary::{Event, EventId, Position, TopicName};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            ("GET", "/v1/participants/{participant}/events"),
            (
                "published",
                "The events that a participant has published, from the first that is kept, and then those that come.",
            ),
            "/undoubt.v1.Events/Read",
            get(read),
        )
        .query::<Wanted>()
        .answer(200, STREAM, Content::Events(shape::<PublishedEvent>)),
    ]
}

const STREAM: &str = "Server-sent events. `id` is the event's id, with which another stream goes on exactly, as `Last-Event-ID`; `event` its type, or \
                      `undoubt.end`, and `undoubt.failed` where the stream cannot go on, with a `code` of the problems. An `id` without `data` says that there is nothing \
                      for this reader up to there.";

/// What is said last: whoever reads it need not come back.
const END: &str = "event: undoubt.end\ndata: {}\n\n";

/// The events that are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The topic, or several separated by commas; else all.
    topic: Option<String>,
    /// The key that they have: text, or `0x` and hexadecimal digits; else any.
    key: Option<String>,
    /// The id of the event behind which the stream begins, like `Last-Event-ID`, or a position alone; else the first that is kept. With an
    /// id it is noticed if the participant was put back from an older copy.
    after: Option<String>,
    /// The most events; else no bound.
    limit: Option<u64>,
    /// True to end with the last event that there is now.
    #[serde(default)]
    until_now: bool,
}

async fn read(
    State(gate): State<Arc<Gate>>,
    asker: Asker,
    Named(participant): Named,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = wanted.query(&headers)?;
    let participant = asker.source(&participant)?;
    let place = place(&gate)?;
    let mut news = participant.events(query).boxed();
    // Whatever is wrong with what is asked is told before the first batch, which comes at once and may be empty.
    let first = loop {
        match news.next().await {
            Some(Ok(EventNews::Interrupted { .. })) => {}
            Some(first) => break Some(first?),
            None => break None,
        }
    };
    let mut telling = Telling {
        news,
        ready: VecDeque::new(),
        told: EventPlace::default(),
        through: EventPlace::default(),
        signs: signs(),
        stopping: gate.stopping.clone(),
        _place: place,
    };
    first.into_iter().for_each(|first| telling.take(first));
    Ok(streamed(telling.texts()))
}

impl Wanted {
    fn query(self, headers: &HeaderMap) -> Result<EventQuery, Problem> {
        let Wanted { topic, key, after, limit, until_now } = self;
        let mut query = EventQuery::new();
        for name in topic.iter().flat_map(|names| names.split(',')) {
            let topic: TopicName = name.parse().map_err(|bad| invalid(format!("topic: {bad}")))?;
            query = query.topic(topic);
        }
        if let Some(key) = key {
            query = query.key(from_string(&key).map_err(|bad| invalid(format!("key: {bad}")))?);
        }
        if let Some(after) = resumed_after(after, headers) {
            query = query.after(behind(&after)?);
        }
        query = match limit {
            Some(0) => return Err(invalid("limit: it is 1 or more; leave it out to have no bound")),
            Some(limit) => query.limit(limit),
            None => query,
        };
        Ok(if until_now { query.until_now() } else { query })
    }
}

/// Returns the place behind which a stream begins.
fn behind(text: &str) -> Result<EventPlace, Problem> {
    if let Ok(position) = text.parse() {
        return Ok(EventPlace { position: Position(position), incarnation: None });
    }
    let id: EventId = text.parse().map_err(|bad| invalid(format!("after: {bad}")))?;
    Ok(EventPlace { position: id.position, incarnation: Some(id.incarnation) })
}

/// One stream. It holds one batch, and asks for the next when that is taken.
struct Telling {
    news: BoxStream<'static, Result<EventNews, QueryError>>,
    ready: VecDeque<Event>,
    /// The place up to which the reader knows.
    told: EventPlace,
    /// The place behind the batch.
    through: EventPlace,
    signs: Interval,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Telling {
    fn take(&mut self, news: EventNews) {
        if let EventNews::Events { events, through, .. } = news {
            self.ready.extend(events);
            self.through = through;
        }
    }

    fn texts(self) -> impl Stream<Item = Result<String, Infallible>> {
        stream::unfold(Some(self), |telling| async {
            let mut telling = telling?;
            loop {
                if let Some(text) = telling.next_text() {
                    return Some((Ok(text), Some(telling)));
                }
                tokio::select! {
                    news = telling.news.next() => match news {
                        Some(Ok(news @ EventNews::Events { .. })) => {
                            let is_quiet = matches!(&news, EventNews::Events { events, .. } if events.is_empty());
                            telling.take(news);
                            if is_quiet && telling.told == telling.through {
                                return Some((Ok(SIGN_OF_LIFE.to_owned()), Some(telling)));
                            }
                        }
                        // The connection to the participant broke, and is made anew: nothing is lost by it.
                        Some(Ok(_)) => return Some((Ok(SIGN_OF_LIFE.to_owned()), Some(telling))),
                        None => return Some((Ok(END.to_owned()), None)),
                        Some(Err(error)) => return Some((Ok(failure(error)), None)),
                    },
                    _ = telling.signs.tick() => return Some((Ok(SIGN_OF_LIFE.to_owned()), Some(telling))),
                    () = stopped(&mut telling.stopping) => return None,
                }
            }
        })
    }

    /// Returns the next piece of what is there already.
    fn next_text(&mut self) -> Option<String> {
        if let Some(event) = self.ready.pop_front() {
            let id = event.id();
            self.told = EventPlace { position: id.position, incarnation: Some(id.incarnation) };
            let data = serde_json::to_string(&PublishedEvent::from(&event)).unwrap_or_default();
            return Some(format!("id: {id}\nevent: {}\ndata: {data}\n\n", event.kind));
        }
        let EventPlace { position, incarnation } = self.through;
        let incarnation = incarnation.filter(|_| self.told.position < position)?;
        self.told = self.through;
        Some(format!("id: {}\n\n", EventId { incarnation, position }))
    }
}

fn failure(error: QueryError) -> String {
    let problem = Problem::from(error);
    let data = serde_json::json!({ "code": problem.code(), "error": problem.to_string() });
    format!("event: undoubt.failed\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_begins_behind_an_id_or_a_position_and_behind_nothing_else() {
        let id = "000102030405060708090a0b0c0d0e0f-17";
        assert_eq!(behind("17").unwrap(), EventPlace { position: Position(17), incarnation: None });
        let place = behind(id).unwrap();
        assert_eq!(EventId { incarnation: place.incarnation.unwrap(), position: place.position }.to_string(), id);
        for wrong in
            ["", "-", "x-17", "00-17", "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f-x", "-17"]
        {
            assert!(behind(wrong).is_err(), "{wrong}");
        }
    }
}
