//! The gateway: what it answers, whom it lets do what, and what it withstands.

use crate::support::http::{Events, JSON, answer, get, post, request, send};
use crate::support::served::Served;
use crate::support::until;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use undoubt_platform::access::TokenHash;

fn put(id: &str, key: &str, value: &str) -> Value {
    json!({ "id": id, "branches": { "store": [format!("put {key} {value}")] } })
}

/// A saga that nobody can decide: its participant is away.
fn waits(id: &str) -> Value {
    json!({ "id": id, "mode": "saga", "deadline": "1h", "steps": [
        { "name": "first", "at": "store", "do": ["add n 1"], "undo": ["add n -1"] },
        { "name": "away", "at": "away", "do": ["add n 1"], "undo": ["add n -1"], "attempts": 1_000_000 },
    ]})
}

const AWAY: &[&str] = &["--participant", "away=http://127.0.0.1:1"];

async fn submit(gateway: SocketAddr, body: &Value) -> Value {
    post(gateway, "/v1/transactions", body).await.expect(200).json()
}

#[tokio::test]
async fn what_is_submitted_is_waited_for_and_told_the_same_again() {
    let served = Served::start(&[]).await;
    let first = submit(served.gateway, &put("t", "a", "1")).await;
    assert_eq!((&first["tx"], &first["state"]), (&json!("t"), &json!("committed")), "{first}");
    assert_eq!(submit(served.gateway, &put("t", "a", "1")).await, first);
    let other = post(served.gateway, "/v1/transactions", &put("t", "a", "2")).await;
    let problem = other.problem(409, "OTHER_CONTENT", &["other content"]);
    assert_eq!((&problem["tx"], &problem["retryable"]), (&json!("t"), &json!(false)));
    let refused = submit(served.gateway, &json!({ "branches": { "store": ["add b -1 floor=0"] } })).await;
    assert_eq!(refused["state"], "aborted", "{refused}");
    let nobody = post(served.gateway, "/v1/transactions", &json!({ "branches": { "nobody": ["get a"] } })).await;
    nobody.problem(404, "UNKNOWN_PARTICIPANT", &["nobody"]);
    get(served.gateway, "/v1/transactions/none").await.problem(404, "NOT_FOUND", &["none"]);
}

#[tokio::test]
async fn an_id_of_any_bytes_is_a_path_that_leads_back_to_it() {
    let served = Served::start(&[]).await;
    let gateway = served.gateway;
    for id in ["a/b?c#d e%", "ümlaut", "0x00ff"] {
        let bytes = request(
            "POST",
            "/v1/transactions",
            &[JSON, "prefer: respond-async"],
            put(id, "a", "1").to_string().as_bytes(),
        );
        let taken = send(gateway, &bytes).await;
        let id = taken.json()["tx"].as_str().unwrap().to_owned();
        if let Some(place) = taken.header("location") {
            assert_eq!(get(gateway, place).await.expect(200).json()["tx"], id.as_str());
        } else {
            assert_eq!(taken.status, 200, "it was decided at once");
        }
    }
}

#[tokio::test]
async fn who_does_not_wait_is_told_where_to_ask_and_cancels_it_there() {
    let served = Served::start(AWAY).await;
    let gateway = served.gateway;
    for (path, preference) in [
        ("/v1/transactions", "prefer: respond-async"),
        ("/v1/transactions?wait=0s", "x: y"),
        ("/v1/transactions?wait=50ms", "x: y"),
    ] {
        let taken = send(gateway, &request("POST", path, &[JSON, preference], waits("t").to_string().as_bytes())).await;
        assert_eq!((taken.status, taken.json()["state"].as_str()), (202, Some("pending")), "{taken:?}");
        assert_eq!(taken.header("location"), Some("/v1/transactions/t"));
    }
    let seen = get(gateway, "/v1/transactions/t?wait=50ms").await.expect(200).json();
    assert_eq!((&seen["state"], &seen["saga"]), (&json!("pending"), &json!(true)), "{seen}");
    let listed = get(gateway, "/v1/transactions?filter=open").await.expect(200).json();
    assert_eq!(listed["transactions"][0]["tx"], "t", "{listed}");
    for _ in 0..2 {
        let cancelled = post(gateway, "/v1/transactions/t/cancel", &Value::Null).await.expect(200).json();
        assert_eq!(cancelled["state"], "aborted", "{cancelled}");
    }
    let seen = get(gateway, "/v1/transactions/t?wait=30s").await.expect(200).json();
    assert_eq!(seen["state"], "aborted", "{seen}");
}

