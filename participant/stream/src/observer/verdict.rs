//! What an observer says of a saga.

use crate::choreography::StepId;
use std::collections::BTreeMap;
use std::fmt;
use undoubt_vocabulary::{EventType, Timestamp};

/// How a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    Running,
    /// Something failed, and what was done is being undone.
    Undoing,
    /// It waits for an operator: what it waits for is parked.
    Parked,
    /// Nothing was heard in time of what it waits for.
    Quiet,
    /// It has ended, and all that acted is in effect.
    Done,
    /// It has ended, and nothing that can be undone is in effect.
    Undone,
    /// The same, since its time was over.
    Expired,
    /// It has ended, and part of it is in effect.
    Mixed,
    /// It cannot be told.
    Unknown,
}

impl Standing {
    pub const ALL: [Standing; 9] = [
        Standing::Running,
        Standing::Undoing,
        Standing::Parked,
        Standing::Quiet,
        Standing::Done,
        Standing::Undone,
        Standing::Expired,
        Standing::Mixed,
        Standing::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Running => "running",
            Standing::Undoing => "undoing",
            Standing::Parked => "parked",
            Standing::Quiet => "quiet",
            Standing::Done => "done",
            Standing::Undone => "undone",
            Standing::Expired => "expired",
            Standing::Mixed => "mixed",
            Standing::Unknown => "unknown",
        }
    }

    /// Returns true if nothing more happens in the saga.
    pub fn has_ended(self) -> bool {
        match self {
            Standing::Done | Standing::Undone | Standing::Expired | Standing::Mixed => true,
            Standing::Running | Standing::Undoing | Standing::Parked | Standing::Quiet | Standing::Unknown => false,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What has become of a reaction in one saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It has yet to act, as far as is known.
    Awaited,
    /// It is in effect.
    Acted,
    /// It was refused, and is not in effect.
    Refused,
    /// It has yet to be undone, as far as is known.
    Undoing,
    /// It was in effect, and is undone.
    Undone,
    /// What undoes it came first, or it is undone and nothing shows that it had acted: it is not in effect, and never will be.
    NotInEffect,
    /// An operator has given up the event on which it was to act.
    Skipped,
    /// An operator has given up the event that was to undo it: it remains in effect.
    Remains,
    /// What it did is not what is declared.
    Unknown,
}

impl Fate {
    pub const ALL: [Fate; 9] = [
        Fate::Awaited,
        Fate::Acted,
        Fate::Refused,
        Fate::Undoing,
        Fate::Undone,
        Fate::NotInEffect,
        Fate::Skipped,
        Fate::Remains,
        Fate::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Awaited => "awaited",
            Fate::Acted => "acted",
            Fate::Refused => "refused",
            Fate::Undoing => "undoing",
            Fate::Undone => "undone",
            Fate::NotInEffect => "not-in-effect",
            Fate::Skipped => "skipped",
            Fate::Remains => "remains",
            Fate::Unknown => "unknown",
        }
    }
}

/// What a saga waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A reaction has yet to act, or to be refused.
    Act,
    /// A reaction has yet to be undone.
    Undo,
    /// The time limit has yet to hear that the saga has ended.
    Limit,
    /// Nothing but the end of its time.
    Time { due: Timestamp },
}

/// A reaction, or a time limit, that a saga waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Awaited {
    pub step: StepId,
    pub what: What,
    /// The event that it has yet to deal with.
    pub event: EventType,
    pub since: Timestamp,
    /// It is parked; with the refusal, unless it only waits behind others.
    pub parked: Option<Option<String>>,
    /// Nothing was heard of it for too long, up to this time.
    pub quiet_until: Option<Timestamp>,
    /// What else holds it up.
    pub held_up: Option<String>,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Awaited { step, what, event, since, parked, quiet_until, held_up } = self;
        match what {
            What::Act => write!(f, "{step} has yet to deal with {event}")?,
            What::Undo => write!(f, "{step} has yet to be undone on {event}")?,
            What::Limit => write!(f, "the time limit {step} has yet to hear of {event}")?,
            What::Time { due } => write!(f, "the time limit {step} is over at {due}")?,
        }
        match parked {
            Some(Some(refusal)) => write!(f, "; the event is parked there: {refusal}")?,
            Some(None) => write!(f, "; it waits behind a parked event of its key")?,
            None => {}
        }
        if let Some(until) = quiet_until {
            let silence = std::time::Duration::from_secs(until.since(*since).as_secs());
            write!(f, "; nothing was heard from {} for {silence:?} after {event}", step.participant)?;
        }
        if let Some(why) = held_up {
            write!(f, "; {why}")?;
        }
        Ok(())
    }
}

/// What an observer says of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    pub standing: Standing,
    /// Each reaction that has, or had, something to do with it.
    pub fates: BTreeMap<StepId, Fate>,
    /// What it waits for: reactions before time limits, what asks for somebody first, the longest first.
    pub awaited: Vec<Awaited>,
    /// Why it is unknown, or mixed.
    pub why: Option<String>,
}
