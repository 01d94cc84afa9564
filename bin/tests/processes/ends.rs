//! Tests of endings that only an operator brings about: of steps without an answer, of sagas that wait for each other,
//! of semantic locks whose saga is gone; and that what he is refused leaves no trace.

use crate::support::api::{self, get, no_wait, request, value, within_ms};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{banks, start, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_vocabulary::{EventKind, PartState, TransactionPhase};

const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);

async fn submit(cluster: &Cluster, id: &str, steps: Value, flags: &[&str]) -> crate::support::cli::Said {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("saga.json");
    std::fs::write(&path, json!({"id": id, "mode": "saga", "steps": steps}).to_string()).unwrap();
    undoubt(cluster, &[&["submit", "--file", path.to_str().unwrap()], flags].concat()).await
}

/// A command of an operator, with who and why.
async fn operate(cluster: &Cluster, arguments: &[&str]) -> crate::support::cli::Said {
    undoubt(cluster, &[arguments, &["--who", "Ada", "--reason", "it has to"]].concat()).await
}

async fn until_step_is(cluster: &Cluster, tx: &str, step: &str, state: PartState) {
    until(&format!("step {step} of {tx} is {state}"), async || {
        let seen = get(cluster, tx).await.ok()?;
        seen.branches.iter().any(|branch| branch.step == step && branch.state == state.number()).then_some(())
    })
    .await;
}

async fn until_phase_is(cluster: &Cluster, tx: &str, phase: TransactionPhase) {
    until(&format!("{tx} is {phase}"), async || (get(cluster, tx).await.ok()?.phase == phase.number()).then_some(()))
        .await;
}

fn told_before_it_answers() -> Value {
    json!([
        {"name": "pay", "at": "bank-a", "do": ["put paid yes"], "pivot": true},
        {"name": "tell", "at": "bank-b", "do": ["put told yes"], "attempts": 2, "attempt_timeout": "50ms",
         "first_pause": "1ms", "max_pause": "2ms"},
    ])
}

#[tokio::test]
async fn a_step_that_is_never_answered_is_ended_and_then_the_saga_that_waits_to_close_it() {
    let mut cluster = start(banks()).await;
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, "t", told_before_it_answers(), &["--no-wait"]).await.expect(0, &["pending"]);
    until("it is said to be held up", async || {
        let seen = get(&cluster, "t").await.ok()?;
        seen.history.iter().any(|event| event.kind == EventKind::HeldUp.number()).then_some(())
    })
    .await;
    assert!(cluster.log_tail(Who::Coordinator, 50).contains("undoubt resolve-step"), "the log says what to do");
    operate(&cluster, &["resolve-step", "t", "tell", "retry"]).await.expect(8, &["not stuck"]);
    undoubt(&cluster, &["cancel", "t"]).await.expect(8, &["too late"]);
    operate(&cluster, &["resolve-step", "t", "tell", "skip"]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["wait", "t"]).await.expect(0, &["committed"]);
    // Nobody knows whether it left semantic locks, so they are to be closed, which is not answered either.
    until_phase_is(&cluster, "t", TransactionPhase::Closing).await;
    operate(&cluster, &["forget", "t"]).await.expect(0, &["forgotten"]);
    undoubt(&cluster, &["status", "t"]).await.expect(0, &["ended", "DAMAGED", "unknown"]);
    undoubt(&cluster, &["history", "t"])
        .await
        .expect(0, &["operator", "skip tell, by Ada: it has to", "forget, by Ada"]);
    assert_eq!(undoubt_json(&cluster, &["list", "--open"]).await.json()["transactions"], json!([]));

    operate(&cluster, &["resolve-step", "t", "tell", "skip"]).await.expect(8, &["over"]);
    operate(&cluster, &["resolve-step", "t", "nothing", "skip"]).await.expect(7, &["no step nothing"]);
    cluster.restart(BANK_B, None).await.unwrap();
    undoubt(&cluster, &["submit", "--on", "bank-b", "put told yes respect-pending"]).await.expect(0, &["committed"]);
}

#[tokio::test]
async fn a_pivot_that_is_never_answered_is_called_done() {
    let mut cluster = start(banks()).await;
    let steps = json!([
        {"name": "take", "at": "bank-a", "do": ["put taken yes"], "undo": ["delete taken"]},
        {"name": "pay", "at": "bank-b", "do": ["put paid yes"], "pivot": true, "attempts": 1_000, "attempt_timeout": "50ms"},
        {"name": "tell", "at": "bank-a", "do": ["put told yes"]},
    ]);
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, "t", steps, &["--no-wait", "--deadline", "60s"]).await.expect(0, &["pending"]);
    until_step_is(&cluster, "t", "pay", PartState::Acting).await;
    operate(&cluster, &["resolve-step", "t", "pay", "done"]).await.expect(0, &[]);
    undoubt(&cluster, &["wait", "t"]).await.expect(0, &["committed"]);
    assert_eq!(value(&cluster, "bank-a", "told").await.as_deref(), Some("yes"));
    // If the pivot was sent before the connection was seen to be lost, it may have left semantic locks.
    cluster.restart(BANK_B, None).await.unwrap();
    until_phase_is(&cluster, "t", TransactionPhase::Ended).await;
}

