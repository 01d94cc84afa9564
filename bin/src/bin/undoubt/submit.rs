//! `undoubt submit`: one transaction.

use crate::args::{Global, Submit};
use crate::exit::{Exit, Failure};
use crate::{lines, output};
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::{fs, io};
use undoubt_client::work::raw_from_text;
use undoubt_client::{Answer, OperatorError, Saga, Step, Submission, SubmitError, Transaction, Work};
use undoubt_gateway::{document, json};
use undoubt_platform::terminal::complain;
use undoubt_vocabulary::{Outcome, OutcomeForm};

/// The largest transaction in its longest form, as hexadecimal in JSON, with room to spare.
pub const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

pub async fn submit(arguments: Submit, global: &Global) -> Result<Exit, Failure> {
    if let Some(path) = &arguments.lines {
        return lines::submit(path, arguments.in_flight, global).await;
    }
    let submission = submission(&arguments)?;
    let mut client = global.client()?;
    if arguments.no_wait {
        let known = client.submit_no_wait(&submission).await?;
        let outcome = json::Outcome::new(submission.id(), &known);
        let printed = global.output.show(&outcome, || headline(&outcome));
        return Ok(known.decided.as_ref().map_or(Exit::Done, exit).told(printed));
    }
    // A coordinator that answers with an error need not tell its timeout.
    if submission.own_timeout().is_none()
        && let Err(OperatorError::NotReached(cause)) = client.learn_default_timeout().await
    {
        let (tx, cause) = (submission.id().clone(), Box::new(cause));
        return Err(SubmitError::NotAccepted { tx, cause }.into());
    }
    let answer = client.submit(&submission).await?;
    let outcome = json::Outcome::decided(submission.id(), &answer);
    Ok(exit(&answer.outcome).told(global.output.show(&outcome, || describe(&outcome, Some(&submission)))))
}

pub fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Committed => Exit::Done,
        Outcome::Aborted(_) => Exit::Aborted,
    }
}

/// Shows a decided transaction that was submitted elsewhere.
pub fn show(tx: &undoubt_vocabulary::TxId, answer: &Answer, global: &Global) -> Exit {
    let outcome = json::Outcome::decided(tx, answer);
    exit(&answer.outcome).told(global.output.show(&outcome, || describe(&outcome, None)))
}

/// The transaction's fate, and what was read.
pub fn describe(outcome: &json::Outcome, submission: Option<&Submission>) -> String {
    let mut rows = Vec::new();
    for (name, results) in &outcome.results {
        let work = submission.and_then(|submission| work(submission, outcome, name));
        rows.extend(results.shown(work).into_iter().map(|[what, value]| [name.clone(), what, value]));
    }
    let mut parts = vec![headline(outcome)];
    if !rows.is_empty() {
        parts.push(output::table(["participant", "work", "value after it"], rows, ""));
    }
    parts.extend(outcome.applied.as_deref().map(applied));
    parts.join("\n")
}

/// Returns a text that tells where a transaction is in effect, and what it has published.
fn applied(applied: &json::Applied) -> String {
    let headline =
        if applied.everywhere { "applied  everywhere" } else { "applied  not everywhere yet, or it is not known" };
    if applied.tokens.is_empty() {
        return headline.to_owned();
    }
    let rows = applied.tokens.iter().map(|(participant, last)| [participant.clone(), last.clone()]);
    format!("{headline}\n{}", output::table(["participant", "last event"], rows.collect(), ""))
}

/// Returns the work whose result has this name.
fn work<'a>(submission: &'a Submission, outcome: &json::Outcome, name: &str) -> Option<&'a Work> {
    match submission {
        Submission::Transaction(transaction) => transaction.work(name),
        Submission::Saga(saga) => action(saga, outcome, name),
        Submission::Auto(auto) => action(auto.saga(), outcome, name),
        _ => None,
    }
}

/// Steps name the results of a saga. Where auto went by two-phase commit their participants do, each of which has one.
fn action<'a>(saga: &'a Saga, outcome: &json::Outcome, name: &str) -> Option<&'a Work> {
    let steps = || saga.steps().iter();
    let named_by_steps = outcome.results.keys().all(|result| steps().any(|step| step.name() == result));
    let name_of = |step: &'a Step| if named_by_steps { step.name() } else { step.participant() };
    steps().find(|step| name_of(step) == name).map(Step::action)
}

pub fn headline(outcome: &json::Outcome) -> String {
    let json::Outcome { tx, form: OutcomeForm { state, abort }, .. } = outcome;
    match abort {
        None if *state == "closed" => format!("closed  {tx}: its steps are completed; it ends with its parent"),
        None => format!("{state}  {tx}"),
        Some(abort) if abort.worth_retrying => {
            format!("{state}  {tx}: {}. The same work may succeed under a new id.", abort.message)
        }
        Some(abort) => format!("{state}  {tx}: {}", abort.message),
    }
}

fn submission(arguments: &Submit) -> Result<Submission, Failure> {
    let mut submission = match (&arguments.file, &arguments.id) {
        (Some(path), _) => from_file(path)?,
        (None, Some(id)) => with_branches(Transaction::with_id(id.clone()), arguments)?.into(),
        (None, None) => with_branches(Transaction::new(), arguments)?.into(),
    };
    if let Some(url) = &arguments.callback {
        submission = submission.callback(url);
    }
    if let Some(traceparent) = &arguments.trace.traceparent {
        submission = submission.trace_context(traceparent, &arguments.trace.tracestate);
    }
    if let Some(within) = arguments.wait.applied_within() {
        submission = submission.applied_within(within);
    }
    Ok(match arguments.deadline {
        Some(deadline) => submission.timeout(deadline),
        None => submission,
    })
}

