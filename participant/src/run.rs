//! A participant's life: recover, serve, stop.

use crate::admin::AdminService;
use crate::config::{Config, ConfigError};
use crate::engine::{Command, Engine};
use crate::resource::{ResourceError, ResourceManager};
use crate::session::SessionService;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tower::util::MapResponseLayer;
use undoubt_platform::{Clock, CrashPoints, Random, dated};
use undoubt_proto::v1::participant_admin_server::ParticipantAdminServer;
use undoubt_proto::v1::participant_server::ParticipantServer;

/// What a participant takes from outside.
pub struct Environment<I> {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Connections from coordinators and operators.
    pub incoming: I,
    pub crash: CrashPoints,
}

impl<I> std::fmt::Debug for Environment<I> {
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
    Server(#[from] tonic::transport::Error),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the engine was cancelled: {0}")]
    Cancelled(String),
}

/// The largest batch that is accepted from a coordinator.
const MAX_INCOMING_BATCH_BYTES: usize = 64 << 20;

/// How long peers get to read their last messages.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until `shutdown` is done, or the resource fails. What survived is locked again before health says that it
/// serves.
pub async fn run<R, I, IO>(
    config: Config,
    resource: Arc<R>,
    environment: Environment<I>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError>
where
    R: ResourceManager,
    I: Stream<Item = io::Result<IO>> + Send,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    config.check()?;
    let Environment { clock, random, incoming, crash } = environment;
    let config = Arc::new(config);
    let kind = resource.kind();
    let (engine, handle) = Engine::recover(resource, config.clone(), random, crash.clone()).await?;

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", ServingStatus::Serving).await;
    health.set_serving::<ParticipantServer<SessionService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(undoubt_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let session = SessionService::new(handle.clone(), config.clone(), kind, crash);
    let admin = AdminService { engine: handle.clone(), config: config.clone(), clock: clock.clone() };
    let keep_alive = Duration::from_millis(config.keep_alive_ms);
    let (stop, mut stopped) = watch::channel(false);
    let server = Server::builder()
        .layer(MapResponseLayer::new(dated(clock.clone())))
        .http2_keepalive_interval(Some(keep_alive / 2))
        .http2_keepalive_timeout(Some(keep_alive / 2))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(
            ParticipantServer::new(session)
                .max_decoding_message_size(MAX_INCOMING_BATCH_BYTES)
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(ParticipantAdminServer::new(admin))
        .serve_with_incoming_shutdown(incoming, async move {
            // Also when the sender is gone there is nothing left to serve.
            let _ = stopped.wait_for(|stop| *stop).await;
        });
    tokio::pin!(server);
    let mut engine = tokio::spawn(engine.run());
    tokio::select! {
        ended = &mut engine => return engine_result(ended),
        served = &mut server => served?,
        () = shutdown => {}
    }
    health.set_service_status("", ServingStatus::NotServing).await;
    stop.send_replace(true);
    // An error means that the engine has ended already; its result says how.
    let _ = handle.tell(Command::Stop).await;
    let result = engine_result(engine.await);
    // Sessions stay open as long as coordinators live; they are not waited for.
    let _ = tokio::time::timeout(PARTING_TIMEOUT, server).await;
    result
}

fn engine_result(ended: Result<Result<(), ResourceError>, tokio::task::JoinError>) -> Result<(), RunError> {
    match ended {
        Ok(result) => Ok(result?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(RunError::Cancelled(error.to_string())),
        },
    }
}

/// Flow control of one session, each way.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
