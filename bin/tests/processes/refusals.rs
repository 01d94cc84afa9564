//! What a coordinator refuses, with which code, and that nothing is done then.

use crate::support::api::{
    branch, commit, coordinator, describe, get, refused, request, send_bytes, submit, transfer, within_ms,
};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{banks, nobody, start};
use bytes::Bytes;
use prost::Message;
use tonic::Code;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_TRANSACTION_BYTES, MAX_WORK_BYTES};

const SUBMIT: &str = "/undoubt.v1.Coordinator/Submit";

fn work_of(participant: &str, length: usize) -> v1::BranchWork {
    v1::BranchWork { participant: participant.to_owned(), work: vec![7; length].into() }
}

async fn refusal(cluster: &Cluster, request: v1::SubmitRequest) -> (Code, String) {
    refused(submit(cluster, request).await)
}

#[track_caller]
fn assert_says((code, message): (Code, String), expected: Code, words: &[&str]) {
    assert_eq!(code, expected, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[tokio::test]
async fn what_is_malformed_or_over_a_limit_is_refused_by_name_and_leaves_no_trace() {
    let many = (0..5).map(|n| nobody(&format!("far-{n}")));
    let cluster = start(Plan { foreign_participants: many.collect(), ..banks() }).await;
    let put = |participant: &str| branch(participant, KvWork::new().put("k", "v"));
    let invalid = Code::InvalidArgument;

    let unknown = refusal(&cluster, request("t", [put("bank-a"), put("nobody")])).await;
    assert_says(unknown, Code::NotFound, &["nobody", "not configured", "undoubt participants"]);
    assert_says(refusal(&cluster, request("t", [])).await, invalid, &["at least one branch"]);
    let twice = refusal(&cluster, request("t", [put("bank-a"), put("bank-b"), put("bank-a")])).await;
    assert_says(twice, invalid, &["bank-a", "two branches", "into one"]);
    let crowd = (0..=MAX_BRANCHES_PER_TRANSACTION).map(|n| put(&format!("p{n}")));
    assert_says(refusal(&cluster, request("t", crowd)).await, invalid, &["65 branches", "64", "split"]);

    let heavy = refusal(&cluster, request("t", [put("bank-a"), work_of("bank-b", MAX_WORK_BYTES + 1)])).await;
    assert_says(heavy, invalid, &["bank-b", "1048577", "1048576", "smaller"]);
    let sum = (0..5).map(|n| work_of(&format!("far-{n}"), MAX_WORK_BYTES));
    let sum = refusal(&cluster, request("t", sum)).await;
    assert_says(sum, invalid, &[&(5 * MAX_WORK_BYTES).to_string(), &MAX_TRANSACTION_BYTES.to_string()]);

    assert_says(
        refusal(&cluster, request("", [put("bank-a")])).await,
        invalid,
        &["transaction id", "empty", "1 to 64"],
    );
    let long = "x".repeat(65);
    assert_says(refusal(&cluster, request(&long, [put("bank-a")])).await, invalid, &["65 bytes", "64"]);
    assert_says(refusal(&cluster, request("t", [put("")])).await, invalid, &["participant's name", "empty"]);
    assert_says(refusal(&cluster, request("t", [put("bank a")])).await, invalid, &["bank a", "character"]);
    assert_says(refusal(&cluster, request("t", [put(&long)])).await, invalid, &["65 bytes"]);
    let patient = within_ms(u32::MAX, request("t", [put("bank-a")]));
    assert_says(refusal(&cluster, patient).await, invalid, &["timeout_ms", "3600000", "max_timeout_ms"]);

    assert_says(refused(get(&cluster, "t").await), Code::NotFound, &["no trace"]);
    assert_eq!(describe(&cluster).await.open, 0);
    commit(&cluster, request(&"x".repeat(64), [put("bank-a"), put("bank-b")])).await;
}

#[tokio::test]
async fn a_name_that_is_no_text_is_refused_and_hurts_nobody() {
    let cluster = start(banks()).await;
    // A branch whose participant is no UTF-8: field 2 of the request, field 1 of the branch.
    let bad: &[u8] = b"\x0a\x01t\x12\x05\x0a\x03a\xff\xfe";
    let (code, message) = refused(send_bytes(&cluster, Who::Coordinator, SUBMIT, Bytes::from_static(bad)).await);
    assert!(message.contains("UTF-8") && message.contains("participant"), "{code:?} {message}");
    let (code, message) =
        refused(send_bytes(&cluster, Who::Coordinator, SUBMIT, Bytes::from_static(b"\x0a\x7f")).await);
    assert!(message.contains("decode"), "{code:?} {message}");
    // Fields that are not known here are skipped, as protobuf has it.
    let mut known = transfer("t", 5).encode_to_vec();
    known.extend(b"\xfa\x3f\x01x");
    send_bytes(&cluster, Who::Coordinator, SUBMIT, known.into()).await.unwrap();
    assert_eq!(get(&cluster, "t").await.unwrap().outcome.unwrap().state(), v1::State::Committed);
}

#[tokio::test]
async fn requests_of_a_stream_are_refused_one_by_one_and_the_stream_goes_on() {
    let cluster = start(banks()).await;
    let put = |participant: &str| branch(participant, KvWork::new().put("k", "v"));
    let requests = [
        request("", [put("bank-a")]),
        request("t-1", [put("nobody")]),
        request("t-2", []),
        request("t-3", [put("bank-a"), put("bank-b")]),
    ];
    let requests = requests.into_iter().zip(1..);
    let requests = requests.map(|(request, sequence)| v1::SequencedRequest { sequence, request: Some(request) });
    let batch = v1::SubmitBatch { requests: requests.collect() };
    let mut answers = coordinator(&cluster).await.submit_many(tokio_stream::once(batch)).await.unwrap().into_inner();
    let mut codes = std::collections::BTreeMap::new();
    while let Some(batch) = answers.message().await.unwrap() {
        for v1::SequencedResponse { sequence, result } in batch.responses {
            let code = match result.unwrap() {
                v1::sequenced_response::Result::Error(error) => Code::from(error.code),
                v1::sequenced_response::Result::Outcome(outcome) => {
                    assert_eq!(outcome.state(), v1::State::Committed, "{outcome:?}");
                    Code::Ok
                }
            };
            assert!(codes.insert(sequence, code).is_none(), "two answers to one request");
        }
    }
    let expected = [(1, Code::InvalidArgument), (2, Code::NotFound), (3, Code::InvalidArgument), (4, Code::Ok)];
    assert_eq!(codes, expected.into());
}

#[tokio::test]
async fn the_command_line_merges_work_and_says_what_is_wrong_with_the_rest() {
    let cluster = start(banks()).await;
    let merged = ["submit", "--on", "bank-a", "put k 1", "--on", "bank-b", "get k", "--on", "bank-a", "add k 2"];
    let said = undoubt_json(&cluster, &merged).await.expect(0, &[]).json();
    assert_eq!(said["results"]["bank-a"]["values"], serde_json::json!([null, "3"]));

    let unknown = ["submit", "--on", "nobody", "get k"];
    undoubt(&cluster, &unknown).await.expect(7, &["nobody", "not configured"]);
    let mixed = ["submit", "--on", "bank-a", "get k", "--raw", "bank-a", "0x00"];
    undoubt(&cluster, &mixed).await.expect(7, &["bank-a", "one branch"]);
    undoubt(&cluster, &["submit", "--on", "bank-a", "add k much"]).await.expect(2, &["much", "whole number"]);
    undoubt(&cluster, &["submit", "--on", "bank-a", "add k 9223372036854775808"]).await.expect(2, &["64 bits"]);
    undoubt(&cluster, &["submit", "--on", "bank-a", "get \"\""]).await.expect(7, &["empty"]);
    undoubt(&cluster, &["submit", "--raw", "bank-a", "0xabc"]).await.expect(2, &["even number"]);
    undoubt(&cluster, &["submit", "--raw", "bank-a", "!"]).await.expect(2, &["base64"]);
    undoubt(&cluster, &["submit", "--id", &"x".repeat(65), "--on", "bank-a", "get k"]).await.expect(2, &["65 bytes"]);
    undoubt(&cluster, &["submit", "--id", "0xabc", "--on", "bank-a", "get k"]).await.expect(2, &["hexadecimal"]);
    undoubt(&cluster, &["submit", "--on", "bank a", "get k"]).await.expect(7, &["bank a", "character"]);
    let nowhere = ["submit", "--on", "bank-a", "get k", "--coordinator", "http://127.0.0.1:1", "--timeout", "5s"];
    let said = crate::support::cli::run(crate::support::cli::command(&nowhere)).await;
    said.expect(6, &["nothing was done", "Start undoubt-coordinator"]);
}
