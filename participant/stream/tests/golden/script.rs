//! Drives a reaction through events, and writes down, in words, what is made of them.

use crate::common::{Batch, Guard, NOW, Store, reaction};
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_stream::barrier::Barrier;
use undoubt_stream::declarations::Reaction;
use undoubt_stream::facts::Facts;
use undoubt_stream::inbox::Advance;
use undoubt_stream::parked::{Change, Operator, Turn};
use undoubt_stream::reaction::{AfterRefusal, Decision, Role, undone};
use undoubt_stream::subscription::{Received, Source, Subscription};
use undoubt_vocabulary::{Event, EventId, NewEvent, Position, Refusal, RefusalCode};
use undoubt_work::{Results, Value};

/// Parked events.
const MAX_PARKED_EVENTS: usize = 4;

pub struct Script {
    reaction: Reaction,
    store: Store,
    subscription: Subscription,
    events: BTreeMap<EventId, (Source, Event)>,
    /// The next attempts that are refused.
    refusals: Vec<RefusalCode>,
    /// What comes and is applied before the next attempt.
    overtaking: Option<(Source, Event)>,
    pub text: String,
}

impl Script {
    pub fn new(declaration: &str) -> Script {
        let (reaction, store) = (reaction(declaration), Store::default());
        let subscription = store.load(&reaction, MAX_PARKED_EVENTS);
        let (events, refusals) = (BTreeMap::new(), Vec::new());
        Script { reaction, store, subscription, events, refusals, overtaking: None, text: String::new() }
    }

