//! The gateway as a process of its own, in front of coordinators elsewhere.

use crate::support::api::value;
use crate::support::cli::{command, run, undoubt_as};
use crate::support::http::{Answer, JSON, get, post, request, send};
use crate::support::{PATIENCE, banks, start, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;
use undoubt::certificates::{self, Wanted};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_platform::access::TokenHash;
use undoubt_vocabulary::CoordinatorId;

/// A process of `undoubt gateway`, which is killed when it is dropped.
struct Gateway {
    at: SocketAddr,
    _child: Child,
}

impl Gateway {
    async fn start(arguments: &[&str]) -> Gateway {
        let mut command = command(&["gateway", "--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("it does not serve");
        let url = line.strip_prefix("serving HTTP at ").unwrap().split(' ').next().unwrap();
        Gateway { at: url.split_once("://").unwrap().1.parse().unwrap(), _child: child }
    }

    async fn before(clusters: &[&Cluster], more: &[&str]) -> Gateway {
        let urls: Vec<String> = clusters.iter().map(|cluster| cluster.url(Who::Coordinator).unwrap()).collect();
        let named = urls.iter().flat_map(|url| ["--coordinator", url.as_str()]);
        let gateway = Gateway::start(&named.chain(more.iter().copied()).collect::<Vec<_>>()).await;
        until("it is ready", async || (get(gateway.at, "/readyz").await.status == 204).then_some(())).await;
        gateway
    }

    async fn submit(&self, id: &str) -> Answer {
        post(self.at, "/v1/transactions", &add(id)).await
    }

    async fn get(&self, id: &str) -> Answer {
        get(self.at, &format!("/v1/transactions/{id}")).await
    }
}

fn add(id: &str) -> Value {
    json!({ "id": id, "branches": { "bank-a": ["add n 1"], "bank-b": ["add n 1"] } })
}

/// Two coordinators over the same participants.
async fn two() -> [Cluster; 2] {
    let first = start(banks()).await;
    let bank = |index: usize| (["bank-a", "bank-b"][index].to_owned(), first.url(Who::Participant(index)).unwrap());
    let second = start(Plan { foreign_participants: vec![bank(0), bank(1)], ..Plan::default() }).await;
    [first, second]
}

/// Returns the ids of coordinators, by what a gateway in front of both tells.
async fn ids(gateway: &Gateway) -> Vec<CoordinatorId> {
    let told = get(gateway.at, "/v1/coordinators").await.expect(200).json();
    told["coordinators"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// Returns the place of an id's home, as the description has it.
fn home(ids: &[CoordinatorId], tx: &str) -> usize {
    let score = |id: &CoordinatorId| *blake3::hash(&[&id.0[..], tx.as_bytes()].concat()).as_bytes();
    (0..ids.len()).max_by_key(|place| score(&ids[*place])).unwrap()
}

/// Returns so many ids that have their home there.
fn at_home(ids: &[CoordinatorId], place: usize, prefix: &str, count: usize) -> Vec<String> {
    (0..).map(|number| format!("{prefix}{number}")).filter(|id| home(ids, id) == place).take(count).collect()
}

async fn listed(gateway: &Gateway, query: &str) -> BTreeSet<String> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(gateway.at, &format!("/v1/transactions?{query}{after}")).await.expect(200).json();
        seen.extend(page["transactions"].as_array().unwrap().iter().map(|row| row["tx"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(cursor) => after = format!("&after={cursor}"),
            None => break,
        }
    }
    let all: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(all.len(), seen.len(), "one is on two pages: {seen:?}");
    all
}

#[tokio::test]
async fn an_id_is_its_homes_which_is_waited_for_while_it_is_away_and_has_all_of_them_after_its_restart() {
    let [first, mut second] = two().await;
    let both = Gateway::before(&[&first, &second], &[]).await;
    let settled = Gateway::before(&[&second, &first], &["--settled"]).await;
    let ids = ids(&both).await;
    let (here, there) = (at_home(&ids, 0, "t", 4), at_home(&ids, 1, "t", 4));
    for id in here.iter().chain(&there) {
        assert_eq!(both.submit(id).await.expect(200).json()["state"], "committed");
        assert_eq!(settled.submit(id).await.expect(200).json()["state"], "committed", "the same at another gateway");
    }
    let all: BTreeSet<String> = here.iter().chain(&there).cloned().collect();
    let own = |place: usize| format!("limit=1000&coordinator={}", ids[place]);
    until("all have ended", async || (listed(&both, "filter=ended").await == all).then_some(())).await;
    for limit in [1, 3, 100] {
        assert_eq!(listed(&both, &format!("filter=ended&limit={limit}")).await, all);
    }
    assert_eq!(listed(&both, &own(0)).await, here.iter().cloned().collect());
    assert_eq!(listed(&settled, &own(1)).await, there.iter().cloned().collect());
    both.get("none").await.problem(404, "NOT_FOUND", &["none"]);

    second.kill(Who::Coordinator).await.unwrap();
    assert_eq!(settled.get(&here[0]).await.expect(200).json()["state"], "committed");
    assert_eq!(both.get(&here[0]).await.expect(200).json()["state"], "committed");
    // An id that its home does not know may be with the one that is away, unless the set is settled.
    let (new_here, new_there) = (at_home(&ids, 0, "new", 2), at_home(&ids, 1, "new", 1));
    let away = both.submit(&new_here[0]).await;
    assert_eq!(away.problem(503, "UNREACHED", &["does not answer", "settled"])["retryable"], true);
    assert_eq!(away.header("retry-after"), Some("1"));
    assert_eq!(settled.submit(&new_here[1]).await.expect(200).json()["state"], "committed");
    both.get("none").await.problem(503, "UNREACHED", &["does not answer"]);
    let away = settled.submit(&new_there[0]).await;
    assert_eq!(away.problem(503, "UNREACHED", &[])["retryable"], true);
    assert!(away.header("retry-after").is_some());
    // One that is drawn goes to whoever takes it.
    until("it is seen that it is away", async || {
        let told = get(settled.at, "/v1/coordinators").await.expect(200).json();
        told["coordinators"].as_array().unwrap().iter().any(|one| one["error"].is_string()).then_some(())
    })
    .await;
    until("drawn ids go to the one that is there", async || (submit_drawn(&settled).await.status == 200).then_some(()))
        .await;
    get(settled.at, "/healthz").await.expect(204);
    get(settled.at, "/readyz").await.expect(204);
    get(both.at, "/v1/transactions").await.problem(503, "UNREACHED", &[]);

    second.restart(Who::Coordinator, None).await.unwrap();
    for id in &there {
        until("it is there again", async || (settled.get(id).await.status == 200).then_some(())).await;
        assert_eq!(both.submit(id).await.expect(200).json()["state"], "committed");
    }
    for id in new_here.iter().chain(&new_there) {
        assert_eq!(both.submit(id).await.expect(200).json()["state"], "committed");
    }
    until("all have ended", async || {
        let ended = listed(&both, "filter=ended").await.len();
        let n: usize = value(&first, "bank-a", "n").await.unwrap().parse().unwrap();
        // The reading is a transaction too.
        (ended >= n && listed(&both, "filter=open").await.is_empty()).then_some(())
    })
    .await;
    let asked: BTreeSet<String> = all.into_iter().chain(new_here).chain(new_there).collect();
    let ran: usize = value(&first, "bank-a", "n").await.unwrap().parse().unwrap();
    let drawn = ran.checked_sub(asked.len()).expect("one was not carried out");
    assert!(drawn >= 1, "{ran} of {} and those that were drawn", asked.len());
    assert_eq!(value(&first, "bank-b", "n").await.unwrap(), ran.to_string());
}

async fn submit_drawn(gateway: &Gateway) -> Answer {
    let body = json!({ "branches": { "bank-a": ["add n 1"], "bank-b": ["add n 1"] } });
    post(gateway.at, "/v1/transactions?wait=1s", &body).await
}

#[tokio::test]
async fn where_a_coordinator_is_added_ids_that_were_begun_before_are_found_and_not_begun_again() {
    let [first, second] = two().await;
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let alone = Gateway::before(&[&first], &[]).await;
    for id in &names {
        alone.submit(id).await.expect(200);
    }
    let open = "/v1/transactions/open/begin";
    post(alone.at, open, &json!({ "deadline": "1h" })).await.expect(201);
    drop(alone);
    let both = Gateway::before(&[&first, &second], &[]).await;
    let ids = ids(&both).await;
    assert!(names.iter().any(|id| home(&ids, id) == 1), "none has moved");
    for id in &names {
        assert_eq!(both.get(id).await.expect(200).json()["state"], "committed");
        assert_eq!(both.submit(id).await.expect(200).json()["state"], "committed");
    }
    assert_eq!(value(&first, "bank-a", "n").await.as_deref(), Some("12"));
    post(both.at, open, &json!({ "deadline": "1h" })).await.expect(201);
    let step = json!({ "at": "bank-a", "do": ["add m 1"], "undo": ["add m -1"] });
    post(both.at, "/v1/transactions/open/steps/s/run", &step).await.expect(200);
    assert_eq!(
        post(both.at, "/v1/transactions/open/close", &Value::Null).await.expect(200).json()["state"],
        "committed"
    );
    let elsewhere = get(both.at, &format!("/v1/transactions?coordinator={}", ids[1])).await.expect(200).json();
    assert_eq!(elsewhere["transactions"], json!([]), "all of it is where it was begun");
    both.submit(&at_home(&ids, 1, "new", 1)[0]).await.expect(200);
}

#[tokio::test]
async fn what_is_about_one_coordinator_says_which_and_a_wrong_id_of_one_is_told() {
    let [first, second] = two().await;
    let both = Gateway::before(&[&first, &second], &[]).await;
    for path in ["/v1/coordinator", "/v1/participants", "/v1/audit", "/v1/events"] {
        get(both.at, path).await.problem(400, "INVALID_REQUEST", &["coordinator", "2 behind this gateway"]);
        get(both.at, &format!("{path}?coordinator=nobody")).await.problem(404, "NOT_FOUND", &["nobody"]);
    }
    let url = second.url(Who::Coordinator).unwrap();
    for name in ["another-coordinator", &ids(&both).await[1].to_string(), &url] {
        let told = get(both.at, &format!("/v1/coordinator?coordinator={name}")).await.expect(200).json();
        assert_eq!(told["name"], "another-coordinator");
    }
    let wrong = format!("{}={url}", "0".repeat(32));
    let other = first.url(Who::Coordinator).unwrap();
    let misled = Gateway::start(&["--coordinator", &wrong, "--coordinator", &other]).await;
    get(misled.at, "/healthz").await.expect(204);
    misled.submit("t").await.problem(503, "UNREACHED", &[]);
    for (arguments, words) in [
        (vec!["gateway", "--coordinator", "x=http://127.0.0.1:1"], ["--coordinator x=", "coordinator"]),
        (vec!["gateway", "--coordinator", "ftp://127.0.0.1:1"], ["ftp", "http://"]),
    ] {
        run(command(&arguments)).await.expect(2, &words);
    }
}

#[tokio::test]
async fn the_coordinators_record_names_the_caller_of_a_gateway_that_shows_it_a_certificate() {
    let coordinator_settings = vec!["tls.client_certificates=optional".to_owned()];
    let mut cluster = start(Plan { secured: true, coordinator_settings, ..banks() }).await;
    let certs = cluster.folder().join("certs");
    let roles = ["delegate", "submit", "read"].map(str::to_owned).to_vec();
    certificates::init(&certs, &[], &[Wanted { name: "front".to_owned(), list: roles }], 1).unwrap();
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let callers = cluster.folder().join("callers.toml");
    let entry = |name: &str, roles: &str| {
        let hash = TokenHash::of(&format!("token-of-{name}"));
        format!("[[identity]]\nname = \"{name}\"\nroles = [{roles}]\ntokens = [\"{hash}\"]\n")
    };
    std::fs::write(&callers, entry("ada", "\"submit\", \"operate\"") + &entry("bob", "\"read\"")).unwrap();
    let file = |name: &str| certs.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("front.crt"), file("front.key"));
    let identities = format!("access.identities={}", callers.display());
    let shows = ["--ca", &ca, "--cert", &cert, "--key", &key, "--set", &identities];
    let gateway = Gateway::before(&[&cluster], &shows).await;
    let asks = async |who: &str, method: &str, path: &str, body: &Value| {
        let token = format!("authorization: Bearer token-of-{who}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        send(gateway.at, &request(method, path, &[JSON, &token], body.as_bytes())).await
    };
    asks("eve", "POST", "/v1/transactions", &add("t")).await.problem(401, "UNIDENTIFIED", &[]);
    asks("bob", "POST", "/v1/transactions", &add("t")).await.problem(403, "LACKS_ROLE", &["bob"]);
    assert_eq!(asks("ada", "POST", "/v1/transactions", &add("t")).await.expect(200).json()["state"], "committed");
    asks("bob", "GET", "/v1/transactions/t", &Value::Null).await.expect(200);
    // More than the gateway has itself nobody gets through it.
    asks("ada", "POST", "/v1/coordinator/pause", &Value::Null).await.problem(403, "LACKS_ROLE", &["front", "operate"]);
    let admin = cluster.credentials();
    let audit = undoubt_as(&cluster, &admin, &["audit", "--tx", "t", "--output", "json"]).await.json();
    let submitted = audit["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "submit").unwrap();
    assert_eq!((&submitted["who"], &submitted["through"]), (&json!("ada"), &json!("front")), "{audit}");
    assert_eq!(submitted["address"], "127.0.0.1");
}

#[tokio::test]
async fn it_hands_on_the_events_of_the_participants_that_its_settings_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topics.toml");
    std::fs::write(&file, "[[topic]]\nname = \"orders\"\n").unwrap();
    let mut cluster = start(Plan { configs: [("bank-a".to_owned(), file)].into(), ..banks() }).await;
    let at = cluster.url(Who::Participant(0)).unwrap();
    let one = |address: &str| format!("{{ name = \"bank-a\", address = \"{address}\" }}");
    let gateway = Gateway::before(&[&cluster], &["--set", &format!("gateway.sources=[{}]", one(&at))]).await;
    let work = json!({ "branches": { "bank-a": ["emit orders order.placed key=k json={}"] } });
    post(gateway.at, "/v1/transactions", &work).await.expect(200);
    let events = "/v1/participants/bank-a/events?until_now=true";
    let told = get(gateway.at, events).await.expect(200);
    assert!(told.body.contains("event: order.placed"), "{told:?}");
    get(gateway.at, "/v1/participants/bank-b/events").await.problem(404, "UNKNOWN_PARTICIPANT", &["bank-a"]);
    // One that is away is told as such, before anything is streamed.
    cluster.kill(Who::Participant(0)).await.unwrap();
    let away = get(gateway.at, events).await;
    assert_eq!((away.status, away.json()["retryable"].as_bool()), (503, Some(true)), "{away:?}");
    for (wrong, word) in [(format!("{}, {}", one(&at), one(&at)), "twice"), (one("127.0.0.1:1"), "no address")] {
        let said = run(command(&["gateway", "--set", &format!("gateway.sources=[{wrong}]")])).await;
        said.expect(2, &["gateway.sources", word]);
    }
}
