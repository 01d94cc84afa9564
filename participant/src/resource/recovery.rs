//! The state that a resource finds when it starts.

use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_participant_core::branch_id::BranchId;
use undoubt_participant_core::heuristic::Heuristic;
use undoubt_participant_core::step::{StepId, StepState};
use undoubt_participant_core::{Kept, Loss, Pin};
use undoubt_vocabulary::{BranchOutcome, CoordinatorId, Epoch, LowWaterMark, Starts, Timestamp, WriteNumber};

/// The state that survived in a resource. Everything here is complete: of each call before the crash, either all is
/// told or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub coordinators: Vec<CoordinatorMarks>,
    /// The branches in doubt, locked again. Also those that somebody may have ended other than this participant, such
    /// as one whose work is in effect without a record that it was told to commit: what became of them shows when they
    /// are told to end.
    pub prepared: Vec<PreparedBranch>,
    /// Branches whose abort has begun and owes something yet: they are aborted again until it is done.
    pub aborting: Vec<PreparedBranch>,
    /// Branches that are alone and were interrupted amid their end, before anybody was told of it: each is
    /// [settled](super::Branches::settle), and votes then.
    pub settling: Vec<PreparedBranch>,
    /// The outcomes of branches whose attempts are not over.
    pub finished: Vec<FinishedBranch>,
    pub heuristics: Vec<HeuristicBranch>,
    /// Barriers of the steps of sagas whose attempts are not over.
    pub steps: Vec<RecoveredStep>,
    /// The log, of a resource that numbers its writes.
    pub log: Option<RecoveredLog>,
}

/// The epoch and the low-water mark that are stored of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorMarks {
    pub id: CoordinatorId,
    /// The highest epoch seen (R5).
    pub epoch: Epoch,
    /// The attempts that are over, as far as that was stored.
    pub low_water_mark: LowWaterMark,
    /// The key that was stored with an epoch.
    pub pin: Option<Pin>,
}

/// A branch that is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedBranch {
    pub branch: BranchId,
    /// The time when its transaction began.
    pub begun_at: Timestamp,
    /// The result it voted with; `None` where the resource does not keep it. A prepare that is repeated is then answered
    /// with an empty one.
    pub result: Option<Bytes>,
}

/// A branch that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedBranch {
    pub branch: BranchId,
    pub outcome: BranchOutcome,
    /// Matters for one that committed in one phase.
    pub result: Kept,
}

/// A branch that was ended by somebody other than its coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeuristicBranch {
    pub branch: BranchId,
    /// The time when its transaction began.
    pub begun_at: Timestamp,
    pub heuristic: Heuristic,
}

/// The barrier of a saga's step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredStep {
    pub step: StepId,
    pub state: StepState,
}

/// The starts of a log, as it tells them itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredLog {
    pub starts: Starts,
    /// The reason why it is believed to be an older copy.
    pub put_back: Option<String>,
    /// The values that were remembered of others, by their keys.
    pub remembered: BTreeMap<Bytes, Bytes>,
    /// The oldest first, with the last write that was left.
    pub losses: Vec<(Loss, WriteNumber)>,
}
