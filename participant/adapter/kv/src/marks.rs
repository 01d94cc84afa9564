//! Semantic locks: marks on what a saga has touched, until it is over or undoes it.
//!
//! The marks are in the store; here is kept which step has set which, so that they go with their step, their saga, or
//! the low-water mark. A mark names one step. Where two steps of a saga marked the same key, undoing the one hands the
//! mark over to the other.
//!
//! Who is about to delete marks takes them from here first, in the moment in which the write is queued: by the time
//! another saga can set a mark on that key, nobody deletes it by mistake.

use super::KeyValue;
use super::attempt::Declined;
use super::record;
use super::schema::PENDING;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use undoubt_participant::resource::{Mark, Release, ResourceError, StepId};
use undoubt_participant::table::{successor, unreadable};
use undoubt_platform::{Batch, Direction, Durability};
use undoubt_proto::record::{MarksReleased, StepBarrier};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, LowWaterMark, Refusal, RefusalCode, TxId};
use undoubt_work::text::shown;

/// The keys each step has marked.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<BTreeMap<StepId, BTreeSet<Bytes>>>);

impl Marks {
    pub(super) fn put(&self, step: StepId, keys: BTreeSet<Bytes>) {
        if !keys.is_empty() {
            self.all().insert(step, keys);
        }
    }

    pub(super) fn of(&self, step: &StepId) -> BTreeSet<Bytes> {
        self.all().get(step).cloned().unwrap_or_default()
    }

    pub(super) fn take(&self, step: &StepId) -> BTreeSet<Bytes> {
        self.all().remove(step).unwrap_or_default()
    }

    /// Returns another step of the same saga that has marked this key.
    pub(super) fn heir(&self, step: &StepId, key: &Bytes) -> Option<StepId> {
        let all = self.all();
        let mut saga = all.range(of_attempt_number(step.coordinator, step.attempt_number));
        saga.find(|(other, keys)| other.tx == step.tx && *other != step && keys.contains(key))
            .map(|(other, _)| other.clone())
    }

    pub(super) fn take_over(
        &self,
        coordinator: CoordinatorId,
        low_water_mark: &LowWaterMark,
    ) -> Vec<(StepId, BTreeSet<Bytes>)> {
        let first_of = |attempt_number| StepId::first_of(coordinator, attempt_number);
        let below = first_of(AttemptNumber::default())..first_of(low_water_mark.below());
        self.all().extract_if(below, |step, _| low_water_mark.is_over(step.attempt_number)).collect()
    }

    fn take_saga(
        &self,
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: &TxId,
    ) -> Vec<(StepId, BTreeSet<Bytes>)> {
        self.all().extract_if(of_attempt_number(coordinator, attempt_number), |step, _| step.tx == *tx).collect()
    }

    pub(super) fn put_back(&self, taken: Vec<(StepId, BTreeSet<Bytes>)>) {
        self.all().extend(taken);
    }

    /// Keys that steps have marked; one that two steps of a saga have marked counts twice.
    pub(super) fn keys(&self) -> u64 {
        self.all().values().map(|keys| keys.len() as u64).sum()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<StepId, BTreeSet<Bytes>>> {
        // Nothing between taking and freeing it can panic.
        self.0.lock().expect("the map of marks is whole")
    }
}

fn of_attempt_number(coordinator: CoordinatorId, attempt_number: AttemptNumber) -> Range<StepId> {
    StepId::first_of(coordinator, attempt_number)..StepId::first_of(coordinator, attempt_number.next())
}

/// Refuses what a saga other than that of `own` has marked. The keys have to be locked.
pub(super) fn refuse_marked<'a>(
    kv: &KeyValue,
    own: Option<&StepId>,
    keys: impl IntoIterator<Item = &'a Bytes>,
) -> Result<(), Declined> {
    for key in keys {
        let Some(by) = marked_by(kv, key).map_err(Declined::Failed)? else { continue };
        if !own.is_some_and(|own| are_of_one_saga(own, &by)) {
            let (key, tx) = (shown(key), by.tx);
            let detail = format!("key {key} is pending: the saga {tx} has touched it and is not over; try again later");
            return Err(Refusal::new(RefusalCode::Pending, detail).into());
        }
    }
    Ok(())
}

