//! Folders that are put back from a copy, emptied, or started twice: noticed before anything is claimed, presumed or served.

use crate::support::api::{
    branch, channel, commit, coordinator as client, describe, get, list, no_wait, operator, request, submit, transfer,
    value, within_ms,
};
use crate::support::program::{coordinator, participant};
use crate::support::{PATIENCE, banks, start, until};
use std::path::{Path, PathBuf};
use tonic::Code;
use undoubt::cluster::{Cluster, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_proto::v1::participant_admin_client::ParticipantAdminClient;
use undoubt_vocabulary::{CoordinatorPhase, PartState};

const BANK_A: Who = Who::Participant(0);
const BANK_B: Who = Who::Participant(1);

fn copy(cluster: &Cluster, who: Who, name: &str) -> PathBuf {
    cluster.copy(who, name).unwrap()
}

/// Puts a copy in the place of the folder of a process that is killed for it, and starts that again.
async fn put_back(cluster: &mut Cluster, who: Who, from: &Path) {
    cluster.kill(who).await.unwrap();
    cluster.put_back(who, from).unwrap();
    // So that only what others have seen can tell.
    cluster.set(who, "folder_sign=false");
    start_again(cluster, who).await;
}

/// Starts a process, and returns once it listens: it may not serve.
pub async fn start_again(cluster: &mut Cluster, who: Who) {
    cluster.start_again(who).await.unwrap();
    let address = cluster.url(who).unwrap().trim_start_matches("http://").to_owned();
    until("it listens", async || tokio::net::TcpStream::connect(&address).await.ok()).await;
}

async fn held(cluster: &Cluster) -> v1::DescribeResponse {
    until("the coordinator is held", async || {
        let asked = operator(cluster).await.describe(v1::DescribeRequest {}).await;
        asked
            .ok()
            .map(tonic::Response::into_inner)
            .filter(|described| described.phase == CoordinatorPhase::Held.number())
    })
    .await
}

/// What a participant that was put back says of itself.
pub async fn says_that_it_was_put_back(cluster: &Cluster, who: Who) -> String {
    until("the participant says that it was put back", async || {
        let mut admin = ParticipantAdminClient::new(channel(cluster, who).await);
        let said = admin.describe(v1::DescribeParticipantRequest {}).await.ok()?.into_inner().put_back;
        (!said.is_empty()).then_some(said)
    })
    .await
}

async fn accept_loss(cluster: &Cluster) -> v1::AcceptLossResponse {
    let accept = v1::AcceptLossRequest { who: "ada".into(), reason: "the disk is gone".into(), without: Vec::new() };
    let accepted =
        until("the loss is accepted", async || operator(cluster).await.accept_loss(accept.clone()).await.ok());
    accepted.await.into_inner()
}

pub async fn accept_loss_of(cluster: &Cluster, who: Who) {
    let mut admin = ParticipantAdminClient::new(channel(cluster, who).await);
    let accept = v1::AcceptParticipantLossRequest { who: "ada".into(), reason: "the disk is gone".into() };
    admin.accept_loss(accept).await.unwrap();
}

pub async fn until_connected(cluster: &Cluster, name: &str) {
    until("the participant is connected", async || {
        let described = describe(cluster).await;
        described.participants.iter().any(|view| view.name == name && view.connected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_coordinators_folder_that_is_put_back_is_held_and_what_committed_is_not_run_again() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    // It does not come so far as to let participants forget t1.
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, Some("before-append-ended:1")).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let copied = copy(&cluster, Who::Coordinator, "copy");
    // Its answer may be lost with the process.
    let _ = submit(&cluster, transfer("t1", 10)).await;
    assert!(!cluster.wait_until_ended(Who::Coordinator, PATIENCE).await.unwrap(), "it crashes");
    put_back(&mut cluster, Who::Coordinator, &copied).await;
    let described = held(&cluster).await;
    let because = described.held_because.join("; ");
    assert!(
        because.contains("bank-a has seen its write") || because.contains("bank-b has seen its write"),
        "{because}"
    );
    for tx in ["t1", "t2"] {
        let status = submit(&cluster, transfer(tx, 10)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    // It is held however often it is started.
    cluster.kill(Who::Coordinator).await.unwrap();
    start_again(&mut cluster, Who::Coordinator).await;
    held(&cluster).await;
    let accepted = accept_loss(&cluster).await;
    assert_eq!((accepted.committed, accepted.held), (1, 0), "t1 is known to have committed");
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    let again = submit(&cluster, transfer("t1", 10)).await.unwrap();
    assert_eq!(again.state(), v1::State::Committed);
    until_connected(&cluster, "bank-b").await;
    until_connected(&cluster, "bank-a").await;
    assert_eq!(value(&cluster, "bank-b", "bob").await.as_deref(), Some("11"), "t1 has run once");
    let losses = describe(&cluster).await.losses;
    assert!(losses.len() == 1 && losses[0].loss.as_ref().unwrap().who == "ada", "{losses:?}");
    // From then on it is as any other.
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    commit(&cluster, transfer("t3", 1)).await;
}

#[tokio::test]
async fn a_stale_copy_beside_the_running_coordinator_is_held_and_harms_nobody() {
    let cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    let copied = copy(&cluster, Who::Coordinator, "copy");
    commit(&cluster, transfer("t1", 1)).await;
    let urls = [BANK_A, BANK_B].map(|who| cluster.url(who).unwrap());
    let address_file = cluster.folder().join("address-of-copy");
    let folder = copied.display().to_string();
    let (bank_a, bank_b) = (format!("bank-a={}", urls[0]), format!("bank-b={}", urls[1]));
    let file = address_file.display().to_string();
    let key_file = format!("key_file={}", cluster.folder().join("coordinator/coordinator.key").display());
    let arguments = [
        "--data-dir",
        &folder,
        "--set",
        &key_file,
        "--name",
        "coordinator",
        "--listen",
        "127.0.0.1:0",
        "--address-file",
        &file,
        "--participant",
        &bank_a,
        "--participant",
        &bank_b,
    ];
    let _copy = coordinator(&arguments).spawn().unwrap();
    let address = until("the copy listens", async || std::fs::read_to_string(&address_file).ok()).await;
    let rival = "another process is connected as this coordinator to bank-a, bank-b";
    until("the copy is held, and knows of the other", async || {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).ok()?;
        let mut operator = v1::operator_client::OperatorClient::new(endpoint.connect().await.ok()?);
        let described = operator.describe(v1::DescribeRequest {}).await.ok()?.into_inner();
        (described.phase == CoordinatorPhase::Held.number() && described.held_because.join("; ").contains(rival))
            .then_some(())
    })
    .await;
    for number in 2..5 {
        commit(&cluster, transfer(&format!("t{number}"), 1)).await;
    }
    assert_eq!(value(&cluster, "bank-b", "bob").await.as_deref(), Some("5"));
}

#[tokio::test]
async fn a_participants_folder_that_is_put_back_serves_nobody_until_the_loss_is_accepted_and_listed() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    let copied = copy(&cluster, BANK_A, "copy");
    commit(&cluster, transfer("t1", 10)).await;
    put_back(&mut cluster, BANK_A, &copied).await;
    let said = says_that_it_was_put_back(&cluster, BANK_A).await;
    assert!(said.contains("others have seen its write"), "{said}");
    let told = until("the coordinator names it", async || {
        let view = describe(&cluster).await.participants.into_iter().find(|view| view.name == "bank-a")?;
        view.last_error.contains("was put back").then_some(view.last_error)
    })
    .await;
    assert!(told.contains("undoubt participants accept"), "{told}");
    // The others go on.
    let other = request("b1", [branch("bank-b", KvWork::new().add("bob", 1))]);
    commit(&cluster, other).await;
    // It stays so over a restart.
    cluster.kill(BANK_A).await.unwrap();
    cluster.restart(BANK_A, None).await.unwrap();
    says_that_it_was_put_back(&cluster, BANK_A).await;
    accept_loss_of(&cluster, BANK_A).await;
    until_connected(&cluster, "bank-a").await;
    assert_eq!(list(&cluster, v1::list_request::Filter::Damaged).await, ["t1"]);
    let losses = describe(&cluster).await.losses;
    assert!(losses.len() == 1 && losses[0].participant == "bank-a" && losses[0].listed == 1, "{losses:?}");
    commit(&cluster, transfer("t2", 1)).await;
    for who in [BANK_A, Who::Coordinator] {
        cluster.kill(who).await.unwrap();
        cluster.restart(who, None).await.unwrap();
    }
    until_connected(&cluster, "bank-a").await;
    commit(&cluster, transfer("t3", 1)).await;
    assert_eq!(describe(&cluster).await.losses.len(), 1, "it is listed once");
}

/// Steps at bank-a that are done, and one at bank-b.
fn saga(tx: &str) -> v1::SubmitRequest {
    let step = |name: &str, at: &str, work: KvWork, after: &[u32]| v1::SagaStep {
        name: name.to_owned(),
        participant: at.to_owned(),
        action: Some(work.encode().unwrap()),
        compensation: Some(KvWork::new().delete(name.to_owned()).encode().unwrap()),
        after: after.to_vec(),
        ..v1::SagaStep::default()
    };
    let pay = step("pay", "bank-a", KvWork::new().add("pay", 1), &[]);
    let ship = step("ship", "bank-b", KvWork::new().add("ship", 1), &[0]);
    within_ms(60_000, v1::SubmitRequest { mode: v1::Mode::Saga.into(), steps: vec![pay, ship], ..request(tx, []) })
}

#[tokio::test]
async fn what_a_participant_has_lost_of_sagas_is_listed_also_of_those_that_are_open() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    let copied = copy(&cluster, BANK_A, "copy");
    commit(&cluster, saga("ended")).await;
    cluster.kill(BANK_B).await.unwrap();
    submit(&cluster, no_wait(saga("open"))).await.unwrap();
    until("the first step is done", async || {
        let seen = get(&cluster, "open").await.ok()?;
        seen.branches
            .iter()
            .any(|branch| branch.step == "pay" && branch.state == PartState::Done.number())
            .then_some(())
    })
    .await;
    put_back(&mut cluster, BANK_A, &copied).await;
    says_that_it_was_put_back(&cluster, BANK_A).await;
    accept_loss_of(&cluster, BANK_A).await;
    until_connected(&cluster, "bank-a").await;
    assert_eq!(list(&cluster, v1::list_request::Filter::Damaged).await, ["ended"]);
    // What was lost of the open one outlives the coordinator.
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    cluster.restart(BANK_B, None).await.unwrap();
    until("both are listed", async || {
        let listed = list(&cluster, v1::list_request::Filter::Damaged).await;
        (listed == ["ended", "open"]).then_some(())
    })
    .await;
    let steps = get(&cluster, "open").await.unwrap().branches;
    let states: Vec<(&str, i32)> = steps.iter().map(|step| (step.step.as_str(), step.state)).collect();
    assert_eq!(states, [("pay", PartState::Unknown.number()), ("ship", PartState::Done.number())]);
    let losses = describe(&cluster).await.losses;
    assert!(losses.len() == 1 && losses[0].listed == 2 && !losses[0].more, "{losses:?}");
}

#[tokio::test]
async fn a_participants_folder_that_was_emptied_serves_nobody_until_the_loss_is_accepted() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    cluster.kill(BANK_A).await.unwrap();
    cluster.empty(BANK_A).unwrap();
    start_again(&mut cluster, BANK_A).await;
    let said = says_that_it_was_put_back(&cluster, BANK_A).await;
    assert!(said.contains("another log of this name"), "{said}");
    accept_loss_of(&cluster, BANK_A).await;
    until_connected(&cluster, "bank-a").await;
    assert_eq!(list(&cluster, v1::list_request::Filter::Damaged).await, ["t0"]);
}

#[tokio::test]
async fn a_coordinators_folder_that_was_emptied_is_held_until_it_is_said_to_be_new() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.empty(Who::Coordinator).unwrap();
    start_again(&mut cluster, Who::Coordinator).await;
    let because = held(&cluster).await.held_because.join("; ");
    assert!(because.contains("--new"), "{because}");
    let status = client(&cluster).await.submit(transfer("t1", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.set(Who::Coordinator, "new=true");
    cluster.restart(Who::Coordinator, None).await.unwrap();
    commit(&cluster, transfer("t2", 1)).await;
}

#[tokio::test]
async fn a_start_whose_participants_are_away_is_over_after_the_bound_and_not_before_if_all_are_waited_for() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    for who in [BANK_A, BANK_B, Who::Coordinator] {
        assert!(cluster.stop(who, PATIENCE).await.unwrap());
    }
    cluster.restart(Who::Coordinator, None).await.unwrap();
    assert!(cluster.stop(Who::Coordinator, PATIENCE).await.unwrap());
    cluster.set(Who::Coordinator, "wait_for_all_witnesses=true");
    start_again(&mut cluster, Who::Coordinator).await;
    until("it says that it is recovering", async || {
        let described = operator(&cluster).await.describe(v1::DescribeRequest {}).await.ok()?.into_inner();
        (described.phase == CoordinatorPhase::Recovering.number()).then_some(())
    })
    .await;
    cluster.restart(BANK_A, None).await.unwrap();
    cluster.restart(BANK_B, None).await.unwrap();
    cluster.wait_until_ready(Who::Coordinator).await.unwrap();
    commit(&cluster, transfer("t1", 1)).await;
}

#[tokio::test]
async fn two_copies_of_a_participant_that_were_both_started_are_told_apart() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    assert!(cluster.stop(BANK_A, PATIENCE).await.unwrap());
    let copied = copy(&cluster, BANK_A, "copy");
    cluster.restart(BANK_A, None).await.unwrap();
    until_connected(&cluster, "bank-a").await;
    commit(&cluster, transfer("t1", 1)).await;
    cluster.kill(BANK_A).await.unwrap();
    let folder = copied.display().to_string();
    let address = cluster.url(BANK_A).unwrap().trim_start_matches("http://").to_owned();
    let unseen = ["--set", "folder_sign=false"];
    let arguments = [&["--data-dir", &folder, "--name", "bank-a", "--listen", &address][..], &unseen].concat();
    let _copy = participant(&arguments).spawn().unwrap();
    until("it listens", async || tokio::net::TcpStream::connect(&address).await.ok()).await;
    let said = says_that_it_was_put_back(&cluster, BANK_A).await;
    assert!(said.contains("another start under that number"), "{said}");
}

