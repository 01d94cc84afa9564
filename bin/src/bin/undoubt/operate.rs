//! What operators do: looking at coordinator and participants, and deciding where no machine may.

use crate::args::{self, Decision, Forget, Global, RecoveryAction, Resolve, ResolveStep};
use crate::exit::{Exit, Failure};
use crate::json::{Coordinator, HeldBranches, ParticipantSelf, Standing};
use crate::output::{Format, fields, line, or_dash, span, table};
use crate::submit;
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use undoubt_client::{CoordinatorView, HeldBranch, ParticipantView, Resolution, StepResolution};
use undoubt_platform::{Clock, SystemClock};
use undoubt_vocabulary::Timestamp;

pub async fn describe(global: &Global) -> Result<Exit, Failure> {
    let view = global.client()?.describe().await?;
    global.output.show(&Coordinator::from(&view), || {
        fields(&[
            ("coordinator", view.name.clone()),
            ("id", view.id.to_string()),
            ("epoch", view.epoch.0.to_string()),
            ("phase", view.phase.clone()),
            ("open", format!("{} of at most {}", view.open, view.max_open)),
            ("unacknowledged", view.unacknowledged.to_string()),
            ("damaged", view.damaged.to_string()),
            ("participants", connected(&view)),
            ("takes work", takes_work(view.refusing_work_because.as_deref())),
        ])
    })?;
    Ok(Exit::Done)
}

fn connected(view: &CoordinatorView) -> String {
    let connected = view.participants.iter().filter(|participant| participant.connected).count();
    format!("{connected} of {} connected", view.participants.len())
}

fn takes_work(refusing_because: Option<&str>) -> String {
    refusing_because.map_or_else(|| "yes".to_owned(), |because| format!("no: {because}"))
}

pub async fn participants(global: &Global) -> Result<Exit, Failure> {
    let view = global.client()?.describe().await?;
    let document = json!({ "participants": Coordinator::from(&view).participants });
    global.output.show(&document, || {
        let now = SystemClock.now();
        let rows = view.participants.iter().map(|participant| participant_row(participant, now)).collect();
        let header = ["participant", "address", "connection", "since", "resource", "queued", "open", "last error"];
        table(header, rows, "the coordinator has no participants configured")
    })?;
    Ok(Exit::Done)
}

fn participant_row(view: &ParticipantView, now: Timestamp) -> [String; 8] {
    let connection =
        if view.connected { "connected".to_owned() } else { format!("broken, {} attempts", view.connection_attempts) };
    [
        view.name.to_string(),
        view.address.clone(),
        connection,
        span(now.since(view.since)),
        view.resource.clone(),
        view.queued.to_string(),
        view.open.to_string(),
        or_dash(view.last_error.as_ref()),
    ]
}

pub async fn participant(url: &str, global: &Global) -> Result<Exit, Failure> {
    let state = global.participant(url)?.describe().await?;
    global.output.show(&ParticipantSelf::from(&state), || {
        let facts = fields(&[
            ("participant", state.name.to_string()),
            ("resource", state.resource.clone()),
            ("open branches", state.branches_open.to_string()),
            ("in doubt", state.branches_in_doubt.to_string()),
            ("takes work", takes_work(state.refusing_work_because.as_deref())),
        ]);
        let rows = state.coordinators.iter().map(|coordinator| {
            let connected = if coordinator.connected { "connected" } else { "not connected" };
            let (epoch, fence) = (coordinator.epoch.0.to_string(), coordinator.fence.to_string());
            [coordinator.id.to_string(), epoch, fence, connected.to_owned()]
        });
        let table = table(["coordinator", "epoch", "fence", ""], rows.collect(), "no coordinator has ever connected");
        format!("{facts}\n{table}")
    })?;
    Ok(Exit::Done)
}

pub async fn branches(url: &str, in_doubt: bool, limit: u32, global: &Global) -> Result<Exit, Failure> {
    let held = global.participant(url)?.branches(in_doubt, limit).await?;
    global.output.show(&HeldBranches::from(&held), || {
        let now = SystemClock.now();
        let rows = held.branches.iter().map(|branch| branch_row(branch, now)).collect();
        let table = table(["transaction", "state", "age", "coordinator", "heuristic"], rows, "no such branches");
        if held.more { format!("{table}\nThere are more: raise --limit.") } else { table }
    })?;
    Ok(Exit::Done)
}

