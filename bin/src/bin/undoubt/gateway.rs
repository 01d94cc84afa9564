//! `undoubt gateway`: a gateway as a process of its own, in front of one coordinator or several.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use undoubt::credentials::Credentials;
use undoubt::process::{
    EXIT_CODES, Failed, Failure, Guard, Guarding, OrFailed as _, Process, ServerArgs, figures_without_store,
    raise_open_files, start_board,
};
use undoubt::servers::gateway::{Gateway, to_coordinator};
use undoubt::settings;
use undoubt_client::{Client, ClientOptions};
use undoubt_gateway::Behind;
use undoubt_platform::access::{AccessConfig, TlsConfig};
use undoubt_platform::dial::Dial;
use undoubt_platform::metrics::MetricsConfig;
use undoubt_platform::pulse::Life;
use undoubt_platform::terminal::{complain, say};
use undoubt_tls::Protocol;
use undoubt_vocabulary::CoordinatorId;

/// Answers HTTP and JSON in front of one coordinator or several elsewhere, on behalf of its callers.
///
/// It shows the coordinators who it is by --cert and --key or --token-file; there it needs the role `delegate`, and the roles that its callers
/// are to have; with several coordinators the role `read` too. [tls] and [access] say how its own callers are known.
///
/// With several coordinators each id has a home: one of them, by a hash of the id and the coordinators' own ids. Whatever an id's home is away
/// for is answered with 503 and Retry-After: it is never begun at another, which might carry it out a second time. New transactions without an id go to those that
/// take some.
///
/// A coordinator that is added becomes the home of some ids that were begun elsewhere. So unless --settled says that the set has not changed since, the
/// home of an id is asked for it, and where it does not know it all others, before anything is done; while one of those is away, ids that the
/// home does not know get 503. Say --settled once the retention (retention_s) of all coordinators has passed since the change: then ids of those that are
/// there do not depend on others. Change the set at all gateways at once: end the old ones first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, mut_arg("name", |name| name.hide(true)), mut_arg("data_dir", |folder| folder.hide(true)))]
pub struct Serve {
    #[command(flatten)]
    server: ServerArgs,
    /// A coordinator that it stands in front of, with its id (`undoubt describe`) where that is not to be asked for; may be repeated, and
    /// replaces those of the file. Without either it is http://127.0.0.1:7400.
    #[arg(long = "coordinator", id = "coordinator", value_name = "[ID=]URL")]
    coordinators: Vec<String>,
    /// True if they were named here, and not left to the default of all commands.
    #[arg(skip)]
    pub names_coordinators: bool,
    /// The set of coordinators has not changed for as long as they keep what has ended.
    #[arg(long)]
    settled: bool,
}

/// The tables of the settings that a gateway has wherever it runs.
const OTHERS: [&str; 1] = ["gateway"];

/// The settings that are its process'.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OfProcess {
    /// The coordinators: `URL`, or `ID=URL`.
    coordinators: Vec<String>,
    /// Listen beyond this machine also without TLS or identities.
    insecure: bool,
    /// The level of the log.
    log: String,
    tls: TlsConfig,
    access: AccessConfig,
    metrics: MetricsConfig,
}

/// All settings, as they are printed.
#[derive(Debug, Serialize)]
struct Settings {
    #[serde(flatten)]
    process: OfProcess,
    gateway: undoubt_gateway::Config,
}

impl Serve {
    /// `shows`: what it shows to the coordinators.
    pub async fn carry_out(self, shows: Credentials) -> Result<(), Failed> {
        let Settings { mut process, mut gateway } = self.settings().or_failed(Failure::Configuration)?;
        let printed = Settings { process: process.clone(), gateway: gateway.clone() };
        let log = if process.log.is_empty() { "info" } else { &process.log };
        let Some(Process { shutdown, hang_ups, supervisor, .. }) = self.server.begin(&printed, log)? else {
            return Ok(());
        };
        gateway.max_connections = raise_open_files(gateway.max_connections);
        let guarding = Guarding { tls: &process.tls, access: &process.access, insecure: process.insecure };
        let mut guard = Guard::load(guarding)?;
        let named = std::mem::take(&mut process.coordinators);
        let (behind, dial) = behind(&named, &shows, &mut guard)?;
        let token = Credentials { token_file: shows.token_file, ..Credentials::default() };
        let options = token.give(ClientOptions::default()).or_failed(Failure::Configuration)?;
        let board = start_board(&process.metrics, &guard).await?;
        let _figures = figures_without_store(&board);
        let (access, door) = (guard.access(), guard.at_the_door_for_http()?);
        guard.watch(hang_ups);
        let listener = self.server.bind(&gateway.listen).await?;
        let served = Gateway::over(gateway, listener, &door)?;
        let line = format!("serving HTTP at {} for {}", served.url(), named.join(", "));
        if let Err(error) = say(&line) {
            complain(format_args!("cannot write to the standard output: {error}"));
        }
        supervisor.pulse().set_life(Life::Serving);
        served.serve((behind, dial), options, access, shutdown).await
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut given = self.server.given();
        let listen = given.iter_mut().filter(|(key, _)| key == "listen");
        listen.for_each(|(key, _)| *key = "gateway.listen".to_owned());
        given.extend(self.settled.then(|| ("gateway.settled".to_owned(), "true".to_owned())));
        let (mut process, mut tables): (OfProcess, _) =
            settings::effective_beside(self.server.config.as_deref(), "UNDOUBT_GATEWAY", &given, &OTHERS)?;
        if self.names_coordinators || process.coordinators.is_empty() {
            process.coordinators = self.coordinators.clone();
        }
        let gateway: undoubt_gateway::Config = settings::table(&mut tables, "gateway")?;
        gateway.check().context("the configuration is not usable")?;
        Ok(Settings { process, gateway })
    }
}

/// Returns the coordinators that are named, and what dials them and participants.
fn behind(named: &[String], shows: &Credentials, guard: &mut Guard) -> Result<(Vec<Behind>, Arc<dyn Dial>), Failed> {
    let options = shows.give(ClientOptions::default()).or_failed(Failure::Configuration)?;
    let own = TlsConfig {
        certificate: shows.cert.clone().unwrap_or_default(),
        key: shows.key.clone().unwrap_or_default(),
        ..TlsConfig::default()
    };
    let dial = guard.dial(shows.ca.as_deref(), Some(&own), Protocol::H2, "the certificates for coordinators")?;
    let one = |named: &String| {
        let (id, url) = match named.split_once('=') {
            Some((id, url)) => {
                (Some(id.parse::<CoordinatorId>().with_context(|| format!("--coordinator {named}"))?), url)
            }
            None => (None, named.as_str()),
        };
        // It checks the address, and that no token is sent to it in the open.
        Client::connect_lazy(url, options.clone())?;
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let connect = to_coordinator(&url, Arc::clone(&dial) as _)?;
        anyhow::Ok(Behind { id, address: url, connect })
    };
    let behind: Vec<Behind> = named.iter().map(one).collect::<anyhow::Result<_>>().or_failed(Failure::Configuration)?;
    Ok((behind, dial as Arc<dyn Dial>))
}
