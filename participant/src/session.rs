//! The conversation with a coordinator, as `session.proto` has it.

mod proof;

use crate::config::Config;
use crate::engine::{Command, Handle, KnownHere};
use crate::outbox::{Outgoing, Outgoings, outbox};
use crate::points::around_send;
use crate::resource::Branches;
use bytes::Bytes;
use proof::{Challenges, Claim};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use undoubt_participant_core::{Hello, Proof, Recall, Recalled, Session, SessionRefused};
use undoubt_platform::{CrashPoints, Random, Reason};
use undoubt_proto::convert::{still_open, told_open};
use undoubt_proto::v1::participant_server::Participant;
use undoubt_proto::{KNOWN_EPOCH, PUT_BACK, v1};
use undoubt_vocabulary::limits::MAX_WORK_BYTES;
use undoubt_vocabulary::protocol::{self, NEWEST_VERSION, OLDEST_VERSION, PROVEN_VERSION};
use undoubt_vocabulary::{
    Abilities, AttemptNumber, CoordinatorId, Epoch, LowWaterMark, Statement, ToParticipant, WriteNumber,
};

/// A stream that does not say hello within this time is closed.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// A coordinator that takes nothing of what waits for it ends its session by that: what it is not told takes others' room.
pub(crate) const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest trace context of a message, of both texts together.
const MAX_TRACE_BYTES: usize = 768;

/// Batches between the engine and the stream: one being sent and one ready.
const MAX_BATCHES_UNDER_WAY: usize = 2;

/// The memory of a larger batch is not shared by what came in it: a small part that stays would keep all of it.
const MAX_SHARED_BATCH_BYTES: usize = 256 << 10;

#[derive(Clone)]
pub(crate) struct SessionService {
    engine: Handle,
    config: Arc<Config>,
    resource: &'static str,
    abilities: Arc<dyn Fn() -> Abilities + Send + Sync>,
    /// The number of the last write of the resource that is on stable storage.
    number: Number,
    crash: CrashPoints,
    sessions: Arc<AtomicU64>,
    challenges: Challenges,
}

type Number = Arc<dyn Fn() -> Option<WriteNumber> + Send + Sync>;

type Batches = Pin<Box<dyn Stream<Item = Result<v1::ParticipantBatch, Status>> + Send>>;

impl SessionService {
    pub(crate) fn new<R: Branches>(
        engine: Handle,
        config: Arc<Config>,
        resource: Arc<R>,
        crash: CrashPoints,
        random: Arc<dyn Random>,
    ) -> Self {
        let (kind, asked) = (resource.kind(), resource.clone());
        let abilities = Arc::new(move || Abilities {
            saga_steps: true,
            open_sagas: asked.takes_open_sagas(),
            still_open: true,
            one_phase: asked.takes_branches(),
            two_phase: asked.takes_branches() && asked.can_prepare(),
        });
        let number: Number = Arc::new(move || resource.number());
        let (sessions, challenges) = (Arc::default(), Challenges::new(random));
        SessionService { engine, config, resource: kind, abilities, number, crash, sessions, challenges }
    }

    /// Returns the version that both speak, what the hello says, and the keys that are to be proven.
    fn check(&self, hello: &v1::Hello) -> Result<(u32, Hello, Option<Claim>), Status> {
        let (oldest, newest) = (hello.protocol_version, hello.newest_protocol_version);
        let version = protocol::common_version(oldest, newest).ok_or_else(|| {
            Reason::NoCommonVersion.refuse(format!(
                "the coordinator speaks protocol versions {oldest} to {}, and those spoken here are {OLDEST_VERSION} to \
                 {NEWEST_VERSION}; use versions that have one in common",
                newest.max(oldest)
            ))
        })?;
        self.check_name(&hello.participant_name)?;
        let claim = Claim::read(&hello.public_key, &hello.successions)?.filter(|_| version >= PROVEN_VERSION);
        let hello = Hello {
            coordinator: coordinator(&hello.coordinator_id)?,
            proof: Proof::default(),
            name: hello.coordinator_name.clone(),
            epoch: Epoch(hello.epoch),
            number: number(hello.number.as_ref())?,
            shown: number(hello.seen.as_ref())?,
        };
        Ok((version, hello, claim))
    }

