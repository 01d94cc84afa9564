//! The service on the other side: a request and its answer, or a connection that breaks.

use super::call::Call;
use super::handlers::Base;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest body of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// An answer of a service.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: String,
}

impl Answer {
    /// Returns true if it says the same: the same status, and the same body, as JSON if it is that.
    pub(super) fn is_same(&self, other: &Answer) -> bool {
        let json = |answer: &Answer| serde_json::from_str::<serde_json::Value>(&answer.body).ok();
        let same_body = match (json(self), json(other)) {
            (Some(one), Some(two)) => one == two,
            (None, None) => self.body == other.body,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.status == other.status && same_body
    }

    /// Returns all that it says: of a success its body, else its status.
    pub(super) fn told_whole(&self) -> String {
        if (200..300).contains(&self.status) { self.body.clone() } else { self.status.to_string() }
    }

    /// Returns status and body on one line.
    pub(super) fn told(&self) -> String {
        let body: String = self.body.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        format!("{} {}", self.status, body.trim()).trim_end().to_owned()
    }
}

/// The place where a connection is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// In the middle of the body, or of the headers of a request without one.
    InRequest,
    /// Behind the request, before any answer.
    BeforeAnswer,
}

/// Makes a request, on a connection of its own.
///
/// # Errors
/// If there is no whole answer within that time: why.
pub(super) async fn ask(base: &Base, call: &Call, within: Duration) -> Result<Answer, String> {
    match timeout(within, ask_now(base, call)).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(format!("no answer within {:.1} s", within.as_secs_f64())),
    }
}

async fn ask_now(base: &Base, call: &Call) -> Result<Answer, String> {
    let stream =
        TcpStream::connect(base.connects_to()).await.map_err(|error| format!("it cannot be reached: {error}"))?;
    let broken = |error: hyper::Error| format!("there is no answer: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driving = tokio::spawn(connection);
    let request = call.request().map_err(|error| format!("it cannot be asked: {error}"))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (status, headers) = (response.status().as_u16(), response.headers());
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| format!("its answer broke off: {error}"))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body })
    };
    let answered = answered.await;
    driving.abort();
    answered
}

/// Begins a request and cuts its connection off.
///
/// # Errors
/// If that much cannot be sent within that time.
pub(super) async fn cut_off(base: &Base, call: &Call, cut: Cut, within: Duration) -> io::Result<()> {
    match timeout(within, cut_off_now(base, call, cut)).await {
        Ok(cut) => cut,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn cut_off_now(base: &Base, call: &Call, cut: Cut) -> io::Result<()> {
    let mut stream = TcpStream::connect(base.connects_to()).await?;
    let bytes = call.bytes();
    let until = match cut {
        Cut::BeforeAnswer => bytes.len(),
        Cut::InRequest => {
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |place| place + 4);
            if head < bytes.len() { head + (bytes.len() - head) / 2 } else { head / 2 }
        }
    };
    stream.write_all(&bytes[..until]).await?;
    stream.flush().await?;
    stream.shutdown().await
}
