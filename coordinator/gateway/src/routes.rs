//! The paths, and what is done at each.

mod asked;
mod coordinator;
mod coordinators;
mod events;
mod open_sagas;
mod published;
mod stream;
mod transactions;
pub(crate) mod waiting;

use crate::gate::Gate;
use crate::openapi;
use crate::operation::Operation;
use crate::problem::Problem;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;
use std::sync::{Arc, LazyLock};
use undoubt_platform::Reason;

/// Transactions, or entries of the audit record, in one answer.
pub(crate) const MAX_LISTED: u32 = 1_000;

/// Returns all that can be asked.
pub(crate) fn operations() -> Vec<Operation> {
    let described = ("openapi", "This description.");
    let describe = Operation::new(("GET", DESCRIPTION), described, "", routing::get(description)).for_anybody();
    let describe = describe.json::<serde_json::Value>(200, "OpenAPI 3.1.");
    [
        transactions::operations(),
        open_sagas::operations(),
        events::operations(),
        published::operations(),
        coordinator::operations(),
        coordinators::operations(),
        vec![describe],
    ]
    .concat()
}

pub(crate) fn router(gate: Arc<Gate>) -> Router {
    let all = operations().into_iter();
    let router = all.fold(Router::new(), |router, operation| router.route(operation.path, operation.handler));
    router.fallback(no_such_path).method_not_allowed_fallback(no_such_method).with_state(gate)
}

/// The path of the description.
const DESCRIPTION: &str = "/v1/openapi.json";

async fn description() -> Response {
    static TEXT: LazyLock<serde_json::Value> = LazyLock::new(|| openapi::describe(&operations()));
    json(StatusCode::OK, &*TEXT)
}

async fn no_such_path(uri: Uri) -> Problem {
    let why = format!("there is nothing at {}; /v1/openapi.json lists what there is", uri.path());
    Problem::new(Reason::NotFound, why)
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let why = format!("{} takes no {method}; /v1/openapi.json lists what it takes", uri.path());
    Problem::new(Reason::NotOffered, why).with(StatusCode::METHOD_NOT_ALLOWED)
}

/// Returns a response of JSON.
fn json(status: StatusCode, told: &impl Serialize) -> Response {
    match serde_json::to_vec(told) {
        Ok(body) => {
            let mut response = (status, body).into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => Problem::new(Reason::Internal, format!("the answer cannot be written: {error}")).into_response(),
    }
}
