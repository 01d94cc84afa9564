//! Bugs of servers in how they use their store.

use super::planted::PlantedStore;
use super::shared_state::Shared;
use crate::plan::{Host, Mutant};
use bytes::Bytes;
use prost::Message as _;
use std::sync::Arc;
use undoubt_platform::{Batch, Direction, Durability, Family, Operation, Room, Store, StoreError, Written};
use undoubt_proto::record::{HttpBranch, OpenTransaction, StepBarrier, http_branch, step_barrier};

pub(super) struct MutantStore {
    store: Arc<dyn Store>,
    mutant: Mutant,
    of_coordinator: bool,
    shared: Arc<Shared>,
}

impl MutantStore {
    /// The store itself where there is no mutant.
    pub(super) fn over(shared: &Arc<Shared>, host: Host, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match shared.plan.mutant {
            Some(mutant) => {
                let (of_coordinator, shared) = (host.is_coordinator(), shared.clone());
                let store = PlantedStore::over(&shared, host, mutant, store);
                Arc::new(MutantStore { store, mutant, of_coordinator, shared })
            }
            None => store,
        }
    }

    fn hides(&self, family: Family) -> bool {
        match self.mutant {
            Mutant::OpenRecordsForgotten => self.of_coordinator && family.0 == "open",
            Mutant::OutcomesForgotten => self.of_coordinator && family.0 == "ended",
            Mutant::PreparedForgotten => !self.of_coordinator && family.0 == "branch",
            Mutant::UnforcedDecisions
            | Mutant::UnforcedVotes
            | Mutant::UnforcedOnePhase
            | Mutant::EpochReused
            | Mutant::CommitsAtPrepare
            | Mutant::AbortOnlyAcknowledged
            | Mutant::RefusalOverlooked
            | Mutant::ReadLocksFreedAtVote
            | Mutant::InquiriesIgnored
            | Mutant::CommitNotRepeated
            | Mutant::LowWaterMarkRunsAhead
            | Mutant::HeuristicUnreported
            | Mutant::BarriersForgotten
            | Mutant::CompensationsOnlyAnswered
            | Mutant::CompensationsNotRepeated
            | Mutant::UnforcedSagas
            | Mutant::PoisonOverlooked
            | Mutant::WritesOfAnySize
            | Mutant::BatchesOfAnySize
            | Mutant::ReadAnsweredOnce
            | Mutant::NumbersForgotten
            | Mutant::NumbersUnshown
            | Mutant::NumbersKept
            | Mutant::MarksIgnored
            | Mutant::SpeaksUnasked
            | Mutant::FolderSignIgnored
            | Mutant::PutBackServes
            | Mutant::RecallIgnored
            | Mutant::EpochTakenUnasked
            | Mutant::LossUnlisted
            | Mutant::UnclearCalledRefused
            | Mutant::ConfirmedFromMemory
            | Mutant::OtherHandIgnored
            | Mutant::PinForgotten
            | Mutant::FenceForgotten
            | Mutant::LeaseForgotten
            | Mutant::SuspectsLeft
            | Mutant::UnclearCalledUnavailable
            | Mutant::UnknownNameCommitted
            | Mutant::EarlierErrorsOverlooked
            | Mutant::EvidenceForgotten
            | Mutant::UndoneAnewOnlyAnswered
            | Mutant::ParentForgotten
            | Mutant::NestedCancelForgotten
            | Mutant::EndToldEarly
            | Mutant::AttemptForgotten
            | Mutant::TryForgotten
            | Mutant::CancelForgotten
            | Mutant::RefusedConfirmCommitted
            | Mutant::EventsWrittenApart
            | Mutant::PositionsAllottedAtPrepare
            | Mutant::UnstableEventsServed
            | Mutant::IncarnationReused
            | Mutant::AbortPublishes
            | Mutant::CommitPublishesAgain
            | Mutant::PositionStoredFirst
            | Mutant::PositionStoredLater
            | Mutant::RepetitionsApplied
            | Mutant::PoisonSkipped
            | Mutant::ParkedForgotten
            | Mutant::BarrierOfUndoMissing
            | Mutant::IncarnationNotCompared => false,
        }
    }

    fn forgets_attempts(&self) -> bool {
        matches!(self.mutant, Mutant::AttemptForgotten | Mutant::TryForgotten)
    }

    /// Returns true if the record of a call that is about to be made is not stored.
    fn forgets(&self, operation: &Operation<'_>) -> bool {
        let Operation::Put { family, value, .. } = operation else { return false };
        let is_attempt =
            || StepBarrier::decode(*value).is_ok_and(|barrier| barrier.state() == step_barrier::State::Attempted);
        let is_try = || HttpBranch::decode(*value).is_ok_and(|branch| branch.stage() == http_branch::Stage::Trying);
        match family.0 {
            "step" => self.mutant == Mutant::AttemptForgotten && is_attempt(),
            "branch" => self.mutant == Mutant::TryForgotten && is_try(),
            _ => false,
        }
    }

