//! Looking at transactions: status, wait, history, list, watch, cancel.

use crate::args::{Global, List, State};
use crate::exit::{Exit, Failure};
use crate::output::{Format, fields, json_line, line, or_dash, span, table};
use crate::submit;
use futures::StreamExt;
use std::pin::pin;
use undoubt_client::{
    Awaited, BranchView, Choreographed, Cursor, Filter, HistoryEvent, ListQuery, TransactionView, Watched,
};
use undoubt_gateway::json::{self, Event, Transaction, Transactions, WatchLine};
use undoubt_platform::{Clock, SystemClock};
use undoubt_vocabulary::{Outcome, Timestamp, TxId};

pub async fn status(tx: &TxId, global: &Global) -> Result<Exit, Failure> {
    let view = global.client()?.get(tx).await?;
    Exit::shown(global.output.show(&Transaction::from(&view), || {
        let branches =
            view.branches.iter().map(|branch| [branch.name().to_owned(), state(branch), or_dash(branch.outcome)]);
        let kind = if view.saga { "step" } else { "participant" };
        let table = table([kind, "state", "outcome"], branches.collect(), "no branches are known any more");
        if let Some(choreographed) = &view.choreographed {
            return format!("{}\n{table}", observed(&view, choreographed));
        }
        let results = json::Outcome::new(&view.tx, &view.known);
        let outcome = submit::describe(&results, None);
        let mut facts = vec![
            ("mode", if view.saga { "saga" } else { "two-phase commit" }.to_owned()),
            ("phase", phase(&view)),
            ("begun", began(&view)),
            ("took", or_dash(view.ended_at.map(|at| span(at.since(view.begun_at))))),
            ("attempt-number", view.attempt_number.to_string()),
        ];
        facts.extend(view.parent.iter().map(|parent| ("nested in", parent.to_string())));
        facts.extend(view.children.iter().map(|child| ("holds", child.to_string())));
        format!("{outcome}{}\n{}\n{table}", warning(&view), fields(&facts))
    }))
}

/// Returns how a choreographed saga stands, as an observer tells it.
fn observed(view: &TransactionView, Choreographed { standing, awaited, why, .. }: &Choreographed) -> String {
    let mut facts = vec![
        ("mode", "choreographed saga".to_owned()),
        ("begun", began(view)),
        ("took", or_dash(view.ended_at.map(|at| span(at.since(view.begun_at))))),
    ];
    let now = SystemClock.now();
    let waits = |awaited: &Awaited| format!("{} (since {})", awaited.detail, span(now.since(awaited.since)));
    facts.extend(awaited.iter().map(|awaited| ("waits for", waits(awaited))));
    facts.extend(why.iter().map(|why| ("why", why.clone())));
    format!("{} {standing}\n{}", view.tx, fields(&facts))
}

/// Returns the state of a branch, with what its participant said last, where a step cannot go on.
fn state(branch: &BranchView) -> String {
    let state = or_dash(branch.state);
    branch.detail.as_ref().map_or_else(|| state.clone(), |said| format!("{state}: {said}"))
}

fn phase(view: &TransactionView) -> String {
    let phase = or_dash(view.phase);
    if view.paused { format!("{phase} (paused)") } else { phase }
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
    let kind = or_dash(event.kind);
    if event.count > 1 { format!("{kind} ×{}", event.count) } else { kind }
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
    let List { open, unacknowledged, ended, damaged, stuck, .. } = arguments;
    let List { id_prefix, participant, since, state, older_than, limit, after, .. } = arguments;
    let filters = [
        (open, Filter::Open),
        (unacknowledged, Filter::Unacknowledged),
        (ended, Filter::Ended),
        (damaged, Filter::Damaged),
        (stuck, Filter::Stuck),
    ];
    let filter = filters.into_iter().find(|(wanted, _)| **wanted).map(|(_, filter)| filter).unwrap_or_default();
    let mut query = ListQuery::of(filter).older_than(older_than.unwrap_or_default()).limit(*limit);
    query.younger_than = since.unwrap_or_default();
    query.participant.clone_from(participant);
    if let Some(prefix) = id_prefix {
        query = query.id_prefix(bytes_of(prefix));
    }
    query.state = state.map(|state| match state {
        State::Pending => undoubt_client::OutcomeState::Pending,
        State::Committed => undoubt_client::OutcomeState::Committed,
        State::Aborted => undoubt_client::OutcomeState::Aborted,
    });
    query.after.clone_from(after);
    query
}

