//! A prepared branch's work comes into effect.

use super::publish::Published;
use super::{Branch, Effects, KeyValue, Stage, record};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost::Message as _;
use std::sync::Arc;
use undoubt_participant::resource::{BranchId, Committing, ResourceError};
use undoubt_participant::table::{BRANCH, unreadable};
use undoubt_platform::{Batch, Written};
use undoubt_proto::record::KeyValueBranch;
use undoubt_vocabulary::{BranchOutcome, EventId};

/// The bytes that a commit writes beside the data, about.
const RECORD_BYTES: usize = 128;

/// Branches that share a write.
#[derive(Default)]
struct Group {
    branches: Vec<BranchId>,
    /// The branches among them that the write ends; the others have been committed before.
    leaving: Vec<Arc<Branch>>,
    /// The bytes that they write, about.
    bytes: usize,
}

/// Commits branches that came together, in one write.
pub(super) fn commit_all(kv: &Arc<KeyValue>, branches: Vec<BranchId>) -> Vec<Committing> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    for branch in branches {
        group.add(kv, branch);
        if group.bytes >= kv.max_group_bytes() {
            groups.push(std::mem::take(&mut group).write(kv));
        }
    }
    if !group.branches.is_empty() {
        groups.push(group.write(kv));
    }
    groups
}

pub(super) async fn commit(kv: &KeyValue, branch: &BranchId) -> Result<(), ResourceError> {
    let mut group = Group::default();
    group.add(kv, branch.clone());
    let _permit = kv.writing.take(group.bytes).await;
    finish(kv, begin(kv, &group.leaving)?, &group.leaving).await
}

impl Group {
    fn add(&mut self, kv: &KeyValue, branch: BranchId) {
        if let Some(known) = kv.branch(&branch)
            && let Stage::Prepared { bytes, .. } = known.stage
        {
            // From now on, however long its write has to wait.
            kv.locks.leaving(&branch.tx);
            self.bytes += bytes + RECORD_BYTES;
            self.leaving.push(known);
        }
        self.branches.push(branch);
    }

    /// Queues the write before it returns, if there is room for it at the store. If not, nothing large is in memory until
    /// there is.
    fn write(self, kv: &Arc<KeyValue>) -> Committing {
        let Group { branches, leaving, bytes } = self;
        let begun = kv.writing.try_take(bytes).map(|permit| (permit, begin(kv, &leaving)));
        let kv = kv.clone();
        let call = async move {
            let (_permit, written) = match begun {
                Some(begun) => begun,
                None => (kv.writing.take(bytes).await, begin(&kv, &leaving)),
            };
            finish(&kv, written?, &leaving).await
        };
        (branches, call.boxed())
    }
}

/// A write that is queued.
enum Begun {
    Silent(Written),
    /// It publishes events: whoever waits for it hears the last of each branch. In a box, for most branches publish none.
    Publishing(BoxFuture<'static, Result<Vec<Option<EventId>>, ResourceError>>),
}

/// Queues the write of what makes the commits so. `None`: there is nothing to write.
fn begin(kv: &KeyValue, leaving: &[Arc<Branch>]) -> Result<Option<Begun>, ResourceError> {
    if leaving.is_empty() {
        return Ok(None);
    }
    let mut batch = Batch::default();
    let (mut events, mut through) = (Vec::new(), Vec::with_capacity(leaving.len()));
    for branch in leaving {
        let effects = effects_of(kv, branch)?;
        record::put_data(&mut batch, &effects.writes);
        events.extend_from_slice(&effects.events);
        through.push(events.len());
        kv.table.delete_prepared(&mut batch, &branch.id);
        kv.table.put_finished(&mut batch, &branch.id, BranchOutcome::Committed, Bytes::new());
    }
    let published = kv.publish(batch, &events);
    Ok(Some(if events.is_empty() {
        Begun::Silent(published.written)
    } else {
        Begun::Publishing(last_of_each(published, through))
    }))
}

/// Returns the last event of each branch. `through`: how many events each and those before it publish.
fn last_of_each(
    published: Published,
    through: Vec<usize>,
) -> BoxFuture<'static, Result<Vec<Option<EventId>>, ResourceError>> {
    async move {
        let events = published.stable().await?;
        let mut before = 0;
        let last =
            through.into_iter().map(|through| events[std::mem::replace(&mut before, through)..through].last().copied());
        Ok(last.collect())
    }
    .boxed()
}

async fn finish(kv: &KeyValue, begun: Option<Begun>, leaving: &[Arc<Branch>]) -> Result<(), ResourceError> {
    let writes = begun.is_some();
    match begun {
        None => {}
        Some(Begun::Silent(written)) => written.await?,
        Some(Begun::Publishing(last)) => {
            for (branch, last) in leaving.iter().zip(last.await?) {
                kv.note_emitted(&branch.id, last);
            }
        }
    }
    if writes {
        kv.table.note_stored(leaving.iter().map(|branch| (branch.id.coordinator, branch.id.attempt_number)));
    }
    leaving.iter().for_each(|branch| kv.leave(&branch.id));
    Ok(())
}

/// Returns what a prepared branch does.
pub(super) fn effects_of(kv: &KeyValue, branch: &Branch) -> Result<Arc<Effects>, ResourceError> {
    match &branch.stage {
        Stage::ReadOnly => Ok(Arc::default()),
        Stage::Prepared { effects: Some(effects), .. } => Ok(effects.clone()),
        Stage::Prepared { effects: None, .. } => {
            let gone = || {
                let cause = format!("the record of the prepared branch {} is gone", branch.id.tx);
                ResourceError::Stopped { cause }
            };
            let value = kv.table.prepared(&branch.id)?.ok_or_else(gone)?;
            let KeyValueBranch { writes, events, .. } = KeyValueBranch::decode(value)
                .map_err(|cause| unreadable(BRANCH, branch.id.tx.to_bytes(), &cause.into()))?;
            Ok(Effects { writes, events }.into())
        }
    }
}
