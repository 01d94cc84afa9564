//! Runs a coordinator.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

use anyhow::Context;
use clap::Parser;
use std::sync::Arc;
use std::time::Duration;
use undoubt::process::{Ran, ServerArgs, Shutdown, connections, raise_open_files, run_with_room};
use undoubt::settings;
use undoubt_coordinator::{Config, Environment, TcpConnect, log, run};
use undoubt_platform::dial::TcpDial;
use undoubt_platform::terminal::{say, unless_reader_left};
use undoubt_platform::{OsRandom, Random, RocksOptions, RocksStore, StoreError, SystemClock};
use undoubt_vocabulary::seed_digests;

/// Decides transactions across services: two-phase commit with a write-ahead log in RocksDB.
///
/// Settings come from defaults, a TOML file, environment variables (UNDOUBT_COORDINATOR_<SETTING>) and flags; the later
/// overrule the earlier. SIGTERM drains: no new transactions, open ones are finished.
#[derive(Debug, Parser)]
#[command(name = "undoubt-coordinator", version)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// A participant; may be repeated, and replaces those of the file.
    #[arg(long, value_name = "NAME=http://HOST:PORT", value_parser = settings::parse_assignment)]
    participant: Vec<settings::Given>,
    /// Do not drive what is recovered until `undoubt recovery resume`.
    #[arg(long)]
    start_paused: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut given = args.server.given();
    if args.start_paused {
        given.push(("start_paused".to_owned(), "true".to_owned()));
    }
    let mut config: Config = settings::effective(args.server.config.as_deref(), "UNDOUBT_COORDINATOR", &given)?;
    if !args.participant.is_empty() {
        let named = |(name, address): &settings::Given| undoubt_coordinator::ParticipantAddress {
            name: name.clone(),
            address: address.clone(),
        };
        config.participants = args.participant.iter().map(named).collect();
    }
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
    let connect = Arc::new(TcpConnect {
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        keep_alive: Duration::from_millis(config.keep_alive_ms),
    });
    let (data_dir, min_free_bytes) = (config.data_dir.clone(), config.min_free_bytes);
    run_with_room(&data_dir, min_free_bytes, shutdown.clone(), || async {
        let store = match RocksStore::open(&config.data_dir, log::FAMILIES, RocksOptions::default()) {
            Ok(store) => store,
            Err(full @ StoreError::DiskFull { .. }) => return Ok(Ran::DiskFull(full.into())),
            Err(error) => return Err(error).context("the data folder cannot be opened"),
        };
        let listener = args.server.bind(&config.listen).await?;
        let environment = Environment {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            connect: connect.clone(),
            dial: Arc::new(TcpDial),
            incoming: connections(listener),
            crash: crash.clone(),
        };
        match run(config.clone(), environment, shutdown.clone().asked()).await {
            Ok(()) => Ok(Ran::Ended),
            Err(error) if error.is_disk_full() => Ok(Ran::DiskFull(error.into())),
            Err(error) => Err(error.into()),
        }
    })
    .await
}
