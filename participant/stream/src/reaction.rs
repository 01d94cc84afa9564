//! What a reaction makes of an event, by what is stored of the saga so far.
//!
//! For each event that its [inbox](crate::inbox) takes as the next, and whose key is not [parked](crate::parked):
//!
//! 1. [`Reaction::role_of`] says whether it acts on it, is undone by it, or lets it pass.
//! 2. [`Reaction::decide`] says what to do, by the stored barrier.
//! 3. Work is done in one local transaction with what [`Reaction::acted`] or [`undone`] says is written, and the position.
//! 4. Work that is refused leaves nothing; [`Reaction::refused`] says how to go on. Another attempt decides anew: what undoes it may
//!    have come meanwhile.

use crate::barrier::{Barrier, Undo, Written};
use crate::declarations::{Heard, Reaction};
use crate::facts::{Facts, Unfit};
use bytes::Bytes;
use undoubt_vocabulary::{EventId, EventType, NewEvent, ParticipantName, Refusal, RefusalCode, TopicName};
use undoubt_work::Work;

/// What an event is to a reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Act,
    Undo,
}

/// What to do about an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Do the work, if there is any; [`Reaction::acted`] says what else is written.
    Act { work: Option<Work> },
    /// Do what undoes it; [`undone`] says what else is written.
    Undo(Undo),
    /// Nothing is to be done. This is written.
    Write { why: Why, written: Written },
    /// It cannot be done at all: the key is parked.
    Park(Refusal),
}

/// Why nothing is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// What undoes it came first: it never acts in this saga.
    Empty,
    /// It was undone before, or will never act.
    Late,
    /// It has acted on this very event.
    Acted,
    /// It is undone already.
    Undone,
}

/// How to go on with work that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterRefusal {
    /// It is tried again, after a pause; later events wait.
    Retry,
    /// The refusal is an outcome. This is written, and the position.
    Write(Written),
    /// The key is parked, and the events of other keys go on.
    Park(Refusal),
}

impl Reaction {
    /// Returns what an event is to this reaction; `None` if it is nothing to it.
    pub fn role_of(&self, from: &ParticipantName, topic: &TopicName, kind: &EventType) -> Option<Role> {
        let is = |heard: &Heard| (&heard.from, &heard.topic, &heard.kind) == (from, topic, kind);
        if is(&self.on) { Some(Role::Act) } else { self.undo_on.iter().any(is).then_some(Role::Undo) }
    }

    /// Returns true if there is something that undoes it, so that it has a barrier in each saga, and acts once in it.
    pub fn has_barrier(&self) -> bool {
        !self.undo_on.is_empty()
    }

    /// Says what to do about an event. `barrier`: what is stored, if [there may be one](Self::has_barrier).
    pub fn decide(&self, role: Role, event: EventId, facts: &Facts, barrier: Option<&Barrier>) -> Decision {
        let nothing = |why| Decision::Write { why, written: Written::default() };
        match (role, barrier) {
            (Role::Act, None) => match self.work.fill(facts) {
                Ok(work) => Decision::Act { work },
                Err(unfit) => Decision::Park((&unfit).into()),
            },
            (Role::Act, Some(Barrier::Acted { on, .. })) if *on == Some(event) => nothing(Why::Acted),
            (Role::Act, Some(Barrier::Acted { .. })) => Decision::Park(Refusal::new(
                RefusalCode::InvalidWork,
                format!(
                    "reaction {} has acted in saga {} on another event, and what can be undone acts once in a saga; give the events of \
                     each saga a correlation of its own, or skip this one",
                    self.name, facts.correlation
                ),
            )),
            (Role::Act, Some(Barrier::Compensated | Barrier::Empty)) => nothing(Why::Late),
            (Role::Undo, None) => {
                let written = Written { barrier: Some(Barrier::Empty), events: Vec::new() };
                Decision::Write { why: Why::Empty, written }
            }
            (Role::Undo, Some(Barrier::Acted { undo, .. })) => Decision::Undo(undo.clone()),
            (Role::Undo, Some(Barrier::Compensated | Barrier::Empty)) => nothing(Why::Undone),
        }
    }

    /// Returns what is written with the work that was done. `results`: what it left, encoded; empty if there was none to do.
    ///
    /// # Errors
    /// If what follows cannot be filled in from the results. Then nothing may be written, and the key is parked.
    pub fn acted(&self, event: EventId, facts: Facts, results: Bytes) -> Result<Written, Unfit> {
        let facts = facts.with_results(results);
        let events: Result<Vec<NewEvent>, Unfit> =
            self.emit.iter().map(|template| template.fill(&facts, Some(event))).collect();
        let barrier =
            self.has_barrier().then(|| self.undo(&facts).map(|undo| Barrier::Acted { on: Some(event), undo }));
        Ok(Written { events: events?, barrier: barrier.transpose()? })
    }

    /// Returns the barrier that it would have if the work took effect and nobody heard what it left: what undoes it may not need that.
    /// `None`: nothing undoes it.
    pub fn attempted(&self, event: EventId, facts: &Facts) -> Option<Barrier> {
        let undo = self.has_barrier().then(|| self.undo(facts).ok()).flatten()?;
        Some(Barrier::Acted { on: Some(event), undo })
    }

    fn undo(&self, facts: &Facts) -> Result<Undo, Unfit> {
        let no_work = |why: undoubt_work::InvalidWork| Unfit::NoWork { why: why.to_string() };
        let work = self.undo.as_ref().map(|undo| undo.fill(facts)).transpose()?.flatten();
        let work = work.map(|work| work.encode(&[]).map_err(no_work)).transpose()?;
        let undone = self.undone.as_ref().map(|template| template.fill(facts, None).map(Box::new)).transpose()?;
        Ok(Undo { work, undone })
    }

    /// Says how to go on with work that was refused. `attempts`: how often it was refused for good so far, this time included.
    pub fn refused(&self, role: Role, event: EventId, facts: &Facts, refusal: Refusal, attempts: u32) -> AfterRefusal {
        if refusal.code.is_transient() {
            return AfterRefusal::Retry;
        }
        match (role, &self.refused) {
            (Role::Act, Some(template)) => match template.fill(facts, Some(event)) {
                Ok(refused) => AfterRefusal::Write(Written {
                    barrier: self.has_barrier().then_some(Barrier::Empty),
                    events: vec![refused],
                }),
                Err(unfit) => AfterRefusal::Park((&unfit).into()),
            },
            (Role::Act, None) | (Role::Undo, _) if attempts < self.attempts => AfterRefusal::Retry,
            (Role::Act, None) | (Role::Undo, _) => AfterRefusal::Park(refusal),
        }
    }
}

/// Returns what is written with the work that undid a reaction. `event`: the one that undid it.
pub fn undone(undo: Undo, event: EventId) -> Written {
    let caused = |undone: Box<NewEvent>| NewEvent { causation: Some(event), ..*undone };
    Written { barrier: Some(Barrier::Compensated), events: undo.undone.map(caused).into_iter().collect() }
}
