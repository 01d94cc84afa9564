//! A participant's life: recover, serve, stop.

use crate::admin::AdminService;
use crate::config::{Config, ConfigError};
use crate::engine::{Command, Engine};
use crate::resource::{ResourceError, ResourceManager};
use crate::session::SessionService;
use futures::FutureExt as _;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
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
    Resource(#[from] ResourceError),
    #[error("the server failed: {0}")]
    Server(#[from] ServerError),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] ReflectionError),
    #[error("the engine was cancelled: {0}")]
    Cancelled(String),
}

/// The time that calls under way at the resource may take once the engine is to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long peers get to read their last messages.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is done, or the resource fails. What survived is locked again before health says that it
/// serves.
pub async fn run<R: ResourceManager>(
    config: Config,
    resource: Arc<R>,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    config.check()?;
    let Environment { clock, random, incoming, crash } = environment;
    let config = Arc::new(config);
    let (engine, handle) = Engine::recover(resource.clone(), config.clone(), random, crash.clone()).await?;

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
    tokio::select! {
        ended = &mut engine => return engine_result(ended),
        served = &mut server => served?,
        () = shutdown => {}
    }
    health.set_service_status("", ServingStatus::NotServing).await;
    stop.send_replace(true);
    // An error means that the engine has ended already; its result says how.
    let _ = handle.tell(Command::Stop).await;
    let result = match tokio::time::timeout(STOP_TIMEOUT, engine).await {
        Ok(ended) => engine_result(ended),
        Err(_elapsed) => {
            tracing::error!("the resource does not answer; what was not answered yet is carried on as after a crash");
            Ok(())
        }
    };
    // Sessions stay open as long as coordinators live; they are not waited for.
    let _ = tokio::time::timeout(PARTING_TIMEOUT, server).await;
    result
}

fn engine_result(ended: Result<thread::Result<Result<(), ResourceError>>, JoinError>) -> Result<(), RunError> {
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
