//! `undoubt submit`: one transaction.

use crate::args::{Global, Submit};
use crate::exit::{Exit, Failure};
use crate::json::{BranchResult, Standing};
use crate::output::clean;
use crate::{document, lines, operation, output, text};
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};
use undoubt_client::kv::KvWork;
use undoubt_client::{Answer, Client, ClientOptions, Step, Transaction};
use undoubt_vocabulary::Outcome;

/// The largest transaction in its longest form, as hexadecimal in JSON, with room to spare.
pub const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// How long the answer may take to arrive once a transaction's own deadline has passed.
const AFTER_DEADLINE: Duration = Duration::from_secs(5);

pub async fn submit(arguments: Submit, global: &Global) -> Result<Exit, Failure> {
    if let Some(path) = &arguments.lines {
        return lines::submit(path, arguments.in_flight, global).await;
    }
    let transaction = transaction(&arguments)?;
    let enough = arguments.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_add(AFTER_DEADLINE));
    let options = ClientOptions { deadline: global.timeout.max(enough), ..global.options() };
    let client = Client::connect(&global.coordinator, options)?;
    if arguments.no_wait {
        let known = client.accept(&transaction).await?;
        let standing = Standing::new(transaction.id(), &known);
        global.output.show(&standing, || headline(&standing))?;
        return Ok(known.decided.as_ref().map_or(Exit::Done, exit));
    }
    let answer = client.submit(&transaction).await?;
    let standing = Standing::decided(transaction.id(), &answer);
    global.output.show(&standing, || describe(&standing, Some(&transaction)))?;
    Ok(exit(&answer.outcome))
}

pub fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Committed => Exit::Done,
        Outcome::Aborted(_) => Exit::Aborted,
    }
}

/// Shows a decided transaction that was submitted elsewhere.
pub fn show(tx: &undoubt_vocabulary::TxId, answer: &Answer, global: &Global) -> Result<Exit, Failure> {
    let standing = Standing::decided(tx, answer);
    global.output.show(&standing, || describe(&standing, None))?;
    Ok(exit(&answer.outcome))
}

/// The transaction's fate, and what was read.
pub fn describe(standing: &Standing, transaction: Option<&Transaction>) -> String {
    let mut rows = Vec::new();
    for (participant, result) in &standing.results {
        let row = |what: String, value: String| [participant.clone(), what, value];
        match result {
            BranchResult::Raw(raw) => rows.push(row(String::new(), raw.clone())),
            BranchResult::Values(values) => {
                let work = transaction.and_then(|tx| tx.kv_work(participant).or_else(|| kv_action(tx, participant)));
                let operations = work.map(operation::texts).unwrap_or_default();
                let what = |at: usize| operations.get(at).cloned().unwrap_or_else(|| (at + 1).to_string());
                let left = |at: usize| match work {
                    Some(work) => operation::brought(work, at).unwrap_or_else(|| text::ABSENT.to_owned()),
                    // There was none, or the work brought it along.
                    None => "-".to_owned(),
                };
                let value = |at: usize, told: &Option<String>| told.clone().unwrap_or_else(|| left(at));
                rows.extend(values.iter().enumerate().map(|(at, told)| row(what(at), value(at, told))));
            }
        }
    }
    let headline = headline(standing);
    if rows.is_empty() {
        return headline;
    }
    format!("{headline}\n{}", output::table(["participant", "operation", "value after it"], rows, ""))
}

fn kv_action<'a>(transaction: &'a Transaction, step: &str) -> Option<&'a KvWork> {
    transaction.steps().iter().find(|found| found.name() == step).and_then(Step::kv_action)
}

pub fn headline(standing: &Standing) -> String {
    let Standing { tx, state, abort, .. } = standing;
    match abort {
        None => format!("{state}  {tx}"),
        Some(abort) if abort.worth_retrying => {
            format!("{state}  {tx}: {}. The same work may succeed under a new id.", clean(&abort.message))
        }
        Some(abort) => format!("{state}  {tx}: {}", clean(&abort.message)),
    }
}

fn transaction(arguments: &Submit) -> Result<Transaction, Failure> {
    let usage = |why| Failure::new(Exit::Usage, why);
    let mut transaction = match (&arguments.file, &arguments.id) {
        (Some(path), _) => from_file(path)?,
        (None, Some(id)) => Transaction::with_id(id.clone()),
        (None, None) => Transaction::new(),
    };
    for pair in arguments.on.chunks_exact(2) {
        transaction = transaction.kv(&pair[0], operation::append(KvWork::new(), &pair[1]).map_err(usage)?);
    }
    for pair in arguments.raw.chunks_exact(2) {
        transaction = transaction.branch(&pair[0], document::raw_work(&pair[1]).map_err(usage)?);
    }
    if let Some(url) = &arguments.callback {
        transaction = transaction.callback(url);
    }
    Ok(match arguments.deadline {
        Some(deadline) => transaction.timeout(deadline),
        None => transaction,
    })
}

fn from_file(path: &Path) -> Result<Transaction, Failure> {
    let name = path.display();
    let text = read(path).map_err(|error| Failure::new(Exit::Usage, format!("cannot read {name}: {error}")))?;
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let read = if toml { document::from_toml(&text) } else { document::from_json(&text) };
    read.map_err(|why| {
        let help = "`undoubt submit --help` shows how such a file is written";
        Failure::new(Exit::Refused, format!("{name}: {why}\n{help}"))
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(fs::File::open(path)?) };
    if file.take(MAX_DOCUMENT_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_DOCUMENT_BYTES {
        let why = format!("it is larger than {MAX_DOCUMENT_BYTES} bytes, more than any transaction may be");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_vocabulary::{AbortReason, Refusal, RefusalCode};

    #[test]
    fn values_stand_beside_the_operations_that_read_them() {
        let work = KvWork::new().add("alice", -10).get("x").respect_pending().put("y", "brought");
        let transaction = Transaction::with_id("t".parse().unwrap()).kv("a", work);
        let mut standing =
            Standing::decided(transaction.id(), &Answer { outcome: Outcome::Committed, results: Default::default() });
        standing.results.insert("a".to_owned(), BranchResult::Values(vec![Some("90".to_owned()), None, None]));
        let shown = describe(&standing, Some(&transaction));
        assert!(shown.starts_with("committed  t\n"), "{shown}");
        assert!(shown.contains("add alice -10") && shown.contains("90"), "{shown}");
        assert!(shown.contains("get x respect-pending") && shown.contains("absent"), "{shown}");
        assert_eq!(shown.matches("brought").count(), 2, "as given, and as left: {shown}");
        let elsewhere = describe(&standing, None);
        assert!(!elsewhere.contains("absent"), "whoever does not know the work cannot tell: {elsewhere}");
    }

    #[test]
    fn an_abort_says_why_and_whether_to_try_again() {
        let aborted = |code| {
            let refusal = Refusal::new(code, "because");
            let outcome = Outcome::Aborted(AbortReason::Refused { by: "a".parse().unwrap(), refusal });
            let answer = Answer { outcome, results: Default::default() };
            headline(&Standing::decided(&"t".parse().unwrap(), &answer))
        };
        assert!(aborted(RefusalCode::LockConflict).contains("new id"));
        assert_eq!(aborted(RefusalCode::Condition), "aborted  t: a refused (condition: because)");
    }
}
