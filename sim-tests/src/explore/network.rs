//! What is between coordinator and participants.
//!
//! A session is a stream of its own; a new one never carries what an older one did. Within a session any packet may be
//! next, which is harsher than the ordered stream that production has; only a welcome comes before all else.

use std::fmt;
use undoubt_vocabulary::{Epoch, Ticket, ToCoordinator, ToParticipant, Vote};

/// One packet in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) participant: usize,
    pub(crate) session: u64,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Body {
    Hello {
        epoch: Epoch,
    },
    Welcome,
    /// A batch of one, with the fence as it was when the batch was made.
    ToParticipant {
        fence: Ticket,
        message: ToParticipant,
    },
    ToCoordinator(ToCoordinator),
}

impl Body {
    /// Sessions lose nothing of their beginning but all of it, which is a disconnection.
    pub(crate) fn is_message(&self) -> bool {
        match self {
            Body::Hello { .. } | Body::Welcome => false,
            Body::ToParticipant { .. } | Body::ToCoordinator(_) => true,
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

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packet { participant, session, body } = self;
        match body {
            Body::Hello { epoch } => write!(f, "hello of epoch {} to p{participant}", epoch.0)?,
            Body::Welcome => write!(f, "welcome of p{participant}")?,
            Body::ToParticipant { fence, message } => {
                let (name, tx, ticket) = (message.name(), message.tx(), message.ticket());
                write!(f, "{name} {tx}/{ticket} to p{participant}, fence {fence}")?;
            }
            Body::ToCoordinator(message) => {
                let (name, tx, ticket) = (message.name(), message.tx(), message.ticket());
                write!(f, "{name} {tx}/{ticket}{} of p{participant}", Detail(message))?;
            }
        }
        write!(f, " [session {session}]")
    }
}

struct Detail<'a>(&'a ToCoordinator);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. } => write!(f, " (prepared)"),
            ToCoordinator::Vote { vote: Vote::ReadOnly { .. }, .. } => write!(f, " (read-only)"),
            ToCoordinator::Vote { vote: Vote::Committed { .. }, .. } => write!(f, " (committed)"),
            ToCoordinator::Vote { vote: Vote::Refused(refusal), .. } => write!(f, " (refused: {})", refusal.code),
            ToCoordinator::Confirmed { held: true, .. } => write!(f, " (held)"),
            ToCoordinator::Confirmed { held: false, .. } => write!(f, " (lost)"),
            ToCoordinator::Finished { outcome, .. } => write!(f, " ({outcome})"),
            ToCoordinator::Inquiry { .. } => Ok(()),
        }
    }
}
