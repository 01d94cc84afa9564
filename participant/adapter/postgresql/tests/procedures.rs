//! Declared procedures in a real database.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use std::time::Duration;
use support::fixture::{Fixture, act, assert_code, branch, call, prepare, step};
use support::{PROCEDURES, work};
use tokio_util::sync::CancellationToken;
use undoubt_participant::resource::{Branches as _, Ended, ResourceError, Steps as _};
use undoubt_vocabulary::{Direction, Execution, RefusalCode, RunStep, StepOutcome, Vote};
use undoubt_work::call::{Call, CallResult, CallWork};
use undoubt_work::{Datum, Reference, Results, Work};

const MORE: &str = r#"
[procedure.echo]
parameters = { a = "boolean", b = "smallint", c = "integer", d = "bigint", e = "real", f = "double", g = "numeric", h = "text", i = "bytes", j = "timestamp", k = "json", l = "uuid" }
statements = [{ sql = "SELECT :a AS a, :b AS b, :c AS c, :d AS d, :e AS e, :f AS f, :g AS g, :h AS h, :i AS i, :j AS j, :k AS k, :l AS l" }]
[procedure.sneak]
statements = [{ sql = "SELECT sneak()" }]
[procedure.hold]
parameters = { key = "text" }
read_only = true
statements = [{ sql = "SELECT value FROM kv WHERE key = :key FOR SHARE" }]
[procedure.move]
parameters = { from = "text", to = "text" }
statements = [
  { sql = "UPDATE kv SET value = value || '-' WHERE key = :from", rows = 1 },
  { sql = "UPDATE kv SET value = value || '+' WHERE key = :to", rows = 1, otherwise = "there is no {to}" },
]
[procedure.pass]
parameters = { key = "text" }
isolation = "serializable"
statements = [{ sql = "SELECT count(*) FROM kv" }, { sql = "INSERT INTO kv VALUES (:key, '')" }]
[procedure.none]
parameters = { key = "text" }
statements = [{ sql = "SELECT value FROM kv WHERE key = :key", rows = 0, otherwise = "{key} is there" }]
[procedure.scratch]
statements = [{ sql = "INSERT INTO pg_temp.scratch VALUES (1)" }]
[procedure.marked]
parameters = { key = "text", value = "text" }
locks = ["k:{key}"]
undo = "unmarked"
statements = [{ sql = "INSERT INTO kv VALUES (:key, :value)" }]
[procedure.unmarked]
parameters = { key = "text" }
statements = [{ sql = "DELETE FROM kv WHERE key = :key", rows = 1 }]
[procedure.many]
parameters = { count = "integer" }
statements = [{ sql = "INSERT INTO kv SELECT n::text, repeat('x', 1000) FROM generate_series(1, :count) n RETURNING key, value" }]
"#;

/// Returns a participant whose database has what the procedures need, and no schema of sessions.
async fn fixture(leave_out: &[&str]) -> Fixture {
    let kept = |procedure: &&str| !leave_out.iter().any(|name| procedure.starts_with(&format!("{name}]")));
    let more: Vec<&str> = MORE.split("[procedure.").skip(1).filter(kept).collect();
    let fixture = Fixture::with("20", &format!("{PROCEDURES}\n[procedure.{}", more.join("[procedure."))).await;
    fixture
        .sql("CREATE FUNCTION sneak() RETURNS void LANGUAGE sql AS $$ INSERT INTO kv VALUES ('sneaked', '') $$; INSERT INTO kv VALUES ('a', ''), ('b', '')")
        .await;
    fixture
}

fn results(result: &Bytes) -> Vec<CallResult> {
    Results::read(result).calls().unwrap().to_vec()
}