fn marked_by(kv: &KeyValue, key: &Bytes) -> Result<Option<StepId>, ResourceError> {
    let Some(mark) = kv.store.get(PENDING, key)? else { return Ok(None) };
    let (by, _) = record::read_mark(mark).map_err(|cause| unreadable(PENDING, key.clone(), &cause))?;
    Ok(Some(by))
}

fn are_of_one_saga(one: &StepId, other: &StepId) -> bool {
    (one.coordinator, one.attempt_number, &one.tx) == (other.coordinator, other.attempt_number, &other.tx)
}

/// Deletes the marks of steps that are over. A barrier that was left behind may name a key that
/// another saga has marked since.
pub(super) fn delete_passed(
    kv: &KeyValue,
    batch: &mut Batch,
    passed: &[(StepId, BTreeSet<Bytes>)],
) -> Result<(), ResourceError> {
    for (step, keys) in passed {
        for key in keys {
            if marked_by(kv, key)?.is_some_and(|by| are_of_one_saga(step, &by)) {
                record::delete_mark(batch, key);
            }
        }
    }
    Ok(())
}

/// Deletes the marks of a saga that is over, or that an operator releases, in forced writes with what its barriers say of
/// them. Barriers hold results: one write takes about as many as of a group. Steps whose write fails keep their marks.
pub(super) async fn close_saga(
    kv: &KeyValue,
    coordinator: CoordinatorId,
    attempt_number: AttemptNumber,
    tx: &TxId,
    release: Option<Release>,
) -> Result<(), ResourceError> {
    let released = release.map(|Release { at, who, reason }| MarksReleased { at_us: at.0, who, reason });
    let mut left = kv.marks.take_saga(coordinator, attempt_number, tx);
    while !left.is_empty() {
        let written = match next_write(kv, &left, &released) {
            Ok((batch, steps)) => kv.write(batch, Durability::Forced).await.map(|()| steps),
            Err(unreadable) => Err(unreadable),
        };
        match written {
            Ok(steps) => {
                left.drain(..steps);
                kv.table.note_stored([(coordinator, attempt_number)]);
            }
            Err(error) => {
                kv.marks.put_back(left);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Returns a write that closes the first of these steps, at least one, and their number. A key that several have marked is
/// free with the last of them: another saga may have marked it by the time of a later write.
pub(super) fn next_write(
    kv: &KeyValue,
    left: &[(StepId, BTreeSet<Bytes>)],
    released: &Option<MarksReleased>,
) -> Result<(Batch, usize), ResourceError> {
    let (mut batch, mut steps) = (Batch::default(), 0);
    while steps < left.len() && batch.payload_bytes() < kv.max_group_bytes() {
        let (step, keys) = &left[steps];
        steps += 1;
        let is_marked_by_others = |key: &&Bytes| left[steps..].iter().any(|(_, keys)| keys.contains(*key));
        keys.iter().filter(|key| !is_marked_by_others(key)).for_each(|key| record::delete_mark(&mut batch, key));
        clear_barrier(kv, &mut batch, step, released.clone())?;
    }
    Ok((batch, steps))
}

fn clear_barrier(
    kv: &KeyValue,
    batch: &mut Batch,
    step: &StepId,
    released: Option<MarksReleased>,
) -> Result<(), ResourceError> {
    let Some((_, barrier)) = kv.table.barrier(step)? else { return Ok(()) };
    let released = released.or(barrier.released);
    kv.table.put_barrier(batch, step, &StepBarrier { pending: Vec::new(), released, ..barrier });
    Ok(())
}

/// Returns the marks in the store, from the first key above `after` on.
pub(super) fn list(kv: &KeyValue, after: &Bytes, limit: usize) -> Result<Vec<Mark>, ResourceError> {
    let page = kv.store.scan(PENDING, &successor(after), None, Direction::Forward, limit)?;
    let mark = |(key, value): (Bytes, Bytes)| {
        let (by, begun_at) = record::read_mark(value).map_err(|cause| unreadable(PENDING, key.clone(), &cause))?;
        Ok(Mark { key, by, begun_at })
    };
    page.into_iter().map(mark).collect()
}
