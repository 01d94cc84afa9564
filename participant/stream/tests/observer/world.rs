//! Participants that react to each other's events, and an observer that hears of it late.
//!
//! The reactions are the real machines. What a participant writes is on stable storage after a while; a crash takes back what is not. Others
//! read of its log what is stable.

use std::collections::{BTreeMap, BTreeSet};
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::choreography::Choreography;
use undoubt_stream::declarations::{Declarations, Reaction};
use undoubt_stream::expiry::ended;
use undoubt_stream::facts::Facts;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::observer::{Observer, Place, Standing, Survey, Surveyed, Terms, Verdict};
use undoubt_stream::reaction::{AfterRefusal, Decision, Role, undone};
use undoubt_vocabulary::{
    CorrelationId, Event, EventId, Incarnation, NewEvent, ParticipantName, Partition, Position, Refusal, RefusalCode,
    SubscriptionName, Timestamp,
};
use undoubt_work::{Results, Value};

pub const SAGA: &str = "saga-1";

/// A fault of whoever asks, or is asked, which the rules have to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The participant's own log is not asked for: what its subscriptions have published may be unread.
    LogNotAsked,
    /// The participant's own log is asked for first.
    LogAskedFirst,
    /// What is parked is asked for before how far the subscriptions are.
    ParkedAskedFirst,
    ParkedNotAsked,
    GivenUpNotAsked,
    /// A list that was cut is taken for whole.
    CutTakenForWhole,
    /// A subscription tells how far it is before that is on stable storage.
    UnstableTold,
    /// The observer is not told that events were missed.
    MissedNotTold,
}

/// A participant's subscription to the events of one reaction, or of a time limit.
pub type Subscriber = (ParticipantName, SubscriptionName);

/// What one participant has stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stored {
    pub log: Vec<Event>,
    pub through: BTreeMap<(SubscriptionName, ParticipantName), usize>,
    pub barriers: BTreeMap<BarrierId, Barrier>,
    pub parked: BTreeMap<(SubscriptionName, EventId), (ParticipantName, Option<String>)>,
    pub given_up: BTreeSet<(SubscriptionName, EventId)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Participant {
    pub stable: Stored,
    pub queued: Stored,
}

/// What is parked at a moment, with its refusals, and what was given up until then.
type ParkedNow = BTreeMap<(SubscriptionName, EventId), Option<String>>;
type GivenUpNow = BTreeSet<(SubscriptionName, EventId)>;

/// A survey that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asking {
    of: ParticipantName,
    through: Option<BTreeMap<(SubscriptionName, ParticipantName), usize>>,
    parked: Option<(ParkedNow, GivenUpNow)>,
    log: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    React {
        at: Subscriber,
        from: ParticipantName,
        outcome: Outcome,
    },
    Expire,
    Flush {
        participant: ParticipantName,
    },
    Crash {
        participant: ParticipantName,
    },
    Retry {
        at: Subscriber,
        event: EventId,
    },
    GiveUp {
        at: Subscriber,
        event: EventId,
    },
    Hear {
        from: ParticipantName,
        events: usize,
    },
    /// The observer finds that what comes next is gone.
    Trimmed {
        from: ParticipantName,
    },
    Ask {
        of: ParticipantName,
    },
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Done,
    /// It is refused for good.
    Refused,
}

#[derive(Clone)]
pub struct World {
    pub mutant: Mutant,
    pub choreography: Choreography,
    pub participants: BTreeMap<ParticipantName, Participant>,
    pub observer: Observer,
    pub asking: Option<Asking>,
    pub crashes: usize,
    pub refusals: usize,
    pub surveys: usize,
    pub trims: usize,
    /// What the observer has stored as ended.
    pub ended: Option<Verdict>,
    pub now: Timestamp,
}