async fn committed(fixture: &Fixture, number: u64, call: Call) -> Vec<CallResult> {
    match prepare(&fixture.resource, number, Execution::OnePhase, work::work(call)).await.unwrap() {
        Vote::Committed { result } | Vote::ReadOnly { result } => results(&result),
        other @ (Vote::Prepared { .. } | Vote::Refused(_)) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn values_of_all_types_come_back_as_they_went() {
    let fixture = fixture(&[]).await;
    let given = [
        ("a", Datum::Bool(true)),
        ("b", Datum::Integer(-7)),
        ("c", Datum::Integer(70_000)),
        ("d", Datum::Integer(i64::MIN)),
        ("e", Datum::Double(0.5)),
        ("f", Datum::Double(-1e300)),
        ("g", Datum::Decimal("-123456789012345678901234567890.00120".to_owned())),
        ("h", Datum::Text("it's \\ ü\n$1 :x".to_owned())),
        ("i", Datum::Bytes(Bytes::from_static(b"\x00\xff\\x"))),
        ("j", Datum::TimestampUs(-1)),
        ("k", Datum::Json("{\"a\": [1, null]}".to_owned())),
        ("l", Datum::Uuid([9; 16])),
    ];
    let all = given.iter().fold(Call::new("echo"), |call, (name, value)| call.arg(name, value.clone()));
    let [CallResult { affected: 0, columns, rows }] = &committed(&fixture, 1, all).await[..] else {
        panic!("one call")
    };
    assert_eq!(*columns, given.each_ref().map(|(name, _)| (*name).to_owned()));
    assert_eq!(*rows, [given.each_ref().map(|(_, value)| value.clone())]);
    let nothing = given.iter().fold(Call::new("echo"), |call, (name, _)| call.arg(name, Datum::Null));
    assert_eq!(committed(&fixture, 2, nothing).await[0].rows, [vec![Datum::Null; given.len()]]);
    let texts = given.iter().fold(Call::new("echo"), |call, (name, value)| match value.to_text() {
        Some(text) if *name != "h" && *name != "i" => call.arg(name, text),
        Some(_) | None => call.arg(name, value.clone()),
    });
    assert_eq!(
        committed(&fixture, 3, texts).await[0].rows,
        [given.map(|(_, value)| value)],
        "text stands for every type"
    );
}

#[tokio::test]
async fn work_that_does_not_fit_is_refused_with_procedure_and_argument() {
    let fixture = fixture(&[]).await;
    for (call, says) in [
        (Call::new("nothing"), "there is no procedure nothing here"),
        (
            Call::new("add").arg("key", "k").arg("delta", "x").arg("floor", Datum::Null),
            "procedure add, delta: x is no bigint",
        ),
        (Call::new("get"), "procedure get needs key, a text"),
        (Call::new("get").arg("key", "k").arg("more", 1), "procedure get has no parameter more"),
        (Call::new("put").arg("key", "k").arg("value", "v").pend(), "declares no locks"),
        (Call::new("put").arg("key", "k").arg("value", "v").undo(), "declares no undo"),
    ] {
        assert_code(&fixture.refusal(1, work::work(call)).await, RefusalCode::InvalidWork, &[says]);
    }
}

#[tokio::test]
async fn a_procedure_that_says_it_reads_and_writes_is_refused_by_the_database() {
    let fixture = fixture(&[]).await;
    for execution in [Execution::OnePhase, Execution::TwoPhase] {
        let vote = prepare(&fixture.resource, 1, execution, work::work(Call::new("sneak"))).await;
        let Ok(Vote::Refused(refusal)) = vote else { panic!("{vote:?}") };
        assert_code(&refusal, RefusalCode::InvalidWork, &["statement 1 of procedure sneak", "read-only"]);
    }
    assert_eq!(fixture.sql("SELECT count(*) FROM kv WHERE key = 'sneaked'").await, "0");
}

#[tokio::test]
async fn of_several_statements_all_take_effect_or_none() {
    let fixture = fixture(&[]).await;
    let shift = |from: &str, to: &str| work::work(Call::new("move").arg("from", from).arg("to", to));
    assert_code(&fixture.refusal(1, shift("a", "c")).await, RefusalCode::Condition, &["there is no c"]);
    assert_code(
        &fixture.refusal(1, shift("c", "a")).await,
        RefusalCode::Condition,
        &["statement 1 of procedure move is to have 1 rows"],
    );
    let vote = prepare(&fixture.resource, 2, Execution::OnePhase, shift("a", "c")).await;
    assert!(matches!(vote, Ok(Vote::Refused(_))), "{vote:?}");
    assert_eq!(fixture.sql("SELECT string_agg(value, '') FROM kv").await, "");
    fixture.prepare(3, shift("a", "b")).await;
    assert_eq!(fixture.commit(3).await, Ok(Ended::AsTold));
    assert_eq!((fixture.value("a").await, fixture.value("b").await), ("-".to_owned(), "+".to_owned()));
    let calls =
        CallWork::new().call(Call::new("move").arg("from", "a").arg("to", "b")).call(Call::new("none").arg("key", "a"));
    assert_code(&fixture.refusal(4, calls.encode().unwrap()).await, RefusalCode::Condition, &["a is there"]);
    let result = committed(&fixture, 5, Call::new("none").arg("key", "z")).await;
    assert!(result[0].rows.is_empty() && result[0].columns == ["value"], "{result:?}");
    assert_eq!(fixture.value("a").await, "-");
}

#[tokio::test]
async fn a_deadlock_and_a_serialization_failure_are_worth_another_try() {
    let fixture = fixture(&[]).await;
    let client = fixture.client().await;
    client.batch_execute("BEGIN; UPDATE kv SET value = 'x' WHERE key = 'b'").await.unwrap();
    let resource = fixture.resource.clone();
    let shift = work::work(Call::new("move").arg("from", "a").arg("to", "b"));
    let ours = tokio::spawn(async move { prepare(&resource, 1, Execution::TwoPhase, shift).await });
    fixture.until_waiting(1).await;
    let theirs = client.batch_execute("UPDATE kv SET value = 'x' WHERE key = 'a'; COMMIT").await;
    let ours = ours.await.unwrap().unwrap();
    match &ours {
        Vote::Refused(refusal) => assert_code(refusal, RefusalCode::LockConflict, &["40P01", "try again"]),
        other @ (Vote::Prepared { .. } | Vote::Committed { .. } | Vote::ReadOnly { .. }) => {
            assert!(theirs.is_err(), "one of the two ends it: {other:?}");
        }
    }

    client.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM kv; INSERT INTO kv VALUES ('theirs', '')").await.unwrap();
    fixture.abort(1).await.unwrap();
    let pass = |key: &str| work::work(Call::new("pass").arg("key", key));
    let first = fixture.try_prepare(2, pass("ours")).await.unwrap();
    let theirs = client.batch_execute("COMMIT").await;
    let is_refused = matches!(&first, Vote::Refused(refusal) if refusal.code == RefusalCode::LockConflict);
    assert!(is_refused != theirs.is_err(), "one of the two is refused: {first:?}, {theirs:?}");
}

#[tokio::test]
async fn what_cannot_be_prepared_is_refused_and_leaves_nothing() {
    let fixture = fixture(&["scratch"]).await;
    fixture.sql("CREATE FUNCTION temporary() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS s (a int); RETURN NEW; END $$; \
        CREATE TRIGGER t BEFORE UPDATE ON kv FOR EACH ROW EXECUTE FUNCTION temporary()").await;
    let refusal = fixture.refusal(1, work::work(Call::new("move").arg("from", "a").arg("to", "b"))).await;
    assert_code(&refusal, RefusalCode::InvalidWork, &["0A000", "temporary"]);
    assert_eq!(fixture.prepared().await, "0");
    fixture.prepare(2, work::put("c", "c")).await;
}

#[tokio::test]
async fn readers_are_bounded_and_hold_their_rows() {
    let fixture = fixture(&[]).await;
    let hold = || work::work(Call::new("hold").arg("key", "a"));
    for number in 1..=6 {
        let vote = fixture.try_prepare(number, hold()).await;
        assert!(matches!(vote, Ok(Vote::ReadOnly { .. })), "{vote:?}");
    }
    assert_code(&fixture.refusal(7, hold()).await, RefusalCode::Unavailable, &["resource.max_readers"]);
    let (id, briefly) = call(8, Execution::OnePhase, work::work(Call::new("move").arg("from", "a").arg("to", "b")));
    let briefly = undoubt_vocabulary::Prepare { timeout: Duration::from_millis(50), ..briefly };
    let vote = fixture.resource.prepare(id, briefly, CancellationToken::new()).await;
    assert!(matches!(&vote, Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::LockTimeout), "{vote:?}");
    for number in 1..=6 {
        assert_eq!(fixture.resource.confirm(branch(number)).await, Ok(true));
    }
    fixture.prepare(9, work::work(Call::new("move").arg("from", "a").arg("to", "b"))).await;
}

#[tokio::test]
async fn what_a_saga_has_marked_is_respected_until_it_is_undone() {
    let fixture = fixture(&[]).await;
    let marked = Call::new("marked").arg("key", "m").arg("value", "1").pend();
    let done = act(&fixture.resource, 1, work::work(marked.clone())).await;
    assert!(matches!(done, Ok(StepOutcome::Done { pending: true, .. })), "{done:?}");
    let respectful = Call::new("marked").arg("key", "m").arg("value", "2").respect_pending();
    assert_code(&fixture.refusal(2, work::work(respectful.clone())).await, RefusalCode::Pending, &["pending"]);
    let refused = act(&fixture.resource, 3, work::work(marked.clone())).await;
    assert!(
        matches!(&refused, Ok(StepOutcome::Refused(refusal)) if refusal.code == RefusalCode::Pending),
        "{refused:?}"
    );
    let marks = fixture.resource.marks(Bytes::new(), 10).await.unwrap();
    assert_eq!(marks.iter().map(|mark| &mark.key[..]).collect::<Vec<_>>(), [b"k:m"]);
    let (id, run) = step(1, work::work(Call { pend: false, ..marked.undo() }), Direction::Compensating);
    let undone = fixture.resource.compensate(id, run).await;
    assert!(matches!(undone, Ok(StepOutcome::Done { .. })), "{undone:?}");
    assert_eq!(fixture.value("m").await, "");
    fixture.prepare(4, work::work(respectful)).await;
}

#[tokio::test]
async fn a_result_that_is_too_large_leaves_nothing_behind() {
    let fixture = fixture(&[]).await;
    let many = || work::work(Call::new("many").arg("count", 2_000));
    assert_code(&fixture.refusal(1, many()).await, RefusalCode::TooLarge, &["1048576 bytes"]);
    let vote = prepare(&fixture.resource, 2, Execution::OnePhase, many()).await;
    assert!(matches!(&vote, Ok(Vote::Refused(refusal)) if refusal.code == RefusalCode::TooLarge), "{vote:?}");
    let refused = act(&fixture.resource, 3, many()).await;
    assert!(
        matches!(&refused, Ok(StepOutcome::Refused(refusal)) if refusal.code == RefusalCode::TooLarge),
        "{refused:?}"
    );
    assert_eq!(
        (fixture.prepared().await, fixture.sql("SELECT count(*) FROM kv").await),
        ("0".to_owned(), "2".to_owned())
    );
}

#[tokio::test]
async fn a_repeated_commit_frees_no_keys_of_a_newer_attempt() {
    let fixture = fixture(&[]).await;
    let work = |value: &str| work::work(Call::new("put_marked").arg("key", "k").arg("value", value));
    fixture.prepare(1, work("1")).await;
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    let (older, again) = call(1, Execution::TwoPhase, work("2"));
    let newer = undoubt_participant::resource::BranchId { attempt_number: branch(2).attempt_number, ..older.clone() };
    let again = undoubt_vocabulary::Prepare { attempt_number: newer.attempt_number, ..again };
    let vote = fixture.resource.prepare(newer.clone(), again, CancellationToken::new()).await;
    assert!(matches!(vote, Ok(Vote::Prepared { .. })), "{vote:?}");
    assert_eq!(fixture.resource.commit(older).await, Ok(Ended::AsTold));
    assert_code(&fixture.refusal(9, work("9")).await, RefusalCode::LockConflict, &["older transaction tx-1"]);
    assert_eq!(fixture.resource.commit(newer).await, Ok(Ended::AsTold));
    assert_eq!(fixture.value("k").await, "2");
}

#[tokio::test]
async fn an_outcome_is_kept_with_the_work_or_not_at_all() {
    let fixture = fixture(&[]).await;
    let put = |key: &'static str| {
        let mut work = Work::from(CallWork::from(Call::new("put").arg("key", "k").arg("value", "v")));
        work.keep(&Bytes::from_static(key.as_bytes()), "by steps".to_owned(), Some("as one".to_owned()));
        work.encode(&[]).unwrap()
    };
    fixture.prepare(1, put("two")).await;
    assert_eq!(fixture.sql("SELECT count(*) FROM undoubt.outcome").await, "0");
    assert_eq!(fixture.commit(1).await, Ok(Ended::AsTold));
    prepare(&fixture.resource, 2, Execution::OnePhase, put("one")).await.unwrap();
    act(&fixture.resource, 3, put("step")).await.unwrap();
    let found = fixture
        .sql("SELECT convert_from(key, 'UTF8'), convert_from(value, 'UTF8') FROM undoubt.outcome ORDER BY 1")
        .await;
    assert_eq!(found, "one|as one\nstep|by steps\ntwo|as one");
}

#[tokio::test]
async fn a_completion_takes_what_its_action_has_returned_and_takes_effect_once() {
    let fixture = fixture(&[]).await;
    let Ok(StepOutcome::Done { result, .. }) = act(&fixture.resource, 1, work::add("k", 5, None)).await else {
        panic!("an action with nobody in its way is done")
    };
    let put = Call::new("put").arg("key", "sold").arg_from("value", Reference::to_column("own", 0, "value"));
    let put = Work::from(CallWork::from(put)).encode(&["own"]).unwrap();
    let (id, run) = step(1, put, Direction::Completing);
    let done = fixture.resource.complete(id, RunStep { inputs: vec![result], ..run }).await;
    assert!(matches!(done, Ok(StepOutcome::Done { pending: false, .. })), "{done:?}");
    assert_eq!(fixture.value("sold").await, "5");
    // The server asks once. Whoever asks again finds no action that is in effect.
    let (id, run) = step(1, work::put("sold", "again"), Direction::Completing);
    let again = fixture.resource.complete(id, run).await;
    assert!(matches!(&again, Err(ResourceError::Unavailable { cause }) if cause.contains("barrier")), "{again:?}");
    let (id, run) = step(1, work::put("sold", "again"), Direction::Compensating);
    let undone = fixture.resource.compensate(id, run).await;
    assert!(matches!(&undone, Err(ResourceError::Unavailable { cause }) if cause.contains("barrier")), "{undone:?}");
    assert_eq!(fixture.value("sold").await, "5");
}

#[tokio::test]
async fn what_was_done_elsewhere_is_ended_once_though_it_has_no_barrier_before() {
    let fixture = fixture(&[]).await;
    for (number, direction) in [(1, Direction::Compensating), (2, Direction::Completing)] {
        let end = async || {
            let (id, run) = step(number, work::add("k", 1, None), direction);
            let run = RunStep { acted_elsewhere: true, ..run };
            match direction {
                Direction::Completing => fixture.resource.complete(id, run).await,
                Direction::Compensating | Direction::Forward => fixture.resource.compensate(id, run).await,
            }
        };
        let done = end().await;
        assert!(matches!(done, Ok(StepOutcome::Done { .. })), "{done:?}");
        let again = end().await;
        assert!(matches!(again, Ok(StepOutcome::Refused(_))), "{again:?}");
        assert_eq!(fixture.value("k").await, number.to_string());
    }
}
