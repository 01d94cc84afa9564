//! One stream to each participant, for as long as the coordinator lives.
//!
//! A session ends when the stream does, and is opened anew after a capped, jittered pause. What was under way is not
//! repeated here: the core does that when it hears of the new session.

pub(crate) mod sender;

use crate::config::Config;
use crate::connect::{Connect, ConnectError, Incoming};
use crate::engine::{Command, Handle};
use crate::queue::Queue;
use crate::witness::{self, WitnessError};
use bytes::Bytes;
use futures::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use undoubt_coordinator_core::standing::{Sign, late_sign};
use undoubt_platform::server::EngineGone;
use undoubt_platform::{Clock, CrashPoints, NumberedStore, Random, SecretKey};
use undoubt_proto::KNOWN_EPOCH;
use undoubt_proto::v1::{self, CoordinatorBatch, Hello, ParticipantBatch, Proof, Welcome};
use undoubt_vocabulary::{
    Abilities, Challenge, CoordinatorId, Epoch, EventId, ParticipantName, Signature, Starts, Statement, StepOutcome,
    ToCoordinator, TxId, Vote, WriteNumber, protocol,
};

/// Batches between the queue and the stream: one being sent and one ready.
const MAX_BATCHES_UNDER_WAY: usize = 2;

/// The parts that all sessions of a coordinator share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) crash: CrashPoints,
    pub(crate) id: CoordinatorId,
    pub(crate) epoch: Epoch,
    pub(crate) log: Arc<NumberedStore>,
    pub(crate) starts: Starts,
    /// True if the coordinator is a new one on purpose, though its name is known.
    pub(crate) is_new: bool,
    pub(crate) clock: Arc<dyn Clock>,
    /// Sessions that were begun with anybody, so that each has a number of its own.
    pub(crate) begun: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", sentence(.0))]
    Refused(#[from] tonic::Status),
    #[error("no welcome came within {0} ms of connecting")]
    NoWelcome(u64),
    #[error("it welcomed as {found:?}, protocol version {version}; check the address in the configuration")]
    WrongWelcome { found: String, version: u32 },
    #[error("its challenge has {0} bytes, and not 32")]
    WrongChallenge(usize),
    #[error("it ended the session")]
    Ended,
    #[error("it has another address, and is called there")]
    Moved,
    #[error("it was taken out of the settings")]
    TakenOut,
    #[error("it has not read what waits for it, over {0} bytes; another session begins anew")]
    NotRead(usize),
    #[error("{sign}")]
    PutBack { sign: Sign, seen: WriteNumber },
    #[error("it was put back, and what it has lost cannot be listed yet: {0}")]
    Loss(#[from] WitnessError),
    #[error(transparent)]
    EngineGone(#[from] EngineGone),
}

/// The reason why a coordinator has to end.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error(transparent)]
    FencedByEpoch(#[from] FencedByEpoch),
    #[error("{sign}")]
    PutBack { sign: Sign, seen: WriteNumber },
}

/// A participant knows this coordinator with a higher epoch, or another start of the same: another process has, or had, its
/// log (R5).
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "participant {by} knows epoch {} of this coordinator by another process, and this is epoch {}: that has taken over, \
     or the data folder is an old copy; use the newest folder, and let one process have it",
    .known.0, .own.0
)]
pub struct FencedByEpoch {
    pub by: ParticipantName,
    pub known: Epoch,
    pub own: Epoch,
}

/// Returns what a participant says, without the number that programs read.
fn sentence(status: &tonic::Status) -> String {
    if status.message().is_empty() { status.to_string() } else { status.message().to_owned() }
}

impl SessionError {
    fn known_epoch(&self) -> Option<Epoch> {
        match self {
            SessionError::Refused(status) | SessionError::Connect(ConnectError::Refused(status)) => {
                status.metadata().get(KNOWN_EPOCH)?.to_str().ok()?.parse().ok().map(Epoch)
            }
            SessionError::Connect(ConnectError::Transport(_))
            | SessionError::NoWelcome(_)
            | SessionError::WrongWelcome { .. }
            | SessionError::WrongChallenge(_)
            | SessionError::Ended
            | SessionError::Moved
            | SessionError::TakenOut
            | SessionError::NotRead(_)
            | SessionError::PutBack { .. }
            | SessionError::Loss(_)
            | SessionError::EngineGone(_) => None,
        }
    }
}

