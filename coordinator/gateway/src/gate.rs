//! The caller of a request, and the things that all requests share.

use crate::body::Room;
use crate::coordinators::{Coordinator, Coordinators};
use crate::link::Link;
use crate::problem::Problem;
use crate::sources::Sources;
use axum::extract::FromRequestParts;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use undoubt_client::{Client, OnBehalfOf, ParticipantClient, TxId};
use undoubt_platform::access::Caller;
use undoubt_platform::server::Peer;
use undoubt_platform::{Access, Reason};

/// The things that all requests share.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) coordinators: Coordinators,
    /// The participants whose events are handed on.
    pub(crate) sources: Sources,
    pub(crate) access: Access,
    pub(crate) room: Room,
    /// Places for streams of events.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) hosts: Vec<String>,
    /// True once the gateway stops, which ends streams.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Whoever asks.
#[derive(Debug)]
pub(crate) struct Asker {
    gate: Arc<Gate>,
    who: OnBehalfOf,
}

/// A client of one coordinator that asks on the caller's behalf.
#[derive(Debug)]
pub(crate) struct AtCoordinator {
    client: Client,
    _link: Link,
}

impl Deref for AtCoordinator {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Asker {
    /// Returns the coordinator that has this transaction, or else the one that is to have it.
    pub(crate) async fn about(&self, tx: &TxId) -> Result<AtCoordinator, Problem> {
        self.at(self.gate.coordinators.place(tx).await?)
    }

    /// Returns a new id, and the coordinator that is to have it.
    pub(crate) fn about_a_new_one(&self) -> Result<(TxId, AtCoordinator), Problem> {
        let (tx, coordinator) = self.gate.coordinators.draw()?;
        Ok((tx, self.at(coordinator)?))
    }

    /// Returns the coordinator of this name; without, the only one.
    pub(crate) fn of(&self, named: Option<&str>) -> Result<AtCoordinator, Problem> {
        self.at(self.gate.coordinators.named(named)?)
    }

    /// Returns a client of the participant of this name that asks on the caller's behalf.
    pub(crate) fn source(&self, named: &str) -> Result<ParticipantClient, Problem> {
        let source = self.gate.sources.client(named)?;
        source.on_behalf_of(&self.who).map_err(|invalid| Problem::new(Reason::InvalidRequest, invalid.to_string()))
    }

    pub(crate) fn coordinators(&self) -> &Coordinators {
        &self.gate.coordinators
    }

    pub(crate) fn at(&self, coordinator: &Coordinator) -> Result<AtCoordinator, Problem> {
        let link = coordinator.link();
        let client = link.client().on_behalf_of(&self.who);
        let client = client.map_err(|invalid| Problem::new(Reason::InvalidRequest, invalid.to_string()))?;
        Ok(AtCoordinator { client, _link: link })
    }
}

impl FromRequestParts<Arc<Gate>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<Gate>) -> Result<Asker, Problem> {
        let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
        let caller = gate.access.identify(&parts.headers, &peer)?;
        check_browser(&parts.headers, &caller, &gate.hosts)?;
        let who = OnBehalfOf {
            name: caller.name.as_deref().map(str::to_owned),
            roles: caller.roles.to_string(),
            address: caller.address.map(|address| address.ip()),
        };
        Ok(Asker { gate: gate.clone(), who })
    }
}

/// Refuses what a browser sends for a page from elsewhere. Nothing allows it: such a page may be anybody's, and the browser may be on a
/// machine from which callers need not say who they are.
fn check_browser(headers: &HeaderMap, caller: &Caller, hosts: &[String]) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST.as_str()).unwrap_or_default();
    let refuse = |why: String| Err(Problem::new(Reason::LacksRole, why));
    if let Some(origin) = headers.get(ORIGIN) {
        let same = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if same.is_none_or(|(_, from)| from != host) {
            return refuse("pages from elsewhere may not ask this gateway; ask it from a server of yours".to_owned());
        }
    }
    if text("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site") {
        return refuse("pages from elsewhere may not ask this gateway; ask it from a server of yours".to_owned());
    }
    if caller.name.is_none() && !is_own(host, hosts) {
        return Err(Problem::new(
            Reason::InvalidRequest,
            format!(
                "{host:?} is no name of this gateway, and it does not ask who calls; call it by its address or as localhost, or add \
                 the name to gateway.hosts"
            ),
        )
        .with(StatusCode::MISDIRECTED_REQUEST));
    }
    Ok(())
}

/// Returns true if no stranger can make a browser believe that this is a name of its own.
fn is_own(host: &str, hosts: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(given: &[(&'static str, &str)], hosts: &[&str]) -> bool {
        let headers = given.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        check_browser(&headers, &Caller::default(), &hosts).is_ok()
    }

    #[test]
    fn a_page_from_elsewhere_is_refused_whatever_name_it_gives_this_machine() {
        for own in ["127.0.0.1:7480", "[::1]:7480", "localhost:7480", "LOCALHOST", "shop.example:1"] {
            assert!(checked(&[("host", own)], &["shop.example"]), "{own}");
        }
        assert!(!checked(&[("host", "evil.example:7480")], &["shop.example"]));
        let local = ("host", "127.0.0.1:7480");
        assert!(checked(&[local, ("origin", "http://127.0.0.1:7480"), ("sec-fetch-site", "same-origin")], &[]));
        for elsewhere in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!checked(&[local, elsewhere], &[]), "{elsewhere:?}");
        }
    }
}
