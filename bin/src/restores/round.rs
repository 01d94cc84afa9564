//! One folder that is put back: what leads there, and what comes of it.

use super::audit::{self, Facts};
use super::load::{Entry, Load, Phase, Reply};
use super::{Case, Copied, Of, RoundReport, operator};
use crate::cluster::{Cluster, Plan, Programs, Who};
use anyhow::Context;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use undoubt_client::{Client, ClientOptions, CoordinatorPhase, Filter};

/// The time that any part of a round may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

const PARTICIPANTS: usize = 3;
/// Transactions that commit before the copy is taken, from then until the server dies, and once it serves again.
const COMMITS: u64 = 60;
/// Transactions that the others commit while it is not accepted, or calls that it refuses.
const MEANWHILE: usize = 12;

/// Carries out one round.
pub(super) async fn round(programs: &Programs, case: Case, seed: u64) -> anyhow::Result<RoundReport> {
    let names: Vec<String> = (1..=PARTICIPANTS).map(|number| format!("bank-{number}")).collect();
    let who = match case.of {
        Of::Coordinator => Who::Coordinator,
        Of::Participant => Who::Participant(seed as usize % PARTICIPANTS),
    };
    let mut cluster = Cluster::start(programs, Plan::impatient(names.clone())).await?;
    let url = cluster.url(Who::Coordinator)?;
    let load = Load::start(&url, &names)?;
    let ledger = load.ledger.clone();
    let some = COMMITS + seed % COMMITS;
    let committed = |entry: &Entry| entry.told() == Some(Reply::Committed);
    ledger.wait_until("the load begins", |ledger| ledger.count(committed) as u64 >= some).await?;
    let copy = copy(&cluster, who, case).await?;
    ledger.wait_until("the load goes on", |ledger| ledger.count(committed) as u64 >= 2 * some).await?;

    let began = Instant::now();
    let (refused, twin) = (ledger.refused(), put_back(programs, &mut cluster, who, case, copy.as_ref(), &load).await?);
    let said = noticed(&cluster, who, twin.as_ref()).await.with_context(|| format!("{case} is not noticed"))?;
    let noticed_after_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let goes_on = |entry: &Entry| committed(entry) && entry.submitted == Phase::PutBack;
    ledger
        .wait_until("others go on, or hear no", |ledger| match (who, &twin) {
            (Who::Coordinator, None) => ledger.refused() >= refused + MEANWHILE,
            (Who::Coordinator, Some(_)) | (Who::Participant(_), _) => ledger.count(goes_on) >= MEANWHILE,
        })
        .await?;
    let refused_meanwhile = ledger.refused() - refused;

    ledger.enter(Phase::Accepted);
    match (who, case.copied) {
        (Who::Coordinator, Copied::Twin) => drop(twin),
        (Who::Coordinator, Copied::Emptied) => {
            cluster.kill(who).await?;
            cluster.set(who, "new=true");
            cluster.restart(who, None).await?;
        }
        (Who::Coordinator, Copied::Files | Copied::Snapshot | Copied::Backup) | (Who::Participant(_), _) => {
            operator::accept(&cluster, who).await?;
            cluster.wait_until_ready(who).await?;
        }
    }
    // A coordinator that is new does not know what its predecessor had begun, and would do it again.
    let is_new = who == Who::Coordinator && case.copied == Copied::Emptied;
    let afterwards = |entry: &Entry| committed(entry) && entry.submitted == Phase::Accepted;
    let mut decided = operator::end_what_is_held(&cluster, &ledger.entries()).await?;
    ledger.wait_until("work goes on", |ledger| ledger.count(afterwards) as u64 >= COMMITS).await?;
    let entries = load.finish(&url, |entry| !is_new || entry.submitted == Phase::Accepted).await?;
    decided.extend(operator::end_what_is_held(&cluster, &entries).await?);
    operator::settle(&cluster).await?;

    let client = operator::coordinator(&cluster)?;
    let values = audit::read(&client, &names, &entries).await.context("cannot read what is in effect")?;
    let facts = Facts {
        of: who,
        is_twin: case.copied == Copied::Twin,
        is_new,
        listed: operator::listed(&client, Filter::Damaged).await?.into_iter().map(|view| view.tx).collect(),
        decided,
        more: client.describe().await?.losses.iter().any(|loss| loss.more),
        known: audit::ask(&client, &entries, who).await?,
        values,
        entries,
    };
    let found = audit::findings(&facts)?;
    Ok(RoundReport { case: case.to_string(), noticed_after_ms, said, refused_meanwhile, ..found })
}

