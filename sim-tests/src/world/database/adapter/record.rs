//! Records of the participant's own: each a transaction by itself, which may be repeated.

use super::Inner;
use crate::world::database::rows::{Gid, delete_mark, marks};
use crate::world::database::wire::{Answer, Request};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use undoubt_participant::resource::{BranchId, Heuristic, Pin, Release, ResourceError, StepId};
use undoubt_participant::table::{FINISHED, TransactionTable};
use undoubt_platform::store::Contents;
use undoubt_platform::{Batch, Direction, Durability, Family, Operation, Room, Store, StoreError, Written};
use undoubt_proto::record::{MarksReleased, StepBarrier};
use undoubt_vocabulary::{AttemptNumber, BranchOutcome, CoordinatorId, Epoch, LowWaterMark, Timestamp, TxId};

/// Rows as they were read at some moment; what is written is only noted.
#[derive(Default)]
struct Read {
    tables: Contents,
    written: Mutex<Batch>,
}

impl Store for Read {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.tables.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.tables.scan(family, from, to, direction, limit)
    }

    fn write(&self, batch: Batch, _: Durability) -> Written {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).append(batch);
        Written::ready(Ok(()))
    }

    fn max_batch_bytes(&self) -> usize {
        usize::MAX
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room { bytes: None, files: None })
    }
}

/// Returns what writes rows into batches.
pub(super) fn rows() -> TransactionTable {
    TransactionTable::new(Arc::new(Read::default()))
}

/// Returns the row that is seen exactly when the branch has committed.
pub(super) fn evidence_of(branch: &BranchId, result: Bytes) -> Batch {
    let mut batch = Batch::default();
    rows().put_finished(&mut batch, branch, BranchOutcome::Committed, result);
    batch
}

/// Reads all that is committed.
pub(super) async fn tables(inner: &Inner) -> Result<Contents, ResourceError> {
    let answer = inner.sessions.committing(Request::Tables).await?;
    if let Answer::Tables(tables) = answer { Ok(tables) } else { Err(unexpected(&answer)) }
}

pub(super) async fn table(inner: &Inner) -> Result<TransactionTable, ResourceError> {
    Ok(table_of(tables(inner).await?))
}

pub(super) fn table_of(tables: Contents) -> TransactionTable {
    TransactionTable::new(Arc::new(Read { tables, written: Mutex::default() }))
}

/// Lists what is prepared.
pub(super) async fn prepared(inner: &Inner) -> Result<Vec<Gid>, ResourceError> {
    let answer = inner.sessions.committing(Request::Prepared).await?;
    if let Answer::Prepared(gids) = answer { Ok(gids) } else { Err(unexpected(&answer)) }
}

pub(super) async fn write(inner: &Inner, batch: Batch) -> Result<(), ResourceError> {
    if batch.is_empty() {
        return Ok(());
    }
    let answer = inner.sessions.committing(Request::Write(batch)).await?;
    if matches!(answer, Answer::Done) { Ok(()) } else { Err(unexpected(&answer)) }
}

fn unexpected(answer: &Answer) -> ResourceError {
    ResourceError::Unavailable { cause: format!("the database answers {answer:?}") }
}

pub(super) async fn has_evidence(inner: &Inner, branch: &BranchId) -> Result<bool, ResourceError> {
    Ok(table(inner).await?.result_of(branch)?.is_some())
}

pub(super) async fn barrier(inner: &Inner, step: &StepId) -> Result<Option<StepBarrier>, ResourceError> {
    Ok(table(inner).await?.barrier(step)?.map(|(_, barrier)| barrier))
}

/// Whatever is stored already, the higher stays.
pub(super) async fn record_epoch(
    inner: &Inner,
    coordinator: CoordinatorId,
    epoch: Epoch,
    pin: Option<Pin>,
) -> Result<(), ResourceError> {
    let noted = Arc::new(Read::default());
    TransactionTable::new(noted.clone()).record_epoch(coordinator, epoch, pin).await?;
    let batch = std::mem::take(&mut *noted.written.lock().unwrap_or_else(PoisonError::into_inner));
    write(inner, batch).await
}

/// Drops what is over, but the evidence of branches that have not ended here: a call may be under way that has yet to
/// look for it.
pub(super) async fn collect(
    inner: &Inner,
    coordinator: CoordinatorId,
    over: LowWaterMark,
) -> Result<(), ResourceError> {
    let tables = tables(inner).await?;
    let (mut passed, mut batch) = (Batch::default(), Batch::default());
    rows().put_collected(&mut passed, coordinator, &over.clone().into());
    let open: Vec<BranchId> = inner.known().keys().cloned().collect();
    let evidence: BTreeSet<Bytes> = open.iter().flat_map(evidence_keys).collect();
    for change in passed.iter() {
        match change {
            Operation::Put { .. } | Operation::Delete { .. } => batch.add(change),
            Operation::DeleteRange { family, .. } => {
                let keys = tables.touched_by(&change).into_iter();
                keys.filter(|key| !evidence.contains(key)).for_each(|key| batch.delete(family, key));
            }
        }
    }
    let left = marks(&tables).filter(|left| left.by.coordinator == coordinator && over.is_over(left.by.attempt_number));
    left.for_each(|left| delete_mark(&mut batch, &left.key, &left.by));
    write(inner, batch).await
}

fn evidence_keys(branch: &BranchId) -> Vec<Bytes> {
    let key = |change: Operation<'_>| match change {
        Operation::Put { key, .. } => Some(Bytes::copy_from_slice(key)),
        Operation::Delete { .. } | Operation::DeleteRange { .. } => None,
    };
    evidence_of(branch, Bytes::new()).iter().filter_map(key).collect()
}

pub(super) async fn put_heuristic(
    inner: &Inner,
    branch: &BranchId,
    begun_at: Timestamp,
    heuristic: Heuristic,
) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    rows().put_heuristic(&mut batch, branch, begun_at, heuristic);
    write(inner, batch).await
}

/// Forgets a heuristic outcome, and the evidence of what was committed with it.
pub(super) async fn forget_heuristic(inner: &Inner, branch: &BranchId) -> Result<(), ResourceError> {
    let mut batch = Batch::default();
    if table(inner).await?.delete_heuristic(&mut batch, branch)? {
        evidence_keys(branch).into_iter().for_each(|key| batch.delete(FINISHED, key));
    }
    write(inner, batch).await
}

/// Drops the marks of a saga, and notes in its barriers that they are gone.
pub(super) async fn close_saga(
    inner: &Inner,
    coordinator: CoordinatorId,
    attempt_number: AttemptNumber,
    tx: &TxId,
    release: Option<Release>,
) -> Result<(), ResourceError> {
    let released = release.map(|Release { at, who, reason }| MarksReleased { at_us: at.0, who, reason });
    let (mut batch, rows) = (Batch::default(), rows());
    let is_of_it =
        |step: &StepId| (step.coordinator, step.attempt_number, &step.tx) == (coordinator, attempt_number, tx);
    let each_step = |step: &StepId, barrier: &StepBarrier| {
        if !is_of_it(step) || barrier.pending.is_empty() {
            return;
        }
        barrier.pending.iter().for_each(|key| delete_mark(&mut batch, key, step));
        let released = released.clone().or_else(|| barrier.released.clone());
        rows.put_barrier(&mut batch, step, &StepBarrier { pending: Vec::new(), released, ..barrier.clone() });
    };
    table(inner).await?.recover(|_, _| Ok(()), each_step)?;
    write(inner, batch).await
}
