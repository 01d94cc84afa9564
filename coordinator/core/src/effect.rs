//! The effects of a coordinator.

use crate::input::{Client, Request, StepResolution};
use crate::record::Record;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use undoubt_vocabulary::{
    Ability, AbortReason, AttemptNumber, BranchOutcome, Direction, EventKind, InvalidSaga, Outcome, PartName,
    PartState, ParticipantName, Refusal, RefusalCode, StepIndex, StepName, StepOutcome, StuckStep, ToParticipant,
    TransactionPhase, TxId, Vote,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Append {
        record: Record,
        /// True if somebody waits for it; see the crate's contract.
        forced: bool,
    },
    Send {
        to: ParticipantName,
        message: ToParticipant,
    },
    Answer {
        client: Client,
        tx: TxId,
        answer: Answer,
    },
    Arm {
        tx: TxId,
        attempt_number: AttemptNumber,
        timer: Timer,
    },
    /// Read the ended record of the request's transaction, and come back with [`crate::Input::LookedUp`] before
    /// anything else is put in.
    LookUp(Request),
    /// An event for the transaction's history.
    Note {
        tx: TxId,
        note: Note,
    },
    /// The transaction is over and no longer held here.
    Retired {
        tx: TxId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The outcome, which is on stable storage.
    Outcome {
        outcome: Outcome,
        results: Vec<(PartName, Bytes)>,
    },
    /// Under way, not decided.
    Pending,
    /// Under way, and it goes on only once an operator has ended this step.
    Stuck(StuckStep),
    /// A nested saga is closed and its steps are completed. How it ends is decided by the end of its parent.
    Closed,
    /// The standing of a step that joined an open saga.
    Step(StepAnswer),
    Rejected(Rejection),
}

/// The standing of a step that joined an open saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepAnswer {
    /// It is on record that it joined: its caller may do the action.
    Joined,
    /// It is on record that it joined, and its action is under way.
    Running,
    /// The action is in effect.
    Done { result: Bytes },
    /// The action was refused and left nothing behind. The saga stays open.
    Refused(Refusal),
    /// The action was asked for as often as its policy has it, and may be in effect. Asked for again it is tried again.
    Unanswered { attempts: u32 },
    /// An operator went on without it.
    Skipped,
}

