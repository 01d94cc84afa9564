//! A saga of three services, choreographed over the participants' own logs, beside the same one carried out by a coordinator.
//!
//! Both are made of one definition: the choreography is what `undoubt choreography from` makes of it. A choreographed saga counts as done when
//! a reader of the last participant's log sees its last event; it is begun by a submission that publishes its first.

mod counted;
mod loop_of_sagas;

use super::finding::{Finding, Goal};
use super::load::Length;
use super::stage::Stage;
use super::{Effort, Report};
use crate::cluster::{Cluster, Plan, Who};
use anyhow::{Context, ensure};
use counted::Counted;
use futures::StreamExt as _;
use loop_of_sagas::{Ended, Load};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;
use undoubt_client::kv::KvWork;
use undoubt_client::work::event::Emit;
use undoubt_client::{
    Client, ClientOptions, Completion, EventNews, EventPlace, EventQuery, ParticipantClient, Saga, Step, Transaction,
};
use undoubt_stream::choreography::from_saga::{Backward, SagaStep, Terms, from_saga};
use undoubt_vocabulary::{Outcome, TopicName};

const NAMES: [&str; 3] = ["shop", "stock", "bank"];
const LAST: Who = Who::Participant(2);
const SAGA: &str = "trip";

/// Sagas in flight.
const IN_FLIGHT: [usize; 3] = [1, 64, 256];

/// The time in which a saga that was begun ends.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// Measures sagas of three services both ways.
pub async fn choreography(stage: &Stage, effort: Effort, report: &mut Report<'_>) -> anyhow::Result<()> {
    let choreographed = choreographed(stage, Backward::Broadcast).await?;
    let orchestrated = orchestrated(stage).await?;
    let length = Length { warm_up: Duration::from_millis(500), measured: effort.measured };
    for in_flight in IN_FLIGHT {
        let mut rounds = Rounds::default();
        for _ in 0..effort.rounds {
            let one = by_events(stage, &choreographed, in_flight, length).await?;
            let other = by_coordinator(stage, &orchestrated, in_flight, length).await?;
            rounds.push(&one, &other);
        }
        rounds.report(in_flight, report);
    }
    Ok(())
}

/// The result of a load.
struct Cost {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// CPU time of all servers for each saga.
    cpu_us: f64,
    /// Writes that were forced to stable storage, of all servers, for each saga.
    forced: f64,
    /// Batches of changes that were written, of all servers, for each saga.
    batches: f64,
}

impl Cost {
    fn of(ended: &Ended, length: Length, used: &Counted) -> Cost {
        let all = ended.all as f64;
        Cost {
            per_s: ended.measured as f64 / length.measured.as_secs_f64(),
            p50_us: ended.took.value_at_quantile(0.5) as f64,
            p99_us: ended.took.value_at_quantile(0.99) as f64,
            cpu_us: used.cpu.as_secs_f64() * 1e6 / all,
            forced: used.forced_writes / all,
            batches: used.batches / all,
        }
    }
}

