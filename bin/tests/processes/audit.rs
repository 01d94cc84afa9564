//! The audit record of both servers, seen from outside.

use crate::support::api::{self, transfer};
use crate::support::cli::{undoubt, undoubt_as, undoubt_json};
use crate::support::{banks, start, until};
use bytes::Bytes;
use futures::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use undoubt::certificates::{self, Wanted};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::credentials::Credentials;
use undoubt_client::kv::KvWork;
use undoubt_client::{
    AuditEntry, AuditQuery, BranchResolution, Client, CoordinatorId, Filter, ListQuery, ParticipantClient, PublicKey,
    StepResolution, Transaction, TxId,
};
use undoubt_platform::access::ON_BEHALF_OF;
use undoubt_platform::dial;
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_client::CoordinatorClient;
use undoubt_proto::v1::operator_client::OperatorClient;
use undoubt_tls::{ClientFiles, ClientTls, Protocol, TlsDial};

const BANK_A: Who = Who::Participant(0);

async fn secured() -> Cluster {
    start(Plan { secured: true, ..banks() }).await
}

fn client(cluster: &Cluster) -> Client {
    Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), cluster.options().unwrap()).unwrap()
}

fn bank(cluster: &Cluster) -> ParticipantClient {
    ParticipantClient::connect_lazy(&cluster.url(BANK_A).unwrap(), cluster.options().unwrap()).unwrap()
}

fn tx(id: &str) -> TxId {
    id.parse().unwrap()
}

fn all() -> AuditQuery {
    AuditQuery::new().limit(100_000)
}

/// Makes identities of the cluster, with these roles, and has the coordinator know them.
async fn enrol(cluster: &Cluster, people: &[(&str, &[&str])]) -> Vec<Credentials> {
    let folder = cluster.folder().join("certs");
    let wanted = |(name, roles): &(&str, &[&str])| Wanted {
        name: (*name).to_owned(),
        list: roles.iter().map(ToString::to_string).collect(),
    };
    certificates::init(&folder, &[], &people.iter().map(wanted).collect::<Vec<_>>(), 1).unwrap();
    let pid = cluster.pid(Who::Coordinator).and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let count = std::fs::read_to_string(folder.join("identities.toml")).unwrap().matches("[[identity]]").count();
    let known = format!("count={count}");
    until("the identities are read", async || {
        cluster.log_tail(Who::Coordinator, 10_000).contains(&known).then_some(())
    })
    .await;
    people.iter().map(|(name, _)| shown(cluster, name)).collect()
}

fn shown(cluster: &Cluster, name: &str) -> Credentials {
    let file = |ending: &str| Some(cluster.folder().join("certs").join(format!("{name}.{ending}")));
    Credentials {
        ca: Some(cluster.folder().join("certs/ca.crt")),
        cert: file("crt"),
        key: file("key"),
        token_file: None,
    }
}

async fn channel(cluster: &Cluster, shows: &Credentials) -> Channel {
    let files = ClientFiles { ca: shows.ca.clone().unwrap(), certificate: shows.cert.clone().zip(shows.key.clone()) };
    let dial = Arc::new(TlsDial::new(Some(Arc::new(ClientTls::load(files, Protocol::H2).unwrap()))));
    let endpoint = Endpoint::from_shared(cluster.url(Who::Coordinator).unwrap()).unwrap();
    dial::connect(endpoint, dial).await.unwrap()
}

/// Returns the entries, the first first: the word, the first transaction, and the reason of a refusal.
fn told(entries: &[AuditEntry]) -> Vec<(String, String, String)> {
    let told = |entry: &AuditEntry| {
        let tx = entry.txs.first().map(ToString::to_string).unwrap_or_default();
        (entry.action.clone(), tx, entry.refused.clone().unwrap_or_default())
    };
    entries.iter().rev().map(told).collect()
}

fn words(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let own = |(action, tx, refused): &(&str, &str, &str)| (action.to_string(), tx.to_string(), refused.to_string());
    expected.iter().map(own).collect()
}

