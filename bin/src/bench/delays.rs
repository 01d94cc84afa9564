//! The benchmark of delays: a slow participant among fast ones, memory of what waits, recovery of what was unfinished.

use super::finding::{Finding, Goal};
use super::load::{self, Length, Pace, Shape};
use super::stage::{Stage, names, usages, wait_until_connected};
use super::stand_in::{Manner, StandIn};
use super::usage::Usage;
use super::{Effort, Report};
use crate::cluster::{Cluster, Plan, Who};
use anyhow::ensure;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::Instant;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, ParticipantClient, Transaction};

/// The times that a slow participant takes for each answer.
const SLOW_BY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// Transactions that wait for the slow participant at a time.
const HINDERED: usize = 64;

/// Unfinished transactions that a start has to deal with.
const UNFINISHED: [usize; 3] = [1_000, 10_000, MOST_UNFINISHED];
const MOST_UNFINISHED: usize = 100_000;

/// Transactions in flight while memory is measured.
const HELD: usize = 50_000;

/// Transactions in flight before that.
const FIRST: usize = 1_000;

/// The time that all may take that is waited for here.
const PATIENCE: Duration = Duration::from_secs(120);

/// Transactions that do not involve the slow participant keep their rate.
pub async fn slow(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let slow = StandIn::start("slow", Manner::default()).await?;
    let cluster = stage.cluster_of(with_stand_in(&slow, Vec::new())).await?;
    let coordinator = cluster.url(Who::Coordinator)?;
    let length = Length { warm_up: Duration::from_millis(500), measured: effort.measured };
    let pace = Pace::Closed { in_flight: 256 };
    let fast = || Shape::new(&stage.run_name(), &names(2));
    for delay in SLOW_BY {
        slow.now(Manner { delay, votes: true, acknowledges: true });
        let mut shares = Vec::new();
        for _ in 0..effort.rounds {
            let alone = load::run(&coordinator, &fast(), pace, length).await?;
            let with_slow = ["bank-1".to_owned(), "slow".to_owned()];
            let (hindered, fast) = (Shape::new(&stage.run_name(), &with_slow), fast());
            let (beside, held) = tokio::try_join!(
                load::run(&coordinator, &fast, pace, length),
                load::run(&coordinator, &hindered, Pace::Closed { in_flight: HINDERED }, length),
            )?;
            ensure!(held.committed > 0, "nothing came through the slow participant");
            shares.push(beside.per_s() / alone.per_s());
        }
        let delay_ms = delay.as_millis();
        report.add(
            Finding::of_rounds(format!("2pc/slow-participant={delay_ms}ms/others-keep"), shares, "of their rate")
                .goal(Goal::AtLeast(0.9))
                .note(format!(
                    "{HINDERED} more transactions wait {delay_ms} ms for every answer of a third participant"
                )),
        );
    }
    Ok(())
}

/// Measures what one transaction in flight costs each server: two participants have voted and keep its locks, a third
/// has not.
pub async fn memory(stage: &Stage, report: &mut Report<'_>) -> anyhow::Result<()> {
    let silent = StandIn::start("silent", Manner::default()).await?;
    let cluster = stage.cluster_of(with_stand_in(&silent, Vec::new())).await?;
    let all = ["bank-1", "bank-2", "silent"];
    // What is allocated once is there before it is measured.
    hold(&cluster, "first", &all, FIRST).await?;
    until_in_doubt(&cluster, &[0, 1], FIRST).await?;
    let before = usages(&cluster)?;
    hold(&cluster, "held", &all, HELD).await?;
    until_in_doubt(&cluster, &[0, 1], FIRST + HELD).await?;
    let after = usages(&cluster)?;
    let each =
        |before: Usage, after: Usage| after.resident_bytes.saturating_sub(before.resident_bytes) as f64 / HELD as f64;
    let coordinator = each(before.coordinator, after.coordinator);
    let participants: Vec<f64> =
        before.participants.iter().zip(&after.participants).map(|(before, after)| each(*before, *after)).collect();
    let most = participants.iter().copied().fold(0.0, f64::max);
    let held = format!("resident, {HELD} transactions prepared at two participants, and waiting for a third");
    for (who, bytes) in [("coordinator", coordinator), ("participant", most)] {
        let finding = Finding::new(format!("2pc/memory-in-flight/{who}"), bytes, "B/tx");
        report.add(finding.goal(Goal::AtMost(4_096.0)).note(held.clone()));
    }
    let together = coordinator + participants.iter().sum::<f64>();
    report.add(
        Finding::new("2pc/memory-in-flight/all-three", together, "B/tx")
            .note("without a goal: that is for each server"),
    );
    Ok(())
}

