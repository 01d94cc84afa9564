//! Looking at transactions: status, wait, history, list, watch, cancel.

use crate::args::{Global, List, State};
use crate::exit::{Exit, Failure};
use crate::json::{Event, Standing, Transaction, Transactions, WatchLine};
use crate::output::{Format, fields, json_line, line, or_dash, span, table};
use crate::submit;
use futures::StreamExt;
use std::pin::pin;
use undoubt_client::{BranchView, Filter, HistoryEvent, ListQuery, TransactionView, Watched};
use undoubt_platform::{Clock, SystemClock};
use undoubt_proto::v1;
use undoubt_vocabulary::{Outcome, ParticipantName, Timestamp, TxId};

pub async fn status(tx: &TxId, global: &Global) -> Result<Exit, Failure> {
    let view = global.client()?.get(tx).await?;
    Exit::shown(global.output.show(&Transaction::from(&view), || {
        let branches =
            view.branches.iter().map(|branch| [name(branch).to_string(), state(branch), or_dash(branch.outcome)]);
        let kind = if view.saga { "step" } else { "participant" };
        let table = table([kind, "state", "outcome"], branches.collect(), "no branches are known any more");
        let results = Standing::new(&view.tx, &view.known);
        let standing = submit::describe(&results, None);
        let facts = fields(&[
            ("mode", if view.saga { "saga" } else { "two-phase commit" }.to_owned()),
            ("phase", view.phase.clone()),
            ("begun", began(&view)),
            ("took", or_dash(view.ended_at.map(|at| span(at.since(view.begun_at))))),
            ("attempt-number", view.attempt_number.to_string()),
        ]);
        format!("{standing}{}\n{facts}\n{table}", warning(&view))
    }))
}

/// Returns the name of a branch; of a saga, of its step.
fn name(branch: &BranchView) -> &ParticipantName {
    branch.step.as_ref().unwrap_or(&branch.participant)
}

/// Returns the state of a branch, with what its participant said last, where a step cannot go on.
fn state(branch: &BranchView) -> String {
    branch.detail.as_ref().map_or_else(|| branch.state.clone(), |said| format!("{}: {said}", branch.state))
}

fn began(view: &TransactionView) -> String {
    format!("{} ({} ago)", view.begun_at, span(SystemClock.now().since(view.begun_at)))
}

fn warning(view: &TransactionView) -> String {
    if let Some(why) = &view.unusable_because {
        return format!(
            "\nUNUSABLE: its record cannot be carried out ({why}), so it is held. See to its branches, then `undoubt forget`."
        );
    }
    let damage = if view.heuristic_damage {
        "\nDAMAGED: some branch ended otherwise than decided, or nobody knows how. See `undoubt history`, put the data \
         right, then `undoubt forget`."
    } else {
        ""
    };
    damage.to_owned()
}

pub async fn wait(tx: &TxId, global: &Global) -> Result<Exit, Failure> {
    let answer = global.client()?.wait(tx).await?;
    Ok(submit::show(tx, &answer, global))
}

pub async fn history(tx: &TxId, global: &Global) -> Result<Exit, Failure> {
    let view = global.client()?.get(tx).await?;
    let history: Vec<Event> = view.history.iter().map(Into::into).collect();
    let document = serde_json::json!({ "tx": tx.to_string(), "history": history });
    Exit::shown(global.output.show(&document, || {
        let rows = view.history.iter().map(|event| event_row(event, view.begun_at)).collect();
        let table = table(["time", "after", "event", "branch", "why"], rows, "nothing is recorded");
        if view.history.len() >= FULL_HISTORY_EVENTS { format!("{table}\n{CUT}") } else { table }
    }))
}

/// A coordinator keeps no more of one transaction.
const FULL_HISTORY_EVENTS: usize = 256;

const CUT: &str = "A history keeps its beginning and its end: events may be missing in the middle.";

fn event_row(event: &HistoryEvent, begun_at: Timestamp) -> [String; 5] {
    let HistoryEvent { at, participant, detail, .. } = event;
    let after = format!("{:.1}ms", at.since(begun_at).as_secs_f64() * 1e3);
    [at.to_string(), after, times(event), or_dash(participant.as_ref()), detail.clone()]
}

fn times(event: &HistoryEvent) -> String {
    if event.count > 1 { format!("{} ×{}", event.event, event.count) } else { event.event.clone() }
}

