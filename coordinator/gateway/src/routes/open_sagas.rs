//! Open sagas: begun, joined by steps while somebody's code runs, closed or cancelled. Each call is safe to repeat.

use super::asked::{Asked, Given, Id, OfStep, invalid};
use super::json;
use super::transactions::{place, standing, text};
use super::waiting::{DEFAULT_WAIT, applied_within, wait};
use crate::document::{CheckBack, JoiningStep, duration};
use crate::gate::Asker;
use crate::json::{Outcome, StepStanding};
use crate::operation::Operation;
use crate::problem::Problem;
use axum::response::Response;
use axum::routing::post;
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;
use undoubt_client::{CompletionOrder, KnownOutcome, Opening, SubmitError};

pub(super) fn operations() -> Vec<Operation> {
    let order = |path, name, summary, asks, handler| Operation::new(("POST", path), (name, summary), asks, handler);
    vec![
        order(
            "/v1/transactions/{id}/begin",
            "begin",
            "Begins an open saga: steps join it while it goes on, until it is closed or cancelled. Whoever knows the id goes on with it, unless it is owner only.",
            "/undoubt.v1.Coordinator/Begin",
            post(begin),
        )
        .body::<Terms>()
        .json::<Outcome>(201, "It is open, and that is on record."),
        order(
            "/v1/transactions/{id}/steps/{step}/join",
            "join",
            "Lets a step join an open saga, and waits for nothing but its record. What has no action is then for the caller to do.",
            "/undoubt.v1.Coordinator/Join",
            post(join),
        )
        .body::<JoiningStep>()
        .json::<StepStanding>(200, "It has joined."),
        order(
            "/v1/transactions/{id}/steps/{step}/run",
            "run",
            "Lets a step join an open saga, has its action run, and waits for its result. To run the same again tells the same.",
            "/undoubt.v1.Coordinator/Join",
            post(run),
        )
        .body::<JoiningStep>()
        .json::<StepStanding>(200, "It is in effect."),
        order(
            "/v1/transactions/{id}/close",
            "close",
            "Closes an open saga: completes its steps, and waits until that is done. Nothing is undone from then on.",
            "/undoubt.v1.Coordinator/Close",
            post(close),
        )
        .query::<Closing>()
        .json::<Outcome>(200, "It is over.")
        .json::<Outcome>(202, "Its steps are being completed. `Location` is the place to ask."),
    ]
}

/// The terms on which an open saga is begun.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Opening")]
#[serde(deny_unknown_fields)]
struct Terms {
    /// The time after which it is turned back unless it is closed before, like `10m`; else the coordinator's own default.
    deadline: Option<String>,
    /// The way in which its steps are completed; else all at once.
    completions: Option<Completions>,
    check_back: Option<CheckBack>,
    /// The id of the open saga that it is a part of: closed and cancelled with that one. It may be closed before; then its steps are
    /// completed at once, and should the other be cancelled, what was completed is undone.
    parent: Option<String>,
    /// True to take steps and its end from nobody but whoever begins it; operators may cancel it all the same.
    #[serde(default)]
    owner_only: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Completions {
    Together,
    AsJoined,
    Reversed,
    /// All or none, by one two-phase commit that begins when it is closed; steps have nothing but `complete` then, one at each participant.
    TwoPhase,
}

async fn begin(asker: Asker, Id(tx): Id, headers: HeaderMap, Given(terms): Given<Terms>) -> Result<Response, Problem> {
    let mut opening = Opening::with_id(tx.clone()).completions(match terms.completions {
        None | Some(Completions::Together) => CompletionOrder::Together,
        Some(Completions::AsJoined) => CompletionOrder::AsJoined,
        Some(Completions::Reversed) => CompletionOrder::Reversed,
        Some(Completions::TwoPhase) => CompletionOrder::TwoPhase,
    });
    if let Some(deadline) = &terms.deadline {
        opening = opening.timeout(duration(deadline).map_err(|why| invalid(format!("deadline: {why}")))?);
    }
    if let Some(CheckBack { at, ask }) = terms.check_back {
        opening = opening.check_back(&at, ask);
    }
    if let Some(parent) = terms.parent {
        opening = opening.parent(parent.parse().map_err(|why| invalid(format!("parent: {why}")))?);
    }
    if terms.owner_only {
        opening = opening.owner_only();
    }
    if let Some(traceparent) = text(&headers, "traceparent") {
        opening = opening.trace_context(traceparent, text(&headers, "tracestate").unwrap_or_default());
    }
    asker.about(&tx).await?.begin(opening).await?;
    let mut response = json(StatusCode::CREATED, &Outcome::pending(&tx));
    response.headers_mut().insert(LOCATION, place(&tx));
    Ok(response)
}

async fn join(asker: Asker, OfStep(tx, step): OfStep, Given(joining): Given<JoiningStep>) -> Result<Response, Problem> {
    let joining = joining.step(&step).map_err(invalid)?;
    let joined = asker.about(&tx).await?.open_saga(tx.clone()).join(joining).await?;
    Ok(json(StatusCode::OK, &StepStanding::joined(&tx, &step, &joined)))
}

async fn run(asker: Asker, OfStep(tx, step): OfStep, Given(joining): Given<JoiningStep>) -> Result<Response, Problem> {
    let joining = joining.step(&step).map_err(invalid)?;
    let results = asker.about(&tx).await?.open_saga(tx.clone()).run(joining).await?;
    Ok(json(StatusCode::OK, &StepStanding::done(&tx, &step, results)))
}

/// The query of a close.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Closing {
    /// The time to wait until it is over, up to `60s`; else 30 s.
    wait: Option<String>,
    /// The time to wait then until it is applied everywhere, up to `60s`; the answer says what events it has published. Else it is not
    /// waited for.
    applied: Option<String>,
}

async fn close(
    asker: Asker,
    Id(tx): Id,
    Asked(asked): Asked<Closing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait: Duration = wait(asked.wait.as_deref(), &headers, DEFAULT_WAIT)?;
    let within = applied_within(asked.applied.as_deref(), wait)?;
    let coordinator = asker.about(&tx).await?;
    let saga = coordinator.open_saga(tx.clone());
    if !wait.is_zero() {
        let closed = async {
            match within {
                Some(within) => saga.close_applied(within).await,
                None => saga.close().await,
            }
        };
        match timeout(wait + within.unwrap_or_default(), closed).await {
            Ok(Ok(answer)) => return Ok(json(StatusCode::OK, &Outcome::decided(&tx, &answer))),
            // How it stands is asked for below.
            Ok(Err(SubmitError::Stuck { .. } | SubmitError::OutcomeUnknown { .. })) | Err(_) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
    let known: KnownOutcome = saga.close_no_wait().await?;
    Ok(standing(&tx, &known))
}
