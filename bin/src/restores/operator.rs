//! An operator who does what the product tells him to, and knows what the clients were told.

use super::load::{Entry, Reply};
use super::round::PATIENCE;
use crate::cluster::{Cluster, Who};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_client::{
    BranchResolution, Client, ClientOptions, Filter, HeldFilter, HeldQuery, ListQuery, OperatorError,
    ParticipantClient, StepResolution, TransactionPhase, TransactionView,
};
use undoubt_vocabulary::TxId;

const WHO: &str = "ada";
const REASON: &str = "the disk is gone";

const POLL: Duration = Duration::from_millis(20);

pub(super) fn coordinator(cluster: &Cluster) -> anyhow::Result<Client> {
    Ok(Client::connect_lazy(&cluster.url(Who::Coordinator)?, ClientOptions::default())?)
}

pub(super) fn participant(cluster: &Cluster, place: usize) -> anyhow::Result<ParticipantClient> {
    Ok(ParticipantClient::connect_lazy(&cluster.url(Who::Participant(place))?, ClientOptions::default())?)
}

/// Accepts the loss of a server, as soon as that lets him.
pub(super) async fn accept(cluster: &Cluster, who: Who) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let accepted: Result<(), OperatorError> = match who {
            Who::Coordinator => coordinator(cluster)?.accept_loss(WHO, REASON, &[]).await.map(drop),
            Who::Participant(place) => participant(cluster, place)?.accept_loss(WHO, REASON).await.map(drop),
        };
        match accepted {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error).context("the loss cannot be accepted"),
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Ends what is held until an operator ends it, and what is in doubt for a coordinator that is no more, as the clients were told;
/// what no client was told of is aborted. Returns what he has decided about without knowing.
pub(super) async fn end_what_is_held(cluster: &Cluster, entries: &[Entry]) -> anyhow::Result<BTreeSet<TxId>> {
    let told: BTreeMap<TxId, Reply> =
        entries.iter().filter_map(|entry| Some((entry.tx().ok()?, entry.told()?))).collect();
    let client = coordinator(cluster)?;
    let now = client.describe().await?.id.context("the coordinator did not tell its id")?;
    let mut held: BTreeSet<TxId> = listed(&client, Filter::Open)
        .await?
        .into_iter()
        .filter(|view| view.unusable_because.is_some())
        .map(|view| view.tx)
        .collect();
    let to_forget = held.clone();
    for place in 0..cluster.participant_count() {
        let participant = participant(cluster, place)?;
        for branch in participant.held(&HeldQuery::of(HeldFilter::InDoubt).limit(u32::MAX)).await?.branches {
            if branch.coordinator == now && !to_forget.contains(&branch.tx) {
                continue;
            }
            let resolution = match told.get(&branch.tx) {
                Some(Reply::Committed) => BranchResolution::Commit,
                Some(Reply::Aborted) | None => BranchResolution::Abort,
            };
            participant.resolve(&branch.tx, resolution, WHO, REASON).await?;
            held.insert(branch.tx);
        }
    }
    for tx in to_forget {
        client.forget(&tx, WHO, REASON).await?;
    }
    Ok(held)
}

/// Returns once nothing is open any more. What is stuck till an operator ends it he skips, so that it is listed as damaged.
pub(super) async fn settle(cluster: &Cluster) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let client = coordinator(cluster)?;
    loop {
        let open = listed(&client, Filter::Open).await?;
        for view in &open {
            if let Some(stuck) = &view.known.stuck {
                client.resolve_step(&view.tx, stuck.step.as_str(), StepResolution::Skip, WHO, REASON).await?;
            }
        }
        let mut held = Vec::new();
        for place in 0..cluster.participant_count() {
            let participant = participant(cluster, place)?;
            let at_it = participant.held(&HeldQuery::of(HeldFilter::Work).limit(u32::MAX)).await?;
            for branch in at_it.branches {
                // He has decided it himself.
                match branch.heuristic {
                    Some(_) => participant.forget(&branch.tx).await?,
                    None => held.push(format!("{} {}", branch.tx, branch.state)),
                }
            }
            held.extend(at_it.steps.iter().map(|step| format!("{} {}", step.tx, step.state)));
        }
        if open.is_empty() && held.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let open = open
                .iter()
                .map(|view| format!("{} {}", view.tx, view.phase.map_or("unknown", TransactionPhase::as_str)))
                .collect::<Vec<_>>()
                .join(", ");
            bail!("still open after {PATIENCE:?}: {open}; at participants {}", held.join(", "));
        }
        sleep(POLL).await;
    }
}

/// Returns all transactions of this kind.
pub(super) async fn listed(client: &Client, filter: Filter) -> anyhow::Result<Vec<TransactionView>> {
    let query = ListQuery::of(filter).limit(u32::MAX);
    let listing = client.list(&query).await?;
    anyhow::ensure!(!listing.more, "the transactions could not all be listed");
    Ok(listing.transactions)
}
