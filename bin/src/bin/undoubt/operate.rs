//! The commands of operators: looking at coordinator and participants, and deciding where no machine may.

use crate::address_book::remember;
use crate::args::{
    self, AcceptLoss, AcceptParticipant, Decision, Forget, Global, PinCoordinator, RecoveryAction, ReleaseMarks,
    Resolve, ResolveStep,
};
use crate::exit::{Exit, Failure};
use crate::output::{fields, or_dash, span, table};
use crate::submit;
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use undoubt_client::work::text;
use undoubt_client::{
    BranchResolution, CoordinatorView, HeldBranch, HeldQuery, HeldStep, LossAccepted, Mark, ParticipantView,
    StepResolution,
};
use undoubt_gateway::json::{self, Coordinator, HeldBranches, ParticipantSelf};
use undoubt_platform::{Clock, SystemClock};
use undoubt_vocabulary::Timestamp;
use undoubt_vocabulary::printable_text::clean;

pub async fn describe(global: &Global) -> Result<Exit, Failure> {
    let view = global.client()?.describe().await?;
    remember(&global.coordinator, &view);
    Exit::shown(global.output.show(&Coordinator::from(&view), || {
        fields(&[
            ("coordinator", view.name.clone()),
            ("id", view.id.map_or_else(|| "not told to this caller".to_owned(), |id| id.to_string())),
            ("epoch", view.epoch.0.to_string()),
            ("phase", or_dash(view.phase)),
            ("open", format!("{} of at most {}", view.open, view.max_open)),
            ("unacknowledged", view.unacknowledged.to_string()),
            ("damaged", view.damaged.to_string()),
            ("participants", connected(&view)),
            ("takes work", takes_work(view.refusing_work_because.as_deref())),
            ("held because", or_dash(unless_none(&view.held_because))),
            ("losses accepted", view.losses.len().to_string()),
        ])
    }))
}

fn unless_none(reasons: &[String]) -> Option<String> {
    (!reasons.is_empty()).then(|| reasons.join("; "))
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
    remember(&global.coordinator, &view);
    let document = json!({ "participants": Coordinator::from(&view).participants });
    Exit::shown(global.output.show(&document, || {
        let now = SystemClock.now();
        let rows = view.participants.iter().map(|participant| participant_row(participant, now)).collect();
        let header = ["participant", "address", "connection", "since", "resource", "queued", "open", "last error"];
        table(header, rows, "the coordinator has no participants configured")
    }))
}

