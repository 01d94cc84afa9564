//! Open sagas that are nested in others: closed and undone with them, through kills at every point.

use crate::open_sagas::{BANK_A, BANK_B, Script, opened, some, sweep, values};
use crate::support::cli::{undoubt, undoubt_json};
use serde_json::json;
use undoubt::cluster::Who;

#[tokio::test]
async fn a_nested_saga_is_completed_when_it_is_closed_and_undone_when_its_parent_is_cancelled() {
    let mut cluster = opened().await;
    for (trip, flight, end, said) in
        [("trip-1", "flight-1", "close", "committed"), ("trip-2", "flight-2", "cancel", "aborted")]
    {
        undoubt(&cluster, &["begin", "--id", trip]).await.expect(0, &["open"]);
        undoubt(&cluster, &["begin", "--id", flight, "--parent", trip]).await.expect(0, &["open"]);
        let seat = ["join", flight, "seat", "--on", "bank-a", "--action", "add seats -1 floor=0", "--undo"];
        undoubt(&cluster, &[&seat[..], &["add seats 1"]].concat()).await.expect(0, &["done"]);
        let room = ["join", flight, "room", "--on", "bank-b", "--undo", "add released 1", "--complete", "add rooms -1"];
        undoubt(&cluster, &room).await.expect(0, &["joined"]);
        undoubt(&cluster, &["close", flight]).await.expect(0, &["closed", flight, "parent"]);
        let known = undoubt_json(&cluster, &["status", flight]).await.json();
        assert_eq!(
            (&known["state"], &known["phase"], &known["parent"]),
            (&json!("closed"), &json!("closed"), &json!(trip))
        );
        assert_eq!(undoubt_json(&cluster, &["status", trip]).await.json()["children"], json!([flight]));
        undoubt(&cluster, &["status", trip]).await.expect(0, &["open", flight]);
        undoubt(&cluster, &["cancel", flight]).await.expect(8, &["too late", "ends with its parent"]);
        undoubt(&cluster, &room).await.expect(8, &["takes no steps any more"]);
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.restart(Who::Coordinator, None).await.unwrap();
        undoubt(&cluster, &[end, trip]).await.expect(0, &[said]);
        undoubt(&cluster, &["status", flight]).await.expect(0, &[said]);
    }
    assert_eq!(values(&cluster).await, [some("9"), None, some("3"), some("1")]);
    assert_eq!(undoubt_json(&cluster, &["list", "--damaged"]).await.json()["transactions"], json!([]));
}

#[tokio::test]
async fn a_saga_is_nested_in_none_that_does_not_take_it() {
    let cluster = opened().await;
    undoubt(&cluster, &["begin", "--id", "a", "--parent", "none"]).await.expect(8, &["none", "without a parent"]);
    undoubt(&cluster, &["begin", "--id", "two", "--completions", "two-phase"]).await.expect(0, &["open"]);
    undoubt(&cluster, &["begin", "--id", "a", "--parent", "two"]).await.expect(8, &["only sagas nest"]);
    undoubt(&cluster, &["begin", "--id", "one"]).await.expect(0, &["open"]);
    undoubt(&cluster, &["begin", "--id", "a", "--parent", "one"]).await.expect(0, &["open"]);
    undoubt(&cluster, &["begin", "--id", "a"]).await.expect(7, &["other content"]);
    let alone = ["join", "a", "room", "--on", "bank-b", "--complete", "add rooms -1"];
    undoubt(&cluster, &alone).await.expect(7, &["compensation"]);
    undoubt(&cluster, &["close", "one"]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["status", "a"]).await.expect(0, &["committed"]);
}

#[tokio::test]
async fn a_kill_at_any_point_leaves_what_is_nested_as_its_parent_is() {
    let mut cluster = opened().await;
    undoubt(&cluster, &["submit", "--on", "bank-a", "put seats 1000"]).await.expect(0, &["committed"]);
    undoubt(&cluster, &["submit", "--on", "bank-b", "put rooms 1000"]).await.expect(0, &["committed"]);
    let mut ended = [0, 0];
    let points = [
        undoubt_coordinator::OPEN_SAGA_POINTS,
        &["before-append-compensation", "after-append-compensation", "before-append-ended", "after-append-ended"],
        &["after-send-compensate", "before-answer", "after-answer"],
    ]
    .concat();
    let reached = sweep(&mut cluster, Who::Coordinator, &points, Script::Nested, &mut ended).await;
    assert!(reached >= points.len(), "only {reached} of {} points were reached", points.len());
    for who in [BANK_A, BANK_B] {
        let points = ["before-complete", "after-complete", "before-compensate", "after-compensate"];
        sweep(&mut cluster, who, &points, Script::Nested, &mut ended).await;
    }
    let [closed, cancelled] = ended;
    let text = |number: i64| Some(number.to_string());
    let expected = [text(1_000 - closed), text(closed), text(1_000 - closed - cancelled), text(cancelled)];
    assert_eq!(values(&cluster).await, expected, "{closed} were closed and {cancelled} cancelled");
    assert_eq!(undoubt_json(&cluster, &["list", "--open"]).await.json()["transactions"], json!([]));
}