/// Keeps a session to one participant, at its address, until the engine or its link is gone, or somebody else is the coordinator.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    participant: ParticipantName,
    mut address: watch::Receiver<String>,
    engine: Handle,
) -> Result<(), Ended> {
    let mut attempt = 0;
    loop {
        let session = shared.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let at = address.borrow_and_update().clone();
        let queue = Queue::default();
        let mut welcomed = false;
        let conversed = tokio::select! {
            biased;
            ended = converse(&shared, &participant, &at, &engine, session, &queue, &mut welcomed) => ended,
            changed = address.changed() => Err(changed.map_or(SessionError::TakenOut, |()| SessionError::Moved)),
        };
        let error = match conversed {
            Err(SessionError::EngineGone(_)) => return Ok(()),
            Err(SessionError::TakenOut) => {
                queue.close();
                return Ok(());
            }
            Err(SessionError::PutBack { sign, seen }) => return Err(Ended::PutBack { sign, seen }),
            Err(error) => error,
            Ok(()) => SessionError::Ended,
        };
        queue.close();
        if let Some(known) = error.known_epoch().filter(|known| *known >= shared.epoch) {
            return Err(FencedByEpoch { by: participant, known, own: shared.epoch }.into());
        }
        let has_moved = matches!(error, SessionError::Moved);
        attempt = if welcomed || has_moved { 0 } else { attempt + 1 };
        tracing::debug!(%participant, %error, attempt, "no session");
        let lost = Command::Disconnected {
            participant: participant.clone(),
            session: welcomed.then_some(session),
            error: error.to_string(),
        };
        if engine.tell(lost).await.is_err() {
            return Ok(());
        }
        if has_moved {
            continue;
        }
        let pause = shared.random.pause(shared.config.reconnections(), attempt);
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            changed = address.changed() => match changed {
                Ok(()) => attempt = 0,
                Err(_) => return Ok(()),
            },
        }
    }
}

async fn converse(
    shared: &Shared,
    participant: &ParticipantName,
    address: &str,
    engine: &Handle,
    session: u64,
    queue: &Queue,
    welcomed: &mut bool,
) -> Result<(), SessionError> {
    let patience = Duration::from_millis(shared.config.connect_timeout_ms);
    let late = |_| SessionError::NoWelcome(shared.config.connect_timeout_ms);
    let (batches, outgoing) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
    let hello = Hello {
        protocol_version: protocol::OLDEST_VERSION,
        newest_protocol_version: protocol::NEWEST_VERSION,
        abilities: Vec::new(),
        coordinator_id: shared.id.0.to_vec().into(),
        coordinator_name: shared.config.name.clone(),
        epoch: shared.epoch.0,
        participant_name: participant.to_string(),
        number: Some(shared.log.stable().into()),
        seen: witness::seen(&shared.log, participant).map(Into::into),
        public_key: Bytes::copy_from_slice(&shared.key.public().0),
        successions: shared.key.successions().iter().map(|word| (*word).into()).collect(),
    };
    let first = CoordinatorBatch { hello: Some(hello), ..CoordinatorBatch::default() };
    // The channel was made just now and has room.
    let _ = batches.try_send(first);
    let opening = async {
        let mut incoming = shared.connect.open(address, outgoing).await?;
        let mut first = incoming.next().await.ok_or(SessionError::Ended)??;
        if !first.challenge.is_empty() {
            let signature = sign(shared, participant, &first.challenge)?;
            let proof = Some(Proof { signature: Bytes::copy_from_slice(&signature.0) });
            // If nobody takes it, the stream has ended, and says why.
            let _ = batches.send(CoordinatorBatch { proof, ..CoordinatorBatch::default() }).await;
            first = incoming.next().await.ok_or(SessionError::Ended)??;
        }
        Ok::<_, SessionError>((incoming, first))
    };
    // Once to connect, once to be welcomed.
    let (incoming, first) = timeout(2 * patience, opening).await.map_err(late)??;
    let Welcome { protocol_version, participant_name, resource, cannot_prepare, number, seen, abilities, .. } =
        first.welcome.clone().unwrap_or_default();
    let is_spoken = (protocol::OLDEST_VERSION..=protocol::NEWEST_VERSION).contains(&protocol_version);
    if !is_spoken || participant_name != participant.as_str() {
        return Err(SessionError::WrongWelcome { found: participant_name, version: protocol_version });
    }
    tracing::debug!(target: "undoubt::wire", to = %participant, session, "welcomed");
    if let Some(seen) = seen.and_then(|seen| WriteNumber::try_from(seen).ok())
        && let Some(sign) = late_sign(participant, &shared.starts, shared.is_new, &seen)
    {
        return Err(SessionError::PutBack { sign, seen });
    }
    let number = number.and_then(|number| WriteNumber::try_from(number).ok());
    *welcomed = true;
    if let Some(number) = number {
        let patience = Duration::from_millis(shared.config.connect_timeout_ms);
        let asked = witness::note_loss(shared, participant, address, &number, engine, patience);
        asked.await?;
        witness::remember(&shared.log, participant, number);
    }
    let (participant, queue) = (participant.clone(), queue.clone());
    let (queued, watched) = (queue.clone(), queue.clone());
    let unnumbered = number.is_none();
    let connected = Command::Connected {
        participant: participant.clone(),
        session,
        queue: queued,
        resource,
        abilities: Abilities::of(protocol_version, cannot_prepare, abilities.iter().map(String::as_str)),
        unnumbered,
    };
    engine.tell(connected).await?;
    tokio::select! {
        ended = receive(engine, (&shared.log, number), &participant, session, first, incoming) => ended,
        () = sender::send(&participant, queue, batches, &shared.log, &shared.crash) => Err(SessionError::Ended),
        allowed = watched.overflown() => Err(SessionError::NotRead(allowed)),
    }
}

