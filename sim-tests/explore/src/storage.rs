//! The storage of a participant's resource, and what a crash leaves of it.
//!
//! As the key-value resource has it: votes, commits and operators' decisions are forced, aborts and collections are not.
//! A crash leaves a prefix of what was written, which reaches at least to the last forced write. So an abort may be
//! taken back, and its branch is in doubt again.

mod barrier;
mod enlisted;
mod standing;

use crate::mutant::Mutant;
use crate::numbers::Numbers;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_lock::Mode;
use undoubt_participant_core::{BranchId, Heuristic, Kept, Recovered, Seen, StepId, StepState};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Epoch, LowWaterMark, Timestamp, TxId};

pub(crate) use barrier::{Came, Marks, result_of};
pub(crate) use enlisted::EnlistedRecord;

/// There is one.
pub(crate) const COORDINATOR: CoordinatorId = CoordinatorId([7; 16]);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) low_water_mark: LowWaterMark,
    pub(crate) values: BTreeMap<Bytes, Bytes>,
    pub(crate) prepared: BTreeMap<TxId, PreparedRecord>,
    /// What applications have prepared by themselves, and no attempt has asked for.
    pub(crate) enlisted: BTreeMap<TxId, EnlistedRecord>,
    /// The branches that committed, with their results if they did so in one phase.
    pub(crate) finished: BTreeMap<(AttemptNumber, TxId), Bytes>,
    /// The branches whose abort has begun and owes something yet.
    pub(crate) owing: BTreeMap<TxId, PreparedRecord>,
    /// The branches that are alone and have begun to end.
    pub(crate) settling: BTreeMap<TxId, PreparedRecord>,
    /// The branches that another hand has committed, as they look after a crash: committed, nobody knows by whom.
    pub(crate) found_committed: BTreeMap<TxId, PreparedRecord>,
    /// The branches that another hand has aborted, and of which a crash has left nothing. For the checks only.
    pub(crate) gone: BTreeSet<BranchId>,
    pub(crate) heuristics: BTreeMap<TxId, HeuristicRecord>,
    /// The writers of each key, in order. No resource has this; it is what the checks go by.
    pub(crate) history: BTreeMap<Bytes, Vec<(TxId, AttemptNumber)>>,
    /// The barriers of sagas' steps.
    pub(crate) steps: BTreeMap<StepId, StepState>,
    /// The keys on which steps hold semantic locks.
    pub(crate) marks: Marks,
    /// The end of each step, for ever. Again for the checks only.
    pub(crate) came: BTreeMap<StepId, Came>,
    /// The number that was seen of the coordinator's log.
    pub(crate) seen: Seen,
    /// `None`: writes are not numbered.
    pub(crate) numbers: Option<Numbers>,
    /// The writes that a crash may take back, the latest last: what was there before each.
    pub(crate) unforced: Vec<Unforced>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PreparedRecord {
    pub(crate) branch: BranchId,
    pub(crate) begun_at: Timestamp,
    pub(crate) locks: BTreeMap<Bytes, Mode>,
    pub(crate) writes: BTreeMap<Bytes, Option<Bytes>>,
    pub(crate) result: Bytes,
    /// The way in which another hand has ended it in the resource itself: `true` is commit.
    pub(crate) ended: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeuristicRecord {
    pub(crate) branch: BranchId,
    pub(crate) begun_at: Timestamp,
    pub(crate) heuristic: Heuristic,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unforced {
    Abort(PreparedRecord),
    Collection {
        low_water_mark: LowWaterMark,
        finished: BTreeMap<(AttemptNumber, TxId), Bytes>,
        steps: BTreeMap<StepId, StepState>,
        marks: Marks,
    },
    /// Forced, but nobody waits for it, so whatever comes of it may come before it is stable.
    NotedDecision(HeuristicRecord),
    /// The same, of what another hand did.
    NotedHand(PreparedRecord),
    /// The record of what an abort owed.
    Owed(PreparedRecord),
}

impl Storage {
    /// A forced write, with which all before it is on stable storage.
    fn force(&mut self) {
        self.unforced.clear();
        self.numbers.iter_mut().for_each(|numbers| numbers.write(true));
    }

    fn write_lazily(&mut self, before: Unforced) {
        self.unforced.push(before);
        self.numbers.iter_mut().for_each(|numbers| numbers.write(false));
    }

    pub(crate) fn record_epoch(&mut self, epoch: Epoch) {
        self.force();
        self.epoch = self.epoch.max(Some(epoch));
    }

    pub(crate) fn prepare(&mut self, record: PreparedRecord) {
        self.force();
        self.prepared.insert(record.branch.tx.clone(), record);
    }

    pub(crate) fn commit_alone(&mut self, branch: &BranchId, writes: &BTreeMap<Bytes, Option<Bytes>>, result: Bytes) {
        self.force();
        self.apply(branch, writes);
        self.finished.insert((branch.attempt_number, branch.tx.clone()), result);
    }

    pub(crate) fn commit(&mut self, branch: &BranchId) {
        if let Some(record) = self.take_prepared(branch) {
            let writes = if record.ended.is_none() { record.writes } else { BTreeMap::new() };
            self.commit_alone(branch, &writes, Bytes::new());
        }
    }

    pub(crate) fn abort(&mut self, branch: &BranchId) {
        if let Some(record) = self.take_prepared(branch) {
            self.write_lazily(Unforced::Abort(record));
        }
    }

    pub(crate) fn resolve(&mut self, branch: &BranchId, heuristic: Heuristic) {
        if let Some(record) = self.take_prepared(branch) {
            self.force();
            if heuristic.commit && record.ended.is_none() {
                self.apply(branch, &record.writes);
            }
            let record = HeuristicRecord { branch: branch.clone(), begun_at: record.begun_at, heuristic };
            self.heuristics.insert(branch.tx.clone(), record);
        }
    }

    /// Stores a heuristic outcome. R3: what was committed here, as its coordinator asked, is none.
    pub(crate) fn store_heuristic(&mut self, branch: &BranchId, heuristic: Heuristic) -> Result<(), String> {
        if self.finished.contains_key(&(branch.attempt_number, branch.tx.clone())) {
            let (tx, attempt_number) = (&branch.tx, branch.attempt_number);
            return Err(format!(
                "R3: {tx}/{attempt_number} was committed as it was asked to, and another hand is blamed for it"
            ));
        }
        if let Some(record) = self.heuristics.get_mut(&branch.tx).filter(|record| record.branch == *branch) {
            let before = std::mem::replace(&mut record.heuristic, heuristic);
            let before = HeuristicRecord { heuristic: before, ..record.clone() };
            self.write_lazily(Unforced::NotedDecision(before));
        } else if let Some(record) = self.take_found_committed(branch).or_else(|| self.take_prepared(branch)) {
            let begun_at = record.begun_at;
            self.heuristics.insert(branch.tx.clone(), HeuristicRecord { branch: branch.clone(), begun_at, heuristic });
            self.write_lazily(Unforced::NotedHand(record));
        }
        Ok(())
    }

    /// Another hand ends a branch. What is stored of it says nothing of that.
    pub(crate) fn end_by_other_hand(&mut self, tx: &TxId, commit: bool) {
        let Some(record) = self.prepared.get_mut(tx).or_else(|| self.settling.get_mut(tx)) else { return };
        record.ended = Some(commit);
        if commit {
            let (branch, writes) = (record.branch.clone(), record.writes.clone());
            self.apply(&branch, &writes);
        }
    }

    /// Returns true if another hand has ended the branch otherwise than so, or it has committed and is to be aborted.
    pub(crate) fn is_gone(&self, branch: &BranchId, commit: bool) -> bool {
        if !commit && self.is_evident(&branch.tx, branch.attempt_number) {
            return true;
        }
        let record = self.prepared.get(&branch.tx).filter(|record| record.branch == *branch);
        record.is_some_and(|record| record.ended == Some(!commit))
    }

    /// Returns true if there is evidence that the branch has committed. What the stored low-water mark has passed is deleted.
    pub(crate) fn is_evident(&self, tx: &TxId, attempt_number: AttemptNumber) -> bool {
        let found = self.found_committed.get(tx).is_some_and(|record| record.branch.attempt_number == attempt_number);
        found && !self.low_water_mark.is_over(attempt_number)
            || self.finished.contains_key(&(attempt_number, tx.clone()))
    }

    /// Undoes a branch whose abort owes something, and keeps that.
    pub(crate) fn begin_abort(&mut self, branch: &BranchId) {
        if let Some(record) = self.take_prepared(branch) {
            self.force();
            self.owing.insert(branch.tx.clone(), record);
        }
    }

    /// Stores that a branch which is alone ends from now on.
    pub(crate) fn begin_to_settle(&mut self, record: PreparedRecord) {
        self.force();
        self.settling.insert(record.branch.tx.clone(), record);
    }

    /// Ends a branch that is alone, if it has begun to end: it commits, unless another hand has let it go. Returns what it came to.
    pub(crate) fn settle(&mut self, branch: &BranchId) -> Option<Bytes> {
        let settling = self.settling.extract_if(.., |_, record| record.branch == *branch).next();
        if let Some((_, PreparedRecord { writes, result, ended, .. })) = settling {
            match ended {
                None => self.commit_alone(branch, &writes, result),
                Some(_) => self.force(),
            }
        }
        self.finished.get(&(branch.attempt_number, branch.tx.clone())).cloned()
    }

    /// Takes all that have begun to end for committed, whatever became of them. Only a mutant does.
    pub(crate) fn believe_settled(&mut self) {
        for (tx, record) in std::mem::take(&mut self.settling) {
            let writes = if record.ended.is_none() { record.writes } else { BTreeMap::new() };
            self.commit_alone(&BranchId { tx, ..record.branch }, &writes, record.result);
        }
    }

    /// Finishes an abort: what it owed is done.
    pub(crate) fn finish_abort(&mut self, branch: &BranchId) {
        if let Some(record) = self.owing.remove(&branch.tx) {
            self.write_lazily(Unforced::Owed(record));
        }
    }

    pub(crate) fn collect(&mut self, over: LowWaterMark) {
        let finished = self.finished.extract_if(.., |(attempt_number, _), _| over.is_over(*attempt_number)).collect();
        let steps = self.steps.extract_if(.., |step, _| over.is_over(step.attempt_number)).collect();
        let marks = self.marks.extract_if(.., |step, _| over.is_over(step.attempt_number)).collect();
        let before = std::mem::replace(&mut self.low_water_mark, over);
        self.write_lazily(Unforced::Collection { low_water_mark: before, finished, steps, marks });
    }

    /// The first `kept` of the writes that were not forced are found nevertheless.
    pub(crate) fn crash(&mut self, kept: usize, mutant: Option<Mutant>) {
        let lost = self.unforced.split_off(kept);
        self.unforced.clear();
        self.numbers.iter_mut().for_each(|numbers| numbers.writes -= lost.len() as u64);
        for write in lost.into_iter().rev() {
            match write {
                // Stays where it is, for its locks only: see `Memory::recovered`.
                Unforced::Abort(_) if mutant == Some(Mutant::AbortForcedInPart) => self.unforced.push(write),
                Unforced::Abort(record) => {
                    self.prepared.insert(record.branch.tx.clone(), record);
                }
                Unforced::Collection { low_water_mark, finished, steps, marks } => {
                    self.low_water_mark = low_water_mark;
                    self.marks.extend(marks);
                    self.steps.extend(steps);
                    self.finished.extend(finished);
                }
                Unforced::NotedDecision(record) => {
                    self.heuristics.insert(record.branch.tx.clone(), record);
                }
                Unforced::NotedHand(record) => {
                    self.heuristics.remove(&record.branch.tx);
                    self.prepared.insert(record.branch.tx.clone(), record);
                }
                Unforced::Owed(record) => {
                    self.owing.insert(record.branch.tx.clone(), record);
                }
            }
        }
    }

    /// After a crash, what another hand has committed looks as if it had been committed here, and nothing is left of what it has aborted.
    pub(crate) fn find_committed(&mut self) {
        let is_aborted = |_: &TxId, record: &mut PreparedRecord| record.ended == Some(false);
        self.gone.extend(self.prepared.extract_if(.., is_aborted).map(|(_, record)| record.branch));
        let is_committed = |_: &TxId, record: &mut PreparedRecord| record.ended == Some(true);
        self.found_committed.extend(self.prepared.extract_if(.., is_committed));
    }

    /// Returns what the participant is told at its start. What is open comes before what is finished. `is_evidence`: that a branch
    /// has committed says nothing of who committed it.
    pub(crate) fn recovered(&self, mutant: Option<Mutant>, is_evidence: bool) -> Vec<Recovered> {
        let coordinator = self.epoch.map(|epoch| Recovered::Coordinator {
            id: COORDINATOR,
            epoch,
            low_water_mark: match mutant {
                Some(Mutant::StillOpenForgotten) => self.low_water_mark.below().into(),
                Some(_) | None => self.low_water_mark.clone(),
            },
            pin: None,
        });
        let prepared =
            self.prepared.values().cloned().map(|PreparedRecord { branch, begun_at, result, .. }| {
                Recovered::Prepared { branch, begun_at, result }
            });
        let owing = self.owing.values().filter(|_| mutant != Some(Mutant::OwedForgotten)).cloned();
        let aborting = owing.map(|PreparedRecord { branch, begun_at, .. }| Recovered::Aborting { branch, begun_at });
        let settling = self.settling.values().filter(|_| mutant != Some(Mutant::SettlingForgotten)).cloned();
        let settling = settling.map(|PreparedRecord { branch, begun_at, .. }| Recovered::Settling { branch, begun_at });
        let heuristics = self.heuristics.values().cloned();
        let heuristics = heuristics.map(|HeuristicRecord { branch, begun_at, heuristic }| Recovered::Heuristic {
            branch,
            begun_at,
            heuristic,
        });
        let finished = self.finished.iter().map(|((attempt_number, tx), result)| {
            (BranchId { tx: tx.clone(), attempt_number: *attempt_number, coordinator: COORDINATOR }, result.clone())
        });
        let found =
            self.found_committed.values().filter(|record| !self.low_water_mark.is_over(record.branch.attempt_number));
        let finished = finished.chain(found.map(|record| (record.branch.clone(), Bytes::new())));
        let finished = finished.map(|(branch, result)| match (is_evidence, Kept::Here(result)) {
            (true, result) => Recovered::Evidence { branch, result },
            (false, result) => Recovered::Committed { branch, result },
        });
        let steps = self.steps.iter().filter(|_| mutant != Some(Mutant::BarriersForgotten));
        let steps = steps.map(|(step, state)| Recovered::Step { step: step.clone(), state: state.clone() });
        let numbers = self.numbers.iter();
        let log = numbers.flat_map(|Numbers { starts, put_back, .. }| {
            let log = Recovered::Log { starts: starts.clone(), put_back: put_back.clone() };
            [log, Recovered::Seen { id: COORDINATOR, seen: self.seen }]
        });
        let known = coordinator.into_iter().chain(log);
        known.chain(prepared).chain(aborting).chain(settling).chain(heuristics).chain(finished).chain(steps).collect()
    }

    /// The attempts under this id that have taken effect.
    pub(crate) fn has_committed(&self, tx: &TxId) -> BTreeSet<AttemptNumber> {
        self.history
            .values()
            .flatten()
            .filter(|(writer, _)| writer == tx)
            .map(|(_, attempt_number)| *attempt_number)
            .collect()
    }

    /// Returns true if an operator or another hand has ended a branch of this transaction, as far as nobody knows better yet.
    pub(crate) fn is_ended_by_others(&self, tx: &TxId) -> bool {
        self.heuristics.contains_key(tx)
            || self.found_committed.contains_key(tx)
            || self.gone.iter().any(|branch| branch.tx == *tx)
            || self.prepared.get(tx).is_some_and(|record| record.ended.is_some())
    }

    pub(crate) fn is_prepared(&self, tx: &TxId, attempt_number: AttemptNumber) -> bool {
        self.prepared.get(tx).is_some_and(|record| record.branch.attempt_number == attempt_number)
    }

    fn take_found_committed(&mut self, branch: &BranchId) -> Option<PreparedRecord> {
        let is_it = self.found_committed.get(&branch.tx).is_some_and(|record| record.branch == *branch);
        if is_it { self.found_committed.remove(&branch.tx) } else { None }
    }

    fn take_prepared(&mut self, branch: &BranchId) -> Option<PreparedRecord> {
        if self.is_prepared(&branch.tx, branch.attempt_number) { self.prepared.remove(&branch.tx) } else { None }
    }

    fn apply(&mut self, branch: &BranchId, writes: &BTreeMap<Bytes, Option<Bytes>>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.values.insert(key.clone(), value.clone()),
                None => self.values.remove(key),
            };
            self.history.entry(key.clone()).or_default().push((branch.tx.clone(), branch.attempt_number));
        }
    }
}
