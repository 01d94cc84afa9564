//! The software of the server hosts: the very `run` of coordinator and participant.

use super::database::{self, Database};
use super::finals;
use super::net::{self, Network, Sockets};
use super::resource::Observed;
use super::service;
use super::session::Sessions;
use super::shared_state::{Order, Shared};
use super::store::MutantStore;
use super::store_with_points::StoreWithPoints;
use super::subscribing;
use crate::plan::points::OPENED;
use crate::plan::{Host, Mutant};
use crate::process::Process;
use crate::trace::Event;
use futures::FutureExt as _;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use undoubt_coordinator as coordinator;
use undoubt_kv::{KeyValue, KeyValueOptions, META};
use undoubt_participant as participant;
use undoubt_platform::identity::establish;
use undoubt_platform::{
    Access, Kind, Metrics, NumberedStore, Random, SecretKey, SeededRandom, Store, StoreError, Traces,
};
use undoubt_vocabulary::Incarnation;

/// The free bytes below which servers take no new work.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// So few that low-water marks pass the open sagas of these short runs.
const OPEN_SAGA_OLD_AFTER_ATTEMPTS: u64 = 3;

/// Runs once; whoever supervises starts it anew. Ends only if the process does.
pub(super) async fn serve(shared: Arc<Shared>, host: Host) -> turmoil::Result {
    shared.recorder.record(host, Event::Started);
    let sockets = Sockets::default();
    let (process, random) = shared.start(host);
    let network = Network::new(process.clone(), &sockets);
    let machine = Machine { shared: shared.clone(), host, process, random, network };
    let living = async {
        match host {
            Host::Coordinator | Host::Standby => coordinate(machine).await,
            Host::Participant(_) => participate(machine).await,
            Host::Database(_) => database::serve(machine).await,
            Host::Service(_) => service::serve(machine).await,
            Host::Client(_) | Host::Reader(_) => Ok(()),
        }
    };
    let why = match AssertUnwindSafe(living).catch_unwind().await {
        Ok(Ok(())) => "it was told to".to_owned(),
        Ok(Err(error)) => {
            if is_too_large(error.as_ref()) {
                shared.finals().failures.push(format!("{host} ended: {error}"));
            }
            error.to_string()
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = format!("{host} panicked: {}", text.unwrap_or_default());
            shared.finals().failures.push(what.clone());
            what
        }
    };
    shared.process(host).kill();
    shared.recorder.record(host, Event::Stopped { why });
    shared.order(Order::Exited { host });
    pending().await
}

/// Returns true if the server ended over a write larger than its store takes at once: no record may do that (R13).
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| matches!(cause.downcast_ref(), Some(StoreError::BatchTooLarge { .. })))
        || error.to_string().contains("max_write_bytes")
}

/// The surroundings that a process finds when it starts.
pub(super) struct Machine {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Host,
    pub(super) process: Process,
    pub(super) random: Arc<SeededRandom>,
    pub(super) network: Network,
}

/// Returns the coordinator's key. It stands on no disk, and whoever takes over has it too.
pub(super) fn key() -> SecretKey {
    SecretKey::draw(&SeededRandom::new(0))
}

async fn coordinate(machine: Machine) -> turmoil::Result {
    let Machine { shared, host, process, random, network } = machine;
    let store = shared.disk_to_open(host)?.open(coordinator::log::FAMILIES, process)?;
    shared.reach(host, OPENED);
    let config = coordinator_config(&shared);
    let sessions = Sessions::new(shared.clone(), host, network.clone());
    let dial = Arc::new(network.clone());
    let environment = coordinator::Environment {
        store: MutantStore::over(&shared, host, Arc::new(store)),
        folder_sign: shared.folder_sign(host),
        clock: shared.clock(host),
        random,
        key: Arc::new(key()),
        connect: Arc::new(sessions),
        dial,
        callback_secret: None,
        changes: coordinator::Changes::none(),
        incoming: net::incoming(network).await?,
        crash: shared.crash_points(host),
        metrics: Metrics::default(),
        traces: Traces::default(),
        access: Access::open(),
        pulse: Default::default(),
    };
    Ok(coordinator::run(config, environment, pending()).await?)
}

