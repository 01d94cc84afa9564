//! An observer's life.

use crate::asking::Ask;
use crate::config::{Config, ConfigError};
use crate::engine::{Engine, Parts};
use crate::metrics::Figures;
use crate::service::{OperatorService, Service};
use crate::shared::Shared;
use crate::store::{META, Rows, RowsError};
use futures::future::BoxFuture;
use std::sync::{Arc, Weak};
use std::time::Duration;
use undoubt_participant::subscription::Sources;
use undoubt_platform::alarm::Bell;
use undoubt_platform::dial::Dial;
use undoubt_platform::identity::establish;
use undoubt_platform::metrics::Source;
use undoubt_platform::pulse::{Life, Pulse};
use undoubt_platform::server::{
    Calls, Incoming, Keeping, Offer, ReflectionError, ServerError, Serving, Task, TaskCancelled, tell_health,
};
use undoubt_platform::{Access, Clock, IdentityError, Kind, Metrics, Random, Store};
use undoubt_proto::v1::coordinator_server::CoordinatorServer;
use undoubt_proto::v1::operator_server::OperatorServer;
use undoubt_stream::choreography::Choreography;
use undoubt_stream::observer::Observer;
use undoubt_vocabulary::limits::MAX_REQUEST_BYTES;

/// The bytes of one answer that a client may have to take before it reads on.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;

/// The surroundings that an observer takes from outside.
pub struct Environment {
    /// Opened with [`crate::FAMILIES`].
    pub store: Arc<dyn Store>,
    /// What all participants declare.
    pub choreography: Choreography,
    pub sources: Arc<dyn Sources>,
    pub ask: Arc<dyn Ask>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// The dialler for alarms.
    pub dial: Arc<dyn Dial>,
    pub incoming: Incoming,
    /// What it tells of itself goes there.
    pub metrics: Metrics,
    /// The rules of who may ask what.
    pub access: Access,
    /// The sign for the one that runs the process that the engine goes on.
    pub pulse: Pulse,
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
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error("the server failed: {0}")]
    Server(#[from] ServerError),
    #[error("reflection is not available: {0}")]
    Reflection(#[from] ReflectionError),
    #[error(transparent)]
    Cancelled(#[from] TaskCancelled),
}

/// It is ready as soon as it serves.
struct Serves;

impl Source for Serves {
    fn look(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Serves until `shutdown` is done, or the store fails.
pub async fn run(
    config: Config,
    environment: Environment,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    config.check()?;
    let Environment { store, choreography, sources, ask, clock, random, dial, incoming, metrics, access, pulse } =
        environment;
    check_choreography(&config, &choreography)?;
    let mut fresh_id = [0; 16];
    random.fill(&mut fresh_id);
    establish(store.as_ref(), META, Kind::Observer, &config.name, fresh_id).await?;
    let rows = Rows::new(store);
    let epoch = rows.begin().await?;
    let found = rows.read()?;
    let (running, ended) = (found.running.len(), found.ended);
    tracing::info!(running, ended, "what was observed before is there again");
    let mut observer = Observer::found(choreography, config.terms(), found.places, found.running, ended, clock.now());
    if let Some(gap) = found.gaps.iter().rev().find(|gap| gap.is_open) {
        observer.doubt(&gap.why);
    }
    let names = config.participants.iter().map(|observed| observed.name.clone());
    let (config, figures) = (Arc::new(config.clone()), Arc::new(Figures::new(names)));
    let bell = config.alarm.webhook().map_err(ConfigError::from)?.map(|url| {
        let (bell, ringing) = Bell::new(dial, url, "observer", config.name.clone());
        // It ends with the engine, which holds the bell.
        tokio::spawn(ringing.run());
        bell
    });
    let shared = Arc::new(Shared::new(observer, found.gaps, rows, clock.clone(), epoch));
    metrics.add(figures.clone());
    metrics.looked_up_by(Arc::new(Serves));
    let calls = Calls::default();
    metrics.add(calls.clone());
    let parts =
        Parts { config: config.clone(), shared: shared.clone(), sources, ask, random, figures: figures.clone(), bell };
    let Offer { mut routes, health } = Offer::new()?;
    tell_health::<CoordinatorServer<Service>>(&health, true).await;
    routes
        .add_service(CoordinatorServer::new(Service(shared.clone())).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(OperatorServer::new(OperatorService { shared, config: config.clone(), figures }));
    let keeping = Keeping {
        access,
        audit: Weak::new(),
        max_connections: config.max_connections,
        alive: Duration::from_millis(config.keep_alive_ms),
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        max_message_bytes: MAX_REQUEST_BYTES,
        max_request_room_bytes: config.max_request_room_bytes,
        max_answer_room_bytes: config.max_answer_room_bytes,
    };
    let mut server = Serving::new(routes.routes(), incoming, keeping, clock, calls);
    let mut engine = Task::spawn(Engine::new(parts).run(pulse.begin()));
    pulse.set_life(Life::Serving);
    let mut shutdown = std::pin::pin!(shutdown);
    let ended = tokio::select! {
        ended = engine.ended::<RunError>() => ended,
        served = server.ended() => served.map_err(RunError::from),
        () = &mut shutdown => Ok(()),
    };
    pulse.set_life(Life::Stopping);
    tell_health::<CoordinatorServer<Service>>(&health, false).await;
    // What it does not write now it reads again.
    engine.abort();
    server.part().await;
    ended
}

fn check_choreography(config: &Config, choreography: &Choreography) -> Result<(), ConfigError> {
    for (who, declared) in choreography.participants() {
        let missing = declared
            .heard()
            .find(|heard| !config.participants.iter().any(|observed| observed.name == heard.from.as_str()));
        if let Some(heard) = missing {
            return Err(ConfigError::Missing { who: who.to_string(), from: heard.from.to_string() });
        }
    }
    Ok(())
}