pub async fn list(arguments: &List, global: &Global) -> Result<Exit, Failure> {
    let listing = global.client()?.list(&query(arguments)).await?;
    Exit::shown(global.output.show(&Transactions::from(&listing), || {
        let now = SystemClock.now();
        let rows = listing.transactions.iter().map(|view| row(view, now)).collect();
        let table = table(["transaction", "state", "phase", "age", "branches", "why"], rows, "no such transactions");
        match &listing.cursor {
            Some(cursor) => format!("{table}\nThere may be more: go on with --after {cursor}"),
            None => table,
        }
    }))
}

fn query(arguments: &List) -> ListQuery {
    let List { open, unacknowledged, ended, damaged, state, older_than, limit, after } = arguments;
    let filters = [
        (open, Filter::Open),
        (unacknowledged, Filter::Unacknowledged),
        (ended, Filter::Ended),
        (damaged, Filter::Damaged),
    ];
    ListQuery {
        filter: filters.into_iter().find(|(wanted, _)| **wanted).map(|(_, filter)| filter).unwrap_or_default(),
        state: match state {
            None => v1::State::Unspecified,
            Some(State::Pending) => v1::State::Pending,
            Some(State::Committed) => v1::State::Committed,
            Some(State::Aborted) => v1::State::Aborted,
        },
        older_than: older_than.unwrap_or_default(),
        limit: *limit,
        after: after.clone(),
    }
}

fn row(view: &TransactionView, now: Timestamp) -> [String; 6] {
    let (state, why) = match &view.known.decided {
        None => ("pending", view.unusable_because.clone().unwrap_or_default()),
        Some(Outcome::Committed) => ("committed", String::new()),
        Some(Outcome::Aborted(reason)) => ("aborted", reason.label().to_owned()),
    };
    let branches = view.branches.iter().map(|branch| format!("{} {}", name(branch), branch.state));
    [
        view.tx.to_string(),
        if view.heuristic_damage { format!("{state}, DAMAGED") } else { state.to_owned() },
        view.phase.clone(),
        span(now.since(view.begun_at)),
        branches.collect::<Vec<_>>().join(", "),
        why,
    ]
}

pub async fn watch(tx: Option<TxId>, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let mut watched = pin!(client.watch(tx.clone()));
    while let Some(watched) = watched.next().await {
        let watched = watched?;
        let printed = match global.output {
            Format::Json => json_line(&WatchLine::from(&watched)),
            Format::Table => line(watched_line(&watched)),
        };
        if printed.is_err() {
            return Exit::shown(printed);
        }
    }
    match (tx, global.output) {
        // The stream of one transaction ends when the transaction does.
        (Some(tx), Format::Table) => status(&tx, global).await,
        (Some(_), Format::Json) | (None, _) => Ok(Exit::Done),
    }
}

fn watched_line(watched: &Watched) -> String {
    match watched {
        Watched::Interrupted { cause } => format!("(interrupted, events may be missing: {cause})"),
        Watched::Lost { events } => format!("(events lost, because they were read too slowly: {events})"),
        Watched::Event { tx, event } => {
            let (participant, what) = (or_dash(event.participant.as_ref()), times(event));
            format!("{}  {tx}  {what:<24} {participant:<16} {}", event.at, event.detail).trim_end().to_owned()
        }
    }
}

pub async fn cancel(tx: &TxId, global: &Global) -> Result<Exit, Failure> {
    let known = global.client()?.cancel(tx).await?;
    let standing = Standing::new(tx, &known);
    let exit = if known.stuck.is_some() { Exit::Stuck } else { Exit::Done };
    Ok(exit.told(global.output.show(&standing, || submit::headline(&standing))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(count: u32) -> HistoryEvent {
        let participant = Some("bank-a".parse().unwrap());
        HistoryEvent {
            at: Timestamp(2_500),
            event: "prepare-sent".to_owned(),
            participant,
            detail: String::new(),
            count,
        }
    }

    #[test]
    fn history_says_how_long_after_the_beginning_and_how_often() {
        let row = event_row(&event(3), Timestamp(1_000));
        assert_eq!(row[1..4], ["1.5ms", "prepare-sent ×3", "bank-a"]);
        assert_eq!(event_row(&event(1), Timestamp(1_000))[2], "prepare-sent");
    }

    #[test]
    fn a_watch_tells_of_lost_events() {
        assert!(watched_line(&Watched::Lost { events: 4 }).contains("lost"));
        let told = watched_line(&Watched::Event { tx: "t".parse().unwrap(), event: event(1) });
        assert!(told.starts_with("1970-"), "{told}");
    }
}
