//! The parts of a request: its path, its query and its body. One that cannot be read is a problem.

use crate::body::Whole;
use crate::gate::Gate;
use crate::problem::Problem;
use crate::tree;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use undoubt_client::TxId;
use undoubt_platform::Reason;

/// The query.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

/// The id of a transaction, in the path.
#[derive(Debug)]
pub(super) struct Id(pub(super) TxId);

/// The id of a transaction and the name of a step of it, in the path.
#[derive(Debug)]
pub(super) struct OfStep(pub(super) TxId, pub(super) String);

/// The name of a participant, in the path.
#[derive(Debug)]
pub(super) struct Named(pub(super) String);

/// The body, as JSON.
#[derive(Debug)]
pub(super) struct Given<T>(pub(super) T);

/// The body, as JSON that is not read yet.
#[derive(Debug)]
pub(super) struct Text(pub(super) Whole);

pub(super) fn invalid(why: impl Into<String>) -> Problem {
    Problem::new(Reason::InvalidRequest, why)
}

fn id(text: &str) -> Result<TxId, Problem> {
    text.parse().map_err(|bad| invalid(format!("id: {bad}")))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(asked) =
            Query::try_from_uri(&parts.uri).map_err(|wrong| invalid(format!("query: {}", wrong.body_text())))?;
        Ok(Asked(asked))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|wrong| invalid(format!("path: {}", wrong.body_text())))?;
        Ok(Id(id(&text)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|wrong| invalid(format!("path: {}", wrong.body_text())))?;
        Ok(Named(name))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfStep {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((text, step)) = path.map_err(|wrong| invalid(format!("path: {}", wrong.body_text())))?;
        Ok(OfStep(id(&text)?, step))
    }
}

impl FromRequest<Arc<Gate>> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, gate: &Arc<Gate>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        Ok(Text(gate.room.json(&parts.headers, body).await?))
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Gate>> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, gate: &Arc<Gate>) -> Result<Self, Problem> {
        let Text(whole) = Text::from_request(request, gate).await?;
        Ok(Given(tree::from_json(whole.text()?).map_err(|why| invalid(why.to_string()))?))
    }
}
