use super::*;
use crate::workload::Workload;
use futures::future::pending;
use std::collections::VecDeque;
use undoubt_client::{Answer, Results, Submission, SubmitError, Unanswered, Value};
use undoubt_vocabulary::{AbortReason, Outcome as Decided, ParticipantName, Refusal, RefusalCode};

fn load(workload: Workload, length: Length) -> Load {
    let names = vec!["a".to_owned(), "b".to_owned()];
    Load { length, in_flight: 8, run: "run".to_owned(), ..Load::new("http://127.0.0.1:1", names, workload) }
}

/// Drives a load against answers made up here: `answer` says what becomes of each transaction, by its number.
async fn drive(
    load: &Load,
    mut answer: impl FnMut(u64, Submission) -> Result<Answer, SubmitError>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Outcome> {
    let (bank, script) = (load.check()?, Script::new(load));
    let ledger = Ledger { bank, opened: script.opening(), entries: Vec::new() };
    let (give, given) = mpsc::channel(load.in_flight);
    let mut numbers = 0..;
    let submitted = ReceiverStream::new(given).map(move |submission: Submission| {
        let (sequence, tx) = (numbers.next().unwrap(), submission.id().clone());
        Completion { sequence, tx, result: answer(sequence, submission), took: Duration::from_millis(1) }
    });
    let progress = Progress::ignored();
    tokio::pin!(stop);
    Driver::new(load, script, ledger, give, &progress)?.drive(submitted.boxed_local(), stop).await
}

fn committed() -> Answer {
    Answer::new(Decided::Committed, BTreeMap::new())
}

fn refused(code: RefusalCode) -> Answer {
    let by: ParticipantName = "a".parse().unwrap();
    let reason = AbortReason::Refused { by, refusal: Refusal::new(code, "no") };
    Answer::new(Decided::Aborted(reason), BTreeMap::new())
}

fn unknown(tx: &Submission) -> SubmitError {
    let cause = Box::new(Unanswered {
        address: "http://127.0.0.1:1".to_owned(),
        after: Duration::from_secs(60),
        cause: "silence".to_owned(),
        reason: None,
        maybe_received: true,
    });
    SubmitError::OutcomeUnknown { tx: tx.id().clone(), cause }
}

const TRANSFERS: Workload = Workload::Transfers { branches: 2 };

#[tokio::test]
async fn every_operation_is_counted_by_how_it_ended_and_the_ledger_has_what_was_told() {
    let mut answers = VecDeque::from([
        Ok(committed()),
        Ok(refused(RefusalCode::Condition)),
        Ok(refused(RefusalCode::LockConflict)),
        Err(()),
    ]);
    let answer = |_, submission: Submission| answers.pop_front().unwrap().map_err(|()| unknown(&submission));
    let outcome = drive(&load(TRANSFERS, Length::Count(4)), answer, pending()).await.unwrap();
    let tally = &outcome.report.tally;
    assert_eq!((tally.committed, tally.refused, tally.unknown), (1, 1, 1));
    assert_eq!(tally.aborted, [("lock-conflict", 1)].into());
    assert_eq!((outcome.report.operations, outcome.report.latency_us.max), (4, 1_000));
    let told: Vec<Reply> = outcome.ledger.entries.iter().map(|entry| entry.told).collect();
    assert_eq!(told, [Reply::Committed, Reply::Aborted("condition"), Reply::Aborted("lock-conflict"), Reply::Unknown]);
}

#[tokio::test]
async fn no_more_are_under_way_than_asked_and_all_are_finished_when_stopped() {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let answer = |number, _| {
        if number == 20 {
            stop.take().unwrap().send(()).unwrap();
        }
        Ok(committed())
    };
    let load = load(TRANSFERS, Length::For(Duration::MAX));
    let outcome = drive(&load, answer, async move { stopped.await.unwrap() }).await.unwrap();
    assert!(
        (21..=21 + 2 * load.in_flight as u64).contains(&outcome.report.operations),
        "{}",
        outcome.report.operations
    );
    assert!(outcome.ledger.unknown().is_empty());
}

#[tokio::test]
async fn an_operation_that_reads_first_writes_what_follows_and_counts_once_with_the_time_of_both() {
    let load = load(Workload::SmallBank, Length::Count(200));
    let bank = load.check().unwrap();
    let answer = |_, submission: Submission| {
        let Submission::Transaction(transaction) = submission else { panic!("by two-phase commit: {submission:?}") };
        let results = bank.participants().iter().filter_map(|name| {
            let operations = transaction.work(name.as_str())?.texts().len();
            Some((name.clone().into(), balances_of_seven(operations)))
        });
        Ok(Answer::new(Decided::Committed, results.collect()))
    };
    let report = drive(&load, answer, pending()).await.unwrap().report;
    let both: u64 = ["amalgamate", "write-check"].iter().map(|name| report.by_operation[name].committed).sum();
    assert!(both > 0);
    assert_eq!((report.tally.committed, report.transactions), (200, 200 + both));
    assert_eq!(report.latency_us.max / 1_000, 2);
}

/// Balances of 700 cents, as a key-value participant hands them back.
fn balances_of_seven(count: usize) -> bytes::Bytes {
    Results::encode(&vec![Value::Integer(700); count])
}

#[tokio::test]
async fn values_that_are_lost_end_the_operation_without_a_second_transaction() {
    let report =
        drive(&load(Workload::SmallBank, Length::Count(200)), |_, _| Ok(committed()), pending()).await.unwrap().report;
    assert_eq!(report.transactions, 200);
    assert_eq!(report.tally.aborted.keys().copied().collect::<Vec<_>>(), ["values-lost"]);
}

#[tokio::test]
async fn an_id_that_was_used_before_ends_the_run_with_an_error() {
    let answer = |_, submission: Submission| {
        Err(SubmitError::IdReused { tx: submission.id().clone(), message: "other work".to_owned(), reason: None })
    };
    let error = drive(&load(TRANSFERS, Length::Count(4)), answer, pending()).await.unwrap_err();
    assert!(error.to_string().contains("run-0"), "{error}");
}
