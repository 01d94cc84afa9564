//! `undoubt serve`: a coordinator, a gateway, and participants over a key-value store and over HTTP services in one process.

use anyhow::{Context as _, bail};
use serde::Serialize;
use std::borrow::Borrow;
use std::path::PathBuf;
use std::sync::Arc;
use toml::Table;
use undoubt::process::{EXIT_CODES, Failed, Inside, Reloads, ServerArgs, Shutdown};
use undoubt::servers::gateway::Gateway;
use undoubt::servers::participant::{self, Listening};
use undoubt::servers::{coordinator, http, key_value};
use undoubt::settings;
use undoubt_coordinator::ParticipantAddress;
use undoubt_participant::subscription::{DialSources, Subscribing};
use undoubt_platform::Access;
use undoubt_platform::metrics::Board;
use undoubt_platform::pulse::{Life, Pulse};
use undoubt_platform::terminal::{complain, say};
use undoubt_stream::declarations::Declarations;
use undoubt_vocabulary::TopicName;

/// Runs all that is needed in one process: a coordinator, a gateway for HTTP and JSON, a key-value participant named `store`, and, where
/// http.allow says which may be called, one over HTTP services named `http`.
///
/// Settings are a coordinator's, and those of the tables [gateway], [participant] and [http], with [[topic]], [[begin]] and [[on]] for what `store`
/// publishes and reacts to; they come from defaults, a TOML file, environment
/// variables (UNDOUBT_SERVE_<SETTING>) and flags, of which the later overrule the earlier. SIGTERM drains: no new transactions, open ones
/// are finished.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Serve {
    #[command(flatten)]
    server: ServerArgs,
    /// A participant elsewhere; may be repeated, and replaces those of the file.
    #[arg(long, value_name = "NAME=http://HOST:PORT", value_parser = settings::parse_assignment)]
    participant: Vec<settings::Given>,
    /// A topic to which work at the participant `store` may publish events; may be repeated, beside those of the file.
    #[arg(long, value_name = "NAME")]
    topic: Vec<TopicName>,
}

/// The name of the key-value participant, and its folder in the data folder.
const STORE: &str = "store";

/// The name of the participant over HTTP services, and its folder.
const HTTP: &str = "http";

/// The tables of the settings that are not the coordinator's.
const OTHERS: [&str; 6] = ["gateway", "participant", "http", "topic", "begin", "on"];

/// All settings, as they are printed and compared when they are read again.
#[derive(Debug, Serialize)]
struct Settings {
    #[serde(flatten)]
    coordinator: undoubt_coordinator::Config,
    gateway: undoubt_gateway::Config,
    /// The settings that both participants have in common.
    participant: undoubt_participant::Config,
    http: undoubt_http::Settings,
    /// The topics of the store, and its reactions, as they are written.
    #[serde(flatten)]
    tables: Table,
    #[serde(skip)]
    declared: Declarations,
    #[serde(skip)]
    folder: PathBuf,
}

impl Borrow<undoubt_coordinator::Config> for Settings {
    fn borrow(&self) -> &undoubt_coordinator::Config {
        &self.coordinator
    }
}

impl Serve {
    pub async fn carry_out(self) -> Result<(), Failed> {
        let inside = Inside::default();
        let args = Arc::new(self.server);
        let (given, others, topics) = (args.clone(), self.participant, self.topic);
        let read = move || Settings::read(&given, &others, &topics);
        let begun = coordinator::Frame::begin(args.clone(), read, inside.clone(), |settings: &Settings, guard| {
            Ok((guard.at_the_door_for_http()?, http::network(&settings.http, guard)?))
        });
        let Some((frame, settings, (door, network))) = begun.await? else { return Ok(()) };
        let gateway = Gateway::listen(&settings.gateway, &door).await?;
        let (stop, stopped) = Shutdown::by_hand();
        let inside_as = |name: &str| participant::Frame {
            listening: Listening::Inside(inside.clone()),
            config: settings.participant_named(name),
            crash: frame.crash.clone(),
            shutdown: stopped.clone(),
            dial: frame.callback_dial.clone(),
            // Nobody else reaches it.
            access: Access::open(),
            board: Board::default(),
            reloads: Reloads::default(),
            pulse: Pulse::default(),
            traces: frame.traces(),
            subscribing: None,
        };
        let subscribing = Subscribing {
            declarations: Arc::new(settings.declared.clone()),
            sources: Arc::new(DialSources::of(&settings.participant, frame.participant_dial.clone())),
        };
        let store = participant::Frame { subscribing: Some(subscribing), ..inside_as(STORE) };
        let services = settings.calls_services().then(|| inside_as(HTTP));
        tokio::spawn(tell_once_it_serves(frame.supervisor.pulse(), gateway.url().to_owned(), args.clone()));
        let (access, to_sources) = (frame.access.clone(), frame.participant_dial.clone());
        // The others are there until what is open has ended.
        let coordinator = async {
            let ended = frame.serve().await;
            stop.send_replace(true);
            ended
        };
        let services = async {
            match &services {
                Some(frame) => http::serve(frame, settings.http.clone(), network, &Declarations::default()).await,
                None => Ok(()),
            }
        };
        let own: &[&str] = if settings.calls_services() { &[STORE, HTTP] } else { &[STORE] };
        let gateway = gateway.serve_inside((&inside, own), to_sources, access, stopped.clone());
        tokio::try_join!(coordinator, key_value::serve(&store, &settings.declared), services, gateway).map(|_| ())
    }
}

