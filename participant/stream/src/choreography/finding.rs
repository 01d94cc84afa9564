//! What a check finds.

use super::{MAX_EVENTS_OF_SAGA, StepId};
use crate::declarations::Heard;
use std::fmt;

/// A place in a choreography.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    Event(Heard),
    /// A reaction acts, or is refused.
    Act(StepId),
    /// A reaction is undone.
    Undo(StepId),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Event(event) => fmt::Display::fmt(event, f),
            Node::Act(step) => write!(f, "[{step}]"),
            Node::Undo(step) => write!(f, "[undo {step}]"),
        }
    }
}

/// A way through a choreography: events, and the reactions between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub Vec<Node>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node) in self.0.iter().enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { " -> " })?;
        }
        Ok(())
    }
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Weight {
    /// It has to be put right.
    Fault,
    /// It is good to know.
    Hint,
}

impl Weight {
    pub fn as_str(self) -> &'static str {
        match self {
            Weight::Fault => "fault",
            Weight::Hint => "hint",
        }
    }
}

/// What a check finds, with the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// Nobody hears of an event.
    Unheard { event: Heard, path: Path },
    /// A reaction waits for an event that nobody publishes.
    Untriggered { step: StepId, event: Heard, lack: Lack },
    /// Something is in effect that is not undone when its saga fails.
    NotUndone { step: StepId, failure: Heard, acted: Path, failed: Path },
    /// What undoes a reaction may come before what moves it. Its barrier holds.
    UndoneFirst { step: StepId, path: Path },
    /// A reaction leads to itself.
    Circle { path: Path, grows: bool },
    /// A reaction that can be undone, and so acts once in a saga, is moved more than once in one.
    Twice { step: StepId, times: u64, path: Path },
    /// One saga has too many events.
    FanOut { begun: Heard, events: u64 },
}

/// Why nobody publishes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lack {
    Participant,
    Topic,
    Kind,
}

impl Finding {
    pub fn weight(&self) -> Weight {
        match self {
            Finding::Unheard { .. }
            | Finding::Untriggered { .. }
            | Finding::NotUndone { .. }
            | Finding::Circle { .. }
            | Finding::Twice { .. }
            | Finding::FanOut { .. } => Weight::Fault,
            Finding::UndoneFirst { .. } => Weight::Hint,
        }
    }

    /// Returns the word for it, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Finding::Unheard { .. } => "unheard",
            Finding::Untriggered { .. } => "untriggered",
            Finding::NotUndone { .. } => "not-undone",
            Finding::UndoneFirst { .. } => "undone-first",
            Finding::Circle { .. } => "circle",
            Finding::Twice { .. } => "twice",
            Finding::FanOut { .. } => "fan-out",
        }
    }

    /// Returns the ways to it.
    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Finding::Unheard { path, .. }
            | Finding::UndoneFirst { path, .. }
            | Finding::Circle { path, .. }
            | Finding::Twice { path, .. } => vec![path],
            Finding::NotUndone { acted, failed, .. } => vec![acted, failed],
            Finding::Untriggered { .. } | Finding::FanOut { .. } => Vec::new(),
        }
    }
}

/// Says what is found, and what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Unheard { event, .. } => write!(
                f,
                "nobody hears {event}; let somebody react to it, leave it out, or name it in `heard-outside` of its topic"
            ),
            Finding::Untriggered { step, event, lack } => {
                let why = match lack {
                    Lack::Participant => "of that participant no declarations are given",
                    Lack::Topic => "that participant has no such topic",
                    Lack::Kind => "nobody publishes that type there",
                };
                write!(
                    f,
                    "{step} waits for {event}, which never comes: {why}; correct the name, publish it in `emit`, or declare with \
                     [[begin]] that transactions do"
                )
            }
            Finding::NotUndone { step, failure, .. } => write!(
                f,
                "{step} is not undone when {failure} says that its saga has failed; name that event in its `undo-on`, or one that follows \
                 from it, or write undo = [] if nothing has to be undone"
            ),
            Finding::UndoneFirst { step, .. } => write!(
                f,
                "what undoes {step} may come before what moves it; then it never acts in that saga (its barrier sees to it)"
            ),
            Finding::Circle { grows: false, .. } => {
                f.write_str("a reaction leads to itself, without end; publish another type on the way back")
            }
            Finding::Circle { grows: true, .. } => f.write_str(
                "a reaction leads to itself in more than one way, so events multiply without bound; publish another type on the way back",
            ),
            Finding::Twice { step, times, .. } => write!(
                f,
                "{step} is moved {times} times in one saga, and what can be undone acts once: the key of the second event would be parked; \
                 let one event move it"
            ),
            Finding::FanOut { begun, events } => write!(
                f,
                "one {begun} leads to {events} events, more than the {MAX_EVENTS_OF_SAGA} allowed; publish fewer, or begin sagas of their own"
            ),
        }
    }
}
