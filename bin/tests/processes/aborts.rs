//! Why transactions abort, as whoever submitted them hears it.

use crate::support::api::{abort_reason, branch, commit, coordinator, request, submit, value, within_ms};
use crate::support::cli::{undoubt, undoubt_json};
use crate::support::{banks, nobody, start};
use bytes::Bytes;
use prost::Message;
use undoubt::cluster::{Cluster, Plan};
use undoubt_client::kv::{Add, KvWork};
use undoubt_proto::{v1, work};
use undoubt_vocabulary::{AbortReason, RefusalCode};

/// Asserts that bank-b refuses this work, alone and beside other work that is undone.
async fn assert_refused(cluster: &Cluster, name: &str, work: Bytes, code: RefusalCode, words: &[&str]) {
    let refused = v1::BranchWork { participant: "bank-b".to_owned(), work };
    let beside = branch("bank-a", KvWork::new().put(format!("beside {name}"), "x"));
    for (tx, branches) in [("alone", vec![refused.clone()]), ("beside", vec![beside, refused])] {
        let outcome = submit(cluster, request(&format!("{tx} {name}"), branches)).await.unwrap();
        let AbortReason::Refused { by, refusal } = abort_reason(outcome) else { panic!("{name}: not refused") };
        assert_eq!((by.as_str(), refusal.code), ("bank-b", code), "{name}: {refusal}");
        for word in words {
            assert!(refusal.detail.contains(word), "{name}: {word:?} is not in {:?}", refusal.detail);
        }
    }
    assert_eq!(value(cluster, "bank-a", &format!("beside {name}")).await, None, "{name}");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_aborts_everywhere_with_its_reason() {
    let cluster = start(banks()).await;
    let number = KvWork::new().put("n", "100").put("text", "abc").put("max", i64::MAX.to_string());
    commit(&cluster, request("set up", [branch("bank-b", number)])).await;
    let cases = [
        ("floor", KvWork::new().add("n", Add::of(-101).floor(0)), &["100", "0"][..]),
        ("ceiling", KvWork::new().add("n", Add::of(1).ceiling(100)), &["101", "100"]),
        ("cas", KvWork::new().compare_and_set("n", Some("99".into()), None), &["100", "99"]),
        ("cas absent", KvWork::new().compare_and_set("n", None, Some("1".into())), &["100"]),
        ("later", KvWork::new().add("n", 1).add("n", Add::of(0).ceiling(100)), &["101"]),
    ];
    for (name, work, words) in cases {
        assert_refused(&cluster, name, work.encode().unwrap(), RefusalCode::Condition, words).await;
    }
    let overflow = KvWork::new().add("max", 1).encode().unwrap();
    assert_refused(&cluster, "overflow", overflow, RefusalCode::InvalidWork, &["max", "64 bits", "add less"]).await;
    let no_number = KvWork::new().add("text", 1).encode().unwrap();
    assert_refused(&cluster, "no number", no_number, RefusalCode::InvalidWork, &["text", "abc"]).await;
    assert_eq!(value(&cluster, "bank-b", "n").await.as_deref(), Some("100"));

    let submit = ["submit", "--on", "bank-b", "add n -101 floor=0", "--on", "bank-a", "put k v"];
    let said = undoubt_json(&cluster, &submit).await.expect(3, &[]).json();
    assert_eq!((&said["state"], &said["abort"]["reason"]), (&"aborted".into(), &"condition".into()));
    assert_eq!((&said["abort"]["participant"], &said["abort"]["worth_retrying"]), (&"bank-b".into(), &false.into()));
    undoubt(&cluster, &submit).await.expect(3, &["aborted", "bank-b refused", "condition"]);
}

#[tokio::test]
async fn work_that_cannot_be_read_or_is_over_a_limit_aborts_everywhere_with_its_reason() {
    let cluster = start(banks()).await;
    let raw =
        |operations: Vec<work::Operation>| Bytes::from(work::Work { operations, ..Default::default() }.encode_to_vec());
    let operation =
        |key: Vec<u8>, kind| work::Operation { key: key.into(), kind: Some(kind), ..work::Operation::default() };
    let get = || work::operation::Kind::Get(work::Get {});
    let put = |length: usize| {
        work::operation::Kind::Put(work::Put { value: vec![b'v'; length].into(), ..work::Put::default() })
    };
    let (invalid, large) = (RefusalCode::InvalidWork, RefusalCode::TooLarge);
    let no_kind = work::Operation { key: "k".into(), ..work::Operation::default() };
    let cases = [
        ("no protobuf", Bytes::from_static(b"\xff\xff\xff"), invalid, &["undoubt.work.v1.Work", "work.proto"][..]),
        ("no kind", raw(vec![no_kind]), invalid, &["kind"]),
        ("a kind to come", Bytes::from_static(b"\x12\x00"), invalid, &["calls", "operations"]),
        ("a field to come", Bytes::from_static(b"\x0a\x07\x0a\x01k\x12\x00\x50\x01"), invalid, &["field 10"]),
        ("empty key", raw(vec![operation(Vec::new(), get())]), invalid, &["empty key", "1024"]),
        ("long key", raw(vec![operation(vec![b'k'; 1_025], get())]), large, &["1025", "1024"]),
        ("long value", raw(vec![operation(vec![b'k'], put(65_537))]), large, &["65537", "65536"]),
        ("many operations", raw(vec![operation(vec![b'k'], get()); 1_025]), large, &["1025", "1024"]),
    ];
    for (name, work, code, words) in cases {
        assert_refused(&cluster, name, work, code, words).await;
    }
    // Seventeen values of the largest size are more than a result may hold.
    commit(&cluster, request("big", [branch("bank-b", KvWork::new().put("big", vec![b'v'; 65_536]))])).await;
    let many = raw(vec![operation(b"big".to_vec(), get()); 17]);
    assert_refused(&cluster, "large result", many, large, &["1048576", "split"]).await;
    // What is at the limits is done.
    let most = raw((0..1_024).map(|n| operation(format!("{n:01024}").into_bytes(), get())).collect());
    let work = v1::BranchWork { participant: "bank-b".to_owned(), work: most };
    let too_large = submit(&cluster, request("most", [work.clone()])).await.unwrap_err();
    assert!(work.work.len() > 1 << 20 && too_large.message().contains("1048576"), "{too_large:?}");
    let most = raw((0..1_024).map(|n| operation(format!("{n:0900}").into_bytes(), get())).collect());
    commit(&cluster, request("fits", [v1::BranchWork { participant: "bank-b".to_owned(), work: most }])).await;
    // No work at all is fine as well.
    commit(&cluster, request("nothing", [v1::BranchWork { participant: "bank-b".to_owned(), work: Bytes::new() }]))
        .await;
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_went_in() {
    let cluster = start(banks()).await;
    let id = Bytes::from((0..64).map(|n| n * 4 + 3).collect::<Vec<u8>>());
    let (key, value) = (Bytes::from_static(b"\x00\xff\"\n"), Bytes::from_static(b"\xfe\x00\xff"));
    let work = |n: u8| KvWork::new().put(key.clone(), value.clone()).get(key.clone()).put(vec![n], "");
    let branches = vec![branch("bank-a", work(0)), branch("bank-b", work(255))];
    let sent = v1::SubmitRequest { tx: id.clone(), branches, ..v1::SubmitRequest::default() };
    let read = commit(&cluster, sent).await;
    // What a put brought along is not told again.
    assert_eq!(read[0].1, [None, Some(value.clone()), None]);
    let seen = coordinator(&cluster).await.get(v1::GetRequest { tx: id.clone() }).await.unwrap().into_inner();
    assert_eq!(seen.tx, id);

    let text = id.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"));
    let said = undoubt_json(&cluster, &["status", &text]).await.expect(0, &[]).json();
    assert_eq!(said["tx"].as_str(), Some(text.as_str()));
    let read = undoubt_json(&cluster, &["submit", "--on", "bank-a", "get 0x00ff220a"]).await.expect(0, &[]).json();
    assert_eq!(read["results"]["bank-a"]["values"], serde_json::json!(["0xfe00ff"]));
}

#[tokio::test]
async fn a_participant_that_does_not_answer_in_time_is_named_in_the_abort() {
    let cluster = start(Plan { foreign_participants: vec![nobody("gone")], ..banks() }).await;
    let put = |participant: &str| branch(participant, KvWork::new().put("k", "v"));
    let late = within_ms(300, request("t", [put("bank-a"), put("gone"), put("bank-b")]));
    let AbortReason::DeadlinePassed { unanswered } = abort_reason(submit(&cluster, late).await.unwrap()) else {
        panic!("aborted for another reason")
    };
    assert_eq!(unanswered.iter().map(ToString::to_string).collect::<Vec<_>>(), ["gone"]);
    assert_eq!(value(&cluster, "bank-a", "k").await, None);

    let said = ["submit", "--on", "gone", "get k", "--on", "bank-a", "get k", "--deadline", "300ms"];
    let said = undoubt_json(&cluster, &said).await.expect(3, &[]).json();
    assert_eq!(said["abort"]["reason"], "deadline");
    assert!(said["abort"]["message"].as_str().unwrap().contains("gone"), "{said}");
}
