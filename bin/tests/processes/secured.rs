//! Servers with TLS and identities, seen from outside.

use crate::support::cli::{command, run, undoubt_as};
use crate::support::program::{self, participant};
use crate::support::{PATIENCE, banks, start, until};
use futures::StreamExt as _;
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use undoubt::certificates::{self, Wanted};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt::credentials::Credentials;
use undoubt_client::kv::KvWork;
use undoubt_client::{Client, ClientOptions, Transaction};
use undoubt_platform::access::{Needed, Role, TokenHash, needed};
use undoubt_platform::dial;
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_client::ParticipantAdminClient;
use undoubt_proto::v1::participant_client::ParticipantClient;
use undoubt_tls::{ClientFiles, ClientTls, Protocol, TlsDial};

const BOTH: [Who; 2] = [Who::Coordinator, Who::Participant(0)];

pub(crate) const TRANSFER: [&str; 7] = ["submit", "--on", "bank-a", "add alice 1", "--on", "bank-b", "add bob 1"];

async fn secured() -> Cluster {
    start(Plan { secured: true, ..banks() }).await
}

fn certs(cluster: &Cluster) -> std::path::PathBuf {
    cluster.folder().join("certs")
}

/// Makes a certificate of the cluster's CA, with these roles.
fn enrol(cluster: &Cluster, name: &str, roles: &[&str]) -> Credentials {
    let wanted = Wanted { name: name.to_owned(), list: roles.iter().map(ToString::to_string).collect() };
    certificates::init(&certs(cluster), &[], &[wanted], 1).unwrap();
    shown(&certs(cluster), name)
}

fn shown(folder: &Path, name: &str) -> Credentials {
    let file = |file: String| Some(folder.join(file));
    Credentials {
        ca: file("ca.crt".to_owned()),
        cert: file(format!("{name}.crt")),
        key: file(format!("{name}.key")),
        token_file: None,
    }
}

