//! A coordinator.

use crate::process::{
    Apply, Door, Failed, Failure, Guard, Guarding, Inside, OrFailed as _, Place, Process, Reload, Reloads, ServerArgs,
    Shutdown, Spans, StoreKind, Supervisor, raise_open_files, read_or_draw, read_secret, serve_on, start_board,
};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::select;
use serde::Serialize;
use std::borrow::Borrow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use undoubt_coordinator::log::LogError;
use undoubt_coordinator::{
    CallbackSecret, Changeable, Changing, Config, DialConnect, Environment, RunError, TcpConnect, log, run,
};
use undoubt_platform::dial::Dial;
use undoubt_platform::metrics::Board;
use undoubt_platform::{Access, CrashPoints, OsRandom, SystemClock, Traces};
use undoubt_tls::Protocol;

/// The name by which other parts of its process reach it.
pub const NAME: &str = "coordinator";

/// A coordinator whose process has begun. One process has several runs where a full device ends one.
pub struct Frame {
    args: Arc<ServerArgs>,
    running: Arc<Running>,
    pub crash: CrashPoints,
    pub shutdown: Shutdown,
    pub supervisor: Supervisor,
    connect: Arc<DialConnect>,
    /// The dialler for callbacks.
    pub callback_dial: Arc<dyn Dial>,
    door: Door,
    pub access: Access,
    board: Board,
    reloads: Reloads,
    spans: Spans,
    inside: Inside,
    /// The dialler of participants elsewhere.
    pub participant_dial: Arc<dyn Dial>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("running", &self.running).finish_non_exhaustive()
    }
}

/// The settings that may change while it runs.
const MAY_CHANGE: &[&str] = &["participants", "limits", "callback_secret"];

impl Frame {
    /// Begins the process. `read` reads the settings, now and whenever they are read again; `inside` has the other parts of the process, and
    /// `guard_others` says what guards those. Returns `None` if the settings were to be printed and nothing else, which is done then.
    pub async fn begin<S: Serialize + Borrow<Config>, G>(
        args: Arc<ServerArgs>,
        read: impl Fn() -> anyhow::Result<S> + Send + 'static,
        inside: Inside,
        guard_others: impl FnOnce(&S, &mut Guard) -> Result<G, Failed>,
    ) -> Result<Option<(Frame, S, G)>, Failed> {
        let settings = read().or_failed(Failure::Configuration)?;
        let mut config: Config = settings.borrow().clone();
        let Some(Process { crash, shutdown, hang_ups, log, supervisor }) = args.begin(&settings, &config.log)? else {
            return Ok(None);
        };
        config.max_connections = raise_open_files(config.max_connections);
        let guarding = Guarding { tls: &config.tls, access: &config.access, insecure: config.insecure };
        let mut guard = Guard::load(guarding)?;
        let tcp = TcpConnect {
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            keep_alive: Duration::from_millis(config.keep_alive_ms),
        };
        let dial = guard.dial(config.tls.ca(), Some(&config.tls), Protocol::H2, "the certificates for participants")?;
        let connect = Arc::new(DialConnect { tcp, dial: Arc::new(inside.dial(None, dial.clone())) });
        let callback_dial = guard.dial(config.callback_ca(), None, Protocol::Http1, "the CAs for callbacks")?;
        let callback_secret = callback_secret(&config).or_failed(Failure::Configuration)?;
        let spans = Spans::start(&config.traces, ("coordinator", &config.name), (&mut guard, &config.tls))?;
        let board = start_board(&config.metrics, &guard).await?;
        let (access, door) = (guard.access(), guard.at_the_door());
        let others = guard_others(&settings, &mut guard)?;
        guard.watch(hang_ups.clone());
        let (running, reloads) = (Arc::new(Running::new(config, callback_secret)), Reloads::default());
        Reload::new(&settings, MAY_CHANGE, log, reloads.clone(), running.clone().reader(read))?
            .watch(hang_ups, supervisor.clone());
        let frame = Frame {
            args,
            running,
            crash,
            shutdown,
            supervisor,
            connect,
            callback_dial,
            door,
            access,
            board,
            reloads,
            spans,
            inside,
            participant_dial: dial,
        };
        Ok(Some((frame, settings, others)))
    }

    pub fn traces(&self) -> Traces {
        self.spans.traces()
    }

    /// Serves until it is asked to end, again on the same store whenever its device was full.
    pub async fn serve(self) -> Result<(), Failed> {
        let (config, _) = self.running.now();
        let kind = StoreKind::chosen(&config.store).or_failed(Failure::Configuration)?;
        let place =
            Place { kind, data_dir: &config.data_dir, families: log::FAMILIES, checks_folder: config.folder_sign };
        let served = serve_on(place, config.min_free_bytes, &self.shutdown, async |opened| {
            let key = Arc::new(read_or_draw(&config.data_dir.join(&config.key_file))?);
            let metrics = opened.figures(&self.board, config.min_free_bytes);
            metrics.add(self.reloads.clone());
            let changes = self.running.changing.changes();
            let (config, callback_secret) = self.running.now();
            let outside = self.door.incoming(self.args.bind(&config.listen).await?)?;
            let environment = Environment {
                store: opened.store(),
                folder_sign: opened.folder_sign(),
                clock: Arc::new(SystemClock),
                random: Arc::new(OsRandom::new()),
                key,
                connect: self.connect.clone(),
                dial: self.callback_dial.clone(),
                callback_secret,
                incoming: select(outside, self.inside.listen(NAME)).boxed(),
                crash: self.crash.clone(),
                metrics,
                access: self.access.clone(),
                pulse: self.supervisor.pulse(),
                changes,
                traces: self.spans.traces(),
            };
            let ended = run(config, environment, self.shutdown.clone().asked()).await;
            opened.ran(ended, kind_of)
        })
        .await;
        self.spans.finish().await;
        served
    }
}

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
    fn reader<S: Serialize + Borrow<Config>>(
        self: Arc<Running>,
        read: impl Fn() -> anyhow::Result<S> + Send + 'static,
    ) -> impl Fn() -> anyhow::Result<(toml::Table, Apply)> + Send + 'static {
        move || {
            let settings = read()?;
            let table = toml::Table::try_from(&settings)?;
            let new: Config = settings.borrow().clone();
            let secret = callback_secret(&new)?;
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

/// Checks settings that were read.
pub fn check(config: &Config) -> anyhow::Result<()> {
    config.check().context("the configuration is not usable")?;
    StoreKind::chosen(&config.store).context("the configuration is not usable")?;
    Ok(())
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
