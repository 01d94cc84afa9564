//! The webhook: alarms are posted to it, one after the other, and none holds up the server.

use super::{Condition, Told};
use crate::dial::Dial;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::transport::Uri;

/// Alarms that may wait to be posted; what comes on top is in the log alone.
pub(crate) const MAX_WAITING: usize = 64;

/// One call, with connecting.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an alarm is posted before it is left to the log.
pub(crate) const ATTEMPTS: u32 = 5;

/// The pause after the first that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The end of whoever looks: it rings and goes on.
#[derive(Clone, Debug)]
pub struct Bell(mpsc::Sender<Told>);

/// The other end, which posts.
pub struct Ringing {
    told: mpsc::Receiver<Told>,
    dial: Arc<dyn Dial>,
    url: Uri,
    server: &'static str,
    name: String,
}

/// The body of a call, as JSON. These names are stable.
#[derive(Debug, Serialize)]
struct Body<'a> {
    /// `coordinator` or `participant`, and its name.
    server: &'static str,
    name: &'a str,
    alarm: &'static str,
    /// `begins`, `lasts` or `ends`.
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    about: &'a str,
    number: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    oldest: &'a str,
    since_us: u64,
    text: &'a str,
}

#[derive(Debug, thiserror::Error)]
enum NotHeard {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error("it cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Late,
}

impl Bell {
    /// Returns a bell, and who posts what it tells as long as that runs.
    pub fn new(dial: Arc<dyn Dial>, url: Uri, server: &'static str, name: String) -> (Bell, Ringing) {
        let (bell, told) = mpsc::channel(MAX_WAITING);
        (Bell(bell), Ringing { told, dial, url, server, name })
    }

    /// Tells an alarm, unless too many wait.
    pub fn ring(&self, told: Told) {
        if self.0.try_send(told).is_err() {
            tracing::warn!(MAX_WAITING, "the webhook for alarms does not keep up: one is in the log alone");
        }
    }
}

impl Ringing {
    /// Posts alarms until the bell is gone.
    pub async fn run(mut self) {
        while let Some(told) = self.told.recv().await {
            let mut pause = FIRST_PAUSE;
            for attempt in 1..=ATTEMPTS {
                let called = timeout(CALL_TIMEOUT, self.call(&told)).await.unwrap_or(Err(NotHeard::Late));
                let Err(error) = called else { break };
                // Its path and query may hold a secret.
                let host = self.url.host().unwrap_or_default();
                if attempt == ATTEMPTS {
                    tracing::warn!(host, %error, "an alarm was not posted, and is in the log alone; see to [alarm] url");
                    break;
                }
                tracing::debug!(host, %error, attempt, "posting an alarm failed; it is tried again");
                sleep(pause).await;
                pause *= 2;
            }
        }
    }

    async fn call(&self, told: &Told) -> Result<(), NotHeard> {
        let Condition { kind, about, number, oldest, since, text } = told.condition();
        let body = Body {
            server: self.server,
            name: &self.name,
            alarm: kind,
            state: told.label(),
            about,
            number: *number,
            oldest,
            since_us: since.0,
            text,
        };
        let request = Request::post(self.url.path_and_query().map_or("/", |path| path.as_str()))
            .header("host", self.url.authority().map_or("", |authority| authority.as_str()))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))?;
        let connection = self.dial.dial(self.url.clone()).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
        let driving = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        driving.abort();
        let status = answer?.status();
        if status.is_success() { Ok(()) } else { Err(NotHeard::Status(status.as_u16())) }
    }
}

impl std::fmt::Debug for Ringing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ringing").finish_non_exhaustive()
    }
}
