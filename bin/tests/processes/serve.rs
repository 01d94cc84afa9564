//! `undoubt serve`: all in one process, killed and started again.

use crate::support::cli::{self, run};
use crate::support::http::{self, Services, get, post};
use crate::support::served::Served;
use crate::support::until;
use serde_json::{Value, json};
use std::path::Path;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

#[tokio::test]
async fn the_line_that_it_says_has_a_command_that_works() {
    let mut served = Served::start(&[]).await;
    let (_, command) = served.line.split_once("try: ").unwrap();
    for visits in 1..=2 {
        let output = Command::new("sh").args(["-c", command]).output().await.unwrap();
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(outcome["state"], "committed", "{outcome}");
        assert_eq!(outcome["results"]["store"]["values"][0], visits.to_string(), "{outcome}");
    }
    assert_eq!(served.stop().await, Some(0), "{}", served.log());
}

#[tokio::test]
async fn after_kill_9_everything_is_there_again() {
    let mut served = Served::start(&[]).await;
    for round in 0..3 {
        let put =
            json!({ "id": format!("put-{round}"), "branches": { "store": [format!("put key/{round} {round}")] } });
        assert_eq!(post(served.gateway, "/v1/transactions", &put).await.expect(200).json()["state"], "committed");
        let saga = json!({ "id": format!("saga-{round}"), "mode": "saga", "steps": [
            { "name": "take", "at": "store", "do": ["add taken 1"], "undo": ["add taken -1"] },
            { "name": "refuse", "at": "store", "do": ["add none -1 floor=0"], "undo": ["add none 1"] },
        ]});
        assert_eq!(post(served.gateway, "/v1/transactions", &saga).await.expect(200).json()["state"], "aborted");
        served = served.kill_and_restart().await;
        for (id, state) in [("put", "committed"), ("saga", "aborted")] {
            let seen = get(served.gateway, &format!("/v1/transactions/{id}-{round}")).await.expect(200).json();
            assert_eq!(seen["state"], state, "{seen}");
        }
        let again = post(served.gateway, "/v1/transactions", &put).await.expect(200).json();
        assert_eq!(again["state"], "committed", "{again}");
    }
    let read = json!({ "branches": { "store": ["get key/0", "get key/2", "get taken"] } });
    let read = post(served.gateway, "/v1/transactions", &read).await.expect(200).json();
    assert_eq!(read["results"]["store"]["values"], json!(["0", "2", "0"]), "{read}");
}

#[tokio::test]
async fn the_command_line_sees_the_same_as_the_gateway() {
    let served = Served::start(&[]).await;
    let put = json!({ "id": "t", "branches": { "store": ["put a 1"] } });
    post(served.gateway, "/v1/transactions", &put).await.expect(200);
    let status = run(cli::command(&["status", "t", "--coordinator", &served.coordinator, "--output", "json"])).await;
    let told = get(served.gateway, "/v1/transactions/t").await.json();
    let same = |field: &str| assert_eq!(status.json()[field], told[field]);
    ["tx", "state", "results", "attempt_number", "begun_at"].iter().for_each(|field| same(field));
    let participants = get(served.gateway, "/v1/participants").await.expect(200).json();
    assert_eq!(participants["participants"][0]["name"], "store", "{participants}");
}

