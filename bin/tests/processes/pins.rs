//! The tests of who is taken for a coordinator: the proof that begins a session, the keys that participants pin, and strangers.

use crate::support::api::{channel, commit, describe, refused, transfer};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::program::{coordinator, participant, run};
use crate::support::session::{Session, first, hello, key};
use crate::support::{banks, programs, start, until};
use bytes::Bytes;
use std::os::unix::fs::PermissionsExt as _;
use tonic::Code;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::{ClientOptions, KnownCoordinator, ParticipantClient};
use undoubt_platform::{SecretKey, SeededRandom};
use undoubt_proto::v1;
use undoubt_proto::v1::participant_client::ParticipantClient as Wire;
use undoubt_vocabulary::{Challenge, CoordinatorId, Epoch, Statement};

const BANK_A: Who = Who::Participant(0);

/// Returns what a participant keeps of coordinators.
async fn known(cluster: &Cluster, who: Who) -> Vec<KnownCoordinator> {
    let client = ParticipantClient::connect_lazy(&cluster.url(who).unwrap(), ClientOptions::default()).unwrap();
    client.describe().await.unwrap().coordinators
}

fn key_file(cluster: &Cluster) -> std::path::PathBuf {
    cluster.folder().join("coordinator/coordinator.key")
}

/// Has the program print the public part of the cluster's key.
async fn public_key(cluster: &Cluster, flags: &[&str]) -> String {
    let file = key_file(cluster);
    let shown = run(coordinator(&[&["key", file.to_str().unwrap()], flags].concat())).await;
    assert!(shown.success, "{shown:?}");
    shown.out.trim_end().to_owned()
}

/// Waits until all participants are connected again, or one says this.
async fn until_connected(cluster: &Cluster) {
    until("all participants are connected", async || {
        describe(cluster).await.participants.iter().all(|participant| participant.connected).then_some(())
    })
    .await;
}

async fn until_refused(cluster: &Cluster, words: &str) {
    until(&format!("a session is refused with {words:?}"), async || {
        let described = describe(cluster).await;
        described.participants.iter().any(|participant| participant.last_error.contains(words)).then_some(())
    })
    .await;
}

async fn pin(cluster: &Cluster, at: &str, key: &str) {
    let id = CoordinatorId::try_from(&describe(cluster).await.coordinator_id[..]).unwrap().to_string();
    let who = ["--who", "ada", "--reason", "I have looked at it", "--yes"];
    let pin = [&["participants", "pin", at, "--coordinator-id", &id, "--public-key", key], &who[..]].concat();
    undoubt(cluster, &pin).await.expect(0, &["pinned", key]);
}

#[tokio::test]
async fn a_stranger_who_knows_the_coordinators_id_takes_no_epoch_and_ends_nobody() {
    let mut cluster = start(banks()).await;
    commit(&cluster, transfer("before", 10)).await;
    let before = known(&cluster, BANK_A).await;
    assert_eq!(before.len(), 1);
    assert!(before[0].key.is_some() && !before[0].vouched, "{before:?}");
    let url = cluster.url(BANK_A).unwrap();
    // All that anybody can read, and the highest epoch.
    let stolen = |epoch: u32| v1::Hello {
        coordinator_id: Bytes::copy_from_slice(&before[0].id.0),
        coordinator_name: "coordinator".to_owned(),
        ..hello("bank-a", epoch)
    };
    for epoch in [Epoch::LAST.0, u32::MAX, before[0].epoch.0] {
        // Without a proof.
        let unproven = v1::Hello { newest_protocol_version: 1, public_key: Bytes::new(), ..stolen(epoch) };
        let code = Session::open(&url, first(unproven)).await.unwrap_err().code();
        assert!([Code::Unauthenticated, Code::OutOfRange].contains(&code), "{code:?}");
        let unproven = v1::Hello { public_key: Bytes::new(), ..stolen(epoch) };
        let code = Session::open(&url, first(unproven)).await.unwrap_err().code();
        assert!([Code::Unauthenticated, Code::OutOfRange].contains(&code), "{code:?}");
        // By a key of its own.
        let own = Session::open(&url, first(stolen(epoch))).await.unwrap_err();
        assert!([Code::PermissionDenied, Code::OutOfRange].contains(&own.code()), "{own:?}");
        // By the coordinator's key, which it does not have.
        let public_key = Bytes::copy_from_slice(&before[0].key.unwrap().0);
        let borrowed = Session::open(&url, first(v1::Hello { public_key, ..stolen(epoch) })).await.unwrap_err();
        assert_eq!(borrowed.code(), Code::Unauthenticated, "{borrowed:?}");
    }
    let told = Session::open(&url, first(stolen(5))).await.unwrap_err();
    assert!(told.message().contains("another key") && told.message().contains("participants pin"), "{told:?}");
    assert!(told.metadata().get("undoubt-known-epoch").is_none(), "{told:?}");
    // Nothing of it is stored.
    assert_eq!(format!("{:?}", summary(&known(&cluster, BANK_A).await)), format!("{:?}", summary(&before)));
    commit(&cluster, transfer("after", 10)).await;
    cluster.kill(BANK_A).await.unwrap();
    cluster.restart(BANK_A, None).await.unwrap();
    until_connected(&cluster).await;
    assert_eq!(format!("{:?}", summary(&known(&cluster, BANK_A).await)), format!("{:?}", summary(&before)));
    commit(&cluster, transfer("after a restart", 10)).await;
    assert!(!cluster.has_ended(Who::Coordinator).unwrap());
    // Its folder is taken by the next start, too.
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    commit(&cluster, transfer("after another", 10)).await;
}

