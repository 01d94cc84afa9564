//! kill -9 under load, again and again, and then the audit.
//!
//! Victims are the coordinator and the participants in turn; half of the kills come at a random moment, half at a named
//! crash point, before or after a log write or a send. At the end every promise must hold: all that was acknowledged is
//! there, money is conserved, nothing is in doubt, nothing is open.

use crate::cluster::{Cluster, Plan, Programs, Who};
use crate::workload::{Audit, Length, Load, Mode, Progress, Report, Workload, audit, run};
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use undoubt_client::{Client, ClientOptions, ParticipantClient};
use undoubt_platform::{Random, SeededRandom};

/// A crash point that the load does not reach in this time counts as not reached, and the process is killed instead.
const POINT_PATIENCE: Duration = Duration::from_secs(4);

/// The time that everything may take to settle once nobody is killed any more.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
pub struct Torture {
    pub kills: usize,
    pub seed: u64,
    pub participants: usize,
    pub customers: u32,
    pub in_flight: usize,
    pub mode: Mode,
}

#[derive(Clone, Debug, Serialize)]
pub struct TortureReport {
    pub seed: u64,
    pub kills_at_random_moments: usize,
    pub kills_at_crash_points: usize,
    /// The number of times that each crash point was reached, and so killed the process.
    pub reached: BTreeMap<&'static str, usize>,
    /// Points that the load did not reach in time.
    pub not_reached: Vec<&'static str>,
    pub elapsed_s: f64,
    pub load: Report,
    pub audit: Audit,
    /// The open transactions after everything had time to settle. All three must be 0.
    pub open_transactions: u64,
    pub open_branches: u64,
    pub damaged_transactions: u64,
}

impl TortureReport {
    /// Returns true if everything that was promised held.
    pub fn is_clean(&self) -> bool {
        self.audit.is_clean() && self.open_transactions + self.open_branches + self.damaged_transactions == 0
    }
}

