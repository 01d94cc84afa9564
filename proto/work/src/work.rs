//! Work of any kind, as whoever carries it handles it.

use crate::call;
use crate::call::{Call, CallWork};
use crate::enlisted;
use crate::event;
use crate::event::{Emit, Events};
use crate::http;
use crate::http::{HttpWork, Request};
use crate::invalid_work::InvalidWork;
use crate::kv::KvWork;
use crate::reference::Place;
use bytes::Bytes;
use std::str::FromStr;

/// The work of one participant. Whoever carries it need not know its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Work(Kind);

/// Each method below says for each kind what it can do.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Work in a participant's own format.
    Raw(Bytes),
    /// Work of a key-value store.
    Operations(KvWork),
    /// Calls of procedures.
    Calls(CallWork),
    /// The branch is prepared by the application itself.
    Enlisted,
    /// Requests to an HTTP service.
    Http(HttpWork),
    /// Events with nothing beside them.
    Events(Events),
}

/// Work of one participant that cannot be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "raw or enlisted work and requests cannot be merged with other work or events, nor operations with calls; put all of a participant's work into one"
)]
pub struct NotMergeable;

/// The place of work in a saga, which decides what it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceInSaga {
    ActionThatCanBeUndone,
    Pivot,
    AfterPivot,
    Compensation,
}

impl PlaceInSaga {
    /// Returns the fault of a piece of work with these semantic locks at this place.
    pub(crate) fn fault_of(self, pend: bool, respect_pending: bool) -> Option<InvalidWork> {
        match self {
            PlaceInSaga::ActionThatCanBeUndone => None,
            PlaceInSaga::Pivot | PlaceInSaga::AfterPivot | PlaceInSaga::Compensation if pend => {
                Some(InvalidWork::PendTooLate)
            }
            PlaceInSaga::Pivot => None,
            PlaceInSaga::Compensation | PlaceInSaga::AfterPivot => {
                respect_pending.then_some(InvalidWork::RespectTooLate)
            }
        }
    }
}

impl From<CallWork> for Work {
    fn from(work: CallWork) -> Self {
        Work(Kind::Calls(work))
    }
}

impl From<Call> for Work {
    fn from(call: Call) -> Self {
        CallWork::from(call).into()
    }
}

impl From<HttpWork> for Work {
    fn from(work: HttpWork) -> Self {
        Work(Kind::Http(work))
    }
}

impl From<Request> for Work {
    fn from(request: Request) -> Self {
        HttpWork::from(request).into()
    }
}

impl From<Emit> for Work {
    fn from(event: Emit) -> Self {
        Work(Kind::Events(event.into()))
    }
}

impl From<KvWork> for Work {
    fn from(work: KvWork) -> Self {
        Work(Kind::Operations(work))
    }
}

/// Reads one piece of work as [`GRAMMAR`](crate::GRAMMAR) says. The error says what is wrong and what would be right.
impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Work, String> {
        match text.split_whitespace().next() {
            Some(call::text::VERB) => call::text::parse(text).map(Work::from),
            Some(http::text::VERB) => http::text::parse(text).map(Work::from),
            Some(enlisted::WORD) => Work::enlisted_from_text(text),
            Some(verb) if event::text::VERBS.contains(&verb) => event::text::parse(text).map(Work::from),
            Some(_) | None => text.parse().map(Kind::Operations).map(Work),
        }
    }
}

impl Work {
    /// Returns work in a participant's own format.
    pub fn raw(work: impl Into<Bytes>) -> Work {
        Work(Kind::Raw(work.into()))
    }

    /// Returns the work of a participant that adopts what the application has prepared.
    pub fn enlisted() -> Work {
        Work(Kind::Enlisted)
    }

    /// Returns work that does nothing yet.
    pub(crate) fn nothing() -> Work {
        KvWork::new().into()
    }

    /// Returns the bytes that a branch or a step carries. `inputs`: the steps whose results it is handed, by their names.
    pub fn encode(&self, inputs: &[&str]) -> Result<Bytes, InvalidWork> {
        match &self.0 {
            Kind::Raw(work) => Ok(work.clone()),
            Kind::Operations(work) => work.encode_with(inputs),
            Kind::Calls(work) => work.encode_with(inputs),
            Kind::Enlisted => Ok(enlisted::encode()),
            Kind::Http(work) => work.encode_with(inputs),
            Kind::Events(events) => events.encode_with(inputs),
        }
    }