#[tokio::test]
async fn a_compensation_that_is_never_answered_is_given_up_while_recovery_is_paused() {
    let mut cluster = start(banks()).await;
    let steps = json!([
        {"name": "take", "at": "bank-b", "do": ["put taken yes"], "undo": ["delete taken"]},
        {"name": "give", "at": "bank-a", "do": ["cas given expected=open value=yes"], "undo": ["delete given"], "attempts": 1},
    ]);
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("before-send-compensate:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let _ = submit(&cluster, "t", steps, &["--no-wait"]).await;
    cluster.wait_until_ended(Who::Coordinator, crate::support::PATIENCE).await.unwrap();
    cluster.kill(BANK_B).await.unwrap();
    cluster.set(Who::Coordinator, "start_paused=true");
    cluster.restart(Who::Coordinator, None).await.unwrap();
    undoubt(&cluster, &["status", "t"]).await.expect(0, &["paused"]);
    operate(&cluster, &["forget", "t"]).await.expect(0, &["forgotten"]);
    undoubt(&cluster, &["status", "t"]).await.expect(0, &["aborted", "DAMAGED"]);
    // It stays so, whatever is started again.
    cluster.restart(BANK_B, None).await.unwrap();
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    undoubt(&cluster, &["list", "--damaged"]).await.expect(0, &["t", "aborted, DAMAGED", "take unknown"]);
    assert_eq!(value(&cluster, "bank-b", "taken").await.as_deref(), Some("yes"));
}

/// A saga that marks one key, and past its pivot minds that of the other. Clients refuse to make it, so it is made by hand.
fn crossing(tx: &str, own: &str, other: &str) -> v1::SubmitRequest {
    let step = |name: &str, participant: &str, action: KvWork, after: &[u32], retry| v1::SagaStep {
        name: name.to_owned(),
        participant: participant.to_owned(),
        action: Some(action.encode().unwrap()),
        after: after.to_vec(),
        retry: Some(retry),
        ..v1::SagaStep::default()
    };
    let undo = KvWork::new().delete(own.to_owned()).encode().unwrap();
    let patient = v1::RetryPolicy { max_attempts: 1_000, attempt_timeout_ms: 100, ..v1::RetryPolicy::default() };
    let quick = v1::RetryPolicy { max_attempts: 2, first_pause_ms: 1, max_pause_ms: 20, ..v1::RetryPolicy::default() };
    let mark = step("mark", "bank-a", KvWork::new().put(own.to_owned(), "1").pend(), &[], v1::RetryPolicy::default());
    let pay = step("pay", "bank-b", KvWork::new().put(format!("paid-{own}"), "1"), &[0], patient);
    let mind = step("mind", "bank-a", KvWork::new().put(other.to_owned(), "2").respect_pending(), &[1], quick);
    let steps = vec![v1::SagaStep { compensation: Some(undo), ..mark }, v1::SagaStep { pivot: true, ..pay }, mind];
    let saga = v1::SubmitRequest { mode: v1::Mode::Saga.into(), steps, ..request(tx, []) };
    no_wait(within_ms(60_000, saga))
}

#[tokio::test]
async fn two_sagas_that_wait_for_each_others_semantic_lock_are_told_with_its_owner_and_ended() {
    let mut cluster = start(banks()).await;
    cluster.kill(BANK_B).await.unwrap();
    for (id, own, other) in [("one", "x", "y"), ("two", "y", "x")] {
        api::submit(&cluster, crossing(id, own, other)).await.unwrap();
        until_step_is(&cluster, id, "mark", PartState::DoneWithLocks).await;
    }
    cluster.restart(BANK_B, None).await.unwrap();
    for (id, other) in [("one", "two"), ("two", "one")] {
        until(&format!("{id} says what it waits for"), async || {
            let seen = get(&cluster, id).await.ok()?;
            let owner = format!("the saga {other} has touched it");
            let held_up = seen
                .history
                .iter()
                .any(|event| event.kind == EventKind::HeldUp.number() && event.detail.contains(&owner));
            (held_up && seen.branches[2].detail.contains(&owner)).then_some(())
        })
        .await;
    }
    operate(&cluster, &["resolve-step", "one", "mind", "skip"]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["wait", "two"]).await.expect(0, &["committed"]);
    until_phase_is(&cluster, "one", TransactionPhase::Ended).await;
    undoubt(&cluster, &["list", "--damaged"]).await.expect(0, &["one", "mark done", "mind unknown"]);
}

#[tokio::test]
async fn a_semantic_lock_whose_coordinator_is_lost_is_seen_and_released() {
    let mut cluster = start(banks()).await;
    cluster.kill(BANK_B).await.unwrap();
    let steps = json!([
        {"name": "mark", "at": "bank-a", "do": ["put e 1 pend"], "undo": ["delete e"]},
        {"name": "pay", "at": "bank-b", "do": ["put paid 1"], "pivot": true, "attempts": 1_000, "attempt_timeout": "100ms"},
    ]);
    submit(&cluster, "gone", steps, &["--no-wait", "--deadline", "60s"]).await.expect(0, &["pending"]);
    until_step_is(&cluster, "gone", "mark", PartState::DoneWithLocks).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    std::fs::remove_dir_all(cluster.data_dir(Who::Coordinator)).unwrap();
    cluster.set(Who::Coordinator, "new=true");
    cluster.restart(BANK_B, None).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    undoubt(&cluster, &["submit", "--on", "bank-a", "put e 5 respect-pending"]).await.expect(3, &["pending", "gone"]);

    let url = cluster.url(BANK_A).unwrap();
    undoubt(&cluster, &["branches", &url]).await.expect(0, &["semantic lock", "e", "gone"]);
    let listed = undoubt_json(&cluster, &["branches", &url]).await.json();
    let mark = &listed["marks"][0];
    assert_eq!((mark["key"].as_str(), mark["tx"].as_str()), (Some("e"), Some("gone")));
    assert!(mark["begun_at"].is_string(), "{listed}");
    let owner = mark["coordinator_id"].as_str().unwrap();
    let release = ["release-marks", "gone", "--participant", &url, "--coordinator-id"];
    operate(&cluster, &[&release[..], &["00000000000000000000000000000000"]].concat()).await.expect(5, &[]);
    assert!(!cluster.log_tail(BANK_A, 50).contains("an operator has released"), "what was refused is not told as done");
    operate(&cluster, &[&release[..], &[owner]].concat()).await.expect(0, &["released"]);
    assert!(cluster.log_tail(BANK_A, 50).contains("an operator has released"));
    cluster.kill(BANK_A).await.unwrap();
    cluster.restart(BANK_A, None).await.unwrap();
    undoubt(&cluster, &["submit", "--on", "bank-a", "put e 5 respect-pending"]).await.expect(0, &["committed"]);
    assert_eq!(undoubt_json(&cluster, &["branches", &url]).await.json()["marks"], json!([]));
}

#[tokio::test]
async fn whoever_waits_for_a_stuck_saga_hears_why_and_the_log_tells_it() {
    let cluster = start(banks()).await;
    let steps = json!([
        {"name": "pay", "at": "bank-a", "do": ["put paid yes"], "pivot": true},
        {"name": "tell", "at": "bank-b", "do": ["cas mailbox expected=open value=told"], "attempts": 1},
    ]);
    let why = ["stuck", "action of step tell", "bank-b", "condition", "resolve-step"];
    submit(&cluster, "t", steps, &["--deadline", "60s"]).await.expect(9, &why);
    undoubt(&cluster, &["wait", "t"]).await.expect(9, &why);
    undoubt(&cluster, &["history", "t"]).await.expect(0, &["stuck", "action of tell: condition: "]);
    assert!(cluster.log_tail(Who::Coordinator, 50).contains("stuck: the action of step tell"));
    // A resolution that is refused leaves no trace.
    let before = get(&cluster, "t").await.unwrap().history.len();
    for _ in 0..3 {
        operate(&cluster, &["resolve-step", "t", "pay", "skip"]).await.expect(8, &["nothing left"]);
        operate(&cluster, &["resolve-step", "t", "nothing", "skip"]).await.expect(7, &["no step"]);
    }
    assert_eq!(get(&cluster, "t").await.unwrap().history.len(), before);
    assert!(!cluster.log_tail(Who::Coordinator, 50).contains("an operator"), "what was refused is not told as done");
    operate(&cluster, &["resolve-step", "t", "tell", "skip"]).await.expect(0, &["committed"]);
    until_phase_is(&cluster, "t", TransactionPhase::Ended).await;
    let log = cluster.log_tail(Who::Coordinator, 50);
    assert!(log.contains("an operator ends what waits") && log.contains("damaged: "), "{log}");
}

#[tokio::test]
async fn a_saga_that_ran_out_of_attempts_says_so() {
    let plan = Plan { foreign_participants: vec![crate::support::nobody("bank-c")], ..banks() };
    let cluster = start(plan).await;
    let steps = json!([
        {"name": "ask", "at": "bank-c", "do": ["put x 1"], "undo": ["delete x"], "attempts": 3, "attempt_timeout": "20ms",
         "first_pause": "1ms", "max_pause": "1ms"},
    ]);
    let why = "bank-c did not answer the last of 3 attempts";
    submit(&cluster, "t", steps, &["--deadline", "60s"]).await.expect(3, &["aborted", why]);
    undoubt(&cluster, &["history", "t"]).await.expect(0, &["compensating", why]);
    let said = undoubt_json(&cluster, &["status", "t"]).await.json();
    assert_eq!(said["abort"]["reason"].as_str(), Some("unanswered"), "{said}");
}

#[tokio::test]
async fn an_operator_who_decides_nothing_is_not_told_as_deciding() {
    let cluster = start(banks()).await;
    let url = cluster.url(BANK_A).unwrap();
    operate(&cluster, &["resolve", "nothing", "abort", "--yes", "--participant", &url]).await.expect(5, &[]);
    assert!(!cluster.log_tail(BANK_A, 50).contains("an operator"), "{}", cluster.log_tail(BANK_A, 50));
}
