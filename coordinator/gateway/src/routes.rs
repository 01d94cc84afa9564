//! The paths, and what is done at each.

mod asked;
mod coordinator;
mod events;
mod transactions;
pub(crate) mod waiting;

use crate::gate::Gate;
use crate::problem::Problem;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use undoubt_platform::Reason;

/// Transactions, or entries of the audit record, in one answer.
pub(crate) const MAX_LISTED: u32 = 1_000;

pub(crate) fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/v1/transactions", post(transactions::submit).get(transactions::list))
        .route("/v1/transactions/{id}", get(transactions::get))
        .route("/v1/transactions/{id}/cancel", post(transactions::cancel))
        .route("/v1/transactions/{id}/events", get(events::of_one))
        .route("/v1/transactions/{id}/forget", post(transactions::forget))
        .route("/v1/transactions/{id}/steps/{step}/resolve", post(transactions::resolve_step))
        .route("/v1/events", get(events::of_all))
        .route("/v1/coordinator", get(coordinator::describe))
        .route("/v1/coordinator/pause", post(coordinator::pause))
        .route("/v1/coordinator/resume", post(coordinator::resume))
        .route("/v1/coordinator/drain", post(coordinator::drain))
        .route("/v1/coordinator/backup", post(coordinator::backup))
        .route("/v1/coordinator/accept-loss", post(coordinator::accept_loss))
        .route("/v1/participants", get(coordinator::participants))
        .route("/v1/audit", get(coordinator::audit))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(gate)
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
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => Problem::new(Reason::Internal, format!("the answer cannot be written: {error}")).into_response(),
    }
}