/// The reason why a request was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    #[error("the coordinator is still reading its log; try again in a moment")]
    Recovering,
    #[error(
        "an operator has paused the recovery of this transaction; resume it with `undoubt recovery resume`, then ask again"
    )]
    RecoveryPaused,
    #[error("the coordinator is draining and takes no new transactions; submit to another, or after its restart")]
    Draining,
    #[error(
        "{max_open_transactions} transactions are open, which is the most this coordinator holds (max_open_transactions); try again later, or raise it"
    )]
    TooManyOpen { max_open_transactions: usize },
    #[error(
        "the work of all open transactions has reached max_open_bytes = {max_open_bytes}; try again later, or raise it"
    )]
    TooMuchOpen { max_open_bytes: usize },
    #[error(
        "what branches of open transactions have handed back fills three quarters of max_gathered_bytes = {max_gathered_bytes}; try again later, or raise it"
    )]
    TooMuchGathered { max_gathered_bytes: usize },
    #[error(
        "{max_waiters} clients wait for this transaction already, the most there may be; ask for its status instead"
    )]
    TooManyWaiters { max_waiters: usize },
    #[error("this id was submitted before with other content; use a new id for a new transaction")]
    OtherContent,
    #[error("a transaction needs at least one branch; name the participants and their work")]
    NoBranches,
    #[error("{given} branches are more than the {max} a transaction may have; split it")]
    TooManyBranches { given: usize, max: usize },
    #[error("participant {participant} has two branches; put all of its work into one")]
    TwoBranches { participant: ParticipantName },
    #[error("the work of all branches has {given} bytes, more than the {max} allowed; make it smaller")]
    TooLarge { given: usize, max: usize },
    #[error("the deadline had passed when the transaction arrived; nothing was done; give it more time")]
    DeadlinePassed,
    #[error(
        "there is no trace of a transaction with this id: it was never committed, or it was collected after its retention"
    )]
    NotFound,
    #[error(
        "the transaction is not decided yet, so nothing can be forgotten; cancel it first, or wait for its deadline"
    )]
    NotDecided,
    #[error("it is too late to cancel: the transaction is being committed")]
    TooLate,
    #[error(transparent)]
    InvalidSaga(#[from] InvalidSaga),
    #[error(
        "participant {participant} lacks the ability {ability}, which this transaction needs; update it, or leave it out"
    )]
    Lacks { participant: ParticipantName, ability: Ability },
    #[error("it can be carried out neither way: {why}")]
    NeitherWay { why: String },
    #[error("the transaction is no saga, so it has no steps; a branch is resolved at its participant")]
    NotASaga,
    #[error("the saga has no step {step}; its status lists them")]
    NoSuchStep { step: StepName },
    #[error(
        "the record of this transaction cannot be carried out ({cause}), so it is held, and nobody knows how it ended; see to \
         its branches, then end it with `undoubt forget`"
    )]
    Unusable { cause: String },
    #[error(
        "step {step} is not stuck but {state}, so there is nothing to try again; `skip` and `done` end it all the same"
    )]
    NotStuck { step: StepName, state: PartState },
    #[error("step {step} is {state}, so there is nothing left to resolve")]
    StepSettled { step: StepName, state: &'static str },
    #[error("the transaction has ended, and nothing of it is damaged, so there is nothing to forget")]
    NothingToForget,
    #[error("the transaction is {phase}, so no step can join it any more; ask for its outcome")]
    NotOpen { phase: TransactionPhase },
    #[error("the transaction was submitted whole, and was not begun: it takes no steps, and ends by itself")]
    NotBegun,
    #[error("the beginning of the transaction is being recorded; try again in a moment")]
    Beginning,
    #[error("another step joined as {step} with other content; give this one a name of its own")]
    OtherStep { step: StepName },
    #[error("{max} steps have joined, the most that an open saga may have; close it, and go on in another")]
    TooManySteps { max: usize },
    #[error(
        "{max_begun_transactions} open sagas wait for their clients, the most this coordinator holds (max_begun_transactions); end some, or raise it"
    )]
    TooManyBegun { max_begun_transactions: usize },
    #[error(
        "step {step} is {state}, so nobody knows yet what is to be completed; run it again until it is answered, or cancel the transaction"
    )]
    StepUnsettled { step: StepName, state: PartState },
    #[error(
        "no saga can be nested in {parent}: {why}; begin it without a parent, or with one that is open at this coordinator"
    )]
    NoParent { parent: TxId, why: &'static str },
    #[error("its parent {parent} is being closed or cancelled, and it with that, so no step can join it any more")]
    ParentEnding { parent: TxId },
    #[error(
        "nested saga {nested} has a step of which nobody knows yet what became of it, so it cannot be closed; run the step again until it is answered, or cancel that saga"
    )]
    NestedUnsettled { nested: TxId },
    #[error("a heuristic outcome of one more branch is being recorded at this moment; look at it, and try again")]
    BeingNoted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// The transaction's deadline.
    Deadline { after: Duration },
    /// Repeat what is not acknowledged; the driver makes the pause from the number of attempts so far: exponential,
    /// jittered, capped (R6).
    Retry { attempt: u32 },
    /// A step's attempt that is not answered by then counts as failed.
    Attempt { step: StepIndex, direction: Direction, attempt: u32, after: Duration },
    /// Try a step again; the driver makes the pause from the number of attempts so far, from 1: exponential from
    /// `first_pause`, capped by `max_pause`, jittered over its upper half.
    StepRetry { step: StepIndex, direction: Direction, attempt: u32, first_pause: Duration, max_pause: Duration },
}

/// One line of a transaction's history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    Begun {
        branches: usize,
    },
    SagaBegun {
        steps: usize,
    },
    /// An open saga has begun.
    Opened,
    /// It has begun as a part of this open saga.
    Nested {
        parent: TxId,
    },
    /// A nested saga is closed, until its parent ends.
    Kept,
    /// A step joined an open saga.
    Joined {
        at: ParticipantName,
        step: StepName,
    },
    /// An open saga was asked to be closed, which nothing stood in the way of.
    CloseAsked,
    /// The way that auto goes, and the reason.
    Chosen {
        saga: bool,
        why: String,
    },
    Recovered {
        stage: &'static str,
    },
    Sent {
        to: ParticipantName,
        message: &'static str,
    },
    Voted {
        from: ParticipantName,
        vote: &'static str,
        refusal: Option<Refusal>,
    },
    Confirmed {
        from: ParticipantName,
        held: bool,
    },
    Decided {
        outcome: Outcome,
    },
    Logged {
        stage: &'static str,
    },
    Finished {
        from: ParticipantName,
        outcome: BranchOutcome,
    },
    Inquired {
        from: ParticipantName,
    },
    /// A participant told of an earlier attempt under this id, which nothing here was left of: it was aborted.
    Earlier {
        from: ParticipantName,
        attempt_number: AttemptNumber,
        message: &'static str,
    },
    DeadlinePassed,
    Retried {
        attempt: u32,
    },
    Forgotten,
    /// An attempt of a step was sent.
    Run {
        to: ParticipantName,
        step: StepName,
        direction: Direction,
        attempt: u32,
    },
    /// A step answered; `outcome` says with what.
    Ran {
        from: ParticipantName,
        step: StepName,
        direction: Direction,
        outcome: &'static str,
        refusal: Option<Refusal>,
    },
    Unanswered {
        by: ParticipantName,
        step: StepName,
        direction: Direction,
        attempt: u32,
    },
    /// A saga compensates from here on.
    Compensating {
        reason: AbortReason,
    },
    /// The step is stuck: only an operator can go on with it.
    Stuck(StuckStep),
    /// There is no way but on, and as many attempts as its policy has were refused for a while or not answered. It is tried
    /// on for ever.
    HeldUp {
        by: ParticipantName,
        step: StepName,
        direction: Direction,
        /// `None`: the last attempt was not answered.
        refusal: Option<Refusal>,
    },
    Resolved {
        step: StepName,
        resolution: StepResolution,
    },
    /// A participant has no semantic lock of the saga left.
    Closed {
        from: ParticipantName,
    },
    /// Its record cannot be carried out, or could not be written.
    Unusable {
        cause: String,
    },
    /// A result could not be kept, and there is no way but on.
    LeftOut {
        from: ParticipantName,
        step: Option<StepName>,
        refusal: Refusal,
    },
}

