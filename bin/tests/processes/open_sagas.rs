//! Open sagas: begun, joined by steps, closed or cancelled; through crashes at every point, and after their first client is gone.

use crate::support::api::value;
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{banks, start};
use serde_json::json;
use std::time::Duration;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{
    Client, ClientOptions, CompletionOrder, JoinError, Joined, OpenSaga, OpenStep, Opening, Outcome, RetryPolicy, TxId,
};

pub const BANK_A: Who = Who::Participant(0);
pub const BANK_B: Who = Who::Participant(1);

const HASTY: RetryPolicy = RetryPolicy {
    max_attempts: 2,
    attempt_timeout: Duration::from_millis(500),
    first_pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(2),
};

pub async fn opened() -> Cluster {
    opened_by(banks()).await
}

pub async fn opened_by(plan: Plan) -> Cluster {
    let cluster = start(plan).await;
    let put = ["submit", "--on", "bank-a", "put seats 10", "--on", "bank-b", "put rooms 5"];
    undoubt(&cluster, &put).await.expect(0, &["committed"]);
    cluster
}

fn client(cluster: &Cluster) -> Client {
    let options = ClientOptions::default().deadline(Duration::from_secs(60));
    Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), options).unwrap()
}

/// A seat: taken now, and sold when the saga is closed.
fn seat(number: i64) -> OpenStep {
    OpenStep::new("seat", "bank-a")
        .action(KvWork::new().add("seats", Add::of(-number).floor(0)))
        .undo(KvWork::new().add("seats", number))
        .complete(KvWork::new().add("sold", number))
}

/// A room, which its caller books himself.
fn room() -> OpenStep {
    OpenStep::new("room", "bank-b").undo(KvWork::new().add("released", 1)).complete(KvWork::new().add("rooms", -1))
}

/// Returns the values of seats, sold, rooms and released.
pub async fn values(cluster: &Cluster) -> [Option<String>; 4] {
    let [mut a, mut b] = [("bank-a", ["seats", "sold"]), ("bank-b", ["rooms", "released"])]
        .map(|(at, keys)| keys.map(|key| (at, key)).into_iter());
    let mut all = [None, None, None, None];
    for (place, (at, key)) in a.by_ref().chain(b.by_ref()).enumerate() {
        all[place] = value(cluster, at, key).await;
    }
    all
}

pub fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn whoever_knows_the_id_goes_on_and_closing_completes_each_step_once() {
    let cluster = opened().await;
    undoubt(&cluster, &["begin", "--id", "trip"]).await.expect(0, &["open  trip"]);
    undoubt(&cluster, &["begin", "--id", "trip"]).await.expect(0, &["open  trip"]);
    undoubt(&cluster, &["begin", "--id", "trip", "--completions", "reversed"]).await.expect(7, &["other content"]);
    let action = ["--action", "add seats -1 floor=0", "--undo", "add seats 1", "--complete", "add sold 1"];
    let join = [&["join", "trip", "seat", "--on", "bank-a"], &action[..]].concat();
    for _ in 0..2 {
        undoubt(&cluster, &join).await.expect(0, &["done  step seat of trip", "9"]);
    }
    let other = ["join", "trip", "seat", "--on", "bank-a", "--action", "add seats -2", "--undo", "add seats 2"];
    undoubt(&cluster, &other).await.expect(8, &["other content"]);
    let room = ["join", "trip", "room", "--on", "bank-b", "--undo", "add released 1", "--complete", "add rooms -1"];
    undoubt(&cluster, &room).await.expect(0, &["joined"]);
    let many =
        ["join", "trip", "many", "--on", "bank-a", "--action", "add seats -99 floor=0", "--undo", "add seats 99"];
    for _ in 0..2 {
        undoubt(&cluster, &many).await.expect(3, &["refused", "floor", "still open"]);
    }
    undoubt(&cluster, &["status", "trip"]).await.expect(0, &["open", "joined", "refused"]);
    let closed = undoubt_json(&cluster, &["close", "trip"]).await.json();
    assert_eq!((&closed["state"], &closed["results"]["seat"]["values"]), (&json!("committed"), &json!(["9"])));
    undoubt(&cluster, &["close", "trip"]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["cancel", "trip"]).await.expect(8, &["too late"]);
    undoubt(&cluster, &join).await.expect(8, &["takes no steps any more"]);
    assert_eq!(values(&cluster).await, [some("9"), some("1"), some("4"), None]);
    undoubt(&cluster, &["status", "trip"]).await.expect(0, &["committed"]);
    assert_eq!(undoubt_json(&cluster, &["list", "--damaged"]).await.json()["transactions"], json!([]));
    let known = undoubt_json(&cluster, &["audit", "--tx", "trip"]).await.json();
    let actions: Vec<_> = known["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    for action in ["begin", "join", "close"] {
        assert!(actions.contains(&json!(action)), "{action} is not in {actions:?}");
    }
}