fn participant_row(view: &ParticipantView, now: Timestamp) -> [String; 8] {
    let connection =
        if view.connected { "connected".to_owned() } else { format!("broken, {} attempts", view.connection_attempts) };
    let connection = if view.leaving { format!("{connection}, leaving") } else { connection };
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

pub async fn participant(name: &str, global: &Global) -> Result<Exit, Failure> {
    let state = global.participant_called(name).await?.describe().await?;
    Exit::shown(global.output.show(&ParticipantSelf::from(&state), || {
        let mut facts = vec![
            ("participant", state.name.to_string()),
            ("resource", state.resource.clone()),
            ("open branches", state.branches_open.to_string()),
            ("in doubt", state.branches_in_doubt.to_string()),
            ("takes work", takes_work(state.refusing_work_because.as_deref())),
            ("put back", or_dash(state.put_back.as_ref())),
            ("losses accepted", state.losses.len().to_string()),
        ];
        facts.extend(state.warnings.iter().map(|warning| ("warning", warning.clone())));
        facts.extend(state.numbers.iter().map(|(name, value)| (name.as_str(), value.to_string())));
        let facts = fields(&facts);
        let rows = state.coordinators.iter().map(|coordinator| {
            let connected = if coordinator.connected { "connected" } else { "not connected" };
            let epoch = coordinator.epoch.0.to_string();
            let low_water_mark = match coordinator.still_open {
                0 => coordinator.low_water_mark.to_string(),
                open => format!("{}, {open} below it still open", coordinator.low_water_mark),
            };
            let key = match (coordinator.key, coordinator.vouched) {
                (None, _) => "none".to_owned(),
                (Some(key), true) => format!("{key}, vouched for"),
                (Some(key), false) => format!("{key}, of first contact"),
            };
            [coordinator.id.to_string(), epoch, low_water_mark, connected.to_owned(), key]
        });
        let table = table(
            ["coordinator", "epoch", "low-water-mark", "", "key"],
            rows.collect(),
            "no coordinator has ever connected",
        );
        format!("{facts}\n{table}")
    }))
}

pub async fn branches(name: &str, query: &HeldQuery, global: &Global) -> Result<Exit, Failure> {
    let held = global.participant_called(name).await?.held(query).await?;
    Exit::shown(global.output.show(&HeldBranches::from(&held), || {
        let now = SystemClock.now();
        let rows = held.branches.iter().map(|branch| branch_row(branch, now)).collect();
        let mut shown =
            vec![table(["transaction", "state", "age", "coordinator", "heuristic"], rows, "no such branches")];
        if !held.steps.is_empty() {
            let rows = held.steps.iter().map(|step| step_row(step, now)).collect();
            shown.push(table(["saga", "step", "state", "age", "coordinator"], rows, ""));
        }
        if !held.marks.is_empty() {
            let rows = held.marks.iter().map(|mark| mark_row(mark, now)).collect();
            shown.push(table(["semantic lock", "saga", "step", "age", "coordinator"], rows, ""));
        }
        if let Some(cursor) = &held.cursor {
            shown.push(format!("There are more: go on with --after {cursor}"));
        }
        shown.join("\n")
    }))
}

fn step_row(step: &HeldStep, now: Timestamp) -> [String; 5] {
    let (age, coordinator) = (span(now.since(step.begun_at)), step.coordinator.to_string());
    [step.tx.to_string(), step.step.to_string(), step.state.clone(), age, coordinator]
}

fn mark_row(mark: &Mark, now: Timestamp) -> [String; 5] {
    let age = or_dash(mark.begun_at.map(|begun_at| span(now.since(begun_at))));
    let key = text::to_string(&mark.key);
    [key, mark.tx.to_string(), mark.step.to_string(), age, mark.coordinator.to_string()]
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
    let ResolveStep { tx, step, resolution, who, reason, yes } = arguments;
    let late = "What was sent before may still take effect at its participant, and nobody looks after it.";
    let (resolution, word, price) = match resolution {
        args::Resolution::Retry => (StepResolution::Retry, "retry", String::new()),
        args::Resolution::Skip => {
            let damage = "Nobody vouches for the step, and the transaction is reported as damaged for good.";
            (StepResolution::Skip, "skip", format!("{damage}\n{late}"))
        }
        args::Resolution::Done => (StepResolution::Done, "done", late.to_owned()),
    };
    if !price.is_empty() {
        say_the_price(*yes, word, &format!("take step {step} of {tx} for {word}"), &price)?;
    }
    let known = global.client()?.resolve_step(tx, step, resolution, who, reason).await?;
    let outcome = json::Outcome::new(tx, &known);
    Ok(Exit::Done.told(global.output.show(&outcome, || submit::headline(&outcome))))
}

pub async fn resolve(arguments: &Resolve, global: &Global) -> Result<Exit, Failure> {
    let Resolve { tx, decision, participant, who, reason, yes } = arguments;
    let (resolution, word) = match decision {
        Decision::Commit => (BranchResolution::Commit, "commit"),
        Decision::Abort => (BranchResolution::Abort, "abort"),
    };
    if !yes {
        confirm(word, &format!("{word} the branch of {tx} at {participant} without its coordinator"))?;
    }
    let outcome = global.participant_called(participant).await?.resolve(tx, resolution, who, reason).await?;
    let document = json!({ "tx": tx.to_string(), "outcome": outcome.as_str() });
    Ok(Exit::Done.told(global.output.show(&document, || {
        format!("{outcome}  {tx}\nCompare it with the decision once that is known: `undoubt branches {participant}`.")
    })))
}

/// Has the operator write the word that says what will happen.
fn confirm(word: &str, what: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let why =
            format!("to {what} needs to be confirmed, and standard input is no terminal; add --yes if it is meant");
        return Err(Failure::new(Exit::Usage, why));
    }
    ask(word, what, "If the coordinator decides otherwise, the transaction ends half done, for good.")
}

/// Tells people what it costs, and has them write the word. A program has said who and why, and that is its word.
pub fn say_the_price(yes: bool, word: &str, what: &str, price: &str) -> Result<(), Failure> {
    if yes || !io::stdin().is_terminal() { Ok(()) } else { ask(word, what, price) }
}

fn ask(word: &str, what: &str, price: &str) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new(Exit::Unexpected, format!("cannot ask for confirmation: {error}"));
    let asked = format!("About to {what}.\n{price}\nWrite {word} to go ahead: ");
    let mut terminal = io::stderr();
    terminal.write_all(clean(&asked).as_bytes()).and_then(|()| terminal.flush()).map_err(cannot)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(cannot)?;
    if answer.trim() == word { Ok(()) } else { Err(Failure::new(Exit::Usage, "not confirmed; nothing was done")) }
}

