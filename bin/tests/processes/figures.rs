//! What servers tell of themselves: `/metrics`, `/healthz`, `/readyz`, and that figures agree with what happened.

use crate::support::api::{commit, describe, no_wait, operator, submit, transfer, within_ms};
use crate::support::{banks, start, until};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::credentials::Credentials;
use undoubt_platform::dial::Dial as _;
use undoubt_proto::v1;
use undoubt_tls::{ClientFiles, ClientTls, Protocol, TlsDial};

/// The setting with which a server tells its figures at a free port.
const TOLD: &str = "metrics.listen=127.0.0.1:0";

pub(crate) fn told(plan: Plan) -> Plan {
    let with = |settings: Vec<String>| settings.into_iter().chain([TOLD.to_owned()]).collect();
    Plan {
        coordinator_settings: with(plan.coordinator_settings),
        participant_settings: with(plan.participant_settings),
        ..plan
    }
}

/// Where a server tells its figures, as its log says.
pub(crate) async fn address(cluster: &Cluster, who: Who) -> String {
    until("it says where its figures are", async || {
        let log = cluster.log_tail(who, 1_000);
        let line = log.lines().rev().find(|line| line.contains("figures are told"))?;
        Some(line.split_once("address=")?.1.trim().to_owned())
    })
    .await
}

/// Asks for a path, and returns the answer with its head; `None` if nobody answers.
pub(crate) async fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// The figures of a server, by name and labels.
#[derive(Debug)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) async fn of(cluster: &Cluster, who: Who) -> Figures {
        let answer = get(&address(cluster, who).await, "/metrics").await.unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200") && head.contains("openmetrics-text"), "{head}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Figures(samples.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    #[track_caller]
    pub(crate) fn at(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("there is no {name} among {:#?}", self.0.keys()))
    }
}

#[tokio::test]
async fn figures_agree_with_what_was_done_and_with_what_an_operator_is_told() {
    let cluster = start(told(banks())).await;
    for number in 0..20 {
        commit(&cluster, transfer(&format!("t{number}"), 1)).await;
    }
    let ended = "undoubt_coordinator_transactions_ended_total{mode=\"two-phase\",outcome=\"committed\",reason=\"\"}";
    let figures = until("all have ended", async || {
        let figures = Figures::of(&cluster, Who::Coordinator).await;
        (figures.at(ended) == 20.0).then_some(figures)
    })
    .await;
    let described = describe(&cluster).await;
    assert_eq!(figures.at("undoubt_ready"), 1.0);
    assert_eq!(figures.at("undoubt_coordinator_transactions_begun_total{mode=\"two-phase\"}"), 20.0);
    assert_eq!(figures.at("undoubt_coordinator_transaction_duration_seconds_count{mode=\"two-phase\"}"), 20.0);
    assert_eq!(figures.at("undoubt_coordinator_transactions_open{mode=\"two-phase\"}"), described.open as f64);
    assert_eq!(figures.at("undoubt_coordinator_transactions_unacknowledged"), described.unacknowledged as f64);
    assert_eq!(figures.at("undoubt_coordinator_transactions_damaged"), described.damaged as f64);
    assert_eq!(figures.at("undoubt_coordinator_epoch"), f64::from(described.epoch));
    assert_eq!(figures.at("undoubt_coordinator_phase{phase=\"serving\"}"), 1.0);
    assert_eq!(figures.at("undoubt_coordinator_participant_connected{participant=\"bank-a\"}"), 1.0);
    assert_eq!(figures.at("undoubt_coordinator_participant_sessions_total{participant=\"bank-a\"}"), 1.0);
    assert_eq!(figures.at("undoubt_grpc_requests_total{method=\"undoubt.v1.Coordinator/Submit\",code=\"Ok\"}"), 20.0);
    assert_eq!(
        figures.at("undoubt_grpc_request_duration_seconds_count{method=\"undoubt.v1.Coordinator/Submit\"}"),
        20.0
    );
    assert!(figures.at("undoubt_store_forced_write_duration_seconds_count") >= 1.0);
    assert!(figures.at("undoubt_store_written_bytes_total") > 0.0);
    assert!(figures.at("undoubt_store_free_bytes") > figures.at("undoubt_store_min_free_bytes"));
    assert!(figures.at("process_resident_memory_bytes") > 0.0);

    let bank = Figures::of(&cluster, Who::Participant(0)).await;
    assert_eq!(bank.at("undoubt_participant_votes_total{vote=\"prepared\",reason=\"\"}"), 20.0);
    assert_eq!(bank.at("undoubt_participant_branches_ended_total{outcome=\"committed\"}"), 20.0);
    assert_eq!(bank.at("undoubt_participant_branches_in_doubt"), 0.0);
    assert_eq!(bank.at("undoubt_participant_coordinators_connected"), 1.0);
}

