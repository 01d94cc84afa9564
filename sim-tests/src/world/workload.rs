//! The work of clients, drawn from a stream of their own.

pub(super) mod events;
pub(super) mod family;
mod over_http;
pub(super) mod trips;

use crate::plan::{Host, Mode, Shape};
use crate::run::{Op, Reads, Work};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::{OpenStep, Reference, Results, RetryPolicy, Saga, Step, Submission, Transaction, Work as Part};
use undoubt_platform::Random;
use undoubt_vocabulary::{PartName, TxId};

/// Registers that a large read reads, one after the other and over again: with the largest values as much as a branch may
/// answer.
const LARGE_READS: u8 = 15;

/// A transaction at random.
pub(super) fn draw(random: &dyn Random, shape: &Shape) -> Work {
    if shape.large_reads_percent > 0 && random.below(100) < shape.large_reads_percent.into() {
        return large_read(random, shape);
    }
    let key = || u8::try_from(random.below(shape.keys.into())).unwrap_or_default();
    if shape.max_gathered_bytes.is_some() {
        // So that there is much to read.
        return (1..=shape.participants).map(|at| (at, vec![Op::ReadWrite { register: key() }])).collect();
    }
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

/// Returns a read of all that one or two participants may answer, or every one.
fn large_read(random: &dyn Random, shape: &Shape) -> Work {
    let ops = || (0..LARGE_READS).map(|place| Op::ReadRegister { register: place % shape.keys }).collect();
    let few = 1 + random.below(2);
    let count = if shape.max_gathered_bytes.is_some() { shape.participants.into() } else { few };
    places(random, shape, count).into_iter().map(|at| (at, ops())).collect()
}

/// A saga at random, on accounts of its own: what sagas have half done, audits under two-phase commit must not see.
///
/// What takes can be undone. What gives cannot, since it may have been spent: the first to do so is the pivot, and others
/// come after it.
pub(super) fn draw_saga(random: &dyn Random, shape: &Shape) -> Work {
    let account = || shape.keys + u8::try_from(random.below(shape.keys.into())).unwrap_or_default();
    let amount = || i64::try_from(random.below(30)).unwrap_or_default() + 1;
    let (takes, gives) = match random.below(100) {
        0..45 => (1, 1),
        45..65 => (2, 1),
        65..75 => (1, 2),
        75..85 => (0, 2),
        _ => (2 + random.below(2), 0),
    };
    let places = places(random, shape, takes + gives).into_iter().enumerate();
    let ops = places.map(|(index, at)| {
        let delta = if (index as u64) < takes { -amount() } else { 2 * amount() };
        (at, vec![Op::Transfer { account: account(), delta }])
    });
    ops.collect()
}

/// Other work at the same places, for a client that uses an id twice.
pub(super) fn other(work: &Work) -> Work {
    work.keys().map(|at| (*at, vec![Op::Transfer { account: 0, delta: 1_000 }])).collect()
}

/// Together they touch everything, so that they meet any lock that was left behind. Who cannot prepare is alone.
pub(super) fn probes(shape: &Shape) -> Vec<Work> {
    // What is read of large registers could be more than a small store takes in one write.
    let registers = if shape.max_write_bytes.is_some() { 0 } else { shape.keys };
    let ops = |_| {
        let accounts = (0..shape.keys).map(|account| Op::Transfer { account, delta: 0 });
        accounts.chain((0..registers).map(|register| Op::ReadWrite { register })).collect()
    };
    let (alone, together): (Work, Work) =
        (1..=shape.participants).map(|at| (at, ops(at))).partition(|(at, _)| shape.cannot_prepare == Some(*at));
    [together, alone].into_iter().filter(|work| !work.is_empty()).collect()
}

fn within_one(at: u8, from: u8, keys: u8, amount: i64) -> Work {
    let to = (from + 1) % keys;
    let ops = vec![Op::Transfer { account: from, delta: -amount }, Op::Transfer { account: to, delta: amount }];
    BTreeMap::from([(at, ops)])
}

/// Returns so many different participants, or all.
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

/// Returns the key of what a completion leaves.
fn completed_key(tx: &str) -> String {
    format!("completed/{tx}")
}

/// Returns what is stored under a register or a mark: a word, padded to the world's size of values.
pub(super) fn padded(word: &str, shape: &Shape) -> Vec<u8> {
    let mut value = word.as_bytes().to_vec();
    value.resize(value.len().max(shape.value_bytes as usize), PADDING);
    value
}

/// The word of a [`padded`] value. One that is not whole is no word of anybody's.
pub(super) fn word_of(value: &str, shape: &Shape) -> String {
    let word = value.trim_end_matches(char::from(PADDING));
    let is_whole = value.len() == word.len().max(shape.value_bytes as usize);
    if is_whole { word.to_owned() } else { format!("{word}, of which {} bytes are left", value.len()) }
}

const PADDING: u8 = b' ';

pub(super) fn submission(tx: &TxId, work: &Work, shape: &Shape) -> Submission {
    if let Some(trip) = trips::submission(tx, work, shape) {
        return trip;
    }
    let saga = |guarded| steps(tx, work, shape, guarded).into_iter().fold(Saga::with_id(tx.clone()), Saga::step);
    let submission: Submission = match Mode::of(&tx.to_string()) {
        // Who submits an open one whole uses its id for other content.
        Mode::TwoPhase | Mode::OpenTwoPhase => {
            let branch = |transaction: Transaction, (at, ops): (&u8, &Vec<Op>)| {
                transaction.on(&Host::Participant(*at).to_string(), branch_work(*at, tx, ops, shape, work.len() == 1))
            };
            work.iter().fold(Transaction::with_id(tx.clone()), branch).into()
        }
        Mode::Saga | Mode::OpenSaga => saga(false).into(),
        Mode::GuardedSaga => saga(true).into(),
        Mode::Auto => saga(false).auto().into(),
    };
    submission.timeout(Duration::from_millis(shape.timeout_ms))
}

/// Returns a step for each participant, by its name: what can be undone is run, and the rest is completed once the saga is closed.
pub(super) fn open_steps(tx: &TxId, work: &Work, shape: &Shape) -> Vec<(OpenStep, bool)> {
    let step = |at: &u8| {
        let name = Host::Participant(*at).to_string();
        OpenStep::new(&name, &name).retry(RETRY)
    };
    let one = |(at, ops): (&u8, &Vec<Op>)| {
        let done = step_work(*at, tx, ops, shape, false);
        match only_gives(ops) {
            true => (step(at).complete(done), false),
            false => (step(at).action(done).undo(undone(tx, *at, ops, shape)), true),
        }
    };
    work.iter().map(one).collect()
}

/// Returns a branch for each participant, by its name.
pub(super) fn open_branches(tx: &TxId, work: &Work, shape: &Shape) -> Vec<OpenStep> {
    let one = |(at, ops): (&u8, &Vec<Op>)| {
        let name = Host::Participant(*at).to_string();
        OpenStep::new(&name, &name).complete(branch_work(*at, tx, ops, shape, work.len() == 1))
    };
    work.iter().map(one).collect()
}

const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    first_pause: Duration::from_millis(40),
    max_pause: Duration::from_millis(300),
    attempt_timeout: Duration::from_millis(600),
};

