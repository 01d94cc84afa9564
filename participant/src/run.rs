//! A participant's life: recover, serve, stop.

use crate::admin::AdminService;
use crate::config::{Config, ConfigError};
use crate::engine::{Command, Engine};
use crate::event_upkeep::Upkeep;
use crate::events::EventsService;
use crate::metrics::{Figures, Looking, Recovery};
use crate::resource::{Branches, ResourceError, Steps, StepsOnly};
use crate::session::SessionService;
use crate::subscription::{self, Subscribing, Subscriptions};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_platform::alarm::Bell;
use undoubt_platform::audit::Audit;
use undoubt_platform::dial::Dial;
use undoubt_platform::pulse::{Life, Pulse};
use undoubt_platform::server::{
    Calls, Incoming, Keeping, Offer, ReflectionError, ServerError, Serving, Task, TaskCancelled, stopped, tell_health,
};
use undoubt_platform::{Access, Clock, CrashPoints, Metrics, Random, Traces};
use undoubt_proto::v1::events_server::EventsServer;
use undoubt_proto::v1::participant_admin_server::ParticipantAdminServer;
use undoubt_proto::v1::participant_server::ParticipantServer;
use undoubt_vocabulary::ParticipantName;
use undoubt_vocabulary::limits::MAX_COORDINATOR_BATCH_BYTES;