    /// Has whoever opens a session prove the keys that it claims. Until then nobody else hears of it.
    async fn prove(
        &self,
        hello: &Hello,
        claim: &Claim,
        incoming: &mut Streaming<v1::CoordinatorBatch>,
        batches: &mpsc::Sender<Result<v1::ParticipantBatch, Status>>,
    ) -> Result<(Proof, v1::CoordinatorBatch), Status> {
        let challenge = self.challenges.draw();
        let batch = v1::ParticipantBatch { challenge: Bytes::copy_from_slice(&challenge.0), ..Default::default() };
        // Whoever asked may have gone; then nothing comes either.
        let _ = batches.send(Ok(batch)).await;
        let second = tokio::time::timeout(HELLO_TIMEOUT, incoming.message())
            .await
            .map_err(|_| Reason::NoHello.refuse("no proof came; a challenge is answered with one"))??
            .ok_or_else(|| Reason::InvalidRequest.refuse("the stream ended before the proof"))?;
        let proof =
            second.proof.as_ref().ok_or_else(|| Reason::InvalidRequest.refuse("the second batch has no proof"))?;
        let statement = Statement::Session {
            challenge: &challenge,
            coordinator: hello.coordinator,
            epoch: hello.epoch,
            key: &claim.key,
            participant: &self.config.name,
        };
        let proven = claim.prove(&statement, &proof::signature(&proof.signature)?).ok_or_else(proof::not_signed)?;
        Ok((proven, second))
    }

    /// Returns what a question proves; `None`: it answers no challenge, and is given one.
    fn proof_of(&self, question: &v1::RecallRequest, shown: Option<&WriteNumber>) -> Result<Option<Proof>, Status> {
        let Some(claim) = Claim::read(&question.public_key, &question.successions)? else {
            return Ok(Some(Proof::default()));
        };
        let coordinator = coordinator(&question.coordinator_id)?;
        let answered = self.challenges.of_questions().into_iter().find(|given| given.0 == question.challenge[..]);
        let Some(challenge) = answered else { return Ok(None) };
        let participant = self.config.name.as_str();
        let statement = Statement::Recall { challenge: &challenge, coordinator, key: &claim.key, shown, participant };
        let signature = proof::signature(&question.signature)?;
        claim.prove(&statement, &signature).map(Some).ok_or_else(proof::not_signed)
    }