/// Returns the bytes with which ids begin that a person has written so: text, or `0x` and pairs of hexadecimal digits.
fn bytes_of(prefix: &str) -> Vec<u8> {
    let digits = prefix.strip_prefix("0x").filter(|digits| digits.len() % 2 == 0);
    let pair = |at: usize| u8::from_str_radix(digits?.get(at..at + 2)?, 16).ok();
    let hexadecimal = digits.and_then(|digits| (0..digits.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>());
    hexadecimal.unwrap_or_else(|| prefix.as_bytes().to_vec())
}

/// Returns what a choreographed saga waits for longest, or why it stands as it does.
fn waits(choreographed: &Choreographed, now: Timestamp) -> String {
    match choreographed.awaited.first() {
        Some(awaited) => format!("{} (since {})", awaited.detail, span(now.since(awaited.since))),
        None => choreographed.why.clone().unwrap_or_default(),
    }
}

fn row(view: &TransactionView, now: Timestamp) -> [String; 6] {
    let (state, why) = match &view.known.decided {
        None => ("pending", view.unusable_because.clone().unwrap_or_default()),
        Some(Outcome::Committed) => ("committed", String::new()),
        Some(Outcome::Aborted(reason)) => ("aborted", reason.label().to_owned()),
    };
    let (state, why) = match &view.choreographed {
        Some(choreographed) => (choreographed.standing.as_str(), waits(choreographed, now)),
        None => (state, why),
    };
    let branches = view.branches.iter().map(|branch| format!("{} {}", branch.name(), or_dash(branch.state)));
    [
        view.tx.to_string(),
        if view.heuristic_damage { format!("{state}, DAMAGED") } else { state.to_owned() },
        phase(view),
        span(now.since(view.begun_at)),
        branches.collect::<Vec<_>>().join(", "),
        why,
    ]
}

pub async fn watch(tx: Option<TxId>, after: Option<Cursor>, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let mut watched = pin!(client.watch_after(tx.clone(), after));
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
        Watched::Interrupted { cause } => format!("(interrupted, going on: {cause})"),
        Watched::Lost { events } => format!("(events lost, because they were not read in time: {events})"),
        Watched::Restarted => "(the coordinator was started anew; events of before may be missing)".to_owned(),
        Watched::Event { tx, event, .. } => {
            let (participant, what) = (or_dash(event.participant.as_ref()), times(event));
            format!("{}  {tx}  {what:<24} {participant:<16} {}", event.at, event.detail).trim_end().to_owned()
        }
        _ => "(something that this version does not know)".to_owned(),
    }
}

pub async fn cancel(tx: &TxId, global: &Global) -> Result<Exit, Failure> {
    let known = global.client()?.cancel(tx).await?;
    let outcome = json::Outcome::new(tx, &known);
    let exit = if known.stuck.is_some() { Exit::Stuck } else { Exit::Done };
    Ok(exit.told(global.output.show(&outcome, || submit::headline(&outcome))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_proto::v1;

    fn event(count: u32) -> HistoryEvent {
        let (kind, participant) = (v1::EventKind::Voted.into(), "bank-a".to_owned());
        v1::HistoryEvent { at_us: 2_500, kind, participant, count, ..Default::default() }.try_into().unwrap()
    }

    #[test]
    fn history_says_how_long_after_the_beginning_and_how_often() {
        let row = event_row(&event(3), Timestamp(1_000));
        assert_eq!(row[1..4], ["1.5ms", "voted ×3", "bank-a"]);
        assert_eq!(event_row(&event(1), Timestamp(1_000))[2], "voted");
    }

    #[test]
    fn a_watch_tells_of_lost_events() {
        assert!(watched_line(&Watched::Lost { events: 4 }).contains("lost"));
        let told =
            watched_line(&Watched::Event { tx: "t".parse().unwrap(), event: event(1), cursor: "07".parse().unwrap() });
        assert!(told.starts_with("1970-"), "{told}");
    }
}
