//! The way in which a coordinator reaches its participants. The simulation brings its own way.

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Error};
use undoubt_platform::dial::{self, Dial};
use undoubt_proto::v1::participant_client::ParticipantClient;
use undoubt_proto::v1::{CoordinatorBatch, ParticipantBatch, RecallRequest, RecallResponse};
use undoubt_vocabulary::limits::MAX_PARTICIPANT_BATCH_BYTES;

/// The batches that a participant sends in a session.
pub type Incoming = BoxStream<'static, Result<ParticipantBatch, Status>>;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {}", root_cause(.0))]
    Transport(#[from] Error),
    #[error("{}", if .0.message().is_empty() { .0.to_string() } else { .0.message().to_owned() })]
    Refused(#[from] Status),
}

/// Opens sessions.
pub trait Connect: Send + Sync + 'static {
    /// Connects to `http://host:port` or `https://host:port` and opens a session, into which `outgoing` flows. The caller bounds how long that
    /// may take.
    fn open(
        &self,
        address: &str,
        outgoing: mpsc::Receiver<CoordinatorBatch>,
    ) -> BoxFuture<'static, Result<Incoming, ConnectError>>;

    /// Asks the participant at this address what it knows of a coordinator. The caller bounds how long that may take.
    fn recall(&self, address: &str, request: RecallRequest)
    -> BoxFuture<'static, Result<RecallResponse, ConnectError>>;
}

/// The deadlines of sessions over TCP. A peer that does not even answer a ping for `keep_alive` is given up.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnect {
    pub connect_timeout: Duration,
    pub keep_alive: Duration,
}

impl TcpConnect {
    /// Returns the endpoint with its deadlines, for other transports to start from.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        Ok(Endpoint::from_shared(address.to_owned())?
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(self.keep_alive / 2)
            .keep_alive_timeout(self.keep_alive / 2)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES))
    }
}

/// Flow control of one session, each way.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// TCP, with TLS where the dialler has it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a dialler has none")]
pub struct DialConnect {
    pub tcp: TcpConnect,
    pub dial: Arc<dyn Dial>,
}

impl Connect for DialConnect {
    fn open(
        &self,
        address: &str,
        outgoing: mpsc::Receiver<CoordinatorBatch>,
    ) -> BoxFuture<'static, Result<Incoming, ConnectError>> {
        let (endpoint, dial) = (self.tcp.endpoint(address), self.dial.clone());
        Box::pin(async move { converse(dial::connect(endpoint?, dial).await?, outgoing).await })
    }

    fn recall(
        &self,
        address: &str,
        request: RecallRequest,
    ) -> BoxFuture<'static, Result<RecallResponse, ConnectError>> {
        let (endpoint, dial) = (self.tcp.endpoint(address), self.dial.clone());
        Box::pin(async move { recall(dial::connect(endpoint?, dial).await?, request).await })
    }
}

/// Asks over a channel.
pub async fn recall(channel: Channel, request: RecallRequest) -> Result<RecallResponse, ConnectError> {
    Ok(ParticipantClient::new(channel).recall(request).await?.into_inner())
}

/// Opens a session over a channel.
pub async fn converse(channel: Channel, outgoing: mpsc::Receiver<CoordinatorBatch>) -> Result<Incoming, ConnectError> {
    let mut client = ParticipantClient::new(channel)
        .max_decoding_message_size(MAX_PARTICIPANT_BATCH_BYTES)
        .max_encoding_message_size(usize::MAX);
    Ok(client.session(ReceiverStream::new(outgoing)).await?.into_inner().boxed())
}

/// Returns the innermost cause, which says what happened; the outer ones say "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
