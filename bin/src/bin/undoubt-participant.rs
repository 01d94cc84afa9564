//! Runs a participant that guards a key-value store.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

use anyhow::Context;
use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use undoubt::process::{
    Apply, Backup, EXIT_CODES, Failed, Failure, Guard, Guarding, OrFailed as _, Place, Process, Ran, Reload, Reloads,
    ServerArgs, Spans, StoreKind, exit, of_operator, raise_open_files, serve_on, start_board,
};
use undoubt::settings;
use undoubt_client::{ClientOptions, ParticipantClient};
use undoubt_kv::{FAMILIES, KeyValue, KeyValueOptions, META};
use undoubt_participant::{Config, Environment, RunError, run};
use undoubt_platform::identity::establish;
use undoubt_platform::{IdentityError, Kind, NumberedStore, OsRandom, Random, SystemClock};
use undoubt_tls::Protocol;

/// Guards a key-value store on RocksDB and votes on transactions.
///
/// Settings come from defaults, a TOML file, environment variables (UNDOUBT_PARTICIPANT_<SETTING>) and flags; the later
/// overrule the earlier. SIGTERM ends it; branches in doubt keep their locks across the restart.
#[derive(Debug, Parser)]
#[command(name = "undoubt-participant", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Backup(Backup),
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    exit(match args.command.take() {
        None => serve(args).await,
        Some(Command::Backup(backup)) => backup.carry_out(&FAMILIES, ask_for_backup).await,
    })
}

async fn ask_for_backup(url: &str, to: &str, options: ClientOptions) -> Result<(), Failed> {
    let client = ParticipantClient::connect_lazy(url, options).or_failed(Failure::Configuration)?;
    client.backup(to).await.map_err(of_operator)
}

async fn serve(args: Args) -> Result<(), Failed> {
    let mut config = config(&args).or_failed(Failure::Configuration)?;
    let Some(Process { crash, shutdown, hang_ups, log, supervisor }) = args.server.begin(&config, &config.log)? else {
        return Ok(());
    };
    let started = config.clone();
    config.max_connections = raise_open_files(config.max_connections);
    let guarding = Guarding { tls: &config.tls, access: &config.access, insecure: config.insecure };
    let mut guard = Guard::load(guarding)?;
    let dial = guard.dial(config.tls.ca(), None, Protocol::Http1, "the CAs for the webhook")?;
    let spans = Spans::start(&config.traces, ("participant", &config.name), (&mut guard, &config.tls))?;
    let access = guard.access();
    let listening = guard.at_the_door();
    let board = start_board(&config.metrics, &guard).await?;
    guard.watch(hang_ups.clone());
    let (args, reloads) = (Arc::new(args), Reloads::default());
    Reload::new(&started, &[], log, reloads.clone(), reader(args.clone()))?.watch(hang_ups, supervisor.clone());
    let kind = StoreKind::chosen(&config.store).or_failed(Failure::Configuration)?;
    let place = Place { kind, data_dir: &config.data_dir, families: &FAMILIES, checks_folder: config.folder_sign };
    let served = serve_on(place, config.min_free_bytes, &shutdown, async |opened| {
        let store = opened.store();
        let metrics = opened.figures(&board, config.min_free_bytes);
        metrics.add(reloads.clone());
        let mut fresh_id = [0; 16];
        OsRandom::new().fill(&mut fresh_id);
        // A mark of 0 would say that it is not known.
        let mark = OsRandom::new().u64().max(1);
        let begun = async {
            let identity = establish(store.as_ref(), META, Kind::Participant, &config.name, fresh_id).await?;
            let (numbered, mut known) = NumberedStore::begin(store.clone(), META, identity.id, 0, mark).await?;
            numbered.note_folder_sign(&mut known, opened.folder_sign()).await?;
            Ok::<_, IdentityError>((numbered, known))
        };
        // A store that cannot be written now may keep it waiting.
        let begun = tokio::select! {
            begun = begun => begun,
            () = shutdown.clone().asked() => return Ok(Ran::Ended),
        };
        let (numbered, known) = match begun {
            Ok(begun) => begun,
            Err(error) => return opened.ran(Err(error), Failure::of_identity),
        };
        let options = KeyValueOptions { min_free_bytes: config.min_free_bytes };
        let resource = Arc::new(KeyValue::numbered(numbered, known, options));
        let listener = args.server.bind(&config.listen).await?;
        let environment = Environment {
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            dial: dial.clone(),
            incoming: listening.incoming(listener)?,
            crash: crash.clone(),
            metrics,
            access: access.clone(),
            pulse: supervisor.pulse(),
            traces: spans.traces(),
        };
        let ended = run(config.clone(), resource, environment, shutdown.clone().asked()).await;
        opened.ran(ended, kind_of)
    })
    .await;
    spans.finish().await;
    served
}

/// Returns what reads the settings again. What is logged is all that may change while it runs.
fn reader(args: Arc<Args>) -> impl Fn() -> anyhow::Result<(toml::Table, Apply)> + Send + 'static {
    move || {
        let apply: Apply = Box::new(|| {});
        Ok((toml::Table::try_from(config(&args)?)?, apply))
    }
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let config: Config =
        settings::effective(args.server.config.as_deref(), "UNDOUBT_PARTICIPANT", &args.server.given())?;
    config.check().context("the configuration is not usable")?;
    StoreKind::chosen(&config.store).context("the configuration is not usable")?;
    Ok(config)
}

fn kind_of(error: &RunError) -> Failure {
    match error {
        RunError::Config(_) => Failure::Configuration,
        RunError::Resource(_) => Failure::Storage,
        RunError::Fenced { .. } => Failure::FencedByStore,
        RunError::Server(_) | RunError::Reflection(_) | RunError::Cancelled(_) => Failure::Other,
    }
}