/// Copies a folder while its server runs, in the way of the case.
async fn copy(cluster: &Cluster, who: Who, case: Case) -> anyhow::Result<Option<PathBuf>> {
    match case.copied {
        Copied::Files | Copied::Snapshot | Copied::Twin => cluster.copy(who, "copy").map(Some),
        Copied::Emptied => Ok(None),
        Copied::Backup => {
            let to = cluster.folder().join("copy");
            let folder = to.display().to_string();
            match who {
                Who::Coordinator => operator::coordinator(cluster)?.backup(&folder).await?,
                Who::Participant(place) => operator::participant(cluster, place)?.backup(&folder).await?,
            }
            Ok(Some(to))
        }
    }
}

/// Kills the server and starts it on what is in the place of its folder. Returns the process of a copy that was started beside it.
async fn put_back(
    programs: &Programs,
    cluster: &mut Cluster,
    who: Who,
    case: Case,
    copy: Option<&PathBuf>,
    load: &Load,
) -> anyhow::Result<Option<Twin>> {
    if let (Who::Coordinator, Copied::Twin, Some(copy)) = (who, case.copied, copy) {
        load.ledger.enter(Phase::PutBack);
        return Twin::start(programs, cluster, copy).await.map(Some);
    }
    if case.copied == Copied::Twin {
        // The original has as many starts as its copy is about to have.
        cluster.kill(who).await?;
        cluster.restart(who, None).await?;
        let before = load.ledger.count(|_| true);
        let goes_on = |entry: &Entry| entry.told() == Some(Reply::Committed) && entry.number as usize >= before;
        load.ledger.wait_until("the original goes on", |ledger| ledger.count(goes_on) as u64 >= COMMITS).await?;
    }
    cluster.kill(who).await?;
    load.ledger.enter(Phase::PutBack);
    match copy {
        Some(copy) => cluster.put_back(who, copy)?,
        None => cluster.empty(who)?,
    }
    if matches!(case.copied, Copied::Snapshot | Copied::Twin) {
        cluster.set(who, "folder_sign=false");
    }
    cluster.start_again(who).await?;
    Ok(None)
}

/// Returns what the server that was put back says, once it says so.
async fn noticed(cluster: &Cluster, who: Who, twin: Option<&Twin>) -> anyhow::Result<String> {
    let said = async {
        loop {
            let said = match (who, twin) {
                (Who::Coordinator, Some(twin)) => held(&twin.url).await,
                (Who::Coordinator, None) => held(&cluster.url(who)?).await,
                (Who::Participant(place), _) => {
                    operator::participant(cluster, place)?.describe().await.ok().and_then(|state| state.put_back)
                }
            };
            match said {
                Some(said) => return anyhow::Ok(said),
                None => sleep(POLL).await,
            }
        }
    };
    timeout(PATIENCE, said).await.context("not in time")?
}

async fn held(url: &str) -> Option<String> {
    let view = Client::connect_lazy(url, ClientOptions::default()).ok()?.describe().await.ok()?;
    (view.phase == Some(CoordinatorPhase::Held)).then(|| view.held_because.join("; "))
}

/// A copy of the coordinator beside the original.
struct Twin {
    url: String,
    /// Killed when it is dropped.
    _process: Child,
}

impl Twin {
    async fn start(programs: &Programs, cluster: &Cluster, copy: &PathBuf) -> anyhow::Result<Twin> {
        let file = cluster.folder().join("address-of-twin");
        let mut command = Command::new(&programs.coordinator);
        command.args(["--name", "coordinator", "--listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(copy).arg("--address-file").arg(&file);
        for place in 0..cluster.participant_count() {
            let url = cluster.url(Who::Participant(place))?;
            command.args(["--participant".to_owned(), format!("bank-{}={url}", place + 1)]);
        }
        let log = std::fs::File::create(cluster.folder().join("log-of-twin"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let process = command.spawn().context("cannot start the copy")?;
        let listens = async {
            loop {
                match std::fs::read_to_string(&file) {
                    Ok(address) => return address,
                    Err(_) => sleep(POLL).await,
                }
            }
        };
        let address = timeout(PATIENCE, listens).await.context("the copy does not listen")?;
        Ok(Twin { url: format!("http://{address}"), _process: process })
    }
}
