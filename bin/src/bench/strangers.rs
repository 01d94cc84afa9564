//! The cost of strangers to those who are known: the headline with thousands of connections beside it that say nothing, never end their
//! handshakes, ask without identity or read no answers, and without them, in turns.

use super::finding::{Finding, Goal};
use super::load::{Length, Pace, Shape};
use super::stage::{Cpu, Stage, measure, names};
use super::{Effort, Report};
use crate::cluster::{Cluster, Plan, Who};
use crate::credentials::Credentials;
use crate::process::raise_open_files;
use anyhow::Context as _;
use futures::StreamExt as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use undoubt_client::{Client, ClientOptions};

/// Under way at a time, as in the headline.
const IN_FLIGHT: usize = 4_096;

/// Strangers of each kind at each server.
const SILENT: usize = 500;
const HALF_OPEN: usize = 500;
const SLOW: usize = 100;
const UNKNOWN: usize = 50;

/// Those who are known, watch everything, and read nothing of it.
const WATCHERS: usize = 32;

/// The pause of each before it comes again, once it was turned away.
const COMES_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The beginning of a TLS record of 256 bytes.
const RECORD: [u8; 6] = [22, 3, 1, 1, 0, 1];

pub async fn strangers(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let optional = vec!["tls.client_certificates=optional".to_owned()];
    let plan = Plan {
        participants: names(2),
        secured: true,
        coordinator_settings: optional.clone(),
        participant_settings: optional,
        ..Plan::default()
    };
    let cluster = stage.cluster_of(plan).await?;
    raise_open_files(0);
    let (mut ratios, mut elsewhere) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        // Each goes first in every other round.
        let first = rate(stage, &cluster, effort, round % 2 == 0).await?;
        let second = rate(stage, &cluster, effort, round % 2 == 1).await?;
        let (with, without) = if round % 2 == 0 { (first, second) } else { (second, first) };
        report.add(Finding::of_rounds("strangers/rate-without", vec![without.per_s], "tx/s"));
        report.add(Finding::of_rounds("strangers/rate-with", vec![with.per_s], "tx/s"));
        ratios.push(with.per_s / without.per_s);
        elsewhere.push(with.per_s * with.share_of_others(&without) / without.per_s);
    }
    let servers = 1 + cluster.participant_count();
    let note = format!(
        "{} that say nothing, {} half-open and {} slow handshakes, {} without identity, {WATCHERS} who read no answers",
        SILENT * servers,
        HALF_OPEN * servers,
        SLOW * servers,
        UNKNOWN * servers
    );
    report.add(Finding::of_rounds("strangers/rate-over-without", ratios, "x").goal(Goal::AtLeast(0.9)).note(note));
    let note = "the same, had the strangers' own CPU time been spent on machines of theirs";
    report.add(Finding::of_rounds("strangers/rate-over-without/strangers-elsewhere", elsewhere, "x").note(note));
    Ok(())
}

/// The service that those who are known got.
struct Served {
    per_s: f64,
    transactions: f64,
    cpu: Cpu,
}

impl Served {
    /// Returns how much more CPU time there would have been without the strangers' own. They are in the process of the load, whose
    /// own part is what a transaction took it `without` them.
    fn share_of_others(&self, without: &Served) -> f64 {
        let seconds = |cpu: &Cpu| (cpu.coordinator + cpu.participants + cpu.load).as_secs_f64();
        let load = without.cpu.load.as_secs_f64() / without.transactions * self.transactions;
        let strangers = (self.cpu.load.as_secs_f64() - load).max(0.0);
        seconds(&self.cpu) / (seconds(&self.cpu) - strangers)
    }
}

async fn rate(stage: &Stage, cluster: &Cluster, effort: Effort, among_strangers: bool) -> anyhow::Result<Served> {
    let strangers = if among_strangers { come(cluster).await? } else { JoinSet::new() };
    let length = Length { warm_up: Duration::from_secs(2), measured: effort.measured };
    let shape = Shape::new(&stage.run_name(), &names(2));
    let (measured, cpu) = measure(cluster, &shape, Pace::Closed { in_flight: IN_FLIGHT }, length).await?;
    drop(strangers);
    // Servers need a moment to forget them.
    sleep(COMES_AGAIN_AFTER).await;
    Ok(Served { per_s: measured.per_s(), transactions: measured.committed as f64, cpu })
}

/// Lets all strangers come. They go when the set is dropped.
async fn come(cluster: &Cluster) -> anyhow::Result<JoinSet<()>> {
    let mut strangers = JoinSet::new();
    let who = [Who::Coordinator].into_iter().chain((0..cluster.participant_count()).map(Who::Participant));
    let nobody = Credentials { cert: None, key: None, ..cluster.credentials() }.give(ClientOptions::default())?;
    for who in who {
        let url = cluster.url(who)?;
        let address: SocketAddr = url.trim_start_matches("https://").parse().context("the address of a server")?;
        for _ in 0..SILENT {
            strangers.spawn(again_and_again(move || say(address, &[], false)));
        }
        for _ in 0..HALF_OPEN {
            strangers.spawn(again_and_again(move || say(address, &RECORD, false)));
        }
        for _ in 0..SLOW {
            strangers.spawn(again_and_again(move || say(address, &RECORD, true)));
        }
        for _ in 0..UNKNOWN {
            let client = Client::connect_lazy(&url, nobody.clone())?;
            strangers.spawn(again_and_again(move || {
                let client = client.clone();
                async move { drop(client.describe().await) }
            }));
        }
    }
    for _ in 0..WATCHERS {
        let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, cluster.options()?)?;
        strangers.spawn(async move {
            let mut watched = pin!(client.watch(None));
            drop(watched.next().await);
            std::future::pending::<()>().await;
        });
    }
    sleep(COMES_AGAIN_AFTER).await;
    Ok(strangers)
}

async fn again_and_again<F: Future<Output = ()>>(stranger: impl Fn() -> F) {
    loop {
        stranger().await;
        sleep(COMES_AGAIN_AFTER).await;
    }
}

/// Connects, says this, byte by byte if `slowly`, and waits until it is turned away.
async fn say(address: SocketAddr, words: &[u8], slowly: bool) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    for word in words.chunks(if slowly { 1 } else { words.len().max(1) }) {
        if stream.write_all(word).await.is_err() {
            return;
        }
        if slowly {
            sleep(COMES_AGAIN_AFTER).await;
        }
    }
    let mut told = [0; 64];
    while let Ok(1..) = stream.read(&mut told).await {}
}
