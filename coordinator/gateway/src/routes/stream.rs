//! What streams of server-sent events have in common.

use crate::gate::Gate;
use crate::problem::Problem;
use axum::body::Body;
use axum::response::Response;
use futures::stream::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};
use undoubt_platform::Reason;

/// A stream in which nothing happens says so once in this time, so that nobody on the way takes it for dead.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(15);

/// What says so.
pub(super) const SIGN_OF_LIFE: &str = ":\n\n";

/// Returns the place of one more stream, if there is any.
pub(super) fn place(gate: &Gate) -> Result<OwnedSemaphorePermit, Problem> {
    gate.streams.clone().try_acquire_owned().map_err(|_| {
        let why = "as many streams of events are open as may be (gateway.max_event_streams); come back later";
        Problem::new(Reason::TooManyRequests, why)
    })
}

/// Returns what is due whenever a sign of life is.
pub(super) fn signs() -> Interval {
    let mut signs = interval(SIGN_OF_LIFE_EVERY);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    signs
}

/// Returns the text behind which a stream goes on: that of the header, which a browser sets, or else of the query.
pub(super) fn resumed_after(after: Option<String>, headers: &HeaderMap) -> Option<String> {
    let last = headers.get("last-event-id").map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned());
    last.filter(|last| !last.is_empty()).or(after)
}

/// Returns the answer that streams this.
pub(super) fn streamed(told: impl Stream<Item = Result<String, Infallible>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(told));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
