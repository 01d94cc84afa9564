//! The effects of a participant.

use crate::branch_id::BranchId;
use crate::heuristic::Heuristic;
use crate::input::{Operator, Session};
use crate::pin::{Pin, Unproven};
use crate::release::Release;
use crate::standing::{Loss, Seen};
use crate::step::StepId;
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, Epoch, LowWaterMark, Prepare, RunStep, Timestamp, ToCoordinator, TxId,
    WriteNumber,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make it durable, with the key in the same write, then [`crate::Input::EpochRecorded`].
    RecordEpoch {
        session: Session,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    },
    /// Make the key durable, in place of the one that is pinned, then [`crate::Input::Pinned`].
    RecordPin {
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Pin,
        operator: Operator,
    },
    /// The answer to a hello, with the highest number that was seen of the coordinator's log.
    Welcome {
        session: Session,
        seen: Option<WriteNumber>,
    },
    /// Remember what was seen of a coordinator's log: at once, and durably with the next forced write. Not answered.
    RememberSeen {
        coordinator: CoordinatorId,
        seen: Seen,
    },
    /// Remember whose name this is, in the same way.
    RememberName {
        name: String,
        coordinator: CoordinatorId,
    },
    /// Store why this log is believed to be an older copy. Not answered.
    StorePutBack {
        why: String,
    },
    /// Store the loss and begin another start; answered with [`crate::Input::LossAccepted`].
    AcceptLoss {
        loss: Loss,
        operator: Operator,
    },
    /// End this session, and say why.
    Close {
        session: Session,
        why: SessionRefused,
    },
    Send {
        session: Session,
        message: ToCoordinator,
    },
    /// Do the work and vote; answered with [`crate::Input::Executed`].
    Execute {
        branch: BranchId,
        prepare: Prepare,
    },
    /// Find out what an execution in one phase came to that a crash has interrupted, and end it where it had not ended; answered with
    /// [`crate::Input::Executed`].
    Settle {
        branch: BranchId,
    },
    /// Let an execution under way end soon; it is answered all the same.
    Cancel {
        branch: BranchId,
    },
    /// Answered with [`crate::Input::Confirmed`].
    Confirm {
        branch: BranchId,
    },
    /// Answered with [`crate::Input::Committed`] or [`crate::Input::Gone`].
    Commit {
        branch: BranchId,
    },
    /// Answered with [`crate::Input::Aborted`] or [`crate::Input::Gone`].
    Abort {
        branch: BranchId,
    },
    /// Undo a branch that voted read-only, or was found prepared though it is over. Not answered.
    Release {
        branch: BranchId,
    },
    /// Answered with [`crate::Input::Resolved`] or [`crate::Input::Gone`].
    Resolve {
        branch: BranchId,
        heuristic: Heuristic,
    },
    /// Store the heuristic outcome, in place of what is stored of the branch: the decision is known now, or it was somebody else
    /// who ended it. Not answered.
    StoreHeuristic {
        branch: BranchId,
        begun_at: Timestamp,
        heuristic: Heuristic,
    },
    /// Answered with [`crate::Input::Forgotten`].
    ForgetHeuristic {
        branch: BranchId,
        operator: Operator,
    },
    /// Do the action and store its barrier; answered with [`crate::Input::ActionRan`].
    RunAction {
        step: StepId,
        run: RunStep,
    },
    /// Let an action under way end soon; it is answered all the same.
    CancelAction {
        step: StepId,
    },
    /// Undo the action or complete it, as the direction says, and store that in its barrier; answered with
    /// [`crate::Input::StepFinished`]. The action's result is the last of the inputs. `recall`: it is with the resource, and has to
    /// be put there.
    FinishStep {
        step: StepId,
        run: RunStep,
        recall: bool,
    },
    /// Tell what a one-phase branch committed with; answered with [`crate::Input::VoteRecalled`] if it is still stored.
    RecallVote {
        branch: BranchId,
    },
    /// Tell what an action came to; answered with [`crate::Input::OutcomeRecalled`] if it is still stored.
    RecallOutcome {
        step: StepId,
        attempt: u32,
    },
    /// Store that the compensation of something that never ran came; answered with [`crate::Input::EmptyStored`].
    StoreEmpty {
        step: StepId,
    },
    /// Drop the saga's semantic locks; answered with [`crate::Input::SagaClosed`].
    CloseSaga {
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
    },
    /// Drop the saga's semantic locks on an operator's word; answered with [`crate::Input::MarksReleased`].
    ReleaseMarks {
        coordinator: CoordinatorId,
        attempt_number: AttemptNumber,
        tx: TxId,
        release: Release,
    },
    /// Drop what was kept only to recognise those of this coordinator's attempts that are over. Not answered.
    Collect {
        coordinator: CoordinatorId,
        low_water_mark: LowWaterMark,
    },
    Answer {
        operator: Operator,
        answer: Answer,
    },
}

/// The reason why a session ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SessionRefused {
    #[error(
        "epoch {offered} is lower than {known}, which this participant has seen of the same coordinator: a newer incarnation of it is running, stop the older one"
    )]
    LowerEpoch { offered: u32, known: u32 },
    #[error("a newer session of the same coordinator has replaced this one")]
    Replaced,
    #[error(
        "this participant was put back from an older copy: {why}. It serves nobody until an operator has accepted what is lost: undoubt participants accept NAME --who WHO --reason WHY. If a newer folder exists, stop this one and use that instead"
    )]
    PutBack { why: String },
    #[error(
        "epoch {epoch} of this coordinator was taken by another process: two copies of its folder were started. Stop one of them, and use the newest folder"
    )]
    OtherStart { epoch: u32 },
    #[error(transparent)]
    Unproven(#[from] Unproven),
}

/// The answer to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Resolved(BranchOutcome),
    Forgotten,
    /// The semantic locks are gone.
    Released,
    /// The key is pinned.
    Pinned,
    /// The loss of which this was the sign is accepted.
    LossAccepted {
        put_back: String,
    },
    Rejected(Rejection),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    #[error("this participant has no branch of that transaction; list its branches to see what it has")]
    NoSuchBranch,
    #[error("the branch is not in doubt but {state}; only a branch in doubt can be resolved")]
    NotInDoubt { state: &'static str },
    #[error("the branch is {state}; only a heuristic outcome can be forgotten")]
    NotHeuristic { state: &'static str },
    #[error("a branch that only reads has nothing to commit; abort it, which frees its locks")]
    OnlyReads,
    #[error(
        "somebody else had ended the branch in the resource itself: it is {outcome}, and reported so; find out who, and forget it then"
    )]
    EndedByOthers { outcome: BranchOutcome },
    #[error("this participant has no semantic locks of that coordinator's saga; list them to see what it has")]
    NoSuchMarks,
    #[error("this participant was not put back, as far as anybody has shown; there is no loss to accept")]
    NotPutBack,
    #[error("a step of that saga is being worked on here; try again once it is done, `undoubt branches` shows it")]
    StepUnderWay,
}
