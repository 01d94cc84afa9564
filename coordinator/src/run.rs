//! A coordinator's life: recover, serve, drain.

use crate::callback::{CallbackSecret, Callbacks};
use crate::changes::{Changeable, Changes};
use crate::config::{Config, ConfigError, ParticipantAddress};
use crate::connect::Connect;
use crate::engine::{Addresses, Command, Engine, Handle, Parts, View};
use crate::log::{Log, LogError, META};
use crate::metrics::{Figures, Looking};
use crate::operator::OperatorService;
use crate::own_sign;
use crate::service::Service;
use crate::session::{self, Ended, FencedByEpoch};
use crate::standing::{self, StandingError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use undoubt_coordinator_core::standing::{Sign, Standing, foreign_start};
use undoubt_platform::alarm::Bell;
use undoubt_platform::audit::Audit;
use undoubt_platform::dial::Dial;
use undoubt_platform::identity::establish;
use undoubt_platform::numbered_store::{FolderSign, Known};
use undoubt_platform::pulse::{Life, Pulse};
use undoubt_platform::server::{
    Calls, DEFAULT_ROOM_BYTES, Incoming, Keeping, Offer, ReflectionError, ServerError, Serving, Task, TaskCancelled,
    share_bytes, stopped, tell_health,
};
use undoubt_platform::{
    Access, Clock, CrashPoints, Fenced, IdentityError, Kind, Metrics, NumberedStore, Random, SecretKey, Store,
    StoreError, Traces,
};
use undoubt_proto::v1::coordinator_server::CoordinatorServer;
use undoubt_proto::v1::operator_server::OperatorServer;
use undoubt_vocabulary::limits::MAX_REQUEST_BYTES;
use undoubt_vocabulary::{CoordinatorId, Epoch, InvalidId, ParticipantName, WriteNumber};

/// The surroundings that a coordinator takes from outside.
pub struct Environment {
    /// Opened with [`crate::log::FAMILIES`].
    pub store: Arc<dyn Store>,
    /// A sign in its folder that it was put back.
    pub folder_sign: Option<FolderSign>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The key by which it proves to participants that it is the one that it says.
    pub key: Arc<SecretKey>,
    pub connect: Arc<dyn Connect>,
    /// The dialler for callbacks.
    pub dial: Arc<dyn Dial>,
    /// The secret with which callbacks are signed.
    pub callback_secret: Option<CallbackSecret>,
    /// Connections from applications and operators.
    pub incoming: Incoming,
    pub crash: CrashPoints,
    /// What it tells of itself goes there.
    pub metrics: Metrics,
    /// The rules of who may do what.
    pub access: Access,
    /// The settings that change while it runs.
    pub changes: Changes,
    /// The sign for the one that runs the process that the engine goes on.
    pub pulse: Pulse,
    /// Its spans go there.
    pub traces: Traces,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the configuration is not usable: {0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Name(#[from] InvalidId),
    #[error(transparent)]
    Identity(IdentityError),
    #[error(transparent)]
    Log(LogError),
    /// Whatever met it first.
    #[error(transparent)]
    FencedByStore(Fenced),
    #[error("the server failed: {0}")]
    Server(#[from] ServerError),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] ReflectionError),
    #[error(transparent)]
    Cancelled(#[from] TaskCancelled),
    #[error(transparent)]
    FencedByEpoch(#[from] FencedByEpoch),
    #[error(
        "this coordinator has to stop, for its log is an older copy: {sign}. If a newer folder exists, use that; else start this \
         one again, look at what it waits for with `undoubt participants`, and accept the loss with `undoubt accept-loss`"
    )]
    PutBack { sign: String },
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Fenced(fenced) = error { RunError::FencedByStore(fenced) } else { RunError::Store(error) }
    }
}

impl From<LogError> for RunError {
    fn from(error: LogError) -> Self {
        if let LogError::Store(error) = error { error.into() } else { RunError::Log(error) }
    }
}

impl From<IdentityError> for RunError {
    fn from(error: IdentityError) -> Self {
        if let IdentityError::Store(error) = error { error.into() } else { RunError::Identity(error) }
    }
}

impl From<StandingError> for RunError {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::Store(error) => error.into(),
            StandingError::Log(error) => error.into(),
        }
    }
}

/// Serves until `shutdown` is done and what was open has ended (or the drain timeout has passed), or until storage
/// fails. Recovery is over, and nobody has seen more of the log than it holds, before health says that it serves.
pub async fn run(
    config: Config,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    config.check()?;
    let Environment {
        store,
        folder_sign,
        clock,
        random,
        key,
        connect,
        dial,
        callback_secret,
        incoming,
        crash,
        metrics,
        access,
        mut changes,
        pulse,
        traces,
    } = environment;
    let began = Instant::now();
    let mut fresh_id = [0; 16];
    random.fill(&mut fresh_id);
    // A mark of 0 would say that it is not known.
    let begun = begin(&config, store, folder_sign, fresh_id, random.u64().max(1));
    tokio::pin!(shutdown);
    // A store that cannot be written now may keep it waiting.
    let Begun { id, numbered, known } = tokio::select! {
        biased;
        begun = begun => begun?,
        () = &mut shutdown => return Ok(()),
    };
    let store: Arc<dyn Store> = numbered.clone();
    let epoch = Epoch(known.starts.now.count);
    let config = Arc::new(config);
    let named = |at: &ParticipantAddress| Ok::<_, InvalidId>((at.name.parse()?, at.address.clone()));
    let participants: BTreeMap<ParticipantName, String> =
        config.participants.iter().map(named).collect::<Result<_, _>>()?;

    let bell = config.alarm.webhook().map_err(ConfigError::from)?.map(|url| {
        let (bell, ringing) = Bell::new(dial.clone(), url, "coordinator", config.name.clone());
        // It ends with the engine, which holds the bell.
        tokio::spawn(ringing.run());
        bell
    });
    let figures = Arc::new(Figures::default());
    let (drained, mut is_drained) = watch::channel(false);
    let log = Log::new(store.clone());
    let audit = Arc::new(Audit::open(store, clock.clone(), config.audit_bounds())?);
    let parts = Parts {
        config: config.clone(),
        clock: clock.clone(),
        random: random.clone(),
        crash: crash.clone(),
        log: log.clone(),
        audit: audit.clone(),
        epoch,
        figures: figures.clone(),
        bell,
        traces: traces.clone(),
        participants: participants.clone(),
        access: access.clone(),
        pulse: pulse.clone(),
    };
    let is_new = numbered.remembered(NEW).is_some();
    let (engine, handle) = Engine::recover(parts, drained)?;
    let mut standing = Standing::new(known.starts.clone(), engine.concerned())
        .is_new(is_new)
        .waits_for_all(config.wait_for_all_witnesses);
    if let Some(why) = &known.put_back {
        standing.sign(Sign::Local(why.clone()));
    }
    if let Some(sign) = own_sign::noted(&numbered, &known.starts, is_new) {
        standing.sign(sign);
    }
    let shared = session::Shared {
        config: config.clone(),
        connect,
        random: random.clone(),
        key,
        crash,
        id,
        epoch,
        log: numbered.clone(),
        starts: known.starts,
        is_new,
        clock: clock.clone(),
        begun: AtomicU64::new(0),
    };
    let links = engine.addresses();

    let (drain, mut drain_asked) = watch::channel(false);
    let (accept, mut accepts) = mpsc::channel(MAX_QUEUED_ACCEPTANCES);
    let (reasons, held_because) = watch::channel(Vec::new());
    let current_epoch = Arc::new(AtomicU32::new(epoch.0));
    let operator = OperatorService {
        engine: handle.clone(),
        config: config.clone(),
        log: log.downgrade(),
        id,
        epoch: current_epoch.clone(),
        drain,
        accept,
        held_because: held_because.clone(),
        figures: figures.clone(),
        clock: clock.clone(),
        audit: Arc::downgrade(&audit),
    };
    let (recovered, recovery) = watch::channel(None);
    metrics.add(figures.clone());
    metrics.add(traces.figures());
    metrics.looked_up_by(Arc::new(Looking {
        figures,
        engine: handle.clone(),
        log: log.downgrade(),
        clock: clock.clone(),
        epoch: current_epoch.clone(),
        held_because,
        recovery,
    }));
    let calls = Calls::default();
    metrics.add(calls.clone());
    let callbacks = Arc::new(Callbacks::new(
        log.clone(),
        handle.clone(),
        (dial, callback_secret),
        (clock.clone(), random.clone()),
        config.clone(),
        (traces, epoch),
    ));
    let service = Service {
        engine: handle.clone(),
        config: config.clone(),
        clock: clock.clone(),
        log: log.downgrade(),
        callbacks: Arc::downgrade(&callbacks),
        audit: Arc::downgrade(&audit),
    };
    let Offer { mut routes, health } = Offer::new()?;
    tell_health::<CoordinatorServer<Service>>(&health, false).await;
    routes
        .add_service(CoordinatorServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(OperatorServer::new(operator));
    let keeping = Keeping {
        access,
        audit: Arc::downgrade(&audit),
        max_connections: config.max_connections,
        alive: Duration::from_millis(config.keep_alive_ms),
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        max_message_bytes: MAX_REQUEST_BYTES,
        max_request_room_bytes: config.max_request_room_bytes,
        max_answer_room_bytes: config.max_answer_room_bytes,
    };
    let mut server = Serving::new(routes.routes(), incoming, keeping, clock.clone(), calls);
    let mut engine = Task::spawn(engine.run());
    let speaks = AtomicBool::new(false);
    let speaking = async {
        let mut cleared = standing::stand(&shared, &participants, standing, &mut accepts, &reasons, &handle).await?;
        let (starts, held) = (cleared.starts.clone(), std::mem::take(&mut cleared.held));
        // What has left nothing but a promise is presumed aborted, which is on record before anybody can submit it again.
        callbacks.resume(clock.now()).await?;
        let epoch = Epoch(starts.now.count);
        // Without an engine there is nothing to clear, and its end is told by itself.
        let _ = handle.tell(Command::Cleared { epoch, held }).await;
        cleared.tell();
        // From here on nobody has to be accepted any more.
        drop(accepts);
        speaks.store(true, Ordering::Relaxed);
        recovered.send_replace(Some(began.elapsed()));
        current_epoch.store(starts.now.count, Ordering::Relaxed);
        tell_health::<CoordinatorServer<Service>>(&health, true).await;
        let shared = Arc::new(session::Shared { epoch: Epoch(starts.now.count), starts, ..shared });
        let mut sessions = JoinSet::new();
        let mut come = links;
        loop {
            for (name, address) in come {
                sessions.spawn(session::keep(shared.clone(), name, address, handle.clone()));
            }
            let changed = tokio::select! {
                biased;
                ended = ended(&mut sessions) => return Ok::<Ended, RunError>(ended),
                changed = changes.next() => changed,
            };
            come = carry_out(&changed, &callbacks, &handle).await;
        }
    };
    let draining = async {
        tokio::select! {
            () = &mut shutdown => {}
            _ = drain_asked.wait_for(|asked| *asked) => {}
        }
        pulse.set_life(Life::Stopping);
        tell_health::<CoordinatorServer<Service>>(&health, false).await;
        if !speaks.load(Ordering::Relaxed) {
            // Nothing that is open gets on.
            return;
        }
        let drain_timeout = Duration::from_millis(config.drain_timeout_ms);
        if handle.tell(Command::Drain).await.is_ok()
            && timeout(drain_timeout, is_drained.wait_for(|done| *done)).await.is_err()
        {
            tell_what_stays_open(&handle).await;
        }
    };
    let ended = {
        tokio::pin!(speaking);
        tokio::select! {
            ended = engine.ended() => return ended,
            served = server.ended() => {
                served?;
                None
            }
            ended = &mut speaking => Some(ended?),
            never = audit.keep() => match never {},
            () = draining => None,
        }
    };
    server.stop();
    if let Some(ended) = ended {
        // Clients hear why at once, and look for whoever is the coordinator now. Nothing is decided any more, also where
        // the device has no room for the note.
        handle.ends_because(&ended.to_string());
        engine.abort();
        server.part().await;
        // The next start has to know it too, whoever answers it then.
        let seen = match &ended {
            Ended::PutBack { seen, .. } => *seen,
            Ended::FencedByEpoch(fenced) => foreign_start(&numbered.stable(), fenced.known),
        };
        note_parting(&numbered, &seen).await?;
        return Err(match ended {
            Ended::FencedByEpoch(fenced) => fenced.into(),
            Ended::PutBack { sign, .. } => RunError::PutBack { sign: sign.to_string() },
        });
    }
    // Streams that clients keep open are not waited for: what they were told is durable.
    server.part().await;
    audit.flush_last().await;
    // An error means that the engine has ended already; its result says how.
    let _ = handle.tell(Command::Stop).await;
    let unanswered = "the device does not answer; what was not answered yet may be lost, as in a crash";
    stopped(engine.ended(), unanswered).await
}

/// The start of a coordinator, which is on stable storage.
struct Begun {
    id: CoordinatorId,
    numbered: Arc<NumberedStore>,
    known: Known,
}

async fn begin(
    config: &Config,
    store: Arc<dyn Store>,
    folder_sign: Option<FolderSign>,
    fresh_id: [u8; 16],
    mark: u64,
) -> Result<Begun, RunError> {
    let identity = establish(store.as_ref(), META, Kind::Coordinator, &config.name, fresh_id).await?;
    let id = CoordinatorId(identity.id);
    let (numbered, mut known) = NumberedStore::begin(store, META, id.0, 0, mark).await?;
    numbered.note_folder_sign(&mut known, folder_sign).await?;
    if config.new {
        numbered.remember(NEW, Bytes::from_static(b"yes"));
        numbered.store_remembered().await?;
    }
    Ok(Begun { id, numbered: Arc::new(numbered), known })
}

/// Notes what the next start has to know, in bounded time: whoever ends because another process has taken over may find that it
/// has the store too, or that the store cannot be written.
async fn note_parting(log: &NumberedStore, seen: &WriteNumber) -> Result<(), RunError> {
    match timeout(PARTING_NOTE_TIMEOUT, own_sign::note(log, seen)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(StoreError::Fenced(_))) | Err(_) => {
            tracing::warn!("what this log lacks could not be noted; the next start has to be told it again");
            Ok(())
        }
        Ok(Err(error)) => Err(error.into()),
    }
}

/// The time that a last note may take.
const PARTING_NOTE_TIMEOUT: Duration = Duration::from_secs(5);

async fn tell_what_stays_open(engine: &Handle) {
    let look = |view: &View<'_>| {
        let some: Vec<String> = view.core.views().take(MAX_NAMED_AT_STOP).map(|open| open.tx.to_string()).collect();
        (view.core.open_transactions(), some.join(", "))
    };
    if let Ok((open, some)) = engine.inspect(look).await {
        tracing::warn!(
            open,
            some,
            "the drain timeout has passed; open transactions are carried on after the next start"
        );
    }
}

/// Carries out what has changed. Returns the participants that have come.
async fn carry_out(changed: &Changeable, callbacks: &Callbacks, handle: &Handle) -> Addresses {
    callbacks.sign_with(changed.callback_secret.clone());
    // Without an engine nobody is called any more.
    handle.change(changed).await.unwrap_or_default()
}

async fn ended(sessions: &mut JoinSet<Result<(), Ended>>) -> Ended {
    while let Some(ended) = sessions.join_next().await {
        if let Ok(Err(ended)) = ended {
            return ended;
        }
    }
    pending().await
}

/// The key under which a coordinator remembers that it is a new one on purpose, though its name is known.
const NEW: &[u8] = b"new";

/// Operators that may wait to accept a loss.
const MAX_QUEUED_ACCEPTANCES: usize = 8;

/// Open transactions whose ids are told at the stop.
const MAX_NAMED_AT_STOP: usize = 5;

const _: () = assert!(MAX_REQUEST_BYTES <= share_bytes(DEFAULT_ROOM_BYTES) as usize);

/// The bytes that a client may send of one request, and of all on a connection, before it is asked for more. They count
/// for each of `max_connections`.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