async fn participate(machine: Machine) -> turmoil::Result {
    let Machine { shared, host, process, random, network } = machine;
    let config = participant::Config {
        name: host.to_string(),
        sweep_period_ms: 400,
        retry_first_pause_ms: 50,
        retry_max_pause_ms: 500,
        keep_alive_ms: 2_000,
        min_free_bytes: MIN_FREE_BYTES,
        ..participant::Config::default()
    };
    let incoming = net::incoming(network.clone());
    let environment = |incoming| participant::Environment {
        subscribing: subscribing::of(&shared, host, &network),
        clock: shared.clock(host),
        random: random.clone(),
        dial: Arc::new(network.clone()),
        incoming,
        crash: shared.crash_points(host),
        metrics: Metrics::default(),
        traces: Traces::default(),
        access: Access::open(),
        pulse: Default::default(),
    };
    if let Host::Participant(number) = host
        && shared.has_database(host)
    {
        shared.reach(host, OPENED);
        let resource = Database::new(shared.clone(), network.clone(), number);
        let resource = Arc::new(Observed::new(resource, shared.clone(), host));
        return Ok(participant::run(config, resource, environment(incoming.await?), pending()).await?);
    }
    let calls = match host {
        Host::Participant(number) if shared.has_service(host) => Some(number),
        Host::Participant(_)
        | Host::Coordinator
        | Host::Standby
        | Host::Database(_)
        | Host::Service(_)
        | Host::Client(_)
        | Host::Reader(_) => None,
    };
    let families = if calls.is_some() { undoubt_http::FAMILIES.as_slice() } else { undoubt_kv::FAMILIES.as_slice() };
    let store = shared.disk_to_open(host)?.open(families, process)?;
    shared.reach(host, OPENED);
    let store: Arc<dyn Store> = MutantStore::over(&shared, host, Arc::new(store));
    let store = StoreWithPoints::over(&shared, host, store);
    let mut fresh_id = [0; 16];
    random.fill(&mut fresh_id);
    let identity = establish(store.as_ref(), META, Kind::Participant, &config.name, fresh_id).await?;
    let (numbered, mut known) = NumberedStore::begin(store, META, identity.id, 0, random.u64().max(1)).await?;
    numbered.note_folder_sign(&mut known, shared.folder_sign(host)).await?;
    if let Some(number) = calls {
        let resource = service::resource(&shared, number, &network, (numbered, known), MIN_FREE_BYTES)?;
        let resource = Arc::new(Observed::new(resource, shared.clone(), host));
        return Ok(participant::run(config, resource, environment(incoming.await?), pending()).await?);
    }
    finals::subscriptions::note(&shared, host);
    let resource = KeyValue::numbered(numbered, known, KeyValueOptions { min_free_bytes: MIN_FREE_BYTES });
    let resource = match host {
        Host::Participant(number) if shared.plan.shape.publishes(number) => resource.publishing(
            &shared.plan.shape.declarations(number),
            incarnation(&shared, &random),
            shared.clock(host),
        )?,
        Host::Participant(_)
        | Host::Coordinator
        | Host::Standby
        | Host::Database(_)
        | Host::Service(_)
        | Host::Client(_)
        | Host::Reader(_) => resource,
    };
    let resource = Arc::new(Observed::new(resource, shared.clone(), host));
    Ok(participant::run(config, resource, environment(incoming.await?), pending()).await?)
}

/// Returns what a participant's log is called in this start.
fn incarnation(shared: &Shared, random: &SeededRandom) -> Incarnation {
    let mut incarnation = [0; 16];
    random.fill(&mut incarnation);
    if shared.mutates(Mutant::IncarnationReused) { Incarnation([7; 16]) } else { Incarnation(incarnation) }
}

fn coordinator_config(shared: &Shared) -> coordinator::Config {
    let shape = &shared.plan.shape;
    let participant = |number| {
        let host = Host::Participant(number);
        coordinator::ParticipantAddress { name: host.to_string(), address: net::address(host) }
    };
    let preset = coordinator::Config::default();
    coordinator::Config {
        participants: (1..=shape.participants).map(participant).collect(),
        default_timeout_ms: shape.timeout_ms,
        retry_first_pause_ms: 100,
        retry_max_pause_ms: 1_000,
        reconnect_first_pause_ms: 50,
        reconnect_max_pause_ms: 500,
        connect_timeout_ms: 500,
        keep_alive_ms: 2_000,
        retention_s: shape.retention_s,
        min_free_bytes: MIN_FREE_BYTES,
        open_saga_old_after_attempts: OPEN_SAGA_OLD_AFTER_ATTEMPTS,
        max_gathered_bytes: shape
            .max_gathered_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(preset.max_gathered_bytes),
        breaker_threshold: shape.breaker.map_or(preset.breaker_threshold, |breaker| breaker.threshold),
        breaker_pause_ms: shape.breaker.map_or(preset.breaker_pause_ms, |breaker| breaker.pause_ms),
        ..preset
    }
}
