//! Clients that make a server hold memory: answers that nobody reads, requests that never end.

use crate::support::api::{branch, commit, coordinator, request, transfer, within_ms};
use crate::support::{banks, start, until};
use bytes::Bytes;
use futures::future::join_all;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use prost::Message as _;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use undoubt::cluster::{Cluster, Who};
use undoubt_client::kv::{Add, KvWork};
use undoubt_proto::v1;

const MIB: u64 = 1 << 20;

/// A line of what the system knows of a process, in bytes.
fn memory(cluster: &Cluster, who: Who, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", cluster.pid(who).unwrap())).unwrap();
    let found = text.lines().find_map(|each| each.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// A client of HTTP/2 that does nothing by itself.
async fn client(cluster: &Cluster, who: Who) -> SendRequest<Bytes> {
    let url = cluster.url(who).unwrap();
    let stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    requests
}

fn begin(requests: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let request = http::Request::post(format!("http://server{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    requests.send_request(request, false).unwrap()
}

fn framed(length: usize, message: &[u8]) -> Bytes {
    [&[0][..], &u32::try_from(length).unwrap().to_be_bytes(), message].concat().into()
}

/// As many requests as the server lets one connection have.
const MOST_REQUESTS: usize = 256;

const VALUES: usize = 8;
const VALUE_BYTES: usize = 60_000;

/// Stores what makes a large answer.
async fn store(cluster: &Cluster) {
    let puts = (0..VALUES).fold(KvWork::new(), |all, key| all.put(format!("k{key}"), vec![b'x'; VALUE_BYTES]));
    commit(cluster, request("puts", [branch("bank-a", puts), branch("bank-b", KvWork::new().put("k", "v"))])).await;
}

/// A transaction whose answer is large.
fn gets(tx: &str) -> v1::SubmitRequest {
    let gets = (0..VALUES).fold(KvWork::new(), |all, key| all.get(format!("k{key}")));
    within_ms(600_000, request(tx, [branch("bank-a", gets), branch("bank-b", KvWork::new().get("k"))]))
}

#[track_caller]
fn has_read_all(outcome: &v1::Outcome) {
    assert_eq!(outcome.state(), v1::State::Committed, "{:?}", outcome.abort_reason);
    let bytes: usize = outcome.results.iter().map(|result| result.result.len()).sum();
    assert!(bytes > VALUES * VALUE_BYTES, "{bytes}");
}

#[tokio::test]
async fn answers_that_find_no_room_at_once_come_all_the_same() {
    const MANY: usize = 60;
    let cluster = start(banks()).await;
    store(&cluster).await;
    let client = coordinator(&cluster).await;
    // Together they are more than one connection may have.
    let asked =
        (0..MANY).map(|n| v1::SequencedRequest { sequence: n as u64, request: Some(gets(&format!("many-{n}"))) });
    let batch = v1::SubmitBatch { requests: asked.collect() };
    let mut answers = client.clone().submit_many(tokio_stream::once(batch)).await.unwrap().into_inner();
    let mut answered = BTreeSet::new();
    while let Some(batch) = answers.message().await.unwrap() {
        for v1::SequencedResponse { sequence, result } in batch.responses {
            let Some(v1::sequenced_response::Result::Outcome(outcome)) = result else { panic!("{result:?}") };
            has_read_all(&outcome);
            answered.insert(sequence);
        }
    }
    assert_eq!(answered.len(), MANY);
    let submits = (0..MANY).map(|n| {
        let mut client = client.clone();
        async move { client.submit(gets(&format!("one-{n}"))).await.unwrap().into_inner().outcome.unwrap() }
    });
    for outcome in join_all(submits).await {
        has_read_all(&outcome);
    }
    let found = (0..MANY).map(|n| {
        let (mut client, tx) = (client.clone(), format!("many-{n}").into());
        async move { client.get(v1::GetRequest { tx }).await.unwrap().into_inner().outcome.unwrap() }
    });
    for outcome in join_all(found).await {
        has_read_all(&outcome);
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_stay_within_the_room_for_them() {
    let cluster = start(banks()).await;
    store(&cluster).await;
    commit(&cluster, gets("gets")).await;
    let before = memory(&cluster, Who::Coordinator, "VmRSS");
    let wanted = v1::GetRequest { tx: "gets".into() }.encode_to_vec();
    let mut unread = Vec::new();
    for _ in 0..8 {
        let mut requests = client(&cluster, Who::Coordinator).await;
        for _ in 0..MOST_REQUESTS {
            // The first ones may come before the server's settings.
            let Ok(ready) = timeout(Duration::from_secs(5), requests.clone().ready()).await else { break };
            requests = ready.unwrap();
            let (response, mut stream) = begin(&mut requests, "/undoubt.v1.Coordinator/Get");
            stream.send_data(framed(wanted.len(), &wanted), true).unwrap();
            unread.push((response, stream));
        }
    }
    assert!(unread.len() > 1_000, "{}", unread.len());
    for n in 0..20 {
        commit(&cluster, transfer(&format!("beside-{n}"), 1)).await;
    }
    let most = memory(&cluster, Who::Coordinator, "VmHWM");
    // A gigabyte, were all of them held.
    assert!(most.saturating_sub(before) < 400 * MIB, "from {before} to {most}");
    drop(unread);
    commit(&cluster, transfer("after", 1)).await;
}

#[tokio::test]
async fn requests_that_never_end_stay_within_the_room_for_them() {
    const LENGTH: usize = 15_900_000;
    let cluster = start(banks()).await;
    for (who, path) in
        [(Who::Coordinator, "/undoubt.v1.Coordinator/Submit"), (Who::Participant(0), "/undoubt.v1.Participant/Session")]
    {
        let before = memory(&cluster, who, "VmRSS");
        let mut unfinished = Vec::new();
        for _ in 0..20 {
            let mut requests = client(&cluster, who).await;
            for _ in 0..4 {
                requests = requests.ready().await.unwrap();
                let (response, mut stream) = begin(&mut requests, path);
                stream.send_data(framed(LENGTH, &vec![0; LENGTH - 1]), false).unwrap();
                unfinished.push((response, stream));
            }
        }
        until("small ones have gone on", async || {
            for n in 0..20 {
                commit(&cluster, transfer(&format!("beside-{path}-{n}"), 1)).await;
            }
            Some(())
        })
        .await;
        let most = memory(&cluster, who, "VmHWM");
        // More than a gigabyte, were all of them held.
        assert!(most.saturating_sub(before) < 400 * MIB, "from {before} to {most}");
    }
}

async fn status(response: ResponseFuture) -> String {
    let (head, mut body) = response.await.unwrap().into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let after = body.trailers().await.unwrap().unwrap_or(head.headers);
    after["grpc-status"].to_str().unwrap().to_owned()
}

const OUT_OF_RANGE: &str = "11";
const INVALID_ARGUMENT: &str = "3";

#[tokio::test]
async fn messages_that_would_fill_the_memory_when_they_are_read_are_refused() {
    let (steps, requests, messages) = ([6 << 3 | 2, 0], [1 << 3 | 2, 0], [3 << 3 | 2, 0]);
    let cluster = start(banks()).await;
    for (who, path, entry, length, expected) in [
        (Who::Coordinator, "/undoubt.v1.Coordinator/Submit", steps, 15_900_000, INVALID_ARGUMENT),
        (Who::Coordinator, "/undoubt.v1.Coordinator/SubmitMany", requests, 15_900_000, INVALID_ARGUMENT),
        (Who::Participant(0), "/undoubt.v1.Participant/Session", messages, 4_100_000, INVALID_ARGUMENT),
        (Who::Participant(0), "/undoubt.v1.Participant/Session", messages, 5_000_000, OUT_OF_RANGE),
    ] {
        let before = memory(&cluster, who, "VmRSS");
        let hostile = framed(length, &entry.repeat(length / 2));
        let mut asked = Vec::new();
        for _ in 0..4 {
            let mut requests = client(&cluster, who).await.ready().await.unwrap();
            let (response, mut stream) = begin(&mut requests, path);
            stream.send_data(hostile.clone(), true).unwrap();
            asked.push(status(response));
        }
        assert_eq!(join_all(asked).await, [expected; 4], "{path}");
        let most = memory(&cluster, who, "VmHWM");
        // Gigabytes, were they read. The kernel counts the two apart, so the most may seem less.
        assert!(most.saturating_sub(before) < 300 * MIB, "from {before} to {most}");
    }
    commit(&cluster, transfer("after", 1)).await;
}

#[tokio::test]
async fn lists_of_semantic_locks_that_nobody_reads_stay_within_the_room_for_answers() {
    const MARKS: usize = 1_000;
    let cluster = start(banks()).await;
    // A saga that is not over, and marks keys of the largest size.
    let long = "x".repeat(1_000);
    let marks = (0..MARKS).fold(KvWork::new(), |all, key| all.put(format!("{key:04}{long}"), "v").pend());
    let undo = Some(KvWork::new().get("nothing").encode().unwrap());
    let step = |name: &str, participant: &str, action: KvWork, compensation, after| v1::SagaStep {
        name: name.to_owned(),
        participant: participant.to_owned(),
        action: Some(action.encode().unwrap()),
        compensation,
        after,
        ..v1::SagaStep::default()
    };
    let waits = KvWork::new().add("absent", Add::of(-1).floor(0));
    let steps = vec![
        step("mark", "bank-a", marks, undo, Vec::new()),
        v1::SagaStep { pivot: true, ..step("pivot", "bank-b", KvWork::new().put("p", "v"), None, vec![0]) },
        step("stuck", "bank-b", waits, None, vec![1]),
    ];
    let saga = v1::SubmitRequest { mode: v1::Mode::Saga.into(), steps, ..request("marks", []) };
    let outcome = coordinator(&cluster).await.submit(saga).await.unwrap().into_inner().outcome.unwrap();
    assert!(outcome.stuck.is_some(), "{outcome:?}");
    let who = Who::Participant(0);
    let before = memory(&cluster, who, "VmRSS");
    let mut unread = Vec::new();
    for _ in 0..8 {
        let mut requests = client(&cluster, who).await;
        for _ in 0..MOST_REQUESTS {
            let Ok(ready) = timeout(Duration::from_secs(5), requests.clone().ready()).await else { break };
            requests = ready.unwrap();
            let (response, mut stream) = begin(&mut requests, "/undoubt.v1.ParticipantAdmin/ListMarks");
            stream.send_data(framed(0, &[]), true).unwrap();
            unread.push((response, stream));
        }
    }
    assert!(unread.len() > 1_000, "{}", unread.len());
    for n in 0..20 {
        commit(&cluster, transfer(&format!("beside-{n}"), 1)).await;
    }
    let most = memory(&cluster, who, "VmHWM");
    // Gigabytes, were all of them held.
    assert!(most.saturating_sub(before) < 500 * MIB, "from {before} to {most}");
}