#[tokio::test]
async fn every_call_that_changes_something_is_recorded_with_who_made_it_and_what_came_of_it_and_survives_a_kill() {
    let mut cluster = secured().await;
    let client = client(&cluster);
    let transfer =
        Transaction::with_id(tx("t")).on("bank-a", KvWork::new().add("a", 1)).on("bank-b", KvWork::new().add("b", 1));
    client.submit(&transfer).await.unwrap();
    until("it has ended", async || {
        let open = client.list(&ListQuery::of(Filter::Open)).await.unwrap();
        open.transactions.is_empty().then_some(())
    })
    .await;
    let backup = cluster.folder().join("backup").display().to_string();
    client.cancel(&tx("t")).await.unwrap_err();
    client.forget(&tx("t"), "bob", "it looked wrong").await.unwrap_err();
    client.resolve_step(&tx("none"), "pay", StepResolution::Skip, "bob", "why not").await.unwrap_err();
    client.pause_recovery().await.unwrap();
    client.resume_recovery().await.unwrap();
    client.accept_loss("bob", "nothing was lost", &[]).await.unwrap_err();
    client.backup(&backup).await.unwrap();
    client.drain().await.unwrap();
    until("it has ended", async || cluster.has_ended(Who::Coordinator).unwrap().then_some(())).await;
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let entries = client.audit(&all()).await.unwrap().entries;
    let expected = [
        ("submit", "t", ""),
        ("cancel", "t", "TOO_LATE"),
        ("forget", "t", "NOTHING_TO_FORGET"),
        ("resolve-step", "none", "NOT_FOUND"),
        ("pause-recovery", "", ""),
        ("resume-recovery", "", ""),
        ("accept-loss", "", "WRONG_STATE"),
        ("backup", "", ""),
        ("drain", "", ""),
    ];
    assert_eq!(told(&entries), words(&expected));
    for entry in &entries {
        assert_eq!((entry.who.as_deref(), entry.address.as_deref()), (Some("admin"), Some("127.0.0.1")), "{entry:?}");
    }
    let about = |action: &str| entries.iter().find(|entry| entry.action == action).unwrap();
    assert_eq!(about("forget").note, "bob: it looked wrong");
    assert_eq!(about("resolve-step").about, "skip pay");
    assert_eq!(about("backup").about, backup);
    // A kill right after the answer loses nothing.
    client.pause_recovery().await.unwrap();
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let after = client.audit(&all()).await.unwrap().entries;
    assert_eq!(after[0].action, "pause-recovery");
    assert_eq!(after[1..], entries);
}

#[tokio::test]
async fn a_participant_records_what_operators_do_there_and_keeps_it_through_a_kill() {
    let mut cluster = secured().await;
    let bank = bank(&cluster);
    let known = bank.describe().await.unwrap().coordinators;
    let (coordinator, key) = (CoordinatorId([7; 16]), PublicKey([9; 32]));
    let backup = cluster.folder().join("backup").display().to_string();
    bank.resolve(&tx("none"), BranchResolution::Commit, "bob", "why not").await.unwrap_err();
    bank.forget(&tx("none")).await.unwrap_err();
    bank.release_marks(known[0].id, &tx("none"), "bob", "they are in the way").await.unwrap_err();
    bank.pin_coordinator(coordinator, key, "bob", "a second one").await.unwrap();
    bank.accept_loss("bob", "nothing was lost").await.unwrap_err();
    bank.backup(&backup).await.unwrap();
    cluster.kill(BANK_A).await.unwrap();
    cluster.restart(BANK_A, None).await.unwrap();
    let entries = bank.audit(&all()).await.unwrap().entries;
    let expected = [
        ("resolve", "none", "NOT_FOUND"),
        ("forget", "none", "NOT_FOUND"),
        ("release-marks", "none", "NOT_FOUND"),
        ("pin-coordinator", "", ""),
        ("accept-loss", "", "WRONG_STATE"),
        ("backup", "", ""),
    ];
    assert_eq!(told(&entries), words(&expected));
    assert!(entries.iter().all(|entry| entry.who.as_deref() == Some("admin")), "{entries:?}");
    let pinned = &entries[2];
    assert!(pinned.about.contains(&"07".repeat(16)) && pinned.about.contains(&"09".repeat(32)), "{pinned:?}");
    assert_eq!((entries[5].about.as_str(), entries[5].note.as_str()), ("commit", "bob: why not"));
    let shown =
        undoubt_as(&cluster, &cluster.credentials(), &["audit", "--participant", "bank-a", "--limit", "3"]).await;
    shown.expect(0, &["admin", "pin-coordinator", "a second one", "go on with --after"]);
}

