//! Runs a coordinator.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

use anyhow::Context;
use clap::Parser;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use undoubt::process::{
    Apply, Backup, EXIT_CODES, Failed, Failure, Guard, Guarding, Key, OrFailed as _, Place, Process, Reload, Reloads,
    ServerArgs, Spans, StoreKind, exit, of_operator, raise_open_files, read_or_draw, read_secret, run_server, serve_on,
    start_board,
};
use undoubt::settings;
use undoubt_client::{Client, ClientOptions};
use undoubt_coordinator::log::LogError;
use undoubt_coordinator::{
    CallbackSecret, Changeable, Changing, Config, DialConnect, Environment, RunError, TcpConnect, log, run,
};
use undoubt_platform::{OsRandom, SystemClock};
use undoubt_tls::Protocol;

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
    let mut config = config(&args).or_failed(Failure::Configuration)?;
    let Some(Process { crash, shutdown, hang_ups, log, supervisor }) = args.server.begin(&config, &config.log)? else {
        return Ok(());
    };
    let started = config.clone();
    config.max_connections = raise_open_files(config.max_connections);
    let guarding = Guarding { tls: &config.tls, access: &config.access, insecure: config.insecure };
    let mut guard = Guard::load(guarding)?;
    let tcp = TcpConnect {
        connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        keep_alive: Duration::from_millis(config.keep_alive_ms),
    };
    let dial = guard.dial(config.tls.ca(), Some(&config.tls), Protocol::H2, "the certificates for participants")?;
    let connect = Arc::new(DialConnect { tcp, dial });
    let callback_dial = guard.dial(config.callback_ca(), None, Protocol::Http1, "the CAs for callbacks")?;
    let callback_secret = callback_secret(&config).or_failed(Failure::Configuration)?;
    let spans = Spans::start(&config.traces, ("coordinator", &config.name), (&mut guard, &config.tls))?;
    let access = guard.access();
    let listening = guard.at_the_door();
    let board = start_board(&config.metrics, &guard).await?;
    guard.watch(hang_ups.clone());
    let (running, reloads) = (Arc::new(Running::new(config.clone(), callback_secret)), Reloads::default());
    let args = Arc::new(args);
    Reload::new(&started, MAY_CHANGE, log, reloads.clone(), running.clone().reader(args.clone()))?
        .watch(hang_ups, supervisor.clone());
    let kind = StoreKind::chosen(&config.store).or_failed(Failure::Configuration)?;
    let place = Place { kind, data_dir: &config.data_dir, families: log::FAMILIES, checks_folder: config.folder_sign };
    let served = serve_on(place, config.min_free_bytes, &shutdown, async |opened| {
        let key = Arc::new(read_or_draw(&config.data_dir.join(&config.key_file))?);
        let metrics = opened.figures(&board, config.min_free_bytes);
        metrics.add(reloads.clone());
        let changes = running.changing.changes();
        let (config, callback_secret) = running.now();
        let listener = args.server.bind(&config.listen).await?;
        let environment = Environment {
            store: opened.store(),
            folder_sign: opened.folder_sign(),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            key,
            connect: connect.clone(),
            dial: callback_dial.clone(),
            callback_secret,
            incoming: listening.incoming(listener)?,
            crash: crash.clone(),
            metrics,
            access: access.clone(),
            pulse: supervisor.pulse(),
            changes,
            traces: spans.traces(),
        };
        let ended = run(config, environment, shutdown.clone().asked()).await;
        opened.ran(ended, kind_of)
    })
    .await;
    spans.finish().await;
    served
}

/// The settings that may change while it runs.
const MAY_CHANGE: &[&str] = &["participants", "limits", "callback_secret"];

/// The settings in effect, as they are changed while it runs: another run in this process, after a full device, begins with them.
#[derive(Debug)]
struct Running {
    now: Mutex<(Config, Option<CallbackSecret>)>,
    changing: Changing,
}

impl Running {
    fn new(config: Config, secret: Option<CallbackSecret>) -> Running {
        Running { now: Mutex::new((config, secret)), changing: Changing::new() }
    }

    fn now(&self) -> (Config, Option<CallbackSecret>) {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, (Config, Option<CallbackSecret>)> {
        // Nothing panics while it is locked.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what reads the settings again.
    fn reader(
        self: Arc<Running>,
        args: Arc<Args>,
    ) -> impl Fn() -> anyhow::Result<(toml::Table, Apply)> + Send + 'static {
        move || {
            let new = config(&args)?;
            let secret = callback_secret(&new)?;
            let table = toml::Table::try_from(&new)?;
            let running = self.clone();
            let apply = move || {
                let changed = Changeable::of(&new, secret.clone());
                {
                    let mut now = running.lock();
                    now.0.participants = new.participants;
                    now.0.limits = new.limits;
                    now.1 = secret;
                }
                running.changing.change(changed);
            };
            Ok((table, Box::new(apply)))
        }
    }
}

fn callback_secret(config: &Config) -> anyhow::Result<Option<CallbackSecret>> {
    let Some(path) = config.callback_secret() else { return Ok(None) };
    let secret = CallbackSecret::new(&read_secret(path)?);
    secret.map(Some).with_context(|| format!("callback_secret: {}", path.display()))
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let mut given = args.server.given();
    if args.start_paused {
        given.push(("start_paused".to_owned(), "true".to_owned()));
    }
    if args.new {
        given.push(("new".to_owned(), "true".to_owned()));
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
    StoreKind::chosen(&config.store).context("the configuration is not usable")?;
    Ok(config)
}

fn kind_of(error: &RunError) -> Failure {
    match error {
        RunError::Config(_) | RunError::Name(_) => Failure::Configuration,
        RunError::Identity(error) => Failure::of_identity(error),
        RunError::Log(LogError::Store(error)) => Failure::of_store(error),
        RunError::Log(LogError::Unreadable { .. }) => Failure::Folder,
        RunError::FencedByEpoch(_) | RunError::PutBack { .. } => Failure::FencedByEpoch,
        RunError::Store(error) => Failure::of_store(error),
        RunError::FencedByStore(_) => Failure::FencedByStore,
        RunError::Server(_) | RunError::Reflection(_) | RunError::Cancelled(_) => Failure::Other,
    }
}