/// Measures the time from the start of a process until it serves, with so much unfinished in its log.
pub async fn recovery(stage: &Stage, report: &mut Report<'_>) -> anyhow::Result<()> {
    for count in UNFINISHED {
        let silent = StandIn::start("silent", Manner { votes: true, ..Manner::default() }).await?;
        let settings = vec!["max_open_transactions=200000".to_owned()];
        let mut cluster = stage.cluster_of(with_stand_in(&silent, settings)).await?;
        // Decided, and never acknowledged by one of two participants.
        let began = Instant::now();
        hold(&cluster, "decided", &["bank-1", "silent"], count).await?;
        until(&cluster, "all are decided", |view| view.unacknowledged >= count as u64).await?;
        let made = ms(began.elapsed());
        let (served, told) = restart(&mut cluster, &silent).await?;
        report.add(Finding::new(format!("recovery/coordinator/unfinished={count}/serves-after"), served, "ms"));
        if count == MOST_UNFINISHED {
            report.add(over_made("recovery/coordinator/serves-over-made", served, made));
        }
        report.add(
            Finding::new(format!("recovery/coordinator/unfinished={count}/all-ended-after"), told, "ms")
                .note("every decision was told and acknowledged"),
        );
        drop(cluster);
        in_doubt(stage, count, report).await?;
    }
    Ok(())
}

/// Branches in doubt at a participant, whose coordinator waits for another's vote.
async fn in_doubt(stage: &Stage, count: usize, report: &mut Report<'_>) -> anyhow::Result<()> {
    let silent = StandIn::start("silent", Manner::default()).await?;
    let settings = vec!["max_open_transactions=200000".to_owned()];
    let mut cluster = stage.cluster_of(with_stand_in(&silent, settings)).await?;
    let began = Instant::now();
    hold(&cluster, "doubt", &["bank-1", "silent"], count).await?;
    until_in_doubt(&cluster, &[0], count).await?;
    let made = ms(began.elapsed());
    cluster.kill(Who::Coordinator).await?;
    cluster.kill(Who::Participant(0)).await?;
    let began = Instant::now();
    cluster.restart(Who::Participant(0), None).await?;
    let served = ms(began.elapsed());
    report.add(Finding::new(format!("recovery/participant/in-doubt={count}/serves-after"), served, "ms"));
    if count == MOST_UNFINISHED {
        report.add(over_made("recovery/participant/serves-over-made", served, made));
    }
    Ok(())
}

/// A start has to be quicker than all that it finds unfinished was made.
fn over_made(name: &str, served_ms: f64, made_ms: f64) -> Finding {
    Finding::new(name, served_ms / made_ms, "x").goal(Goal::AtMost(1.0)).note(format!(
        "time to serve with {MOST_UNFINISHED} unfinished, over the {:.1} s it took to make them",
        made_ms / 1e3
    ))
}

fn with_stand_in(stand_in: &StandIn, coordinator_settings: Vec<String>) -> Plan {
    let foreign_participants = vec![(stand_in.name.clone(), stand_in.url.clone())];
    Plan { participants: names(2), foreign_participants, coordinator_settings, ..Plan::default() }
}

/// Submits so many that nobody waits for, and returns when all are accepted.
async fn hold(cluster: &Cluster, run: &str, participants: &[&str], count: usize) -> anyhow::Result<()> {
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, ClientOptions::default())?;
    let transactions = (0..count).map(|number| {
        let id = format!("{run}-{number}").parse().expect("a run's name is short, and so is a number");
        let transaction = Transaction::with_id(id).timeout(Duration::from_secs(3_000));
        let work = || KvWork::new().put(format!("{run}/{number}"), "0123456789abcdef");
        participants.iter().fold(transaction, |all, participant| all.on(participant, work()))
    });
    let accepting = futures::stream::iter(transactions).map(|transaction| {
        let client = client.clone();
        async move { client.submit_no_wait(&transaction).await }
    });
    let mut accepted = accepting.buffer_unordered(256);
    while let Some(accepted) = accepted.next().await {
        accepted?;
    }
    Ok(())
}

/// Returns once each of these participants, by its place, has so many branches in doubt.
async fn until_in_doubt(cluster: &Cluster, participants: &[usize], count: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for index in participants {
        let participant =
            ParticipantClient::connect_lazy(&cluster.url(Who::Participant(*index))?, ClientOptions::default())?;
        while participant.describe().await?.branches_in_doubt < count as u64 {
            ensure!(Instant::now() < deadline, "not all branches were prepared in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

async fn until(
    cluster: &Cluster,
    what: &str,
    holds: impl Fn(&undoubt_client::CoordinatorView) -> bool,
) -> anyhow::Result<()> {
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, ClientOptions::default())?;
    let deadline = Instant::now() + PATIENCE;
    while !holds(&client.describe().await?) {
        ensure!(Instant::now() < deadline, "it took longer than {PATIENCE:?} until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Kills the coordinator and starts it again. Answers after how many ms it served, and after how many nothing was open.
async fn restart(cluster: &mut Cluster, silent: &StandIn) -> anyhow::Result<(f64, f64)> {
    cluster.kill(Who::Coordinator).await?;
    silent.now(Manner { delay: Duration::ZERO, votes: true, acknowledges: true });
    let began = Instant::now();
    cluster.restart(Who::Coordinator, None).await?;
    let served = ms(began.elapsed());
    wait_until_connected(cluster).await?;
    until(cluster, "all that was recovered has ended", |view| view.open == 0).await?;
    Ok((served, ms(began.elapsed())))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
