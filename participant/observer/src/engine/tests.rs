//! The engine over a store in memory, and logs that are cut, put back, and read on after a crash.

use super::*;
use crate::config::Observed;
use crate::store::{FAMILIES, Rows};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use std::sync::Mutex;
use undoubt_participant::subscription::Batches;
use undoubt_platform::store::memory::Memory;
use undoubt_platform::{Clock, Reason, SeededRandom};
use undoubt_proto::v1;
use undoubt_stream::choreography::Choreography;
use undoubt_stream::declarations::Declarations;
use undoubt_stream::observer::{Observer, Surveyed};
use undoubt_vocabulary::{EventId, Incarnation};

const SHOP: &str = r#"
[[topic]]
name = "orders"
[[begin]]
topic = "orders"
type = "order.placed"
"#;

const STOCK: &str = r#"
[[topic]]
name = "stock"
[[on]]
name = "reserve"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["add stock -1"]
"#;

const PATIENCE: Duration = Duration::from_secs(600);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000)
    }
}

/// The log of the shop; the stock publishes nothing, and has dealt with all that it has read.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    events: Vec<v1::Event>,
    /// The positions that are not kept.
    trimmed: u64,
}

impl World {
    fn publish(&self, life: u8, saga: &str) {
        let mut log = self.0.lock().unwrap();
        let position = log.events.len() as u64 + 1;
        log.events.push(v1::Event {
            position,
            incarnation: Bytes::from(vec![life; 16]),
            topic: "orders".to_owned(),
            previous: position - 1,
            key: "17".into(),
            r#type: "order.placed".to_owned(),
            published_at_us: 900_000_000 + position,
            correlation: Bytes::copy_from_slice(saga.as_bytes()),
            ..Default::default()
        });
    }

    fn batch(&self, after: u64) -> v1::EventBatch {
        let log = self.0.lock().unwrap();
        let after = after.max(log.trimmed);
        let events: Vec<v1::Event> = log.events.iter().filter(|event| event.position > after).cloned().collect();
        let last = log.events.last();
        v1::EventBatch {
            events,
            through: last.map_or(0, |last| last.position),
            incarnation: last.map(|last| last.incarnation.clone()).unwrap_or_default(),
            stable: last.map_or(0, |last| last.position),
        }
    }

    fn has(&self, after: u64, incarnation: &Bytes) -> Result<(), Status> {
        let log = self.0.lock().unwrap();
        if after > 0 && after < log.trimmed {
            return Err(Reason::EventsTrimmed.refuse("the first event that is kept is a later one"));
        }
        let there =
            after == 0 || log.events.iter().any(|event| event.position == after && event.incarnation == *incarnation);
        if there { Ok(()) } else { Err(Reason::LogPutBack.refuse("another event is there")) }
    }
}

impl Sources for World {
    fn open(
        &self,
        from: &ParticipantName,
        request: v1::ReadEventsRequest,
    ) -> BoxFuture<'static, Result<Batches, Status>> {
        let (world, is_shop) = (self.clone(), from.as_str() == "shop");
        let opened = if is_shop { world.has(request.after, &request.incarnation) } else { Ok(()) };
        let told = stream::unfold((request.after, false), move |(after, begun)| {
            let world = world.clone();
            async move {
                if begun {
                    sleep(Duration::from_millis(20)).await;
                }
                let last = world.batch(after);
                let is_gone = is_shop && last.through < after;
                let batch = if is_shop { last } else { v1::EventBatch::default() };
                let told = if is_gone { Err(Status::unavailable("it was started anew")) } else { Ok(batch) };
                let through = told.as_ref().map_or(after, |batch| batch.through);
                Some((told, (through, true)))
            }
        });
        std::future::ready(opened.map(|()| told.boxed())).boxed()
    }

    fn keep(
        &self,
        _: &ParticipantName,
        _: v1::KeepEventsRequest,
    ) -> BoxFuture<'static, Result<v1::KeepEventsResponse, Status>> {
        panic!("an observer registers nowhere");
    }
}

impl Ask for World {
    fn ask(&self, of: &ParticipantName, asked_at: Timestamp) -> BoxFuture<'static, Result<Survey, Status>> {
        let log = self.0.lock().unwrap();
        let last = log.events.last().map(|last| EventId {
            incarnation: Incarnation::try_from(&last.incarnation[..]).unwrap(),
            position: Position(last.position),
        });
        let surveyed =
            Surveyed { through: BTreeMap::from([("shop".parse().unwrap(), Watermark(last))]), ..Surveyed::default() };
        let is_stock = of.as_str() == "stock";
        let subscriptions = is_stock.then(|| ("reserve".parse().unwrap(), surveyed)).into_iter().collect();
        let log = if is_stock { Position::START } else { Position(log.events.len() as u64) };
        std::future::ready(Ok(Survey { asked_at, subscriptions, log })).boxed()
    }
}

