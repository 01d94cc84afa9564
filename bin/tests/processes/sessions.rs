//! A participant that is spoken to message by message, as `session.proto` has it.

use crate::support::api::{channel, health};
use crate::support::session::{Session, first, hello, is_prepared, is_refused, one_phase, prepare};
use crate::support::{start, until};
use bytes::Bytes;
use std::collections::BTreeSet;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::Results;
use undoubt_client::kv::KvWork;
use undoubt_client::{ClientOptions, ParticipantClient};
use undoubt_proto::v1;
use v1::to_participant::Body;
use v1::vote::Vote;
use v1::{BranchOutcome, RefusalCode};

const BANK: Who = Who::Participant(0);

/// A participant. The cluster's own coordinator is connected as well, and has nothing to do.
async fn bank() -> (Cluster, String) {
    let participants = vec!["bank".to_owned()];
    let cluster = start(Plan { participants, ..Plan::default() }).await;
    let url = cluster.url(BANK).unwrap();
    (cluster, url)
}

async fn kill_and_restart(cluster: &mut Cluster) {
    cluster.kill(BANK).await.unwrap();
    cluster.restart(BANK, None).await.unwrap();
}

fn put(key: &'static str, value: &'static str) -> KvWork {
    KvWork::new().put(key, value)
}

/// What a one-phase branch reads of a key.
async fn read(session: &mut Session, tx: &str, attempt_number: u64, key: &'static str) -> Option<Bytes> {
    let vote = session.prepare(tx, attempt_number, one_phase(attempt_number, KvWork::new().get(key))).await;
    if let Vote::ReadOnly(result) = vote {
        return Results::read(&result).into_bytes().unwrap().remove(0);
    }
    panic!("not read-only but {vote:?}")
}

async fn in_doubt(url: &str) -> u64 {
    let client = ParticipantClient::connect_lazy(url, ClientOptions::default()).unwrap();
    client.describe().await.unwrap().branches_in_doubt
}

#[tokio::test]
async fn a_session_begins_with_a_hello_that_fits_or_not_at_all() {
    let (_cluster, url) = bank().await;
    let refusal = async |batch: v1::CoordinatorBatch| -> Status { Session::open(&url, batch).await.unwrap_err() };
    let none = refusal(v1::CoordinatorBatch::default()).await;
    assert_eq!(none.code(), Code::InvalidArgument, "{none:?}");
    assert!(none.message().contains("hello"), "{none:?}");
    let other = refusal(first(hello("another", 1))).await;
    assert_eq!(other.code(), Code::FailedPrecondition, "{other:?}");
    assert!(other.message().contains("\"bank\"") && other.message().contains("\"another\""), "{other:?}");
    let newer = refusal(first(v1::Hello { protocol_version: 3, ..hello("bank", 1) })).await;
    assert_eq!(newer.code(), Code::FailedPrecondition, "{newer:?}");
    assert!(newer.message().contains("versions 3 to 3"), "{newer:?}");
    let short = refusal(first(v1::Hello { coordinator_id: "short".into(), ..hello("bank", 1) })).await;
    assert_eq!(short.code(), Code::InvalidArgument, "{short:?}");
    assert!(short.message().contains("16 bytes"), "{short:?}");
    Session::welcomed(&url, "bank", 1).await;
}