    fn check_name(&self, name: &str) -> Result<(), Status> {
        if name == self.config.name {
            return Ok(());
        }
        Err(Reason::OtherParticipant.refuse(format!(
            "this is participant {:?}, not {name:?}; correct the coordinator's configuration",
            self.config.name
        )))
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
            .map_err(|_| Reason::NoHello.refuse("no hello came; a session begins with one"))??
            .ok_or_else(|| Reason::InvalidRequest.refuse("the stream ended before hello"))?;
        let hello =
            first.hello.as_ref().ok_or_else(|| Reason::InvalidRequest.refuse("the first batch has no hello"))?;
        let (protocol_version, mut hello, claim) = self.check(hello)?;
        let session = Session(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (batches, stream) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
        let abilities = (self.abilities)();
        let welcome = v1::Welcome {
            protocol_version,
            participant_name: self.config.name.clone(),
            resource: self.resource.to_owned(),
            max_work_bytes: MAX_WORK_BYTES as u64,
            cannot_prepare: !abilities.two_phase,
            number: None,
            seen: None,
            abilities: abilities.names().map(str::to_owned).collect(),
        };
        let service = self.clone();
        tokio::spawn(async move {
            let mut begun = vec![first];
            if let Some(claim) = claim {
                match service.prove(&hello, &claim, &mut incoming, &batches).await {
                    Ok((proof, second)) => {
                        hello.proof = proof;
                        begun.push(second);
                    }
                    Err(status) => {
                        tracing::debug!(%status, "nobody proved to be a coordinator");
                        // It may have gone; then nobody wants to know.
                        let _ = batches.try_send(Err(status));
                        return;
                    }
                }
            }
            let SessionService { engine, crash, number, .. } = service;
            let (out, outgoing) = outbox(engine.room());
            if let Err(gone) = engine.tell(Command::Hello { session, hello, out }).await {
                // The coordinator may have gone, too.
                let _ = batches.try_send(Err(gone.into()));
                return;
            }
            tokio::select! {
                ended = receive(&engine, session, begun, incoming) => {
                    if let Err(status) = ended {
                        tracing::debug!(%status, "session ended");
                        // The coordinator may have gone; then nobody wants to know.
                        let _ = batches.try_send(Err(status));
                    }
                }
                () = send(outgoing, &batches, welcome, &number, &crash) => {}
            }
            // The engine may have gone first.
            let _ = engine.tell(Command::Closed { session }).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn recall(&self, request: Request<v1::RecallRequest>) -> Result<Response<v1::RecallResponse>, Status> {
        let question = request.into_inner();
        self.check_name(&question.participant_name)?;
        let coordinator = coordinator(&question.coordinator_id)?;
        let shown = number(question.seen.as_ref())?;
        let Some(proof) = self.proof_of(&question, shown.as_ref())? else {
            let [challenge, _] = self.challenges.of_questions();
            let challenge = Bytes::copy_from_slice(&challenge.0);
            return Ok(Response::new(v1::RecallResponse { challenge, ..Default::default() }));
        };
        let v1::RecallRequest { coordinator_name, attempts, from_attempt_number, .. } = question;
        let recall = Recall { coordinator, proof, name: coordinator_name, shown };
        let known = self.engine.recall(recall, attempts.then_some(AttemptNumber(from_attempt_number))).await?;
        let known = known.map_err(|why| proof::status_of(&why))?;
        let KnownHere { number, recalled, attempts, next } = known;
        let Recalled { seen, epoch, low_water_mark, connected, put_back, other } = recalled;
        Ok(Response::new(v1::RecallResponse {
            number: number.map(Into::into),
            seen: seen.number.map(Into::into),
            epoch: epoch.0,
            low_water_mark: low_water_mark.below().0,
            still_open: told_open(&low_water_mark),
            connected,
            put_back: put_back.unwrap_or_default(),
            other_coordinator_id: other.map_or_else(Bytes::new, |other| Bytes::copy_from_slice(&other.0)),
            attempts: attempts.into_iter().map(Into::into).collect(),
            next_attempt_number: next.map_or(0, |next| next.0),
            challenge: Bytes::new(),
        }))
    }
}

fn coordinator(id: &Bytes) -> Result<CoordinatorId, Status> {
    CoordinatorId::try_from(id.as_ref()).map_err(|bad| Reason::InvalidRequest.refuse(bad.to_string()))
}

fn number(wire: Option<&v1::LogNumber>) -> Result<Option<WriteNumber>, Status> {
    wire.cloned().map(WriteNumber::try_from).transpose().map_err(|bad| Reason::InvalidRequest.refuse(bad.to_string()))
}

/// Reads what a hello claims, for the fuzzers.
pub(crate) fn read_hello(hello: &v1::Hello) -> Result<(), Status> {
    if let Some(claim) = Claim::read(&hello.public_key, &hello.successions)? {
        claim.prove(&Statement::Succession { former: &claim.key, next: &claim.key }, &proof::signature(&[0; 64])?);
    }
    coordinator(&hello.coordinator_id)?;
    number(hello.number.as_ref())?;
    number(hello.seen.as_ref())?;
    Ok(())
}

async fn receive(
    engine: &Handle,
    session: Session,
    begun: Vec<v1::CoordinatorBatch>,
    mut incoming: Streaming<v1::CoordinatorBatch>,
) -> Result<(), Status> {
    let mut begun = begun.into_iter();
    let mut next = begun.next();
    // As it was told last.
    let mut open: Arc<[AttemptNumber]> = Arc::default();
    while let Some(batch) = next {
        if let Some(told) = &batch.still_open {
            open = still_open(told).map_err(|bad| Reason::InvalidRequest.refuse(bad.to_string()))?.into();
        }
        let low_water_mark = LowWaterMark::sharing(AttemptNumber(batch.low_water_mark), &open);
        let writes = batch.stable_writes;
        let mut messages = batch.messages;
        let traces = traces_of(&mut messages);
        let messages: Result<Vec<ToParticipant>, _> = messages.into_iter().map(TryInto::try_into).collect();
        let mut messages = messages.map_err(|bad| Reason::InvalidRequest.refuse(bad.to_string()))?;
        let bytes = messages.iter().map(ToParticipant::payload_bytes).sum();
        if bytes > MAX_SHARED_BATCH_BYTES {
            messages.iter_mut().for_each(ToParticipant::unshare);
        }
        for message in &messages {
            tracing::debug!(target: "undoubt::wire", what = message.name(), tx = %message.tx(),
                attempt_number = message.attempt_number().0, "received");
        }
        let received = engine.room_to_receive(bytes).await?;
        engine.tell(Command::Batch { session, low_water_mark, writes, messages, traces, received }).await?;
        next = match begun.next() {
            Some(batch) => Some(batch),
            None => incoming.message().await?,
        };
    }
    Ok(())
}

/// Takes the trace contexts out of messages. Those that are too long to be any are left out.
fn traces_of(messages: &mut [v1::ToParticipant]) -> Vec<(usize, v1::TraceContext)> {
    let is_short = |context: &v1::TraceContext| context.traceparent.len() + context.tracestate.len() <= MAX_TRACE_BYTES;
    let taken = messages.iter_mut().map(|message| message.trace_context.take());
    taken.enumerate().filter_map(|(place, context)| Some((place, context.filter(is_short)?))).collect()
}

/// Drains what the engine has queued into batches, until either side is closed.
async fn send(
    mut outgoings: Outgoings,
    batches: &mpsc::Sender<Result<v1::ParticipantBatch, Status>>,
    welcome: v1::Welcome,
    number: &Number,
    crash: &CrashPoints,
) {
    while outgoings.ready().await {
        // Before the messages are taken: what they say was written no later.
        let stable = number();
        let mut batch =
            v1::ParticipantBatch { stable_writes: stable.map_or(0, |stable| stable.writes), ..Default::default() };
        let mut reached = Vec::new();
        let mut close = None;
        for item in outgoings.batch() {
            match item {
                Outgoing::Welcome { seen } => {
                    let (number, seen) = (stable.map(Into::into), seen.map(Into::into));
                    batch.welcome = Some(v1::Welcome { number, seen, ..welcome.clone() });
                }
                Outgoing::Message { message, emitted } => {
                    let (before, after) = around_send(&message);
                    crash.reach(before);
                    reached.push(after);
                    tracing::debug!(target: "undoubt::wire", what = message.name(), tx = %message.tx(),
                        attempt_number = message.attempt_number().0, "sent");
                    let emitted = emitted.map(Into::into);
                    batch.messages.push(v1::ToCoordinator { emitted, ..message.into() });
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
                SessionRefused::LowerEpoch { known, .. } | SessionRefused::OtherStart { epoch: known } => {
                    let mut status = Reason::FencedByEpoch.refuse(why.to_string());
                    status.metadata_mut().insert(KNOWN_EPOCH, known.into());
                    status
                }
                SessionRefused::Unproven(ref why) => proof::status_of(why),
                SessionRefused::Replaced => Reason::SessionReplaced.refuse(why.to_string()),
                SessionRefused::PutBack { why: ref sign } => {
                    let mut status = Reason::PutBack.refuse(why.to_string());
                    let sign = sign.replace(|c: char| !c.is_ascii() || c.is_ascii_control(), "?");
                    status.metadata_mut().insert(PUT_BACK, sign.parse().expect("it is printable ASCII"));
                    status
                }
            };
            // The coordinator may have gone; then nobody wants to know.
            let _ = batches.send(Err(status)).await;
            return;
        }
    }
}
