//! The cost of being fit for a network: the headline and a lone transaction with TLS, identities by token, figures that are read every
//! second and traces of one transaction in a hundred, and with none of it, in turns.

use super::collector::Collector;
use super::finding::{Finding, Goal};
use super::load::{self, Length, Pace, Shape};
use super::stage::{Stage, names};
use super::{Effort, Report};
use crate::bench::floor;
use crate::cluster::{Cluster, Plan, Who};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Transaction};
use undoubt_platform::dial::Dial as _;
use undoubt_tls::{ClientFiles, ClientTls, Protocol, TlsDial};

/// Under way at a time, as in the headline.
const IN_FLIGHT: usize = 4_096;

/// Transactions of a round that are submitted one after the other.
const LONE: u64 = 500;

const FIGURES_READ_EVERY: Duration = Duration::from_secs(1);

/// What one round found of one cluster.
#[derive(Debug)]
struct Round {
    per_s: f64,
    lone_us: f64,
}

pub async fn secured(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let collector = Collector::listen().await?;
    let settings = vec![
        "tls.client_certificates=optional".to_owned(),
        "metrics.listen=127.0.0.1:0".to_owned(),
        format!("traces.endpoint={}", collector.url()),
        "traces.sample_percent=1.0".to_owned(),
    ];
    let plan = Plan {
        participants: names(2),
        secured: true,
        coordinator_settings: settings.clone(),
        participant_settings: settings,
        ..Plan::default()
    };
    let (plain, secured) = (stage.cluster(2).await?, stage.cluster_of(plan).await?);
    let token = secured.token().give(ClientOptions::default())?;
    let _readers = read_figures(&secured)?;
    let (mut rates, mut lone) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        let without = async || run(stage, &plain, ClientOptions::default(), effort).await;
        let with = async || run(stage, &secured, token.clone(), effort).await;
        // Each goes first in every other round.
        let (without, with) = if round % 2 == 0 {
            let without = without().await?;
            (without, with().await?)
        } else {
            let with = with().await?;
            (without().await?, with)
        };
        rates.push(with.per_s / without.per_s);
        lone.push(with.lone_us / without.lone_us);
        report.add(Finding::of_rounds("secured/rate-without", vec![without.per_s], "tx/s"));
        report.add(Finding::of_rounds("secured/rate-with", vec![with.per_s], "tx/s"));
        report.add(Finding::of_rounds("secured/lone-without", vec![without.lone_us], "µs"));
        report.add(Finding::of_rounds("secured/lone-with", vec![with.lone_us], "µs"));
    }
    let note = format!("{} spans were collected", collector.spans());
    report.add(Finding::of_rounds("secured/rate-over-without", rates, "x").goal(Goal::AtLeast(0.85)).note(note));
    report.add(Finding::of_rounds("secured/lone-over-without", lone, "x").goal(Goal::AtMost(1.1)));
    Ok(())
}

async fn run(stage: &Stage, cluster: &Cluster, options: ClientOptions, effort: Effort) -> anyhow::Result<Round> {
    let length = Length { warm_up: Duration::from_secs(1), measured: effort.measured };
    let (shape, url) = (Shape::new(&stage.run_name(), &names(2)), cluster.url(Who::Coordinator)?);
    let pace = Pace::Closed { in_flight: IN_FLIGHT };
    let measured = load::run_with(&url, options.clone(), &shape, pace, length).await?;
    let client = Client::connect_lazy(&url, options)?;
    let (run, mut took) = (stage.run_name(), floor::histogram()?);
    for number in 0..LONE {
        let work = || KvWork::new().put(format!("{run}/{number}"), "1");
        let transaction = names(2).iter().fold(Transaction::new(), |all, participant| all.on(participant, work()));
        let began = Instant::now();
        client.submit(&transaction).await?;
        took.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(Round { per_s: measured.per_s(), lone_us: took.value_at_quantile(0.5) as f64 })
}

/// Reads the figures of all servers of a cluster again and again, until the set is dropped.
fn read_figures(cluster: &Cluster) -> anyhow::Result<JoinSet<()>> {
    let shows = cluster.credentials();
    let ca = shows.ca.context("a secured cluster has a CA")?;
    let tls = ClientTls::load(ClientFiles { ca, certificate: shows.cert.zip(shows.key) }, Protocol::Http1)?;
    let dial = Arc::new(TlsDial::new(Some(Arc::new(tls))));
    let mut readers = JoinSet::new();
    for who in [Who::Coordinator].into_iter().chain((0..cluster.participant_count()).map(Who::Participant)) {
        let log = cluster.log_tail(who, 1_000);
        let told = log.lines().rev().find(|line| line.contains("figures are told")).context("no figures are told")?;
        let (_, address) = told.split_once("address=").context("the log names no address")?;
        let (address, dial) = (format!("https://{}", address.trim()).parse::<http::Uri>()?, dial.clone());
        readers.spawn(async move {
            loop {
                if let Ok(mut stream) = dial.dial(address.clone()).await
                    && stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.is_ok()
                {
                    let mut answer = Vec::new();
                    // Its peer may close without TLS's own farewell; the answer has come all the same.
                    let _end = stream.read_to_end(&mut answer).await;
                }
                sleep(FIGURES_READ_EVERY).await;
            }
        });
    }
    Ok(readers)
}