#[derive(Default)]
struct Rounds(BTreeMap<&'static str, Vec<f64>>);

impl Rounds {
    fn push(&mut self, one: &Cost, other: &Cost) {
        for (name, value) in [
            ("choreographed/rate", one.per_s),
            ("choreographed/p50", one.p50_us),
            ("choreographed/p99", one.p99_us),
            ("choreographed/cpu", one.cpu_us),
            ("choreographed/forced-writes", one.forced),
            ("choreographed/batches", one.batches),
            ("orchestrated/rate", other.per_s),
            ("orchestrated/p50", other.p50_us),
            ("orchestrated/p99", other.p99_us),
            ("orchestrated/cpu", other.cpu_us),
            ("orchestrated/forced-writes", other.forced),
            ("orchestrated/batches", other.batches),
            ("rate-over-orchestrated", one.per_s / other.per_s),
            ("p50-over-orchestrated", one.p50_us / other.p50_us),
            ("cpu-over-orchestrated", one.cpu_us / other.cpu_us),
        ] {
            self.0.entry(name).or_default().push(value);
        }
    }

    fn report(self, in_flight: usize, report: &mut Report<'_>) {
        for (name, values) in self.0 {
            let unit = match name.rsplit('/').next().unwrap_or(name) {
                "rate" => "sagas/s",
                "p50" | "p99" | "cpu" => "µs",
                "forced-writes" | "batches" => "a saga",
                _ => "x",
            };
            let finding = Finding::of_rounds(format!("choreography/in-flight={in_flight}/{name}"), values, unit);
            report.add(match name {
                "rate-over-orchestrated" => finding.goal(Goal::AtLeast(1.0)),
                _ => finding,
            });
        }
    }
}

/// Returns the saga's definition: each step puts a key of its own.
fn definition() -> Vec<SagaStep> {
    let step = |(at, name): (usize, &&str)| SagaStep {
        name: format!("s{at}"),
        participant: (*name).to_owned(),
        action: vec!["put done/{correlation} 1".to_owned()],
        compensation: Some(vec!["delete done/{correlation}".to_owned()]),
        ..SagaStep::default()
    };
    NAMES.iter().enumerate().map(step).collect()
}

/// Starts participants that react to each other.
async fn choreographed(stage: &Stage, backward: Backward) -> anyhow::Result<Cluster> {
    let terms = Terms { name: SAGA.to_owned(), backward, expire: None };
    let declared = from_saga(&definition(), &terms)?;
    let folder = stage.folder().join(stage.run_name());
    std::fs::create_dir(&folder)?;
    let path = |name: &str| folder.join(format!("{name}.toml"));
    let write = |addresses: &BTreeMap<String, String>| -> anyhow::Result<()> {
        for (name, text) in &declared {
            let sources = NAMES.iter().filter(|other| **other != name.as_str()).map(|other| {
                // Nobody listens at an address that is not known yet.
                let address = addresses.get(*other).map_or("http://127.0.0.1:1", String::as_str);
                format!("[[sources]]\nname = \"{other}\"\naddress = \"{address}\"\n")
            });
            let sources: String = sources.collect();
            std::fs::write(path(name.as_str()), format!("{sources}\n{text}"))?;
        }
        Ok(())
    };
    write(&BTreeMap::new())?;
    let configs = NAMES.iter().map(|name| ((*name).to_owned(), path(name))).collect();
    let mut cluster = stage.cluster_of(Plan { configs, ..told(&NAMES) }).await?;
    let all = (0..NAMES.len()).map(Who::Participant);
    let addresses: anyhow::Result<BTreeMap<String, String>> =
        all.clone().map(|who| Ok((name_of(who)?, cluster.url(who)?))).collect();
    write(&addresses?)?;
    for who in all {
        cluster.kill(who).await?;
        cluster.restart(who, None).await?;
    }
    super::stage::wait_until_connected(&cluster).await?;
    Ok(cluster)
}

fn name_of(who: Who) -> anyhow::Result<String> {
    match who {
        Who::Participant(at) => Ok(NAMES.get(at).context("there is no such participant")?.to_string()),
        Who::Coordinator => Ok("coordinator".to_owned()),
    }
}

async fn orchestrated(stage: &Stage) -> anyhow::Result<Cluster> {
    stage.cluster_of(told(&NAMES)).await
}

/// Carries out sagas that move by events.
async fn by_events(stage: &Stage, cluster: &Cluster, in_flight: usize, length: Length) -> anyhow::Result<Cost> {
    let reader = ParticipantClient::connect_lazy(&cluster.url(LAST)?, cluster.options()?)?;
    let place = EventPlace { position: reader.describe_log().await?.stable, incarnation: None };
    let topic: TopicName = SAGA.parse()?;
    let mut news = pin!(reader.events(EventQuery::new().topic(topic).after(place)));
    let run = stage.run_name();
    let began = |id: &str| {
        let emit = Emit::new(SAGA, &format!("{SAGA}.begun"), id.to_owned());
        Transaction::with_id(id.parse().expect("a run's name is short")).on(NAMES[0], KvWork::new().emit(emit)).into()
    };
    let load = Load::begin(run, in_flight, length);
    let before = Counted::of(cluster).await?;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, options(cluster, in_flight)?)?;
    let mut submitted = pin!(client.submit_many(load.submissions(began)));
    let mut measured = Ended::new()?;
    let mut is_all_begun = false;
    let last = format!("{SAGA}.s{}.done", NAMES.len() - 1);
    while !is_all_begun || load.is_under_way() {
        tokio::select! {
            answered = submitted.next(), if !is_all_begun => match answered {
                Some(answered) => { answered.result?; }
                None => is_all_begun = true,
            },
            told = timeout(END_TIMEOUT, news.next()) => {
                let told = told.context("sagas do not end")?.context("the last log has ended")??;
                let EventNews::Events { events, .. } = told else { continue };
                for event in events.iter().filter(|event| event.kind.as_str() == last) {
                    measured.note(load.ended(&event.correlation.to_string()), &load);
                }
            }
        }
    }
    Ok(Cost::of(&measured, length, &Counted::of(cluster).await?.since(&before)))
}

/// Carries out the same sagas by a coordinator.
async fn by_coordinator(stage: &Stage, cluster: &Cluster, in_flight: usize, length: Length) -> anyhow::Result<Cost> {
    let run = stage.run_name();
    let saga = |id: &str| {
        let key = format!("done/{id}");
        let step = |(at, name): (usize, &&str)| {
            Step::new(&format!("s{at}"), name, KvWork::new().put(key.clone(), "1"))
                .undo(KvWork::new().delete(key.clone()))
        };
        let saga = Saga::with_id(id.parse().expect("a run's name is short"));
        NAMES.iter().enumerate().map(step).fold(saga, Saga::step).into()
    };
    let load = Load::begin(run, in_flight, length);
    let before = Counted::of(cluster).await?;
    let client = Client::connect_lazy(&cluster.url(Who::Coordinator)?, options(cluster, in_flight)?)?;
    let mut submitted = pin!(client.submit_many(load.submissions(saga)));
    let mut measured = Ended::new()?;
    while let Some(Completion { tx, result, .. }) = submitted.next().await {
        ensure!(result?.outcome == Outcome::Committed, "a saga that nothing refuses was undone");
        measured.note(load.ended(&tx.to_string()), &load);
    }
    Ok(Cost::of(&measured, length, &Counted::of(cluster).await?.since(&before)))
}

fn options(cluster: &Cluster, in_flight: usize) -> anyhow::Result<ClientOptions> {
    Ok(cluster.options()?.deadline(END_TIMEOUT).max_in_flight_transactions(in_flight))
}
/// Returns a plan whose servers tell their figures.
fn told(names: &[&str]) -> Plan {
    let tell = vec!["metrics.listen=127.0.0.1:0".to_owned()];
    Plan {
        participants: names.iter().map(ToString::to_string).collect(),
        coordinator_settings: tell.clone(),
        participant_settings: tell,
        ..Plan::default()
    }
}
