//! A prepared branch's work comes into effect.

use super::{KeyValue, MAX_GROUP_BYTES, Stage, record};
use crate::resource::{BranchId, Committing};
use bytes::Bytes;
use futures::FutureExt as _;
use std::sync::Arc;
use undoubt_platform::{Batch, Durability};
use undoubt_vocabulary::BranchOutcome;

/// Branches that share a write.
#[derive(Default)]
struct Group {
    batch: Batch,
    branches: Vec<BranchId>,
    /// Those of them that the write ends; the others have been committed before.
    leaving: Vec<BranchId>,
}

/// Branches that came together, in one write.
pub(super) fn commit_all(kv: &Arc<KeyValue>, branches: Vec<BranchId>) -> Vec<Committing> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    for branch in branches {
        if put(kv, &mut group.batch, &branch) {
            group.leaving.push(branch.clone());
        }
        group.branches.push(branch);
        if group.batch.payload_bytes() >= MAX_GROUP_BYTES {
            groups.push(std::mem::take(&mut group).write(kv));
        }
    }
    if !group.branches.is_empty() {
        groups.push(group.write(kv));
    }
    groups
}

impl Group {
    /// Queues the write before it returns.
    fn write(self, kv: &Arc<KeyValue>) -> Committing {
        let Group { batch, branches, leaving } = self;
        if batch.is_empty() {
            return (branches, std::future::ready(Ok(())).boxed());
        }
        let (kv, written) = (kv.clone(), kv.write(batch, Durability::Forced));
        let call = async move {
            written.await?;
            leaving.iter().for_each(|branch| kv.leave(branch));
            Ok(())
        };
        (branches, call.boxed())
    }
}

/// What makes the commit so, if the branch is prepared here. A repeated commit changes nothing.
pub(super) fn put(kv: &KeyValue, batch: &mut Batch, branch: &BranchId) -> bool {
    let Some(known) = kv.branch(branch) else { return false };
    let Stage::Prepared { writes } = &known.stage else { return false };
    kv.locks.leaving(&branch.tx);
    record::put_data(batch, writes);
    record::delete_prepared(batch, branch);
    record::put_finished(batch, branch, BranchOutcome::Committed, Bytes::new());
    true
}
