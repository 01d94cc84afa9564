//! One reaction at work: it takes the events of its sources in their order, and writes what follows from each with how far it has come.
//!
//! The next event is taken once what follows from the one before is queued, not only once it is on stable storage: the store writes in the
//! order in which it was asked, so no crash keeps the later without the earlier. What was queued and not answered yet is remembered
//! here: barriers, which a read of the store may not see.

mod keeping;
mod resuming;
mod timers;
mod words;

use super::reading::{Reading, Start, Told, Turn};
use super::showing::{MAX_GIVEN_UP_SHOWN, Showing};
use super::store::{Asking, Carried, InboxId, LocalTransaction, Place, ReactionStore, Then};
use super::subject::Subject;
use super::view::{ShownGivenUp, Standing, View};
use crate::resource::ResourceError;
use bytes::Bytes;
use futures::future::{BoxFuture, pending};
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use undoubt_platform::{Clock, Random};
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::facts::Facts;
use undoubt_stream::inbox::{Advance, Watermark};
use undoubt_stream::parked::{Change, NotPossible, Parked};
use undoubt_stream::reaction::{AfterRefusal, Decision, Role, undone};
use undoubt_stream::subscription::{Received, Source, Subscription};
use undoubt_vocabulary::{Backoff, Event, EventId, ParticipantName, Refusal, SubscriptionName, TxId};

use keeping::{KEEP_PERIOD, Keeping};
use timers::TIMER_PERIOD;
pub(crate) use words::{Asked, Obeyed, Word};

/// Local transactions of one reaction that are queued and not on stable storage yet.
const MAX_UNDER_WAY: usize = 256;

/// Positions of a source after which it is stored how far the subscription has come, though nothing of them was its own.
const PLACE_AFTER: u64 = 1_024;

/// The time for which a reaction waits for locks, before it tries again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a runner takes from outside.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) store: Arc<dyn ReactionStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) retries: Backoff,
    pub(super) view: View,
}

/// A write that is queued: its number, and the barrier that it sets.
type UnderWay = BoxFuture<'static, Result<(u64, Option<BarrierId>), ResourceError>>;

pub(super) struct Runner {
    subject: Arc<Subject>,
    subscription: SubscriptionName,
    surroundings: Surroundings,
    sources: BTreeMap<ParticipantName, Reading>,
    places: BTreeMap<ParticipantName, Watermark>,
    /// What the sources tell.
    told: SelectAll<BoxStream<'static, (ParticipantName, Told)>>,
    /// The sources that are not read until an operator says from where.
    stopped: BTreeSet<ParticipantName>,
    keeping: Keeping,
    state: Subscription,
    /// Barriers whose writes were not answered yet, each with the number of its write.
    unanswered: BTreeMap<BarrierId, (u64, Barrier)>,
    under_way: FuturesUnordered<UnderWay>,
    writes: u64,
    showing: Showing,
    words: mpsc::Receiver<Asked>,
}

/// What is to be written about an event.
struct About<'a> {
    source: &'a Source,
    event: &'a Event,
    /// The step of the watermark; `None` of a parked event, whose position is stored already.
    advance: Option<Advance>,
    parked: Vec<(SubscriptionName, Change)>,
}

/// What came of an event.
enum Came {
    Written,
    /// It was refused; how to go on is to be decided.
    Refused(Refusal),
    /// It cannot be done at all.
    Impossible(Refusal),
}

