//! The events that the work of clients publishes where participants do: one of each change, and one that is appended to an entity.

use super::{account_key, register_key, trips};
use crate::plan::{Mode, Shape};
use crate::run::{Deed, DeedPart, Op};
use undoubt_client::kv::KvWork;
use undoubt_vocabulary::TxId;
use undoubt_work::event::{Emit, Source};

/// A change that work makes.
struct Change {
    key: String,
    /// What is added, and the operation that adds it.
    added: Option<(i64, u32)>,
}

/// Returns work that does these operations, with the events that it publishes.
pub(super) fn of_doing(work: KvWork, at: u8, tx: &TxId, ops: &[Op], shape: &Shape) -> KvWork {
    let mut place = 0;
    let mut changes = Vec::new();
    for op in ops {
        match op {
            Op::Transfer { account, delta } => {
                changes.push(Change { key: account_key(*account), added: Some((*delta, place)) });
            }
            Op::ReadWrite { register } => changes.push(Change { key: register_key(*register), added: None }),
            Op::ReadAccount { .. } | Op::ReadRegister { .. } => {}
        }
        place += if matches!(op, Op::ReadWrite { .. }) { 2 } else { 1 };
    }
    trips::begun(published(work, at, tx, DeedPart::Do, changes, shape), at, tx, shape)
}

/// Returns work that undoes these operations, with the events that it publishes.
pub(super) fn of_undoing(work: KvWork, at: u8, tx: &TxId, ops: &[Op], shape: &Shape) -> KvWork {
    let mut changes = Vec::new();
    for op in ops {
        match op {
            Op::Transfer { account, delta } => {
                let place = u32::try_from(changes.len()).unwrap_or(u32::MAX);
                changes.push(Change { key: account_key(*account), added: Some((-delta, place)) });
            }
            Op::ReadWrite { register } => changes.push(Change { key: register_key(*register), added: None }),
            Op::ReadAccount { .. } | Op::ReadRegister { .. } => {}
        }
    }
    published(work, at, tx, DeedPart::Undo, changes, shape)
}

/// Returns work that completes a step, with the event that it publishes.
pub(super) fn of_completing(work: KvWork, at: u8, tx: &TxId, shape: &Shape) -> KvWork {
    let change = Change { key: super::completed_key(&tx.to_string()), added: None };
    published(work, at, tx, DeedPart::Complete, vec![change], shape)
}

fn published(work: KvWork, at: u8, tx: &TxId, part: DeedPart, changes: Vec<Change>, shape: &Shape) -> KvWork {
    let Some(first) = changes.first().filter(|_| shape.publishes(at)).map(|change| change.key.clone()) else {
        return work;
    };
    let deed = |index: usize| {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let deed = Deed { tx: tx.to_string(), part, index, added: None };
        serde_json::to_value(deed).expect("a deed is written as JSON")
    };
    let count = changes.len();
    let work = changes.into_iter().enumerate().fold(work, |work, (index, Change { key, added })| {
        let mut data = deed(index);
        let emit = Emit::new(Shape::MOVES, "changed", key);
        work.emit(match added {
            Some((delta, place)) => {
                data["added"] = serde_json::json!([delta, "{after}"]);
                emit.json(data).parameter("after", Source::own(place))
            }
            None => emit.json(data),
        })
    });
    // What is done once, and not tried another way, has an entity of its own, which has to be new.
    let is_new = Mode::of(&tx.to_string()) == Mode::TwoPhase && part == DeedPart::Do;
    let whole = match is_new {
        true => Emit::new(Shape::DEEDS, "done", tx.to_string()).expect(0),
        false => Emit::new(Shape::DEEDS, "done", first),
    };
    work.emit(whole.json(deed(count)))
}
