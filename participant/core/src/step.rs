//! One step of a saga, as the participant sees it.
//!
//! ```text
//!              ┌───────────── action done ───────────▶ InEffect ◀──(refused)── Compensating ──▶ Compensated
//! ──▶ Acting ──┤                                         │   └─(compensation)──────▲
//!              ├─(refused)─▶ Refused                     └─(completion)──▶ Completing ──▶ Completed
//!              │                └─(compensation)─▶ Emptying ──▶ Empty
//!              └─(unclear)─▶ Attempted ──(compensation)─▶ Compensating
//! ```
//!
//! A step of an open saga whose caller does the action himself is InEffect from its first message on, for all that is known here.
//!
//! What is known of a step is its barrier: it says whether a message is new, a repetition, empty or late. It is
//! remembered until the low-water mark passes the saga. Refusals are remembered too, though nothing stores them: what
//! was refused must not be done because its message comes twice. A new session or a restart may forget them, for no
//! message outlives its session.

use crate::kept_result::Kept;
use bytes::Bytes;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Direction, Refusal, RunStep, StepIndex, Timestamp, TxId};

/// One step of one saga. In the order of its coordinator's attempt numbers, which is the order of low-water marks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    pub coordinator: CoordinatorId,
    pub attempt_number: AttemptNumber,
    pub step: StepIndex,
    pub tx: TxId,
}

impl StepId {
    /// Returns the id before which no step of an attempt number comes.
    pub fn first_of(coordinator: CoordinatorId, attempt_number: AttemptNumber) -> StepId {
        StepId { coordinator, attempt_number, step: StepIndex(0), tx: TxId::lowest() }
    }
}

/// A step's barrier, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    /// The action is in effect. `pending`: with semantic locks, which end with the saga or the step's compensation.
    Acted { result: Kept, pending: bool },
    /// The step was in effect, and has been undone.
    Compensated,
    /// Its saga was closed, and the step is completed.
    Completed,
    /// Its compensation came, and it had not been in effect. It never will be.
    Empty,
    /// The action was asked for elsewhere, and may be in effect or come to be: another attempt finds out, a compensation undoes it.
    Attempted,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// The resource manager works on the action. `then`: its compensation came meanwhile.
    Acting {
        attempt: u32,
        /// It was asked for before, without a clear answer.
        attempted: bool,
        then: Option<RunStep>,
    },
    /// The step was refused: nothing of it is in effect.
    Refused(Refused),
    /// `refused`: the compensation or the completion that was tried last.
    InEffect {
        acted: Acted,
        refused: Option<(Direction, Refused)>,
    },
    /// The resource manager works on the compensation.
    Compensating {
        acted: Acted,
        attempt: u32,
    },
    /// The resource manager works on the completion.
    Completing {
        acted: Acted,
        attempt: u32,
    },
    /// That nothing is to be undone is being stored.
    Emptying {
        attempt: u32,
    },
    Compensated,
    Completed,
    Empty,
    /// The action may be in effect. The attempt that was unclear last, if any was since the session began.
    Attempted(Option<Refused>),
}

/// The action of a step that is in effect, or may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Acted {
    /// It ran here: the resource has its barrier.
    Here { result: Kept, pending: bool },
    /// It was attempted here, and nobody knows whether it took effect: the resource has a record of that.
    Unclear,
    /// Its caller has done it himself; nothing of it is stored.
    Elsewhere,
}

impl Acted {
    fn kept_bytes(&self) -> usize {
        match self {
            Acted::Here { result, .. } => result.counted(),
            Acted::Unclear | Acted::Elsewhere => 0,
        }
    }

    /// Returns its result; empty if it is not known.
    pub(crate) fn result(&self) -> Kept {
        match self {
            Acted::Here { result, .. } => result.clone(),
            Acted::Unclear | Acted::Elsewhere => Kept::Here(Bytes::new()),
        }
    }
}

