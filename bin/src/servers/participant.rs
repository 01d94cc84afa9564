//! A participant, whatever resource it guards.

use crate::process::{Door, Failed, Failure, Inside, Reloads, ServerArgs, Shutdown};
use std::sync::Arc;
use undoubt_participant::subscription::Subscribing;
use undoubt_participant::{Config, Environment, RunError};
use undoubt_platform::dial::Dial;
use undoubt_platform::metrics::Board;
use undoubt_platform::pulse::Pulse;
use undoubt_platform::{Access, CrashPoints, Incoming, Metrics, OsRandom, SystemClock, Traces};

/// All that a run needs besides its resource. One process has several runs where a full device ends one.
pub struct Frame {
    pub listening: Listening,
    pub config: Config,
    pub crash: CrashPoints,
    pub shutdown: Shutdown,
    pub dial: Arc<dyn Dial>,
    pub access: Access,
    pub board: Board,
    pub reloads: Reloads,
    pub pulse: Pulse,
    pub traces: Traces,
    /// The subscriptions that it serves, if there are any.
    pub subscribing: Option<Subscribing>,
}

/// The way in which connections come in.
#[derive(Debug)]
pub enum Listening {
    /// Connections come from anywhere, to the address of the settings.
    Outside(Arc<ServerArgs>, Door),
    /// Connections come from this process alone, to the participant's name.
    Inside(Inside),
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Frame {
    /// Returns the surroundings of a run, which listens from now on.
    pub async fn environment(&self, metrics: Metrics) -> Result<Environment, Failed> {
        metrics.add(self.reloads.clone());
        Ok(Environment {
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            dial: self.dial.clone(),
            incoming: self.listening.incoming(&self.config).await?,
            crash: self.crash.clone(),
            metrics,
            access: self.access.clone(),
            pulse: self.pulse.clone(),
            traces: self.traces.clone(),
            subscribing: self.subscribing.clone(),
        })
    }
}

impl Listening {
    async fn incoming(&self, config: &Config) -> Result<Incoming, Failed> {
        match self {
            Listening::Outside(args, door) => door.incoming(args.bind(&config.listen).await?),
            Listening::Inside(inside) => Ok(inside.listen(&config.name)),
        }
    }
}

/// Returns the kind of failure that ended a run.
pub fn kind_of(error: &RunError) -> Failure {
    match error {
        RunError::Config(_) => Failure::Configuration,
        RunError::Resource(_) => Failure::Storage,
        RunError::Fenced { .. } => Failure::FencedByStore,
        RunError::Server(_) | RunError::Reflection(_) | RunError::Cancelled(_) => Failure::Other,
    }
}
