//! The parts of a transaction that are stored once, beside its record, because the record is written again and again:
//! what a branch or a step handed back, and the definition of a saga, unless they are small; and the steps of open sagas.
//!
//! They are written with the first record that tells of them, and go with the one that tells of the end; of a transaction
//! that has committed, results stay as long as the record of its end.

use super::{DEFINITION, JOINED, RESULT, codec};
use bytes::Bytes;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_coordinator_core::{EndedRecord, JoinedRecord, OpenRecord, Progress, SagaRecord};
use undoubt_platform::{Batch, Direction, Store, StoreError};
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{AttemptNumber, PartName, StepIndex, Timestamp, TxId};

/// A result of at least so many bytes is stored apart. Smaller ones stay in the record, so that small transactions write
/// one key.
const RESULT_APART_FROM_BYTES: usize = 2 << 10;

/// A definition of at least so many bytes.
const DEFINITION_APART_FROM_BYTES: usize = 1 << 10;

/// The bytes that a step has besides its work, about: names, order, retries.
const STEP_BYTES: usize = 64;

/// The parts that are stored apart, of each transaction that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    of_attempts: BTreeMap<AttemptNumber, Stored>,
    /// The attempt numbers of open transactions that steps have joined: another attempt may decide.
    begun: BTreeMap<TxId, AttemptNumber>,
}

/// The parts of one transaction that are stored apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The branches or steps whose results are stored.
    pub(super) results: BTreeSet<PartName>,
    pub(super) definition: bool,
    /// The number of steps that have joined it.
    pub(super) joined: u16,
    /// There may be more: its record cannot tell.
    pub(super) unknown: bool,
}

impl Apart {
    /// Adds what was found in the log.
    pub(super) fn add(&mut self, tx: &TxId, attempt_number: AttemptNumber, stored: Stored) {
        if stored.joined > 0 {
            self.begun.insert(tx.clone(), attempt_number);
        }
        if stored != Stored::default() {
            self.of_attempts.insert(attempt_number, stored);
        }
    }

    /// Returns what is stored of a transaction, for [`Apart::restore`]; `None` if there is nothing.
    pub(crate) fn stored(&self, attempt_number: AttemptNumber) -> Option<Stored> {
        self.of_attempts.get(&attempt_number).cloned()
    }

    /// Takes back what was noted of a transaction since, for the batch that had it is not written.
    pub(crate) fn restore(&mut self, attempt_number: AttemptNumber, stored: Option<Stored>) {
        match stored {
            Some(stored) => drop(self.of_attempts.insert(attempt_number, stored)),
            None => drop(self.of_attempts.remove(&attempt_number)),
        }
    }

    /// Returns true if large results may be stored of which nothing is known here, because the transaction ended some
    /// time ago.
    pub(crate) fn may_be_stored(&self, ended: &EndedRecord) -> bool {
        let is_large = |(_, result): &(PartName, Bytes)| result.len() >= RESULT_APART_FROM_BYTES;
        ended.results.iter().any(is_large) && !self.of_attempts.contains_key(&ended.attempt_number)
    }

    /// Stores the large results of a decided transaction and answers whose they are.
    pub(super) fn of_open(&mut self, batch: &mut Batch, open: &OpenRecord) -> Vec<PartName> {
        self.drop_begun(batch, &open.tx, open.attempt_number);
        let large = open.results.iter().filter(|(_, result)| result.len() >= RESULT_APART_FROM_BYTES);
        large.map(|(name, result)| self.store(batch, open.attempt_number, name, result)).collect()
    }

    /// Stores the large results of a saga, and its definition if that is large. Answers whose results are stored, and
    /// whether the definition is.
    pub(super) fn of_saga(&mut self, batch: &mut Batch, saga: &SagaRecord) -> (Vec<PartName>, bool) {
        let mut names = Vec::new();
        for (step, progress) in saga.steps.iter().zip(&saga.progress) {
            match progress {
                Progress::Done { result, .. } if result.len() >= RESULT_APART_FROM_BYTES => {
                    let part = PartName::Step(step.name.clone());
                    names.push(self.store(batch, saga.attempt_number, &part, result));
                }
                Progress::Done { .. }
                | Progress::Pending
                | Progress::Refused(_)
                | Progress::Completed { .. }
                | Progress::Undone
                | Progress::Skipped => {}
            }
        }
        let bytes: usize = saga.steps.iter().map(|step| STEP_BYTES + step.work_bytes()).sum();
        let large = bytes >= DEFINITION_APART_FROM_BYTES;
        if large && !std::mem::replace(&mut self.of_attempts.entry(saga.attempt_number).or_default().definition, true) {
            let steps = saga.steps.iter().map(|step| v1::SagaStep::from(&**step)).collect();
            let definition = record::SagaDefinition { steps };
            batch.put_with(DEFINITION, saga.attempt_number.0.to_be_bytes(), |bytes| definition.encode_raw(bytes));
        }
        (names, large)
    }

