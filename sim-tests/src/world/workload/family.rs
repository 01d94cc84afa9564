//! Families of open sagas: one, and those that are nested in it.

use super::{RETRY, completed_key, events, kv_undone, open_steps, over_http, padded, places, step_work, undone};
use crate::plan::{Host, Mode, Shape};
use crate::run::{Op, Work};
use std::time::Duration;
use undoubt_client::kv::KvWork;
use undoubt_client::{CompletionOrder, OpenStep};
use undoubt_platform::Random;
use undoubt_vocabulary::{InvalidId, TxId};

/// The levels below the outermost saga.
const MAX_DEPTH: u32 = 3;

/// The share of nested sagas that have others nested in them, in percent.
const GOES_DEEPER: u64 = 40;

/// The share of nested sagas that somebody else cancels beside, in percent.
const CANCELLED_BESIDE: u64 = 8;

/// The share of families whose client dies while it carries them out, in percent.
const DIES: u64 = 12;

/// A family takes longer than a saga alone.
const TIMES_LONGER: u64 = 3;

/// The timeout of what is left open to its parent: longer than that of any parent, and shorter than everybody's patience.
const LEFT_TIMEOUT: Duration = Duration::from_secs(20);

pub(in crate::world) struct Family {
    pub(in crate::world) root: Member,
    /// The number of calls after which the client dies.
    pub(in crate::world) dies_after: Option<u64>,
}

/// A saga of a family, and what its client does with it.
pub(in crate::world) struct Member {
    pub(in crate::world) tx: TxId,
    pub(in crate::world) parent: Option<TxId>,
    pub(in crate::world) work: Work,
    pub(in crate::world) order: CompletionOrder,
    pub(in crate::world) timeout: Duration,
    pub(in crate::world) ending: Ending,
    /// Somebody cancels it so long after it has begun.
    pub(in crate::world) cancelled_after: Option<Duration>,
    pub(in crate::world) children: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::world) enum Ending {
    Close,
    Cancel,
    /// It is left to its parent.
    Leave,
}

/// Returns a family at random, whose outermost saga has this work.
pub(in crate::world) fn draw(random: &dyn Random, shape: &Shape, tx: &TxId, work: Work) -> Result<Family, InvalidId> {
    let dies_after = (random.below(100) < DIES).then(|| 1 + random.below(12));
    let root = Member {
        tx: tx.clone(),
        parent: None,
        work,
        order: order(random),
        timeout: Duration::from_millis(shape.timeout_ms * TIMES_LONGER),
        ending: if random.below(100) < 20 { Ending::Cancel } else { Ending::Close },
        cancelled_after: None,
        children: children(random, shape, tx, 1)?,
    };
    Ok(Family { root, dies_after })
}

fn children(random: &dyn Random, shape: &Shape, parent: &TxId, depth: u32) -> Result<Vec<Member>, InvalidId> {
    (1..=1 + random.below(2)).map(|number| child(random, shape, parent, number, depth)).collect()
}

fn child(random: &dyn Random, shape: &Shape, parent: &TxId, number: u64, depth: u32) -> Result<Member, InvalidId> {
    let without = if random.below(100) < 25 { Mode::WITHOUT_COMPLETIONS.to_string() } else { String::new() };
    let tx: TxId = format!("{parent}.{number}{without}").parse()?;
    let ending = match random.below(100) {
        0..55 => Ending::Close,
        55..80 => Ending::Leave,
        _ => Ending::Cancel,
    };
    let timeout = match ending {
        Ending::Leave => LEFT_TIMEOUT,
        Ending::Close | Ending::Cancel => Duration::from_millis(shape.timeout_ms * TIMES_LONGER),
    };
    let count = 1 + random.below(2);
    let take = |at| (at, vec![take(random, shape)]);
    let work = places(random, shape, count).into_iter().map(take).collect();
    let cancelled_after = (random.below(100) < CANCELLED_BESIDE).then(|| Duration::from_millis(random.below(150)));
    let goes_deeper = depth < MAX_DEPTH && random.below(100) < GOES_DEEPER;
    let children = if goes_deeper { children(random, shape, &tx, depth + 1)? } else { Vec::new() };
    let order = order(random);
    Ok(Member { tx, parent: Some(parent.clone()), work, order, timeout, ending, cancelled_after, children })
}

/// What takes can be undone at any time.
fn take(random: &dyn Random, shape: &Shape) -> Op {
    let account = shape.keys + u8::try_from(random.below(shape.keys.into())).unwrap_or_default();
    Op::Transfer { account, delta: -1 - i64::try_from(random.below(6)).unwrap_or_default() }
}

fn order(random: &dyn Random) -> CompletionOrder {
    match random.below(3) {
        0 => CompletionOrder::AsJoined,
        1 => CompletionOrder::Reversed,
        _ => CompletionOrder::Together,
    }
}

impl Member {
    /// Returns a step for each participant, and whether it has an action.
    pub(in crate::world) fn steps(&self, shape: &Shape) -> Vec<(OpenStep, bool)> {
        match self.parent {
            None => open_steps(&self.tx, &self.work, shape),
            Some(_) => self.work.iter().map(|(at, ops)| nested_step(&self.tx, *at, ops, shape)).collect(),
        }
    }
}

/// Returns a step that can be undone, completed or not. Its completion leaves a mark, save at a service.
fn nested_step(tx: &TxId, at: u8, ops: &[Op], shape: &Shape) -> (OpenStep, bool) {
    let name = Host::Participant(at).to_string();
    let step = OpenStep::new(&name, &name).retry(RETRY);
    let step = step.action(step_work(at, tx, ops, shape, false));
    let step = if !Mode::has_completions(&tx.to_string()) {
        step.undo(undone(tx, at, ops, shape))
    } else if shape.services.contains(&at) {
        step.complete(over_http::step(at, tx, &[])).undo(undone(tx, at, ops, shape))
    } else {
        let key = completed_key(&tx.to_string());
        let completion = events::of_completing(KvWork::new().put(key.clone(), padded("", shape)), at, tx, shape);
        step.complete(completion).undo(kv_undone(tx, at, ops, shape).delete(key))
    };
    (step, true)
}
