//! The inputs of a participant.

use crate::branch_id::BranchId;
use crate::heuristic::Heuristic;
use crate::kept_result::Kept;
use crate::pin::{Pin, Proof};
use crate::release::Release;
use crate::standing::{Recall, Seen};
use crate::step::{StepId, StepState};
use bytes::Bytes;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Epoch, LowWaterMark, PublicKey, Starts, StepOutcome, Timestamp, ToParticipant, TxId,
    Vote, WriteNumber,
};

/// One stream from a coordinator. The driver draws the number, never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub u64);

/// An operator who waits for an answer. The driver draws the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operator(pub u64);

/// The state that survived in the resource, put in before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Recovered {
    Coordinator {
        id: CoordinatorId,
        epoch: Epoch,
        low_water_mark: LowWaterMark,
        pin: Option<Pin>,
    },
    /// A prepared branch, which holds its locks again.
    Prepared {
        branch: BranchId,
        begun_at: Timestamp,
        result: Bytes,
    },
    /// One whose abort has begun and owes something yet: it is aborted until it is done.
    Aborting {
        branch: BranchId,
        begun_at: Timestamp,
    },
    /// One that is alone and was interrupted amid its end, of which nobody was told: it is settled, and votes then.
    Settling {
        branch: BranchId,
        begun_at: Timestamp,
    },
    /// One that committed at its coordinator's word. `result` matters for one-phase branches only.
    Committed {
        branch: BranchId,
        result: Kept,
    },
    /// One that has committed, perhaps at somebody else's hand: all that is left is evidence of it.
    Evidence {
        branch: BranchId,
        result: Kept,
    },
    Heuristic {
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    },
    /// The barrier of a saga's step.
    Step {
        step: StepId,
        state: StepState,
    },
    /// The starts of the participant's log, as it tells them itself.
    Log {
        starts: Starts,
        /// The reason why it is believed to be an older copy.
        put_back: Option<String>,
    },
    /// The number that was seen of a coordinator's log.
    Seen {
        id: CoordinatorId,
        seen: Seen,
    },
    /// The coordinator that was known last under a name.
    Named {
        name: String,
        id: CoordinatorId,
    },
}

/// The first message of a coordinator in a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    pub coordinator: CoordinatorId,
    /// The keys that it has proven to have.
    pub proof: Proof,
    pub name: String,
    pub epoch: Epoch,
    /// The number of its last stable write, if it numbers them.
    pub number: Option<WriteNumber>,
    /// The highest number that it has seen of this participant's log.
    pub shown: Option<WriteNumber>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    Recovered(Recovered),
    /// A coordinator opens a session.
    Hello {
        session: Session,
        hello: Hello,
    },
    /// A coordinator asks what is known of it; [`crate::Participant::recalled`] is the answer.
    Recall(Recall),
    /// A coordinator's log has so many stable writes of its present start.
    Seen {
        session: Session,
        writes: u64,
    },
    /// An operator accepts the loss of a participant that was put back.
    AcceptLoss {
        at: Timestamp,
        who: String,
        reason: String,
        operator: Operator,
    },
    /// The accepted loss is durable, and another start has begun.
    LossAccepted {
        starts: Starts,
        operator: Operator,
    },
    /// The epoch that a hello brought is durable.
    EpochRecorded {
        session: Session,
    },
    SessionClosed {
        session: Session,
    },
    /// An operator pins a coordinator's key.
    Pin {
        coordinator: CoordinatorId,
        key: PublicKey,
        operator: Operator,
    },
    /// The key that an operator has pinned is durable.
    Pinned {
        coordinator: CoordinatorId,
        key: PublicKey,
        operator: Operator,
    },
    /// A batch's low-water mark, before its messages.
    LowWaterMark {
        session: Session,
        low_water_mark: LowWaterMark,
    },
    /// A message of the coordinator of a session.
    Message {
        session: Session,
        message: ToParticipant,
    },
    /// The resource manager has voted, durably where the vote needs it.
    Executed {
        branch: BranchId,
        vote: Vote,
    },
    /// The read-only branch has left, and held its locks until then or did not.
    Confirmed {
        branch: BranchId,
        held: bool,
    },
    /// The commit is durable.
    Committed {
        branch: BranchId,
    },
    Aborted {
        branch: BranchId,
    },
    /// The operator's decision is durable.
    Resolved {
        branch: BranchId,
    },
    /// The answer in place of the three before: somebody else had ended the branch the other way, in the resource
    /// itself. `at` is when that was found. Of a branch whose execution was unclear: it was committed by somebody else.
    Gone {
        branch: BranchId,
        at: Timestamp,
    },
    /// The resource has found this branch prepared, and has not prepared it since the start at anybody's word: a prepare landed
    /// late. It holds its locks. Told again until the resource is told to end it.
    Found {
        branch: BranchId,
        begun_at: Timestamp,
        result: Bytes,
    },
    /// The operator's decision is forgotten, durably.
    Forgotten {
        operator: Operator,
    },
    /// The action is in effect with its barrier, durably, or was refused.
    ActionRan {
        step: StepId,
        outcome: StepOutcome,
    },
    /// The result with which a one-phase branch committed, as it is stored.
    VoteRecalled {
        branch: BranchId,
        result: Bytes,
    },
    /// The result of an action that is in effect, as it is stored; for the attempt that came again.
    OutcomeRecalled {
        step: StepId,
        attempt: u32,
        result: Bytes,
    },
    /// The step is undone or completed with its barrier, durably, or that was refused.
    StepFinished {
        step: StepId,
        outcome: StepOutcome,
    },
    /// The empty compensation is durable.
    EmptyStored {
        step: StepId,
    },
    /// The saga has no semantic locks here any more, durably.
    SagaClosed {
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    },
    /// The saga's semantic locks are gone on an operator's word, durably.
    MarksReleased {
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    },
    /// The time has come to ask about what is in doubt.
    SweepDue,
    /// An operator decides alone.
    Resolve {
        tx: TxId,
        heuristic: Heuristic,
        operator: Operator,
    },
    /// An operator has seen to a heuristic outcome.
    Forget {
        tx: TxId,
        operator: Operator,
    },
    /// An operator releases the semantic locks of this coordinator's saga.
    ReleaseMarks {
        coordinator: CoordinatorId,
        tx: TxId,
        release: Release,
        operator: Operator,
    },
}
