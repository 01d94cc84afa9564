//! Events as they happen, as server-sent events: `id` is the cursor behind which another stream goes on (`Last-Event-ID`), `event` the
//! kind, `data` JSON.

use super::asked::{Asked, Id, invalid};
use crate::gate::{Asker, AtCoordinator, Gate};
use crate::json::WatchLine;
use crate::operation::{Content, Operation, shape};
use crate::problem::Problem;
use crate::run::stopped;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use undoubt_client::{Cursor, QueryError, TxId, Watched};
use undoubt_platform::Reason;

/// A stream in which nothing happens says so once in this time, so that nobody on the way takes it for dead.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(15);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            ("GET", "/v1/transactions/{id}/events"),
            ("eventsOfOne", "What happens to a transaction, as it happens, until it has ended."),
            "/undoubt.v1.Coordinator/Watch",
            get(of_one),
        )
        .query::<Since>()
        .answer(200, STREAM, Content::Events(shape::<WatchLine>)),
        Operation::new(
            ("GET", "/v1/events"),
            ("events", "What happens to all transactions, as it happens."),
            "/undoubt.v1.Coordinator/Watch",
            get(of_all),
        )
        .query::<SinceAt>()
        .answer(200, STREAM, Content::Events(shape::<WatchLine>)),
    ]
}

const STREAM: &str = "Server-sent events. `id` is the cursor with which another stream goes on, as `Last-Event-ID`; `event` what happened, or `lost`, \
                      `restarted`, `interrupted`, `failed`, `end`.";

/// The query of a stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// The cursor behind which the stream goes on, like `Last-Event-ID`; for those who cannot set headers.
    after: Option<String>,
}

/// The query of a stream of one coordinator's events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SinceAt {
    /// The cursor behind which the stream goes on, like `Last-Event-ID`; for those who cannot set headers.
    after: Option<String>,
    /// The coordinator whose events they are, by its id; it may be left out where there is one behind this gateway.
    coordinator: Option<String>,
}

async fn of_one(
    State(gate): State<Arc<Gate>>,
    asker: Asker,
    Id(tx): Id,
    Asked(since): Asked<Since>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let coordinator = asker.about(&tx).await?;
    open(&gate, coordinator, Some(tx), since.after, &headers).await
}

async fn of_all(
    State(gate): State<Arc<Gate>>,
    asker: Asker,
    Asked(since): Asked<SinceAt>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let coordinator = asker.of(since.coordinator.as_deref())?;
    open(&gate, coordinator, None, since.after, &headers).await
}

async fn open(
    gate: &Gate,
    coordinator: AtCoordinator,
    tx: Option<TxId>,
    after: Option<String>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let cursor = cursor(after, headers)?;
    let place = gate.streams.clone().try_acquire_owned().map_err(|_| {
        let why = "as many streams of events are open as may be (gateway.max_event_streams); come back later";
        Problem::new(Reason::TooManyRequests, why)
    })?;
    let watched = coordinator.open_watch(tx, cursor).await?;
    let mut signs = interval(SIGN_OF_LIFE_EVERY);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let telling = Telling {
        watched: watched.boxed(),
        signs,
        stopping: gate.stopping.clone(),
        _coordinator: coordinator,
        _place: place,
    };
    let mut response = Response::new(Body::from_stream(telling.told()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn cursor(after: Option<String>, headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let last = headers.get("last-event-id").map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned());
    let given = last.filter(|last| !last.is_empty()).or(after);
    given.map(|text| text.parse()).transpose().map_err(|bad| invalid(format!("last-event-id: {bad}")))
}

struct Telling {
    watched: BoxStream<'static, Result<Watched, QueryError>>,
    signs: Interval,
    stopping: watch::Receiver<bool>,
    _coordinator: AtCoordinator,
    _place: OwnedSemaphorePermit,
}

impl Telling {
    fn told(self) -> impl Stream<Item = Result<String, Infallible>> {
        stream::unfold(Some(self), |telling| async {
            let mut telling = telling?;
            tokio::select! {
                watched = telling.watched.next() => match watched {
                    Some(Ok(watched)) => Some((Ok(event(&watched)), Some(telling))),
                    // The last word: whoever reads it need not come back.
                    None => Some((Ok("event: end\ndata: {}\n\n".to_owned()), None)),
                    Some(Err(error)) => Some((Ok(failure(&error)), None)),
                },
                _ = telling.signs.tick() => Some((Ok(":\n\n".to_owned()), Some(telling))),
                () = stopped(&mut telling.stopping) => None,
            }
        })
    }
}

/// Returns a piece of the stream.
fn event(watched: &Watched) -> String {
    let line = WatchLine::from(watched);
    let data = serde_json::to_string(&line).unwrap_or_default();
    match watched {
        Watched::Event { cursor, event, .. } => {
            let kind = event.kind.map_or("unknown", |kind| kind.as_str());
            format!("id: {cursor}\nevent: {kind}\ndata: {data}\n\n")
        }
        Watched::Lost { .. } => format!("event: lost\ndata: {data}\n\n"),
        Watched::Restarted => format!("event: restarted\ndata: {data}\n\n"),
        Watched::Interrupted { .. } | _ => format!("event: interrupted\ndata: {data}\n\n"),
    }
}

fn failure(error: &QueryError) -> String {
    let data = serde_json::json!({ "error": error.to_string() });
    format!("event: failed\ndata: {data}\n\n")
}
