//! The second act: trips are booked by sagas while the coordinator is killed.
//!
//! What is half done meanwhile cannot be asked of the dead, and a participant knows its own steps only. So another
//! coordinator, with a log of its own, reads the marks of all trips at all participants, as anybody may: nothing is locked.

use super::{Demo, PARTICIPANTS, branches};
use crate::cluster::{Cluster, Plan, Programs, Who};
use crate::torture::settle;
use crate::workload::audit::half_done;
use crate::workload::{Audit, Length, Load, Mode, Progress, Report, Workload, audit, run};
use anyhow::Context;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

/// Flights, hotels and cars: few enough that some are sold out.
const OFFERS: u32 = 300;

/// The time that the reading of all trips may take while the coordinator is dead. A lock that waits for it would
/// outlast this.
const READ_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, Serialize)]
pub struct Sagas {
    /// Branches that had voted and did not know the decision, while the coordinator was dead. Must be 0.
    pub in_doubt_while_coordinator_was_dead: u64,
    /// Branches that held locks meanwhile. Must be 0.
    pub open_branches_while_coordinator_was_dead: u64,
    /// Trips that were in effect at some participants and not at others meanwhile, for everybody to see.
    pub half_done_while_coordinator_was_dead: u64,
    pub load: Report,
    pub audit: Audit,
    /// The open transactions at the end. All must be 0.
    pub open_transactions: u64,
    pub open_branches: u64,
    pub damaged_transactions: u64,
}

impl Sagas {
    pub fn is_clean(&self) -> bool {
        let blocked = self.in_doubt_while_coordinator_was_dead + self.open_branches_while_coordinator_was_dead;
        let left = self.open_transactions + self.open_branches + self.damaged_transactions;
        self.audit.is_clean() && blocked + left == 0
    }
}

/// The numbers that were seen while the coordinator was dead.
struct Seen {
    in_doubt: u64,
    open_branches: u64,
    half_done: u64,
}

pub(super) async fn show(
    programs: &Programs,
    cluster: &mut Cluster,
    demo: Demo,
    progress: &watch::Sender<Progress>,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<Sagas> {
    let names = PARTICIPANTS.iter().map(ToString::to_string).collect();
    let load = Load {
        mode: Mode::Saga,
        customers: OFFERS,
        length: Length::For(Duration::MAX),
        seed: demo.seed,
        ..Load::new(cluster.url(Who::Coordinator)?, names, Workload::Trips)
    };
    say(&format!(
        "second act, sagas: trips of a flight, a hotel and a car, {OFFERS} on offer, {} bookings in flight",
        load.in_flight
    ));
    progress.send_replace(Progress::default());
    let mut running = progress.subscribe();
    let (stop, stopped) = oneshot::channel::<()>();
    // Stopping by dropping the sender is as good.
    let driven = run(&load, async { drop(stopped.await) }, progress);
    let killing = async {
        running.wait_for(|progress| progress.committed > 0).await.context("the load did not start")?;
        sleep(demo.stretch).await;
        cluster.kill(Who::Coordinator).await?;
        let seen = look(programs, cluster, &load, &running, say).await?;
        cluster.restart(Who::Coordinator, None).await?;
        say("the coordinator is back: it goes on with the sagas in its log, forward or back");
        sleep(demo.stretch).await;
        drop(stop);
        Ok(seen)
    };
    let (mut outcome, seen) = tokio::try_join!(driven, killing)?;
    say("auditing: every acknowledged trip, at every participant, is whole or undone");
    let audit = audit(&load, &mut outcome.ledger).await?;
    let (open_transactions, open_branches, damaged_transactions) = settle(cluster).await?;
    Ok(Sagas {
        in_doubt_while_coordinator_was_dead: seen.in_doubt,
        open_branches_while_coordinator_was_dead: seen.open_branches,
        half_done_while_coordinator_was_dead: seen.half_done,
        load: outcome.report,
        audit,
        open_transactions,
        open_branches,
        damaged_transactions,
    })
}

async fn look(
    programs: &Programs,
    cluster: &Cluster,
    load: &Load,
    running: &watch::Receiver<Progress>,
    say: &mut impl FnMut(&str),
) -> anyhow::Result<Seen> {
    let (in_doubt, open_branches) = branches(cluster).await?;
    say(&format!(
        "kill -9 the coordinator: {in_doubt} branches are in doubt, {open_branches} hold locks until it is back"
    ));
    let urls = (0..).map(|index| cluster.url(Who::Participant(index))).take(PARTICIPANTS.len());
    let urls = urls.collect::<anyhow::Result<Vec<_>>>()?;
    let foreign_participants = PARTICIPANTS.iter().map(ToString::to_string).zip(urls).collect();
    let another = Cluster::start(programs, Plan { foreign_participants, ..Plan::default() }).await?;
    let reader = Load { coordinator: another.url(Who::Coordinator)?, patience: READ_PATIENCE, ..load.clone() };
    let begun = running.borrow().begun();
    let half_done = half_done(&reader, begun).await.context("cannot read past the dead coordinator")?;
    say(&format!(
        "another coordinator reads all {begun} trips, and nothing is in its way: {half_done} are half done, for anybody \
         to see"
    ));
    Ok(Seen { in_doubt, open_branches, half_done })
}