pub fn choreography(files: &[(&str, &str)]) -> Choreography {
    let read = |(name, text): &(&str, &str)| (name.parse().unwrap(), Declarations::read(text).unwrap());
    Choreography::of(files.iter().map(read)).unwrap()
}

impl World {
    pub fn new(choreography: Choreography, begin: (&str, &str, &str), mutant: Mutant) -> World {
        let terms = Terms { max_running: 8, max_ended: 8, quiet_after: std::time::Duration::from_secs(1) };
        let observer = Observer::found(choreography.clone(), terms, [], [], 0, Timestamp(1));
        let names: Vec<ParticipantName> = choreography.participants().map(|(name, _)| name.clone()).collect();
        let mut participants: BTreeMap<ParticipantName, Participant> =
            names.into_iter().map(|name| (name, Participant::default())).collect();
        let (at, topic, kind) = begin;
        let event = NewEvent {
            topic: topic.parse().unwrap(),
            key: "17".into(),
            kind: kind.parse().unwrap(),
            schema: "".into(),
            content_type: "application/json".into(),
            data: r#"{"item":"book","count":1,"who":"ann","price":10}"#.into(),
            expect: None,
            correlation: Some(SAGA.parse().unwrap()),
            causation: None,
        };
        let at: ParticipantName = at.parse().unwrap();
        let first = participants.get_mut(&at).unwrap();
        append(&mut first.stable.log, &at, vec![event]);
        first.queued = first.stable.clone();
        World {
            mutant,
            choreography,
            participants,
            observer,
            asking: None,
            crashes: 1,
            refusals: 2,
            surveys: usize::MAX,
            trims: 0,
            ended: None,
            now: Timestamp(3),
        }
    }

    fn correlation() -> CorrelationId {
        SAGA.parse().unwrap()
    }

    pub fn reactions(&self) -> Vec<(Subscriber, Reaction)> {
        let all = self.choreography.participants().flat_map(|(name, declared)| {
            declared.reactions.iter().map(move |reaction| ((name.clone(), reaction.subscription()), reaction.clone()))
        });
        all.collect()
    }

    /// Returns all subscriptions with the participants that they read.
    fn subscribers(&self) -> Vec<(Subscriber, BTreeSet<ParticipantName>)> {
        let mut all: Vec<_> = self
            .reactions()
            .into_iter()
            .map(|(at, reaction)| (at, reaction.heard().map(|heard| heard.from.clone()).collect()))
            .collect();
        for (name, declared) in self.choreography.participants() {
            for expiry in declared.beginnings.iter().filter_map(|beginning| beginning.expire.as_ref()) {
                let at = (name.clone(), expiry.name.as_str().parse().unwrap());
                all.push((at, expiry.unless.iter().map(|heard| heard.from.clone()).collect()));
            }
        }
        all
    }

