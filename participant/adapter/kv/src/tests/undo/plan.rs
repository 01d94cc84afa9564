//! Random sagas of puts, deletes and additions, and what happens around them.

use crate::tests::world::{encoded, operation, put_of};
use bytes::Bytes;
use proptest::prelude::*;
use undoubt_proto::work::operation::Kind;
use undoubt_proto::work::{Add, CompareAndSet, Delete, Get, Operation, Put, Reference};

pub(super) const SIDES: usize = 2;
const COUNTERS: u8 = 2;
const SLOTS: u8 = 3;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What slots hold at first, at both sides. Counters hold a number: what adds to nothing and is undone leaves 0.
    pub(super) slots: Vec<Option<String>>,
    pub(super) sagas: Vec<Saga>,
    pub(super) events: Vec<Event>,
}

#[derive(Clone, Debug)]
pub(super) struct Saga {
    pub(super) steps: Vec<Step>,
    /// The last step that it comes to, and what befalls it there. It may be refused before.
    pub(super) last: usize,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Refused,
    /// When the step was done.
    Cancelled,
    /// Before the step was answered: its action may come after its compensation.
    CancelledUnanswered,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) side: usize,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    /// To a counter, as others do too.
    Add { counter: u8, delta: i8, guarded: bool },
    /// A slot, under a semantic lock; perhaps one named by what an earlier step left.
    Set { slot: u8, named_by: Option<u8>, to: To },
}

#[derive(Clone, Debug)]
enum To {
    Text(u8),
    /// What an earlier step left.
    Earlier(u8),
    Nothing,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A saga goes on, or back.
    Advance(u8),
    /// A message comes once more, or for the first time if it was on its way.
    Repeat(u8),
    Others {
        side: usize,
        key: Key,
        delta: i8,
        respectful: bool,
    },
    Crash {
        side: usize,
    },
    /// The low-water mark moves up to what is open.
    LowWaterMark,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Counter(u8),
    Slot(u8),
}

impl Key {
    pub(super) fn text(self) -> String {
        match self {
            Key::Counter(number) => format!("counter/{number}"),
            Key::Slot(number) => format!("slot/{number}"),
        }
    }

    pub(super) fn counters() -> impl Iterator<Item = Key> {
        (0..COUNTERS).map(Key::Counter)
    }
}

impl Step {
    /// Of the step at this place in its saga. Its inputs are the results of all steps before it.
    pub(super) fn action(&self, place: usize, refused: bool) -> Bytes {
        let never = Some(Bytes::from_static(b"never"));
        let refusal = operation("never", Kind::CompareAndSet(CompareAndSet { expected: never, ..Default::default() }));
        let changes = self.changes.iter().flat_map(|change| change.action(place));
        encoded(changes.chain(refused.then_some(refusal)))
    }

    /// Undoes the changes in reverse. What slots held before is in the action's own result, the input after the others.
    pub(super) fn compensation(&self, place: usize) -> Bytes {
        let mut result = 0;
        let mut undo = Vec::new();
        for change in &self.changes {
            undo.push(change.compensation(place, result));
            result += change.action(place).len();
        }
        encoded(undo.into_iter().rev())
    }
}

impl Change {
    fn action(&self, place: usize) -> Vec<Operation> {
        match self {
            Change::Add { counter, delta, guarded } => {
                vec![Operation { pend: *guarded, respect_pending: *guarded, ..add(Key::Counter(*counter), *delta) }]
            }
            Change::Set { slot, named_by, to } => {
                let of = |kind| named(*slot, *named_by, place, kind);
                let kind = match to {
                    To::Text(text) => put_of(&format!("text-{text}")),
                    To::Earlier(step) => restore(earlier(*step, place)),
                    To::Nothing => Kind::Delete(Delete {}),
                };
                vec![Operation { pend: true, respect_pending: true, ..of(Kind::Get(Get {})) }, of(kind)]
            }
        }
    }

    /// `result`: the place of its first result in that of its step.
    fn compensation(&self, place: usize, result: usize) -> Operation {
        match self {
            Change::Add { counter, delta, .. } => add(Key::Counter(*counter), -delta),
            Change::Set { slot, named_by, .. } => {
                let before = Reference {
                    input: place.try_into().unwrap(),
                    operation: result.try_into().unwrap(),
                    ..Reference::default()
                };
                named(*slot, *named_by, place, restore(Some(before)))
            }
        }
    }
}

pub(super) fn add(key: Key, delta: i8) -> Operation {
    operation(&key.text(), Kind::Add(Add { delta: delta.into(), floor: None, ceiling: None }))
}

fn named(slot: u8, by: Option<u8>, place: usize, kind: Kind) -> Operation {
    let key_suffix_from = by.and_then(|by| earlier(by, place));
    Operation { key_suffix_from, ..operation(&Key::Slot(slot).text(), kind) }
}

fn restore(value_from: Option<Reference>) -> Kind {
    Kind::Put(Put { value_from, ..Put::default() })
}

/// The first result of some step before this place; the first step has none.
fn earlier(step: u8, place: usize) -> Option<Reference> {
    let input = usize::from(step).checked_rem(place)?;
    Some(Reference { input: input.try_into().unwrap(), ..Reference::default() })
}

pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let slot = prop_oneof![Just(None), Just(Some("7".to_owned())), Just(Some("text".to_owned()))];
    let slots = prop::collection::vec(slot, usize::from(SLOTS));
    (slots, prop::collection::vec(sagas(), 1..5), prop::collection::vec(events(), 0..60))
        .prop_map(|(slots, sagas, events)| Plan { slots, sagas, events })
}

fn sagas() -> impl Strategy<Value = Saga> {
    let end = prop_oneof![Just(End::Refused), Just(End::Cancelled), Just(End::CancelledUnanswered)];
    let changes = prop::collection::vec(changes(), 1..4);
    let step = (0..SIDES, changes).prop_map(|(side, changes)| Step { side, changes });
    (prop::collection::vec(step, 1..5), any::<prop::sample::Index>(), end).prop_map(|(steps, last, end)| {
        let last = last.index(steps.len());
        Saga { steps, last, end }
    })
}

fn changes() -> impl Strategy<Value = Change> {
    let to = prop_oneof![any::<u8>().prop_map(To::Text), any::<u8>().prop_map(To::Earlier), Just(To::Nothing)];
    prop_oneof![
        (0..COUNTERS, -9..10_i8, prop::bool::weighted(0.3)).prop_map(|(counter, delta, guarded)| Change::Add {
            counter,
            delta,
            guarded
        }),
        (0..SLOTS, prop::option::of(any::<u8>()), to).prop_map(|(slot, named_by, to)| Change::Set {
            slot,
            named_by,
            to
        }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let key = prop_oneof![(0..COUNTERS).prop_map(Key::Counter), (0..SLOTS).prop_map(Key::Slot)];
    prop_oneof![
        12 => any::<u8>().prop_map(Event::Advance),
        6 => any::<u8>().prop_map(Event::Repeat),
        6 => (0..SIDES, key, -9..10_i8, any::<bool>())
            .prop_map(|(side, key, delta, respectful)| Event::Others { side, key, delta, respectful }),
        1 => (0..SIDES).prop_map(|side| Event::Crash { side }),
        1 => Just(Event::LowWaterMark),
    ]
}
