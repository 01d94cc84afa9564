//! The bodies of requests: bounded in length, in time and, of all together, in memory.

use crate::problem::Problem;
use axum::body::{Body, HttpBody as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use undoubt_platform::Reason;

/// The largest transaction in its longest form, as hexadecimal in JSON, with room to spare.
pub(crate) const MAX_BODY_BYTES: usize = 12 << 20;

/// The time within which a body has to be whole.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies that are not whole, of all requests together.
pub(crate) const MAX_BODIES_BYTES: usize = 128 << 20;

/// The memory in which bodies are read as JSON, of all requests together.
pub(crate) const MAX_READING_BYTES: usize = 256 << 20;

/// The most memory that a byte of JSON takes while it is read: `[0,0,…` is a value for every two bytes.
const BYTES_PER_BYTE_READ: usize = 16;

/// The time for which a body waits for room to be read.
pub(crate) const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for which a refused body is read, and the most bytes that are read of it.
const READ_OUT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_READ_OUT_BYTES: usize = 4 << 20;

/// The room for the bodies of all requests.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    bodies: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// A body that is whole, with the room that it takes while it is read.
#[derive(Debug)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
    _reading: OwnedSemaphorePermit,
}

impl Whole {
    /// Returns the text.
    pub(crate) fn text(&self) -> Result<&str, Problem> {
        crate::text(&self.bytes).map_err(|why| Problem::new(Reason::InvalidRequest, why.to_string()))
    }
}

impl Room {
    pub(crate) fn new() -> Room {
        let of = |bytes| Arc::new(Semaphore::new(bytes));
        Room { bodies: of(MAX_BODIES_BYTES), reading: of(MAX_READING_BYTES) }
    }

    /// Returns the body of a request, which has to be JSON, once it is whole and there is room to read it.
    pub(crate) async fn json(&self, headers: &HeaderMap, mut body: Body) -> Result<Whole, Problem> {
        let read = self.read(headers, &mut body).await;
        if read.is_err() {
            read_out(body).await;
        }
        read
    }

    async fn read(&self, headers: &HeaderMap, body: &mut Body) -> Result<Whole, Problem> {
        check_json(headers)?;
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let (bytes, _held) = timeout(BODY_TIMEOUT, self.whole(body)).await.map_err(|_elapsed| {
            let why = format!("the body did not come whole within {} s; send it faster", BODY_TIMEOUT.as_secs());
            Problem::new(Reason::MessageIncomplete, why).with(StatusCode::REQUEST_TIMEOUT)
        })??;
        let room = self.reading.clone().acquire_many_owned(permits(bytes.len() * BYTES_PER_BYTE_READ));
        match timeout(ROOM_TIMEOUT, room).await {
            Ok(Ok(reading)) => Ok(Whole { bytes, _reading: reading }),
            Ok(Err(_)) | Err(_) => Err(no_room()),
        }
    }

    async fn whole(&self, body: &mut Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Problem> {
        let mut bytes = Vec::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let broken = |_| Problem::new(Reason::MessageIncomplete, "the body broke off".to_owned());
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_large());
            }
            let more = self.bodies.clone().try_acquire_many_owned(permits(data.len())).map_err(|_| no_room())?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, held))
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Reads and drops what else comes of a refused body, within bounds: a connection that is closed before it is read may take the answer
/// with it.
async fn read_out(mut body: Body) {
    let until_its_end = async {
        let mut read_bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read_bytes += frame.data_ref().map_or(0, |data| data.len());
            if read_bytes > MAX_READ_OUT_BYTES {
                break;
            }
        }
    };
    timeout(READ_OUT_TIMEOUT, until_its_end).await.unwrap_or_default();
}

fn too_large() -> Problem {
    let why = format!("the body has more than the {MAX_BODY_BYTES} bytes that are taken; make it smaller");
    Problem::new(Reason::MessageTooLarge, why)
}

fn no_room() -> Problem {
    Problem::new(Reason::TooManyRequests, "there is no room for the body of this request; come back later".to_owned())
}

fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    let why = format!("the body has to be JSON, with the header `content-type: application/json`, and says {given:?}");
    Err(Problem::new(Reason::InvalidRequest, why).with(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}
