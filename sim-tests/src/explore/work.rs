//! What branches do in the exploration: reads and writes of a few keys, as text such as `get x put y`;
//! `refuse x` never holds, and
//! a step that says `pend x` leaves a semantic lock.
//!
//! What is put is the writing attempt's name, so that a value read tells whose it is.

use bytes::Bytes;
use undoubt_participant_core::BranchId;
use undoubt_participant_core::kv::{Evaluation, Operation};
use undoubt_vocabulary::TxId;

/// The operations of the work of this branch.
///
/// # Panics
/// If the scenario's text is not made of these.
pub(crate) fn operations(work: &[u8], branch: &BranchId) -> Vec<Operation> {
    let text = std::str::from_utf8(work).expect("a scenario's work is text");
    let words: Vec<&str> = text.split_whitespace().collect();
    let operation = |pair: &[&str]| match pair {
        ["get", key] => Operation::Get { key: bytes(key) },
        ["put" | "pend", key] => {
            Operation::Put { key: bytes(key), value: bytes(&format!("{}/{}", branch.tx, branch.ticket)) }
        }
        ["refuse", key] => {
            Operation::CompareAndSet { key: bytes(key), expected: Some(bytes("what nobody wrote")), value: None }
        }
        _ => panic!("a scenario's work is made of `get KEY`, `put KEY`, `pend KEY` and `refuse KEY`, not {text:?}"),
    };
    words.chunks(2).map(operation).collect()
}

pub(crate) fn writes(work: &str) -> bool {
    work.contains("put ") || work.contains("pend ")
}

pub(crate) fn pends(work: &[u8]) -> bool {
    work.starts_with(b"pend ")
}

/// What the branch hands back: `KEY=VALUE` for each operation.
pub(crate) fn result(operations: &[Operation], evaluation: &Evaluation) -> Bytes {
    let values = operations.iter().zip(&evaluation.results).map(|(operation, value)| {
        let key = String::from_utf8_lossy(operation.key());
        let value = value.as_deref().map_or("nobody".into(), String::from_utf8_lossy);
        format!("{key}={value}")
    });
    Bytes::from(values.collect::<Vec<_>>().join(" "))
}

/// Key and writer of each value in a result; no writer: it was never written.
pub(crate) fn values(result: &[u8]) -> Vec<(Bytes, Option<TxId>)> {
    let text = String::from_utf8_lossy(result);
    let value = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let writer = value.split_once('/').and_then(|(tx, _)| tx.parse().ok());
        Some((bytes(key), writer))
    };
    text.split_whitespace().filter_map(value).collect()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
