//! What a runner does for: a reaction, or the time limit of sagas that begin at this participant.

use undoubt_stream::barrier::{Barrier, Written};
use undoubt_stream::declarations::{Expiry, Heard, Reaction};
use undoubt_stream::expiry;
use undoubt_stream::facts::Facts;
use undoubt_stream::reaction::{AfterRefusal, Decision, Role, Why};
use undoubt_vocabulary::{EventId, EventType, ParticipantName, ReactionName, Refusal, SubscriptionName, TopicName};

/// The one for whom a runner reads events.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Reaction(Box<Reaction>),
    Expiry(Box<Expiry>),
}

impl Subject {
    /// Returns the name of its barriers.
    pub(super) fn name(&self) -> &ReactionName {
        match self {
            Subject::Reaction(reaction) => &reaction.name,
            Subject::Expiry(expiry) => &expiry.name,
        }
    }

    pub(super) fn subscription(&self) -> SubscriptionName {
        self.name().as_str().parse().expect("both names have the same characters")
    }

    pub(super) fn heard(&self) -> Vec<&Heard> {
        match self {
            Subject::Reaction(reaction) => reaction.heard().collect(),
            Subject::Expiry(expiry) => expiry.unless.iter().collect(),
        }
    }

    pub(super) fn role_of(&self, from: &ParticipantName, topic: &TopicName, kind: &EventType) -> Option<Role> {
        match self {
            Subject::Reaction(reaction) => reaction.role_of(from, topic, kind),
            Subject::Expiry(expiry) => expiry.ends_with(from, topic, kind).then_some(Role::Undo),
        }
    }

    /// Returns true if it publishes something when a time is over.
    pub(super) fn has_timers(&self) -> bool {
        match self {
            Subject::Reaction(_) => false,
            Subject::Expiry(_) => true,
        }
    }

    pub(super) fn has_barrier(&self) -> bool {
        match self {
            Subject::Reaction(reaction) => reaction.has_barrier(),
            Subject::Expiry(_) => true,
        }
    }

    pub(super) fn decide(&self, role: Role, event: EventId, facts: &Facts, barrier: Option<&Barrier>) -> Decision {
        match self {
            Subject::Reaction(reaction) => reaction.decide(role, event, facts, barrier),
            Subject::Expiry(_) => Decision::Write { why: Why::Undone, written: expiry::ended(barrier) },
        }
    }

    /// Returns the barrier that there would be if work on an event took effect and its answer was lost.
    pub(super) fn attempted(&self, event: EventId, facts: &Facts) -> Option<Barrier> {
        match self {
            Subject::Reaction(reaction) => reaction.attempted(event, facts),
            Subject::Expiry(_) => None,
        }
    }

    /// Says how to go on with what was refused. `attempts`: how often it was tried so far; `None`: often enough.
    pub(super) fn refused(
        &self,
        role: Role,
        event: EventId,
        facts: &Facts,
        refusal: Refusal,
        attempts: Option<u32>,
    ) -> AfterRefusal {
        match self {
            Subject::Reaction(reaction) => {
                let attempts = attempts.unwrap_or(reaction.attempts);
                reaction.refused(role, event, facts, refusal, attempts)
            }
            Subject::Expiry(_) if attempts.is_some() => AfterRefusal::Retry,
            Subject::Expiry(_) => AfterRefusal::Park(refusal),
        }
    }

    /// Returns what is written with work that was done on an event.
    pub(super) fn acted(
        &self,
        event: EventId,
        facts: Facts,
        results: bytes::Bytes,
    ) -> Result<Written, undoubt_stream::facts::Unfit> {
        match self {
            Subject::Reaction(reaction) => reaction.acted(event, facts, results),
            Subject::Expiry(_) => Ok(Written::default()),
        }
    }
}
