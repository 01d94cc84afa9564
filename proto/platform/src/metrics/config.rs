//! Where figures are told.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The settings `[metrics]` of a server.
///
/// Nothing listens unless it is asked to: several servers of one machine would want the same port, and whoever reads counts
/// and names of participants needs no password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address (`host:port` as numbers) at which `/metrics`, `/healthz` and `/readyz` are answered; port 0 takes any free one. The
    /// empty text: nowhere.
    pub listen: String,
}

/// The error of an address at which figures cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[metrics] listen: {0:?} is no address; give it numbers, such as 127.0.0.1:9464, or none: \"\"")]
pub struct BadMetricsAddress(String);

impl MetricsConfig {
    /// Returns the address, if there is to be one.
    pub fn address(&self) -> Result<Option<SocketAddr>, BadMetricsAddress> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        self.listen.parse().map(Some).map_err(|_| BadMetricsAddress(self.listen.clone()))
    }
}
