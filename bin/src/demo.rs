//! The main job, shown in two acts on one cluster: two-phase commit, then sagas, while processes are killed.

mod sagas;

pub use sagas::Sagas;

use crate::cluster::{Cluster, Plan, Programs, Who};
use crate::torture::settle;
use crate::workload::{Audit, Length, Load, Progress, Report, Workload, audit, run};
use anyhow::Context;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use undoubt_client::{Client, ClientOptions, ParticipantClient};

/// The time for which the killed stay dead, so that one can see what waits for them.
const DEAD_FOR: Duration = Duration::from_secs(1);

const PARTICIPANTS: [&str; 3] = ["bank-1", "bank-2", "bank-3"];

#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// The same seed asks for the same.
    pub seed: u64,
    /// Load before, between and after the kills.
    pub stretch: Duration,
}

impl Default for Demo {
    fn default() -> Self {
        Demo { seed: 1, stretch: Duration::from_secs(4) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Branches that had voted and did not know the decision, while the coordinator was dead.
    pub in_doubt_while_coordinator_was_dead: u64,
    /// Transactions that waited for the dead participant's acknowledgement.
    pub unacknowledged_while_participant_was_dead: u64,
    pub load: Report,
    pub audit: Audit,
    /// The open transactions at the end of the first act. All must be 0.
    pub open_transactions: u64,
    pub open_branches: u64,
    pub damaged_transactions: u64,
    /// The second act.
    pub sagas: Sagas,
}

impl DemoReport {
    pub fn is_clean(&self) -> bool {
        let left = self.open_transactions + self.open_branches + self.damaged_transactions;
        self.audit.is_clean() && left == 0 && self.sagas.is_clean()
    }
}

/// Runs the demo. `say` hears what happens; `progress` can be watched.
pub async fn demo(
    programs: &Programs,
    demo: Demo,
    progress: watch::Sender<Progress>,
    mut say: impl FnMut(&str),
) -> anyhow::Result<DemoReport> {
    say("starting a coordinator and three participants in a temporary place");
    let names: Vec<String> = PARTICIPANTS.iter().map(ToString::to_string).collect();
    let plan = Plan { participants: names.clone(), ..Plan::default() };
    let mut cluster = Cluster::start(programs, plan).await?;
    let load = Load {
        length: Length::For(3 * demo.stretch + 2 * DEAD_FOR),
        seed: demo.seed,
        ..Load::new(cluster.url(Who::Coordinator)?, names, Workload::SmallBank)
    };
    say(&format!(
        "first act, two-phase commit: SmallBank with {} customers, {} operations in flight",
        load.customers, load.in_flight
    ));
    let mut running = progress.subscribe();
    let driven = run(&load, std::future::pending(), &progress);
    let killing = async {
        running.wait_for(|progress| progress.committed > 0).await.context("the load did not start")?;
        kill_both(&mut cluster, demo.stretch, &load.coordinator, &mut say).await
    };
    let (mut outcome, (in_doubt, unacknowledged)) = tokio::try_join!(driven, killing)?;
    say("auditing: every acknowledged outcome, at every branch, and every account");
    let audit = audit(&load, &mut outcome.ledger).await?;
    let (open_transactions, open_branches, damaged_transactions) = settle(&cluster).await?;
    Ok(DemoReport {
        in_doubt_while_coordinator_was_dead: in_doubt,
        unacknowledged_while_participant_was_dead: unacknowledged,
        load: outcome.report,
        audit,
        open_transactions,
        open_branches,
        damaged_transactions,
        sagas: sagas::show(programs, &mut cluster, demo, &progress, &mut say).await?,
    })
}

/// Kills both, and returns how many branches were in doubt, and how many transactions unacknowledged, while the one or
/// the other was dead.
async fn kill_both(
    cluster: &mut Cluster,
    stretch: Duration,
    coordinator: &str,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<(u64, u64)> {
    sleep(stretch).await;
    cluster.kill(Who::Coordinator).await?;
    let (in_doubt, _) = branches(cluster).await?;
    say(&format!("kill -9 the coordinator: {in_doubt} branches have voted, and cannot know what was decided"));
    sleep(DEAD_FOR).await;
    cluster.restart(Who::Coordinator, None).await?;
    say("the coordinator is back: it read its log, and tells the participants what it had decided");
    sleep(stretch).await;

    cluster.kill(Who::Participant(1)).await?;
    sleep(DEAD_FOR).await;
    let unacknowledged = Client::connect_lazy(coordinator, ClientOptions::default())?.describe().await?.unacknowledged;
    say(&format!("kill -9 {}: {unacknowledged} decided transactions wait for it to hear", PARTICIPANTS[1]));
    cluster.restart(Who::Participant(1), None).await?;
    say(&format!("{} is back: what it had prepared was locked again before it served", PARTICIPANTS[1]));
    Ok((in_doubt, unacknowledged))
}

/// Returns how many branches the participants have in doubt, and open in all.
async fn branches(cluster: &Cluster) -> anyhow::Result<(u64, u64)> {
    let (mut in_doubt, mut open) = (0, 0);
    for index in 0..cluster.participant_count() {
        let url = cluster.url(Who::Participant(index))?;
        let state = ParticipantClient::connect_lazy(&url, ClientOptions::default())?.describe().await?;
        in_doubt += state.branches_in_doubt;
        open += state.branches_open;
    }
    Ok((in_doubt, open))
}