#[tokio::test]
async fn coordinators_of_several_versions_are_each_spoken_to_in_the_highest_that_both_know() {
    let (participants, unproven) = (vec!["bank".to_owned()], "accept_unproven_coordinators=true".to_owned());
    let cluster = start(Plan { participants, participant_settings: vec![unproven], ..Plan::default() }).await;
    let url = cluster.url(BANK).unwrap();
    for (epoch, newest_protocol_version, spoken) in [(1, 0, 1), (2, 1, 1), (3, 2, 2), (4, 9, 2)] {
        let hello = v1::Hello { newest_protocol_version, ..hello("bank", epoch) };
        let (mut session, batch) = Session::open(&url, first(hello)).await.unwrap();
        let welcome = batch.welcome.unwrap();
        assert_eq!(welcome.protocol_version, spoken, "newest {newest_protocol_version}");
        assert_eq!(welcome.abilities, ["saga-steps", "one-phase", "two-phase", "open-sagas", "still-open"]);
        let key: &'static str = ["a", "b", "c", "d"][epoch as usize - 1];
        assert_eq!(read(&mut session, key, u64::from(epoch) << 40, key).await, None, "it works in each of them");
    }
    // Since it has proven a key once, nobody is taken for it without.
    let older = v1::Hello { newest_protocol_version: 1, ..hello("bank", 5) };
    let refused = Session::open(&url, first(older)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
}

#[tokio::test]
async fn a_lower_epoch_is_refused_and_stays_refused_after_kill_9() {
    let (mut cluster, url) = bank().await;
    Session::welcomed(&url, "bank", 5).await;
    for _ in 0..2 {
        let lower = Session::open(&url, first(hello("bank", 4))).await.unwrap_err();
        assert_eq!(lower.code(), Code::FailedPrecondition, "{lower:?}");
        assert!(lower.message().contains("epoch 4") && lower.message().contains('5'), "{lower:?}");
        assert_eq!(lower.metadata().get("undoubt-known-epoch").unwrap(), "5");
        kill_and_restart(&mut cluster).await;
    }
    Session::welcomed(&url, "bank", 5).await;
    Session::welcomed(&url, "bank", 6).await;
}

#[tokio::test]
async fn a_newer_session_replaces_the_older_whose_messages_are_ignored() {
    let (_cluster, url) = bank().await;
    let mut old = Session::welcomed(&url, "bank", 1).await;
    is_prepared(old.prepare("t", 10, prepare(1, put("k", "v"))).await);
    let mut new = Session::welcomed(&url, "bank", 1).await;
    assert!(matches!(new.hear("t", 10).await, v1::to_coordinator::Body::Inquiry(_)));
    old.send("t", 10, Body::Commit(v1::Commit {}));
    old.send("u", 11, Body::Prepare(prepare(2, put("other", "v"))));
    let replaced = old.end().await;
    assert_eq!(replaced.code(), Code::Aborted, "{replaced:?}");
    assert!(replaced.message().contains("newer session"), "{replaced:?}");
    assert_eq!(in_doubt(&url).await, 1);
    new.send("t", 10, Body::Commit(v1::Commit {}));
    assert_eq!(new.finished("t", 10).await, BranchOutcome::Committed);
    assert_eq!(read(&mut new, "look", 12, "other").await, None);
    assert_eq!(read(&mut new, "look too", 13, "k").await, Some("v".into()));
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_session_and_leaves_the_branches() {
    let (_cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    is_prepared(session.prepare("t", 10, prepare(1, put("k", "v"))).await);
    let nothing = v1::ToParticipant { tx: "u".into(), attempt_number: 11, body: None, trace_context: None };
    session.send_batch(v1::CoordinatorBatch { messages: vec![nothing], ..Default::default() });
    assert_eq!(session.end().await.code(), Code::InvalidArgument);
    let session = Session::welcomed(&url, "bank", 1).await;
    session.send("", 12, Body::Abort(v1::Abort { certain: true }));
    let bad = session.end().await;
    assert_eq!(bad.code(), Code::InvalidArgument, "{bad:?}");
    assert!(bad.message().contains("empty"), "{bad:?}");
    let mut session = Session::welcomed(&url, "bank", 1).await;
    assert!(matches!(session.hear("t", 10).await, v1::to_coordinator::Body::Inquiry(_)));
}

#[tokio::test]
async fn a_prepare_that_comes_again_is_answered_with_the_same_vote() {
    let (mut cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    let work = prepare(1, put("n", "1").add("n", 1));
    let vote = session.prepare("t", 10, work.clone()).await;
    assert_eq!(session.prepare("t", 10, work.clone()).await, vote);
    let reads = prepare(2, KvWork::new().get("x"));
    let read_only = session.prepare("r", 11, reads.clone()).await;
    assert!(matches!(read_only, Vote::ReadOnly(_)), "{read_only:?}");
    assert_eq!(session.prepare("r", 11, reads).await, read_only);
    let refusal = prepare(3, KvWork::new().compare_and_set("x", Some("y".into()), None));
    let refused = session.prepare("f", 12, refusal.clone()).await;
    assert_eq!(session.prepare("f", 12, refusal).await, refused);
    let alone = one_phase(4, KvWork::new().add("alone", 1));
    let committed = session.prepare("a", 13, alone.clone()).await;
    assert!(matches!(committed, Vote::Committed(_)), "{committed:?}");
    assert_eq!(session.prepare("a", 13, alone.clone()).await, committed);

    kill_and_restart(&mut cluster).await;
    let mut session = Session::welcomed(&url, "bank", 2).await;
    assert!(matches!(session.hear("t", 10).await, v1::to_coordinator::Body::Inquiry(_)));
    assert_eq!(session.prepare("t", 10, work).await, vote);
    assert_eq!(session.prepare("a", 13, alone).await, committed);
    session.send("a", 13, Body::Settle(v1::Settle {}));
    assert_eq!(session.vote("a", 13).await, committed);
    for _ in 0..2 {
        session.send("t", 10, Body::Commit(v1::Commit {}));
        assert_eq!(session.finished("t", 10).await, BranchOutcome::Committed);
    }
    assert_eq!(read(&mut session, "look", 20, "n").await, Some("2".into()));
    assert_eq!(read(&mut session, "look too", 21, "alone").await, Some("1".into()));
}

#[tokio::test]
async fn a_prepare_below_the_low_water_mark_is_late_and_one_after_its_abort_leaves_no_lock() {
    let (mut cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    session.low_water_mark(10);
    let (code, detail) = is_refused(session.prepare("late", 9, prepare(1, put("k", "late"))).await);
    assert_eq!(code, RefusalCode::Late, "{detail}");
    // The abort has overtaken its prepare.
    session.send("t", 11, Body::Abort(v1::Abort { certain: true }));
    session.send("t", 11, Body::Prepare(prepare(2, put("k", "lost"))));
    // A younger one would be refused if there were a lock.
    is_prepared(session.prepare("u", 12, prepare(3, put("k", "won"))).await);
    session.send("u", 12, Body::Commit(v1::Commit {}));
    assert_eq!(session.finished("u", 12).await, BranchOutcome::Committed);
    assert_eq!(in_doubt(&url).await, 0);

    kill_and_restart(&mut cluster).await;
    let mut session = Session::welcomed(&url, "bank", 2).await;
    session.low_water_mark(12);
    // Whatever it has forgotten of the abort: the low-water mark is above it.
    assert_eq!(is_refused(session.prepare("t", 11, prepare(2, put("k", "lost"))).await).0, RefusalCode::Late);
    assert_eq!(read(&mut session, "look", 20, "k").await, Some("won".into()));
}

#[tokio::test]
async fn a_commit_without_a_trace_is_unknown_above_the_low_water_mark_and_was_done_below_it() {
    let (_cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    session.low_water_mark(10);
    session.send("lost", 10, Body::Commit(v1::Commit {}));
    assert_eq!(session.finished("lost", 10).await, BranchOutcome::Unknown);
    session.send("old", 9, Body::Commit(v1::Commit {}));
    assert_eq!(session.finished("old", 9).await, BranchOutcome::Committed);
    session.send("never", 11, Body::Settle(v1::Settle {}));
    assert_eq!(session.finished("never", 11).await, BranchOutcome::Aborted);
    // Having said so, it keeps to it.
    session.send("never", 11, Body::Prepare(one_phase(1, put("k", "v"))));
    session.send("never", 11, Body::Settle(v1::Settle {}));
    assert_eq!(session.finished("never", 11).await, BranchOutcome::Aborted);
    assert_eq!(read(&mut session, "look", 20, "k").await, None);
}

#[tokio::test]
async fn a_prepared_branch_keeps_its_lock_through_kill_9_until_it_hears_the_decision() {
    let (mut cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    is_prepared(session.prepare("t", 10, prepare(5, put("k", "v"))).await);
    is_prepared(session.prepare("aborted", 11, prepare(5, put("j", "v"))).await);
    kill_and_restart(&mut cluster).await;
    let mut session = Session::welcomed(&url, "bank", 2).await;
    for (tx, attempt_number) in [("t", 10), ("aborted", 11)] {
        assert!(matches!(session.hear(tx, attempt_number).await, v1::to_coordinator::Body::Inquiry(_)));
    }
    // A younger transaction dies, an older one waits.
    let (code, detail) = is_refused(session.prepare("younger", 12, prepare(6, put("k", "w"))).await);
    assert_eq!(code, RefusalCode::LockConflict, "{detail}");
    assert!(detail.contains('t'), "{detail}");
    session.send("older", 13, Body::Prepare(prepare(4, put("k", "x"))));
    session.send("t", 10, Body::Undecided(v1::Undecided {}));
    let waiting = v1::Prepare { timeout_ms: 1, ..prepare(3, put("k", "y")) };
    let (code, _) = is_refused(session.prepare("impatient", 14, waiting).await);
    assert_eq!(code, RefusalCode::LockTimeout);
    // Still in doubt, it asks again from time to time.
    assert!(matches!(session.hear("t", 10).await, v1::to_coordinator::Body::Inquiry(_)));
    session.send("t", 10, Body::Commit(v1::Commit {}));
    assert_eq!(session.finished("t", 10).await, BranchOutcome::Committed);
    is_prepared(session.vote("older", 13).await);
    session.send("older", 13, Body::Abort(v1::Abort { certain: true }));
    session.send("aborted", 11, Body::Abort(v1::Abort { certain: true }));
    until("nothing is in doubt", async || (in_doubt(&url).await == 0).then_some(())).await;
    assert_eq!(read(&mut session, "look", 20, "k").await, Some("v".into()));
    assert_eq!(read(&mut session, "look too", 21, "j").await, None);
}

#[tokio::test]
async fn a_reader_confirms_its_locks_unless_a_restart_has_broken_them() {
    let (mut cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    let reads = || prepare(1, KvWork::new().get("k"));
    for (tx, attempt_number) in [("held", 10), ("lost", 11)] {
        assert!(matches!(session.prepare(tx, attempt_number, reads()).await, Vote::ReadOnly(_)));
    }
    let writer = prepare(2, put("k", "v"));
    assert_eq!(is_refused(session.prepare("writer", 12, writer.clone()).await).0, RefusalCode::LockConflict);
    for _ in 0..2 {
        session.send("held", 10, Body::Confirm(v1::Confirm {}));
        assert!(session.confirmed("held", 10).await);
    }
    kill_and_restart(&mut cluster).await;
    let mut session = Session::welcomed(&url, "bank", 2).await;
    session.send("lost", 11, Body::Confirm(v1::Confirm {}));
    assert!(!session.confirmed("lost", 11).await);
    is_prepared(session.prepare("writer", 13, writer).await);
}

#[tokio::test]
async fn a_later_attempt_under_the_same_id_undoes_the_earlier() {
    let (_cluster, url) = bank().await;
    let mut session = Session::welcomed(&url, "bank", 1).await;
    is_prepared(session.prepare("t", 10, prepare(1, put("k", "first").put("only", "first"))).await);
    is_prepared(session.prepare("t", 11, prepare(2, put("k", "second"))).await);
    session.send("t", 10, Body::Abort(v1::Abort { certain: true }));
    session.send("t", 10, Body::Prepare(prepare(1, put("k", "first"))));
    session.send("t", 11, Body::Commit(v1::Commit {}));
    assert_eq!(session.finished("t", 11).await, BranchOutcome::Committed);
    assert_eq!(read(&mut session, "look", 20, "k").await, Some("second".into()));
    assert_eq!(read(&mut session, "look too", 21, "only").await, None);
}

#[tokio::test]
async fn both_servers_tell_their_health_and_their_services() {
    let (mut cluster, _) = bank().await;
    let services: [(Who, &[&str]); 2] = [
        (BANK, &["undoubt.v1.Participant", "undoubt.v1.ParticipantAdmin", "grpc.health.v1.Health"]),
        (Who::Coordinator, &["undoubt.v1.Coordinator", "undoubt.v1.Operator", "grpc.health.v1.Health"]),
    ];
    for (who, expected) in services {
        assert_eq!(health(&cluster, who).await, Some(ServingStatus::Serving));
        let mut client = ServerReflectionClient::new(channel(&cluster, who).await);
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let asked = ServerReflectionRequest { message_request, ..Default::default() };
        let mut answers = client.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
        let ServerReflectionResponse { message_response, .. } = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(listed)) = message_response else { panic!() };
        let listed: BTreeSet<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
        for service in expected {
            assert!(listed.contains(service), "{service} is not among {listed:?}");
        }
        // What is stored is nobody's business, in either version of reflection.
        let stored = |symbol: &str| v1alpha::ServerReflectionRequest {
            message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                symbol.into(),
            )),
            ..Default::default()
        };
        let mut older = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&cluster, who).await);
        for (symbol, is_told) in [("undoubt.v1.SubmitRequest", true), ("undoubt.record.v1.EndedTransaction", false)] {
            let asked = tokio_stream::once(stored(symbol));
            let answer = older.server_reflection_info(asked).await.unwrap().into_inner().message().await;
            let told = answer.ok().flatten().and_then(|answer| answer.message_response);
            let has_file =
                matches!(told, Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)));
            assert_eq!(has_file, is_told, "{symbol}");
        }
    }
    for who in [BANK, Who::Coordinator] {
        cluster.kill(who).await.unwrap();
        assert_eq!(health(&cluster, who).await, None);
        cluster.restart(who, None).await.unwrap();
        assert_eq!(health(&cluster, who).await, Some(ServingStatus::Serving));
        assert!(cluster.stop(who, crate::support::PATIENCE).await.unwrap(), "{who:?} did not stop well");
        cluster.restart(who, None).await.unwrap();
    }
}
