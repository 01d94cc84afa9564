//! Two producers' logs, a stream that hands them on, and readers of one store.
//!
//! The stream hands on any event that it has, at any time: again, late, and before those ahead of it. It loses its last event once, and
//! whoever fills it may or may not notice. A reader ends at any moment and goes on from what is stored. Two readers may be at it at once.

use crate::common::{Batch, Guard, NOW, Store};
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_stream::declarations::Reaction;
use undoubt_stream::facts::Facts;
use undoubt_stream::inbox::Advance;
use undoubt_stream::parked::Turn;
use undoubt_stream::reaction::{AfterRefusal, Decision, Role, undone};
use undoubt_stream::subscription::{Received, Source, Subscription};
use undoubt_vocabulary::{CorrelationId, Event, EventId, Refusal, RefusalCode};
use undoubt_work::{Results, Value};

/// Parked events.
const MAX_PARKED_EVENTS: usize = 2;

/// A fault of a reader or of the store, which the rules have to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The position is written before the work, in a write of its own.
    PositionFirst,
    /// The work is written before the position, in a write of its own.
    WorkFirst,
    RepetitionApplied,
    GapApplied,
    /// What is refused for good is left out, and its key is not parked.
    PoisonSkipped,
    /// Events of a parked key are applied.
    ParkedKeyIgnored,
    NoBarrier,
    /// The store does not compare the position.
    PositionNotCompared,
    /// The store does not compare the turn of what is parked with those that are taken.
    TurnNotCompared,
    /// The store does not look whether what is retried is still parked.
    ParkedNotCompared,
}

pub struct Lane {
    pub source: Source,
    pub events: Vec<Event>,
    /// How many of them the stream has at first.
    pub handed_on: usize,
}

pub struct Setting {
    pub reaction: Reaction,
    pub lanes: Vec<Lane>,
    /// The event that is refused for good until an operator has put that right.
    pub poison: EventId,
    pub readers: usize,
    pub mutant: Mutant,
}