fn branch_row(branch: &HeldBranch, now: Timestamp) -> [String; 5] {
    let heuristic = branch.heuristic.as_ref().map(|heuristic| {
        let compared = match heuristic.is_damage() {
            None => "decision unknown",
            Some(true) => "DAMAGED: decided otherwise",
            Some(false) => "as decided",
        };
        format!("{} by {} ({}), {compared}", heuristic.outcome, heuristic.who, heuristic.reason)
    });
    let (age, coordinator) = (span(branch.age(now)), branch.coordinator.to_string());
    [branch.tx.to_string(), branch.state.clone(), age, coordinator, or_dash(heuristic)]
}

pub async fn resolve_step(arguments: &ResolveStep, global: &Global) -> Result<Exit, Failure> {
    let ResolveStep { tx, step, resolution, who, reason } = arguments;
    let resolution = match resolution {
        args::Resolution::Retry => StepResolution::Retry,
        args::Resolution::Skip => StepResolution::Skip,
        args::Resolution::Done => StepResolution::Done,
    };
    let known = global.client()?.resolve_step(tx, step, resolution, who, reason).await?;
    let standing = Standing::new(tx, &known);
    global.output.show(&standing, || submit::headline(&standing))?;
    Ok(Exit::Done)
}

pub async fn resolve(arguments: &Resolve, global: &Global) -> Result<Exit, Failure> {
    let Resolve { tx, decision, participant, who, reason, yes } = arguments;
    let (resolution, word) = match decision {
        Decision::Commit => (Resolution::Commit, "commit"),
        Decision::Abort => (Resolution::Abort, "abort"),
    };
    if !yes {
        confirm(word, &format!("{word} the branch of {tx} at {participant} without its coordinator"))?;
    }
    let outcome = global.participant(participant)?.resolve(tx, resolution, who, reason).await?;
    global.output.show(&json!({ "tx": tx.to_string(), "outcome": outcome.as_str() }), || {
        format!("{outcome}  {tx}\nCompare it with the decision once that is known: `undoubt branches {participant}`.")
    })?;
    Ok(Exit::Done)
}

/// Has the operator write the word that says what will happen.
fn confirm(word: &str, what: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let why =
            format!("to {what} needs to be confirmed, and standard input is no terminal; add --yes if it is meant");
        return Err(Failure::new(Exit::Usage, why));
    }
    let cannot = |error: io::Error| Failure::new(Exit::Unexpected, format!("cannot ask for confirmation: {error}"));
    eprint!(
        "About to {what}.\nIf the coordinator decides otherwise, the transaction ends half done, for good.\n\
         Write {word} to go ahead: "
    );
    io::stderr().flush().map_err(cannot)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(cannot)?;
    if answer.trim() == word { Ok(()) } else { Err(Failure::new(Exit::Usage, "not confirmed; nothing was done")) }
}

pub async fn forget(arguments: &Forget, global: &Global) -> Result<Exit, Failure> {
    let Forget { tx, participant, who, reason } = arguments;
    match participant {
        Some(url) => global.participant(url)?.forget(tx).await?,
        None => {
            let (who, reason) = (who.as_deref().unwrap_or_default(), reason.as_deref().unwrap_or_default());
            global.client()?.forget(tx, who, reason).await?;
        }
    }
    done(global, &format!("forgotten  {tx}"))
}

pub async fn recovery(action: RecoveryAction, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    match action {
        RecoveryAction::Pause => {
            client.pause_recovery().await?;
            done(global, "recovery is paused; `undoubt recovery resume` lets it go on")
        }
        RecoveryAction::Resume => {
            client.resume_recovery().await?;
            done(global, "recovery goes on")
        }
    }
}

pub async fn drain(global: &Global) -> Result<Exit, Failure> {
    global.client()?.drain().await?;
    done(global, "draining: the coordinator ends once nothing is in flight; `undoubt list --open` shows what is left")
}

fn done(global: &Global, told: &str) -> Result<Exit, Failure> {
    match global.output {
        Format::Table => line(told)?,
        Format::Json => line(json!({ "done": true }))?,
    }
    Ok(Exit::Done)
}
