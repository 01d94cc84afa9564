//! Transactions: submitted, asked for, listed, cancelled, and given up.

use super::asked::{Asked, Given, Id, OfStep, Text, invalid};
use super::waiting::{DEFAULT_WAIT, applied_within, wait};
use super::{MAX_LISTED, json};
use crate::document::{self, Document};
use crate::gate::Asker;
use crate::json::{Outcome, Transaction, Transactions};
use crate::listing;
use crate::operation::{Content, Operation};
use crate::problem::Problem;
use crate::tree;
use axum::response::Response;
use axum::routing;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use undoubt_client::{
    CancelError, Client, Filter, KnownOutcome, ListQuery, OutcomeState, StepResolution, Submission, SubmitError, TxId,
    WaitError,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            ("POST", "/v1/transactions"),
            ("submit", "Carries a transaction out, and waits for its outcome."),
            "/undoubt.v1.Coordinator/Submit",
            routing::post(submit),
        )
        .query::<Terms>()
        .body::<Document>()
        .json::<Outcome>(200, "It is decided: committed or aborted.")
        .json::<Outcome>(202, "It is not decided yet. `Location` is the place to ask."),
        Operation::new(
            ("GET", "/v1/transactions"),
            ("list", "Lists transactions."),
            "/undoubt.v1.Coordinator/List",
            routing::get(list),
        )
        .query::<Wanted>()
        .json::<Transactions>(200, "Those that fit, without their histories and results."),
        Operation::new(
            ("GET", "/v1/transactions/{id}"),
            ("get", "How a transaction stands, with its history."),
            "/undoubt.v1.Coordinator/Get",
            routing::get(get),
        )
        .query::<Waited>()
        .json::<Transaction>(200, "What is known of it."),
        Operation::new(
            ("POST", "/v1/transactions/{id}/cancel"),
            (
                "cancel",
                "Aborts a transaction that is not decided, and waits until it is over; a saga until all is undone.",
            ),
            "/undoubt.v1.Coordinator/Cancel",
            routing::post(cancel),
        )
        .json::<Outcome>(200, "It is over.")
        .json::<Outcome>(202, "It is being undone. `Location` is the place to ask."),
        Operation::new(
            ("POST", "/v1/transactions/{id}/forget"),
            ("forget", "Gives a transaction up: what is not known of it is recorded as such, for good."),
            "/undoubt.v1.Operator/Forget",
            routing::post(forget),
        )
        .body::<Order>()
        .answer(204, "It is done.", Content::Nothing),
        Operation::new(
            ("POST", "/v1/transactions/{id}/steps/{step}/resolve"),
            ("resolveStep", "Ends a step of a saga that is not settled."),
            "/undoubt.v1.Operator/ResolveStep",
            routing::post(resolve_step),
        )
        .body::<Resolve>()
        .json::<Outcome>(200, "How the saga stands then."),
    ]
}

/// The terms on which a transaction is submitted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    /// The time to wait for the outcome, up to `60s`; else 30 s.
    wait: Option<String>,
    /// A URL that hears the outcome by a POST, at least once.
    callback: Option<String>,
    /// The time to wait, once it is decided, until it is applied everywhere, up to `60s`; the answer says then what events it has
    /// published. Else it is not waited for.
    applied: Option<String>,
}

async fn submit(
    asker: Asker,
    Asked(terms): Asked<Terms>,
    headers: HeaderMap,
    Text(body): Text,
) -> Result<Response, Problem> {
    let wait = wait(terms.wait.as_deref(), &headers, DEFAULT_WAIT)?;
    let mut document: Document = tree::from_json(body.text()?).map_err(|why| invalid(why.to_string()))?;
    drop(body);
    let drawn = if document.has_id() { None } else { Some(asker.about_a_new_one()?) };
    if let Some((tx, _)) = &drawn {
        document.take_id(tx);
    }
    let mut submission = document.submission().map_err(invalid)?;
    if let Some(url) = &terms.callback {
        submission = submission.callback(url);
    }
    let within = applied_within(terms.applied.as_deref(), wait)?;
    if let Some(within) = within {
        submission = submission.applied_within(within);
    }
    if let Some(traceparent) = text(&headers, "traceparent") {
        submission = submission.trace_context(traceparent, text(&headers, "tracestate").unwrap_or_default());
    }
    let coordinator = match drawn {
        Some((_, coordinator)) => coordinator,
        None => asker.about(submission.id()).await?,
    };
    outcome(&coordinator, &submission, wait + within.unwrap_or_default()).await
}

