//! A connection over which a load posts JSON, one request after the other.

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct JsonConnection {
    address: String,
    sender: SendRequest<Full<Bytes>>,
}

impl JsonConnection {
    pub async fn connect(address: &str) -> anyhow::Result<JsonConnection> {
        let connecting = timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connecting.map_err(anyhow::Error::from).and_then(|connected| Ok(connected?));
        let stream = stream.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, driving) = handshake(TokioIo::new(stream)).await?;
        // It ends with its sender.
        tokio::spawn(driving);
        Ok(JsonConnection { address: address.to_owned(), sender })
    }

    /// Posts a body and returns what is answered.
    ///
    /// # Errors
    /// If the connection breaks, or no answer comes in time.
    pub async fn post(&mut self, path: &str, body: String) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::post(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let asking = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        timeout(ANSWER_TIMEOUT, asking)
            .await
            .with_context(|| format!("{} did not answer within {ANSWER_TIMEOUT:?}; look at its log", self.address))?
    }
}
