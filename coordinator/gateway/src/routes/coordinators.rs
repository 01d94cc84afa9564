//! The coordinators behind this gateway, and whether it serves.

use super::json;
use crate::coordinators::COORDINATOR_TIMEOUT;
use crate::gate::{Asker, Gate};
use crate::json::Coordinator;
use crate::operation::{Content, Operation};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use futures::future::join_all;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use tokio::time::timeout;

pub(super) fn operations() -> Vec<Operation> {
    let watched =
        |path, name, summary, handler| Operation::new(("GET", path), (name, summary), "", handler).for_anybody();
    vec![
        Operation::new(
            ("GET", "/v1/coordinators"),
            ("coordinators", "How the coordinators do that are behind this gateway."),
            "/undoubt.v1.Operator/Describe",
            get(coordinators),
        )
        .json::<Coordinators>(200, "How each of them does."),
        watched("/healthz", "healthz", "Whether this gateway lives.", get(healthz)).answer(
            204,
            "It lives.",
            Content::Nothing,
        ),
        watched("/readyz", "readyz", "Whether this gateway can serve anybody.", get(readyz)).answer(
            204,
            "A coordinator serves, and where there are several all their ids are known.",
            Content::Nothing,
        ),
    ]
}

/// The coordinators behind a gateway.
#[derive(Debug, JsonSchema, Serialize)]
struct Coordinators {
    coordinators: Vec<OneOf>,
}

/// One of them.
#[derive(Debug, JsonSchema, Serialize)]
struct OneOf {
    /// The address at which the gateway calls it.
    address: String,
    /// Its id, as far as the gateway knows it.
    id: Option<String>,
    /// How it does, if it answers.
    coordinator: Option<Coordinator>,
    /// Why that is not known.
    error: Option<String>,
}

async fn coordinators(asker: Asker) -> Result<Response, Problem> {
    let all = asker.coordinators().all().iter().map(async |one| {
        let asked = timeout(COORDINATOR_TIMEOUT, asker.at(one)?.describe())
            .await
            .map_err(|_elapsed| "no answer came in time".to_owned());
        let seen = match asked {
            Ok(Ok(view)) => Ok(Coordinator::from(&view)),
            Ok(Err(error)) => {
                let problem = Problem::from(error);
                // Whoever may not ask one may ask none.
                if problem.is_unreached() { Err(problem.to_string()) } else { return Err(problem) }
            }
            Err(late) => Err(late),
        };
        let (coordinator, error) = seen.map_or_else(|why| (None, Some(why)), |view| (Some(view), None));
        Ok(OneOf { address: one.address().to_owned(), id: one.id().map(|id| id.to_string()), coordinator, error })
    });
    let coordinators = join_all(all).await.into_iter().collect::<Result<_, Problem>>()?;
    Ok(json(StatusCode::OK, &Coordinators { coordinators }))
}

async fn healthz() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn readyz(State(gate): State<Arc<Gate>>) -> Result<StatusCode, Problem> {
    match gate.coordinators.unready().await {
        None => Ok(StatusCode::NO_CONTENT),
        Some(why) => Err(Problem::unreached(why)),
    }
}
