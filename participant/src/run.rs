//! A participant's life: recover, serve, stop.

use crate::admin::AdminService;
use crate::config::{Config, ConfigError};
use crate::engine::{Command, Engine};
use crate::resource::{Branches, ResourceError, Steps, StepsOnly};
use crate::session::SessionService;
use futures::FutureExt as _;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use undoubt_platform::server::{Incoming, Keeping, Offer, ReflectionError, ServerError, serve};
use undoubt_platform::{Clock, CrashPoints, Random};
use undoubt_proto::v1::participant_admin_server::ParticipantAdminServer;
use undoubt_proto::v1::participant_server::ParticipantServer;
use undoubt_vocabulary::limits::MAX_COORDINATOR_BATCH_BYTES;

/// What a participant takes from outside.
pub struct Environment {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Connections from coordinators and operators.
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
    Resource(ResourceError),
    #[error("this participant has to end, for its resource belongs to another process now: {cause}")]
    Fenced { cause: String },
    #[error("the server failed: {0}")]
    Server(#[from] ServerError),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] ReflectionError),
    #[error("the engine was cancelled: {0}")]
    Cancelled(String),
}

impl From<ResourceError> for RunError {
    fn from(error: ResourceError) -> Self {
        if let ResourceError::Fenced { cause } = error { RunError::Fenced { cause } } else { RunError::Resource(error) }
    }
}

/// The time that calls under way at the resource may take once the engine is to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long peers get to read their last messages.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

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
    let Environment { clock, random, incoming, crash } = environment;
    let owner = config.name.parse().map_err(ConfigError::Name)?;
    let config = Arc::new(config);
    let mut shutdown = std::pin::pin!(shutdown);
    let recovering = Engine::recover(resource.clone(), owner, config.clone(), (clock.clone(), random), crash.clone());
    let (engine, handle) = tokio::select! {
        biased;
        recovered = recovering => recovered?,
        // A resource that is away may stay away.
        () = &mut shutdown => return Ok(()),
    };

    let Offer { mut routes, health } = Offer::new()?;
    health.set_service_status("", ServingStatus::Serving).await;
    health.set_serving::<ParticipantServer<SessionService>>().await;
    let session = SessionService::new(handle.clone(), config.clone(), resource.clone(), crash);
    let session = ParticipantServer::new(session)
        .max_decoding_message_size(MAX_COORDINATOR_BATCH_BYTES)
        .max_encoding_message_size(usize::MAX);
    let admin = AdminService { engine: handle.clone(), config: config.clone(), clock: clock.clone() };
    routes.add_service(session).add_service(ParticipantAdminServer::new(admin));
    let (stop, mut stopped) = watch::channel(false);
    let asked_to_stop = async move {
        // Also when the sender is gone there is nothing left to serve.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let keeping = Keeping {
        max_connections: config.max_connections,
        alive: Duration::from_millis(config.keep_alive_ms) / 2,
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        max_message_bytes: MAX_COORDINATOR_BATCH_BYTES,
        max_request_room_bytes: config.max_request_room_bytes,
        max_answer_room_bytes: config.max_answer_room_bytes,
    };
    let mut server = serve(routes.routes(), incoming, keeping, clock, Box::pin(asked_to_stop));
    // Caught here, because a runtime that catches a panic may end its other tasks in the midst of what they do.
    let mut engine = tokio::spawn(AssertUnwindSafe(engine.run()).catch_unwind());
    let no_more_calls = CancellationToken::new();
    let background = in_background(resource, no_more_calls.clone());
    let mut background = tokio::spawn(AssertUnwindSafe(background).catch_unwind());
    tokio::select! {
        ended = &mut engine => return result_of(ended),
        ended = &mut background => return result_of(ended),
        served = &mut server => served?,
        () = &mut shutdown => {}
    }
    health.set_service_status("", ServingStatus::NotServing).await;
    stop.send_replace(true);
    // An error means that the engine has ended already; its result says how.
    let _ = handle.tell(Command::Stop).await;
    let stopping = async {
        result_of(engine.await)?;
        no_more_calls.cancel();
        result_of(background.await)
    };
    let result = tokio::time::timeout(STOP_TIMEOUT, stopping).await.unwrap_or_else(|_elapsed| {
        tracing::error!("the resource does not answer; what was not answered yet is carried on as after a crash");
        Ok(())
    });
    // Sessions stay open as long as coordinators live; they are not waited for.
    let _ = tokio::time::timeout(PARTING_TIMEOUT, server).await;
    result
}

/// What the resource does by itself has no end before it is told to.
async fn in_background<R: Branches>(resource: Arc<R>, stop: CancellationToken) -> Result<(), ResourceError> {
    resource.background(stop.clone()).await?;
    if stop.is_cancelled() {
        return Ok(());
    }
    Err(ResourceError::Stopped { cause: "what it does in the background has ended".to_owned() })
}

fn result_of(ended: Result<thread::Result<Result<(), ResourceError>>, JoinError>) -> Result<(), RunError> {
    match ended {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(error) => Err(RunError::Cancelled(error.to_string())),
    }
}

/// The bytes that a coordinator may send in a session before it is asked for more. They count for each of
/// `max_connections`.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES;
