//! The commands that operators run before a participant starts and after it has stopped, and the values that go through.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::time::Duration;
use support::branch::{act, branch, call, end, prepare, refused, step, vote};
use support::{PROCEDURES, database, open, participant, procedures, server, settings, work};
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{SchemaError, Settings, check, init, init_sql, list, remove};
use undoubt_participant::resource::{Branches as _, Resource as _, ResourceError};
use undoubt_sql::Lack;
use undoubt_test_servers as servers;
use undoubt_vocabulary::{Direction, Execution, RunStep, StepOutcome, Vote};
use undoubt_work::call::{Call, CallWork};
use undoubt_work::{Datum, Reference, Results, Work};

const DATABASE: &str = "bank";

/// Returns the lack that says so, and what to change.
fn find<'a>(lacks: &'a [Lack], what: &str) -> &'a Lack {
    lacks.iter().find(|lack| lack.what.contains(what)).unwrap_or_else(|| panic!("{what} is not among {lacks:#?}"))
}

#[tokio::test]
async fn a_check_says_what_a_server_lacks_and_what_to_change() {
    let mut server =
        servers::MariaDb::start(&[("innodb-flush-log-at-trx-commit", "2"), ("max-connections", "10")]).await.unwrap();
    server.sql("", &format!("CREATE DATABASE {DATABASE}")).await.unwrap();
    let settings = settings(server.url(DATABASE));
    let shared = "[procedure.shared]\nparameters = { a = \"bigint\" }\nstatements = [\n  { sql = \"SELECT 1 FROM t WHERE a = :a LOCK IN SHARE \
                  MODE\" },\n  { sql = \"UPDATE t SET b = :a\" },\n]\n";
    server.sql(DATABASE, "CREATE TABLE t (a INT) ENGINE = Aria").await.unwrap();
    let lacks = check(&settings, &procedures(shared)).await;
    assert!(find(&lacks, "does not survive a crash").change.contains("innodb_flush_log_at_trx_commit = 1"));
    assert!(find(&lacks, "10 connections").change.contains("max_connections = "));
    assert!(find(&lacks, "no tables undoubt_").change.contains("init"));
    assert!(find(&lacks, "kept by Aria").change.contains("ALTER TABLE `t` ENGINE = InnoDB"));
    find(&lacks, "line 4: procedure shared, statement 1: it locks rows in share mode");
    find(&lacks, "line 5: procedure shared, statement 2: Unknown column 'b'");

    server.set("innodb-flush-log-at-trx-commit", "1");
    server.set("max-connections", "100");
    server.set("log-bin", "log");
    server.restart().await.unwrap();
    server.sql(DATABASE, "DROP TABLE t").await.unwrap();
    server.sql(DATABASE, support::TABLES).await.unwrap();
    init(&settings, None).await.unwrap();
    let lacks = check(&settings, &procedures(PROCEDURES)).await;
    assert!(find(&lacks, "the binary log is not forced").change.contains("sync_binlog = 1"));
    assert_eq!(lacks.len(), 1, "{lacks:#?}");
    server.sql("", "SET GLOBAL sync_binlog = 1").await.unwrap();
    assert_eq!(check(&settings, &procedures(PROCEDURES)).await, []);

    server.stop().await.unwrap();
    find(&check(&settings, &procedures(PROCEDURES)).await, "the database is away");
}

