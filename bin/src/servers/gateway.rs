//! A gateway to the coordinator in the same process.

use super::coordinator::NAME as COORDINATOR;
use crate::process::{Door, Failed, Failure, Inside, OrFailed as _, Shutdown};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use undoubt_client::ClientOptions;
use undoubt_gateway::{Config, Environment, RunError, run};
use undoubt_platform::dial::{TcpDial, connect_lazily};
use undoubt_platform::{Access, Incoming};

/// The name under which the coordinator knows it.
const NAME: &str = "gateway";

/// The bytes that the coordinator may send of one answer before it is asked for more.
const WINDOW_BYTES: u32 = 4 << 20;

/// The time for which a coordinator that does not serve yet is waited for; then it is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A gateway that listens.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    incoming: Listener,
    url: String,
}

/// The connections that come in.
struct Listener(Incoming);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Gateway {
    /// Listens, if it may at its address.
    pub async fn listen(config: &Config, door: &Door) -> Result<Gateway, Failed> {
        config.check().or_failed(Failure::Configuration)?;
        let listener = TcpListener::bind(&config.listen)
            .await
            .with_context(|| {
                let listen = &config.listen;
                format!(
                    "cannot listen on {listen} for HTTP; is the port taken? Choose another with --set gateway.listen=…"
                )
            })
            .or_failed(Failure::Address)?;
        let address = listener.local_addr().or_failed(Failure::Address)?;
        let scheme = if door.is_encrypted() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        Ok(Gateway { config: config.clone(), incoming: Listener(door.incoming(listener)?), url })
    }

    /// Returns the URL at which it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until it is asked to end.
    pub async fn serve(self, inside: &Inside, access: Access, shutdown: Shutdown) -> Result<(), Failed> {
        let dial = Arc::new(inside.dial(Some(NAME), Arc::new(TcpDial)));
        let endpoint = Endpoint::from_shared(Inside::address(COORDINATOR)).or_failed(Failure::Other)?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let connect = move || -> Channel { connect_lazily(endpoint.clone(), dial.clone()) };
        let Gateway { config, incoming: Listener(incoming), url: _ } = self;
        let environment =
            Environment { incoming, connect: Box::new(connect), options: ClientOptions::default(), access };
        run(config, environment, shutdown.asked()).await.map_err(|error| {
            let kind = match &error {
                RunError::Config(_) => Failure::Configuration,
                RunError::NoMoreConnections => Failure::Other,
            };
            Failed::new(kind, error)
        })
    }
}
