//! One call: an HTTP POST of the outcome, and what its answer means.

use super::signature;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Uri;
use undoubt_platform::dial::Dial;
use undoubt_vocabulary::{Outcome, OutcomeForm, TraceContext, TxId};

/// One call, with connecting.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a call, as JSON.
#[derive(Debug, Serialize)]
struct Body {
    /// Text, or `0x` and hexadecimal digits.
    tx: String,
    #[serde(flatten)]
    outcome: OutcomeForm,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it answered with status {0}, a redirect, which is not followed; name the address that it leads to")]
    Redirected(u16),
    #[error("it answered with status {0}, which another call would not change")]
    Refused(u16),
    #[error("it did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Late,
}

impl CallError {
    /// Returns true if calling again is pointless.
    pub(super) fn is_final(&self) -> bool {
        match self {
            CallError::Redirected(_) | CallError::Refused(_) => true,
            CallError::Connect(_)
            | CallError::Http(_)
            | CallError::Request(_)
            | CallError::Status(_)
            | CallError::Late => false,
        }
    }
}

/// Returns what a status means. 2xx is heard. 3xx and 4xx are definite, save for those that ask to come back: 408
/// (timeout), 425 (too early), 429 (too many).
fn meaning(status: u16) -> Result<(), CallError> {
    match status {
        200..300 => Ok(()),
        300..400 => Err(CallError::Redirected(status)),
        408 | 425 | 429 => Err(CallError::Status(status)),
        400..500 => Err(CallError::Refused(status)),
        _ => Err(CallError::Status(status)),
    }
}

/// The headers of a call beside those that every call has.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) signature: Option<String>,
    pub(super) trace: Option<TraceContext>,
}

/// Calls once.
pub(super) async fn call(dial: &dyn Dial, url: &Uri, body: Bytes, headers: Headers) -> Result<(), CallError> {
    match timeout(CALL_TIMEOUT, post(dial, url, body, headers)).await {
        Ok(answer) => meaning(answer?),
        Err(_elapsed) => Err(CallError::Late),
    }
}

async fn post(dial: &dyn Dial, url: &Uri, body: Bytes, headers: Headers) -> Result<u16, CallError> {
    let connection = TokioIo::new(dial.dial(url.clone()).await?);
    let (mut sender, connection) = http1::handshake(connection).await?;
    let driving = tokio::spawn(connection);
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).header("host", authority).header("content-type", "application/json");
    if let Some(signature) = headers.signature {
        request = request.header(signature::HEADER, signature);
    }
    if let Some(trace) = headers.trace {
        request = request.header("traceparent", trace.traceparent());
        if !trace.state.as_str().is_empty() {
            request = request.header("tracestate", trace.state.as_str());
        }
    }
    let request = request.body(Full::new(body))?;
    let response = sender.send_request(request).await;
    driving.abort();
    Ok(response?.status().as_u16())
}

/// Returns what a call says.
pub(super) fn body(tx: &TxId, outcome: &Outcome) -> Bytes {
    let body = Body { tx: tx.to_string(), outcome: OutcomeForm::new(Some(outcome)) };
    serde_json::to_vec(&body).expect("text and nothing else is written as JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_how_it_ended_and_why() {
        let tx: TxId = "t".parse().unwrap();
        assert_eq!(body(&tx, &Outcome::Committed), r#"{"tx":"t","state":"committed","abort":null}"#);
        let cancelled = Outcome::Aborted(undoubt_vocabulary::AbortReason::Cancelled);
        let aborted = String::from_utf8(body(&tx, &cancelled).to_vec()).unwrap();
        assert!(aborted.contains(r#""state":"aborted","abort":{"reason":"cancelled""#), "{aborted}");
    }

    #[test]
    fn definite_answers_are_final_and_others_lead_to_another_call() {
        assert!(meaning(200).is_ok() && meaning(204).is_ok());
        for status in [301, 302, 307, 308, 400, 401, 404, 410] {
            assert!(meaning(status).unwrap_err().is_final(), "{status}");
        }
        for status in [100, 408, 425, 429, 500, 503, 599] {
            assert!(!meaning(status).unwrap_err().is_final(), "{status}");
        }
        assert!(meaning(302).unwrap_err().to_string().contains("not followed"));
    }
}