#[tokio::test]
async fn what_was_refused_to_those_who_may_not_do_it_is_recorded_and_who_asked_on_whose_behalf() {
    let cluster = secured().await;
    let people: [(&str, &[&str]); 2] = [("orders", &["submit"]), ("gateway", &["submit", "delegate"])];
    let shows = enrol(&cluster, &people).await;
    undoubt_as(&cluster, &shows[0], &["forget", "t", "--who", "me", "--reason", "mine", "--yes"]).await.expect(7, &[]);
    undoubt_as(&cluster, &shows[0], &["audit"]).await.expect(7, &["orders may not", "operate"]);
    certificates::init(
        &cluster.folder().join("certs"),
        &[Wanted { name: "unknown".into(), list: vec!["localhost".into()] }],
        &[],
        1,
    )
    .unwrap();
    let mut stranger = OperatorClient::new(channel(&cluster, &shown(&cluster, "unknown")).await);
    assert_eq!(stranger.drain(v1::DrainRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
    let mut gateway = CoordinatorClient::new(channel(&cluster, &shows[1]).await);
    let mut request = Request::new(transfer("for-carol", 1));
    request.metadata_mut().insert(ON_BEHALF_OF, "carol".parse().unwrap());
    gateway.submit(request).await.unwrap();
    // One that is let in by its role, and refused for what it asks for.
    let unknown = api::request("unknown", [api::branch("nowhere", KvWork::new().add("a", 1))]);
    gateway.submit(unknown).await.unwrap_err();

    let client = client(&cluster);
    let refused = client.audit(&all().refused()).await.unwrap().entries;
    let line = |entry: &AuditEntry| {
        (entry.who.clone().unwrap_or_default(), entry.action.clone(), entry.refused.clone().unwrap_or_default())
    };
    let told: BTreeSet<_> = refused.iter().map(line).collect();
    let expected = [
        ("orders", "forget", "LACKS_ROLE"),
        ("orders", "audit", "LACKS_ROLE"),
        ("", "drain", "UNIDENTIFIED"),
        ("gateway", "submit", "UNKNOWN_PARTICIPANT"),
    ];
    assert_eq!(told, words(&expected).into_iter().collect());
    let of = |entries: Vec<AuditEntry>| {
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        (entry.who.clone(), entry.through.clone(), entry.refused.clone())
    };
    let carols = of(client.audit(&all().tx(tx("for-carol"))).await.unwrap().entries);
    assert_eq!(carols, (Some("carol".to_owned()), Some("gateway".to_owned()), None));
    assert_eq!(client.audit(&all().who("gateway")).await.unwrap().entries.len(), 2, "its own, and carol's through it");
    let refused = of(client.audit(&all().tx(tx("unknown"))).await.unwrap().entries);
    assert_eq!(refused, (Some("gateway".to_owned()), None, Some("UNKNOWN_PARTICIPANT".to_owned())));
}

#[tokio::test]
async fn a_stranger_who_asks_thousands_of_times_leaves_a_few_entries_that_count_them_all() {
    const TIMES: u64 = 3_000;
    let cluster = secured().await;
    certificates::init(
        &cluster.folder().join("certs"),
        &[Wanted { name: "unknown".into(), list: vec!["localhost".into()] }],
        &[],
        1,
    )
    .unwrap();
    let channel = channel(&cluster, &shown(&cluster, "unknown")).await;
    let ask = |number: u64| {
        let channel = channel.clone();
        async move {
            loop {
                let (channel, tx) = (channel.clone(), Bytes::from(format!("t{number}")));
                let done = match number % 6 {
                    0 => OperatorClient::new(channel).drain(v1::DrainRequest {}).await.map(drop),
                    1 => OperatorClient::new(channel).pause_recovery(v1::PauseRecoveryRequest {}).await.map(drop),
                    2 => OperatorClient::new(channel).audit(v1::AuditRequest::default()).await.map(drop),
                    3 => CoordinatorClient::new(channel).cancel(v1::CancelRequest { tx }).await.map(drop),
                    4 => CoordinatorClient::new(channel).get(v1::GetRequest { tx }).await.map(drop),
                    _ => CoordinatorClient::new(channel).list(v1::ListRequest::default()).await.map(drop),
                };
                let status = done.unwrap_err();
                let code = status.code();
                // A server that has no room for so many at once does not ask who it is, and records nothing.
                if code != Code::ResourceExhausted {
                    assert_eq!(code, Code::Unauthenticated, "{status:?}");
                    break;
                }
            }
        }
    };
    futures::stream::iter(0..TIMES).map(ask).buffer_unordered(50).collect::<Vec<()>>().await;
    let client = client(&cluster);
    let entries = client.audit(&all()).await.unwrap().entries;
    assert_eq!(entries.iter().map(|entry| entry.count).sum::<u64>(), TIMES);
    assert!(entries.len() < 200, "{} entries", entries.len());
    assert!(entries.iter().any(|entry| entry.refused.as_deref() == Some("LEFT_OUT")), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.who.is_none() && entry.refused.is_some()), "{entries:?}");
}

#[tokio::test]
async fn every_answered_submission_stands_in_the_record_also_if_the_coordinator_is_killed_right_after() {
    const SUBMITTED: usize = 300;
    let mut cluster = start(banks()).await;
    let client = client(&cluster);
    let transactions = (0..SUBMITTED).map(|number| {
        let work = || KvWork::new().add(format!("key-{number}"), 1);
        Transaction::new().on("bank-a", work()).on("bank-b", work())
    });
    let mut completions = client.submit_many(futures::stream::iter(transactions.collect::<Vec<_>>()));
    let mut answered = BTreeSet::new();
    while answered.len() < SUBMITTED / 2 {
        let done = completions.next().await.unwrap();
        done.result.unwrap();
        answered.insert(done.tx);
    }
    cluster.kill(Who::Coordinator).await.unwrap();
    drop(completions);
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let entries = client.audit(&all()).await.unwrap().entries;
    let recorded: Vec<&TxId> = entries.iter().flat_map(|entry| &entry.txs).collect();
    let known: BTreeSet<TxId> = recorded.iter().map(|tx| (*tx).clone()).collect();
    assert_eq!(known.len(), recorded.len(), "a submission stands there twice");
    assert!(answered.is_subset(&known), "{} of {} are missing", answered.difference(&known).count(), answered.len());
    assert!(entries.iter().all(|entry| entry.count == entry.txs.len() as u64), "{entries:?}");
}

#[tokio::test]
async fn the_command_line_shows_the_record_and_part_of_it() {
    let cluster = start(banks()).await;
    let submit = |id: &'static str| ["submit", "--id", id, "--on", "bank-a", "add alice 1"];
    undoubt(&cluster, &submit("first")).await.expect(0, &["committed"]);
    until("it has ended", async || {
        let status = undoubt_json(&cluster, &["status", "first"]).await.json();
        (status["phase"] == "ended").then_some(())
    })
    .await;
    undoubt(&cluster, &["recovery", "pause"]).await.expect(0, &[]);
    undoubt(&cluster, &["recovery", "resume"]).await.expect(0, &[]);
    undoubt(&cluster, &["forget", "first", "--who", "ada", "--reason", "a try", "--yes"]).await.expect(8, &[]);
    let all = ["first", "submit", "pause-recovery", "refused: NOTHING_TO_FORGET", "ada: a try", "127.0.0.1"];
    undoubt(&cluster, &["audit"]).await.expect(0, &all);

    let page = undoubt_json(&cluster, &["audit", "--limit", "3"]).await.expect(0, &[]).json();
    assert_eq!((page["entries"].as_array().unwrap().len(), &page["more"]), (3, &true.into()), "{page}");
    assert_eq!(page["entries"][0]["action"], "forget", "the latest comes first");
    let rest = undoubt_json(&cluster, &["audit", "--after", page["cursor"].as_str().unwrap()]).await.json();
    assert_eq!((&rest["entries"][0]["txs"][0], &rest["more"]), (&"first".into(), &false.into()), "{rest}");

    let count = async |arguments: &[&str]| {
        let shown = undoubt_json(&cluster, &[&["audit"], arguments].concat()).await.expect(0, &[]).json();
        shown["entries"].as_array().unwrap().len()
    };
    assert_eq!(count(&["--tx", "first"]).await, 2);
    assert_eq!(count(&["--refused"]).await, 1);
    assert_eq!(count(&["--since", "1h"]).await, 4);
    assert_eq!(count(&["--until", "1h"]).await, 0);
    assert_eq!(count(&["--who", "nobody"]).await, 0);
    undoubt(&cluster, &["audit", "--participant", "bank-a"]).await.expect(0, &["no such entries"]);
    undoubt(&cluster, &["audit", "--since", "soon"]).await.expect(2, &["neither a duration"]);
}
