//! Sizes that add up: transactions that keep every limit, and those that gather more than one may.

use crate::support::api::{abort_reason, branch, coordinator, describe, get, request, submit, within_ms};
use crate::support::cli::undoubt;
use crate::support::{PATIENCE, banks, start, until};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_vocabulary::PartState;
use undoubt_vocabulary::limits::MAX_TRANSACTION_RESULT_BYTES;
use undoubt_vocabulary::{AbortReason, RefusalCode};

const KEYS: usize = 16;
const VALUE_BYTES: usize = 65_000;
/// Steps that together read five times what one transaction may gather.
const STEPS: usize = 40;

/// Both participants hold 16 large values.
async fn with_large_values(settings: &[&str]) -> Cluster {
    let coordinator_settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let cluster = start(Plan { coordinator_settings, ..banks() }).await;
    for participant in ["bank-a", "bank-b"] {
        let put = |work: KvWork, key: usize| work.put(format!("k{key}"), vec![b'x'; VALUE_BYTES]);
        let work = (0..KEYS).fold(KvWork::new(), put);
        let outcome = submit(&cluster, request(&format!("fill-{participant}"), [branch(participant, work)])).await;
        assert_eq!(outcome.unwrap().state(), v1::State::Committed);
    }
    cluster
}

fn reads(keys: usize) -> KvWork {
    (0..keys).fold(KvWork::new(), |work, key| work.get(format!("k{key}")))
}

fn reading_saga(tx: &str, pivot: Option<usize>) -> v1::SubmitRequest {
    let step = |number: usize| v1::SagaStep {
        name: format!("s{number}"),
        participant: "bank-a".into(),
        action: Some(reads(KEYS).encode().unwrap()),
        compensation: pivot.is_none().then(|| reads(1).encode().unwrap()),
        after: number.checked_sub(1).map(|before| u32::try_from(before).unwrap()).into_iter().collect(),
        pivot: pivot == Some(number),
        ..v1::SagaStep::default()
    };
    let steps = (0..STEPS).map(step).collect();
    within_ms(60_000, v1::SubmitRequest { mode: v1::Mode::Saga.into(), steps, ..request(tx, []) })
}

fn result_bytes(outcome: &v1::Outcome) -> usize {
    outcome.results.iter().map(|read| read.result.len()).sum()
}

#[tokio::test]
async fn a_saga_that_reads_more_than_one_may_gather_ends_and_ends_no_process() {
    let mut cluster = with_large_values(&[]).await;
    let pivoted = submit(&cluster, reading_saga("pivoted", Some(0))).await.unwrap();
    assert_eq!(pivoted.state(), v1::State::Committed);
    let gathered = result_bytes(&pivoted);
    assert!(gathered <= MAX_TRANSACTION_RESULT_BYTES && gathered > MAX_TRANSACTION_RESULT_BYTES / 2, "{gathered}");
    undoubt(&cluster, &["history", "pivoted"]).await.expect(0, &["left-out", "8388608"]);

    let undone = submit(&cluster, reading_saga("undone", None)).await.unwrap();
    let reason = abort_reason(undone);
    let AbortReason::TooMuch { at, refusal } = &reason else { panic!("{reason}") };
    assert_eq!((at.as_str(), refusal.code), ("bank-a", RefusalCode::TooLarge), "{refusal}");

    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let again = submit(&cluster, reading_saga("pivoted", Some(0))).await.unwrap();
    assert_eq!(result_bytes(&again), gathered, "it is told again what it was told");
}

#[tokio::test]
async fn a_large_saga_goes_on_after_its_coordinator_was_killed_in_the_midst() {
    let mut cluster = with_large_values(&[]).await;
    let saga = reading_saga("t", Some(0));
    submit(&cluster, v1::SubmitRequest { no_wait: true, ..saga.clone() }).await.unwrap();
    until("some steps are done", async || {
        let open = get(&cluster, "t").await.ok()?;
        (open.branches.iter().filter(|step| step.state == PartState::Done.number()).count() > 3).then_some(())
    })
    .await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let outcome = submit(&cluster, saga).await.unwrap();
    assert_eq!(outcome.state(), v1::State::Committed);
}

/// Many at once, each of them small: together more than a batch, a queue or all open transactions may hold.
#[tokio::test]
async fn a_burst_of_reads_breaks_no_session_and_each_is_answered() {
    const BURST: u64 = 400;
    let cluster = with_large_values(&["max_gathered_bytes=33554432"]).await;
    let since = |described: &v1::DescribeResponse| -> Vec<u64> {
        described.participants.iter().map(|participant| participant.since_us).collect()
    };
    let before = since(&describe(&cluster).await);
    let read = |number: u64| {
        let put = KvWork::new().put(format!("z{number}"), "1");
        within_ms(60_000, request(&format!("t-{number}"), [branch("bank-a", reads(4)), branch("bank-b", put)]))
    };
    let mut waiting: Vec<u64> = (0..BURST).collect();
    let (mut rounds, mut pause, began) = (0, Duration::ZERO, Instant::now());
    while !waiting.is_empty() {
        rounds += 1;
        assert!(began.elapsed() < PATIENCE, "{} are turned away again and again", waiting.len());
        sleep(std::mem::take(&mut pause)).await;
        // Under a new id: what was aborted for want of room stays aborted.
        let id = |number: u64| number + BURST * rounds;
        let of = |number: &u64| v1::SequencedRequest { sequence: *number, request: Some(read(id(*number))) };
        let batch = v1::SubmitBatch { requests: waiting.iter().map(of).collect() };
        let mut answers =
            coordinator(&cluster).await.submit_many(tokio_stream::once(batch)).await.unwrap().into_inner();
        let asked = std::mem::take(&mut waiting).len();
        let mut answered = 0;
        while let Some(batch) = answers.message().await.unwrap() {
            for response in batch.responses {
                answered += 1;
                match response.result.unwrap() {
                    v1::sequenced_response::Result::Error(error) => {
                        assert!(error.retry_after_ms > 0, "{error:?}");
                        pause = Duration::from_millis(error.retry_after_ms.into());
                        waiting.push(response.sequence);
                    }
                    v1::sequenced_response::Result::Outcome(outcome) if outcome.state() == v1::State::Committed => {
                        assert!(result_bytes(&outcome) > 4 * VALUE_BYTES);
                    }
                    v1::sequenced_response::Result::Outcome(outcome) => {
                        let reason = abort_reason(outcome);
                        let (AbortReason::TooMuch { refusal, .. } | AbortReason::Refused { refusal, .. }) = &reason
                        else {
                            panic!("{reason}");
                        };
                        assert!(refusal.code.is_transient(), "{reason}");
                        waiting.push(response.sequence);
                    }
                }
            }
        }
        assert_eq!(answered, asked);
    }
    assert_eq!(since(&describe(&cluster).await), before, "a session was lost");
    let written = coordinator(&cluster).await.get(v1::GetRequest { tx: Bytes::from_static(b"fill-bank-a") }).await;
    assert!(written.is_ok());
}