/// An observer of the world, on what a store has.
struct Running {
    shared: Arc<Shared>,
    engine: tokio::task::JoinHandle<Result<(), RowsError>>,
}

impl Running {
    fn start(world: &World, memory: &Memory) -> Running {
        let read = |(name, text): (&str, &str)| (name.parse().unwrap(), Declarations::read(text).unwrap());
        let choreography = Choreography::of([("shop", SHOP), ("stock", STOCK)].map(read)).unwrap();
        let observed = |name: &str| Observed { name: name.to_owned(), ..Observed::default() };
        let config = Config { participants: ["shop", "stock"].map(observed).to_vec(), ..Config::default() };
        let rows = Rows::new(Arc::new(memory.open(FAMILIES).unwrap()));
        let found = rows.read().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FixedClock);
        let mut observer =
            Observer::found(choreography, config.terms(), found.places, found.running, found.ended, clock.now());
        if let Some(gap) = found.gaps.iter().find(|gap| gap.is_open) {
            observer.doubt(&gap.why);
        }
        let shared = Arc::new(Shared::new(observer, found.gaps, rows, clock, 1));
        let parts = Parts {
            config: Arc::new(config),
            shared: shared.clone(),
            sources: Arc::new(world.clone()),
            ask: Arc::new(world.clone()),
            random: Arc::new(SeededRandom::new(1)),
            figures: Arc::default(),
            bell: None,
        };
        let engine = tokio::spawn(Engine::new(parts).run(undoubt_platform::pulse::Pulse::default().begin()));
        Running { shared, engine }
    }

    /// Waits until it says so of a saga, and returns why.
    async fn says(&self, saga: &str, wanted: Standing) -> Option<String> {
        let correlation: CorrelationId = saga.parse().unwrap();
        let waiting = async {
            loop {
                if let Some(found) = self.shared.find(&correlation).unwrap()
                    && found.verdict.standing == wanted
                    && found.saga.end.is_some()
                {
                    return found.verdict.why;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let late = |_| panic!("in vain waited until {saga} is {wanted}");
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(late)
    }

    async fn end(self) {
        self.engine.abort();
        assert!(self.engine.await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_has_read_is_there_after_a_crash_and_what_it_has_not_is_read_then() {
    let (world, memory) = (World::default(), Memory::default());
    world.publish(1, "a");
    let first = Running::start(&world, &memory);
    first.says("a", Standing::Done).await;
    first.end().await;
    world.publish(1, "b");
    // A crash keeps any part of what was not forced.
    for kept in [usize::MAX, 0] {
        memory.crash(kept);
        let again = Running::start(&world, &memory);
        again.says("a", Standing::Done).await;
        again.says("b", Standing::Done).await;
        assert_eq!(again.shared.state().observer.counts(), (0, 2));
        again.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_put_back_makes_what_runs_unknown_and_what_begins_after_it_is_known_again() {
    let (world, memory) = (World::default(), Memory::default());
    world.publish(1, "a");
    let running = Running::start(&world, &memory);
    running.says("a", Standing::Done).await;
    world.publish(1, "lost");
    running.says("lost", Standing::Done).await;
    // The log goes on from where it was before, in another life.
    world.0.lock().unwrap().events.truncate(1);
    world.publish(2, "other");
    running.end().await;
    let running = Running::start(&world, &memory);
    let why = running.says("other", Standing::Unknown).await;
    assert!(why.unwrap().contains("put back"));
    let gaps = running.shared.state().gaps.clone();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    world.publish(2, "new");
    running.says("new", Standing::Done).await;
    assert!(running.shared.state().observer.doubts().is_none());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_before_it_was_read_is_said_and_not_guessed() {
    let (world, memory) = (World::default(), Memory::default());
    world.publish(1, "gone");
    world.publish(1, "kept");
    world.0.lock().unwrap().trimmed = 1;
    let running = Running::start(&world, &memory);
    let why = running.says("kept", Standing::Unknown).await;
    assert!(why.unwrap().contains("its first event is at position 2"));
    world.publish(1, "new");
    running.says("new", Standing::Done).await;
    running.end().await;
}
