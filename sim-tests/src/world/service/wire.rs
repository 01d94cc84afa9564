//! Requests as the service reads them, and its answers.

use crate::plan::Host;
use crate::run::Op;
use crate::world::net;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize};
use std::io;

/// The work of a request: what is done at the service, or how that is ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::world) struct Body {
    pub(in crate::world) tx: String,
    #[serde(default)]
    pub(in crate::world) ops: Vec<Op>,
    /// What a try was answered with; a confirm brings it along.
    #[serde(default)]
    pub(in crate::world) hold: Option<String>,
}

/// Returns the URL of what the service of this participant does.
pub(in crate::world) fn url(participant: u8) -> String {
    format!("{}/work", net::address(Host::Service(participant)))
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) operation: String,
    pub(super) effect: String,
    /// True if it only looks, and nothing is to be held for it.
    pub(super) looks: bool,
    pub(super) body: Body,
}

/// The reason why there is no request.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The connection broke.
    Broken,
    /// A bug of whoever sent it.
    Wrong(String),
}

impl Asked {
    pub(super) async fn read(request: http::Request<Incoming>) -> Result<Asked, NoRequest> {
        let (head, body) = request.into_parts();
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned).ok_or_else(|| NoRequest::Wrong(format!("the header {name} is missing")))
        };
        let (operation, effect) = (header("undoubt-operation")?, header("undoubt-effect")?);
        if header("idempotency-key")? != format!("{effect}/{operation}") {
            return Err(NoRequest::Wrong("the idempotency key names another call".to_owned()));
        }
        let body = body.collect().await.map_err(|_| NoRequest::Broken)?.to_bytes();
        let body = serde_json::from_slice(&body).map_err(|error| NoRequest::Wrong(error.to_string()))?;
        Ok(Asked { operation, effect, looks: head.method == http::Method::GET, body })
    }
}

/// An answer as it is kept: its status and its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn done(values: &[Option<String>], hold: &str) -> Answer {
        Answer { status: 200, body: serde_json::json!({ "values": values, "hold": hold }).to_string() }
    }

    pub(super) fn says(status: u16, why: &str) -> Answer {
        Answer { status, body: serde_json::json!({ "why": why }).to_string() }
    }

    /// Returns true if it is no refusal.
    pub(super) fn is_done(&self) -> bool {
        self.status == 200
    }
}

/// What hyper sends.
pub(super) type Sent = http::Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Returns an answer that arrives as a whole.
pub(super) fn whole(answer: &Answer, retry: bool) -> http::Result<Sent> {
    let body = Bytes::copy_from_slice(answer.body.as_bytes());
    let mut response = http::Response::builder().status(answer.status).header(CONTENT_TYPE, "application/json");
    if retry {
        response = response.header(RETRY_AFTER, "0");
    }
    response.body(Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// Returns an answer in whose middle the connection breaks.
pub(super) fn half(answer: &Answer) -> http::Result<Sent> {
    let bytes = answer.body.as_bytes();
    let first = Frame::data(Bytes::copy_from_slice(&bytes[..bytes.len() / 2]));
    let frames = stream::iter([Ok(first), Err(io::ErrorKind::ConnectionReset.into())]);
    let response = http::Response::builder().status(answer.status).header(CONTENT_TYPE, "application/json");
    response.body(StreamBody::new(frames).boxed_unsync())
}
