//! The network between the coordinator and a participant.
//!
//! A session is a stream of its own; a new one never carries what an older one did. Within a session any packet may be
//! next, which is harsher than the ordered stream that production has; only a welcome comes before all else.

use crate::part::Part;
use std::fmt;
use undoubt_participant_core::SessionRefused;
use undoubt_vocabulary::{Epoch, LowWaterMark, RunStep, StepOutcome, ToCoordinator, ToParticipant, Vote, WriteNumber};

/// One packet in flight. Sorted by session first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) session: u64,
    pub(crate) body: Part<Body>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Body {
    Hello {
        epoch: Epoch,
        /// The number of the coordinator's log.
        number: Option<WriteNumber>,
        /// The highest that was seen of the participant's log.
        shown: Option<WriteNumber>,
    },
    Welcome {
        /// The number of the participant's log.
        number: Option<WriteNumber>,
        /// The highest that was seen of the coordinator's log.
        seen: Option<WriteNumber>,
    },
    Refused(SessionRefused),
    /// A batch of one, with the low-water mark as it was when the batch was made.
    ToParticipant {
        low_water_mark: LowWaterMark,
        /// The coordinator's stable writes; 0: they are not numbered.
        writes: u64,
        message: ToParticipant,
    },
    ToCoordinator {
        number: Option<WriteNumber>,
        message: ToCoordinator,
    },
}

impl Body {
    /// Sessions lose nothing of their beginning but all of it, which is a disconnection.
    pub(crate) fn is_message(&self) -> bool {
        match self {
            Body::Hello { .. } | Body::Welcome { .. } | Body::Refused(_) => false,
            Body::ToParticipant { .. } | Body::ToCoordinator { .. } => true,
        }
    }

    /// The message's name, as people know it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Body::Hello { .. } => "hello",
            Body::Welcome { .. } => "welcome",
            Body::Refused(_) => "refusal",
            Body::ToParticipant { message, .. } => message.name(),
            Body::ToCoordinator { message, .. } => message.name(),
        }
    }

    pub(crate) fn is_for_participant(&self) -> bool {
        match self {
            Body::Hello { .. } | Body::ToParticipant { .. } => true,
            Body::Welcome { .. } | Body::Refused(_) | Body::ToCoordinator { .. } => false,
        }
    }
}

/// The coordinator's end of the connection to one participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    /// The newest session's number; never used twice.
    pub(crate) session: u64,
    pub(crate) state: LinkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LinkState {
    Down,
    /// Hello was sent, welcome not received.
    Dialing,
    Up,
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Hello { epoch, shown, .. } => {
                write!(f, "hello, epoch {}", epoch.0)?;
                Shown(shown.as_ref()).fmt(f)
            }
            Body::Welcome { seen, .. } => {
                write!(f, "welcome")?;
                Shown(seen.as_ref()).fmt(f)
            }
            Body::Refused(why) => write!(f, "refused: {why}"),
            Body::ToParticipant { low_water_mark, message, .. } => {
                let (name, tx, attempt_number) = (message.name(), message.tx(), message.attempt_number());
                match message {
                    ToParticipant::Run(RunStep { step, attempt, .. }) => {
                        write!(
                            f,
                            "{name} step {} of {tx}/{attempt_number}, attempt {attempt}, low-water mark {low_water_mark}",
                            step.0
                        )
                    }
                    ToParticipant::Prepare(_)
                    | ToParticipant::Confirm { .. }
                    | ToParticipant::Commit { .. }
                    | ToParticipant::Abort { .. }
                    | ToParticipant::Settle { .. }
                    | ToParticipant::Undecided { .. }
                    | ToParticipant::Noted { .. }
                    | ToParticipant::Close { .. } => {
                        write!(f, "{name} {tx}/{attempt_number}, low-water mark {low_water_mark}")
                    }
                }
            }
            Body::ToCoordinator { message, .. } => {
                write!(f, "{} {}/{}{}", message.name(), message.tx(), message.attempt_number(), Detail(message))
            }
        }
    }
}

struct Shown<'a>(Option<&'a WriteNumber>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |seen| write!(f, ", having seen {seen}"))
    }
}

struct Detail<'a>(&'a ToCoordinator);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. } => write!(f, ": prepared"),
            ToCoordinator::Vote { vote: Vote::ReadOnly { .. }, .. } => write!(f, ": read-only"),
            ToCoordinator::Vote { vote: Vote::Committed { .. }, .. } => write!(f, ": committed"),
            ToCoordinator::Vote { vote: Vote::Refused(refusal), .. } => write!(f, ": refused, {}", refusal.code),
            ToCoordinator::Confirmed { held: true, .. } => write!(f, ": held"),
            ToCoordinator::Confirmed { held: false, .. } => write!(f, ": lost"),
            ToCoordinator::Finished { outcome, .. } => write!(f, ": {outcome}"),
            ToCoordinator::Ran { step, attempt, outcome, .. } => {
                write!(f, ": step {}, attempt {attempt}, ", step.0)?;
                match outcome {
                    StepOutcome::Done { pending: false, .. } => write!(f, "done"),
                    StepOutcome::Done { pending: true, .. } => write!(f, "done, with semantic locks"),
                    StepOutcome::Empty => write!(f, "there was nothing to undo"),
                    StepOutcome::Refused(refusal) => write!(f, "refused, {}", refusal.code),
                }
            }
            ToCoordinator::Inquiry { .. } | ToCoordinator::Closed { .. } => Ok(()),
        }
    }
}
