//! What clients do: drawn from a stream of their own.

use crate::plan::{Host, Shape};
use crate::run::{Op, Reads, Work};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_client::Transaction;
use undoubt_client::kv::{Add, KvWork, decode_results};
use undoubt_platform::Random;
use undoubt_vocabulary::{ParticipantName, TxId};

/// A transaction at random.
pub(super) fn draw(random: &dyn Random, shape: &Shape) -> Work {
    let key = || u8::try_from(random.below(shape.keys.into())).unwrap_or_default();
    match random.below(100) {
        0..40 => {
            let places = places(random, shape, 2);
            let amount = i64::try_from(random.below(40)).unwrap_or_default() + 1;
            if let [from, to] = places[..] {
                let take = Op::Transfer { account: key(), delta: -amount };
                BTreeMap::from([(from, vec![take]), (to, vec![Op::Transfer { account: key(), delta: amount }])])
            } else {
                within_one(places[0], key(), shape.keys, amount)
            }
        }
        40..55 => {
            let count = 2 + random.below(2);
            places(random, shape, count).into_iter().map(|at| (at, vec![Op::ReadWrite { register: key() }])).collect()
        }
        55..70 => {
            let amount = i64::try_from(random.below(20)).unwrap_or_default() + 1;
            within_one(places(random, shape, 1)[0], key(), shape.keys, amount)
        }
        70..80 => (1..=shape.participants)
            .map(|at| (at, (0..shape.keys).map(|account| Op::ReadAccount { account }).collect()))
            .collect(),
        80..90 => {
            let places = places(random, shape, 2);
            let ops = places.iter().enumerate().map(|(index, at)| {
                let register = key();
                (*at, vec![if index == 0 { Op::ReadWrite { register } } else { Op::ReadRegister { register } }])
            });
            ops.collect()
        }
        _ => places(random, shape, 2)
            .into_iter()
            .map(|at| (at, vec![Op::ReadRegister { register: key() }, Op::ReadAccount { account: key() }]))
            .collect(),
    }
}

/// Other work at the same places, for a client that uses an id twice.
pub(super) fn other(work: &Work) -> Work {
    work.keys().map(|at| (*at, vec![Op::Transfer { account: 0, delta: 1_000 }])).collect()
}

/// Touches everything, so that it meets any lock that was left behind.
pub(super) fn probe(shape: &Shape) -> Work {
    let ops = |_| {
        let accounts = (0..shape.keys).map(|account| Op::Transfer { account, delta: 0 });
        accounts.chain((0..shape.keys).map(|register| Op::ReadWrite { register })).collect()
    };
    (1..=shape.participants).map(|at| (at, ops(at))).collect()
}

fn within_one(at: u8, from: u8, keys: u8, amount: i64) -> Work {
    let to = (from + 1) % keys;
    let ops = vec![Op::Transfer { account: from, delta: -amount }, Op::Transfer { account: to, delta: amount }];
    BTreeMap::from([(at, ops)])
}

/// So many different participants, or all.
fn places(random: &dyn Random, shape: &Shape, count: u64) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=shape.participants).collect();
    let mut chosen = Vec::new();
    while (chosen.len() as u64) < count && !all.is_empty() {
        let index = usize::try_from(random.below(all.len() as u64)).unwrap_or_default();
        chosen.push(all.swap_remove(index));
    }
    chosen
}

pub(super) fn account_key(account: u8) -> String {
    format!("account/{account}")
}

pub(super) fn register_key(register: u8) -> String {
    format!("register/{register}")
}

pub(super) fn mark_key(tx: &str) -> String {
    format!("mark/{tx}")
}

pub(super) fn transaction(tx: &TxId, work: &Work, timeout: Duration) -> Transaction {
    let transaction = Transaction::with_id(tx.clone()).timeout(timeout);
    work.iter().fold(transaction, |transaction, (at, ops)| {
        transaction.kv(&Host::Participant(*at).to_string(), kv_work(tx, ops))
    })
}

fn kv_work(tx: &TxId, ops: &[Op]) -> KvWork {
    let name = tx.to_string();
    let kv = ops.iter().fold(KvWork::new(), |kv, op| match op {
        // Accounts are stored as what they differ from their opening balance, so nothing has to be opened.
        Op::Transfer { account, delta } => kv.add(account_key(*account), Add::of(*delta).floor(-Op::OPENING_BALANCE)),
        Op::ReadAccount { account } => kv.get(account_key(*account)),
        Op::ReadWrite { register } => {
            kv.get(register_key(*register)).put(register_key(*register), name.clone().into_bytes())
        }
        Op::ReadRegister { register } => kv.get(register_key(*register)),
    });
    if ops.iter().any(Op::writes) { kv.put(mark_key(&name), "") } else { kv }
}

/// What a committed transaction read; `None` if the results are not all there.
pub(super) fn reads(work: &Work, results: &BTreeMap<ParticipantName, Bytes>) -> Option<Reads> {
    let of = |(at, ops): (&u8, &Vec<Op>)| {
        let name = Host::Participant(*at).to_string();
        let (_, bytes) = results.iter().find(|(participant, _)| participant.as_str() == name)?;
        Some((*at, read_ops(ops, decode_results(bytes).ok()?)?))
    };
    work.iter().map(of).collect()
}

fn read_ops(ops: &[Op], values: Vec<Option<Bytes>>) -> Option<Vec<Option<String>>> {
    let mut values = values.into_iter();
    let text = |value: Option<Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    ops.iter()
        .map(|op| {
            let value = text(values.next()?);
            Some(match op {
                Op::Transfer { .. } | Op::ReadAccount { .. } => Some(balance(value.as_deref()).to_string()),
                Op::ReadWrite { .. } => {
                    values.next()?;
                    value
                }
                Op::ReadRegister { .. } => value,
            })
        })
        .collect()
}

/// What is stored of an account, as its balance.
pub(super) fn balance(stored: Option<&str>) -> i64 {
    Op::OPENING_BALANCE + stored.and_then(|stored| stored.parse::<i64>().ok()).unwrap_or(0)
}