impl Runner {
    pub(super) fn new(
        subject: Arc<Subject>,
        surroundings: Surroundings,
        sources: BTreeMap<ParticipantName, Reading>,
        stored: &super::store::StoredSubscriptions,
        max_parked_events: usize,
        words: mpsc::Receiver<Asked>,
    ) -> Runner {
        let subscription = subject.subscription();
        let own_places = stored.places.iter().filter(|place| place.subscription == subscription);
        let own_inboxes = stored.watermarks.iter().filter(|(inbox, _)| inbox.subscription == subscription);
        let own_parked = stored.parked.iter().filter(|parked| parked.subscription == subscription);
        let own_parked = own_parked.map(|parked| (parked.key.clone(), parked.turn, parked.event.clone()));
        // A source is read in one order, so what comes before the last event that was dealt with was dealt with too.
        let mut places: BTreeMap<ParticipantName, Watermark> = BTreeMap::new();
        let reached = own_places.clone().map(|place| (&place.from, place.watermark));
        for (from, watermark) in
            reached.chain(own_inboxes.clone().map(|(inbox, watermark)| (&inbox.source.from, *watermark)))
        {
            let place = places.entry(from.clone()).or_default();
            if watermark.position() > place.position() {
                *place = watermark;
            }
        }
        let mut state = Subscription::found(
            own_inboxes.map(|(inbox, watermark)| (inbox.source.clone(), *watermark)),
            Parked::found(subscription.clone(), max_parked_events, own_parked),
        );
        own_places.for_each(|place| state.set_floor(place.from.clone(), place.floor));
        let own_given_up = stored.given_up.iter().filter(|parked| parked.subscription == subscription).rev();
        let given_up = own_given_up.map(|given_up| (given_up.key.to_vec(), given_up.turn, given_up.event.clone()));
        let given_up: Vec<_> = given_up.take(MAX_GIVEN_UP_SHOWN + 1).collect();
        let more = stored.given_up_is_cut || given_up.len() > MAX_GIVEN_UP_SHOWN;
        let given_up = ShownGivenUp { events: given_up, more };
        Runner {
            showing: Showing::new(surroundings.view.clone(), subscription.clone(), given_up),
            places,
            told: SelectAll::new(),
            stopped: BTreeSet::new(),
            keeping: Keeping::default(),
            state,
            subject,
            subscription,
            surroundings,
            sources,
            unanswered: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            writes: 0,
            words,
        }
    }

