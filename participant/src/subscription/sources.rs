//! The logs of the participants that publish what is subscribed to.

use crate::config::{Config, SourceAddress};
use crate::event_log::EventSource;
use crate::events;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{BoxStream, StreamExt as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use undoubt_platform::Reason;
use undoubt_platform::dial::{self, Dial};
use undoubt_proto::v1;
use undoubt_proto::v1::events_client::EventsClient;
use undoubt_vocabulary::ParticipantName;
use undoubt_vocabulary::limits::MAX_RESPONSE_BYTES;

/// The time for connecting to a source.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Batches of events, as [`v1::EventBatch`] tells them.
pub type Batches = BoxStream<'static, Result<v1::EventBatch, Status>>;

/// The logs of sources, as readers reach them.
pub trait Sources: Send + Sync + 'static {
    /// Opens the log of a participant. The caller bounds how long that may take.
    fn open(
        &self,
        from: &ParticipantName,
        request: v1::ReadEventsRequest,
    ) -> BoxFuture<'static, Result<Batches, Status>>;

    /// Has the log of a participant keep what is behind a position. The caller bounds how long that may take.
    fn keep(
        &self,
        from: &ParticipantName,
        request: v1::KeepEventsRequest,
    ) -> BoxFuture<'static, Result<v1::KeepEventsResponse, Status>>;
}

/// Sources that are reached over the network by their addresses.
pub struct DialSources {
    pub addresses: BTreeMap<ParticipantName, String>,
    pub dial: Arc<dyn Dial>,
    pub connect_timeout: Duration,
    /// A peer that does not even answer a ping for so long is given up.
    pub keep_alive: Duration,
}

impl std::fmt::Debug for DialSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DialSources").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl DialSources {
    /// Returns the sources of a participant's settings, which have been checked.
    pub fn of(config: &Config, dial: Arc<dyn Dial>) -> DialSources {
        let known = |source: &SourceAddress| Some((source.name.parse().ok()?, source.address.clone()));
        DialSources {
            addresses: config.sources.iter().filter_map(known).collect(),
            dial,
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: Duration::from_millis(config.keep_alive_ms),
        }
    }

    fn client(&self, from: &ParticipantName) -> BoxFuture<'static, Result<EventsClient<Channel>, Status>> {
        let Some(address) = self.addresses.get(from) else {
            let what = format!(
                "no address of the participant {from} is known, whose events are subscribed to; add it to sources"
            );
            return std::future::ready(Err(Reason::UnknownParticipant.refuse(what))).boxed();
        };
        let endpoint = Endpoint::from_shared(address.clone()).map(|endpoint| {
            endpoint
                .connect_timeout(self.connect_timeout)
                .http2_keep_alive_interval(self.keep_alive / 2)
                .keep_alive_timeout(self.keep_alive / 2)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true)
        });
        let dial = self.dial.clone();
        async move {
            let endpoint = endpoint.map_err(|error| Reason::InvalidRequest.refuse(error.to_string()))?;
            let channel = dial::connect(endpoint, dial).await;
            let channel =
                channel.map_err(|error| Status::unavailable(format!("cannot connect: {}", root_cause(&error))))?;
            Ok(EventsClient::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES))
        }
        .boxed()
    }
}

impl Sources for DialSources {
    fn open(
        &self,
        from: &ParticipantName,
        request: v1::ReadEventsRequest,
    ) -> BoxFuture<'static, Result<Batches, Status>> {
        let client = self.client(from);
        async move { Ok(client.await?.read(request).await?.into_inner().boxed()) }.boxed()
    }

    fn keep(
        &self,
        from: &ParticipantName,
        request: v1::KeepEventsRequest,
    ) -> BoxFuture<'static, Result<v1::KeepEventsResponse, Status>> {
        let client = self.client(from);
        async move { Ok(client.await?.keep_events(request).await?.into_inner()) }.boxed()
    }
}

/// Other sources, and the participant's own log beside them, which needs no network.
pub(crate) struct WithOwn {
    pub(crate) name: ParticipantName,
    pub(crate) own: Option<Arc<dyn EventSource>>,
    pub(crate) others: Arc<dyn Sources>,
}

impl Sources for WithOwn {
    fn open(
        &self,
        from: &ParticipantName,
        request: v1::ReadEventsRequest,
    ) -> BoxFuture<'static, Result<Batches, Status>> {
        match &self.own {
            Some(own) if *from == self.name => std::future::ready(events::read(own.clone(), request)).boxed(),
            Some(_) | None => self.others.open(from, request),
        }
    }

    fn keep(
        &self,
        from: &ParticipantName,
        request: v1::KeepEventsRequest,
    ) -> BoxFuture<'static, Result<v1::KeepEventsResponse, Status>> {
        match &self.own {
            Some(own) if *from == self.name => {
                let own = own.clone();
                async move { events::keep(own.as_ref(), request).await }.boxed()
            }
            Some(_) | None => self.others.keep(from, request),
        }
    }
}

/// Returns the innermost cause, which says what happened.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