    /// Stores a step of an open saga: once what joined, and how far it is whenever that has changed.
    pub(super) fn put_joined(&mut self, batch: &mut Batch, joined: &JoinedRecord, now: Timestamp) {
        self.begun.insert(joined.tx.clone(), joined.attempt_number);
        let stored = self.of_attempts.entry(joined.attempt_number).or_default();
        if joined.index.0 >= stored.joined {
            stored.joined = joined.index.0 + 1;
            let definition = codec::joined_step(joined, now);
            let key = joined_key(joined.attempt_number, joined.index, JoinedPart::Step);
            batch.put_with(JOINED, key, |bytes| definition.encode_raw(bytes));
        }
        let part = PartName::Step(joined.step.name.clone());
        let is_apart = match &joined.progress {
            Progress::Pending => return,
            Progress::Done { result, .. } | Progress::Completed { result, .. } => {
                let is_large = result.len() >= RESULT_APART_FROM_BYTES;
                if is_large {
                    self.store(batch, joined.attempt_number, &part, result);
                }
                is_large
            }
            Progress::Refused(_) | Progress::Undone | Progress::Skipped => false,
        };
        let key = joined_key(joined.attempt_number, joined.index, JoinedPart::Progress);
        let progress = codec::progress_to_wire(&joined.progress, is_apart);
        batch.put_with(JOINED, key, |bytes| progress.encode_raw(bytes));
    }

    /// Drops the steps that joined a transaction which this attempt, another than that of its beginning, decides.
    fn drop_begun(&self, batch: &mut Batch, tx: &TxId, attempt_number: AttemptNumber) {
        let begun = self.begun.get(tx).filter(|begun| **begun != attempt_number);
        let joined = begun.and_then(|begun| Some((*begun, self.of_attempts.get(begun)?.joined)));
        if let Some((begun, joined)) = joined {
            delete_joined(batch, begun, joined);
        }
    }

    /// Returns the parts of a transaction that has ended whose results are stored already, and drops what nobody needs any more.
    pub(super) fn of_ended(&mut self, batch: &mut Batch, ended: &EndedRecord) -> Vec<PartName> {
        self.drop_begun(batch, &ended.tx, ended.attempt_number);
        if let Some(begun) = self.begun.remove(&ended.tx).filter(|begun| *begun != ended.attempt_number) {
            self.of_attempts.remove(&begun);
        }
        let Some(Stored { results, definition, joined, unknown }) = self.of_attempts.remove(&ended.attempt_number)
        else {
            return Vec::new();
        };
        if unknown {
            batch.delete_range(
                RESULT,
                ended.attempt_number.0.to_be_bytes(),
                ended.attempt_number.next().0.to_be_bytes(),
            );
        }
        delete_joined(batch, ended.attempt_number, joined);
        if definition || unknown {
            batch.delete(DEFINITION, ended.attempt_number.0.to_be_bytes());
        }
        let is_kept = |name: &PartName| ended.results.iter().any(|(kept, _)| kept == name);
        let (kept, gone): (Vec<_>, Vec<_>) = results.into_iter().partition(is_kept);
        gone.iter().for_each(|name| batch.delete(RESULT, result_key(ended.attempt_number, name)));
        kept
    }

    fn store(&mut self, batch: &mut Batch, attempt_number: AttemptNumber, name: &PartName, result: &Bytes) -> PartName {
        if self.of_attempts.entry(attempt_number).or_default().results.insert(name.clone()) {
            batch.put(RESULT, result_key(attempt_number, name), result);
        }
        name.clone()
    }
}

fn delete_joined(batch: &mut Batch, attempt_number: AttemptNumber, joined: u16) {
    for step in 0..joined {
        for part in [JoinedPart::Step, JoinedPart::Progress] {
            batch.delete(JOINED, joined_key(attempt_number, StepIndex(step), part));
        }
    }
}

/// The two values of a step that has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinedPart {
    Step = 0,
    Progress = 1,
}

pub(super) fn joined_key(attempt_number: AttemptNumber, step: StepIndex, part: JoinedPart) -> Bytes {
    [&attempt_number.0.to_be_bytes()[..], &step.0.to_be_bytes(), &[part as u8]].concat().into()
}

