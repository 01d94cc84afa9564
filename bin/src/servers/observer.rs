//! An observer of choreographed sagas.

use crate::declared::read_declarations;
use crate::process::{
    Failed, Failure, Guard, Guarding, OrFailed as _, Place, Process, ServerArgs, StoreKind, raise_open_files, serve_on,
    start_board,
};
use crate::settings;
use anyhow::Context as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use undoubt_observer::{Config, DialAsk, Environment, FAMILIES, Observed, RunError, run};
use undoubt_participant::subscription::{CONNECT_TIMEOUT, DialSources};
use undoubt_platform::{OsRandom, SystemClock};
use undoubt_stream::choreography::{Choreography, Finding, Weight};
use undoubt_tls::Protocol;
use undoubt_vocabulary::ParticipantName;

/// Reads the settings, and what all participants declare.
pub fn read(args: &ServerArgs) -> anyhow::Result<(Config, Choreography)> {
    let config: Config = settings::effective(args.config.as_deref(), "UNDOUBT_OBSERVER", &args.given())?;
    config.check().context("the configuration is not usable")?;
    StoreKind::chosen(&config.store).context("the configuration is not usable")?;
    let folder = args.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let declared = |Observed { name, settings, .. }: &Observed| {
        let (said, declarations) = read_declarations(&folder.join(settings))?;
        if let Some(said) = said.filter(|said| said != name) {
            anyhow::bail!("{} are the settings of {said}, not of {name}; name the right file", settings.display());
        }
        Ok((name.parse::<ParticipantName>()?, declarations))
    };
    let declared: Vec<_> = config.participants.iter().map(declared).collect::<anyhow::Result<_>>()?;
    Ok((config, Choreography::of(declared)?))
}

/// Serves until it is asked to end, again on the same store whenever its device was full.
pub async fn serve(args: ServerArgs) -> Result<(), Failed> {
    let (mut config, choreography) = read(&args).or_failed(Failure::Configuration)?;
    let Some(Process { shutdown, hang_ups, supervisor, .. }) = args.begin(&config, &config.log)? else {
        return Ok(());
    };
    config.max_connections = raise_open_files(config.max_connections);
    tell_findings(&choreography.check());
    let guarding = Guarding { tls: &config.tls, access: &config.access, insecure: config.insecure };
    let mut guard = Guard::load(guarding)?;
    let dial = guard.dial(config.tls.ca(), None, Protocol::Http1, "the CAs for the webhook")?;
    let to_participants =
        guard.dial(config.tls.ca(), Some(&config.tls), Protocol::H2, "the certificates for participants")?;
    let board = start_board(&config.metrics, &guard).await?;
    let (access, door) = (guard.access(), guard.at_the_door());
    guard.watch(hang_ups);
    let sources = || {
        let known = |observed: &Observed| Some((observed.name.parse().ok()?, observed.address.clone()));
        DialSources {
            addresses: config.participants.iter().filter_map(known).collect(),
            dial: to_participants.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: Duration::from_millis(config.keep_alive_ms),
        }
    };
    let kind = StoreKind::chosen(&config.store).or_failed(Failure::Configuration)?;
    // Whatever it loses it reads again.
    let place = Place { kind, data_dir: &config.data_dir, families: FAMILIES, checks_folder: false };
    serve_on(place, config.min_free_bytes, &shutdown, async |opened| {
        let metrics = opened.figures(&board, config.min_free_bytes);
        let environment = Environment {
            store: opened.store(),
            choreography: choreography.clone(),
            sources: Arc::new(sources()),
            ask: Arc::new(DialAsk(sources())),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            dial: dial.clone(),
            incoming: door.incoming(args.bind(&config.listen).await?)?,
            metrics,
            access: access.clone(),
            pulse: supervisor.pulse(),
        };
        let ended = run(config.clone(), environment, shutdown.clone().asked()).await;
        opened.ran(ended, kind_of)
    })
    .await
}

/// Says what the check of the choreography finds: of what is broken an observer can say where it hangs, and no more.
fn tell_findings(findings: &[Finding]) {
    for finding in findings {
        match finding.weight() {
            Weight::Fault => {
                tracing::warn!(
                    kind = finding.kind(),
                    "the choreography has a fault: {finding}; look at undoubt choreography check"
                );
            }
            Weight::Hint => tracing::debug!(kind = finding.kind(), "{finding}"),
        }
    }
}

fn kind_of(error: &RunError) -> Failure {
    match error {
        RunError::Config(_) => Failure::Configuration,
        RunError::Identity(error) => Failure::of_identity(error),
        RunError::Rows(_) => Failure::Storage,
        RunError::Server(_) | RunError::Reflection(_) | RunError::Cancelled(_) => Failure::Other,
    }
}