/// The surroundings that a participant takes from outside.
pub struct Environment {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The dialler for alarms.
    pub dial: Arc<dyn Dial>,
    /// Connections from coordinators and operators.
    pub incoming: Incoming,
    pub crash: CrashPoints,
    /// What it tells of itself goes there.
    pub metrics: Metrics,
    /// The rules of who may do what.
    pub access: Access,
    /// The sign for the one that runs the process that the engine goes on.
    pub pulse: Pulse,
    /// Its spans go there.
    pub traces: Traces,
    /// The events of others that it reacts to, if it does.
    pub subscribing: Option<Subscribing>,
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
    Resource(ResourceError),
    #[error("this participant has to end, for its resource belongs to another process now: {cause}")]
    Fenced { cause: String },
    #[error("the server failed: {0}")]
    Server(#[from] ServerError),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] ReflectionError),
    #[error(transparent)]
    Cancelled(#[from] TaskCancelled),
}

impl From<ResourceError> for RunError {
    fn from(error: ResourceError) -> Self {
        if let ResourceError::Fenced { cause } = error { RunError::Fenced { cause } } else { RunError::Resource(error) }
    }
}

/// Serves the steps of sagas at a resource that has no branches, as [`run`] does.
pub async fn run_steps<R: Steps>(
    config: Config,
    resource: R,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    run(config, Arc::new(StepsOnly(resource)), environment, shutdown).await
}

/// Serves until `shutdown` is done, or the resource fails. What survived is locked again before health says that it
/// serves.
pub async fn run<R: Branches>(
    config: Config,
    resource: Arc<R>,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    config.check()?;
    let Environment { clock, random, dial, incoming, crash, metrics, access, pulse, traces, subscribing } = environment;
    let (began, figures) = (Instant::now(), Arc::new(Figures::default()));
    let owner: ParticipantName = config.name.parse().map_err(ConfigError::Name)?;
    let own_name = owner.clone();
    let config = Arc::new(config);
    let mut shutdown = std::pin::pin!(shutdown);
    let bell = config.alarm.webhook().map_err(ConfigError::from)?.map(|url| {
        let (bell, ringing) = Bell::new(dial, url, "participant", config.name.clone());
        // It ends with those that hold the bell.
        tokio::spawn(ringing.run());
        bell
    });
    let by = (clock.clone(), random.clone());
    let recovering = Engine::recover(
        resource.clone(),
        owner,
        config.clone(),
        by,
        crash.clone(),
        (figures.clone(), bell.clone(), traces.clone()),
    );
    let (engine, handle) = tokio::select! {
        biased;
        recovered = recovering => recovered?,
        // A resource that is away may stay away.
        () = &mut shutdown => return Ok(()),
    };

    let audit = resource.audit_store().map(|store| Audit::open(store, clock.clone(), config.audit_bounds()));
    let audit = audit.transpose().map_err(ResourceError::from)?.map(Arc::new);
    let record = audit.as_ref().map_or_else(Weak::new, Arc::downgrade);

    metrics.add(figures.clone());
    metrics.add(traces.figures());
    metrics.add(Recovery(began.elapsed()));
    metrics.looked_up_by(Arc::new(Looking { figures, engine: handle.clone(), clock: clock.clone() }));
    let calls = Calls::default();
    metrics.add(calls.clone());
    let (subscriptions, reacting) = match (subscribing, resource.reactions()) {
        (Some(subscribing), Some(store)) => {
            let by = (clock.clone(), random.clone());
            subscription::begin(&config, own_name, store, resource.events(), subscribing, by).await?
        }
        (Some(_), None) | (None, _) => (Subscriptions::default(), pending().boxed()),
    };
    let upkeep = Upkeep {
        log: resource.events(),
        keep: config.log_keep(),
        subscriptions: subscriptions.view.clone(),
        clock: clock.clone(),
        bell: bell.clone(),
        away_after: config.alarm.waits_after(),
    };
    let Offer { mut routes, health } = Offer::new()?;
    tell_health::<ParticipantServer<SessionService>>(&health, true).await;
    pulse.set_life(Life::Serving);
    let session = SessionService::new(handle.clone(), config.clone(), resource.clone(), crash, random);
    let session = ParticipantServer::new(session)
        .max_decoding_message_size(MAX_COORDINATOR_BATCH_BYTES)
        .max_encoding_message_size(usize::MAX);
    let admin =
        AdminService { engine: handle.clone(), config: config.clone(), clock: clock.clone(), audit: record.clone() };
    routes.add_service(session).add_service(ParticipantAdminServer::new(admin));
    routes.add_service(EventsServer::new(EventsService::new(
        config.name.clone(),
        resource.events(),
        subscriptions,
        record.clone(),
        config.max_log_bytes,
    )));
    let keeping = Keeping {
        access,
        audit: record,
        max_connections: config.max_connections,
        alive: Duration::from_millis(config.keep_alive_ms) / 2,
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        max_message_bytes: MAX_COORDINATOR_BATCH_BYTES,
        max_request_room_bytes: config.max_request_room_bytes,
        max_answer_room_bytes: config.max_answer_room_bytes,
    };
    let mut server = Serving::new(routes.routes(), incoming, keeping, clock, calls);
    let mut engine = Task::spawn(engine.run(pulse.begin()));
    let no_more_calls = CancellationToken::new();
    let (of_events, upkeep) = upkeep.begin();
    metrics.add(of_events);
    let mut background = Task::spawn(in_background(resource, reacting, upkeep, no_more_calls.clone()));
    let unanswered = "the resource does not answer; what was not answered yet is carried on as after a crash";
    tokio::select! {
        ended = engine.ended() => {
            // Whoever starts anew needs the resource for himself.
            no_more_calls.cancel();
            let _ = stopped(background.ended::<RunError>(), unanswered).await;
            background.abort();
            return ended;
        }
        ended = background.ended() => {
            let _ = handle.tell(Command::Stop).await;
            let _ = stopped(engine.ended::<RunError>(), unanswered).await;
            engine.abort();
            return ended;
        }
        served = server.ended() => served?,
        never = kept(audit.as_deref()) => match never {},
        () = &mut shutdown => {}
    }
    pulse.set_life(Life::Stopping);
    tell_health::<ParticipantServer<SessionService>>(&health, false).await;
    server.stop();
    if let Some(audit) = &audit {
        audit.flush_last().await;
    }
    // An error means that the engine has ended already; its result says how.
    let _ = handle.tell(Command::Stop).await;
    let stopping = async {
        engine.ended::<RunError>().await?;
        no_more_calls.cancel();
        background.ended().await
    };
    let result = stopped(stopping, unanswered).await;
    background.abort();
    // Sessions stay open as long as coordinators live; they are not waited for.
    server.part().await;
    result
}

/// Keeps the audit record, if there is one.
async fn kept(audit: Option<&Audit>) -> Infallible {
    match audit {
        Some(audit) => audit.keep().await,
        None => pending().await,
    }
}

/// Runs what the resource does by itself, and what is done about others' events, which have no end before they are told to.
async fn in_background<R: Branches>(
    resource: Arc<R>,
    reacting: BoxFuture<'static, Result<(), ResourceError>>,
    upkeep: impl Future<Output = Result<Infallible, ResourceError>>,
    stop: CancellationToken,
) -> Result<(), ResourceError> {
    tokio::select! {
        ended = resource.background(stop.clone()) => ended?,
        failed = reacting => return failed,
        failed = upkeep => match failed? {},
    }
    if stop.is_cancelled() {
        return Ok(());
    }
    Err(ResourceError::Stopped { cause: "what it does in the background has ended".to_owned() })
}

/// The bytes that a coordinator may send in a session before it is asked for more. They count for each of
/// `max_connections`.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES;