impl Note {
    pub fn kind(&self) -> EventKind {
        match self {
            Note::Begun { .. } | Note::SagaBegun { .. } | Note::Opened | Note::Nested { .. } => EventKind::Begun,
            Note::Kept => EventKind::Kept,
            Note::Joined { .. } => EventKind::Joined,
            Note::CloseAsked => EventKind::CloseAsked,
            Note::Ran { direction: Direction::Completing, .. } => EventKind::Completed,
            Note::Chosen { .. } => EventKind::Chosen,
            Note::Recovered { .. } => EventKind::Recovered,
            Note::Sent { .. } => EventKind::Sent,
            Note::Voted { .. } => EventKind::Voted,
            Note::Confirmed { .. } => EventKind::Confirmed,
            Note::Decided { .. } => EventKind::Decided,
            Note::Logged { .. } => EventKind::Logged,
            Note::Finished { .. } => EventKind::Finished,
            Note::Inquired { .. } => EventKind::Inquired,
            Note::Earlier { .. } => EventKind::EarlierAttempt,
            Note::DeadlinePassed => EventKind::DeadlinePassed,
            Note::Retried { .. } => EventKind::Retried,
            Note::Forgotten => EventKind::Forgotten,
            Note::Run { .. } => EventKind::Sent,
            Note::Ran { direction: Direction::Forward, .. } => EventKind::Acted,
            Note::Ran { direction: Direction::Compensating, .. } => EventKind::Compensated,
            Note::Unanswered { .. } => EventKind::Unanswered,
            Note::Compensating { .. } => EventKind::Compensating,
            Note::Stuck(_) => EventKind::Stuck,
            Note::HeldUp { .. } => EventKind::HeldUp,
            Note::Resolved { .. } => EventKind::Resolved,
            Note::Closed { .. } => EventKind::Closed,
            Note::LeftOut { .. } => EventKind::LeftOut,
            Note::Unusable { .. } => EventKind::Unusable,
        }
    }