/// Submits, and answers with the outcome, or how it stands once it was waited for that.
async fn outcome(client: &Client, submission: &Submission, wait: Duration) -> Result<Response, Problem> {
    if !wait.is_zero() {
        match timeout(wait, client.submit(submission)).await {
            Ok(Ok(answer)) => return Ok(json(StatusCode::OK, &Outcome::decided(submission.id(), &answer))),
            // How it stands is asked for below.
            Ok(Err(SubmitError::Stuck { .. })) | Err(_) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
    let known = client.submit_no_wait(submission).await?;
    Ok(standing(submission.id(), &known))
}

/// Returns how a transaction stands: 200 if it is decided, else 202 with the place at which to ask again.
pub(super) fn standing(tx: &TxId, known: &KnownOutcome) -> Response {
    let status = if known.decided.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = json(status, &Outcome::new(tx, known));
    if status == StatusCode::ACCEPTED {
        response.headers_mut().insert(LOCATION, place(tx));
    }
    response
}

/// The characters of a part of a path that are encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the path of a transaction.
pub(super) fn place(tx: &TxId) -> HeaderValue {
    let path = format!("/v1/transactions/{}", utf8_percent_encode(&tx.to_string(), PLAIN));
    HeaderValue::from_str(&path).expect("encoded text is visible ASCII")
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The query of what may be waited for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Waited {
    /// The time to wait until it is decided, up to `60s`; else none.
    pub(super) wait: Option<String>,
}

async fn get(asker: Asker, Id(tx): Id, Asked(asked): Asked<Waited>, headers: HeaderMap) -> Result<Response, Problem> {
    let client = asker.about(&tx).await?;
    let until = Instant::now() + wait(asked.wait.as_deref(), &headers, Duration::ZERO)?;
    let mut left = until - Instant::now();
    while !left.is_zero() {
        match timeout(left, client.wait(&tx)).await {
            Ok(Err(WaitError::StillPending { .. })) => left = until.saturating_duration_since(Instant::now()),
            Ok(Ok(_) | Err(WaitError::Stuck { .. })) | Err(_) => break,
            Ok(Err(error)) => return Err(error.into()),
        }
    }
    Ok(json(StatusCode::OK, &Transaction::from(&client.get(&tx).await?)))
}

/// The query of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// The kind of transactions to list, and their order; else all.
    filter: Option<WantedFilter>,
    /// The state of the transactions to list; else any.
    state: Option<WantedState>,
    /// The least time since they were begun, like `5m`.
    older_than: Option<String>,
    /// The longest time since they were begun.
    younger_than: Option<String>,
    /// The participant at which they have a branch or a step.
    participant: Option<String>,
    /// The text with which their ids begin.
    id_prefix: Option<String>,
    /// The most transactions to list, up to 1,000; else 100.
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<u32>,
    /// The cursor with which an earlier answer ended.
    after: Option<String>,
    /// The coordinator whose transactions are listed, by its id; else all that are behind this gateway.
    coordinator: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum WantedFilter {
    All,
    Open,
    Unacknowledged,
    Ended,
    Damaged,
    Stuck,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum WantedState {
    Pending,
    Committed,
    Aborted,
}

async fn list(asker: Asker, Asked(mut wanted): Asked<Wanted>) -> Result<Response, Problem> {
    let (coordinator, after) = (wanted.coordinator.take(), wanted.after.take());
    let listed = listing::list(&asker, coordinator.as_deref(), wanted.query()?, after.as_deref()).await?;
    Ok(json(StatusCode::OK, &listed))
}

impl Wanted {
    fn query(self) -> Result<ListQuery, Problem> {
        let mut query = ListQuery::of(match self.filter.unwrap_or(WantedFilter::All) {
            WantedFilter::All => Filter::All,
            WantedFilter::Open => Filter::Open,
            WantedFilter::Unacknowledged => Filter::Unacknowledged,
            WantedFilter::Ended => Filter::Ended,
            WantedFilter::Damaged => Filter::Damaged,
            WantedFilter::Stuck => Filter::Stuck,
        });
        query.state = self.state.map(|state| match state {
            WantedState::Pending => OutcomeState::Pending,
            WantedState::Committed => OutcomeState::Committed,
            WantedState::Aborted => OutcomeState::Aborted,
        });
        let span = |field: &str, text: Option<String>| match text {
            Some(text) => document::duration(&text).map_err(|why| invalid(format!("{field}: {why}"))),
            None => Ok(Duration::ZERO),
        };
        query.older_than = span("older_than", self.older_than)?;
        query.younger_than = span("younger_than", self.younger_than)?;
        let named = self.participant.map(|name| name.parse()).transpose();
        query.participant = named.map_err(|bad| invalid(format!("participant: {bad}")))?;
        query.id_prefix = self.id_prefix.unwrap_or_default().into();
        query.limit = limit(self.limit)?;
        Ok(query)
    }
}

/// Checks how many are wanted; 0 is as many as the client asks for by itself.
pub(super) fn limit(wanted: Option<u32>) -> Result<u32, Problem> {
    match wanted {
        None => Ok(0),
        Some(1..=MAX_LISTED) => Ok(wanted.unwrap_or_default()),
        Some(_) => Err(invalid(format!("limit: it is 1 to {MAX_LISTED}; ask for the rest by its cursor"))),
    }
}

async fn cancel(asker: Asker, Id(tx): Id) -> Result<Response, Problem> {
    let client = asker.about(&tx).await?;
    match client.cancel(&tx).await {
        Ok(known) => Ok(standing(&tx, &known)),
        // It was heard, and takes until all is undone.
        Err(CancelError::NotOver { .. }) => Ok(standing(&tx, &client.get(&tx).await?.known)),
        Err(error) => Err(error.into()),
    }
}

/// The word of an operator.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The name of a caller that has no identity.
    #[serde(default)]
    who: String,
    #[schemars(length(min = 1))]
    reason: String,
}

async fn forget(asker: Asker, Id(tx): Id, Given(order): Given<Order>) -> Result<StatusCode, Problem> {
    asker.about(&tx).await?.forget(&tx, &order.who, &order.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An operator's decision about a step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolve {
    resolution: Resolution,
    #[serde(default)]
    who: String,
    #[schemars(length(min = 1))]
    reason: String,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Resolution {
    Retry,
    Skip,
    Done,
}

async fn resolve_step(
    asker: Asker,
    OfStep(tx, step): OfStep,
    Given(order): Given<Resolve>,
) -> Result<Response, Problem> {
    let resolution = match order.resolution {
        Resolution::Retry => StepResolution::Retry,
        Resolution::Skip => StepResolution::Skip,
        Resolution::Done => StepResolution::Done,
    };
    let client = asker.about(&tx).await?;
    let known = client.resolve_step(&tx, &step, resolution, &order.who, &order.reason).await?;
    Ok(json(StatusCode::OK, &Outcome::new(&tx, &known)))
}