/// Returns the values of all steps that have joined an open saga, in the order of their keys.
pub(super) fn joined(store: &dyn Store, attempt_number: AttemptNumber) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let (from, to) = (attempt_number.0.to_be_bytes(), attempt_number.next().0.to_be_bytes());
    store.scan(JOINED, &from, Some(&to), Direction::Forward, usize::MAX)
}

pub(super) fn result_key(attempt_number: AttemptNumber, name: &PartName) -> Bytes {
    [&attempt_number.0.to_be_bytes()[..], name.as_str().as_bytes()].concat().into()
}

pub(super) fn result(
    store: &dyn Store,
    attempt_number: AttemptNumber,
    name: &PartName,
) -> Result<Option<Bytes>, StoreError> {
    store.get(RESULT, &result_key(attempt_number, name))
}

pub(super) fn definition(store: &dyn Store, attempt_number: AttemptNumber) -> Result<Option<Bytes>, StoreError> {
    store.get(DEFINITION, &attempt_number.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Log, in_memory};
    use std::sync::Arc;
    use undoubt_coordinator_core::{
        Completions, EndedRecord, OpenKind, OpenedRecord, OpenedState, Record, Terms, Unfinished,
    };
    use undoubt_platform::Durability;
    use undoubt_vocabulary::{RetryPolicy, SagaStep};

    fn begun(tx: &TxId) -> Vec<Record> {
        let attempt_number = AttemptNumber(7);
        let opened = OpenedRecord {
            tx: tx.clone(),
            attempt_number,
            begun_at: Timestamp(1),
            digest: [1; 32],
            deadline: Timestamp(2),
            terms: Terms { completions: Completions::TwoPhase },
            check_back: None,
            parent: None,
            owner: None,
            state: OpenedState::Open,
        };
        let joined = |index: u16| {
            let step = SagaStep {
                name: format!("s{index}").parse().unwrap(),
                participant: format!("p{index}").parse().unwrap(),
                action: None,
                compensation: None,
                completion: Some(Bytes::from_static(b"work")),
                after: Vec::new(),
                uses: Vec::new(),
                pivot: false,
                retry: RetryPolicy::default(),
            };
            let (index, at_participant, progress) = (StepIndex(index), attempt_number, Progress::Pending);
            let (tx, step, digest) = (tx.clone(), Arc::new(step), [2; 32]);
            Record::Joined(JoinedRecord { tx, attempt_number, index, step, digest, at_participant, progress })
        };
        vec![Record::Opened(opened), joined(0), joined(1)]
    }

    /// What joined is dropped with the decision of the attempt that the close began, also where that came after a restart.
    #[tokio::test]
    async fn the_decision_of_another_attempt_leaves_nothing_of_what_has_joined() {
        let tx: TxId = "t".parse().unwrap();
        let attempt_number = AttemptNumber(9);
        let decided = Record::Open(OpenRecord {
            kind: OpenKind::Committed,
            tx: tx.clone(),
            attempt_number,
            begun_at: Timestamp(1),
            digest: [1; 32],
            participants: vec!["p0".parse().unwrap(), "p1".parse().unwrap()],
            read_only: Vec::new(),
            results: Vec::new(),
        });
        let ended = Record::Ended(EndedRecord::presumed(tx.clone(), attempt_number, Timestamp(1)));
        for (last, restarts) in [(&decided, false), (&decided, true), (&ended, false), (&ended, true)] {
            let store = in_memory();
            let log = Log::new(store.clone());
            let mut apart = Apart::default();
            let write = async |record: &Record, apart: &mut Apart| {
                let mut batch = Batch::default();
                Log::put(&mut batch, record, Timestamp(3), &[], apart);
                log.write(batch, Durability::Forced).await.unwrap();
            };
            for record in begun(&tx) {
                write(&record, &mut apart).await;
            }
            let found = log.unfinished_and_separate_parts().unwrap();
            assert!(matches!(&found.0[0].unfinished, Unfinished::Opened(_, steps) if steps.len() == 2), "{found:?}");
            if restarts {
                apart = found.1;
            }
            write(last, &mut apart).await;
            let left = store.scan(JOINED, &[], None, Direction::Forward, usize::MAX).unwrap();
            assert!(left.is_empty(), "{left:?}");
            let found = log.unfinished().unwrap();
            assert_eq!(found.len(), usize::from(last == &decided), "{found:?}");
            assert!(found.iter().all(|found| matches!(found.unfinished, Unfinished::TwoPhase(_))));
        }
    }
}
