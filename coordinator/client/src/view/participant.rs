//! The views that participants give of themselves, and of what they hold.

use super::{Loss, all, coordinator_id, name, optional_outcome, tx, unless_empty};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use undoubt_proto::convert::{Malformed, branch_outcome};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, Epoch, ParticipantName, PublicKey, Timestamp, TxId,
};

/// The state of a participant, as it tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParticipantState {
    /// Its configured name.
    pub name: ParticipantName,
    /// kv, postgresql ...
    pub resource: String,
    /// Branches that are not finished.
    pub branches_open: u64,
    /// Branches that have voted and do not know the decision.
    pub branches_in_doubt: u64,
    /// The coordinators that it has heard of.
    pub coordinators: Vec<KnownCoordinator>,
    /// `None` while all is well.
    pub refusing_work_because: Option<String>,
    /// The reason why it serves nobody until its loss is accepted: it was put back from an older copy.
    pub put_back: Option<String>,
    /// The oldest first.
    pub losses: Vec<Loss>,
    /// Things that an operator should look after, though it works.
    pub warnings: Vec<String>,
    /// The counts of its resource, by names that tell the unit: `locked_keys`, `replication_lag_ms`.
    pub numbers: BTreeMap<String, u64>,
}

/// A coordinator, as a participant sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KnownCoordinator {
    /// The id of its log.
    pub id: CoordinatorId,
    /// The highest epoch that it has spoken with.
    pub epoch: Epoch,
    /// Attempts below this number are over, save as many as are still open.
    pub low_water_mark: AttemptNumber,
    /// Attempts below the low-water mark that are still open: those of open sagas that have waited long.
    pub still_open: u32,
    /// It has a session with the participant.
    pub connected: bool,
    /// The public key by which it is known; `None`: it is known without one.
    pub key: Option<PublicKey>,
    /// An operator has vouched for the key; else it was pinned at first contact.
    pub vouched: bool,
}

/// A step of a saga that a participant works on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeldStep {
    /// The saga's id.
    pub tx: TxId,
    /// The number of the saga's attempt.
    pub attempt_number: AttemptNumber,
    /// The saga's coordinator.
    pub coordinator: CoordinatorId,
    /// Its place in the saga, from 0.
    pub step: u16,
    /// acting, compensating ...
    pub state: String,
    /// The time at which the saga began, by its coordinator's clock.
    pub begun_at: Timestamp,
}

/// A semantic lock: what is marked, and by which step of which saga.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mark {
    /// The key that is marked.
    pub key: Bytes,
    /// The saga's id.
    pub tx: TxId,
    /// The number of the saga's attempt.
    pub attempt_number: AttemptNumber,
    /// The saga's coordinator.
    pub coordinator: CoordinatorId,
    /// Its place in the saga, from 0.
    pub step: u16,
    /// The time at which the saga began, by its coordinator's clock. `None`: an older version set the mark.
    pub begun_at: Option<Timestamp>,
}

/// A branch that a participant holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeldBranch {
    /// The transaction's id.
    pub tx: TxId,
    /// The number of the transaction's attempt.
    pub attempt_number: AttemptNumber,
    /// The transaction's coordinator.
    pub coordinator: CoordinatorId,
    /// preparing, prepared, read-only, committing, aborting, heuristically-committed, heuristically-aborted
    pub state: String,
    /// The time at which the transaction began, by its coordinator's clock.
    pub begun_at: Timestamp,
    /// An operator's decision, if one has decided alone.
    pub heuristic: Option<Heuristic>,
}

/// An operator decided alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Heuristic {
    /// The decision of the operator.
    pub outcome: BranchOutcome,
    /// The time of that, by the participant's clock.
    pub at: Timestamp,
    /// The operator, as given.
    pub who: String,
    /// The operator's reason, as given.
    pub reason: String,
    /// The coordinator's decision: committed or aborted. `None` while it is not known.
    pub decision: Option<BranchOutcome>,
}