    fn write(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn refuse(&mut self, code: RefusalCode, times: usize) {
        self.refusals.extend(std::iter::repeat_n(code, times));
    }

    /// Has an event come between the next attempt and the one after it.
    pub fn overtake(&mut self, source: &Source, event: &Event) {
        self.overtaking = Some((source.clone(), event.clone()));
    }

    pub fn restart(&mut self) {
        self.write("restart");
        self.subscription = self.store.load(&self.reaction, MAX_PARKED_EVENTS);
    }

    pub fn go_on_after(&mut self, source: &Source, floor: Position) {
        self.write(&format!("operator: {} goes on after {floor}", source.from));
        for (source, advance) in self.subscription.given_up(&source.from) {
            self.store(&source, Batch { advance: Some((source.clone(), advance)), ..Batch::default() });
        }
        self.subscription.set_floor(source.from.clone(), floor);
    }

    pub fn receive(&mut self, source: &Source, event: &Event) {
        let key = String::from_utf8_lossy(&event.key);
        let line = format!("{source}: {} {}, key {key}, saga {}", short(event.id()), event.kind, event.correlation);
        self.write(&line);
        self.events.insert(event.id(), (source.clone(), event.clone()));
        let role = self.reaction.role_of(&source.from, &source.topic, &event.kind);
        match self.subscription.receive(role, source, event, NOW) {
            Received::Repetition => self.write("    repetition"),
            Received::Gap { after } => {
                let after = after.0.map_or_else(|| "the start".to_owned(), short);
                self.write(&format!("    gap: ask the source for what is after {after}"));
            }
            Received::PutBack { watermark, found } => {
                let watermark = watermark.0.map_or_else(|| "the start".to_owned(), short);
                self.write(&format!("    put back: {} is found, {watermark} was the last", short(found)));
            }
            Received::Passed(due) => self.write(if due.is_some() { "    pass, and store" } else { "    pass" }),
            Received::Full(full) => self.write(&format!("    stop: {full}")),
            Received::Parked { advance, change } => {
                let advance = Some((source.clone(), advance));
                self.store(source, Batch { advance, changes: vec![*change], ..Batch::default() });
            }
            Received::React { role, advance } => self.react(source, event, role, advance),
        }
    }

    fn react(&mut self, source: &Source, event: &Event, role: Role, advance: Advance) {
        let mut attempts = 0;
        loop {
            let (id, barrier) = self.store.barrier(&self.reaction, event);
            let here = Some((source.clone(), advance));
            match self.attempt(event, role, &mut attempts, barrier.as_ref()) {
                AfterRefusal::Retry => {
                    self.write("    try again later");
                    if let Some((source, event)) = self.overtaking.take() {
                        self.receive(&source, &event);
                    }
                }
                AfterRefusal::Write(written) => return self.store(source, Batch::of(here, &id, written)),
                AfterRefusal::Park(refusal) => {
                    let change = self.subscription.park(source, event, Some((refusal, attempts)), NOW).unwrap();
                    return self.store(source, Batch { advance: here, changes: vec![change], ..Batch::default() });
                }
            }
        }
    }

    fn attempt(&mut self, event: &Event, role: Role, attempts: &mut u32, barrier: Option<&Barrier>) -> AfterRefusal {
        let facts = Facts::from(event);
        let decision = self.reaction.decide(role, event.id(), &facts, barrier);
        let work = match &decision {
            Decision::Act { work } => work.as_ref().map(|work| format!("do {}", work.texts().join("; "))),
            Decision::Undo(undo) => undo.work.as_ref().map(|work| format!("undo by {} bytes of work", work.len())),
            Decision::Write { why, .. } => Some(format!("nothing to do: {why:?}")),
            Decision::Park(refusal) => Some(format!("not possible: {refusal}")),
        };
        work.iter().for_each(|work| self.write(&format!("    {work}")));
        let refusal = match &decision {
            Decision::Act { .. } | Decision::Undo(_) if !self.refusals.is_empty() => Some(self.refusals.remove(0)),
            Decision::Act { .. } | Decision::Undo(_) | Decision::Write { .. } | Decision::Park(_) => None,
        };
        if let Some(code) = refusal {
            *attempts += u32::from(!code.is_transient());
            self.write(&format!("    refused: {code}, {attempts} times for good"));
            return self.reaction.refused(role, event.id(), &facts, Refusal::new(code, "because"), *attempts);
        }
        match decision {
            Decision::Act { .. } => {
                let results = Results::encode(&[Value::Integer(7)]);
                AfterRefusal::Write(self.reaction.acted(event.id(), facts, results).unwrap())
            }
            Decision::Undo(undo) => AfterRefusal::Write(undone(undo, event.id())),
            Decision::Write { written, .. } => AfterRefusal::Write(written),
            Decision::Park(refusal) => AfterRefusal::Park(refusal),
        }
    }

    /// Retries what is parked under a key, until one is refused.
    pub fn retry(&mut self, key: &str) {
        while self.retry_once(key) {}
    }

    /// Returns true if the event was applied.
    pub fn retry_once(&mut self, key: &str) -> bool {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let next = self.subscription.parked.next_of(&key).map(|(turn, parked)| (turn, parked.event.id));
        let Some((turn, event)) = next else {
            self.write("operator: retry; the key is not parked");
            return false;
        };
        self.write(&format!("operator: retry {}", short(event)));
        let (source, event) = self.events[&event].clone();
        let role = self.reaction.role_of(&source.from, &source.topic, &event.kind).unwrap();
        let (id, barrier) = self.store.barrier(&self.reaction, &event);
        // What is parked has had its attempts: the first refusal counts.
        let mut attempts = self.reaction.attempts - 1;
        let (batch, applied) = match self.attempt(&event, role, &mut attempts, barrier.as_ref()) {
            AfterRefusal::Write(written) => {
                let applied = self.subscription.parked.retried(&key, turn).unwrap();
                (Batch { changes: vec![applied], ..Batch::of(None, &id, written) }, true)
            }
            AfterRefusal::Park(refusal) => {
                let refused = self.subscription.parked.refused(&key, turn, refusal).unwrap();
                (Batch { changes: vec![refused], ..Batch::default() }, false)
            }
            AfterRefusal::Retry => return false,
        };
        self.store(&source, batch);
        applied
    }

    pub fn skip(&mut self, key: &str, turn: u64) {
        self.write(&format!("operator: skip turn {turn} of {key}"));
        let change =
            self.subscription.parked.skip(&Bytes::copy_from_slice(key.as_bytes()), Turn(turn), operator(), NOW);
        self.give_up(change.map(|change| vec![change]).map_err(|why| why.to_string()));
    }

    pub fn drop_key(&mut self, key: &str) {
        self.write(&format!("operator: drop {key}"));
        let changes = self.subscription.parked.drop_key(&Bytes::copy_from_slice(key.as_bytes()), &operator(), NOW);
        self.give_up(changes.map_err(|why| why.to_string()));
    }

    fn give_up(&mut self, changes: Result<Vec<Change>, String>) {
        match changes {
            Ok(changes) => {
                let anywhere = crate::common::source("shop", "orders", 0);
                self.store(&anywhere, Batch { changes, ..Batch::default() });
            }
            Err(why) => self.write(&format!("    not possible: {why}")),
        }
    }

    fn store(&mut self, source: &Source, batch: Batch) {
        assert!(self.store.write(&batch, Guard::All), "there is one reader");
        let mut lines = Vec::new();
        let watermark = |watermark: Option<EventId>| watermark.map_or_else(|| "the start".to_owned(), short);
        if let Some((_, Advance { from, to })) = &batch.advance {
            lines.push(format!("position {} -> {}", watermark(from.0), watermark(to.0)));
        }
        lines.extend(
            batch.barrier.iter().map(|(id, barrier)| format!("barrier of {}: {}", id.correlation, barrier.as_str())),
        );
        lines.extend(batch.changes.iter().map(change_words));
        lines.extend(batch.events.iter().map(event_words));
        self.write(&format!("    store {}", lines.join(" | ")));
        batch.advance.iter().for_each(|(_, advance)| self.subscription.advanced(source, *advance));
        batch.changes.iter().for_each(|change| self.subscription.parked.note(change));
    }
}

fn operator() -> Operator {
    Operator { who: "anna".to_owned(), reason: "sold out".to_owned() }
}

fn short(id: EventId) -> String {
    format!("{}-{}", id.incarnation.0[0], id.position)
}

fn change_words(change: &Change) -> String {
    let key = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    match change {
        Change::Park { key: k, turn, event } => {
            let why = event.refusal.as_ref().map_or("behind others".to_owned(), |refusal| refusal.to_string());
            format!(
                "park turn {} of {}: {} ({why}; {} attempts)",
                turn.0,
                key(k),
                short(event.event.id),
                event.attempts
            )
        }
        Change::Refused { key: k, turn, event } => {
            format!("turn {} of {}: {} attempts", turn.0, key(k), event.attempts)
        }
        Change::Applied { key: k, turn } => format!("unpark turn {} of {}", turn.0, key(k)),
        Change::GiveUp { key: k, turn, given_up } => {
            let (event, by) = (short(given_up.parked.event.id), &given_up.by);
            format!("give up turn {} of {}: {event} ({}: {})", turn.0, key(k), by.who, by.reason)
        }
    }
}

fn event_words(event: &NewEvent) -> String {
    let (key, data) = (String::from_utf8_lossy(&event.key), String::from_utf8_lossy(&event.data));
    let cause = event.causation.map_or("nothing".to_owned(), short);
    format!("publish {} to {}, key {key}, {data}, because of {cause}", event.kind, event.topic)
}
