use super::{KINDS, UNCHECKED_BYTES, check};
use crate::{v1, work};
use bytes::Bytes;
use prost::{Message, Name};
use undoubt_vocabulary::limits::{
    MAX_BRANCHES_PER_TRANSACTION, MAX_COORDINATOR_BATCH_BYTES, MAX_ENTRIES_BYTES, MAX_PARTICIPANT_BATCH_BYTES,
    MAX_REQUEST_BYTES, MAX_RESULT_BYTES, MAX_WORK_BYTES,
};

/// One entry of a list: its field, and what is within it.
fn entry(number: u8, content: &[u8]) -> Vec<u8> {
    let mut entry = vec![number << 3 | 2];
    prost::encode_length_delimiter(content.len(), &mut entry).unwrap();
    entry.extend(content);
    entry
}

fn many(entry: &[u8], bytes: usize) -> Vec<u8> {
    entry.repeat(bytes / entry.len())
}

#[test]
fn a_message_of_many_empty_entries_is_refused_wherever_they_are() {
    const LENGTH: usize = MAX_REQUEST_BYTES - 64;
    assert!(check::<v1::SubmitRequest>(&many(&entry(6, b""), LENGTH)).is_err(), "steps");
    assert!(check::<v1::SubmitRequest>(&many(&entry(2, b""), LENGTH)).is_err(), "branches");
    assert!(check::<v1::SubmitBatch>(&many(&entry(1, b""), LENGTH)).is_err(), "requests");
    let within = entry(1, &entry(2, &many(&entry(6, b""), LENGTH)));
    assert!(check::<v1::SubmitBatch>(&within).is_err(), "steps of a request of many");
    let numbers = entry(6, &entry(5, &many(b"\x01", LENGTH)));
    assert!(check::<v1::SubmitRequest>(&numbers).is_err(), "numbers that share a field");
    let messages = many(&entry(3, b""), MAX_COORDINATOR_BATCH_BYTES);
    assert!(check::<v1::CoordinatorBatch>(&messages).is_err(), "messages to a participant");
    let inputs = entry(3, &entry(10, &many(&entry(7, b""), MAX_COORDINATOR_BATCH_BYTES)));
    assert!(check::<v1::CoordinatorBatch>(&inputs).is_err(), "inputs of a step");
    let messages = many(&entry(2, b""), MAX_PARTICIPANT_BATCH_BYTES);
    assert!(check::<v1::ParticipantBatch>(&messages).is_err(), "messages to a coordinator");
    assert!(check::<work::Work>(&many(&entry(1, b""), MAX_WORK_BYTES)).is_err(), "operations");
}

#[test]
fn what_stands_before_many_empty_entries_does_not_hide_them() {
    let hostile = many(&entry(6, b""), 1 << 20);
    // An unknown number of each form, and the beginning and end of a group.
    let before: [&[u8]; 6] =
        [b"\xf8\x01\x80\x01", b"\xf9\x0112345678", b"\xfd\x011234", b"\xfa\x01\x02ab", b"\xfb\x01", b"\xfc\x01"];
    for before in before {
        assert!(check::<v1::SubmitRequest>(&[before, &hostile].concat()).is_err(), "{before:?}");
    }
}

#[test]
fn the_largest_honest_messages_pass() {
    let work = Bytes::from(vec![0; MAX_WORK_BYTES / 16]);
    let branch = v1::BranchWork { participant: "b".repeat(64), work: work.clone() };
    let branches = vec![branch; MAX_BRANCHES_PER_TRANSACTION];
    let largest = v1::SubmitRequest { branches, ..v1::SubmitRequest::default() };
    assert_eq!(check::<v1::SubmitRequest>(&largest.encode_to_vec()), Ok(()));
    // As many tiny transactions as fit.
    let branch = v1::BranchWork { participant: "bank-a".into(), work: Bytes::from_static(&[0; 16]) };
    let tiny = v1::SubmitRequest { tx: vec![7; 16].into(), branches: vec![branch; 2], ..v1::SubmitRequest::default() };
    let one = v1::SequencedRequest { sequence: 1 << 20, request: Some(tiny) };
    let requests = vec![one.clone(); 65_536];
    assert_eq!(check::<v1::SubmitBatch>(&v1::SubmitBatch { requests }.encode_to_vec()), Ok(()));
    let result = Bytes::from(vec![0; MAX_RESULT_BYTES]);
    let vote = v1::Vote { vote: Some(v1::vote::Vote::Prepared(result)) };
    let voted = v1::ToCoordinator {
        tx: vec![7; 64].into(),
        attempt_number: 9,
        body: Some(v1::to_coordinator::Body::Vote(vote)),
        emitted: None,
    };
    let batch = v1::ParticipantBatch { messages: vec![voted; 63], ..Default::default() }.encode_to_vec();
    assert!(batch.len() > MAX_PARTICIPANT_BATCH_BYTES * 9 / 10);
    assert_eq!(check::<v1::ParticipantBatch>(&batch), Ok(()));
    // As many of the smallest messages as a batch has.
    let commit = v1::to_participant::Body::Commit(v1::Commit {});
    let body = Some(commit);
    let commit = v1::ToParticipant { tx: vec![7; 36].into(), attempt_number: 1 << 40, body, trace_context: None };
    let mut batch = v1::CoordinatorBatch { messages: vec![commit], ..v1::CoordinatorBatch::default() };
    let one = batch.encoded_len();
    batch.messages = vec![batch.messages[0].clone(); MAX_COORDINATOR_BATCH_BYTES / one];
    assert_eq!(check::<v1::CoordinatorBatch>(&batch.encode_to_vec()), Ok(()));
    let put = work::operation::Kind::Put(work::Put { value: vec![0; 999].into(), ..work::Put::default() });
    let put = work::Operation { key: vec![7; 9].into(), kind: Some(put), ..work::Operation::default() };
    assert_eq!(
        check::<work::Work>(&work::Work { operations: vec![put; 1_024], ..Default::default() }.encode_to_vec()),
        Ok(())
    );
}

#[test]
fn an_entry_counts_about_what_it_takes_in_memory() {
    const MOST_BYTES: usize = 1 << 20;
    #[track_caller]
    fn counts<T: Name>(number: u8, bytes: usize) {
        let fit = |entries: usize| KINDS.fit::<T>(&entry(number, b"").repeat(entries), MOST_BYTES);
        assert!(!fit(MOST_BYTES / bytes + 1), "it counts less");
        assert!(fit(MOST_BYTES / bytes / 2), "it counts more than twice as much");
    }
    counts::<v1::SubmitRequest>(2, size_of::<v1::BranchWork>());
    counts::<v1::SubmitRequest>(6, size_of::<v1::SagaStep>());
    counts::<v1::SubmitBatch>(1, size_of::<v1::SequencedRequest>());
    counts::<v1::CoordinatorBatch>(3, size_of::<v1::ToParticipant>());
    counts::<v1::ParticipantBatch>(2, size_of::<v1::ToCoordinator>());
    counts::<v1::RunStep>(7, size_of::<Bytes>());
    counts::<v1::DeadlinePassed>(1, size_of::<String>());
    counts::<work::Work>(1, size_of::<work::Operation>());
}

#[test]
fn no_message_that_is_not_looked_at_takes_more_than_the_bound() {
    // An entry is two bytes on the wire at least; a number that shares its field one.
    assert!(KINDS.largest_entry_bytes() * UNCHECKED_BYTES / 2 <= MAX_ENTRIES_BYTES, "{}", KINDS.largest_entry_bytes());
}