    /// Returns the role of an event for a subscription, also that of a time limit.
    fn role(&self, (name, subscription): &Subscriber, from: &ParticipantName, event: &Event) -> Option<Role> {
        let (_, declared) = self.choreography.participants().find(|(other, _)| *other == name).unwrap();
        if let Some(reaction) = declared.reactions.iter().find(|reaction| reaction.subscription() == *subscription) {
            return reaction.role_of(from, &event.topic, &event.kind);
        }
        let mut expiries = declared.beginnings.iter().filter_map(|beginning| beginning.expire.as_ref());
        let expiry = expiries.find(|expiry| expiry.name.as_str() == subscription.as_str())?;
        expiry.ends_with(from, &event.topic, &event.kind).then_some(Role::Undo)
    }

    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, sources) in self.subscribers() {
            let own = &self.participants[&at.0].queued;
            for from in sources {
                let next = own.through.get(&(at.1.clone(), from.clone())).copied().unwrap_or(0);
                let Some(event) = self.log_of(&from).get(next) else { continue };
                let acts = self.role(&at, &from, event) == Some(Role::Act);
                actions.push(Action::React { at: at.clone(), from: from.clone(), outcome: Outcome::Done });
                if acts && self.refusals > 0 {
                    actions.push(Action::React { at: at.clone(), from, outcome: Outcome::Refused });
                }
            }
        }
        if self.expiry_is_open() {
            actions.push(Action::Expire);
        }
        for (name, participant) in &self.participants {
            if participant.stable != participant.queued {
                actions.push(Action::Flush { participant: name.clone() });
                if self.crashes > 0 {
                    actions.push(Action::Crash { participant: name.clone() });
                }
            } else {
                for (subscription, event) in participant.queued.parked.keys() {
                    let at = (name.clone(), subscription.clone());
                    actions.push(Action::Retry { at: at.clone(), event: *event });
                    actions.push(Action::GiveUp { at, event: *event });
                }
            }
            let read = self.read(name);
            let there = participant.stable.log.len();
            actions.extend((1..=there - read.min(there)).map(|events| Action::Hear { from: name.clone(), events }));
            if read < there && self.trims > 0 {
                actions.push(Action::Trimmed { from: name.clone() });
            }
        }
        match &self.asking {
            Some(asking) => actions.push(Action::Ask { of: asking.of.clone() }),
            None if self.surveys > 0 => {
                let worth =
                    self.participants.keys().filter(|name| self.subscribers().iter().any(|(at, _)| at.0 == **name));
                actions.extend(worth.map(|name| Action::Ask { of: name.clone() }));
            }
            None => {}
        }
        actions.push(Action::Look);
        actions
    }

    /// Returns the log that others read, and the participant itself.
    fn log_of(&self, from: &ParticipantName) -> &[Event] {
        &self.participants[from].stable.log
    }

    fn read(&self, from: &ParticipantName) -> usize {
        let place =
            self.observer.sources().find(|(name, _)| *name == from).map(|(_, place)| place.watermark.position());
        usize::try_from(place.unwrap_or_default().0).unwrap()
    }

    fn expiry(&self) -> Option<(ParticipantName, BarrierId, NewEvent)> {
        self.choreography.participants().find_map(|(name, declared)| {
            declared.beginnings.iter().find_map(|beginning| {
                let begun = self.participants[name]
                    .stable
                    .log
                    .iter()
                    .find(|event| beginning.begins(&event.topic, &event.kind) && event.causation.is_none())?;
                let timer = beginning.timer(&Facts::from(begun), Timestamp(0)).unwrap()?;
                Some((name.clone(), timer.id, timer.event))
            })
        })
    }

    fn expiry_is_open(&self) -> bool {
        self.expiry().is_some_and(|(name, id, _)| !self.participants[&name].queued.barriers.contains_key(&id))
    }

    pub fn step(&mut self, action: &Action) {
        match action {
            Action::React { at, from, outcome } => {
                let next =
                    self.participants[&at.0].queued.through.get(&(at.1.clone(), from.clone())).copied().unwrap_or(0);
                let event = self.log_of(from)[next].clone();
                if *outcome == Outcome::Refused {
                    self.refusals -= 1;
                }
                self.deal(at, from, &event, *outcome);
                let own = &mut self.participants.get_mut(&at.0).unwrap().queued;
                own.through.insert((at.1.clone(), from.clone()), next + 1);
            }
            Action::Expire => {
                let (name, id, event) = self.expiry().unwrap();
                let own = self.participants.get_mut(&name).unwrap();
                let undo = undoubt_stream::barrier::Undo { work: None, undone: None };
                own.queued.barriers.insert(id, Barrier::Acted { on: None, undo });
                append(&mut own.queued.log, &name, vec![event]);
            }
            Action::Flush { participant } => {
                let own = self.participants.get_mut(participant).unwrap();
                own.stable = own.queued.clone();
            }
            Action::Crash { participant } => {
                self.crashes -= 1;
                let own = self.participants.get_mut(participant).unwrap();
                own.queued = own.stable.clone();
                self.asking = self.asking.take().filter(|asking| asking.of != *participant);
            }
            Action::Retry { at, event } => {
                let own = &self.participants[&at.0].queued;
                let (from, _) = own.parked[&(at.1.clone(), *event)].clone();
                let found =
                    self.participants[&from].stable.log.iter().find(|found| found.id() == *event).unwrap().clone();
                self.participants.get_mut(&at.0).unwrap().queued.parked.remove(&(at.1.clone(), *event));
                self.deal(at, &from, &found, Outcome::Done);
            }
            Action::GiveUp { at, event } => {
                let own = &mut self.participants.get_mut(&at.0).unwrap().queued;
                own.parked.remove(&(at.1.clone(), *event));
                own.given_up.insert((at.1.clone(), *event));
            }
            Action::Hear { from, events } => self.hear(from, *events),
            Action::Trimmed { from } => {
                self.trims -= 1;
                let log = &self.participants[from].stable.log;
                let last = log.last().map_or(Watermark(None), |event| event.id().into());
                let incarnations = log.iter().map(|event| event.incarnation).collect();
                let place = Place { watermark: last, incarnations };
                if self.mutant == Mutant::MissedNotTold {
                    let stable = last.position();
                    self.observer.hear(from, &[], last, stable, Timestamp(2));
                } else {
                    self.observer.missed(from, "the log was trimmed", place);
                }
            }
            Action::Ask { of } => self.ask(of),
            Action::Look => {
                for change in self.observer.look(self.now).changes {
                    match change {
                        undoubt_stream::observer::Change::End(saga) => {
                            self.ended = Some(saga.end.clone().unwrap().verdict);
                            // Kept in the observer all the same, for events that come late.
                            self.observer.bring_back(*saga);
                        }
                        undoubt_stream::observer::Change::Drop { .. } => {}
                    }
                }
            }
        }
    }

    pub fn hear(&mut self, from: &ParticipantName, events: usize) {
        let (read, log) = (self.read(from), self.participants[from].stable.log.clone());
        let events = &log[read..read + events];
        let through = log[..read + events.len()].last().map_or(Watermark(None), |event| event.id().into());
        self.observer.hear(from, events, through, Position(log.len() as u64), self.now);
    }

    /// Takes the next part of a survey; the last one delivers it.
    pub fn ask(&mut self, of: &ParticipantName) {
        let mut asking =
            self.asking.take().unwrap_or_else(|| Asking { of: of.clone(), through: None, parked: None, log: None });
        let own = &self.participants[of];
        let shown = if self.mutant == Mutant::UnstableTold { &own.queued } else { &own.stable };
        let parked = || {
            let parked = shown.parked.iter().map(|(key, (_, refusal))| (key.clone(), refusal.clone())).collect();
            (parked, shown.given_up.clone())
        };
        let log = own.stable.log.len();
        match (&asking.through, &asking.parked, &asking.log, self.mutant) {
            (None, _, None, Mutant::LogAskedFirst) => asking.log = Some(log),
            (None, None, _, Mutant::ParkedAskedFirst) => asking.parked = Some(parked()),
            (None, _, _, _) => asking.through = Some(shown.through.clone()),
            (Some(_), None, _, _) => asking.parked = Some(parked()),
            (Some(_), Some(_), None, _) => asking.log = Some(log),
            (Some(_), Some(_), Some(_), _) => {}
        }
        if let Asking { of, through: Some(through), parked: Some((parked, given_up)), log: Some(log) } = &asking {
            let survey = self.surveyed(through, parked, given_up, *log);
            self.surveys = self.surveys.saturating_sub(1);
            self.observer.survey(of, survey);
        } else {
            self.asking = Some(asking);
        }
    }

    fn surveyed(
        &self,
        through: &BTreeMap<(SubscriptionName, ParticipantName), usize>,
        parked: &ParkedNow,
        given_up: &GivenUpNow,
        log: usize,
    ) -> Survey {
        let mut subscriptions: BTreeMap<SubscriptionName, Surveyed> = BTreeMap::new();
        for ((subscription, from), through) in through {
            let mark =
                through.checked_sub(1).map_or(Watermark(None), |at| self.participants[from].stable.log[at].id().into());
            subscriptions.entry(subscription.clone()).or_default().through.insert(from.clone(), mark);
        }
        for ((subscription, event), refusal) in parked {
            let surveyed = subscriptions.entry(subscription.clone()).or_default();
            match self.mutant {
                Mutant::ParkedNotAsked | Mutant::CutTakenForWhole => {}
                _ => drop(surveyed.parked.insert(*event, refusal.clone())),
            }
        }
        for (subscription, event) in given_up {
            if self.mutant != Mutant::GivenUpNotAsked {
                subscriptions.entry(subscription.clone()).or_default().given_up.insert(*event);
            }
        }
        let log = if self.mutant == Mutant::LogNotAsked { 0 } else { log };
        Survey { asked_at: self.now, subscriptions, log: Position(log as u64) }
    }

    /// Deals with an event as a participant does.
    fn deal(&mut self, at: &Subscriber, from: &ParticipantName, event: &Event, outcome: Outcome) {
        let Some(role) = self.role(at, from, event) else { return };
        let name = at.0.clone();
        let (_, declared) = self.choreography.participants().find(|(other, _)| **other == name).unwrap();
        let reaction = declared.reactions.iter().find(|reaction| reaction.subscription() == at.1).cloned();
        let own = &mut self.participants.get_mut(&name).unwrap().queued;
        // Events of a parked key wait; all have the same.
        if own.parked.keys().any(|(subscription, _)| *subscription == at.1) {
            own.parked.insert((at.1.clone(), event.id()), (from.clone(), None));
            return;
        }
        let id = BarrierId { correlation: event.correlation.clone(), reaction: at.1.as_str().parse().unwrap() };
        let barrier = own.barriers.get(&id);
        let Some(reaction) = reaction else {
            let Written { barrier, events } = ended(barrier);
            own.barriers.extend(barrier.map(|barrier| (id, barrier)));
            append(&mut own.log, &name, events);
            return;
        };
        let facts = Facts::from(event);
        let barrier = if reaction.has_barrier() { barrier } else { None };
        let written = match reaction.decide(role, event.id(), &facts, barrier) {
            Decision::Act { .. } if outcome == Outcome::Refused => {
                let refusal = Refusal::new(RefusalCode::Condition, "there is not enough");
                match reaction.refused(role, event.id(), &facts, refusal, u32::MAX) {
                    AfterRefusal::Write(written) => written,
                    AfterRefusal::Park(refusal) => {
                        own.parked.insert((at.1.clone(), event.id()), (from.clone(), Some(refusal.to_string())));
                        return;
                    }
                    AfterRefusal::Retry => unreachable!("it was tried often enough"),
                }
            }
            Decision::Act { .. } => {
                let results = Results::encode(&[Value::Integer(7)]);
                reaction.acted(event.id(), facts, results).unwrap()
            }
            Decision::Undo(undo) => undone(undo, event.id()),
            Decision::Write { written, .. } => written,
            Decision::Park(refusal) => {
                own.parked.insert((at.1.clone(), event.id()), (from.clone(), Some(refusal.to_string())));
                return;
            }
        };
        own.barriers.extend(written.barrier.map(|barrier| (id, barrier)));
        append(&mut own.log, &name, written.events);
    }

    /// Has a subscription take its next event of a source, and the participant store that.
    pub fn react(&mut self, at: &str, subscription: &str, from: &str, outcome: Outcome) {
        let at = (at.parse().unwrap(), subscription.parse().unwrap());
        self.step(&Action::React { at, from: from.parse().unwrap(), outcome });
        self.flush();
    }

    pub fn flush(&mut self) {
        self.participants.values_mut().for_each(|own| own.stable = own.queued.clone());
    }

    pub fn give_up(&mut self, at: &str, subscription: &str) {
        let at: Subscriber = (at.parse().unwrap(), subscription.parse().unwrap());
        let parked = &self.participants[&at.0].stable.parked;
        let (_, event) = parked.keys().find(|(parked, _)| *parked == at.1).unwrap().clone();
        self.step(&Action::GiveUp { at, event });
        self.flush();
    }

    pub fn lose(&mut self, from: &str, why: &str) {
        self.observer.lost_contact(&from.parse().unwrap(), why.to_owned(), self.now);
    }

    pub fn hear_all(&mut self) {
        for name in self.participants.keys().cloned().collect::<Vec<_>>() {
            let rest = self.participants[&name].stable.log.len().saturating_sub(self.read(&name));
            self.hear(&name, rest);
        }
    }

    pub fn survey_all(&mut self) {
        self.asking = None;
        for name in self.participants.keys().cloned().collect::<Vec<_>>() {
            self.ask(&name);
            while self.asking.is_some() {
                self.ask(&name);
            }
        }
    }

    /// Has so many sagas more begin, and be heard of.
    pub fn more_sagas(&mut self, number: u64) -> Vec<Event> {
        let name: ParticipantName = "shop".parse().unwrap();
        let first = self.participants[&name].stable.log[0].clone();
        let event = |at: u64| Event {
            position: Position(at + 1),
            previous: Position(at),
            correlation: format!("saga-{}", at + 1).parse().unwrap(),
            published_at: Timestamp(at + 1),
            ..first.clone()
        };
        let events: Vec<Event> = (1..=number).map(event).collect();
        let last = events.last().unwrap().id();
        self.observer.hear(&name, &events, last.into(), last.position, self.now);
        events
    }

    /// Returns all that the observer says of the saga, in words.
    pub fn told(&self) -> String {
        let Some(saga) = self.observer.saga(&World::correlation()) else { return "    nothing is known\n".to_owned() };
        let verdict = self.observer.judge(saga, self.now);
        let why = verdict.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let mut told = format!("    {}{why}\n", verdict.standing);
        for line in self.observer.lines(saga) {
            let at = line.participant.map_or_else(String::new, |name| format!(" at {name}"));
            told.push_str(&format!("    | {}{at}: {}\n", line.kind, line.detail));
        }
        for (step, fate) in &verdict.fates {
            told.push_str(&format!("    {step}: {}\n", fate.as_str()));
        }
        for awaited in &verdict.awaited {
            told.push_str(&format!("    waits: {awaited}\n"));
        }
        told
    }

    pub fn verdict(&self) -> Option<Verdict> {
        let saga = self.observer.saga(&World::correlation())?;
        Some(self.observer.judge(saga, self.now))
    }

    /// Returns true if events were missed.
    pub fn doubted(&self) -> bool {
        self.observer.running().any(|saga| saga.missed.is_some())
    }

    /// Returns what the participants themselves have stored of it.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        let saga = World::correlation();
        for (at, reaction) in self.reactions() {
            let own = &self.participants[&at.0].stable;
            let barrier = own.barriers.get(&BarrierId { correlation: saga.clone(), reaction: reaction.name.clone() });
            let heard = |role: Role| {
                let mut all = Vec::new();
                for from in reaction.heard().map(|heard| heard.from.clone()).collect::<BTreeSet<_>>() {
                    for (place, event) in self.participants[&from].stable.log.iter().enumerate() {
                        if reaction.role_of(&from, &event.topic, &event.kind) == Some(role) {
                            let through = own.through.get(&(at.1.clone(), from.clone())).copied().unwrap_or(0);
                            let parked = own.parked.contains_key(&(at.1.clone(), event.id()));
                            all.push((event.id(), place < through && !parked));
                        }
                    }
                }
                all
            };
            let (acts, undoes) = (heard(Role::Act), heard(Role::Undo));
            let open = |all: &[(EventId, bool)]| all.iter().any(|(_, dealt)| !dealt);
            match barrier {
                Some(Barrier::Acted { .. }) => {
                    truth.in_effect += 1;
                    truth.pending |= open(&undoes) || open(&acts);
                }
                Some(Barrier::Compensated | Barrier::Empty) => truth.not_in_effect += usize::from(!acts.is_empty()),
                None => {
                    truth.pending |= open(&acts) || (open(&undoes) && !acts.is_empty());
                    let given_up = own.given_up.iter().filter(|(subscription, _)| *subscription == at.1).count();
                    let acted = acts.len().saturating_sub(given_up);
                    if !reaction.has_barrier() {
                        truth.plain += acted;
                    }
                }
            }
            truth.given_up |= own.given_up.iter().any(|(subscription, _)| *subscription == at.1);
        }
        if let Some((name, id, _)) = self.expiry() {
            match self.participants[&name].stable.barriers.get(&id) {
                None => truth.pending = true,
                Some(Barrier::Acted { .. }) => truth.expired = true,
                Some(Barrier::Compensated | Barrier::Empty) => {}
            }
        }
        truth
    }

    /// Checks what the observer says, and what it has stored, against what is so.
    pub fn check(&self) -> Result<(), &'static str> {
        let truth = self.truth();
        if let Some(verdict) = self.verdict() {
            truth.admits(&verdict)?;
        }
        Ok(())
    }

    /// Lets all participants go on to their ends, and the observer hear and ask of all.
    pub fn drain(&mut self) {
        loop {
            let react = self.actions().into_iter().find(|action| match action {
                Action::React { outcome, .. } => *outcome == Outcome::Done,
                Action::Flush { .. } => true,
                Action::Expire => false,
                _ => false,
            });
            match react.or_else(|| self.expiry_is_open().then_some(Action::Expire)) {
                Some(action) => self.step(&action),
                None => break,
            }
        }
        self.hear_all();
        self.survey_all();
    }
}

