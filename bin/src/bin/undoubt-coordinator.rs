//! Runs a coordinator.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use undoubt::process::{
    Backup, EXIT_CODES, Failed, Failure, Inside, Key, OrFailed as _, ServerArgs, exit, of_operator, run_server,
};
use undoubt::servers::coordinator::{Frame, check};
use undoubt::settings;
use undoubt_client::{Client, ClientOptions};
use undoubt_coordinator::{Config, ParticipantAddress, log};

/// Decides transactions across services: two-phase commit with a write-ahead log in RocksDB.
///
/// Settings come from defaults, a TOML file, environment variables (UNDOUBT_COORDINATOR_<SETTING>) and flags; the later
/// overrule the earlier. SIGTERM drains: no new transactions, open ones are finished.
#[derive(Debug, Parser)]
#[command(name = "undoubt-coordinator", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArgs,
    /// A participant; may be repeated, and replaces those of the file.
    #[arg(long, value_name = "NAME=http://HOST:PORT", value_parser = settings::parse_assignment)]
    participant: Vec<settings::Given>,
    /// Do not drive what is recovered until `undoubt recovery resume`.
    #[arg(long)]
    start_paused: bool,
    /// This coordinator is new on purpose, though participants know its name with another folder.
    #[arg(long)]
    new: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Backup(Backup),
    Key(Key),
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    exit(run_server(async {
        match args.command.take() {
            None => serve(args).await,
            Some(Command::Key(key)) => key.carry_out(),
            Some(Command::Backup(backup)) => backup.carry_out(log::FAMILIES, ask_for_backup).await,
        }
    }))
}

async fn ask_for_backup(url: &str, to: &str, options: ClientOptions) -> Result<(), Failed> {
    let client = Client::connect_lazy(url, options).or_failed(Failure::Configuration)?;
    client.backup(to).await.map_err(of_operator)
}

async fn serve(args: Args) -> Result<(), Failed> {
    let Args { command: _, server, participant, start_paused, new } = args;
    let server = Arc::new(server);
    let given = server.clone();
    let read = move || config(&given, &participant, start_paused, new);
    match Frame::begin(server, read, Inside::default(), |_, _| Ok(())).await? {
        Some((frame, _, ())) => frame.serve().await,
        None => Ok(()),
    }
}

fn config(
    server: &ServerArgs,
    participants: &[settings::Given],
    start_paused: bool,
    new: bool,
) -> anyhow::Result<Config> {
    let mut given = server.given();
    if start_paused {
        given.push(("start_paused".to_owned(), "true".to_owned()));
    }
    if new {
        given.push(("new".to_owned(), "true".to_owned()));
    }
    let mut config: Config = settings::effective(server.config.as_deref(), "UNDOUBT_COORDINATOR", &given)?;
    if !participants.is_empty() {
        let named =
            |(name, address): &settings::Given| ParticipantAddress { name: name.clone(), address: address.clone() };
        config.participants = participants.iter().map(named).collect();
    }
    check(&config)?;
    Ok(config)
}