#[tokio::test]
async fn a_drain_ends_it_once_nothing_is_open() {
    let served = Served::start(&[]).await;
    post(served.gateway, "/v1/coordinator/drain", &Value::Null).await.expect(202);
    let mut served = served;
    until("it has ended", async || served.has_ended().then_some(())).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (arguments, words) in [
        (&["--set", "gateway.listne=127.0.0.1:0"][..], &["gateway", "listne"][..]),
        (&["--set", "gateway.max_connections=0"], &["gateway.max_connections"]),
        (&["--set", "participant.listen=127.0.0.1:0"], &["participant.listen", "take it out"]),
        (&["--set", "gateway.listen=0.0.0.0:0"], &["reached from other machines", "--insecure"]),
        (&["--participant", "store=http://127.0.0.1:1"], &["store"]),
    ] {
        let mut command = cli::command(&["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(&data).args(arguments);
        let said = run(command).await;
        said.expect(2, words);
        assert!(!data.exists(), "{arguments:?}");
    }
    run(cli::command(&["serve"])).await.expect(2, &["--data-dir"]);
}

#[tokio::test]
async fn a_saga_over_http_services_by_one_request_is_done_or_undone() {
    let services = Services::start().await;
    let mut served = Served::start(&["--set", &format!("http.allow={}", services.url)]).await;
    let saga = |id: &str, pay: &str| {
        let call = |path: &str| json!([format!("http post {}{path} {{\"trip\":\"{id}\"}}", services.url)]);
        json!({ "id": id, "mode": "saga", "steps": [
            { "name": "note", "at": "store", "do": [format!("put trip/{id} begun")], "undo": [format!("delete trip/{id}")] },
            { "name": "seat", "at": "http", "do": call("/seats"), "undo": call("/seats/cancel") },
            { "name": "pay", "at": "http", "do": call(pay), "undo": call("/pay/cancel") },
        ]})
    };
    let done = post(served.gateway, "/v1/transactions", &saga("one", "/pay")).await.expect(200).json();
    assert_eq!(done["state"], "committed", "{done}");
    let undone = post(served.gateway, "/v1/transactions", &saga("two", "/refuse")).await.expect(200).json();
    assert_eq!(undone["state"], "aborted", "{undone}");
    let came = |path: &str, id: &str| format!("{path} {{\"trip\":\"{id}\"}} true");
    let expected =
        [("/seats", "one"), ("/pay", "one"), ("/seats", "two"), ("/refuse", "two"), ("/seats/cancel", "two")];
    assert_eq!(services.asked(), expected.map(|(path, id)| came(path, id)));
    served = served.kill_and_restart().await;
    assert_eq!(
        post(served.gateway, "/v1/transactions", &saga("one", "/pay")).await.expect(200).json()["state"],
        "committed"
    );
    assert_eq!(services.asked().len(), 5, "{:?}", services.asked());
    let elsewhere = json!({ "branches": { "http": ["http get http://169.254.169.254/latest"] } });
    let refused = post(served.gateway, "/v1/transactions", &elsewhere).await;
    assert_ne!(refused.json()["state"], "committed", "{refused:?}");
}

#[tokio::test]
async fn what_follows_a_local_transaction_happens_exactly_if_that_was_done_though_nobody_comes_back_to_say_so() {
    let services = Services::start().await;
    let mut served = Served::start(&["--set", &format!("http.allow={}", services.url)]).await;
    for id in ["later", "refuse"] {
        let at = |rest: &str| format!("/v1/transactions/{id}/{rest}");
        let ask = json!({ "at": "http", "ask": [format!("http get {}/{id}", services.url)] });
        post(served.gateway, &at("begin"), &json!({ "deadline": "1s", "check_back": ask })).await.expect(201);
        let mail = json!({ "at": "http", "complete": [format!("http post {}/mails/{id} {{}}", services.url)] });
        post(served.gateway, &at("steps/mail/join"), &mail).await.expect(200);
    }
    served = served.kill_and_restart().await;
    for (id, state) in [("later", "committed"), ("refuse", "aborted")] {
        let ended = until("it has ended", async || {
            let seen = get(served.gateway, &format!("/v1/transactions/{id}")).await.json();
            ["committed", "aborted"].contains(&seen["state"].as_str().unwrap_or_default()).then_some(seen)
        });
        assert_eq!(ended.await["state"], state, "{:?}", services.asked());
    }
    let asked = services.asked();
    let count = |path: &str| asked.iter().filter(|asked| asked.starts_with(path)).count();
    assert_eq!((count("/mails/later"), count("/mails/refuse")), (1, 0), "{asked:?}");
    assert!(count("/later") >= 2, "{asked:?}");
    let wrong = json!({ "check_back": { "at": "nobody", "ask": ["get a"] } });
    post(served.gateway, "/v1/transactions/t/begin", &wrong).await.problem(404, "UNKNOWN_PARTICIPANT", &["nobody"]);
    let wrong = json!({ "check_back": { "at": "http" } });
    post(served.gateway, "/v1/transactions/t/begin", &wrong).await.problem(400, "INVALID_REQUEST", &["ask"]);
}

/// Starts the example's service, and returns it with its URL.
async fn example_service(folder: &Path) -> (Child, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../participant/examples/http/service.py");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("python3");
    command.arg(script).arg(port.to_string()).arg(folder.join(format!("{port}.db"))).kill_on_drop(true);
    let child = command.spawn().expect("python3, which the tests need");
    let address = format!("127.0.0.1:{port}");
    until("the service serves", async || TcpStream::connect(&address).await.ok()).await;
    (child, format!("http://{address}"))
}

#[tokio::test]
async fn sagas_over_the_services_of_the_example_are_done_or_undone_and_go_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (_seats, seats) = example_service(folder.path()).await;
    let (_rooms, rooms) = example_service(folder.path()).await;
    let mut served = Served::start(&["--set", &format!("http.allow={seats},{rooms}")]).await;
    let trip = |id: &str, seat: &str, room: &str, busy: u32| {
        let call = |at: &str, thing: &str| json!([format!("http post {at} {{\"thing\": \"{thing}\"}}")]);
        let (to_seats, to_rooms) = (format!("{seats}/things"), format!("{rooms}/things"));
        json!({ "id": id, "mode": "saga", "steps": [
            { "name": "seat", "at": "http", "do": call(&format!("{to_seats}?busy={busy}"), seat), "undo": call(&to_seats, seat),
              "attempts": 5, "first_pause": "50ms" },
            { "name": "room", "at": "http", "do": call(&to_rooms, room), "undo": call(&to_rooms, room) },
        ]})
    };
    let state = async |gateway, trip: &Value| {
        post(gateway, "/v1/transactions", trip).await.expect(200).json()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(served.gateway, &trip("one", "7A", "12", 0)).await, "committed");
    assert_eq!(state(served.gateway, &trip("two", "7B", "12", 0)).await, "aborted");
    let three = trip("three", "7C", "13", 3);
    let begun =
        http::request("POST", "/v1/transactions", &[http::JSON, "prefer: respond-async"], three.to_string().as_bytes());
    http::send(served.gateway, &begun).await.expect(202);
    served = served.kill_and_restart().await;
    // Until the saga's beginning is on disk, a crash leaves nothing of it; then it is asked for again.
    assert_eq!(state(served.gateway, &three).await, "committed");
    let things = async |url: &str| {
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        get(address, "/things").await.expect(200).json()
    };
    assert_eq!(things(&seats).await, json!({ "7A": "taken", "7C": "taken" }));
    assert_eq!(things(&rooms).await, json!({ "12": "taken", "13": "taken" }));
}