#[tokio::test]
async fn a_list_is_cut_and_its_cursor_leads_to_the_rest() {
    let served = Served::start(&[]).await;
    let gateway = served.gateway;
    for number in 0..5 {
        submit(gateway, &put(&format!("t{number}"), "a", "1")).await;
    }
    until("all have ended", async || {
        let listed = get(gateway, "/v1/transactions?filter=ended").await.json();
        (listed["transactions"].as_array().unwrap().len() == 5).then_some(())
    })
    .await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(gateway, &format!("/v1/transactions?filter=ended&limit=2{after}")).await.expect(200).json();
        seen.extend(page["transactions"].as_array().unwrap().iter().map(|row| row["tx"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(cursor) => after = format!("&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["t4", "t3", "t2", "t1", "t0"]);
    for (query, word) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("after=zz", "cursor"),
        ("filter=none", "filter"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
        ("older_than=soon", "older_than"),
        ("participant=a%20b", "participant"),
    ] {
        get(gateway, &format!("/v1/transactions?{query}")).await.problem(400, "INVALID_REQUEST", &[word]);
    }
}

#[tokio::test]
async fn a_stream_of_events_goes_on_behind_the_last_one_that_was_read() {
    let served = Served::start(AWAY).await;
    let gateway = served.gateway;
    let mut all = Events::open(gateway, "/v1/events", &[]).await;
    submit(gateway, &put("one", "a", "1")).await;
    let first = all.next().await.unwrap();
    assert_eq!((first.kind.as_str(), &first.data["tx"]), ("begun", &json!("one")), "{first:?}");
    let mut kinds = Vec::new();
    let last = loop {
        let event = all.next().await.unwrap();
        kinds.push(event.kind.clone());
        if event.data["detail"] == "ended" {
            break event.id.unwrap();
        }
    };
    drop(all);
    submit(gateway, &put("two", "a", "2")).await;
    let mut rest = Events::open(gateway, "/v1/events", &[&format!("Last-Event-ID: {last}")]).await;
    let next = rest.next().await.unwrap();
    assert_eq!((next.kind.as_str(), &next.data["tx"]), ("begun", &json!("two")), "{next:?}");
    let id = first.id.unwrap();
    let mut one = Events::open(gateway, &format!("/v1/transactions/one/events?after={id}"), &[]).await;
    for kind in kinds {
        assert_eq!(one.next().await.unwrap().kind, kind);
    }
    assert_eq!(one.next().await.map(|event| event.kind).as_deref(), Some("end"));
    assert!(one.next().await.is_none());
    get(gateway, "/v1/transactions/none/events").await.problem(404, "NOT_FOUND", &["none"]);
    get(gateway, "/v1/events?after=x").await.problem(400, "INVALID_REQUEST", &["cursor"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place_whatever_the_path() {
    let served = Served::start(&[]).await;
    let gateway = served.gateway;
    let deep = format!("{{\"branches\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let posted = async |path: &str, body: &[u8]| send(gateway, &request("POST", path, &[JSON], body)).await;
    let paths = [
        "/v1/transactions",
        "/v1/transactions/t/forget",
        "/v1/transactions/t/steps/s/resolve",
        "/v1/coordinator/backup",
        "/v1/coordinator/accept-loss",
    ];
    for path in paths {
        posted(path, deep.as_bytes()).await.problem(400, "INVALID_REQUEST", &["recursion limit"]);
        posted(path, b"{\"id\": \"\xff\"}").await.problem(400, "INVALID_REQUEST", &["UTF-8", "line 1, column 9"]);
        posted(path, b"{").await.problem(400, "INVALID_REQUEST", &["line 1"]);
        posted(path, b"").await.problem(400, "INVALID_REQUEST", &["empty"]);
        posted(path, b"{\"what\": 1}").await.problem(400, "INVALID_REQUEST", &["what"]);
        posted(path, b"{\"id\": 1, \"id\": 1}").await.problem(400, "INVALID_REQUEST", &["twice"]);
        let plain = request("POST", path, &["content-type: text/plain"], b"{}");
        send(gateway, &plain).await.problem(415, "INVALID_REQUEST", &["application/json"]);
    }
    let unknown = json!({ "branches": { "store": [{ "add": { "key": "a", "delta": 1, "colour": 2 } }] } });
    let refused = post(gateway, "/v1/transactions", &unknown).await;
    refused.problem(400, "INVALID_REQUEST", &["branches.store", "colour"]);
    get(gateway, "/v1/nothing").await.problem(404, "NOT_FOUND", &["/v1/nothing"]);
    get(gateway, "/v1/transactions/t/cancel").await.problem(405, "NOT_OFFERED", &["GET"]);
    get(gateway, "/v1/transactions/%ff").await.problem(400, "INVALID_REQUEST", &["path"]);
    let long = "x".repeat(65);
    get(gateway, &format!("/v1/transactions/{long}")).await.problem(400, "INVALID_REQUEST", &["64"]);
    get(gateway, "/v1/transactions/t?wait=61s").await.problem(400, "INVALID_REQUEST", &["60 s"]);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let served = Served::start(&[]).await;
    let gateway = served.gateway;
    let large = vec![b' '; (12 << 20) + 1];
    let said = send(gateway, &request("POST", "/v1/transactions", &[JSON], &large)).await;
    said.problem(413, "MESSAGE_TOO_LARGE", &["12582912"]);
    let announced = b"POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n";
    send(gateway, announced).await.problem(413, "MESSAGE_TOO_LARGE", &["12582912"]);
    let header = format!("x: {}", "y".repeat(20_000));
    assert_eq!(send(gateway, &request("GET", "/v1/participants", &[&header], b"")).await.status, 431);
    let many: Vec<String> = (0..100).map(|number| format!("x{number}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(send(gateway, &request("GET", "/v1/participants", &many, b"")).await.status, 431);
    let largest = json!({ "branches": { "store": { "raw": format!("0x{}", "00".repeat(2 << 20)) } } });
    let said = post(gateway, "/v1/transactions", &largest).await;
    said.problem(400, "TOO_LARGE", &["1048576"]);
    submit(gateway, &put("t", "a", "1")).await;
}

#[tokio::test]
async fn hundreds_who_say_nothing_or_half_keep_nobody_from_being_served() {
    let served = Served::start(&[]).await;
    let gateway = served.gateway;
    let mut idle = Vec::new();
    for number in 0..600 {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        let half: &[u8] = match number % 3 {
            0 => b"",
            1 => b"POST /v1/transactions HTTP/1.1\r\nhost: local",
            _ => b"POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{",
        };
        stream.write_all(half).await.unwrap();
        idle.push(stream);
    }
    for number in 0..50 {
        submit(gateway, &put(&format!("t{number}"), "a", "1")).await;
    }
    // The rest of a request that was begun is still taken.
    let mut slow = idle.swap_remove(2);
    slow.write_all(b"\"x\": 1 }").await.unwrap();
    answer(slow).await.problem(400, "INVALID_REQUEST", &["x"]);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_one_stream_too_many_refused() {
    let served = Served::start(&["--set", "gateway.max_connections=3", "--set", "gateway.max_event_streams=1"]).await;
    let gateway = served.gateway;
    let events = Events::open(gateway, "/v1/events", &[]).await;
    let refused = get(gateway, "/v1/events").await.problem(503, "TOO_MANY_REQUESTS", &["max_event_streams"]);
    assert_eq!(refused["retryable"], true);
    let read = async |stream: &mut TcpStream| {
        let mut bytes = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(stream, &mut bytes).await;
        bytes
    };
    let mut idle = Vec::new();
    until("one too many is closed at once", async || {
        let mut one_more = TcpStream::connect(gateway).await.unwrap();
        let closed = tokio::time::timeout(std::time::Duration::from_millis(300), read(&mut one_more)).await;
        // One that is not closed fills a place.
        idle.push(one_more);
        closed.ok().filter(Vec::is_empty)
    })
    .await;
    drop((events, idle));
    until("there is room again", async || {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(&request("GET", "/v1/participants", &[], b"")).await.ok()?;
        read(&mut stream).await.starts_with(b"HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_browser_asks_for_no_page_from_elsewhere_and_a_cookie_is_nobody() {
    let served = Served::start(&[]).await;
    let gateway = served.gateway;
    let body = put("t", "a", "1").to_string();
    for header in ["origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site"] {
        let bytes = request("POST", "/v1/transactions", &[JSON, header], body.as_bytes());
        let refused = send(gateway, &bytes).await;
        refused.problem(403, "LACKS_ROLE", &["from elsewhere"]);
        assert!(refused.header("access-control-allow-origin").is_none(), "{refused:?}");
    }
    let rebound = b"GET /v1/transactions HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    send(gateway, rebound).await.problem(421, "INVALID_REQUEST", &["evil.example", "gateway.hosts"]);
    let preflight = request("OPTIONS", "/v1/transactions", &["origin: http://evil.example"], b"");
    assert!(send(gateway, &preflight).await.header("access-control-allow-origin").is_none());
    get(gateway, "/v1/transactions/t").await.expect(404);
}

/// Starts one that knows ada, who may do everything, and bob, who may submit.
async fn with_identities(folder: &std::path::Path) -> Served {
    let entry = |name: &str, roles: &str| {
        let hash = TokenHash::of(&format!("token-of-{name}"));
        format!("[[identity]]\nname = \"{name}\"\nroles = [{roles}]\ntokens = [\"{hash}\"]\n")
    };
    let file = folder.join("identities.toml");
    let known = entry("ada", "\"submit\", \"read\", \"operate\"") + &entry("bob", "\"submit\"");
    std::fs::write(&file, known).unwrap();
    Served::start(&["--set", &format!("access.identities={}", file.display())]).await
}

async fn asks(gateway: SocketAddr, who: &str, method: &str, path: &str, body: &Value) -> crate::support::http::Answer {
    let token = format!("authorization: Bearer token-of-{who}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(gateway, &request(method, path, &[JSON, &token], body.as_bytes())).await
}

#[tokio::test]
async fn who_calls_may_do_what_its_roles_say_and_the_audit_record_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let served = with_identities(folder.path()).await;
    let gateway = served.gateway;
    let (submit, list) = (put("t", "a", "1"), "/v1/transactions");
    for header in
        ["x: y", "authorization: Bearer token-of-eve", "cookie: token=token-of-ada", "authorization: Basic YWRh"]
    {
        let refused = send(gateway, &request("POST", list, &[JSON, header], submit.to_string().as_bytes())).await;
        refused.problem(401, "UNIDENTIFIED", &[]);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    let anonymous_delegate = request("GET", list, &["undoubt-on-behalf-of: ada", "undoubt-on-behalf-roles: read"], b"");
    send(gateway, &anonymous_delegate).await.problem(401, "UNIDENTIFIED", &[]);
    assert_eq!(asks(gateway, "bob", "POST", list, &submit).await.expect(200).json()["state"], "committed");
    asks(gateway, "bob", "GET", list, &Value::Null).await.problem(
        403,
        "LACKS_ROLE",
        &["bob", "read or operate", "submit"],
    );
    let order = json!({ "reason": "to see" });
    asks(gateway, "bob", "POST", "/v1/transactions/t/forget", &order).await.problem(403, "LACKS_ROLE", &["bob"]);
    asks(gateway, "ada", "POST", "/v1/coordinator/pause", &Value::Null).await.expect(204);
    asks(gateway, "ada", "GET", list, &Value::Null).await.expect(200);
    let entries = asks(gateway, "ada", "GET", "/v1/audit", &Value::Null).await.expect(200).json()["entries"].clone();
    let entries = entries.as_array().unwrap();
    let find = |who: &str, action: &str| {
        let found = entries.iter().find(|entry| entry["who"] == who && entry["action"] == action);
        found.unwrap_or_else(|| panic!("no {action} of {who} in {entries:?}"))
    };
    let submitted = find("bob", "submit");
    assert_eq!((&submitted["through"], &submitted["txs"][0]), (&json!("gateway"), &json!("t")), "{submitted}");
    assert_eq!(submitted["address"], "127.0.0.1", "{submitted}");
    let refused = find("bob", "list");
    assert_eq!(
        (&refused["refused"], &refused["through"], &refused["address"]),
        (&json!("LACKS_ROLE"), &json!("gateway"), &json!("127.0.0.1"))
    );
    assert_eq!(find("bob", "forget")["refused"], "LACKS_ROLE");
    assert_eq!(find("ada", "pause-recovery")["refused"], Value::Null);
}

/// Checks with schemathesis that no answer is one of the server's own faults, and that each has the form that the description says.
#[tokio::test]
async fn requests_made_of_the_description_are_answered_as_it_says() {
    let python = std::env::var_os("UNDOUBT_PYTHON").map(std::path::PathBuf::from);
    let Some(program) = python.map(|python| python.with_file_name("schemathesis")).filter(|program| program.exists())
    else {
        eprintln!("SKIPPED: UNDOUBT_PYTHON names no Python beside which schemathesis is; `make python` makes one.");
        return;
    };
    let served = Served::start(AWAY).await;
    let run = tokio::process::Command::new(program)
        .arg("run")
        .arg(format!("http://{}/v1/openapi.json", served.gateway))
        // Streams have no end, a drain is one, and a backup is written where the request says.
        .args(["--exclude-path-regex", "(events|drain|backup)$"])
        // Not every document that has the right form makes sense.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--max-time", "45", "--seed", "1"])
        .current_dir(served.folder())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(300), run).await.expect("it does not end").unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    submit(served.gateway, &put("t", "a", "1")).await;
}

#[tokio::test]
async fn an_open_saga_is_joined_and_closed_or_cancelled_by_whoever_knows_its_id() {
    let mut served = Served::start(&[]).await;
    for (end, state, seats, sold, own) in
        [("close", "committed", "-1", json!("1"), "completed"), ("cancel", "aborted", "0", Value::Null, "undone")]
    {
        let at = |rest: &str| format!("/v1/transactions/{end}/{rest}");
        let gateway = served.gateway;
        for _ in 0..2 {
            post(gateway, &at("begin"), &json!({ "deadline": "1h" })).await.expect(201);
        }
        let seat = |by: i64| {
            json!({ "at": "store", "do": [format!("add seats/{end} {by}")], "undo": [format!("add seats/{end} 1")],
                    "complete": [format!("add sold/{end} 1")] })
        };
        for _ in 0..2 {
            let ran = post(gateway, &at("steps/seat/run"), &seat(-1)).await.expect(200).json();
            assert_eq!((&ran["state"], &ran["results"]["values"][0]), (&json!("done"), &json!("-1")), "{ran}");
        }
        post(gateway, &at("steps/seat/run"), &seat(-2)).await.problem(409, "OTHER_STEP", &[]);
        let dear = json!({ "at": "store", "do": ["add none -1 floor=0"], "undo": ["add none 1"] });
        let refused = post(gateway, &at("steps/dear/run"), &dear).await.problem(409, "STEP_REFUSED", &["dear"]);
        assert_eq!(refused["refusal"], "condition", "{refused}");
        served = served.kill_and_restart().await;
        let gateway = served.gateway;
        let mine = json!({ "at": "store", "undo": [format!("put own/{end} undone")],
                           "complete": [format!("put own/{end} completed")] });
        let joined = post(gateway, &at("steps/mine/join"), &mine).await.expect(200).json();
        assert_eq!(joined["state"], "joined", "{joined}");
        assert_eq!(post(gateway, &at(end), &Value::Null).await.expect(200).json()["state"], state);
        post(gateway, &at("steps/late/join"), &mine).await.problem(409, "NOT_OPEN", &[]);
        let read = json!({ "branches": { "store": [format!("get seats/{end}"), format!("get sold/{end}"), format!("get own/{end}")] } });
        let read = submit(gateway, &read).await;
        assert_eq!(read["results"]["store"]["values"], json!([seats, sold, own]), "{read}");
    }
}
