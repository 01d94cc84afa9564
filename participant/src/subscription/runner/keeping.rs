//! What a subscription tells its sources of how far it has come, so that they drop what is behind it and keep the rest.

use super::Runner;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use undoubt_proto::v1;
use undoubt_vocabulary::{Incarnation, ParticipantName, Position};

/// The period in which sources are told how far a subscription has come.
pub(super) const KEEP_PERIOD: Duration = Duration::from_secs(5);

/// The time after which a source is told though nothing has changed: it shows when a reader was last heard of.
const KEEP_ANYWAY_AFTER: Duration = Duration::from_secs(60);

/// The time in which a source answers.
const KEEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The positions up to which a subscription needs nothing any more, by sources.
type Reached = BTreeMap<ParticipantName, (Position, Option<Incarnation>)>;

/// What sources were told, and are to be told.
#[derive(Default)]
pub(super) struct Keeping {
    /// What is told once this write is on stable storage.
    waiting: Option<(u64, Reached)>,
    told: BTreeMap<ParticipantName, (Position, Instant)>,
    /// At most one call a source in each period.
    pub(super) under_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Runner {
    /// Tells how far the subscription has come, as soon as that is on stable storage.
    pub(super) fn keep(&mut self) {
        if self.keeping.waiting.is_some() || !self.keeping.under_way.is_empty() {
            return;
        }
        let reached = |from: &ParticipantName| {
            let place = self.places.get(from).copied().unwrap_or_default();
            (from.clone(), self.state.needs_after(from, place))
        };
        let reached = self.sources.keys().filter(|from| !self.stopped.contains(*from)).map(reached).collect();
        if self.under_way.is_empty() {
            self.tell(reached);
        } else {
            self.keeping.waiting = Some((self.writes, reached));
        }
    }

    /// Notes that a write is on stable storage, and all that were queued before it.
    pub(super) fn keeping_answered(&mut self, number: u64) {
        if let Some((_, reached)) = self.keeping.waiting.take_if(|(waits_for, _)| *waits_for <= number) {
            self.tell(reached);
        }
    }

    fn tell(&mut self, reached: Reached) {
        let now = Instant::now();
        for (from, (position, incarnation)) in reached {
            let told = self.keeping.told.get(&from);
            let is_news = told.is_none_or(|(told, at)| *told != position || at.elapsed() >= KEEP_ANYWAY_AFTER);
            let Some(reading) = self.sources.get(&from).filter(|_| is_news) else { continue };
            let incarnation = incarnation.map(|Incarnation(bytes)| Bytes::copy_from_slice(&bytes)).unwrap_or_default();
            let reader = reading.reader.as_str().to_owned();
            let request = v1::KeepEventsRequest { reader, after: position.0, incarnation, anew: false };
            let call = timeout(KEEP_TIMEOUT, reading.sources.keep(&from, request));
            let subscription = self.subscription.clone();
            self.keeping.told.insert(from.clone(), (position, now));
            self.keeping.under_way.push(Box::pin(async move {
                // Whatever is wrong shows where the source is read; it is told again.
                if let Ok(Err(status)) = call.await {
                    tracing::debug!(%subscription, source = %from, why = status.message(), "a source was not told how far a subscription has come");
                }
            }));
        }
    }
}