/// One way to die.
#[derive(Clone, Copy, Debug)]
enum Death {
    AtRandom { after: Duration },
    AtPoint { point: &'static str, count: u64 },
}

/// Runs the torture. `told` hears of each kill.
pub async fn torture(
    programs: &Programs,
    torture: &Torture,
    mut told: impl FnMut(usize, &str),
) -> anyhow::Result<TortureReport> {
    let began = Instant::now();
    let names: Vec<String> = (1..=torture.participants).map(|number| format!("bank-{number}")).collect();
    let mut cluster = Cluster::start(programs, Plan::impatient(names.clone())).await?;
    let load = Load {
        customers: torture.customers,
        in_flight: torture.in_flight,
        length: Length::For(Duration::from_secs(24 * 3_600)),
        seed: torture.seed,
        timeout: Some(Duration::from_secs(2)),
        mode: torture.mode,
        patience: Duration::from_secs(120),
        ..Load::new(cluster.url(Who::Coordinator)?, names, Workload::SmallBank)
    };
    let progress = Progress::ignored();
    let mut running = progress.subscribe();
    let (stop, stopped) = oneshot::channel::<()>();
    // Stopping by dropping the sender is as good.
    let driven = run(&load, async { drop(stopped.await) }, &progress);
    let killing = async {
        running.wait_for(|progress| progress.committed > 0).await.context("the load did not start")?;
        let kills = kill_all(&mut cluster, torture, &mut told).await?;
        drop(stop);
        Ok(kills)
    };
    let (mut outcome, kills) = tokio::try_join!(driven, killing)?;
    let audit = audit(&load, &mut outcome.ledger).await?;
    let (open_transactions, open_branches, damaged_transactions) = settle(&cluster).await?;
    Ok(TortureReport {
        seed: torture.seed,
        kills_at_random_moments: kills.at_random,
        kills_at_crash_points: kills.reached.values().sum(),
        reached: kills.reached,
        not_reached: kills.not_reached,
        elapsed_s: began.elapsed().as_secs_f64(),
        load: outcome.report,
        audit,
        open_transactions,
        open_branches,
        damaged_transactions,
    })
}

#[derive(Debug, Default)]
struct Kills {
    reached: BTreeMap<&'static str, usize>,
    not_reached: Vec<&'static str>,
    at_random: usize,
}

async fn kill_all(
    cluster: &mut Cluster,
    torture: &Torture,
    told: &mut impl FnMut(usize, &str),
) -> anyhow::Result<Kills> {
    let random = SeededRandom::new(torture.seed);
    let mut kills = Kills::default();
    let mut points = points();
    for number in 0..torture.kills {
        let (who, death) = draw(&random, number, torture.participants, &mut points);
        told(number, &describe(who, death));
        match (kill(cluster, who, death).await?, death) {
            (true, Death::AtPoint { point, .. }) => *kills.reached.entry(point).or_default() += 1,
            (false, Death::AtPoint { point, .. }) => {
                kills.not_reached.push(point);
                kills.at_random += 1;
            }
            (_, Death::AtRandom { .. }) => kills.at_random += 1,
        }
        cluster.restart(who, None).await.with_context(|| format!("after kill {number}: {}", describe(who, death)))?;
    }
    Ok(kills)
}

/// Returns all crash points, over and over: coordinator's and participants'.
fn points() -> impl Iterator<Item = (bool, &'static str)> {
    let coordinator = undoubt_coordinator::CRASH_POINTS.iter().map(|point| (true, *point));
    let participant = undoubt_participant::CRASH_POINTS.iter().map(|point| (false, *point));
    coordinator.chain(participant).collect::<Vec<_>>().into_iter().cycle()
}

fn draw(
    random: &dyn Random,
    number: usize,
    participants: usize,
    points: &mut impl Iterator<Item = (bool, &'static str)>,
) -> (Who, Death) {
    let some_participant = Who::Participant(random.below(participants as u64) as usize);
    if number.is_multiple_of(2)
        && let Some((of_coordinator, point)) = points.next()
    {
        let who = if of_coordinator { Who::Coordinator } else { some_participant };
        let count = if is_rare(point) { 1 } else { 1 + random.below(30) };
        return (who, Death::AtPoint { point, count });
    }
    let who = if random.below(2) == 0 { Who::Coordinator } else { some_participant };
    (who, Death::AtRandom { after: Duration::from_millis(random.below(300)) })
}

/// Points that a load reaches only while something is being recovered.
fn is_rare(point: &str) -> bool {
    ["settle", "inquiry", "undecided", "noted"].iter().any(|rare| point.ends_with(rare))
}

/// Kills it; answers whether it was at the point it should be.
async fn kill(cluster: &mut Cluster, who: Who, death: Death) -> anyhow::Result<bool> {
    match death {
        Death::AtRandom { after } => {
            sleep(after).await;
            cluster.kill(who).await?;
            Ok(true)
        }
        Death::AtPoint { point, count } => {
            cluster.kill(who).await?;
            cluster.restart(who, Some(&format!("{point}:{count}"))).await?;
            let deadline = Instant::now() + POINT_PATIENCE;
            while Instant::now() < deadline {
                if cluster.has_ended(who)? {
                    return Ok(true);
                }
                sleep(POLL).await;
            }
            cluster.kill(who).await?;
            Ok(false)
        }
    }
}

fn describe(who: Who, death: Death) -> String {
    let who = match who {
        Who::Coordinator => "coordinator".to_owned(),
        Who::Participant(index) => format!("bank-{}", index + 1),
    };
    match death {
        Death::AtRandom { after } => format!("{who} after {after:?}"),
        Death::AtPoint { point, count } => format!("{who} at {point}, time {count}"),
    }
}

/// Waits until nothing is open anywhere, or patience ends. Answers what is: transactions, branches, damaged ones.
pub async fn settle(cluster: &Cluster) -> anyhow::Result<(u64, u64, u64)> {
    let coordinator = Client::connect_lazy(&cluster.url(Who::Coordinator)?, ClientOptions::default())?;
    let deadline = Instant::now() + SETTLE_PATIENCE;
    loop {
        let view = coordinator.describe().await?;
        let mut branches = 0;
        for index in 0..cluster.participant_count() {
            let url = cluster.url(Who::Participant(index))?;
            let participant = ParticipantClient::connect_lazy(&url, ClientOptions::default())?;
            branches += participant.describe().await?.branches_open;
        }
        if (view.open == 0 && branches == 0) || Instant::now() > deadline {
            return Ok((view.open, branches, view.damaged));
        }
        sleep(POLL).await;
    }
}
