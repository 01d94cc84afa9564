//! The work of branches in the exploration: reads and writes of a few keys, as text such as `get x put y`; `refuse x` never
//! holds, `balk x` does from a step's second attempt on, and `later x` is not known before its second. A step that says `pend x` leaves a semantic lock, one that
//! says `heed x` is refused while another saga holds one. A branch that says `adopt x` is what an application has prepared by itself.
//!
//! What is put is the writing attempt's name, so that a value read tells whose it is.

use bytes::Bytes;
use std::collections::BTreeSet;
use undoubt_kv_evaluation::{Evaluation, Operation};
use undoubt_participant_core::BranchId;
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
        ["put" | "pend" | "heed" | "balk" | "later", key] => {
            Operation::Put { key: bytes(key), value: bytes(&format!("{}/{}", branch.tx, branch.attempt_number)) }
        }
        ["refuse", key] => {
            Operation::CompareAndSet { key: bytes(key), expected: Some(bytes("what nobody wrote")), value: None }
        }
        _ => {
            panic!(
                "a scenario's work is made of get, put, pend, heed, balk, later and refuse, each with a key, not {text:?}"
            )
        }
    };
    words.chunks(2).map(operation).collect()
}

pub(crate) fn writes(work: &str) -> bool {
    ["put ", "pend ", "heed ", "balk ", "later ", "adopt "].iter().any(|word| work.contains(word))
}

/// Returns true if the branch is what an application has prepared by itself.
pub(crate) fn adopts(work: &[u8]) -> bool {
    !keys_of(work, &["adopt"]).is_empty()
}

/// The keys on which the step leaves semantic locks.
pub(crate) fn pends(work: &[u8]) -> BTreeSet<Bytes> {
    keys_of(work, &["pend"])
}

/// The keys on which it stands no semantic lock of another saga.
pub(crate) fn heeds(work: &[u8]) -> BTreeSet<Bytes> {
    keys_of(work, &["pend", "heed"])
}

/// Returns true if this attempt of a step is refused for good, though a later one will not be.
pub(crate) fn balks(work: &[u8], attempt: u32) -> bool {
    attempt == 1 && !keys_of(work, &["balk"]).is_empty()
}

/// Returns true if the participant cannot say yet what becomes of it, though a later attempt will tell.
pub(crate) fn is_for_later(work: &[u8], attempt: u32) -> bool {
    attempt == 1 && !keys_of(work, &["later"]).is_empty()
}

/// Returns true if it is never refused for good.
pub(crate) fn is_never_refused(work: &[u8]) -> bool {
    keys_of(work, &["balk", "refuse"]).is_empty()
}

fn keys_of(work: &[u8], of: &[&str]) -> BTreeSet<Bytes> {
    let text = String::from_utf8_lossy(work);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.chunks(2).filter(|pair| of.contains(&pair[0])).filter_map(|pair| pair.get(1)).map(|key| bytes(key)).collect()
}

/// Returns what the branch hands back: `KEY=VALUE` for each operation.
pub(crate) fn result(operations: &[Operation], evaluation: &Evaluation) -> Bytes {
    let values = operations.iter().zip(&evaluation.results).map(|(operation, value)| {
        let key = String::from_utf8_lossy(operation.key());
        let value = value.to_text().unwrap_or_else(|| "nobody".to_owned());
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
