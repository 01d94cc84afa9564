//! Events as they happen, as server-sent events: `id` is the cursor behind which another stream goes on (`Last-Event-ID`), `event` the
//! kind, `data` JSON.

use super::asked::{Asked, Id, invalid};
use super::stream::{SIGN_OF_LIFE, place, resumed_after, signs, streamed};
use crate::gate::{Asker, AtCoordinator, Gate};
use crate::json::WatchLine;
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
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Interval;
use undoubt_client::{Cursor, QueryError, TxId, Watched};

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
    let place = place(gate)?;
    let watched = coordinator.open_watch(tx, cursor).await?;
    let telling = Telling {
        watched: watched.boxed(),
        signs: signs(),
        stopping: gate.stopping.clone(),
        _coordinator: coordinator,
        _place: place,
    };
    Ok(streamed(telling.told()))
}

fn cursor(after: Option<String>, headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let given = resumed_after(after, headers);
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
                _ = telling.signs.tick() => Some((Ok(SIGN_OF_LIFE.to_owned()), Some(telling))),
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
