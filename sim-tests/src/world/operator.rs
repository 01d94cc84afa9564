//! Operators who decide alone.

use super::net;
use super::shared::Shared;
use crate::plan::Host;
use std::sync::Arc;
use std::time::Duration;
use undoubt_client::{Client, ClientOptions, Filter, ListQuery, ParticipantClient, Resolution};

/// Operators do not wait long.
fn options() -> ClientOptions {
    ClientOptions { deadline: Duration::from_secs(1), ..super::client::options() }
}

/// Each operator has a desk of its own.
fn desk(shared: &Shared) -> String {
    format!("operator{}", shared.next_desk())
}

/// Decides the oldest branch in doubt.
pub(super) fn resolve(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>, participant: u8, commit: bool) {
    let resolution = if commit { Resolution::Commit } else { Resolution::Abort };
    sim.client(desk(shared), async move {
        let address = net::address(Host::Participant(participant));
        let channel = net::channel(move || address.clone());
        let participant = ParticipantClient::with_channel(channel, options());
        let Ok(held) = participant.branches(true, 1).await else { return Ok(()) };
        if let Some(branch) = held.branches.first() {
            // It may have been decided meanwhile.
            let _ = participant.resolve(&branch.tx, resolution, "operator", "it took too long").await;
        }
        Ok(())
    });
}

/// Gives up on the oldest transaction that some branch does not acknowledge.
pub(super) fn forget(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>) {
    let (name, shared) = (desk(shared), shared.clone());
    sim.client(name, async move {
        let channel = net::channel(move || net::address(shared.primary()));
        let coordinator = Client::with_channel(channel, options());
        let query = ListQuery { filter: Filter::Unacknowledged, limit: 1, ..ListQuery::default() };
        let Ok(open) = coordinator.list(&query).await else { return Ok(()) };
        if let Some(open) = open.transactions.first() {
            // It may have been acknowledged meanwhile.
            let _ = coordinator.forget(&open.tx, "operator", "it took too long").await;
        }
        Ok(())
    });
}