/// An event: the lane, and its place there.
pub type Which = (usize, usize);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The stream hands an event to a reader, who asks its source if something is missing.
    HandOn {
        reader: usize,
        event: Which,
    },
    /// The reader writes what the event led to.
    Write {
        reader: usize,
    },
    Crash {
        reader: usize,
    },
    /// An operator puts right what is refused.
    PutRight,
    Retry {
        reader: usize,
        key: Bytes,
    },
    /// The stream loses its last event of the first lane.
    LoseTail,
    /// Whoever fills the stream goes on where he was.
    Append,
    /// He asks the stream where it ends, and goes on there.
    AskLast,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    React {
        event: Which,
        role: Role,
        advance: Advance,
    },
    Retry {
        event: Which,
        key: Bytes,
        turn: Turn,
    },
    /// What is left to write.
    Rest(Box<Batch>, Option<Effect>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Acted(Which),
    Undone(CorrelationId),
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reader {
    subscription: Subscription,
    pub doing: Option<Doing>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub store: Store,
    pub acted: BTreeMap<Which, u8>,
    pub undone: BTreeMap<CorrelationId, u8>,
    pub readers: Vec<Reader>,
    /// The places in their lanes of the events that the stream has.
    stream: Vec<Vec<usize>>,
    /// The next event of the first lane that is handed on.
    next: usize,
    has_lost: bool,
    put_right: bool,
}

impl Setting {
    pub fn event(&self, (lane, at): Which) -> &Event {
        &self.lanes[lane].events[at]
    }

    pub fn all(&self) -> impl Iterator<Item = Which> {
        self.lanes.iter().enumerate().flat_map(|(lane, events)| (0..events.events.len()).map(move |at| (lane, at)))
    }

    pub fn role(&self, which: Which) -> Option<Role> {
        let source = &self.lanes[which.0].source;
        self.reaction.role_of(&source.from, &source.topic, &self.event(which).kind)
    }
}

impl State {
    pub fn new(setting: &Setting) -> State {
        let store = Store::default();
        let reader = || Reader { subscription: store.load(&setting.reaction, MAX_PARKED_EVENTS), doing: None };
        let readers = (0..setting.readers).map(|_| reader()).collect();
        let stream = setting.lanes.iter().map(|lane| (0..lane.handed_on).collect()).collect();
        let (acted, undone) = (BTreeMap::new(), BTreeMap::new());
        let next = setting.lanes[0].handed_on;
        State { store, acted, undone, readers, stream, next, has_lost: false, put_right: false }
    }

    pub fn actions(&self, setting: &Setting) -> Vec<Action> {
        let mut actions = Vec::new();
        for (reader, Reader { subscription, doing }) in self.readers.iter().enumerate() {
            actions.push(Action::Crash { reader });
            if doing.is_some() {
                actions.push(Action::Write { reader });
                continue;
            }
            for (lane, events) in self.stream.iter().enumerate() {
                actions.extend(events.iter().map(|at| Action::HandOn { reader, event: (lane, *at) }));
            }
            if self.put_right {
                actions.extend(subscription.parked.keys().map(|(key, _)| Action::Retry { reader, key: key.clone() }));
            }
        }
        if !self.put_right {
            actions.push(Action::PutRight);
        }
        if !self.has_lost && !self.stream[0].is_empty() {
            actions.push(Action::LoseTail);
        }
        if self.next < setting.lanes[0].events.len() {
            actions.push(Action::Append);
        }
        actions.push(Action::AskLast);
        actions
    }

    pub fn step(&mut self, setting: &Setting, action: &Action) -> Result<(), &'static str> {
        match action {
            Action::HandOn { reader, event } => self.receive(setting, *reader, *event)?,
            Action::Write { reader } => match self.readers[*reader].doing.take() {
                Some(Doing::React { event, role, advance }) => self.react(setting, *reader, event, role, advance)?,
                Some(Doing::Retry { event, key, turn }) => self.retry(setting, *reader, event, &key, turn)?,
                Some(Doing::Rest(batch, effect)) => self.write(setting, *reader, *batch, effect)?,
                None => {}
            },
            Action::Crash { reader } => self.reload(setting, *reader),
            Action::PutRight => self.put_right = true,
            Action::Retry { reader, key } => {
                let Reader { subscription, doing } = &mut self.readers[*reader];
                if let Some((turn, parked)) = subscription.parked.next_of(key) {
                    let event = setting.all().find(|which| {
                        setting.event(*which).id() == parked.event.id
                            && setting.lanes[which.0].source.from == parked.event.from
                    });
                    let event = event.ok_or("what is parked is an event")?;
                    *doing = Some(Doing::Retry { event, key: key.clone(), turn });
                }
            }
            Action::LoseTail => {
                self.has_lost = true;
                self.stream[0].pop();
            }
            Action::Append => {
                self.stream[0].push(self.next);
                self.next += 1;
            }
            Action::AskLast => self.next = self.stream[0].last().map_or(0, |last| last + 1),
        }
        Ok(())
    }

    fn reload(&mut self, setting: &Setting, reader: usize) {
        let subscription = self.store.load(&setting.reaction, MAX_PARKED_EVENTS);
        self.readers[reader] = Reader { subscription, doing: None };
    }

    fn receive(&mut self, setting: &Setting, reader: usize, which: Which) -> Result<(), &'static str> {
        let Lane { source, events, .. } = &setting.lanes[which.0];
        let event = setting.event(which);
        let Reader { subscription, doing } = &mut self.readers[reader];
        let advance = Advance { from: subscription.inbox(source).stored(), to: event.id().into() };
        let forced = setting.role(which).map(|role| Doing::React { event: which, role, advance });
        let role = setting.reaction.role_of(&source.from, &source.topic, &event.kind);
        match subscription.receive(role, source, event, NOW) {
            Received::React { role, advance } => *doing = Some(Doing::React { event: which, role, advance }),
            Received::Parked { .. } | Received::Full(_) if setting.mutant == Mutant::ParkedKeyIgnored => {
                *doing = forced
            }
            Received::Parked { advance, change } => {
                let advance = Some((source.clone(), advance));
                *doing = Some(Doing::Rest(Batch { advance, changes: vec![*change], ..Batch::default() }.into(), None));
            }
            Received::Repetition if setting.mutant == Mutant::RepetitionApplied => *doing = forced,
            Received::Gap { .. } if setting.mutant == Mutant::GapApplied => *doing = forced,
            Received::Gap { after } => {
                let next = events.iter().position(|event| event.previous == after.position());
                return self.receive(setting, reader, (which.0, next.ok_or("the source has what is missing")?));
            }
            Received::PutBack { .. } => return Err("no log was put back"),
            Received::Repetition | Received::Passed(_) | Received::Full(_) => {}
        }
        Ok(())
    }

    fn react(
        &mut self,
        setting: &Setting,
        reader: usize,
        which: Which,
        role: Role,
        advance: Advance,
    ) -> Result<(), &'static str> {
        let source = &setting.lanes[which.0].source;
        let here = Some((source.clone(), advance));
        let (after, effect) = self.attempt(setting, which, role)?;
        let event = setting.event(which);
        let (id, _) = self.store.barrier(&setting.reaction, event);
        match after {
            AfterRefusal::Write(written) => {
                let whole = Batch::of(here.clone(), &id, written);
                let position = Batch { advance: here, ..Batch::default() };
                if setting.mutant == Mutant::PositionFirst {
                    self.write(setting, reader, position, None)?;
                    self.readers[reader].doing = Some(Doing::Rest(Batch { advance: None, ..whole }.into(), effect));
                    return Ok(());
                }
                if setting.mutant == Mutant::WorkFirst {
                    self.write(setting, reader, Batch { advance: None, ..whole }, effect)?;
                    self.readers[reader].doing = Some(Doing::Rest(position.into(), None));
                    return Ok(());
                }
                let barrier = whole.barrier.clone().filter(|_| setting.mutant != Mutant::NoBarrier);
                self.write(setting, reader, Batch { barrier, ..whole }, effect)
            }
            AfterRefusal::Park(_) if setting.mutant == Mutant::PoisonSkipped => {
                self.write(setting, reader, Batch { advance: here, ..Batch::default() }, None)
            }
            AfterRefusal::Park(refusal) => {
                match self.readers[reader].subscription.park(source, event, Some((refusal, 1)), NOW) {
                    Ok(change) => self.write(
                        setting,
                        reader,
                        Batch { advance: here, changes: vec![change], ..Batch::default() },
                        None,
                    ),
                    Err(_full) => Ok(()),
                }
            }
            AfterRefusal::Retry => Ok(()),
        }
    }

    fn retry(
        &mut self,
        setting: &Setting,
        reader: usize,
        which: Which,
        key: &Bytes,
        turn: Turn,
    ) -> Result<(), &'static str> {
        let role = setting.role(which).ok_or("what is parked was heard")?;
        let (after, effect) = self.attempt(setting, which, role)?;
        let (id, _) = self.store.barrier(&setting.reaction, setting.event(which));
        let AfterRefusal::Write(written) = after else { return Ok(()) };
        let applied = self.readers[reader].subscription.parked.retried(key, turn).map_err(|_| "it is parked")?;
        self.write(setting, reader, Batch { changes: vec![applied], ..Batch::of(None, &id, written) }, effect)
    }

    /// Does what the reaction decides by what is stored at this moment.
    fn attempt(
        &self,
        setting: &Setting,
        which: Which,
        role: Role,
    ) -> Result<(AfterRefusal, Option<Effect>), &'static str> {
        let (event, reaction) = (setting.event(which), &setting.reaction);
        let facts = Facts::from(event);
        let (_, barrier) = self.store.barrier(reaction, event);
        let barrier = barrier.filter(|_| setting.mutant != Mutant::NoBarrier);
        let broken = event.id() == setting.poison && which.0 == 0 && !self.put_right;
        Ok(match reaction.decide(role, event.id(), &facts, barrier.as_ref()) {
            Decision::Act { .. } if broken => {
                let refusal = Refusal::new(RefusalCode::Condition, "it is broken");
                (reaction.refused(role, event.id(), &facts, refusal, reaction.attempts), None)
            }
            Decision::Act { .. } => {
                let results = Results::encode(&[Value::Integer(7)]);
                let written = reaction.acted(event.id(), facts, results).map_err(|_| "results fit")?;
                (AfterRefusal::Write(written), Some(Effect::Acted(which)))
            }
            Decision::Undo(undo) => {
                (AfterRefusal::Write(undone(undo, event.id())), Some(Effect::Undone(event.correlation.clone())))
            }
            Decision::Write { written, .. } => (AfterRefusal::Write(written), None),
            Decision::Park(refusal) => (AfterRefusal::Park(refusal), None),
        })
    }

    /// Writes; if another reader has written meanwhile, nothing, and reads again what is stored.
    fn write(
        &mut self,
        setting: &Setting,
        reader: usize,
        batch: Batch,
        effect: Option<Effect>,
    ) -> Result<(), &'static str> {
        let no_position = [Mutant::PositionNotCompared, Mutant::RepetitionApplied, Mutant::GapApplied];
        let guard = if no_position.contains(&setting.mutant) {
            Guard::NoPosition
        } else if setting.mutant == Mutant::TurnNotCompared {
            Guard::NoTurn
        } else if setting.mutant == Mutant::ParkedNotCompared {
            Guard::NoParked
        } else {
            Guard::All
        };
        if !self.store.write(&batch, guard) {
            self.reload(setting, reader);
            return Ok(());
        }
        let subscription = &mut self.readers[reader].subscription;
        batch.advance.iter().for_each(|(source, advance)| subscription.advanced(source, *advance));
        batch.changes.iter().for_each(|change| subscription.parked.note(change));
        match effect {
            Some(Effect::Acted(which)) => {
                self.check_order(setting, which)?;
                *self.acted.entry(which).or_default() += 1;
            }
            Some(Effect::Undone(saga)) => *self.undone.entry(saga).or_default() += 1,
            None => {}
        }
        Ok(())
    }
}
