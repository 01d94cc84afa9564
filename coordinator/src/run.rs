//! A coordinator's life: recover, serve, drain.

use crate::callback::Callbacks;
use crate::config::{Config, ConfigError};
use crate::connect::Connect;
use crate::engine::{Command, Engine, Handle, Parts, View};
use crate::log::{Log, LogError, META};
use crate::operator::OperatorService;
use crate::service::Service;
use crate::session::{self, Superseded};
use futures::FutureExt as _;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tonic_health::ServingStatus;
use undoubt_platform::dial::Dial;
use undoubt_platform::identity::{establish, next_epoch, note_superseded};
use undoubt_platform::server::{
    DEFAULT_ROOM_BYTES, Incoming, Keeping, Offer, ReflectionError, ServerError, serve, share_bytes,
};
use undoubt_platform::{Clock, CrashPoints, IdentityError, Kind, Random, Store};
use undoubt_proto::v1::coordinator_server::CoordinatorServer;
use undoubt_proto::v1::operator_server::OperatorServer;
use undoubt_vocabulary::limits::MAX_REQUEST_BYTES;
use undoubt_vocabulary::{CoordinatorId, Epoch, InvalidId, ParticipantName};

/// What a coordinator takes from outside.
pub struct Environment {
    /// Opened with [`crate::log::FAMILIES`].
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub connect: Arc<dyn Connect>,
    /// To call back whoever wants to hear of an outcome.
    pub dial: Arc<dyn Dial>,
    /// Connections from applications and operators.
    pub incoming: Incoming,
    pub crash: CrashPoints,
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
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the server failed: {0}")]
    Server(#[from] ServerError),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] ReflectionError),
    #[error("the engine was cancelled: {0}")]
    Cancelled(String),
    #[error(transparent)]
    Superseded(#[from] Superseded),
    #[error("this is start number {0} of the coordinator, more than can be counted; make a new data folder")]
    TooManyStarts(u64),
}

/// Serves until `shutdown` is done and what was open has ended (or the drain timeout has passed), or until storage
/// fails. Recovery is over before health says that it serves.
pub async fn run(
    config: Config,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    config.check()?;
    let Environment { store, clock, random, connect, dial, incoming, crash } = environment;
    let mut fresh_id = [0; 16];
    random.fill(&mut fresh_id);
    let identity = establish(store.as_ref(), META, Kind::Coordinator, &config.name, fresh_id).await?;
    let start = next_epoch(store.as_ref(), META, config.accept_loss_up_to_epoch).await?;
    let epoch = Epoch(u32::try_from(start).map_err(|_| RunError::TooManyStarts(start))?);
    let id = CoordinatorId(identity.id);
    let config = Arc::new(config);
    let participants: Vec<ParticipantName> =
        config.participants.iter().map(|participant| participant.name.parse()).collect::<Result<_, _>>()?;

    let (drained, mut is_drained) = watch::channel(false);
    let log = Log::new(store.clone());
    let parts = Parts {
        config: config.clone(),
        clock: clock.clone(),
        random: random.clone(),
        crash: crash.clone(),
        log: log.clone(),
        epoch,
        participants: participants.clone(),
    };
    let (engine, handle) = Engine::recover(parts, drained)?;
    let shared =
        Arc::new(session::Shared { config: config.clone(), connect, random: random.clone(), crash, id, epoch });
    let mut sessions = JoinSet::new();
    for (name, at) in participants.into_iter().zip(&config.participants) {
        sessions.spawn(session::keep(shared.clone(), name, at.address.clone(), handle.clone()));
    }

    let (drain, mut drain_asked) = watch::channel(false);
    let operator = OperatorService { engine: handle.clone(), config: config.clone(), id, epoch, drain };
    let callbacks = Arc::new(Callbacks::new(log.clone(), handle.clone(), dial, random.clone(), config.clone()));
    callbacks.resume(clock.now()).await?;
    let service = Service {
        engine: handle.clone(),
        config: config.clone(),
        clock: clock.clone(),
        log: log.downgrade(),
        callbacks: Arc::downgrade(&callbacks),
    };
    let Offer { mut routes, health } = Offer::new()?;
    health.set_service_status("", ServingStatus::Serving).await;
    health.set_serving::<CoordinatorServer<Service>>().await;
    routes
        .add_service(CoordinatorServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(OperatorServer::new(operator));
    let (stop, mut stopped) = watch::channel(false);
    let asked_to_stop = async move {
        // Also when the sender is gone there is nothing left to serve.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let keeping = Keeping {
        max_connections: config.max_connections,
        alive: Duration::from_millis(config.keep_alive_ms),
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        max_message_bytes: MAX_REQUEST_BYTES,
        max_request_room_bytes: config.max_request_room_bytes,
        max_answer_room_bytes: config.max_answer_room_bytes,
    };
    let mut server = serve(routes.routes(), incoming, keeping, clock, Box::pin(asked_to_stop));
    // Caught here, because a runtime that catches a panic may end its other tasks in the midst of what they do.
    let mut engine = tokio::spawn(AssertUnwindSafe(engine.run()).catch_unwind());
    let draining = async {
        tokio::select! {
            () = shutdown => {}
            _ = drain_asked.wait_for(|asked| *asked) => {}
        }
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<CoordinatorServer<Service>>().await;
        let drain_timeout = Duration::from_millis(config.drain_timeout_ms);
        if handle.tell(Command::Drain).await.is_ok()
            && tokio::time::timeout(drain_timeout, is_drained.wait_for(|done| *done)).await.is_err()
        {
            tell_what_stays_open(&handle).await;
        }
    };
    let superseded = tokio::select! {
        ended = &mut engine => return engine_result(ended),
        served = &mut server => {
            served?;
            None
        }
        superseded = superseded(&mut sessions) => Some(superseded),
        () = draining => None,
    };
    stop.send_replace(true);
    if let Some(superseded) = superseded {
        // Clients hear why at once, and look for whoever is the coordinator now. Nothing is decided any more, also where
        // the device has no room for the note.
        handle.ends_because(&superseded.to_string());
        engine.abort();
        // No later start from this folder may count up to what participants know.
        note_superseded(store.as_ref(), META, superseded.known.0.into()).await?;
        let _ = tokio::time::timeout(PARTING_TIMEOUT, server).await;
        return Err(superseded.into());
    }
    // Streams that clients keep open are not waited for: what they were told is durable.
    let _ = tokio::time::timeout(PARTING_TIMEOUT, server).await;
    sessions.shutdown().await;
    // An error means that the engine has ended already; its result says how.
    let _ = handle.tell(Command::Stop).await;
    match tokio::time::timeout(STOP_TIMEOUT, engine).await {
        Ok(ended) => engine_result(ended),
        Err(_elapsed) => {
            tracing::error!("the device does not answer; what was not answered yet may be lost, as in a crash");
            Ok(())
        }
    }
}

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

async fn superseded(sessions: &mut JoinSet<Result<(), Superseded>>) -> Superseded {
    while let Some(ended) = sessions.join_next().await {
        if let Ok(Err(superseded)) = ended {
            return superseded;
        }
    }
    pending().await
}

fn engine_result(ended: Result<thread::Result<Result<(), LogError>>, JoinError>) -> Result<(), RunError> {
    match ended {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(error) => Err(RunError::Cancelled(error.to_string())),
    }
}

/// The time that the last write may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Open transactions whose ids are told at the stop.
const MAX_NAMED_AT_STOP: usize = 5;

/// How long clients get to read their last answers.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(MAX_REQUEST_BYTES <= share_bytes(DEFAULT_ROOM_BYTES) as usize);

/// The bytes that a client may send of one request, and of all on a connection, before it is asked for more. They count
/// for each of `max_connections`.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