/// Signs that this coordinator opens a session with this participant.
fn sign(shared: &Shared, participant: &ParticipantName, challenge: &[u8]) -> Result<Signature, SessionError> {
    let challenge = Challenge(challenge.try_into().map_err(|_| SessionError::WrongChallenge(challenge.len()))?);
    Ok(shared.key.sign(&Statement::Session {
        challenge: &challenge,
        coordinator: shared.id,
        epoch: shared.epoch,
        key: &shared.key.public(),
        participant: participant.as_str(),
    }))
}

async fn receive(
    engine: &Handle,
    (log, number): (&NumberedStore, Option<WriteNumber>),
    participant: &ParticipantName,
    session: u64,
    first: ParticipantBatch,
    mut incoming: Incoming,
) -> Result<(), SessionError> {
    let mut batch = first;
    loop {
        if let Some(number) = number.filter(|_| batch.stable_writes > 0) {
            witness::remember(log, participant, WriteNumber { writes: batch.stable_writes, ..number });
        }
        for message in &batch.messages {
            note_emitted(engine, participant, message);
        }
        let messages: Vec<ToCoordinator> =
            batch.messages.into_iter().filter_map(|message| read(participant, message)).collect();
        for message in &messages {
            tracing::debug!(target: "undoubt::wire", from = %participant, what = message.name(),
                tx = %message.tx(), attempt_number = message.attempt_number().0, "received");
        }
        if !messages.is_empty() {
            engine.let_writes_make_room(&messages).await;
            engine.tell(Command::Messages { participant: participant.clone(), session, messages }).await?;
        }
        batch = incoming.next().await.ok_or(SessionError::Ended)??;
    }
}

/// Notes what a message says was published, before what it tells is handled. What cannot be read is as if it was not said.
fn note_emitted(engine: &Handle, participant: &ParticipantName, wire: &v1::ToCoordinator) {
    if let Some(Ok(last)) = wire.emitted.clone().map(EventId::try_from)
        && let Ok(tx) = TxId::new(Bytes::copy_from_slice(&wire.tx))
    {
        engine.followed().note(&tx, participant, last);
    }
}

/// Returns the message if it can be read. If not, that concerns this message alone: it counts as never sent.
fn read(participant: &ParticipantName, wire: v1::ToCoordinator) -> Option<ToCoordinator> {
    let (tx, attempt_number) = (wire.tx.clone(), wire.attempt_number);
    match ToCoordinator::try_from(wire) {
        Ok(message) => Some(own(message)),
        Err(why) => {
            tracing::warn!(%participant, ?tx, attempt_number, %why, "a message of this participant is not read: its transaction waits for a proper one");
            None
        }
    }
}

/// Returns a message that owns its bytes: a part of what was read keeps all of it in memory, and a transaction may stay
/// for long.
fn own(message: ToCoordinator) -> ToCoordinator {
    let own = |part: &Bytes| Bytes::copy_from_slice(part);
    match message {
        ToCoordinator::Vote { tx, attempt_number, vote } => {
            let vote = match vote {
                Vote::Prepared { result } => Vote::Prepared { result: own(&result) },
                Vote::ReadOnly { result } => Vote::ReadOnly { result: own(&result) },
                Vote::Committed { result } => Vote::Committed { result: own(&result) },
                vote @ Vote::Refused(_) => vote,
            };
            ToCoordinator::Vote { tx, attempt_number, vote }
        }
        ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome } => {
            let outcome = match outcome {
                StepOutcome::Done { result, pending } => StepOutcome::Done { result: own(&result), pending },
                outcome @ (StepOutcome::Empty | StepOutcome::Refused(_)) => outcome,
            };
            ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome }
        }
        message @ (ToCoordinator::Confirmed { .. }
        | ToCoordinator::Finished { .. }
        | ToCoordinator::Inquiry { .. }
        | ToCoordinator::Closed { .. }) => message,
    }
}