impl Heuristic {
    /// Returns true if the operator decided otherwise than the coordinator; `None` while that is not known.
    pub fn is_damage(&self) -> Option<bool> {
        let committed = |outcome| matches!(outcome, BranchOutcome::Committed | BranchOutcome::HeuristicallyCommitted);
        self.decision.map(|decision| committed(decision) != committed(self.outcome))
    }
}

impl HeldBranch {
    /// Returns the time since its transaction began.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.begun_at)
    }
}

impl TryFrom<v1::DescribeParticipantResponse> for ParticipantState {
    type Error = Malformed;

    fn try_from(wire: v1::DescribeParticipantResponse) -> Result<Self, Malformed> {
        Ok(ParticipantState {
            name: name("name", &wire.name)?,
            resource: wire.resource,
            branches_open: wire.branches_open,
            branches_in_doubt: wire.branches_in_doubt,
            coordinators: all(wire.coordinators)?,
            refusing_work_because: unless_empty(wire.refusing_work_because),
            put_back: unless_empty(wire.put_back),
            losses: wire.losses.into_iter().map(Into::into).collect(),
            warnings: wire.warnings,
            numbers: wire.numbers.into_iter().map(|number| (number.name, number.value)).collect(),
        })
    }
}

impl TryFrom<v1::KnownCoordinator> for KnownCoordinator {
    type Error = Malformed;

    fn try_from(wire: v1::KnownCoordinator) -> Result<Self, Malformed> {
        let (epoch, low_water_mark) = (Epoch(wire.epoch), AttemptNumber(wire.low_water_mark));
        Ok(KnownCoordinator {
            id: coordinator_id(&wire.coordinator_id)?,
            epoch,
            low_water_mark,
            still_open: wire.still_open,
            connected: wire.connected,
            key: wire.public_key[..].try_into().ok().map(PublicKey),
            vouched: wire.vouched,
        })
    }
}

impl TryFrom<v1::StepUnderWay> for HeldStep {
    type Error = Malformed;

    fn try_from(wire: v1::StepUnderWay) -> Result<Self, Malformed> {
        Ok(HeldStep {
            tx: tx(wire.tx)?,
            attempt_number: AttemptNumber(wire.attempt_number),
            coordinator: coordinator_id(&wire.coordinator_id)?,
            step: step("steps.step", wire.step)?,
            state: wire.state,
            begun_at: Timestamp(wire.begun_at_us),
        })
    }
}

impl TryFrom<v1::Mark> for Mark {
    type Error = Malformed;

    fn try_from(wire: v1::Mark) -> Result<Self, Malformed> {
        Ok(Mark {
            key: wire.key,
            tx: tx(wire.tx)?,
            attempt_number: AttemptNumber(wire.attempt_number),
            coordinator: coordinator_id(&wire.coordinator_id)?,
            step: step("marks.step", wire.step)?,
            begun_at: (wire.begun_at_us != 0).then_some(Timestamp(wire.begun_at_us)),
        })
    }
}

fn step(field: &'static str, number: u32) -> Result<u16, Malformed> {
    u16::try_from(number).map_err(|_| Malformed::UnknownValue { field, value: number.cast_signed() })
}

impl TryFrom<v1::Branch> for HeldBranch {
    type Error = Malformed;

    fn try_from(wire: v1::Branch) -> Result<Self, Malformed> {
        Ok(HeldBranch {
            tx: tx(wire.tx)?,
            attempt_number: AttemptNumber(wire.attempt_number),
            coordinator: coordinator_id(&wire.coordinator_id)?,
            state: wire.state,
            begun_at: Timestamp(wire.begun_at_us),
            heuristic: wire.heuristic.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::Heuristic> for Heuristic {
    type Error = Malformed;

    fn try_from(wire: v1::Heuristic) -> Result<Self, Malformed> {
        Ok(Heuristic {
            outcome: branch_outcome("heuristic.outcome", wire.outcome)?,
            at: Timestamp(wire.at_us),
            who: wire.who,
            reason: wire.reason,
            decision: optional_outcome("heuristic.decision", wire.decision)?,
        })
    }
}
