//! The destination of spans, and the share of transactions that have some.

use serde::{Deserialize, Serialize};
use tonic::transport::Uri;
use undoubt_vocabulary::TraceId;

/// The settings `[traces]` of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// The collector that takes OTLP by gRPC: `http://host:port`, or `https://host:port` with a certificate of `tls.ca`. The empty text:
    /// what the variable `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` says, and nowhere without these.
    pub endpoint: String,
    /// The share of transactions that are traced, from 0 to 100, of those whose caller brought no trace context. Fractions are
    /// allowed. One that brought a context has decided it.
    pub sample_percent: f64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        TracesConfig { endpoint: String::new(), sample_percent: 1.0 }
    }
}

/// The error of settings by which nothing can be traced.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BadTraces {
    /// It does not repeat the address, for it may hold a secret.
    #[error(
        "[traces] endpoint is not of the form http://host:port or https://host:port, without a path, a user and a password; correct \
         it, or set none: \"\""
    )]
    Endpoint,
    #[error("[traces] sample_percent is {0}; give it at least 0 and at most 100")]
    Share(f64),
}

impl TracesConfig {
    /// Returns the collector that is named here.
    pub fn endpoint(&self) -> Result<Option<Uri>, BadTraces> {
        collector(&self.endpoint)
    }

    pub fn check(&self) -> Result<(), BadTraces> {
        if !(0.0..=100.0).contains(&self.sample_percent) {
            return Err(BadTraces::Share(self.sample_percent));
        }
        self.endpoint().map(drop)
    }

    pub fn sampling(&self) -> Sampling {
        Sampling::of_percent(self.sample_percent)
    }
}

/// Reads the address of a collector; `None`: there is none.
pub fn collector(endpoint: &str) -> Result<Option<Uri>, BadTraces> {
    if endpoint.is_empty() {
        return Ok(None);
    }
    let usable = |uri: &Uri| {
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.port_u16().is_some() && uri.path() == "/" && !has_user
    };
    endpoint.parse().ok().filter(usable).map(Some).ok_or(BadTraces::Endpoint)
}

/// The share of traces that are recorded, decided by the last 56 bits of the trace's id, as OpenTelemetry does it: so everybody
/// who records a larger share records these too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// The number of the 2^56 values that are taken.
    taken: u64,
}

const VALUES: u64 = 1 << 56;

impl Sampling {
    /// # Panics
    /// If it is not between 0 and 100, which [`TracesConfig::check`] refuses.
    pub fn of_percent(percent: f64) -> Sampling {
        assert!((0.0..=100.0).contains(&percent), "{percent} is no share in percent");
        Sampling { taken: (percent / 100.0 * VALUES as f64) as u64 }
    }

    pub fn takes(self, trace: TraceId) -> bool {
        let bytes = trace.bytes();
        let value = bytes[9..].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        value >= VALUES - self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::ids::trace_of;

    #[test]
    fn about_the_share_that_was_asked_for_is_taken_and_a_larger_share_has_all_of_a_smaller_one() {
        let traces: Vec<TraceId> = (0..100_000).map(|n| trace_of(&format!("t{n}").parse().unwrap())).collect();
        let taken = |percent: f64| -> Vec<&TraceId> {
            let sampling = Sampling::of_percent(percent);
            traces.iter().filter(|trace| sampling.takes(**trace)).collect()
        };
        assert_eq!((taken(0.0).len(), taken(100.0).len()), (0, traces.len()));
        let (some, few) = (taken(1.0), taken(0.1));
        assert!((900..1_100).contains(&some.len()) && (60..140).contains(&few.len()), "{} {}", some.len(), few.len());
        assert!(few.iter().all(|trace| some.contains(trace)));
    }

    #[test]
    fn what_is_no_collector_and_no_share_is_refused_with_what_would_be_right() {
        let with =
            |endpoint: &str, sample_percent| TracesConfig { endpoint: endpoint.to_owned(), sample_percent }.check();
        assert!(with("", 0.01).is_ok() && with("http://127.0.0.1:4317", 100.0).is_ok());
        for bad in ["none", "http://host/", "ftp://host:1", "http://user:secret@host:1", "http://host:1/v1/traces"] {
            let refused = with(bad, 1.0).unwrap_err().to_string();
            assert!(refused.contains("http://host:port") && !refused.contains("secret"), "{refused}");
        }
        for bad in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert!(with("", bad).unwrap_err().to_string().contains("at most 100"), "{bad}");
        }
    }
}