/// What a stranger could have changed.
fn summary(known: &[KnownCoordinator]) -> Vec<(CoordinatorId, Epoch, Option<String>, bool)> {
    known.iter().map(|known| (known.id, known.epoch, known.key.map(|key| key.to_string()), known.connected)).collect()
}

#[tokio::test]
async fn a_question_is_answered_to_whoever_proves_the_pinned_key_and_to_nobody_else() {
    let cluster = start(banks()).await;
    commit(&cluster, transfer("t", 10)).await;
    let id = known(&cluster, BANK_A).await[0].id;
    let mut wire = Wire::new(channel(&cluster, BANK_A).await);
    let question = v1::RecallRequest {
        coordinator_id: Bytes::copy_from_slice(&id.0),
        participant_name: "bank-a".to_owned(),
        attempts: true,
        ..v1::RecallRequest::default()
    };
    let (code, _) = refused(wire.recall(question.clone()).await);
    assert_eq!(code, Code::Unauthenticated);
    // One who claims a key hears a challenge and nothing else.
    let public_key = Bytes::copy_from_slice(&key().public().0);
    let claimed = v1::RecallRequest { public_key, ..question };
    let answer = wire.recall(claimed.clone()).await.unwrap().into_inner();
    assert_eq!(answer, v1::RecallResponse { challenge: answer.challenge.clone(), ..Default::default() });
    let sign = |key: &SecretKey, participant| {
        let challenge = Challenge(answer.challenge[..].try_into().unwrap());
        let public = key.public();
        let signed = key.sign(&Statement::Recall {
            challenge: &challenge,
            coordinator: id,
            key: &public,
            shown: None,
            participant,
        });
        Bytes::copy_from_slice(&signed.0)
    };
    let proven = |signature| v1::RecallRequest { challenge: answer.challenge.clone(), signature, ..claimed.clone() };
    let (code, why) = refused(wire.recall(proven(sign(&key(), "bank-a"))).await);
    assert_eq!(code, Code::PermissionDenied, "{why}");
    let (code, why) = refused(wire.recall(proven(sign(&key(), "bank-b"))).await);
    assert_eq!(code, Code::Unauthenticated, "{why}");
    let (code, why) = refused(wire.recall(proven(sign(&SecretKey::draw(&SeededRandom::new(2)), "bank-a"))).await);
    assert_eq!(code, Code::Unauthenticated, "{why}");
}