    /// Returns the work of both, that of `other` last. Events without work beside them refer to the results of what they are merged with.
    pub fn then(self, other: Work) -> Result<Work, NotMergeable> {
        match (self.0, other.0) {
            (Kind::Operations(first), Kind::Operations(second)) => Ok(first.then(second).into()),
            (Kind::Calls(first), Kind::Calls(second)) => Ok(first.then(second).into()),
            (Kind::Operations(first), Kind::Events(second)) => Ok(first.then(second.into()).into()),
            (Kind::Events(first), Kind::Operations(second)) => Ok(KvWork::from(first).then(second).into()),
            (Kind::Calls(first), Kind::Events(second)) => Ok(first.then(second.into()).into()),
            (Kind::Events(first), Kind::Calls(second)) => Ok(CallWork::from(first).then(second).into()),
            (Kind::Events(first), Kind::Events(second)) => Ok(Work(Kind::Events(first.then(second, 0)))),
            (Kind::Raw(_) | Kind::Enlisted | Kind::Http(_), _)
            | (_, Kind::Raw(_) | Kind::Enlisted | Kind::Http(_))
            | (Kind::Operations(_), Kind::Calls(_))
            | (Kind::Calls(_), Kind::Operations(_)) => Err(NotMergeable),
        }
    }

    /// Returns the text of each piece, in the order of their results, and then that of each event. Raw work has none.
    pub fn texts(&self) -> Vec<String> {
        match &self.0 {
            Kind::Raw(_) => Vec::new(),
            Kind::Operations(work) => work.texts(),
            Kind::Calls(work) => work.texts(),
            Kind::Enlisted => vec![enlisted::WORD.to_owned()],
            Kind::Http(work) => vec![work.to_text()],
            Kind::Events(events) => events.texts().collect(),
        }
    }

    /// Returns the value that the piece at this place brings along and leaves: branches do not tell it again.
    pub fn brought(&self, at: usize) -> Option<String> {
        match &self.0 {
            Kind::Raw(_) | Kind::Calls(_) | Kind::Enlisted | Kind::Http(_) | Kind::Events(_) => None,
            Kind::Operations(work) => work.brought(at),
        }
    }

    /// Returns whether the participant can keep a value beside this work.
    pub fn can_keep(&self) -> bool {
        match &self.0 {
            Kind::Raw(_) | Kind::Enlisted | Kind::Http(_) | Kind::Events(_) => false,
            Kind::Operations(_) | Kind::Calls(_) => true,
        }
    }

    /// Lets the participant keep a value under a key of its own, in the same local transaction; nothing happens if it
    /// [cannot](Self::can_keep). `in_branch`: instead of the value where it is part of a branch.
    pub fn keep(&mut self, key: &Bytes, value: String, in_branch: Option<String>) {
        match &mut self.0 {
            Kind::Raw(_) | Kind::Enlisted | Kind::Http(_) | Kind::Events(_) => {}
            Kind::Operations(work) => work.keep(key, value, in_branch),
            Kind::Calls(work) => work.keep(key, value, in_branch),
        }
    }

    /// Returns it as what is a step whatever happens: without what it would bring along as a branch.
    #[must_use]
    pub fn as_step_only(&self) -> Work {
        match &self.0 {
            Kind::Raw(_) | Kind::Enlisted | Kind::Http(_) | Kind::Events(_) => self.clone(),
            Kind::Operations(work) => work.clone().without_branch_values().into(),
            Kind::Calls(work) => work.clone().without_branch_values().into(),
        }
    }

    /// Returns the steps whose results it refers to, in the order in which it names them.
    pub fn referred_steps(&self) -> Vec<&str> {
        match &self.0 {
            Kind::Raw(_) | Kind::Enlisted => Vec::new(),
            Kind::Operations(work) => work.referred_steps(),
            Kind::Calls(work) => work.referred_steps(),
            Kind::Http(work) => work.referred_steps(),
            Kind::Events(events) => events.referred_steps().collect(),
        }
    }

    /// Checks the work as the action or the compensation of a saga's step, and returns the first fault with the place
    /// of its piece. `action_of` returns the action of a step, if it is known.
    pub fn check_in_saga<'a>(
        &self,
        place: PlaceInSaga,
        action_of: impl Fn(&str) -> Option<&'a Work>,
    ) -> Result<(), (usize, InvalidWork)> {
        match &self.0 {
            Kind::Raw(_) => Ok(()),
            Kind::Operations(work) => work.check_in_saga(place, action_of),
            Kind::Calls(work) => work.check_in_saga(place, action_of),
            Kind::Enlisted => enlisted::check_in_saga(),
            Kind::Http(work) => work.check_in_saga(place, action_of),
            Kind::Events(events) => events.check_in_saga(action_of),
        }
    }

    /// Returns why this, which refers to its results, never has a value, as far as that is known beforehand.
    pub(crate) fn is_no_value(&self, from: &Place) -> Option<&'static str> {
        match &self.0 {
            Kind::Raw(_) => None,
            Kind::Operations(work) => work.is_no_value(from),
            Kind::Calls(work) => work.is_no_value(from),
            Kind::Enlisted => Some("what is enlisted leaves no value"),
            Kind::Http(work) => work.is_no_value(from),
            Kind::Events(_) => Some("events leave no values"),
        }
    }
}