#[tokio::test]
async fn a_user_with_the_rights_that_init_grants_is_enough() {
    let server = server().await;
    server
        .sql("", &format!("CREATE DATABASE {DATABASE}; CREATE USER undoubt@'127.0.0.1' IDENTIFIED BY 'secret'"))
        .await
        .unwrap();
    server.sql(DATABASE, support::TABLES).await.unwrap();
    let url = format!("mysql://undoubt@{}/{DATABASE}", server.address());
    let password = std::env::temp_dir().join(format!("undoubt-password-{}", std::process::id()));
    std::fs::write(&password, "secret\n").unwrap();
    let own = Settings { url, password_file: Some(password.clone()), ..settings(String::new()) };
    let lacks = check(&own, &procedures(PROCEDURES)).await;
    assert!(find(&lacks, "does not let this participant in").is_needed);

    init(&settings(server.url(DATABASE)), Some("undoubt@127.0.0.1")).await.unwrap();
    server.sql(DATABASE, "GRANT SELECT, INSERT, UPDATE, DELETE ON kv TO undoubt@'127.0.0.1'").await.unwrap();
    assert_eq!(check(&own, &procedures(PROCEDURES)).await, []);
    let resource = open(&own, PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    prepare(&resource, 1, work::put("k", "1")).await;
    let resource = open(&Settings { take_over: true, ..own.clone() }, PROCEDURES);
    assert_eq!(resource.recover(&participant()).await.unwrap().prepared.len(), 1);
    resource.commit(branch(1)).await.unwrap();
    assert_eq!(server.sql(DATABASE, "SELECT value FROM kv").await.unwrap(), "1");

    server.sql("", "REVOKE PROCESS ON *.* FROM undoubt@'127.0.0.1'").await.unwrap();
    let lacks = check(&own, &procedures(PROCEDURES)).await;
    assert!(find(&lacks, "may not see InnoDB's transactions").change.contains("GRANT PROCESS"));
    server.sql(DATABASE, "REVOKE INSERT ON kv FROM undoubt@'127.0.0.1'").await.unwrap();
    let revoked = refused(vote(&resource, 2, work::put("k", "2")).await);
    assert!(revoked.detail.contains("INSERT"), "{}", revoked.detail);
    std::fs::remove_file(password).unwrap();
}

#[tokio::test]
async fn tables_are_removed_only_when_nothing_is_in_doubt_and_nobody_works() {
    let server = server().await;
    let settings = settings(server.url(DATABASE));
    server.sql("", &format!("CREATE DATABASE {DATABASE}")).await.unwrap();
    assert!(matches!(remove(&settings).await, Err(SchemaError::Missing)));
    let resource = open(&settings, PROCEDURES);
    let missing = resource.recover(&participant()).await;
    assert!(matches!(&missing, Err(ResourceError::Foreign { cause }) if cause.contains("init")), "{missing:?}");
    server.sql(DATABASE, support::TABLES).await.unwrap();
    server.sql(DATABASE, &init_sql(None)).await.unwrap();
    assert!(matches!(init(&settings, None).await, Err(SchemaError::Exists)));

    resource.recover(&participant()).await.unwrap();
    prepare(&resource, 1, work::put("k", "1")).await;
    let stop = CancellationToken::new();
    let (working, stopped) = (async { resource.background(stop.clone()).await }, async {
        let refused = remove(&settings).await;
        stop.cancel();
        refused
    });
    let (ended, owned) = tokio::join!(working, stopped);
    ended.unwrap();
    assert!(matches!(&owned, Err(SchemaError::InUse { todo, .. }) if todo.contains("Stop")), "{owned:?}");
    let in_doubt = remove(&settings).await;
    assert!(matches!(&in_doubt, Err(SchemaError::InUse { what, .. }) if what.contains("tx-1")), "{in_doubt:?}");
    let listed = list(&settings).await.unwrap();
    assert!(matches!(&listed[..], [one] if one.ours && one.age.is_some()), "{listed:?}");

    let resource = open(&settings, PROCEDURES);
    assert_eq!(resource.recover(&participant()).await.unwrap().prepared.len(), 1);
    resource.abort(branch(1)).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    resource.background(stop).await.unwrap();
    remove(&settings).await.unwrap();
    assert_eq!(server.sql(DATABASE, "SHOW TABLES").await.unwrap(), "kv");
}

#[tokio::test]
async fn values_of_all_types_go_there_and_come_back() {
    let server = server().await;
    database(&server, DATABASE).await;
    server
        .sql(
            DATABASE,
            "CREATE TABLE t (a TINYINT, b SMALLINT, c INT, d BIGINT, e FLOAT, f DOUBLE, g DECIMAL(30, 10), h TEXT CHARACTER SET utf8mb4, \
             i BLOB, j DATETIME(6), k JSON, l UUID, m BIGINT UNSIGNED DEFAULT 18446744073709551615, n DATE DEFAULT '2026-01-02') ENGINE = \
             InnoDB",
        )
        .await
        .unwrap();
    let types = [
        ("a", "boolean", Datum::Bool(true), Datum::Integer(1)),
        ("b", "smallint", Datum::Integer(-7), Datum::Integer(-7)),
        ("c", "integer", Datum::Text("1000000".to_owned()), Datum::Integer(1_000_000)),
        ("d", "bigint", Datum::Integer(i64::MIN), Datum::Integer(i64::MIN)),
        ("e", "real", Datum::Double(0.5), Datum::Double(0.5)),
        ("f", "double", Datum::Double(-1.25e-200), Datum::Double(-1.25e-200)),
        (
            "g",
            "numeric",
            Datum::Decimal("-12345678901234567890.5".to_owned()),
            Datum::Decimal("-12345678901234567890.5000000000".to_owned()),
        ),
        ("h", "text", text("it's \\ \"ö\" ; -- \u{1F600}"), text("it's \\ \"ö\" ; -- \u{1F600}")),
        ("i", "bytes", Datum::Bytes(vec![0, 39, 92, 255].into()), Datum::Bytes(vec![0, 39, 92, 255].into())),
        ("j", "timestamp", Datum::TimestampUs(1_500_000), Datum::TimestampUs(1_500_000)),
        ("k", "json", Datum::Json("{\"a\": 1}".to_owned()), text("{\"a\": 1}")),
        ("l", "uuid", Datum::Uuid(7_u128.to_be_bytes()), text("00000000-0000-0000-0000-000000000007")),
    ];
    let declared: Vec<String> = types.iter().map(|(name, kind, ..)| format!("{name} = \"{kind}\"")).collect();
    let names: Vec<&str> = types.iter().map(|(name, ..)| *name).collect();
    let places: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
    let declaration = format!(
        "[procedure.all]\nparameters = {{ {} }}\nstatements = [\n{{ sql = \"INSERT INTO t ({}) VALUES ({})\", rows = 1 }},\n{{ sql = \"SELECT * \
         FROM t\", rows = 1 }},\n]\n",
        declared.join(", "),
        names.join(", "),
        places.join(", ")
    );
    let resource = open(&settings(server.url(DATABASE)), &declaration);
    resource.recover(&participant()).await.unwrap();
    let all = types.iter().fold(Call::new("all"), |call, (name, _, value, _)| call.arg(name, value.clone()));
    let all = work::work(all);
    let (id, lone) = call(1, Execution::OnePhase, Duration::from_secs(10), all);
    let vote = resource.prepare(id, lone, CancellationToken::new()).await;
    let Ok(Vote::Committed { result }) = vote else { panic!("{vote:?}") };
    let results = Results::read(&result);
    let result = &results.calls().unwrap()[0];
    assert_eq!(result.affected, 1);
    let mut expected: Vec<Datum> = types.into_iter().map(|(.., expected)| expected).collect();
    expected.extend([Datum::Decimal("18446744073709551615".to_owned()), text("2026-01-02")]);
    assert_eq!(result.rows, [expected]);
    assert_eq!(result.columns[..2], ["a", "b"]);
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

#[tokio::test]
async fn a_completion_takes_what_its_action_has_returned_and_takes_effect_once() {
    let server = server().await;
    database(&server, DATABASE).await;
    let resource = open(&settings(server.url(DATABASE)), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    let sold = async || server.sql(DATABASE, "SELECT value FROM kv WHERE name = 'sold'").await.unwrap();
    let result = act(&resource, 1, work::add("k", 5, None)).await;
    let put = Call::new("put").arg("key", "sold").arg_from("value", Reference::to_column("own", 0, "value"));
    let put = Work::from(CallWork::from(put)).encode(&["own"]).unwrap();
    let (id, run) = step(1, put, Direction::Completing);
    let done = end(&resource, (id, RunStep { inputs: vec![result], ..run })).await;
    assert!(matches!(done, Ok(StepOutcome::Done { pending: false, .. })), "{done:?}");
    assert_eq!(sold().await, "5");
    // The server asks once. Whoever asks again finds no action that is in effect.
    for direction in [Direction::Completing, Direction::Compensating] {
        let again = end(&resource, step(1, work::put("sold", "again"), direction)).await;
        assert!(matches!(&again, Err(ResourceError::Unavailable { cause }) if cause.contains("barrier")), "{again:?}");
        assert_eq!(sold().await, "5");
    }
}

#[tokio::test]
async fn what_was_done_elsewhere_is_ended_once_though_it_has_no_barrier_before() {
    let server = server().await;
    database(&server, DATABASE).await;
    let resource = open(&settings(server.url(DATABASE)), PROCEDURES);
    resource.recover(&participant()).await.unwrap();
    for (number, direction) in [(1, Direction::Compensating), (2, Direction::Completing)] {
        let elsewhere = || {
            let (id, run) = step(number, work::add("k", 1, None), direction);
            (id, RunStep { acted_elsewhere: true, ..run })
        };
        let done = end(&resource, elsewhere()).await;
        assert!(matches!(done, Ok(StepOutcome::Done { .. })), "{done:?}");
        let again = end(&resource, elsewhere()).await;
        assert!(matches!(again, Ok(StepOutcome::Refused(_))), "{again:?}");
        assert_eq!(server.sql(DATABASE, "SELECT value FROM kv").await.unwrap(), number.to_string());
    }
}