    /// Returns the rest of it, without event and participant. Of what happens often it is a fixed text.
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Note::Begun { branches: 2 } => "2 branches".into(),
            Note::Begun { branches } => format!("{branches} branches").into(),
            Note::Opened => "open saga".into(),
            Note::Nested { parent } => format!("nested in {parent}").into(),
            Note::Joined { step, .. } => step.to_string().into(),
            Note::SagaBegun { steps } => format!("saga of {steps} steps").into(),
            Note::Chosen { saga: true, why } => format!("saga: {why}").into(),
            Note::Chosen { saga: false, why } => format!("two-phase commit: {why}").into(),
            Note::Recovered { stage } | Note::Logged { stage } => (*stage).into(),
            Note::Sent { message, .. } => (*message).into(),
            Note::Voted { vote, refusal: None, .. } => (*vote).into(),
            Note::Voted { vote, refusal: Some(refusal), .. } => format!("{vote}: {}", told(refusal)).into(),
            Note::Confirmed { held: true, .. } => "read locks held".into(),
            Note::Confirmed { held: false, .. } => "read locks lost".into(),
            Note::Decided { outcome: Outcome::Committed } => "committed".into(),
            Note::Decided { outcome: outcome @ Outcome::Aborted(_) } => outcome.to_string().into(),
            Note::Finished { outcome, .. } => outcome.as_str().into(),
            Note::Retried { attempt } => format!("attempt {attempt}").into(),
            Note::Earlier { attempt_number, message, .. } => {
                format!("{message} of attempt {attempt_number}, answered by abort").into()
            }
            Note::Run { step, direction, attempt, .. } | Note::Unanswered { step, direction, attempt, .. } => {
                format!("{direction} of {step}, attempt {attempt}").into()
            }
            Note::Ran { step, outcome, refusal: None, .. } => format!("{step}: {outcome}").into(),
            Note::Ran { step, outcome, refusal: Some(refusal), .. } => {
                format!("{step}: {outcome}: {}", told(refusal)).into()
            }
            Note::Compensating { reason } => reason.to_string().into(),
            Note::Stuck(StuckStep { step, direction, refusal, .. })
            | Note::HeldUp { step, direction, refusal: Some(refusal), .. } => {
                format!("{direction} of {step}: {refusal}").into()
            }
            Note::HeldUp { step, direction, refusal: None, .. } => format!("{direction} of {step}: no answer").into(),
            Note::Resolved { step, resolution } => format!("{step}: {resolution}").into(),
            Note::Unusable { cause } => cause.clone().into(),
            Note::LeftOut { step: Some(step), refusal, .. } => format!("result of {step}: {refusal}").into(),
            Note::LeftOut { step: None, refusal, .. } => format!("result: {refusal}").into(),
            Note::Inquired { .. }
            | Note::DeadlinePassed
            | Note::Forgotten
            | Note::CloseAsked
            | Note::Kept
            | Note::Closed { .. } => "".into(),
        }
    }

    pub fn participant(&self) -> Option<&ParticipantName> {
        match self {
            Note::Sent { to: name, .. }
            | Note::Voted { from: name, .. }
            | Note::Confirmed { from: name, .. }
            | Note::Finished { from: name, .. }
            | Note::Inquired { from: name }
            | Note::Earlier { from: name, .. }
            | Note::Run { to: name, .. }
            | Note::Ran { from: name, .. }
            | Note::Unanswered { by: name, .. }
            | Note::Stuck(StuckStep { participant: name, .. })
            | Note::HeldUp { by: name, .. }
            | Note::Closed { from: name }
            | Note::Joined { at: name, .. }
            | Note::LeftOut { from: name, .. } => Some(name),
            Note::Begun { .. }
            | Note::SagaBegun { .. }
            | Note::Opened
            | Note::Nested { .. }
            | Note::Kept
            | Note::CloseAsked
            | Note::Chosen { .. }
            | Note::Compensating { .. }
            | Note::Resolved { .. }
            | Note::Recovered { .. }
            | Note::Decided { .. }
            | Note::Logged { .. }
            | Note::DeadlinePassed
            | Note::Retried { .. }
            | Note::Unusable { .. }
            | Note::Forgotten => None,
        }
    }

    pub(crate) fn vote(from: &ParticipantName, vote: &Vote) -> Note {
        let (vote, refusal) = match vote {
            Vote::Prepared { .. } => ("prepared", None),
            Vote::ReadOnly { .. } => ("read-only", None),
            Vote::Committed { .. } => ("committed", None),
            Vote::Refused(refusal) => ("refused", Some(refusal.clone())),
        };
        Note::Voted { from: from.clone(), vote, refusal }
    }

    pub(crate) fn ran(from: &ParticipantName, step: &StepName, direction: Direction, outcome: &StepOutcome) -> Note {
        let (outcome, refusal) = match outcome {
            StepOutcome::Done { pending: false, .. } => ("done", None),
            StepOutcome::Done { pending: true, .. } => ("done, with semantic locks", None),
            StepOutcome::Empty => ("empty", None),
            StepOutcome::Refused(refusal) => ("refused", Some(refusal.clone())),
        };
        Note::Ran { from: from.clone(), step: step.clone(), direction, outcome, refusal }
    }
}

/// Returns what is told of a refusal: all of it, but the code alone of a lock conflict, of which there may be many.
fn told(refusal: &Refusal) -> Cow<'static, str> {
    if refusal.code == RefusalCode::LockConflict { refusal.code.as_str().into() } else { refusal.to_string().into() }
}

impl fmt::Display for Note {
    /// Writes the detail, without event and participant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl Answer {
    pub(crate) fn committed(results: Vec<(PartName, Bytes)>) -> Answer {
        Answer::Outcome { outcome: Outcome::Committed, results }
    }

    pub(crate) fn aborted(reason: AbortReason) -> Answer {
        Answer::Outcome { outcome: Outcome::Aborted(reason), results: Vec::new() }
    }
}