#[tokio::test]
async fn cancelling_undoes_in_reverse_also_what_the_caller_did_himself() {
    let cluster = opened().await;
    let saga = client(&cluster).begin(Opening::new()).await.unwrap();
    saga.run(seat(2)).await.unwrap();
    assert_eq!(saga.join(room()).await.unwrap(), Joined::Joined);
    let (first, second) = tokio::join!(saga.cancel(), saga.cancel());
    assert!(matches!(first.unwrap().decided, Some(Outcome::Aborted(_))));
    assert!(matches!(second.unwrap().decided, Some(Outcome::Aborted(_))));
    assert!(matches!(saga.close().await.unwrap().outcome, Outcome::Aborted(_)), "whoever is second hears the first");
    assert!(matches!(saga.run(seat(1)).await, Err(JoinError::Over { .. })));
    assert_eq!(values(&cluster).await, [some("10"), None, some("5"), some("1")]);
}

#[tokio::test]
async fn a_saga_that_nobody_closes_in_time_is_turned_back() {
    let cluster = opened().await;
    let client = client(&cluster);
    let saga = client.begin(Opening::new().timeout(Duration::from_millis(300))).await.unwrap();
    saga.run(seat(3)).await.unwrap();
    let answer = client.wait(saga.id()).await.unwrap();
    assert!(matches!(answer.outcome, Outcome::Aborted(_)), "{answer:?}");
    assert_eq!(values(&cluster).await, [some("10"), None, some("5"), None]);
}

#[tokio::test]
async fn a_step_that_nobody_could_answer_keeps_the_saga_from_closing_until_it_is_run_again() {
    let mut cluster = opened().await;
    cluster.kill(BANK_A).await.unwrap();
    let saga = client(&cluster).begin(Opening::new().timeout(Duration::from_secs(3_600))).await.unwrap();
    let hasty = || seat(1).retry(HASTY);
    let unanswered = saga.run(hasty()).await;
    assert!(matches!(unanswered, Err(JoinError::Unanswered { attempts: 2, .. })), "{unanswered:?}");
    let refused = saga.close().await.unwrap_err().to_string();
    assert!(refused.contains("seat") && refused.contains("in-doubt"), "{refused}");
    cluster.restart(BANK_A, None).await.unwrap();
    crate::support::until("the step is answered", async || {
        saga.run(hasty()).await.inspect_err(|error| eprintln!("{error}")).ok()
    })
    .await;
    assert_eq!(saga.close().await.unwrap().outcome, Outcome::Committed);
    assert_eq!(values(&cluster).await, [some("9"), some("1"), some("5"), None]);
}

