//! One step of a saga, as the participant sees it.
//!
//! ```text
//!              ┌───────────── action done ───────────▶ Acted ◀──(refused)── Compensating ──▶ Compensated
//! ──▶ Acting ──┤                                         └───(compensation)──────▲
//!              ├─(refused)─▶ Refused ──(compensation)─▶ Emptying ──▶ Empty
//!              └─(unclear)─▶ Attempted ──(compensation)─▶ Compensating
//! ```
//!
//! What is known of a step is its barrier: it says whether a message is new, a repetition, empty or late. It is
//! remembered until the low-water mark passes the saga. Refusals are remembered too, though nothing stores them: what
//! was refused must not be done because its message comes twice. A new session or a restart may forget them, for no
//! message outlives its session.

use crate::kept_result::Kept;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Refusal, RunStep, StepIndex, Timestamp, TxId};

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
        then: Option<RunStep>,
    },
    /// The step was refused: nothing of it is in effect.
    Refused(Refused),
    /// `refused`: the compensation that was tried last.
    Acted {
        result: Kept,
        pending: bool,
        refused: Option<Refused>,
    },
    /// The resource manager works on the compensation.
    Compensating {
        result: Kept,
        pending: bool,
        attempt: u32,
    },
    /// That nothing is to be undone is being stored.
    Emptying {
        attempt: u32,
    },
    Compensated,
    Empty,
    /// The action may be in effect. The attempt that was unclear last, if any was since the session began.
    Attempted(Option<Refused>),
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
            State::Acted { .. } => "done",
            State::Compensating { .. } => "compensating",
            State::Emptying { .. } => "compensating nothing",
            State::Compensated => "undone",
            State::Empty => "never done",
            State::Attempted(_) => "unclear",
        }
    }

    /// Returns the bytes that it keeps: the action's result, or the work of a compensation that waits.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self {
            State::Acted { result, .. } | State::Compensating { result, .. } => result.counted(),
            State::Acting { then: Some(run), .. } => run.payload_bytes(),
            State::Acting { then: None, .. }
            | State::Refused(_)
            | State::Emptying { .. }
            | State::Compensated
            | State::Empty
            | State::Attempted(_) => 0,
        }
    }

    /// Returns true if the resource manager is at work on it.
    pub(crate) fn is_under_way(&self) -> bool {
        match self {
            State::Acting { .. } | State::Compensating { .. } | State::Emptying { .. } => true,
            State::Refused(_) | State::Acted { .. } | State::Compensated | State::Empty | State::Attempted(_) => false,
        }
    }

    /// Counts attempts anew: whatever comes from here on is a new one, save the first one of what is under way.
    pub(crate) fn count_attempts_anew(&mut self) {
        match self {
            State::Acting { attempt, then } => {
                *attempt = 1;
                then.iter_mut().for_each(|compensation| compensation.attempt = 1);
            }
            State::Compensating { attempt, .. } | State::Emptying { attempt } => *attempt = 1,
            State::Refused(Refused { attempt, .. }) => *attempt = 0,
            State::Acted { refused, .. } | State::Attempted(refused) => *refused = None,
            State::Compensated | State::Empty => {}
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self, State::Acted { pending: true, .. })
    }

    /// Returns true if the resource keeps a barrier of it.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self, State::Acted { .. } | State::Compensated | State::Empty | State::Attempted(_))
    }
}

impl From<StepState> for State {
    fn from(stored: StepState) -> State {
        match stored {
            StepState::Acted { result, pending } => State::Acted { result, pending, refused: None },
            StepState::Compensated => State::Compensated,
            StepState::Empty => State::Empty,
            StepState::Attempted => State::Attempted(None),
        }
    }
}
