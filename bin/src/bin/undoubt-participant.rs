//! Runs a participant that guards a key-value store.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

use anyhow::Context;
use clap::Parser;
use std::sync::Arc;
use undoubt::process::{Ran, ServerArgs, Shutdown, connections, raise_open_files, run_with_room};
use undoubt::settings;
use undoubt_participant::adapter::kv::{FAMILIES, KeyValue, KeyValueOptions, META};
use undoubt_participant::{Config, Environment, run};
use undoubt_platform::identity::establish;
use undoubt_platform::terminal::{say, unless_reader_left};
use undoubt_platform::{Kind, OsRandom, Random, RocksOptions, RocksStore, Store, StoreError, SystemClock};
use undoubt_vocabulary::seed_digests;

/// Guards a key-value store on RocksDB and votes on transactions.
///
/// Settings come from defaults, a TOML file, environment variables (UNDOUBT_PARTICIPANT_<SETTING>) and flags; the later
/// overrule the earlier. SIGTERM ends it; branches in doubt keep their locks across the restart.
#[derive(Debug, Parser)]
#[command(name = "undoubt-participant", version)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut config: Config =
        settings::effective(args.server.config.as_deref(), "UNDOUBT_PARTICIPANT", &args.server.given())?;
    config.check().context("the configuration is not usable")?;
    if args.server.print_config {
        unless_reader_left(say(settings::to_toml(&config)?.trim_end()))?;
        return Ok(());
    }
    args.server.start_tracing()?;
    config.max_connections = raise_open_files(config.max_connections);
    seed_digests(OsRandom::new().u64())?;
    let crash = args.server.crash_points()?;
    let shutdown = Shutdown::on_signals()?;
    let (data_dir, min_free_bytes) = (config.data_dir.clone(), config.min_free_bytes);
    run_with_room(&data_dir, min_free_bytes, shutdown.clone(), || async {
        let store = match open(&config).await {
            Ok(store) => store,
            Err(error) if is_disk_full(&error) => return Ok(Ran::DiskFull(error)),
            Err(error) => return Err(error),
        };
        let resource =
            Arc::new(KeyValue::new(store.clone(), KeyValueOptions { min_free_bytes: config.min_free_bytes }));
        let listener = args.server.bind(&config.listen).await?;
        let environment = Environment {
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            incoming: connections(listener),
            crash: crash.clone(),
        };
        match run(config.clone(), resource, environment, shutdown.clone().asked()).await {
            Ok(()) => Ok(Ran::Ended),
            // Whatever stopped the store is told by the store: a full device is the one case to wait for.
            Err(error) if lacks_room(store.as_ref(), config.min_free_bytes) => Ok(Ran::DiskFull(error.into())),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

async fn open(config: &Config) -> anyhow::Result<Arc<RocksStore>> {
    let store = RocksStore::open(&config.data_dir, &FAMILIES, RocksOptions::default())
        .context("the data folder cannot be opened")?;
    let mut fresh_id = [0; 16];
    OsRandom::new().fill(&mut fresh_id);
    establish(&store, META, Kind::Participant, &config.name, fresh_id).await?;
    Ok(Arc::new(store))
}

fn is_disk_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::DiskFull { .. })))
}

fn lacks_room(store: &dyn Store, min_free_bytes: u64) -> bool {
    store.free_bytes().is_ok_and(|free| free.is_some_and(|free| free < min_free_bytes))
}