#[tokio::test]
async fn a_completion_that_is_refused_for_good_is_tried_again_on_an_operators_word() {
    let cluster = opened().await;
    let saga = client(&cluster).begin(Opening::with_id("trip".parse().unwrap())).await.unwrap();
    saga.join(room().complete(KvWork::new().add("rooms", Add::of(-9).floor(0))).retry(HASTY)).await.unwrap();
    for _ in 0..2 {
        let stuck = saga.close().await.unwrap_err().to_string();
        assert!(stuck.contains("the completion of step room was refused for good"), "{stuck}");
        let retry = ["resolve-step", "trip", "room", "retry", "--who", "me", "--reason", "there is room again"];
        undoubt(&cluster, &retry).await.expect(0, &[]);
    }
    undoubt(&cluster, &["submit", "--on", "bank-b", "put rooms 10"]).await.expect(0, &["committed"]);
    crate::support::until("it is completed", async || {
        let _ = undoubt(&cluster, &["resolve-step", "trip", "room", "retry", "--who", "me", "--reason", "x"]).await;
        saga.close().await.ok()
    })
    .await;
    assert_eq!(values(&cluster).await, [some("10"), None, some("1"), None]);
}

/// The steps of the sagas of a sweep.
#[derive(Clone, Copy)]
pub struct Steps {
    /// Those whose actions the coordinator has done.
    pub run: fn() -> Vec<OpenStep>,
    /// Those whose actions the caller does himself.
    pub joined: fn() -> Vec<OpenStep>,
}

/// The open transactions of a sweep.
#[derive(Clone, Copy)]
pub enum Script {
    Saga(Steps),
    /// A saga with another in it, which is closed, whatever becomes of the first.
    Nested,
    TwoPhase,
}

/// Begins, joins and ends an open transaction, whatever dies meanwhile; asks again for what was not answered. Returns whether it was
/// completed.
async fn carry_out(client: Client, id: String, script: Script, close: bool) -> bool {
    match script {
        Script::Saga(steps) => carry_out_saga(client, id, steps, close).await,
        Script::Nested => carry_out_nested(client, id, close).await,
        Script::TwoPhase => commit_in_two_phases(client, id, close).await,
    }
}

async fn carry_out_saga(client: Client, id: String, steps: Steps, close: bool) -> bool {
    let saga = loop {
        if let Ok(saga) = client.begin(Opening::with_id(id.parse().unwrap())).await {
            break saga;
        }
    };
    for step in (steps.run)() {
        while saga.run(step.clone()).await.is_err() {}
    }
    for step in (steps.joined)() {
        while saga.join(step.clone()).await.is_err() {}
    }
    end(&saga, close).await
}

async fn carry_out_nested(client: Client, id: String, close: bool) -> bool {
    let (tx, child): (TxId, TxId) = (id.parse().unwrap(), format!("{id}-nested").parse().unwrap());
    while client.begin(Opening::with_id(tx.clone())).await.is_err() {}
    let parent = client.open_saga(tx.clone());
    while parent.run(seat(1)).await.is_err() {}
    while client.begin(Opening::with_id(child.clone()).parent(tx.clone())).await.is_err() {}
    let child = client.open_saga(child);
    while child.join(room()).await.is_err() {}
    let closed = loop {
        if let Ok(answer) = child.close().await {
            break answer;
        }
    };
    assert!(closed.provisional && closed.outcome == Outcome::Committed, "{closed:?}");
    end(&parent, close).await
}

/// Closes a saga or cancels it, and asks again until it is answered. Returns whether it was closed.
async fn end(saga: &OpenSaga, close: bool) -> bool {
    let outcome = loop {
        let ended = match close {
            true => saga.close().await.ok().map(|answer| answer.outcome),
            false => saga.cancel().await.ok().and_then(|known| known.decided),
        };
        if let Some(outcome) = ended {
            break outcome;
        }
    };
    assert_eq!(matches!(outcome, Outcome::Committed), close, "{outcome:?}");
    close
}