    /// Runs until its resource fails.
    pub(super) async fn run(mut self) -> Result<(), ResourceError> {
        for (from, reading) in &self.sources {
            let place = self.places.get(from).copied().unwrap_or_default();
            self.told.push(reading.clone().after(Start { place, floor: self.state.floor(from) }));
        }
        self.show_parked();
        let mut keeping = interval(KEEP_PERIOD);
        keeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut timers = interval(TIMER_PERIOD);
        timers.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_room = self.under_way.len() < MAX_UNDER_WAY;
            tokio::select! {
                biased;
                Some(answered) = self.under_way.next(), if !self.under_way.is_empty() => self.answered(answered?),
                Some((word, reply)) = self.words.recv() => {
                    let answer = self.obey(word).await?;
                    // Whoever asked may have gone.
                    let _ = reply.send(answer);
                }
                Some((from, told)) = self.told.next(), if has_room => self.take(&from, told).await?,
                Some(()) = self.keeping.under_way.next() => {}
                _ = keeping.tick() => self.keep(),
                _ = timers.tick(), if self.subject.has_timers() => self.fire_due().await?,
                // All sources have stopped, and nobody can say a word.
                else => return pending().await,
            }
        }
    }

    fn answered(&mut self, (number, barrier): (u64, Option<BarrierId>)) {
        if let Some(id) = barrier
            && self.unanswered.get(&id).is_some_and(|(latest, _)| *latest == number)
        {
            self.unanswered.remove(&id);
        }
        self.keeping_answered(number);
        self.showing.answered(number);
    }

    /// Waits for a call of the store while what is under way goes on: what it waits for may be a lock of that.
    async fn waiting<T>(&mut self, mut call: BoxFuture<'_, Result<T, ResourceError>>) -> Result<T, ResourceError> {
        loop {
            tokio::select! {
                biased;
                Some(answered) = self.under_way.next(), if !self.under_way.is_empty() => self.answered(answered?),
                done = &mut call => return done,
            }
        }
    }

    async fn pause(&mut self, failures: u32) -> Result<(), ResourceError> {
        let pause = self.surroundings.random.pause(self.surroundings.retries, failures);
        let slept = async move {
            sleep(pause).await;
            Ok(())
        };
        self.waiting(Box::pin(slept)).await
    }

    async fn take(&mut self, from: &ParticipantName, told: Told) -> Result<(), ResourceError> {
        let name = (self.subscription.clone(), from.clone());
        match told {
            Told::Away(why) => {
                tracing::warn!(subscription = %self.subscription, source = %from, why, "the events of a source cannot be read, which is tried again");
                self.surroundings.view.stands(&name, Standing::Away(why));
            }
            Told::Stopped(_, why) => self.stop(from, why),
            Told::BeginsBehind(floor) => {
                tracing::warn!(subscription = %self.subscription, source = %from, %floor, "a subscription begins behind events that its source does not keep any more");
                let mut failures = 0;
                while !self.set_floor(from, floor).await? {
                    self.pause(failures).await?;
                    failures += 1;
                }
            }
            Told::Events { events, through, stable } => {
                for event in &events {
                    if !self.event(from, event).await? {
                        return Ok(());
                    }
                }
                let last_at = events.last().map(|event| event.published_at);
                self.surroundings.view.reads(&name, stable);
                self.showing.reached(from, through, last_at, self.writes);
                let stored = self.places.get(from).map_or(0, |place| place.position().0);
                if through.position().0.saturating_sub(stored) >= PLACE_AFTER {
                    self.store_place(from, through).await?;
                }
            }
        }
        Ok(())
    }

    /// Deals with one event. Returns false if the source has to be read again from elsewhere, or not at all.
    async fn event(&mut self, from: &ParticipantName, event: &Event) -> Result<bool, ResourceError> {
        let (from, topic) = (from.clone(), event.topic.clone());
        let source = Source { from, topic, partition: event.partition };
        let role = self.subject.role_of(&source.from, &source.topic, &event.kind);
        let mut failures = 0;
        loop {
            let now = self.surroundings.clock.now();
            match self.state.receive(role, &source, event, now) {
                Received::Repetition | Received::Passed(None) => return Ok(true),
                Received::Passed(Some(advance)) => {
                    let about = About { source: &source, event, advance: Some(advance), parked: Vec::new() };
                    // If it is refused, it comes with a later one.
                    self.write(&about, None, nothing()).await?;
                    return Ok(true);
                }
                Received::Gap { after } => {
                    tracing::warn!(subscription = %self.subscription, %source, position = %event.position, %after, "events are missing before this one; they are read again");
                    self.read_again(&source.from, after);
                    return Ok(false);
                }
                Received::PutBack { watermark, found } => {
                    let why = format!(
                        "where the event {watermark} was, there is {found} now: the source was put back from an older copy"
                    );
                    if let Some(reading) = self.sources.get(&source.from) {
                        reading.ask(Turn::End);
                    }
                    self.stop(&source.from, why);
                    return Ok(false);
                }
                Received::React { role, advance } => {
                    self.apply(&source, event, role, advance).await?;
                    return Ok(true);
                }
                Received::Parked { advance, change } => {
                    let parked = vec![(self.subscription.clone(), *change)];
                    let about = About { source: &source, event, advance: Some(advance), parked };
                    if let Came::Written = self.write(&about, None, nothing()).await? {
                        self.show_parked();
                        return Ok(true);
                    }
                }
                Received::Full(full) => self.is_full(&source, &full).await?,
            }
            self.pause(failures).await?;
            failures += 1;
        }
    }

    /// Says that there is no room among the parked events, and listens to operators, who can make some.
    async fn is_full(&mut self, source: &Source, full: &NotPossible) -> Result<(), ResourceError> {
        let name = (self.subscription.clone(), source.from.clone());
        self.surroundings.view.stands(&name, Standing::Full(full.to_string()));
        while let Ok((word, reply)) = self.words.try_recv() {
            let answer = Box::pin(self.obey(word)).await?;
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
        Ok(())
    }

    fn read_again(&self, from: &ParticipantName, after: Watermark) {
        if let Some(reading) = self.sources.get(from) {
            reading.ask(Turn::To(after));
        }
    }

    fn stop(&mut self, from: &ParticipantName, why: String) {
        tracing::error!(subscription = %self.subscription, source = %from, why, "a subscription has stopped reading a source; look at it, then say where it goes on: undoubt resume-subscription");
        self.stopped.insert(from.clone());
        self.surroundings.view.stands(&(self.subscription.clone(), from.clone()), Standing::Stopped(why));
    }

    /// Does what follows from an event, until it is written or its key is parked.
    async fn apply(
        &mut self,
        source: &Source,
        event: &Event,
        role: Role,
        advance: Advance,
    ) -> Result<(), ResourceError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let about = About { source, event, advance: Some(advance), parked: Vec::new() };
            let refusal = match self.react(&about, role).await? {
                Came::Written => return Ok(()),
                Came::Refused(refusal) => refusal,
                Came::Impossible(refusal) => {
                    return self.park(source, event, advance, (refusal, attempts)).await;
                }
            };
            let facts = Facts::from(event);
            let why = format!("attempt {attempts} at the event {} was refused, and is repeated: {refusal}", event.id());
            match self.subject.refused(role, event.id(), &facts, refusal, Some(attempts)) {
                AfterRefusal::Retry => {
                    tracing::warn!(subscription = %self.subscription, %source, why, "a reaction is held up");
                    let name = (self.subscription.clone(), source.from.clone());
                    self.surroundings.view.stands(&name, Standing::HeldUp(why));
                    self.pause(attempts - 1).await?;
                }
                AfterRefusal::Write(written) => {
                    let barrier = self.barrier_id(event);
                    if let Came::Refused(refusal) = self.write(&about, Some(barrier), written).await? {
                        return self.park(source, event, advance, (refusal, attempts)).await;
                    }
                    return Ok(());
                }
                AfterRefusal::Park(refusal) => {
                    return self.park(source, event, advance, (refusal, attempts)).await;
                }
            }
        }
    }

    fn barrier_id(&self, event: &Event) -> BarrierId {
        BarrierId { correlation: event.correlation.clone(), reaction: self.subject.name().clone() }
    }

    async fn barrier(&mut self, id: &BarrierId) -> Result<Option<Barrier>, ResourceError> {
        if !self.subject.has_barrier() {
            return Ok(None);
        }
        if let Some((_, barrier)) = self.unanswered.get(id) {
            return Ok(Some(barrier.clone()));
        }
        let mut failures = 0;
        loop {
            let (store, id) = (self.surroundings.store.clone(), id.clone());
            match self.waiting(Box::pin(async move { store.barrier(&id).await })).await {
                Err(not_now) if is_passing(&not_now) => {
                    tracing::warn!(subscription = %self.subscription, %not_now, "what became of a reaction cannot be read now; it is tried again");
                    self.pause(failures).await?;
                    failures += 1;
                }
                read => return read,
            }
        }
    }

    /// Decides about an event and carries that out.
    async fn react(&mut self, about: &About<'_>, role: Role) -> Result<Came, ResourceError> {
        let (event, facts) = (about.event, Facts::from(about.event));
        let id = self.barrier_id(event);
        let mut barrier = self.barrier(&id).await?;
        if barrier.is_none() && role == Role::Undo && self.surroundings.store.asks_others() {
            // What was asked for and not answered may be in effect.
            barrier = self.surroundings.store.attempted(&id).await?;
        }
        let caused_by = event.id();
        match self.subject.decide(role, caused_by, &facts, barrier.as_ref()) {
            Decision::Act { work } => {
                let work = match work.map(|work| work.encode(&[])).transpose() {
                    Ok(work) => work,
                    Err(invalid) => return Ok(Came::Refused(invalid.into())),
                };
                let asking = self.asking(about, caused_by, false, || self.subject.attempted(caused_by, &facts));
                let subject = self.subject.clone();
                let then: Then = Box::new(move |results| subject.acted(caused_by, facts, results));
                self.carry_out(about, Some(id), (work, asking), then).await
            }
            Decision::Undo(undo) => {
                let work = undo.work.clone();
                let effect = match &barrier {
                    Some(Barrier::Acted { on: Some(on), .. }) => *on,
                    Some(Barrier::Acted { on: None, .. } | Barrier::Compensated | Barrier::Empty) | None => caused_by,
                };
                let asking = self.asking(about, effect, true, || None);
                self.carry_out(about, Some(id), (work, asking), Box::new(move |_| Ok(undone(undo, caused_by)))).await
            }
            Decision::Write { why: _, written } => self.write(about, Some(id), written).await,
            Decision::Park(refusal) => Ok(Came::Impossible(refusal)),
        }
    }

    async fn write(
        &mut self,
        about: &About<'_>,
        barrier: Option<BarrierId>,
        written: Written,
    ) -> Result<Came, ResourceError> {
        self.carry_out(about, barrier, (None, None), Box::new(move |_| Ok(written))).await
    }

    /// Returns what somebody else has to know who is asked for the work, if somebody is.
    fn asking(
        &self,
        about: &About<'_>,
        effect: EventId,
        undoes: bool,
        attempt: impl FnOnce() -> Option<Barrier>,
    ) -> Option<Box<Asking>> {
        let asking = || Asking {
            subscription: self.subscription.clone(),
            event: about.event.clone(),
            from: about.source.from.clone(),
            effect,
            undoes,
            attempt: attempt(),
        };
        self.surroundings.store.asks_others().then(|| Box::new(asking()))
    }

    async fn carry_out(
        &mut self,
        about: &About<'_>,
        barrier: Option<BarrierId>,
        (work, asking): (Option<Bytes>, Option<Box<Asking>>),
        then: Then,
    ) -> Result<Came, ResourceError> {
        let About { source, event, advance, parked } = about;
        let transaction = LocalTransaction {
            id: lock_owner(&self.subscription, event),
            correlation: event.correlation.clone(),
            begun_at: event.published_at,
            timeout: LOCK_TIMEOUT,
            work,
            advances: advance.map(|advance| (self.inbox(source), advance)).into_iter().collect(),
            place: None,
            timer: None,
            barrier: barrier.clone(),
            parked: parked.clone(),
            asking,
            then,
        };
        let store = self.surroundings.store.clone();
        let carried = self.waiting(Box::pin(async move { store.carry_out(transaction).await })).await;
        match carried {
            Ok(Carried::Done { barrier: set, written }) => {
                self.queued(barrier.zip(set), written);
                if let Some(advance) = advance {
                    self.state.advanced(source, *advance);
                }
                parked.iter().for_each(|(_, change)| self.state.parked.note(change));
                Ok(Came::Written)
            }
            Ok(Carried::Refused(refusal)) => Ok(Came::Refused(refusal)),
            Ok(Carried::Moved { inbox, stored }) => Err(moved(&inbox, stored)),
            Err(ResourceError::Unavailable { cause }) => Ok(Came::Refused(not_now(cause))),
            Err(ResourceError::NoRoom) => Ok(Came::Refused(not_now("there is no room for what it reads".to_owned()))),
            Err(
                error @ (ResourceError::Unclear { .. }
                | ResourceError::Foreign { .. }
                | ResourceError::Stopped { .. }
                | ResourceError::Fenced { .. }),
            ) => Err(error),
        }
    }

    fn queued(
        &mut self,
        barrier: Option<(BarrierId, Barrier)>,
        written: BoxFuture<'static, Result<(), ResourceError>>,
    ) {
        self.writes += 1;
        let number = self.writes;
        self.showing.queued(number);
        let id = barrier.as_ref().map(|(id, _)| id.clone());
        self.unanswered.extend(barrier.map(|(id, barrier)| (id, (number, barrier))));
        self.under_way.push(Box::pin(async move {
            written.await?;
            Ok((number, id))
        }));
    }

    fn inbox(&self, source: &Source) -> InboxId {
        InboxId { subscription: self.subscription.clone(), source: source.clone() }
    }

    /// Parks an event, as soon as there is room for it.
    async fn park(
        &mut self,
        source: &Source,
        event: &Event,
        advance: Advance,
        refused: (Refusal, u32),
    ) -> Result<(), ResourceError> {
        let mut failures = 0;
        loop {
            let now = self.surroundings.clock.now();
            match self.state.park(source, event, Some(refused.clone()), now) {
                Ok(change) => {
                    let parked = vec![(self.subscription.clone(), change)];
                    let about = About { source, event, advance: Some(advance), parked };
                    if let Came::Written = self.write(&about, None, nothing()).await? {
                        let (refusal, attempts) = refused;
                        tracing::error!(subscription = %self.subscription, event = %event.id(), kind = %event.kind, %refusal, attempts, "an event cannot be applied: its key is parked; look at undoubt parked");
                        self.show_parked();
                        return Ok(());
                    }
                }
                Err(full) => self.is_full(source, &full).await?,
            }
            self.pause(failures).await?;
            failures += 1;
        }
    }

    async fn store_place(&mut self, from: &ParticipantName, through: Watermark) -> Result<(), ResourceError> {
        let unstored = self.state.unstored(from);
        let advances: Vec<_> = unstored.iter().map(|(source, advance)| (self.inbox(source), *advance)).collect();
        let Some(number) = through.0 else { return Ok(()) };
        let floor = self.state.floor(from);
        let place = Place { subscription: self.subscription.clone(), from: from.clone(), watermark: through, floor };
        let transaction = LocalTransaction {
            id: TxId::new([&number.incarnation.0[..], &number.position.0.to_be_bytes(), b"place"].concat())
                .expect("29 bytes are an id"),
            correlation: "place".parse().expect("it is an id"),
            begun_at: self.surroundings.clock.now(),
            timeout: LOCK_TIMEOUT,
            work: None,
            advances,
            place: Some(place),
            timer: None,
            barrier: None,
            parked: Vec::new(),
            asking: None,
            then: Box::new(|_| Ok(Written::default())),
        };
        let store = self.surroundings.store.clone();
        match self.waiting(Box::pin(async move { store.carry_out(transaction).await })).await {
            Ok(Carried::Done { written, .. }) => {
                self.queued(None, written);
                for (source, advance) in unstored {
                    self.state.advanced(&source, advance);
                }
                self.places.insert(from.clone(), through);
                Ok(())
            }
            // It comes with a later one.
            Ok(Carried::Refused(_)) | Err(ResourceError::Unavailable { .. } | ResourceError::NoRoom) => Ok(()),
            Ok(Carried::Moved { inbox, stored }) => Err(moved(&inbox, stored)),
            Err(
                error @ (ResourceError::Unclear { .. }
                | ResourceError::Foreign { .. }
                | ResourceError::Stopped { .. }
                | ResourceError::Fenced { .. }),
            ) => Err(error),
        }
    }

    fn show_parked(&mut self) {
        self.showing.parked(&self.state.parked, self.writes);
    }
}

/// Returns the owner of the locks of a reaction to an event.
fn lock_owner(subscription: &SubscriptionName, event: &Event) -> TxId {
    let position = event.position.0.to_be_bytes();
    let name = &subscription.as_str().as_bytes()[..subscription.as_str().len().min(40)];
    TxId::new([&event.incarnation.0[..], &position, name].concat()).expect("at most 64 bytes are an id")
}

/// Returns true of an error after which a read is tried again.
fn is_passing(error: &ResourceError) -> bool {
    match error {
        ResourceError::Unavailable { .. } | ResourceError::NoRoom | ResourceError::Unclear { .. } => true,
        ResourceError::Foreign { .. } | ResourceError::Stopped { .. } | ResourceError::Fenced { .. } => false,
    }
}

fn nothing() -> Written {
    Written::default()
}

fn not_now(cause: String) -> Refusal {
    Refusal::new(undoubt_vocabulary::RefusalCode::Unavailable, cause)
}

fn moved(inbox: &InboxId, stored: Watermark) -> ResourceError {
    let InboxId { subscription, source } = inbox;
    let cause =
        format!("the subscription {subscription} has come to {stored} in {source}: another process is at work on it");
    ResourceError::Stopped { cause }
}