pub(crate) fn hang_up(cluster: &Cluster, who: Who) {
    let pid = cluster.pid(who).and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

pub(crate) async fn logged(cluster: &Cluster, who: Who, words: &str) {
    until(words, async || cluster.log_tail(who, 10_000).contains(words).then_some(())).await;
}

/// Has new identities read.
async fn read_identities(cluster: &Cluster, who: Who, count: usize) {
    hang_up(cluster, who);
    logged(cluster, who, &format!("count={count}")).await;
}

async fn channel(cluster: &Cluster, who: Who, shows: &Credentials) -> Channel {
    let files = ClientFiles { ca: shows.ca.clone().unwrap(), certificate: shows.cert.clone().zip(shows.key.clone()) };
    let dial = Arc::new(TlsDial::new(Some(Arc::new(ClientTls::load(files, Protocol::H2).unwrap()))));
    dial::connect(Endpoint::from_shared(cluster.url(who).unwrap()).unwrap(), dial).await.unwrap()
}

#[tokio::test]
async fn a_secured_cluster_commits_and_tells_strangers_nothing() {
    let cluster = secured().await;
    let admin = cluster.credentials();
    undoubt_as(&cluster, &admin, &TRANSFER).await.expect(0, &["committed"]);
    undoubt_as(&cluster, &admin, &["participants"]).await.expect(0, &["bank-a", "bank-b", "https://127.0.0.1"]);

    let nobody = Credentials { cert: None, key: None, ..admin.clone() };
    undoubt_as(&cluster, &nobody, &["describe"]).await.expect(6, &["asks for a certificate", "--cert"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = [Wanted { name: "stranger".to_owned(), list: vec!["read".to_owned()] }];
    certificates::init(elsewhere.path(), &[], &stranger, 1).unwrap();
    let wrong_ca = Credentials { ca: Some(elsewhere.path().join("ca.crt")), ..nobody.clone() };
    undoubt_as(&cluster, &wrong_ca, &["describe"]).await.expect(6, &["not from a CA that is trusted here", "--ca"]);
    // A stream of transactions ends at once too, and not at the deadline of each.
    let client =
        Client::connect_lazy(&cluster.url(Who::Coordinator).unwrap(), wrong_ca.give(ClientOptions::default()).unwrap())
            .unwrap();
    let transaction = Transaction::new().on("bank-a", KvWork::new().add("n", 1)).timeout(PATIENCE * 10);
    let mut completions = client.submit_many(futures::stream::iter([transaction]));
    let refused = timeout(PATIENCE, completions.next()).await.expect("it is tried again").unwrap().result.unwrap_err();
    assert!(refused.to_string().contains("not from a CA that is trusted here"), "{refused}");
    let own = shown(elsewhere.path(), "stranger");
    let stranger = Credentials { ca: admin.ca.clone(), ..own };
    undoubt_as(&cluster, &stranger, &["describe"]).await.expect(6, &["certificate that was shown"]);
    // Without TLS nothing is told either.
    let plain = cluster.url(Who::Coordinator).unwrap().replace("https", "http");
    let said = run(command(&["--coordinator", &plain, "--timeout", "1s", "describe"])).await;
    assert!(said.code != 0 && !said.err.contains("bank-a"), "{said:?}");
}

#[tokio::test]
async fn the_roles_hold_method_by_method() {
    let cluster = secured().await;
    let people: Vec<(&str, Vec<Role>)> = vec![
        ("submitter", vec![Role::Submit]),
        ("reader", vec![Role::Read]),
        ("operator", vec![Role::Operate]),
        ("peer", vec![Role::Coordinator]),
        ("gateway", vec![Role::Delegate]),
    ];
    let mut shows = BTreeMap::new();
    for (name, roles) in &people {
        let words: Vec<String> = roles.iter().map(Role::to_string).collect();
        shows.insert(*name, enrol(&cluster, name, &words.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    // Its certificate is from the right CA, and no identity has it.
    certificates::init(&certs(&cluster), &[Wanted { name: "unknown".into(), list: vec!["localhost".into()] }], &[], 1)
        .unwrap();
    for who in BOTH {
        read_identities(&cluster, who, 4 + people.len()).await;
    }
    let methods = methods();
    assert!(methods.len() > 20, "{methods:?}");
    for who in BOTH {
        let unknown = channel(&cluster, who, &shown(&certs(&cluster), "unknown")).await;
        let channels = people.iter().map(|(name, _)| channel(&cluster, who, &shows[name]));
        let channels = futures::future::join_all(channels).await;
        for method in methods.iter().filter(|method| offered_by(who, method)) {
            let Needed::OneOf(needed) = needed(method) else { panic!("{method} is open to all") };
            assert_eq!(asked(&unknown, method).await.unwrap_err().code(), Code::Unauthenticated, "{method}");
            for ((name, roles), channel) in people.iter().zip(&channels) {
                if needed.iter().any(|role| roles.contains(role)) {
                    // What is empty does no harm, but this.
                    if method.ends_with("/Drain") {
                        continue;
                    }
                    if let Err(status) = asked(channel, method).await {
                        let refused = [Code::PermissionDenied, Code::Unauthenticated].contains(&status.code());
                        assert!(!refused, "{name} at {method}: {status}");
                    }
                } else {
                    let status = asked(channel, method).await.unwrap_err();
                    assert_eq!(status.code(), Code::PermissionDenied, "{name} at {method}: {status}");
                    assert!(
                        status.message().contains(*name) && status.message().contains("needs the role"),
                        "{status}"
                    );
                }
            }
        }
    }
}

fn offered_by(who: Who, method: &str) -> bool {
    method.starts_with("/undoubt.v1.Participant") == (who != Who::Coordinator)
}

/// The paths of all methods of this project.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(undoubt_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.into_iter().flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().map(move |service| (package.clone(), service))
    });
    services
        .flat_map(|(package, service)| {
            let path = |method: &str| format!("/{package}.{}/{method}", service.name());
            service.method.iter().map(|method| path(method.name())).collect::<Vec<_>>()
        })
        .collect()
}

/// Calls a method with an empty message. One that says nothing for a while has let it in.
async fn asked(channel: &Channel, method: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = method.parse().unwrap();
    let codec = tonic_prost::ProstCodec::<v1::DescribeRequest, v1::DescribeRequest>::default();
    let call = client.server_streaming(Request::new(v1::DescribeRequest {}), path, codec);
    let answer = timeout(Duration::from_secs(1), async { call.await?.into_inner().message().await.map(|_| ()) });
    answer.await.unwrap_or(Ok(()))
}

#[tokio::test]
async fn only_those_who_may_look_learn_the_ids_of_coordinators_and_a_stranger_opens_no_session() {
    let cluster = secured().await;
    let submitter = enrol(&cluster, "submitter", &["submit"]);
    for who in BOTH {
        read_identities(&cluster, who, 5).await;
    }
    let bank = Who::Participant(0);
    let describe = async |shows: &Credentials| {
        let mut admin = ParticipantAdminClient::new(channel(&cluster, bank, shows).await);
        admin.describe(v1::DescribeParticipantRequest {}).await.unwrap().into_inner().coordinators
    };
    let known = describe(&cluster.credentials()).await;
    assert_eq!(known.len(), 1);
    assert_eq!(describe(&submitter).await, []);
    undoubt_as(&cluster, &submitter, &["describe"]).await.expect(0, &["not told"]);
    undoubt_as(&cluster, &submitter, &TRANSFER).await.expect(0, &["committed"]);
    undoubt_as(&cluster, &submitter, &["list"]).await.expect(7, &["submitter may not", "read or operate"]);

    // The hole: whoever knew the id ended the coordinator for good.
    let hello = v1::Hello {
        protocol_version: 1,
        coordinator_id: known[0].coordinator_id.clone(),
        epoch: u32::MAX,
        participant_name: "bank-a".to_owned(),
        ..v1::Hello::default()
    };
    let first = v1::CoordinatorBatch { hello: Some(hello), ..Default::default() };
    for shows in [submitter, cluster.credentials()] {
        let mut session = ParticipantClient::new(channel(&cluster, bank, &shows).await);
        let refused = session.session(tokio_stream::iter([first.clone()])).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    undoubt_as(&cluster, &cluster.credentials(), &TRANSFER).await.expect(0, &["committed"]);
}

#[tokio::test]
async fn a_token_lets_in_whoever_has_it_until_it_is_withdrawn_and_is_told_to_nobody() {
    let settings = vec!["tls.client_certificates=optional".to_owned()];
    let cluster = start(Plan { secured: true, coordinator_settings: settings, ..banks() }).await;
    let made = run(command(&["tokens", "new", "--output", "json"])).await.json();
    let (token, hash) = (made["token"].as_str().unwrap(), made["hash"].as_str().unwrap());
    assert_eq!(TokenHash::of(token).to_string(), hash);
    let file = cluster.folder().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let holder = Credentials { cert: None, key: None, token_file: Some(file.clone()), ..cluster.credentials() };
    let before = undoubt_as(&cluster, &holder, &["list"]).await.expect(7, &["withdrawn", "undoubt tokens new"]);
    assert!(!format!("{before:?}").contains(token), "{before:?}");

    let identities = certs(&cluster).join("identities.toml");
    let known = std::fs::read_to_string(&identities).unwrap();
    let entry = format!("[[identity]]\nname = \"ada\"\nroles = [\"read\"]\ntokens = [\"{hash}\"]\n");
    std::fs::write(&identities, format!("{known}{entry}")).unwrap();
    read_identities(&cluster, Who::Coordinator, 5).await;
    undoubt_as(&cluster, &holder, &["list"]).await.expect(0, &[]);
    undoubt_as(&cluster, &holder, &TRANSFER).await.expect(7, &["ada may not", "submit"]);

    // A file that cannot be used changes nothing.
    std::fs::write(&identities, "[[identity]]\nname = 5\n").unwrap();
    hang_up(&cluster, Who::Coordinator);
    logged(&cluster, Who::Coordinator, "new identities cannot be used and are kept out").await;
    undoubt_as(&cluster, &holder, &["list"]).await.expect(0, &[]);

    std::fs::write(&identities, &known).unwrap();
    read_identities(&cluster, Who::Coordinator, 4).await;
    undoubt_as(&cluster, &holder, &["list"]).await.expect(7, &["withdrawn"]);
    assert!(!cluster.log_tail(Who::Coordinator, 10_000).contains(token));
}

#[tokio::test]
async fn thousands_of_silent_or_half_open_handshakes_leave_others_served() {
    const STRANGERS: usize = 2_000;
    let cluster = secured().await;
    undoubt::process::raise_open_files(0);
    let address: SocketAddr = cluster.url(Who::Coordinator).unwrap().trim_start_matches("https://").parse().unwrap();
    let mut strangers = Vec::new();
    for number in 0..STRANGERS {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            // A handshake record that promises more than it brings.
            stranger.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
        }
        strangers.push(stranger);
    }
    undoubt_as(&cluster, &cluster.credentials(), &TRANSFER).await.expect(0, &["committed"]);
    // None of them is kept: those that do not end their handshakes are given up.
    for stranger in &mut strangers {
        let closed = timeout(PATIENCE, stranger.read(&mut [0; 64])).await.expect("it is kept");
        assert!(matches!(closed, Ok(0) | Err(_)), "it was told something: {closed:?}");
    }
    logged(&cluster, Who::Coordinator, "a TLS handshake failed").await;
}

#[tokio::test]
async fn new_certificates_are_taken_under_load_without_a_request_lost_and_bad_ones_are_kept_out() {
    let cluster = secured().await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let url = cluster.url(Who::Coordinator).unwrap();
    let options: ClientOptions = cluster.options().unwrap();
    let load = {
        let (stop, done) = (stop.clone(), done.clone());
        tokio::spawn(async move {
            let mut client = Client::connect_lazy(&url, options.clone()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                // Every few requests come on a new connection.
                if done.fetch_add(1, Ordering::Relaxed) % 5 == 0 {
                    client = Client::connect_lazy(&url, options.clone()).unwrap();
                }
                // Each has a key of its own: the locks of the one before may still be held.
                let key = format!("n/{}", done.load(Ordering::Relaxed));
                let work = || KvWork::new().add(key.clone(), 1);
                let answer = client.submit(&Transaction::new().on("bank-a", work()).on("bank-b", work())).await;
                assert_eq!(answer.unwrap().outcome, undoubt_client::Outcome::Committed);
            }
        })
    };
    let folder = certs(&cluster);
    let own = |ending: &str| folder.join(format!("coordinator.{ending}"));
    let after = async |more: u32| {
        let now = done.load(Ordering::Relaxed);
        until("the load goes on", async || (done.load(Ordering::Relaxed) > now + more).then_some(())).await;
    };
    after(10).await;
    for round in 1..=3 {
        for ending in ["crt", "key"] {
            std::fs::remove_file(own(ending)).unwrap();
        }
        let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        certificates::init(&folder, &[Wanted { name: "coordinator".into(), list: hosts }], &[], 1).unwrap();
        hang_up(&cluster, Who::Coordinator);
        until("they are taken", async || {
            let log = cluster.log_tail(Who::Coordinator, 10_000);
            (log.matches("new certificates hold").count() >= round).then_some(())
        })
        .await;
        after(10).await;
    }
    let good = std::fs::read(own("crt")).unwrap();
    std::fs::write(own("crt"), "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").unwrap();
    hang_up(&cluster, Who::Coordinator);
    logged(&cluster, Who::Coordinator, "new files cannot be used and are kept out").await;
    after(10).await;
    std::fs::write(own("crt"), good).unwrap();
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    undoubt_as(&cluster, &cluster.credentials(), &["participants"]).await.expect(0, &["bank-a"]);
}

#[tokio::test]
async fn the_records_name_the_identity_and_what_was_written_is_a_note() {
    let cluster = secured().await;
    let admin = cluster.credentials();
    let refused = [
        r#"{"id": "stuck", "mode": "saga", "steps": ["#,
        r#"{"name": "one", "at": "bank-a", "do": ["add a 1"], "undo": ["add a -9 floor=0"], "attempts": 1},"#,
        r#"{"name": "two", "at": "bank-b", "do": ["add b -5 floor=0"], "undo": ["add b 5"]}]}"#,
    ];
    let file = cluster.folder().join("stuck.json");
    std::fs::write(&file, refused.concat()).unwrap();
    let submit = ["submit", "--file", file.to_str().unwrap(), "--no-wait"];
    undoubt_as(&cluster, &admin, &submit).await.expect(0, &["stuck"]);
    until("it is stuck", async || {
        let status = undoubt_as(&cluster, &admin, &["status", "stuck", "--output", "json"]).await.json();
        (status["phase"] == "stuck").then_some(())
    })
    .await;
    let resolve = ["resolve-step", "stuck", "one", "done", "--who", "bob", "--reason", "by hand", "--yes"];
    undoubt_as(&cluster, &admin, &resolve).await.expect(0, &[]);
    let history = undoubt_as(&cluster, &admin, &["history", "stuck", "--output", "json"]).await.expect(0, &[]).out;
    assert!(history.contains("admin") && history.contains("by hand (as bob)"), "{history}");
}

#[tokio::test]
async fn a_server_listens_beyond_its_machine_only_with_tls_and_identities_or_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let hosts = vec!["localhost".to_owned()];
    certificates::init(folder.path(), &[Wanted { name: "bank-a".into(), list: hosts }], &[], 1).unwrap();
    let elsewhere = ["--name", "bank-a", "--listen", "0.0.0.0:0", "--data-dir", &data];
    let ended = program::run(participant(&elsewhere)).await;
    ended.refused_with(&["reached from other machines", "without TLS", "tls.certificate", "--insecure"]);
    assert_eq!(ended.code, Some(2));
    let file = |key: &str, name: &str| format!("{key}={}", folder.path().join(name).display());
    let tls = [file("tls.certificate", "bank-a.crt"), file("tls.key", "bank-a.key"), file("tls.ca", "ca.crt")];
    let with_tls: Vec<&str> =
        elsewhere.into_iter().chain(tls.iter().flat_map(|setting| ["--set", setting.as_str()])).collect();
    let ended = program::run(participant(&with_tls)).await;
    ended.refused_with(&["without identities", "access.identities"]);

    for arguments in [
        [&elsewhere[..], &["--insecure"]].concat(),
        [&with_tls[..], &["--set", &file("access.identities", "identities.toml")]].concat(),
    ] {
        let is_insecure = arguments.contains(&"--insecure");
        let mut running = participant(&arguments).spawn().unwrap();
        let mut log = running.stderr.take().unwrap();
        let mut text = Vec::new();
        let told = async {
            while !String::from_utf8_lossy(&text).contains("listening")
                || is_insecure && !String::from_utf8_lossy(&text).contains("insecure")
            {
                let mut more = [0; 4_096];
                let read = log.read(&mut more).await.unwrap();
                assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
                text.extend_from_slice(&more[..read]);
            }
        };
        timeout(PATIENCE, told).await.expect("it does not listen");
        running.kill().await.unwrap();
    }
}

#[tokio::test]
async fn wrong_files_and_half_a_pair_are_told_before_anything_listens() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let none = folder.path().join("none.crt").display().to_string();
    for (settings, words) in [
        (vec![format!("tls.certificate={none}")], &["tls.key is not"][..]),
        (
            vec![format!("tls.certificate={none}"), format!("tls.key={none}"), "tls.client_certificates=none".into()],
            &["none.crt cannot be read"],
        ),
        (vec![format!("tls.certificate={none}"), format!("tls.key={none}")], &["neither tls.client_ca nor tls.ca"]),
        (vec![format!("access.identities={none}")], &["access.identities", "none.crt"]),
    ] {
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--data-dir", &data];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        let ended = program::run(participant(&arguments)).await;
        ended.refused_with(words);
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
}
