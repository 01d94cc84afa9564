//! The fate of messages on their way, as faults have it.

use crate::plan::{Message, Tampering};
use std::time::Duration;
use tokio::sync::mpsc;
use undoubt_proto::v1;
use v1::to_coordinator::Body as FromBranch;
use v1::to_participant::Body as ToBranch;

/// The fate of a message.
pub(super) struct Fate<M> {
    pub(super) now: Option<M>,
    /// The message that arrives after so many milliseconds, and no more in its place.
    pub(super) later: Option<(M, u64)>,
    /// True if it is lost, and its connection with it.
    pub(super) is_lost: bool,
}

impl<M: Clone> Fate<M> {
    pub(super) fn of(message: M, tampering: Option<Tampering>) -> Fate<M> {
        let (now, later, is_lost) = match tampering {
            None => (Some(message), None, false),
            Some(Tampering::Lost) => (None, None, true),
            Some(Tampering::Delay { by_ms }) => (None, Some((message, by_ms)), false),
            Some(Tampering::Duplicate { after_ms }) => (Some(message.clone()), Some((message, after_ms)), false),
        };
        Fate { now, later, is_lost }
    }
}

/// Sends a batch later; it is dropped if the session is over by then.
pub(super) fn send_later<B: Send + 'static>(to: mpsc::Sender<B>, batch: B, ms: u64) {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        // The session may be over.
        let _ = to.send(batch).await;
    });
}

/// Returns which of the messages to branches it is, for those that faults can name.
pub(super) fn to_branch(message: &v1::ToParticipant) -> Option<Message> {
    match message.body.as_ref()? {
        ToBranch::Prepare(_) => Some(Message::Prepare),
        ToBranch::Confirm(_) => Some(Message::Confirm),
        ToBranch::Commit(_) => Some(Message::Commit),
        ToBranch::Abort(_) => Some(Message::Abort),
        ToBranch::Settle(_) => Some(Message::Settle),
        ToBranch::Run(run) if run.direction() == v1::Direction::Compensating => Some(Message::Compensate),
        ToBranch::Run(_) => Some(Message::Act),
        ToBranch::Close(_) => Some(Message::Close),
        ToBranch::Undecided(_) | ToBranch::Noted(_) => None,
    }
}

/// Returns which of the messages to coordinators it is.
pub(super) fn to_coordinator(message: &v1::ToCoordinator) -> Option<Message> {
    match message.body.as_ref()? {
        FromBranch::Vote(_) => Some(Message::Vote),
        FromBranch::Confirmed(_) => Some(Message::Confirmed),
        FromBranch::Finished(_) => Some(Message::Finished),
        FromBranch::Inquiry(_) => Some(Message::Inquiry),
        FromBranch::Ran(ran) if ran.direction() == v1::Direction::Compensating => Some(Message::Compensated),
        FromBranch::Ran(_) => Some(Message::Acted),
        FromBranch::Closed(_) => Some(Message::Closed),
    }
}