/// The highest attempt that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refused {
    pub(crate) attempt: u32,
    pub(crate) refusal: Refusal,
}

/// A step under way, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    pub id: StepId,
    /// The time at which its saga began, by its coordinator's clock.
    pub begun_at: Timestamp,
    pub state: &'static str,
}

impl State {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            State::Acting { .. } => "acting",
            State::Refused(_) => "refused",
            State::InEffect { .. } => "done",
            State::Compensating { .. } => "compensating",
            State::Completing { .. } => "completing",
            State::Emptying { .. } => "compensating nothing",
            State::Compensated => "undone",
            State::Completed => "completed",
            State::Empty => "never done",
            State::Attempted(_) => "unclear",
        }
    }

    /// Returns the bytes that it keeps: the action's result, or the work of a compensation that waits.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self {
            State::InEffect { acted, .. } | State::Compensating { acted, .. } | State::Completing { acted, .. } => {
                acted.kept_bytes()
            }
            State::Acting { then: Some(run), .. } => run.payload_bytes(),
            State::Acting { then: None, .. }
            | State::Refused(_)
            | State::Emptying { .. }
            | State::Compensated
            | State::Completed
            | State::Empty
            | State::Attempted(_) => 0,
        }
    }

    /// Returns true if the resource manager is at work on it.
    pub(crate) fn is_under_way(&self) -> bool {
        match self {
            State::Acting { .. } | State::Compensating { .. } | State::Completing { .. } | State::Emptying { .. } => {
                true
            }
            State::Refused(_)
            | State::InEffect { .. }
            | State::Compensated
            | State::Completed
            | State::Empty
            | State::Attempted(_) => false,
        }
    }

    /// Counts attempts anew: whatever comes from here on is a new one, save the first one of what is under way.
    pub(crate) fn count_attempts_anew(&mut self) {
        match self {
            State::Acting { attempt, attempted: _, then } => {
                *attempt = 1;
                then.iter_mut().for_each(|compensation| compensation.attempt = 1);
            }
            State::Compensating { attempt, .. } | State::Completing { attempt, .. } | State::Emptying { attempt } => {
                *attempt = 1;
            }
            State::Refused(Refused { attempt, .. }) => *attempt = 0,
            State::InEffect { refused, .. } => *refused = None,
            State::Attempted(refused) => *refused = None,
            State::Compensated | State::Completed | State::Empty => {}
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self, State::InEffect { acted: Acted::Here { pending: true, .. }, .. })
    }

    /// Returns true if it is stored that nothing of the step is in effect any more, nor ever will be.
    pub(crate) fn is_undone(&self) -> bool {
        match self {
            State::Compensated | State::Empty => true,
            State::Acting { .. }
            | State::Refused(_)
            | State::InEffect { .. }
            | State::Compensating { .. }
            | State::Completing { .. }
            | State::Emptying { .. }
            | State::Completed
            | State::Attempted(_) => false,
        }
    }

    /// Returns true if the resource keeps a barrier of it.
    pub(crate) fn is_stored(&self) -> bool {
        match self {
            State::InEffect { acted: Acted::Here { .. } | Acted::Unclear, .. }
            | State::Compensated
            | State::Completed
            | State::Empty
            | State::Attempted(_) => true,
            State::InEffect { acted: Acted::Elsewhere, .. }
            | State::Acting { .. }
            | State::Refused(_)
            | State::Compensating { .. }
            | State::Completing { .. }
            | State::Emptying { .. } => false,
        }
    }
}

impl From<StepState> for State {
    fn from(stored: StepState) -> State {
        match stored {
            StepState::Acted { result, pending } => {
                State::InEffect { acted: Acted::Here { result, pending }, refused: None }
            }
            StepState::Compensated => State::Compensated,
            StepState::Completed => State::Completed,
            StepState::Empty => State::Empty,
            StepState::Attempted => State::Attempted(None),
        }
    }
}