#[tokio::test]
async fn a_folder_that_was_copied_and_has_lost_nothing_is_cleared_by_the_participants_and_not_for_a_participant() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("t0", 1)).await;
    assert!(cluster.stop(Who::Coordinator, PATIENCE).await.unwrap());
    let copied = copy(&cluster, Who::Coordinator, "copy");
    cluster.put_back(Who::Coordinator, &copied).unwrap();
    // It serves as soon as both have said that they have seen no more.
    cluster.restart(Who::Coordinator, None).await.unwrap();
    commit(&cluster, transfer("t1", 1)).await;
    assert!(cluster.stop(BANK_A, PATIENCE).await.unwrap());
    let copied = copy(&cluster, BANK_A, "copy-of-bank");
    cluster.put_back(BANK_A, &copied).unwrap();
    start_again(&mut cluster, BANK_A).await;
    let said = says_that_it_was_put_back(&cluster, BANK_A).await;
    assert!(said.contains("was copied or put back"), "{said}");
    accept_loss_of(&cluster, BANK_A).await;
    until_connected(&cluster, "bank-a").await;
    assert_eq!(list(&cluster, v1::list_request::Filter::Damaged).await, [""; 0], "it has lost nothing");
    commit(&cluster, transfer("t2", 1)).await;
}