    fn durability(&self, batch: &Batch, wanted: Durability) -> Durability {
        let puts_in = |name: &str| {
            batch.iter().any(|operation| matches!(operation, Operation::Put { family, .. } if family.0 == name))
        };
        let touches = |name: &str| batch.iter().any(|operation| operation.family().0 == name);
        let unforced = match self.mutant {
            Mutant::UnforcedDecisions => self.of_coordinator && (touches("open") || touches("ended")),
            Mutant::UnforcedVotes => !self.of_coordinator && puts_in("branch"),
            Mutant::UnforcedOnePhase => !self.of_coordinator && puts_in("finished") && !touches("branch"),
            Mutant::UnforcedSagas => self.of_coordinator && touches_saga(batch),
            Mutant::OpenRecordsForgotten
            | Mutant::OutcomesForgotten
            | Mutant::EpochReused
            | Mutant::PreparedForgotten
            | Mutant::CommitsAtPrepare
            | Mutant::AbortOnlyAcknowledged
            | Mutant::RefusalOverlooked
            | Mutant::ReadLocksFreedAtVote
            | Mutant::InquiriesIgnored
            | Mutant::CommitNotRepeated
            | Mutant::LowWaterMarkRunsAhead
            | Mutant::HeuristicUnreported
            | Mutant::BarriersForgotten
            | Mutant::CompensationsOnlyAnswered
            | Mutant::CompensationsNotRepeated
            | Mutant::PoisonOverlooked
            | Mutant::WritesOfAnySize
            | Mutant::BatchesOfAnySize
            | Mutant::ReadAnsweredOnce
            | Mutant::NumbersForgotten
            | Mutant::NumbersUnshown
            | Mutant::NumbersKept
            | Mutant::MarksIgnored
            | Mutant::SpeaksUnasked
            | Mutant::FolderSignIgnored
            | Mutant::PutBackServes
            | Mutant::RecallIgnored
            | Mutant::EpochTakenUnasked
            | Mutant::LossUnlisted
            | Mutant::UnclearCalledRefused
            | Mutant::ConfirmedFromMemory
            | Mutant::OtherHandIgnored
            | Mutant::PinForgotten
            | Mutant::FenceForgotten
            | Mutant::LeaseForgotten
            | Mutant::SuspectsLeft
            | Mutant::UnclearCalledUnavailable
            | Mutant::UnknownNameCommitted
            | Mutant::EarlierErrorsOverlooked
            | Mutant::EvidenceForgotten
            | Mutant::UndoneAnewOnlyAnswered
            | Mutant::ParentForgotten
            | Mutant::NestedCancelForgotten
            | Mutant::EndToldEarly
            | Mutant::AttemptForgotten
            | Mutant::TryForgotten
            | Mutant::CancelForgotten
            | Mutant::RefusedConfirmCommitted
            | Mutant::EventsWrittenApart
            | Mutant::PositionsAllottedAtPrepare
            | Mutant::UnstableEventsServed
            | Mutant::IncarnationReused
            | Mutant::AbortPublishes
            | Mutant::CommitPublishesAgain
            | Mutant::PositionStoredFirst
            | Mutant::PositionStoredLater
            | Mutant::RepetitionsApplied
            | Mutant::PoisonSkipped
            | Mutant::ParkedForgotten
            | Mutant::BarrierOfUndoMissing
            | Mutant::IncarnationNotCompared => false,
        };
        if unforced { Durability::Lazy } else { wanted }
    }
}

impl Store for MutantStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let reuses_epoch = self.mutant == Mutant::EpochReused && self.of_coordinator;
        if self.hides(family) || (reuses_epoch && family.0 == "meta" && key == b"start") {
            return Ok(None);
        }
        self.store.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if self.hides(family) {
            return Ok(Vec::new());
        }
        let mut found = self.store.scan(family, from, to, direction, limit)?;
        if self.mutant == Mutant::PoisonOverlooked && self.of_coordinator && family.0 == "open" {
            let poisoned = self.shared.finals().poisoned.clone();
            found.retain(|(key, _)| !poisoned.contains(String::from_utf8_lossy(key).as_ref()));
        }
        if self.mutant == Mutant::ParentForgotten && self.of_coordinator && family.0 == "open" {
            found.iter_mut().for_each(|(_, value)| *value = without_parent(value));
        }
        Ok(found)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Written {
        let durability = self.durability(&batch, durability);
        let batch = if self.mutant == Mutant::LossUnlisted && lists_damage(&batch) { Batch::default() } else { batch };
        let batch = if self.forgets_attempts() { without(&batch, |put| self.forgets(put)) } else { batch };
        self.store.write(batch, durability)
    }

    fn max_batch_bytes(&self) -> usize {
        if self.mutant == Mutant::WritesOfAnySize { usize::MAX } else { self.store.max_batch_bytes() }
    }

    fn room(&self) -> Result<Room, StoreError> {
        self.store.room()
    }
}

/// Returns a batch without some of its operations.
pub(super) fn without(batch: &Batch, is_left_out: impl Fn(&Operation<'_>) -> bool) -> Batch {
    let mut rest = Batch::default();
    batch.iter().filter(|operation| !is_left_out(operation)).for_each(|operation| rest.add(operation));
    rest
}

/// Returns the record of what is open as that of one that is nested in nobody.
fn without_parent(value: &Bytes) -> Bytes {
    let Ok(mut open) = OpenTransaction::decode(value.clone()) else { return value.clone() };
    let Some(opened) = &mut open.opened else { return value.clone() };
    opened.parent = Bytes::new();
    open.encode_to_vec().into()
}

/// The id of a saga begins with its letter.
fn touches_saga(batch: &Batch) -> bool {
    batch.iter().any(|operation| match operation {
        Operation::Put { family, key, .. } => ["open", "ended"].contains(&family.0) && key.starts_with(b"s"),
        Operation::Delete { .. } | Operation::DeleteRange { .. } => false,
    })
}

/// Returns true if a batch notes damage of what has ended already, and nothing else.
fn lists_damage(batch: &Batch) -> bool {
    let touches = |name: &str| batch.iter().any(|operation| operation.family().0 == name);
    touches("damaged") && !touches("open")
}