/// Carries out an open two-phase commit. A participant that dies with what it has not prepared yet may have it aborted.
async fn commit_in_two_phases(client: Client, id: String, close: bool) -> bool {
    let two_phase = Opening::with_id(id.parse().unwrap()).completions(CompletionOrder::TwoPhase);
    let open = loop {
        if let Ok(open) = client.begin(two_phase.clone()).await {
            break open;
        }
    };
    let take =
        |at: &str, key: &'static str| OpenStep::new(key, at).complete(KvWork::new().add(key, Add::of(-1).floor(0)));
    while open.join(take("bank-a", "seats")).await.is_err() {}
    while open.join(take("bank-b", "rooms")).await.is_err() {}
    let outcome = loop {
        let ended = match close {
            true => open.close().await.ok().map(|answer| answer.outcome),
            false => open.cancel().await.ok().and_then(|known| known.decided),
        };
        if let Some(outcome) = ended {
            break outcome;
        }
    };
    assert!(close || !matches!(outcome, Outcome::Committed), "{outcome:?}");
    matches!(outcome, Outcome::Committed)
}

/// Has a process die at each of these points while open transactions are carried out; counts those that were completed, and those that
/// were not. Returns how many points were reached.
pub async fn sweep(cluster: &mut Cluster, who: Who, points: &[&str], script: Script, ended: &mut [i64; 2]) -> usize {
    let mut reached = 0;
    for point in points {
        for close in [true, false] {
            cluster.kill(who).await.unwrap();
            cluster.restart(who, Some(&format!("{point}:1"))).await.unwrap();
            let id = format!("{who:?}-{point}-{close}").replace(['(', ')'], "");
            let running = tokio::spawn(carry_out(client(cluster), id, script, close));
            while !running.is_finished() {
                if cluster.has_ended(who).unwrap() {
                    reached += 1;
                    cluster.restart(who, None).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let completed =
                tokio::time::timeout(crate::support::PATIENCE, running).await.expect("it ends in time").unwrap();
            if cluster.has_ended(who).unwrap() {
                reached += 1;
                cluster.restart(who, None).await.unwrap();
            }
            ended[usize::from(!completed)] += 1;
        }
    }
    // A point that was not reached lies in wait for what comes next.
    cluster.kill(who).await.unwrap();
    cluster.restart(who, None).await.unwrap();
    reached
}

#[tokio::test]
async fn a_kill_at_any_point_leaves_each_step_completed_once_or_undone_once() {
    let mut cluster = opened().await;
    undoubt(&cluster, &["submit", "--on", "bank-a", "put seats 1000"]).await.expect(0, &["committed"]);
    let (mut sagas, script) = ([0, 0], Script::Saga(Steps { run: || vec![seat(1)], joined: || vec![room()] }));
    let points = [
        undoubt_coordinator::OPEN_SAGA_POINTS,
        &["before-append-compensation", "after-append-compensation", "before-append-ended", "before-send-act"],
        &["after-send-act", "after-send-compensate", "before-answer", "after-answer"],
    ]
    .concat();
    let of_coordinator = sweep(&mut cluster, Who::Coordinator, &points, script, &mut sagas).await;
    assert!(of_coordinator >= points.len(), "only {of_coordinator} of {} points were reached", points.len());
    let points =
        [undoubt_participant::OPEN_SAGA_POINTS, &["after-act", "before-compensate", "after-compensate"]].concat();
    for who in [BANK_A, BANK_B] {
        sweep(&mut cluster, who, &points, script, &mut sagas).await;
    }
    let [closed, cancelled] = sagas;
    let text = |number: i64| Some(number.to_string());
    let expected = [text(1_000 - closed), text(closed), text(5 - closed), text(cancelled)];
    assert_eq!(values(&cluster).await, expected, "{closed} were closed and {cancelled} cancelled");
    assert_eq!(undoubt_json(&cluster, &["list", "--open"]).await.json()["transactions"], json!([]));
}

#[tokio::test]
async fn a_kill_at_any_point_of_an_open_two_phase_commit_leaves_all_of_its_branches_committed_or_none() {
    let mut cluster = opened().await;
    let put = ["submit", "--on", "bank-a", "put seats 1000", "--on", "bank-b", "put rooms 1000"];
    undoubt(&cluster, &put).await.expect(0, &["committed"]);
    let mut ended = [0, 0];
    let of_coordinator = [
        "before-append-opened",
        "after-append-opened",
        "before-append-joined",
        "after-append-joined",
        "before-append-committed",
        "after-append-committed",
        "before-append-ended",
        "after-append-ended",
        "before-send-prepare",
        "after-send-prepare",
        "before-send-commit",
        "after-send-commit",
        "before-answer",
        "after-answer",
    ];
    let reached = sweep(&mut cluster, Who::Coordinator, &of_coordinator, Script::TwoPhase, &mut ended).await;
    assert!(reached >= of_coordinator.len(), "only {reached} of {} points were reached", of_coordinator.len());
    assert_eq!(
        ended[0],
        i64::try_from(of_coordinator.len()).unwrap(),
        "a coordinator that dies has none aborted that is closed again"
    );
    for who in [BANK_A, BANK_B] {
        let points =
            ["before-execute", "after-execute", "before-commit", "after-commit", "before-send-vote", "after-send-vote"];
        sweep(&mut cluster, who, &points, Script::TwoPhase, &mut ended).await;
    }
    let left = Some((1_000 - ended[0]).to_string());
    assert_eq!(values(&cluster).await, [left.clone(), None, left, None], "{ended:?}");
    assert_eq!(undoubt_json(&cluster, &["list", "--open"]).await.json()["transactions"], json!([]));
}

#[tokio::test]
async fn an_open_two_phase_commit_of_the_command_line_is_closed_by_whoever_knows_its_id() {
    let mut cluster = opened().await;
    for (id, end, code, words) in [("one", "close", 0, "committed"), ("two", "cancel", 0, "aborted")] {
        undoubt(&cluster, &["begin", "--id", id, "--completions", "two-phase", "--deadline", "1h"])
            .await
            .expect(0, &[id]);
        for (step, at, work) in [("seat", "bank-a", "add seats -1 floor=0"), ("room", "bank-b", "add rooms -1 floor=0")]
        {
            undoubt(&cluster, &["join", id, step, "--on", at, "--complete", work]).await.expect(0, &["joined"]);
        }
        let acting = ["join", id, "more", "--on", "bank-a", "--action", "put a 1", "--undo", "delete a"];
        undoubt(&cluster, &acting).await.expect(7, &["two-phase", "completion"]);
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, None).await.unwrap();
        undoubt(&cluster, &[end, id]).await.expect(code, &[words]);
    }
    let dear = ["join", "three", "seat", "--on", "bank-a", "--complete", "add seats -100 floor=0"];
    undoubt(&cluster, &["begin", "--id", "three", "--completions", "two-phase"]).await.expect(0, &["three"]);
    undoubt(&cluster, &dear).await.expect(0, &["joined"]);
    undoubt(&cluster, &["join", "three", "room", "--on", "bank-b", "--complete", "add rooms -1"]).await.expect(0, &[]);
    undoubt(&cluster, &["close", "three"]).await.expect(3, &["aborted", "floor"]);
    assert_eq!(values(&cluster).await, [some("9"), None, some("4"), None]);
}

#[tokio::test]
async fn what_joined_stands_in_the_history_once_also_after_restarts() {
    let mut cluster = opened().await;
    undoubt(&cluster, &["begin", "--id", "told", "--deadline", "1h"]).await.expect(0, &["told"]);
    for (number, step) in ["one", "two", "three"].into_iter().enumerate() {
        let join = ["join", "told", step, "--on", "bank-b", "--complete", "add rooms -1"];
        undoubt(&cluster, &join).await.expect(0, &["joined"]);
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, None).await.unwrap();
        assert_eq!(joined(&cluster).await, ["one", "two", "three"][..=number]);
    }
    undoubt(&cluster, &["close", "told"]).await.expect(0, &["committed"]);
    assert_eq!(joined(&cluster).await, ["one", "two", "three"]);
}

/// Returns the steps of which the history tells that they joined.
async fn joined(cluster: &Cluster) -> Vec<String> {
    let said = undoubt_json(cluster, &["status", "told"]).await.json();
    let events = said["history"].as_array().unwrap();
    let joined = events.iter().filter(|event| event["event"] == "joined");
    joined.map(|event| event["detail"].as_str().unwrap().to_owned()).collect()
}
