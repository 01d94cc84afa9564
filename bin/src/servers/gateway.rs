//! A gateway to the coordinator in the same process, or to others.

use super::coordinator::NAME as COORDINATOR;
use crate::process::{Door, Failed, Failure, Inside, OrFailed as _, Shutdown};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use undoubt_client::ClientOptions;
use undoubt_gateway::{Behind, Config, Environment, RunError, Source, SourceAddress, run};
use undoubt_platform::dial::{Dial, connect_lazily};
use undoubt_platform::{Access, Incoming};

/// The name under which the coordinator in the same process knows it.
const NAME: &str = "gateway";

/// The bytes that the coordinator may send of one answer before it is asked for more.
const WINDOW_BYTES: u32 = 4 << 20;

/// The time for which a coordinator that does not serve yet is waited for; then it is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The period in which an idle connection is tried, and the time that the other end has to answer that.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

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

/// Opens channels to a coordinator.
pub type Connect = Box<dyn Fn() -> Channel + Send + Sync>;

/// Returns what opens channels to the coordinator at this address.
pub fn to_coordinator(address: &str, dial: Arc<dyn Dial>) -> anyhow::Result<Connect> {
    let endpoint = Endpoint::from_shared(address.to_owned()).with_context(|| format!("{address} is no address"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    Ok(Box::new(move || connect_lazily(endpoint.clone(), dial.clone())))
}

/// The bytes that a participant may send of its events before a reader has taken them.
const EVENTS_WINDOW_BYTES: u32 = 256 << 10;

/// Returns a participant whose events are handed on.
fn source(name: &str, address: &str, dial: Arc<dyn Dial>) -> anyhow::Result<Source> {
    let endpoint = Endpoint::from_shared(address.to_owned()).with_context(|| format!("{address} is no address"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(EVENTS_WINDOW_BYTES)
        .initial_connection_window_size(EVENTS_WINDOW_BYTES);
    let connect = Box::new(move || connect_lazily(endpoint.clone(), dial.clone()));
    Ok(Source { name: name.to_owned(), connect })
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
        Gateway::over(config.clone(), listener, door)
    }

    /// Takes connections from a listener, if it may at its address.
    pub fn over(config: Config, listener: TcpListener, door: &Door) -> Result<Gateway, Failed> {
        let address = listener.local_addr().or_failed(Failure::Address)?;
        let scheme = if door.is_encrypted() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        Ok(Gateway { config, incoming: Listener(door.incoming(listener)?), url })
    }

    /// Returns the URL at which it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves in front of the coordinator in the same process, and of these participants there, until it is asked to end.
    pub async fn serve_inside(
        mut self,
        (inside, participants): (&Inside, &[&str]),
        outside: Arc<dyn Dial>,
        access: Access,
        shutdown: Shutdown,
    ) -> Result<(), Failed> {
        let (address, dial) = (Inside::address(COORDINATOR), Arc::new(inside.dial(Some(NAME), outside)));
        let connect = to_coordinator(&address, dial.clone()).or_failed(Failure::Other)?;
        let own = |name: &&str| SourceAddress { name: (*name).to_owned(), address: Inside::address(name) };
        self.config.sources.extend(participants.iter().map(own));
        let behind = vec![Behind { id: None, address, connect }];
        self.serve((behind, dial), ClientOptions::default(), access, shutdown).await
    }

    /// Serves in front of these coordinators until it is asked to end. `dial`: to the participants whose events it hands on.
    pub async fn serve(
        self,
        (coordinators, dial): (Vec<Behind>, Arc<dyn Dial>),
        options: ClientOptions,
        access: Access,
        shutdown: Shutdown,
    ) -> Result<(), Failed> {
        let Gateway { config, incoming: Listener(incoming), url: _ } = self;
        let sources = config.sources.iter().map(|at| source(&at.name, &at.address, dial.clone()));
        let sources = sources.collect::<anyhow::Result<_>>().or_failed(Failure::Configuration)?;
        let environment = Environment { incoming, coordinators, sources, options, access };
        run(config, environment, shutdown.asked()).await.map_err(|error| {
            let kind = match &error {
                RunError::Config(_) | RunError::Coordinators { .. } => Failure::Configuration,
                RunError::NoMoreConnections => Failure::Other,
            };
            Failed::new(kind, error)
        })
    }
}
