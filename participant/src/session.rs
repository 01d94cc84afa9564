//! The conversation with a coordinator, as `session.proto` has it.

use crate::config::Config;
use crate::engine::{Command, EngineGone, Handle};
use crate::outbox::{Outgoing, Outgoings, outbox};
use crate::points::around_send;
use crate::resource::ResourceManager;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use undoubt_participant_core::{Session, SessionRefused};
use undoubt_platform::CrashPoints;
use undoubt_proto::v1::participant_server::Participant;
use undoubt_proto::{KNOWN_EPOCH, v1};
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::{CoordinatorId, Epoch, Ticket, ToParticipant};

const PROTOCOL_VERSION: u32 = 1;

/// A stream that does not say hello within this time is closed.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// A coordinator that takes nothing of what waits for it ends its session by that: what it is not told takes others' room.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Batches between the engine and the stream: one being sent and one ready.
const MAX_BATCHES_UNDER_WAY: usize = 2;

/// The memory of a larger batch is not shared by what came in it: a small part that stays would keep all of it.
const MAX_SHARED_BATCH_BYTES: usize = 256 << 10;

#[derive(Clone)]
pub(crate) struct SessionService {
    engine: Handle,
    config: Arc<Config>,
    resource: &'static str,
    can_prepare: bool,
    crash: CrashPoints,
    sessions: Arc<AtomicU64>,
}

type Batches = Pin<Box<dyn Stream<Item = Result<v1::ParticipantBatch, Status>> + Send>>;

impl SessionService {
    pub(crate) fn new<R: ResourceManager>(
        engine: Handle,
        config: Arc<Config>,
        resource: &R,
        crash: CrashPoints,
    ) -> Self {
        let (resource, can_prepare) = (resource.kind(), resource.can_prepare());
        SessionService { engine, config, resource, can_prepare, crash, sessions: Arc::default() }
    }

    fn check(&self, hello: &v1::Hello) -> Result<(CoordinatorId, Epoch), Status> {
        if hello.protocol_version != PROTOCOL_VERSION {
            return Err(Status::failed_precondition(format!(
                "protocol version {} is not the {PROTOCOL_VERSION} that is spoken here; use matching versions",
                hello.protocol_version
            )));
        }
        if hello.participant_name != self.config.name {
            return Err(Status::failed_precondition(format!(
                "this is participant {:?}, not {:?}; correct the coordinator's configuration",
                self.config.name, hello.participant_name
            )));
        }
        let coordinator = CoordinatorId::try_from(hello.coordinator_id.as_ref())
            .map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        Ok((coordinator, Epoch(hello.epoch)))
    }
}

#[tonic::async_trait]
impl Participant for SessionService {
    type SessionStream = Batches;

    async fn session(
        &self,
        request: Request<Streaming<v1::CoordinatorBatch>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello came; a session begins with one"))??
            .ok_or_else(|| Status::invalid_argument("the stream ended before hello"))?;
        let hello = first.hello.as_ref().ok_or_else(|| Status::invalid_argument("the first batch has no hello"))?;
        let (coordinator, epoch) = self.check(hello)?;
        let session = Session(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (out, outgoing) = outbox(self.engine.room());
        self.engine.tell(Command::Hello { session, coordinator, epoch, out }).await.map_err(gone)?;
        let (batches, stream) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
        let welcome = v1::Welcome {
            protocol_version: PROTOCOL_VERSION,
            participant_name: self.config.name.clone(),
            resource: self.resource.to_owned(),
            max_work_bytes: MAX_WORK_BYTES as u64,
            cannot_prepare: !self.can_prepare,
        };
        let (engine, crash) = (self.engine.clone(), self.crash.clone());
        tokio::spawn(async move {
            tokio::select! {
                ended = receive(&engine, session, first, incoming) => {
                    if let Err(status) = ended {
                        tracing::debug!(%status, "session ended");
                        // The coordinator may have gone; then nobody wants to know.
                        let _ = batches.try_send(Err(status));
                    }
                }
                () = send(outgoing, &batches, welcome, &crash) => {}
            }
            // The engine may have gone first.
            let _ = engine.tell(Command::Closed { session }).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

async fn receive(
    engine: &Handle,
    session: Session,
    first: v1::CoordinatorBatch,
    mut incoming: Streaming<v1::CoordinatorBatch>,
) -> Result<(), Status> {
    let mut next = Some(first);
    while let Some(batch) = next {
        let fence = Ticket(batch.fence);
        let messages: Result<Vec<ToParticipant>, _> = batch.messages.into_iter().map(TryInto::try_into).collect();
        let mut messages = messages.map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let bytes = messages.iter().map(ToParticipant::payload_bytes).sum();
        if bytes > MAX_SHARED_BATCH_BYTES {
            messages.iter_mut().for_each(ToParticipant::unshare);
        }
        for message in &messages {
            tracing::debug!(target: "undoubt::wire", what = message.name(), tx = %message.tx(),
                ticket = message.ticket().0, "received");
        }
        let received = engine.room_to_receive(bytes).await.map_err(gone)?;
        engine.tell(Command::Batch { session, fence, messages, received }).await.map_err(gone)?;
        next = incoming.message().await?;
    }
    Ok(())
}

/// Drains what the engine has queued into batches, until either side is closed.
async fn send(
    mut outgoings: Outgoings,
    batches: &mpsc::Sender<Result<v1::ParticipantBatch, Status>>,
    welcome: v1::Welcome,
    crash: &CrashPoints,
) {
    while outgoings.ready().await {
        let mut batch = v1::ParticipantBatch::default();
        let mut reached = Vec::new();
        let mut close = None;
        for item in outgoings.batch() {
            match item {
                Outgoing::Welcome => batch.welcome = Some(welcome.clone()),
                Outgoing::Message(message) => {
                    let (before, after) = around_send(&message);
                    crash.reach(before);
                    reached.push(after);
                    tracing::debug!(target: "undoubt::wire", what = message.name(), tx = %message.tx(),
                        ticket = message.ticket().0, "sent");
                    batch.messages.push(message.into());
                }
                Outgoing::Close(why) => close = Some(why),
            }
        }
        let worth_sending = batch.welcome.is_some() || !batch.messages.is_empty();
        if worth_sending {
            match tokio::time::timeout(UNREAD_TIMEOUT, batches.send(Ok(batch))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    tracing::warn!(?UNREAD_TIMEOUT, "a coordinator reads no answers, so its session ends; look at it");
                    return;
                }
            }
        }
        outgoings.sent();
        reached.into_iter().for_each(|point| crash.reach(point));
        if let Some(why) = close {
            let status = match why {
                SessionRefused::LowerEpoch { known, .. } => {
                    let mut status = Status::failed_precondition(why.to_string());
                    status.metadata_mut().insert(KNOWN_EPOCH, known.into());
                    status
                }
                SessionRefused::Replaced => Status::aborted(why.to_string()),
            };
            // The coordinator may have gone; then nobody wants to know.
            let _ = batches.send(Err(status)).await;
            return;
        }
    }
}

pub(crate) fn gone(gone: EngineGone) -> Status {
    Status::unavailable(gone.to_string())
}