pub async fn forget(arguments: &Forget, global: &Global) -> Result<Exit, Failure> {
    let Forget { tx, participant, who, reason, yes } = arguments;
    match participant {
        Some(url) => global.participant_called(url).await?.forget(tx).await?,
        None => {
            let price = "Nothing is done or undone for it any more. What is not known to be done or undone is recorded as unknown, and the\n\
                         transaction as damaged, for good. What was sent before may still take effect.";
            say_the_price(*yes, "forget", &format!("give up on {tx}"), price)?;
            let (who, reason) = (who.as_deref().unwrap_or_default(), reason.as_deref().unwrap_or_default());
            global.client()?.forget(tx, who, reason).await?;
        }
    }
    done(global, &format!("forgotten  {tx}"))
}

pub async fn release_marks(arguments: &ReleaseMarks, global: &Global) -> Result<Exit, Failure> {
    let ReleaseMarks { tx, participant, coordinator_id, who, reason, yes } = arguments;
    let price = "The saga is isolated no more: others change what it has marked, and undoing it later may be refused, or undo what\n\
                 others did.";
    say_the_price(*yes, "release", &format!("release the semantic locks of {tx} at {participant}"), price)?;
    global.participant_called(participant).await?.release_marks(*coordinator_id, tx, who, reason).await?;
    done(global, &format!("released  {tx}"))
}

pub async fn accept_participant(arguments: &AcceptParticipant, global: &Global) -> Result<Exit, Failure> {
    let AcceptParticipant { name, who, reason, yes } = arguments;
    let view = global.client()?.describe().await?;
    let Some(participant) = view.participants.iter().find(|participant| participant.name == *name) else {
        let why = format!("the coordinator has no participant {name}; `undoubt participants` shows those it has");
        return Err(Failure::new(Exit::Usage, why));
    };
    let price = "What it had acknowledged and has lost is damage. If a newer folder of it exists, use that instead.";
    say_the_price(*yes, "accept", &format!("accept what participant {name} has lost"), price)?;
    let put_back = global.participant_called(&participant.address).await?.accept_loss(who, reason).await?;
    let document = json!({ "participant": name.to_string(), "put_back": put_back });
    Ok(Exit::Done.told(global.output.show(&document, || {
        format!(
            "accepted  {name}: {put_back}\nThe coordinator lists what it still has of it: `undoubt list --damaged`."
        )
    })))
}

pub async fn pin_coordinator(arguments: &PinCoordinator, global: &Global) -> Result<Exit, Failure> {
    let PinCoordinator { participant, coordinator_id: coordinator, public_key: key, who, reason, yes } = arguments;
    let price = "Whoever has the secret part of this key may end its sessions and decide its transactions there.";
    say_the_price(*yes, "pin", &format!("have {participant} take {key} for coordinator {coordinator}"), price)?;
    global.participant_called(participant).await?.pin_coordinator(*coordinator, *key, who, reason).await?;
    let document = json!({ "coordinator": coordinator.to_string(), "key": key.to_string() });
    Ok(Exit::Done.told(global.output.show(&document, || format!("pinned  {coordinator} by {key} at {participant}"))))
}

pub async fn accept_loss(arguments: &AcceptLoss, global: &Global) -> Result<Exit, Failure> {
    let AcceptLoss { without, who, reason, yes } = arguments;
    let price = "What neither its log nor a participant knows any more counts as never submitted, even if clients were told\n\
                 otherwise. If a newer folder of it exists, use that instead.";
    say_the_price(*yes, "accept", "accept what the coordinator's log has lost", price)?;
    let LossAccepted { epoch, committed, held, .. } = global.client()?.accept_loss(who, reason, without).await?;
    let document = json!({ "epoch": epoch.0, "committed": committed, "held": held });
    Ok(Exit::Done.told(global.output.show(&document, || {
        format!(
            "accepted: the coordinator serves, in epoch {}\n{committed} transactions are known to have committed, {held} are held \
             until you end each: `undoubt list --open`, `undoubt forget`",
            epoch.0
        )
    })))
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

pub fn done(global: &Global, told: &str) -> Result<Exit, Failure> {
    Ok(Exit::Done.told(global.output.show(&json!({ "done": true }), || told.to_owned())))
}
