//! Where figures are told.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The settings `[metrics]` of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address (`host:port` as numbers) at which `/metrics`, `/healthz` and `/readyz` are answered; port 0 takes any free one. `"none"`:
    /// nowhere.
    pub listen: String,
}

/// Nothing listens unless it is asked to: several servers of one machine would want the same port, and whoever reads counts
/// and names of participants needs no password.
const NOWHERE: &str = "none";

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { listen: NOWHERE.to_owned() }
    }
}

/// The error of an address at which figures cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[metrics] listen: {0:?} is no address; give it numbers, such as 127.0.0.1:9464, or \"none\"")]
pub struct BadMetricsAddress(String);

impl MetricsConfig {
    /// Returns the address, if there is to be one.
    pub fn address(&self) -> Result<Option<SocketAddr>, BadMetricsAddress> {
        if self.listen == NOWHERE {
            return Ok(None);
        }
        self.listen.parse().map(Some).map_err(|_| BadMetricsAddress(self.listen.clone()))
    }
}
