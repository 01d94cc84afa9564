//! The participant that calls a service: the adapter that ships, over the network of its process.

use crate::plan::Host;
use crate::world::net::Network;
use crate::world::shared_state::Shared;
use undoubt_http::{BadSettings, HttpServices, Settings};
use undoubt_platform::{NumberedStore, numbered_store};

/// Short enough that several calls fit into one transaction.
const CALL_TIMEOUT_MS: u64 = 2_000;
const CONNECT_TIMEOUT_MS: u64 = 500;

/// A breaker that opens and closes several times while a service is away.
const BREAKER_THRESHOLD: u32 = 4;
const BREAKER_PAUSE_MS: u64 = 300;

/// So often that nobody waits long for what a service will never do.
const MAX_REFUSED_ENDINGS: u32 = 3;

/// Returns the resource of the participant with this number, over its own store.
pub(in crate::world) fn resource(
    shared: &Shared,
    number: u8,
    network: &Network,
    (store, known): (NumberedStore, numbered_store::Known),
    min_free_bytes: u64,
) -> Result<HttpServices, BadSettings> {
    let service = Host::Service(number).to_string();
    let settings = Settings {
        allow: vec![super::url(number)],
        private_hosts: vec![service],
        connect_timeout_ms: CONNECT_TIMEOUT_MS,
        call_timeout_ms: CALL_TIMEOUT_MS,
        breaker_threshold: BREAKER_THRESHOLD,
        breaker_pause_ms: BREAKER_PAUSE_MS,
        max_refused_endings: MAX_REFUSED_ENDINGS,
        min_free_bytes,
        ..Settings::default()
    };
    let dial = std::sync::Arc::new(network.clone());
    let clock = shared.clock(Host::Participant(number));
    HttpServices::numbered(
        store,
        known,
        settings,
        undoubt_http::Network { resolve: dial.clone(), dial, encrypt: None, clock },
    )
}