fn with_branches(mut transaction: Transaction, arguments: &Submit) -> Result<Transaction, Failure> {
    let usage = |why| Failure::new(Exit::Usage, why);
    for pair in arguments.on.chunks_exact(2) {
        transaction = transaction.on(&pair[0], pair[1].parse::<Work>().map_err(usage)?);
    }
    for pair in arguments.raw.chunks_exact(2) {
        transaction = transaction.on(&pair[0], Work::raw(raw_from_text(&pair[1]).map_err(usage)?));
    }
    Ok(transaction)
}

pub fn from_file(path: &Path) -> Result<Submission, Failure> {
    let name = path.display();
    let bytes = read(path).map_err(|error| Failure::new(Exit::Usage, format!("cannot read {name}: {error}")))?;
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let read = undoubt_gateway::text(&bytes);
    read.and_then(if toml { document::from_toml } else { document::from_json }).map_err(|why| {
        let help = "`undoubt submit --help` shows how such a file is written";
        Failure::new(Exit::Refused, format!("{name}: {why}\n{help}"))
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if open(path)?.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)? as u64 > MAX_DOCUMENT_BYTES {
        let why = format!("it is larger than {MAX_DOCUMENT_BYTES} bytes, more than any transaction may be");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// A file, or standard input under the name `-`.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if path != Path::new("-") {
        return Ok(Box::new(fs::File::open(path)?));
    }
    if io::stdin().is_terminal() {
        complain("reading from this terminal; Ctrl-D ends the input");
    }
    Ok(Box::new(io::stdin()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use undoubt_client::kv::KvWork;
    use undoubt_client::{Results, Value};
    use undoubt_vocabulary::{AbortReason, Refusal, RefusalCode};

    fn told(values: &[Value]) -> Results {
        Results::read(&Results::encode(values))
    }

    #[test]
    fn values_stand_beside_the_operations_that_read_them() {
        let work = KvWork::new().add("alice", -10).get("x").respect_pending().put("y", "brought");
        let transaction = Submission::from(Transaction::with_id("t".parse().unwrap()).on("a", work));
        let mut outcome =
            json::Outcome::decided(transaction.id(), &Answer::new(Outcome::Committed, Default::default()));
        outcome.results.insert("a".to_owned(), told(&[Value::Integer(90), Value::Absent, Value::Absent]));
        let shown = describe(&outcome, Some(&transaction));
        assert!(shown.starts_with("committed  t\n"), "{shown}");
        assert!(shown.contains("add alice -10") && shown.contains("90"), "{shown}");
        assert!(shown.contains("get x respect-pending") && shown.contains("absent"), "{shown}");
        assert_eq!(shown.matches("brought").count(), 2, "as given, and as left: {shown}");
        let elsewhere = describe(&outcome, None);
        assert!(!elsewhere.contains("absent"), "whoever does not know the work cannot tell: {elsewhere}");
    }

    #[test]
    fn steps_that_two_phase_commit_carried_out_stand_beside_what_they_left_too() {
        let step = |name, at| Step::new(name, at, KvWork::new().add("x", 1)).undo(KvWork::new().add("x", -1));
        let id: undoubt_vocabulary::TxId = "t".parse().unwrap();
        let saga = Saga::with_id(id).step(step("take", "a")).step(step("give", "b")).outcome_at("a", "o");
        let auto = Submission::from(saga.auto());
        let shown = |results: [(&str, Vec<Option<&'static str>>); 2]| {
            let answer = Answer::new(Outcome::Committed, Default::default());
            let mut outcome = json::Outcome::decided(auto.id(), &answer);
            for (name, values) in results {
                let values = values.into_iter().map(|value| value.map(bytes::Bytes::from).into());
                outcome.results.insert(name.to_owned(), told(&values.collect::<Vec<_>>()));
            }
            describe(&outcome, Some(&auto))
        };
        let by_two_phase = shown([("a", vec![Some("1"), None]), ("b", vec![Some("1")])]);
        assert_eq!(by_two_phase.matches("add x 1").count(), 2, "{by_two_phase}");
        assert!(by_two_phase.contains("committed t"), "{by_two_phase}");
        let by_saga = shown([("take", vec![Some("1"), Some("acted t")]), ("give", vec![Some("1")])]);
        assert_eq!(by_saga.matches("add x 1").count(), 2, "{by_saga}");
        assert!(!by_saga.contains("committed t"), "{by_saga}");
    }

    #[test]
    fn an_abort_says_why_and_whether_to_try_again() {
        let aborted = |code| {
            let refusal = Refusal::new(code, "because");
            let outcome = Outcome::Aborted(AbortReason::Refused { by: "a".parse().unwrap(), refusal });
            let answer = Answer::new(outcome, Default::default());
            headline(&json::Outcome::decided(&"t".parse().unwrap(), &answer))
        };
        assert!(aborted(RefusalCode::LockConflict).contains("new id"));
        assert_eq!(aborted(RefusalCode::Condition), "aborted  t: a refused (condition: because)");
    }
}
