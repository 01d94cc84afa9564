//! A gRPC server while it serves, and its orderly end.

use super::{Calls, Incoming, Keeping, ServerError, serve};
use crate::clock::Clock;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The time that peers get to read their last messages.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// A gRPC server.
pub struct Serving {
    /// Empty once it has ended.
    server: Option<BoxFuture<'static, Result<(), ServerError>>>,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Returns a server that serves as long as its end is waited for.
    pub fn new(routes: Routes, incoming: Incoming, keeping: Keeping, clock: Arc<dyn Clock>, calls: Calls) -> Serving {
        let (stop, mut stopped) = watch::channel(false);
        let asked_to_stop = async move {
            // Also when the sender is gone there is nothing left to serve.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        Serving { server: Some(serve(routes, incoming, keeping, clock, calls, Box::pin(asked_to_stop))), stop }
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> Result<(), ServerError> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let ended = server.await;
        self.server = None;
        ended
    }

    /// Lets no more connections in.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops it. Peers get 1 s to read their last messages; streams that they keep open beyond that are not waited for.
    pub async fn part(mut self) {
        self.stop();
        let _ = timeout(PARTING_TIMEOUT, self.ended()).await;
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// Tells whoever asks for health whether this process serves, and its service `S`.
pub async fn tell_health<S: NamedService>(health: &HealthReporter, serves: bool) {
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    health.set_service_status("", status).await;
    health.set_service_status(S::NAME, status).await;
}
