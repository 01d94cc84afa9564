//! Subscriptions: how a participant hears of what others publish, and does its own work about it.
//!
//! * `store` is what a resource has to be able to do; `rows` are the rows that adapters with a store keep.
//! * `sources` are the logs that are read, `reading` reads one of them whatever becomes of its connection.
//! * `runner` is one reaction at work. What it does about an event the pure machines of `undoubt-stream` say.
//! * `view` is how they stand.

mod reading;
mod rows;
mod runner;
mod sources;
mod store;
mod subject;
mod view;

use crate::config::Config;
use crate::event_log::EventSource;
use crate::resource::ResourceError;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, pending};
use futures::stream::{FuturesUnordered, StreamExt as _};
use reading::Reading;
use runner::{Asked, Runner, Surroundings};
use sources::WithOwn;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use subject::Subject;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use undoubt_platform::{Clock, Random};
use undoubt_stream::declarations::Declarations;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::parked::{DEFAULT_MAX_PARKED_EVENTS, Operator};
use undoubt_vocabulary::{ParticipantName, Position, ReaderName, SubscriptionName, TopicName};

pub(crate) use rows::read_event;
pub use rows::{
    FAMILIES, GIVEN_UP, INBOX, PARKED, REACTION, Rows, TIMER, barrier_key, put_barrier, put_parked, put_place,
    put_timer, read_barrier, read_timer, read_watermark, timer_keys, timer_row, watermark_row,
};
pub(crate) use runner::{Obeyed, Word};
pub use sources::{Batches, DialSources, Sources};
pub use store::{Carried, InboxId, LocalTransaction, Place, ReactionStore, StoredParked, StoredSubscriptions, Then};
pub(crate) use view::{Shown, ShownParked, Standing, View};

/// Words of operators that may wait for one subscription.
const MAX_WORDS_WAITING: usize = 16;

/// The time in which a subscription answers a word of an operator.
const WORD_TIMEOUT: Duration = Duration::from_secs(20);

/// The subscriptions of a participant, as its settings have them.
#[derive(Clone)]
pub struct Subscribing {
    pub declarations: Arc<Declarations>,
    pub sources: Arc<dyn Sources>,
}

impl std::fmt::Debug for Subscribing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscribing").field("declarations", &self.declarations).finish_non_exhaustive()
    }
}

/// The subscriptions of a participant, for operators. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Subscriptions {
    pub(crate) view: View,
    words: Arc<BTreeMap<SubscriptionName, mpsc::Sender<Asked>>>,
}

impl Subscriptions {
    pub(crate) fn names(&self) -> impl Iterator<Item = &SubscriptionName> {
        self.words.keys()
    }

    /// Has a word of an operator carried out. Returns what the [`Word`] says; `Err` says why not.
    pub(crate) async fn tell(&self, subscription: &SubscriptionName, word: Word) -> Result<Obeyed, String> {
        let known = || self.names().map(SubscriptionName::as_str).collect::<Vec<_>>().join(", ");
        let words = self.words.get(subscription);
        let words =
            words.ok_or_else(|| format!("there is no subscription {subscription} here; there are: {}", known()))?;
        let (reply, answer) = oneshot::channel();
        let stopping = || "the participant is stopping; ask again at its next start".to_owned();
        let told = async {
            words.send((word, reply)).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        };
        let late = |_| {
            format!(
                "the subscription {subscription} is busy, and may do it later; look at its state, and at what is parked, before you ask again"
            )
        };
        timeout(WORD_TIMEOUT, told).await.map_err(late)?
    }
}

/// Returns an operator's word that tries the parked events of a key again.
pub(crate) fn retry(key: Bytes) -> Word {
    Word::Retry { key }
}

/// Returns an operator's word that gives up one parked event of a key, or all.
pub(crate) fn give_up(key: Bytes, turn: Option<u64>, who: String, reason: String) -> Word {
    Word::GiveUp { key, turn, by: Operator { who, reason } }
}

/// Returns an operator's word that has a subscription go on from another position of a source.
pub(crate) fn resume(from: ParticipantName, after: Option<Position>) -> Word {
    Word::Resume { from, after }
}

/// Returns an operator's word that tells a parked event.
pub(crate) fn show(key: Bytes, turn: u64) -> Word {
    Word::Show { key, turn }
}

/// Begins all subscriptions. Returns them for operators, and what has to be driven: it ends when the resource fails.
pub(crate) async fn begin(
    config: &Config,
    name: ParticipantName,
    store: Arc<dyn ReactionStore>,
    own: Option<Arc<dyn EventSource>>,
    Subscribing { declarations, sources }: Subscribing,
    (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
) -> Result<(Subscriptions, BoxFuture<'static, Result<(), ResourceError>>), ResourceError> {
    let reactions = declarations.reactions.iter().cloned().map(Box::new).map(Subject::Reaction);
    let expiries = declarations
        .beginnings
        .iter()
        .filter_map(|beginning| beginning.expire.clone())
        .map(Box::new)
        .map(Subject::Expiry);
    let subjects: Vec<Subject> = reactions.chain(expiries).collect();
    if subjects.is_empty() {
        return Ok((Subscriptions::default(), pending().boxed()));
    }
    let own_name = name.clone();
    let sources: Arc<dyn Sources> = Arc::new(WithOwn { name, own, others: sources });
    let stored = store.stored().await?;
    let view = View::default();
    let mut words = BTreeMap::new();
    let running = FuturesUnordered::new();
    for subject in subjects {
        let (sender, receiver) = mpsc::channel(MAX_WORDS_WAITING);
        let subscription = subject.subscription();
        words.insert(subscription.clone(), sender);
        let reading = |(from, topics): (ParticipantName, Vec<TopicName>)| {
            let reading = Reading {
                from: from.clone(),
                topics,
                sources: sources.clone(),
                random: random.clone(),
                retries: config.retries(),
                reader: ReaderName::of(&own_name, &subscription),
                turn: Arc::default(),
            };
            (from, reading)
        };
        let readings: BTreeMap<_, _> = topics_by_source(&subject).into_iter().map(reading).collect();
        for from in readings.keys() {
            let place = stored.places.iter().find(|place| place.subscription == subscription && place.from == *from);
            view.begins((subscription.clone(), from.clone()), place.map_or(Watermark(None), |place| place.watermark));
        }
        let surroundings = Surroundings {
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            retries: config.retries(),
            view: view.clone(),
        };
        let runner =
            Runner::new(Arc::new(subject), surroundings, readings, &stored, DEFAULT_MAX_PARKED_EVENTS, receiver);
        running.push(runner.run());
    }
    let driven = async move {
        let mut running = running;
        match running.next().await {
            Some(ended) => ended,
            None => pending().await,
        }
    };
    Ok((Subscriptions { view, words: Arc::new(words) }, driven.boxed()))
}

fn topics_by_source(subject: &Subject) -> BTreeMap<ParticipantName, Vec<TopicName>> {
    let mut sources: BTreeMap<ParticipantName, Vec<TopicName>> = BTreeMap::new();
    for heard in subject.heard() {
        let topics = sources.entry(heard.from.clone()).or_default();
        if !topics.contains(&heard.topic) {
            topics.push(heard.topic.clone());
        }
    }
    sources
}
