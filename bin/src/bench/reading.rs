//! Clients that read large answers, each on a connection of its own, and drop what they read.
//!
//! They speak gRPC by hand: a library would gather each answer before it hands it over, and thousands of clients would
//! need gigabytes. They run in a process of their own, so that they take no time from whoever measures beside them.

use anyhow::Context;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Uri};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::{Service as _, ServiceExt as _};
use undoubt_client::Transaction;
use undoubt_client::kv::KvWork;
use undoubt_proto::v1::{BranchWork, SubmitRequest};

/// The bytes that a connection may have received and not read yet. Small, since there are thousands.
const WINDOW_BYTES: u32 = 64 << 10;

/// A client that was turned away pauses for so long, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The number of clients that connect at a time: fewer than wait in a listener's queue.
const CONNECTING: usize = 64;

const SUBMIT: &str = "/undoubt.v1.Coordinator/Submit";

/// A transaction may take so long.
const TIMEOUT_MS: u32 = 60_000;

/// A load of clients that read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// `http://host:port` of the coordinator.
    pub coordinator: String,
    pub participant: String,
    pub keys: Vec<String>,
    /// The bytes of the values of all keys together.
    pub bytes: u64,
    pub clients: usize,
    pub until: Until,
}

/// The end of reading: when clients have read enough.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Until {
    /// Each stops after this time, whatever is under way.
    Passed(Duration),
    /// Each stops when it has had so many answers, or all after this time.
    Had { answers: u64, at_most: Duration },
}

/// The result of a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The answers with all that was asked for.
    pub answers: u64,
    /// Clients that had as many as they wanted; with a time alone, at least one.
    pub served: usize,
    /// The answers that were turned away or failed, counted by their status and the start of its message.
    pub failed: BTreeMap<String, u64>,
}

/// Connects all clients, then lets them read all at once.
pub async fn read(reading: &Reading) -> anyhow::Result<Read> {
    let endpoint = Endpoint::from_shared(reading.coordinator.clone())?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let uri: Uri = format!("{}{SUBMIT}", reading.coordinator).parse().context("the coordinator's address")?;
    let connecting = (0..reading.clients).map(|_| endpoint.connect());
    let mut connecting = futures::stream::iter(connecting).buffer_unordered(CONNECTING);
    let mut channels = Vec::new();
    while let Some(channel) = connecting.next().await {
        channels.push(channel.with_context(|| format!("connecting client {}", channels.len() + 1))?);
    }
    let work = reading.keys.iter().fold(KvWork::new(), |all, key| all.get(key.clone())).encode()?;
    let deadline = Instant::now()
        + match reading.until {
            Until::Passed(time) | Until::Had { at_most: time, .. } => time,
        };
    let wanted = match reading.until {
        Until::Passed(_) => u64::MAX,
        Until::Had { answers, .. } => answers,
    };
    let mut clients = JoinSet::new();
    for channel in channels {
        let branch = BranchWork { participant: reading.participant.clone(), work: work.clone() };
        let client = Client { channel, uri: uri.clone(), branch, bytes: reading.bytes, read: Read::default() };
        clients.spawn(client.read_on(wanted, deadline));
    }
    let mut all = Read::default();
    while let Some(one) = clients.join_next().await {
        let one = one.context("a client panicked")?;
        all.answers += one.answers;
        all.served += usize::from(one.answers >= if wanted == u64::MAX { 1 } else { wanted });
        for (why, count) in one.failed {
            *all.failed.entry(why).or_default() += count;
        }
    }
    Ok(all)
}

struct Client {
    channel: Channel,
    uri: Uri,
    branch: BranchWork,
    bytes: u64,
    read: Read,
}

impl Client {
    async fn read_on(mut self, wanted: u64, deadline: Instant) -> Read {
        let mut pause = FIRST_PAUSE;
        while self.read.answers < wanted {
            let Ok(answered) = timeout_at(deadline, self.one()).await else { break };
            match answered {
                Ok(()) => {
                    self.read.answers += 1;
                    pause = FIRST_PAUSE;
                }
                Err(why) => {
                    *self.read.failed.entry(why).or_default() += 1;
                    if timeout_at(deadline, sleep(pause)).await.is_err() {
                        break;
                    }
                    pause = (2 * pause).min(MAX_PAUSE);
                }
            }
        }
        self.read
    }

    /// One transaction, and all of its answer.
    async fn one(&mut self) -> Result<(), String> {
        let tx = Transaction::new().id().to_bytes();
        let branches = vec![self.branch.clone()];
        let message = SubmitRequest { tx, branches, timeout_ms: TIMEOUT_MS, ..SubmitRequest::default() };
        let failed =
            |error: &dyn std::fmt::Display| format!("the connection failed: {}", beginning(&error.to_string()));
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(framed(&message))))
            .map_err(|error| failed(&error))?;
        let channel = self.channel.ready().await.map_err(|error| failed(&error))?;
        let response = channel.call(request).await.map_err(|error| failed(&error))?;
        // The answer to a request that is refused at once has its status in the head.
        let mut status = status_of(response.headers());
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failed(&error))?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            status = frame.trailers_ref().and_then(status_of).or(status);
        }
        match status {
            Some(Ok(())) if bytes >= self.bytes => Ok(()),
            Some(Ok(())) => Err("it did not commit".to_owned()),
            Some(Err(why)) => Err(why),
            None => Err("the answer ended without a status".to_owned()),
        }
    }
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn framed(message: &SubmitRequest) -> bytes::Bytes {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message.encode_to_vec());
    framed.into()
}

fn status_of(headers: &HeaderMap) -> Option<Result<(), String>> {
    let status = tonic::Status::from_header_map(headers)?;
    let why = || format!("{:?}: {}", status.code(), beginning(status.message()));
    Some(if status.code() == tonic::Code::Ok { Ok(()) } else { Err(why()) })
}

/// Enough of a message to tell kinds apart, without what differs from one to the next.
fn beginning(message: &str) -> String {
    message
        .split([':', ';', ','])
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_ascii_digit())
        .collect()
}
