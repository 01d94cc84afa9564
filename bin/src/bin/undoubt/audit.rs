//! `undoubt audit`: who did what to which transaction, as a server has recorded it.

use crate::args::{Audit, Global};
use crate::exit::{Exit, Failure};
use crate::output::table;
use undoubt_client::{AuditEntry, AuditQuery, TxId};
use undoubt_gateway::json;

/// Transactions of one entry that a table shows.
const MAX_TXS_SHOWN: usize = 3;

pub async fn audit(arguments: &Audit, global: &Global) -> Result<Exit, Failure> {
    let Audit { tx, who, since, until, refused, participant, limit, after } = arguments;
    let mut query = AuditQuery::new().limit(*limit);
    (query.tx, query.who) = (tx.clone(), who.clone());
    (query.since, query.until) = (*since, *until);
    (query.refused, query.after) = (*refused, after.clone());
    let record = match participant {
        Some(participant) => global.participant_called(participant).await?.audit(&query).await?,
        None => global.client()?.audit(&query).await?,
    };
    Exit::shown(global.output.show(&json::Audit::from(&record), || {
        let rows = record.entries.iter().map(row).collect();
        let table = table(["when", "who", "from", "what", "about", "result", "note"], rows, "no such entries");
        match &record.cursor {
            Some(cursor) => format!("{table}\nThere may be more: go on with --after {cursor}"),
            None => table,
        }
    }))
}

fn row(entry: &AuditEntry) -> [String; 7] {
    let who = match (&entry.who, &entry.through) {
        (Some(who), Some(through)) => format!("{who}, through {through}"),
        (Some(who), None) => who.clone(),
        (None, _) => "-".to_owned(),
    };
    let (action, nothing) = (entry.action.as_str(), "-");
    let action = if action.is_empty() { nothing } else { action };
    let result = match (&entry.refused, entry.count) {
        (None, _) => "done".to_owned(),
        (Some(why), 0 | 1) => format!("refused: {why}"),
        (Some(why), count) => format!("refused: {why}, {count} times"),
    };
    [
        entry.at.to_string(),
        who,
        entry.address.clone().unwrap_or_else(|| nothing.to_owned()),
        action.to_owned(),
        about(entry),
        result,
        if entry.note.is_empty() { nothing.to_owned() } else { entry.note.clone() },
    ]
}

/// Returns what an entry is about: its transactions, not all of them where there are many, and what else there is.
fn about(entry: &AuditEntry) -> String {
    let mut parts: Vec<String> = entry.txs.iter().take(MAX_TXS_SHOWN).map(TxId::to_string).collect();
    if let Some(others) = entry.txs.len().checked_sub(MAX_TXS_SHOWN).filter(|others| *others > 0) {
        parts.push(format!("and {others} more"));
    }
    if !entry.about.is_empty() {
        parts.push(entry.about.clone());
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}
