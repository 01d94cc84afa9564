//! Runs a participant: over a key-value store of its own, over HTTP services, or in front of a database.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

mod database;
mod settings;

use clap::Parser;
use settings::{Resource, Settings};
use std::process::ExitCode;
use std::sync::Arc;
use undoubt::process::{
    Apply, Backup, EXIT_CODES, Failed, Failure, Guard, Guarding, OrFailed as _, Process, Reload, Reloads, ServerArgs,
    Spans, exit, of_operator, raise_open_files, run_server, start_board,
};
use undoubt::servers::participant::{Frame, Listening};
use undoubt::servers::{http, key_value};
use undoubt_client::{ClientOptions, ParticipantClient};
use undoubt_kv::FAMILIES;
use undoubt_participant::subscription::{DialSources, Subscribing};
use undoubt_tls::Protocol;

/// Guards a key-value store, HTTP services or a database, and votes on transactions.
///
/// Settings come from defaults, a TOML file, environment variables (UNDOUBT_PARTICIPANT_<SETTING>) and flags; the later
/// overrule the earlier. SIGTERM ends it; branches in doubt keep their locks across the restart. In front of a database:
/// `check` tells what the database lacks, `init` makes what the participant keeps there.
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
    #[command(flatten)]
    Database(database::Command),
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    exit(run_server(async {
        match args.command.take() {
            None => serve(args.server).await,
            Some(Command::Backup(backup)) => backup.carry_out(&FAMILIES, ask_for_backup).await,
            Some(Command::Database(command)) => command.carry_out().await,
        }
    }))
}

async fn ask_for_backup(url: &str, to: &str, options: ClientOptions) -> Result<(), Failed> {
    let client = ParticipantClient::connect_lazy(url, options).or_failed(Failure::Configuration)?;
    client.backup(to).await.map_err(of_operator)
}

async fn serve(args: ServerArgs) -> Result<(), Failed> {
    let settings = Settings::read(&args).or_failed(Failure::Configuration)?;
    let mut config = settings.participant.clone();
    let Some(Process { crash, shutdown, hang_ups, log, supervisor }) = args.begin(&settings, &config.log)? else {
        return Ok(());
    };
    config.max_connections = raise_open_files(config.max_connections);
    let guarding = Guarding { tls: &config.tls, access: &config.access, insecure: config.insecure };
    let mut guard = Guard::load(guarding)?;
    let dial = guard.dial(config.tls.ca(), None, Protocol::Http1, "the CAs for the webhook")?;
    let to_sources =
        guard.dial(config.tls.ca(), Some(&config.tls), Protocol::H2, "the certificates for sources of events")?;
    let subscribing = Subscribing {
        declarations: Arc::new(settings.declarations.clone()),
        sources: Arc::new(DialSources::of(&config, to_sources)),
    };
    let network = settings.resource.services().map(|services| http::network(services, &mut guard)).transpose()?;
    let spans = Spans::start(&config.traces, ("participant", &config.name), (&mut guard, &config.tls))?;
    let board = start_board(&config.metrics, &guard).await?;
    let (args, reloads) = (Arc::new(args), Reloads::default());
    let reload = Reload::new(&settings, &[], log, reloads.clone(), reader(args.clone()))?;
    let declarations = settings.declarations.clone();
    let frame = Frame {
        listening: Listening::Outside(args, guard.at_the_door()),
        config,
        crash,
        shutdown,
        dial,
        access: guard.access(),
        board,
        reloads,
        pulse: supervisor.pulse(),
        traces: spans.traces(),
        subscribing: Some(subscribing),
    };
    guard.watch(hang_ups.clone());
    reload.watch(hang_ups, supervisor);
    let served = match settings.resource {
        Resource::KeyValue => key_value::serve(&frame, &declarations).await,
        Resource::Http(services) => {
            let network = network.expect("services are called over one");
            http::serve(&frame, services, network, &declarations).await
        }
        #[cfg(feature = "postgresql")]
        Resource::PostgreSql { settings, procedures } => {
            let resource = |name: &_| database::postgresql::open(&settings, name, procedures, &declarations);
            database::serve(&frame, resource).await
        }
        #[cfg(feature = "mariadb")]
        Resource::MariaDb { settings, procedures } => {
            let resource = |name: &_| database::mariadb::open(&settings, name, procedures, &declarations);
            database::serve(&frame, resource).await
        }
    };
    spans.finish().await;
    served
}

/// Returns what reads the settings again. What is logged is all that may change while it runs.
fn reader(args: Arc<ServerArgs>) -> impl Fn() -> anyhow::Result<(toml::Table, Apply)> + Send + 'static {
    move || {
        let apply: Apply = Box::new(|| {});
        Ok((toml::Table::try_from(Settings::read(&args)?)?, apply))
    }
}