/// What is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub in_effect: usize,
    pub not_in_effect: usize,
    pub plain: usize,
    pub pending: bool,
    pub expired: bool,
    pub given_up: bool,
}

pub const ENDED: &str = "it says that a saga has ended that goes on";
pub const DONE: &str = "it says done, and not all is in effect";
pub const UNDONE: &str = "it says undone, and something is in effect";
pub const KNOWN: &str = "it does not know in the end what has become of a saga";

impl Truth {
    pub fn admits(&self, verdict: &Verdict) -> Result<(), &'static str> {
        if !verdict.standing.has_ended() {
            return Ok(());
        }
        if self.pending {
            return Err(ENDED);
        }
        match verdict.standing {
            Standing::Done if self.not_in_effect > 0 || self.expired || self.given_up => Err(DONE),
            Standing::Undone | Standing::Expired if self.in_effect > 0 => Err(UNDONE),
            Standing::Expired if !self.expired => Err(UNDONE),
            _ => Ok(()),
        }
    }
}

fn append(log: &mut Vec<Event>, at: &ParticipantName, events: Vec<NewEvent>) {
    for event in events {
        let position = log.len() as u64 + 1;
        // Each participant has another one.
        let life = at.as_str().bytes().fold(0_u8, u8::wrapping_add);
        log.push(Event {
            position: Position(position),
            incarnation: Incarnation([life; 16]),
            topic: event.topic,
            partition: Partition(0),
            previous: Position(position - 1),
            key: event.key,
            kind: event.kind,
            schema: event.schema,
            content_type: event.content_type,
            data: event.data,
            published_at: Timestamp(1),
            version: None,
            correlation: event.correlation.unwrap(),
            causation: event.causation,
        });
    }
}