#[tokio::test]
async fn a_participant_that_is_killed_between_the_write_of_a_pin_and_its_welcome_knows_the_key_and_before_it_nothing() {
    let mut cluster = start(Plan { participants: vec!["bank".to_owned()], ..Plan::default() }).await;
    let url = cluster.url(BANK_A).unwrap();
    let another = SecretKey::draw(&SeededRandom::new(2));
    let by_another = || {
        let public_key = Bytes::copy_from_slice(&another.public().0);
        first(v1::Hello { public_key, ..hello("bank", 1) })
    };
    for (at, known_after) in [("before-record-epoch:1", false), ("after-record-epoch:1", true)] {
        cluster.kill(Who::Coordinator).await.unwrap();
        cluster.kill(BANK_A).await.unwrap();
        cluster.restart(BANK_A, Some(at)).await.unwrap();
        cluster.wait_until_ready(BANK_A).await.unwrap();
        let _dies = Session::open(&url, first(hello("bank", 1))).await.map(drop);
        until("it has crashed", async || cluster.has_ended(BANK_A).unwrap().then_some(())).await;
        cluster.restart(BANK_A, None).await.unwrap();
        let pinned = known(&cluster, BANK_A).await.into_iter().find(|known| known.key == Some(key().public()));
        assert_eq!(pinned.map(|known| known.epoch), known_after.then_some(Epoch(1)), "{at}");
    }
    let refused = Session::open_by(&another, &url, by_another()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    Session::welcomed(&url, "bank", 1).await;
}

#[tokio::test]
async fn a_key_that_was_rotated_is_taken_by_its_word_and_one_that_was_lost_by_an_operators() {
    let mut cluster = start(banks()).await;
    let mode = std::fs::metadata(key_file(&cluster)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let drawn = public_key(&cluster, &[]).await;
    assert_eq!(known(&cluster, BANK_A).await[0].key.unwrap().to_string(), drawn);
    assert!(cluster.stop(Who::Coordinator, crate::support::PATIENCE).await.unwrap());
    let rotated = public_key(&cluster, &["--rotate"]).await;
    assert_ne!(rotated, drawn);
    cluster.restart(Who::Coordinator, None).await.unwrap();
    until_connected(&cluster).await;
    commit(&cluster, transfer("rotated", 10)).await;
    assert_eq!(known(&cluster, BANK_A).await[0].key.unwrap().to_string(), rotated);

    assert!(cluster.stop(Who::Coordinator, crate::support::PATIENCE).await.unwrap());
    std::fs::remove_file(key_file(&cluster)).unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    until_refused(&cluster, "another key").await;
    let new = public_key(&cluster, &[]).await;
    undoubt(&cluster, &["participants"]).await.expect(0, &["participants pin"]);
    pin(&cluster, "bank-a", &new).await;
    pin(&cluster, &cluster.url(Who::Participant(1)).unwrap(), &new).await;
    until_connected(&cluster).await;
    commit(&cluster, transfer("pinned", 10)).await;
    let url = cluster.url(BANK_A).unwrap();
    let told = undoubt_json(&cluster, &["participant", &url]).await.json();
    assert_eq!(
        (told["coordinators"][0]["key"].as_str(), &told["coordinators"][0]["vouched"]),
        (Some(&*new), &true.into())
    );
    undoubt(&cluster, &["participant", &url]).await.expect(0, &[&new, "vouched for"]);
}

#[tokio::test]
async fn as_many_keys_as_are_allowed_are_pinned_at_first_contact_and_an_operator_pins_more() {
    let participant_settings = vec!["max_unvouched_pins=2".to_owned()];
    let cluster = start(Plan { participants: vec!["bank".to_owned()], participant_settings, ..Plan::default() }).await;
    let url = cluster.url(BANK_A).unwrap();
    Session::welcomed(&url, "bank", 1).await;
    let third = || first(v1::Hello { coordinator_id: Bytes::from_static(b"another 16 bytes"), ..hello("bank", 1) });
    let refused = Session::open(&url, third()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("max_unvouched_pins"), "{refused:?}");
    assert_eq!(known(&cluster, BANK_A).await.len(), 2);
    let client = ParticipantClient::connect_lazy(&url, ClientOptions::default()).unwrap();
    client.pin_coordinator(CoordinatorId(*b"another 16 bytes"), key().public(), "ada", "it is ours").await.unwrap();
    Session::open(&url, third()).await.unwrap();
}

#[tokio::test]
async fn a_coordinator_draws_its_key_into_its_data_folder_and_no_backup_has_it() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let ports = ["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let mut process = tokio::process::Command::new(programs().coordinator)
        .args(ports)
        .kill_on_drop(true)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let file = data.join("coordinator.key");
    until("the key is drawn", async || file.exists().then_some(())).await;
    process.kill().await.unwrap();
    let to = home.path().join("backup");
    let backup = ["backup", "--data-dir", data.to_str().unwrap(), "--to", to.to_str().unwrap()];
    let made = run(coordinator(&backup)).await;
    assert!(made.success, "{made:?}");
    assert!(!to.join("coordinator.key").exists());
    // What is no key is refused, and not replaced.
    std::fs::write(&file, "secret 00").unwrap();
    let ended = run(coordinator(&ports)).await;
    ended.refused_with(&["coordinator.key", "key"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret 00");
    let none = run(participant(&["--set", "max_unvouched_pins=-1"])).await;
    none.refused_with(&["max_unvouched_pins"]);
}