/// Says where it is reached, and what to try, once it serves.
async fn tell_once_it_serves(pulse: Pulse, gateway: String, args: Arc<ServerArgs>) {
    let mut life = pulse.life();
    if life.wait_for(|life| *life == Life::Serving).await.is_err() {
        return;
    }
    let coordinator = args.address().map_or_else(String::new, |address| address.to_string());
    let line = format!(
        "serving HTTP at {gateway} and gRPC at {coordinator}; try: curl -sS {gateway}/v1/transactions -H content-type:application/json \
         -d '{{\"branches\":{{\"{STORE}\":[\"add visits 1\"]}}}}'"
    );
    if let Err(error) = say(&line) {
        complain(format_args!("cannot write to the standard output: {error}"));
    }
}

impl Settings {
    fn read(args: &ServerArgs, others: &[settings::Given], topics: &[TopicName]) -> anyhow::Result<Settings> {
        let (mut coordinator, mut tables): (undoubt_coordinator::Config, Table) =
            settings::effective_beside(args.config.as_deref(), "UNDOUBT_SERVE", &args.given(), &OTHERS)?;
        let folder = std::mem::take(&mut coordinator.data_dir);
        if folder == undoubt_coordinator::Config::default().data_dir {
            bail!("it has to know where to keep its data; say --data-dir FOLDER");
        }
        coordinator.data_dir = folder.join(coordinator::NAME);
        if !others.is_empty() {
            let named =
                |(name, address): &settings::Given| ParticipantAddress { name: name.clone(), address: address.clone() };
            coordinator.participants = others.iter().map(named).collect();
        }
        let (gateway, http): (undoubt_gateway::Config, undoubt_http::Settings) =
            (settings::table(&mut tables, "gateway")?, settings::table(&mut tables, HTTP)?);
        gateway.check().context("the configuration is not usable")?;
        http.check().context("the configuration is not usable")?;
        let participant = settings::table(&mut tables, "participant")?;
        check_participant(&participant)?;
        let declared = declared(args, topics)?;
        let mut settings = Settings { coordinator, gateway, participant, http, tables, declared, folder };
        for name in [Some(STORE), settings.calls_services().then_some(HTTP)].into_iter().flatten() {
            let inside = ParticipantAddress { name: name.to_owned(), address: Inside::address(name) };
            settings.coordinator.participants.push(inside);
        }
        coordinator::check(&settings.coordinator)?;
        Ok(settings)
    }

    /// Returns true if services may be called, or were, so that calls may be owed.
    fn calls_services(&self) -> bool {
        !self.http.allow.is_empty() || self.folder.join(HTTP).exists()
    }

    fn participant_named(&self, name: &str) -> undoubt_participant::Config {
        let data_dir = self.folder.join(name);
        undoubt_participant::Config { name: name.to_owned(), data_dir, ..self.participant.clone() }
    }
}

/// Reads what the store publishes and reacts to: from the file, with topics beside.
fn declared(args: &ServerArgs, topics: &[TopicName]) -> anyhow::Result<Declarations> {
    let text =
        args.config.as_deref().map(std::fs::read_to_string).transpose().context("cannot read the configuration")?;
    let beside = topics.iter().map(|topic| format!("\n[[topic]]\nname = \"{topic}\"\n"));
    Ok(Declarations::read(&beside.fold(text.unwrap_or_default(), |text, topic| text + &topic))?)
}

/// Checks the settings of participants that nobody reaches from outside.
fn check_participant(given: &undoubt_participant::Config) -> anyhow::Result<()> {
    let defaults = undoubt_participant::Config::default();
    let needless = [
        ("name", given.name != defaults.name),
        ("listen", given.listen != defaults.listen),
        ("data_dir", given.data_dir != defaults.data_dir),
        ("insecure", given.insecure != defaults.insecure),
        ("log", given.log != defaults.log),
        ("tls", given.tls != defaults.tls),
        ("access", given.access != defaults.access),
        ("metrics", given.metrics != defaults.metrics),
        ("traces", given.traces != defaults.traces),
    ];
    if let Some((name, _)) = needless.into_iter().find(|(_, is_set)| *is_set) {
        bail!("participant.{name} means nothing for a participant inside this process; take it out");
    }
    given.check().context("[participant]: the configuration is not usable")
}