#[tokio::test]
async fn what_is_in_doubt_and_who_is_away_is_told_with_its_age_and_the_server_itself_stays_ready() {
    let mut cluster = start(told(banks())).await;
    commit(&cluster, transfer("before", 1)).await;
    // The coordinator dies once both have voted.
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("before-append-committed:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let _ = submit(&cluster, transfer("in-doubt", 1)).await;
    until("the coordinator is dead", async || {
        get(&address(&cluster, Who::Coordinator).await, "/healthz").await.is_none().then_some(())
    })
    .await;
    until("it is in doubt, and gets older", async || {
        let bank = Figures::of(&cluster, Who::Participant(0)).await;
        let (count, age) =
            ("undoubt_participant_branches_in_doubt", "undoubt_participant_branches_in_doubt_oldest_seconds");
        (bank.at(count) == 1.0 && bank.at(age) > 0.5).then_some(())
    })
    .await;
    assert!(get(&address(&cluster, Who::Participant(0)).await, "/readyz").await.unwrap().contains("ready"));
    cluster.restart(Who::Coordinator, None).await.unwrap();
    cluster.kill(Who::Participant(1)).await.unwrap();
    until("it is away, and for how long", async || {
        let figures = Figures::of(&cluster, Who::Coordinator).await;
        let away = figures.at("undoubt_coordinator_participant_away_seconds{participant=\"bank-b\"}");
        let connected = figures.at("undoubt_coordinator_participant_connected{participant=\"bank-b\"}");
        (connected == 0.0 && away > 0.1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn readiness_says_why_not_while_life_goes_on_and_there_is_nothing_else() {
    let mut plan = told(banks());
    plan.coordinator_settings.push("drain_timeout_ms=600000".to_owned());
    let mut cluster = start(plan).await;
    let at = address(&cluster, Who::Coordinator).await;
    let ready = get(&at, "/readyz").await.unwrap();
    assert!(ready.starts_with("HTTP/1.0 200") && ready.ends_with("ready\n"), "{ready}");
    cluster.kill(Who::Participant(1)).await.unwrap();
    // Something that waits, so that the drain lasts.
    submit(&cluster, no_wait(within_ms(600_000, transfer("waits", 1)))).await.unwrap();
    operator(&cluster).await.drain(v1::DrainRequest {}).await.unwrap();
    let not_ready = get(&at, "/readyz").await.unwrap();
    assert!(not_ready.starts_with("HTTP/1.0 503") && not_ready.ends_with("it is draining\n"), "{not_ready}");
    assert!(get(&at, "/healthz").await.unwrap().starts_with("HTTP/1.0 200"));
    assert_eq!(Figures::of(&cluster, Who::Coordinator).await.at("undoubt_ready"), 0.0);
    assert!(get(&at, "/").await.unwrap().starts_with("HTTP/1.0 404"));
}

#[tokio::test]
async fn nothing_listens_for_those_who_read_figures_unless_it_is_asked_for() {
    let cluster = start(banks()).await;
    assert!(!cluster.log_tail(Who::Coordinator, 1_000).contains("figures are told"));
}

/// Asks for a path over TLS, with the certificate of these credentials if they have one.
async fn get_encrypted(address: &str, path: &str, shows: &Credentials) -> String {
    let files = ClientFiles { ca: shows.ca.clone().unwrap(), certificate: shows.cert.clone().zip(shows.key.clone()) };
    let dial = TlsDial::new(Some(Arc::new(ClientTls::load(files, Protocol::Http1).unwrap())));
    let mut stream = dial.dial(format!("https://{address}").parse().unwrap()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Its peer may close without TLS's own farewell; the answer has come all the same.
    let _end = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_port_for_figures_is_guarded_as_the_servers_own_and_tells_strangers_of_life_alone() {
    let cluster = start(told(Plan { secured: true, ..banks() })).await;
    let admin = cluster.credentials();
    let nobody = Credentials { cert: None, key: None, ..admin.clone() };
    for who in [Who::Coordinator, Who::Participant(0)] {
        let address = address(&cluster, who).await;
        assert!(get(&address, "/metrics").await.is_none_or(|said| !said.contains("undoubt_")), "it speaks without TLS");
        let refused = get_encrypted(&address, "/metrics", &nobody).await;
        assert!(refused.starts_with("HTTP/1.0 401") && refused.contains("--token-file"), "{refused}");
        for path in ["/healthz", "/readyz"] {
            assert!(get_encrypted(&address, path, &nobody).await.starts_with("HTTP/1.0 200"), "{path}");
        }
        let told = get_encrypted(&address, "/metrics", &admin).await;
        assert!(told.starts_with("HTTP/1.0 200") && told.contains("undoubt_"), "{told}");
    }
}