fn only_gives(ops: &[Op]) -> bool {
    ops.iter().all(|op| matches!(op, Op::Transfer { delta, .. } if *delta > 0))
}

/// A step for each participant, by its name: first what can be undone, side by side if the id is even, then the rest.
fn steps(tx: &TxId, work: &Work, shape: &Shape, guarded: bool) -> Vec<Step> {
    let (rest, undoable): (Vec<_>, Vec<_>) = work.iter().partition(|(_, ops)| only_gives(ops));
    let side_by_side = tx.as_bytes().last().is_some_and(|last| last % 2 == 0);
    let names: Vec<String> = undoable.iter().map(|(at, _)| Host::Participant(**at).to_string()).collect();
    let step = |at: &u8, ops: &[Op]| {
        let name = Host::Participant(*at).to_string();
        // From the pivot on two sagas could wait for each other's locks for ever.
        Step::new(&name, &name, step_work(*at, tx, ops, shape, guarded && !only_gives(ops))).retry(RETRY)
    };
    let undoable = undoable.iter().map(|(at, ops)| {
        let step = step(at, ops).undo(undone(tx, **at, ops, shape));
        if side_by_side { step.after(&[]) } else { step }
    });
    let rest = rest.iter().enumerate().map(|(index, (at, ops))| match index {
        0 => step(at, ops).pivot().after(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        _ => step(at, ops),
    });
    undoable.chain(rest).collect()
}

/// Takes back what [`kv_work`] did, its mark included. A register gets back what was read from it.
fn undone(tx: &TxId, at: u8, ops: &[Op], shape: &Shape) -> Part {
    match shape.services.contains(&at) {
        true => over_http::step(at, tx, &[]).into(),
        false => kv_undone(tx, at, ops, shape).into(),
    }
}

fn kv_undone(tx: &TxId, at: u8, ops: &[Op], shape: &Shape) -> KvWork {
    let own = Host::Participant(at).to_string();
    let mut place = 0;
    let back = ops.iter().fold(KvWork::new(), |kv, op| {
        let read_at = place;
        place += if matches!(op, Op::ReadWrite { .. }) { 2 } else { 1 };
        match op {
            Op::Transfer { account, delta } => kv.add(account_key(*account), -delta),
            Op::ReadWrite { register } => kv.put(register_key(*register), "").value_from(Reference::to(&own, read_at)),
            Op::ReadAccount { .. } | Op::ReadRegister { .. } => kv,
        }
    });
    events::of_undoing(back.delete(mark_key(&tx.to_string())), at, tx, ops, shape)
}

/// Returns the work of a participant's branch. `is_alone`: there is no other.
fn branch_work(at: u8, tx: &TxId, ops: &[Op], shape: &Shape, is_alone: bool) -> Part {
    match shape.services.contains(&at) {
        true => over_http::branch(at, tx, ops, is_alone).into(),
        false => kv_work(at, tx, ops, shape).into(),
    }
}

/// Returns the work of a participant's step. Services know no semantic locks, so there `guarded` says nothing.
fn step_work(at: u8, tx: &TxId, ops: &[Op], shape: &Shape, guarded: bool) -> Part {
    match shape.services.contains(&at) {
        true => over_http::step(at, tx, ops).into(),
        false if guarded => kv_work(at, tx, ops, shape).guarded().into(),
        false => kv_work(at, tx, ops, shape).into(),
    }
}

fn kv_work(at: u8, tx: &TxId, ops: &[Op], shape: &Shape) -> KvWork {
    let name = tx.to_string();
    let kv = ops.iter().fold(KvWork::new(), |kv, op| match op {
        // Accounts are stored as what they differ from their opening balance, so nothing has to be opened.
        Op::Transfer { account, delta } => kv.add(account_key(*account), Add::of(*delta).floor(-Op::OPENING_BALANCE)),
        Op::ReadAccount { account } => kv.get(account_key(*account)),
        Op::ReadWrite { register } => {
            kv.get(register_key(*register)).put(register_key(*register), padded(&name, shape))
        }
        Op::ReadRegister { register } => kv.get(register_key(*register)),
    });
    let kv = if ops.iter().any(Op::writes) { kv.put(mark_key(&name), padded("", shape)) } else { kv };
    events::of_doing(kv, at, tx, ops, shape)
}

/// Returns what a committed transaction read; `None` if the results are not all there.
pub(super) fn reads(work: &Work, results: &BTreeMap<PartName, Bytes>, shape: &Shape) -> Option<Reads> {
    let of = |(at, ops): (&u8, &Vec<Op>)| {
        let name = Host::Participant(*at).to_string();
        let (_, bytes) = results.iter().find(|(part, _)| part.as_str() == name)?;
        let results = Results::read(bytes);
        let values = if shape.services.contains(at) { over_http::values(&results) } else { results.into_bytes() };
        Some((*at, read_ops(ops, values?, shape)?))
    };
    work.iter().map(of).collect()
}

fn read_ops(ops: &[Op], values: Vec<Option<Bytes>>, shape: &Shape) -> Option<Vec<Option<String>>> {
    let mut values = values.into_iter();
    let text = |value: Option<Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    ops.iter()
        .map(|op| {
            let value = text(values.next()?);
            Some(match op {
                Op::Transfer { .. } | Op::ReadAccount { .. } => Some(balance(value.as_deref()).to_string()),
                Op::ReadWrite { .. } => {
                    values.next()?;
                    value.map(|value| word_of(&value, shape))
                }
                Op::ReadRegister { .. } => value.map(|value| word_of(&value, shape)),
            })
        })
        .collect()
}

/// Returns the balance of what is stored of an account.
pub(super) fn balance(stored: Option<&str>) -> i64 {
    Op::OPENING_BALANCE + stored.and_then(|stored| stored.parse::<i64>().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_value_tells_its_word_and_one_that_is_not_whole_tells_none() {
        let large = Shape { value_bytes: 100, ..Shape::default() };
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        for shape in [Shape::default(), large.clone()] {
            for word in ["t1-1", ""] {
                assert_eq!(word_of(&text(&padded(word, &shape)), &shape), word);
            }
        }
        assert_eq!(word_of(&text(&padded("t1-1", &large)[..99]), &large), "t1-1, of which 99 bytes are left");
    }
}
