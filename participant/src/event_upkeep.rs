//! What is done about events from time to time: those that nobody needs any more are dropped, and it is looked whether readers and
//! subscriptions need somebody.

use crate::event_log::{EventSource, Readers};
use crate::resource::ResourceError;
use crate::subscription::{Shown, Standing, View};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use undoubt_platform::alarm::{Alarms, Bell, Condition};
use undoubt_platform::metrics::{Metric, Tell, Telling};
use undoubt_platform::{Clock, Timestamp};
use undoubt_stream::retention::{Keep, Reader};
use undoubt_vocabulary::{ParticipantName, SubscriptionName};

/// The period in which it is looked which events may be dropped, and who needs somebody.
const PERIOD: Duration = Duration::from_secs(10);

/// The metrics of events.
pub const METRICS: &[Metric] =
    &[LOG_BYTES, MAX_LOG_BYTES, LOG_POSITION, READER_BEHIND, BEHIND, BEHIND_SECONDS, STOPPED, PARKED];

const LOG_BYTES: Metric =
    Metric::gauge("undoubt_participant_events_bytes", &[], "Published events that are kept, about");
const MAX_LOG_BYTES: Metric = Metric::gauge(
    "undoubt_participant_events_max_bytes",
    &[],
    "The bound of undoubt_participant_events_bytes (max_log_bytes)",
);
const LOG_POSITION: Metric = Metric::gauge(
    "undoubt_participant_events_position",
    &[],
    "The last position of the log of events that can be read",
);
const READER_BEHIND: Metric = Metric::gauge(
    "undoubt_participant_reader_behind_events",
    &["reader"],
    "Events that are kept for a registered reader, which has not taken them",
);
const BEHIND: Metric = Metric::gauge(
    "undoubt_participant_subscription_behind_events",
    &["subscription", "source"],
    "Events of a source, those of other topics among them, that a subscription has not dealt with",
);
const BEHIND_SECONDS: Metric = Metric::gauge(
    "undoubt_participant_subscription_behind_seconds",
    &["subscription", "source"],
    "The time since the last event was published that a subscription has taken; 0 while it is not behind",
);
const STOPPED: Metric = Metric::gauge(
    "undoubt_participant_subscription_stopped",
    &["subscription", "source"],
    "1 while a subscription does not read a source until an operator says from where",
);
const PARKED: Metric = Metric::gauge(
    "undoubt_participant_subscription_parked_events",
    &["subscription"],
    "Events that a subscription could not apply, and those that wait behind them",
);

/// All that it looks after.
pub(crate) struct Upkeep {
    pub(crate) log: Option<Arc<dyn EventSource>>,
    pub(crate) keep: Keep,
    pub(crate) subscriptions: View,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bell: Option<Bell>,
    /// The time for which a reader may say nothing while events are kept for it, before somebody is told.
    pub(crate) away_after: Duration,
}

/// The figures of events, as they were seen last.
pub(crate) struct EventFigures {
    subscriptions: View,
    clock: Arc<dyn Clock>,
    max_bytes: u64,
    readers: Arc<Mutex<Option<Readers>>>,
}

impl Upkeep {
    /// Runs as long as the resource does not fail. What it sees is told by the figures.
    pub(crate) fn begin(self) -> (EventFigures, impl Future<Output = Result<Infallible, ResourceError>> + Send) {
        let readers: Arc<Mutex<Option<Readers>>> = Arc::default();
        let (subscriptions, clock) = (self.subscriptions.clone(), self.clock.clone());
        let figures = EventFigures { subscriptions, clock, max_bytes: self.keep.max_bytes, readers: readers.clone() };
        (figures, self.run(readers))
    }

    async fn run(self, seen: Arc<Mutex<Option<Readers>>>) -> Result<Infallible, ResourceError> {
        let mut alarms = Alarms::default();
        loop {
            sleep(PERIOD).await;
            let readers = match &self.log {
                Some(log) => self.trim(log.as_ref()).await?,
                None => None,
            };
            let conditions = self.conditions(readers.as_ref());
            if readers.is_some() {
                *lock(&seen) = readers;
            }
            for told in alarms.look(Instant::now(), conditions) {
                told.log();
                if let Some(bell) = &self.bell {
                    bell.ring(told);
                }
            }
        }
    }

    /// Drops what has not to be kept. Returns the readers of the rest; `None` if that cannot be told now.
    async fn trim(&self, log: &dyn EventSource) -> Result<Option<Readers>, ResourceError> {
        for (reader, at) in unless_unavailable(log.trim(self.keep).await)?.unwrap_or_default() {
            let (after, max_log_bytes) = (at.after, self.keep.max_bytes);
            tracing::error!(%reader, %after, max_log_bytes, "events were dropped that a reader has not taken, for the log would have had more bytes than it may; the reader is told when it comes back");
        }
        unless_unavailable(log.readers().await)
    }

    fn conditions(&self, readers: Option<&Readers>) -> Vec<Condition> {
        let now = self.clock.now();
        let log = readers.into_iter().flat_map(|readers| self.of_log(readers, now));
        let subscriptions = self.subscriptions.sources().into_iter().filter_map(|((name, source), shown)| {
            let Standing::Stopped(why) = &shown.standing else { return None };
            let text = format!(
                "the subscription {name} has stopped reading {source}: {why}. Look at what it has made of it, then say where it goes on with `undoubt \
                 resume-subscription`"
            );
            Some(Condition { kind: "subscription-stopped", about: format!("{name} of {source}"), number: 1, oldest: String::new(), since: now, text })
        });
        let parked = self.parked().into_iter().filter(|(_, parked)| *parked > 0).map(|(name, number)| {
            let text = format!(
                "events wait for an operator: `undoubt parked list` shows why the subscription {name} cannot apply them"
            );
            Condition { kind: "parked", about: name.to_string(), number, oldest: String::new(), since: now, text }
        });
        log.chain(subscriptions).chain(parked).collect()
    }

    fn of_log(&self, readers: &Readers, now: Timestamp) -> Vec<Condition> {
        let plain =
            |kind, about: String, since, text| Condition { kind, about, number: 0, oldest: String::new(), since, text };
        let full = (readers.kept_bytes / 3 >= self.keep.max_bytes / 4).then(|| {
            let text = format!(
                "the log of events has {} of at most {} bytes: `undoubt readers list` shows who keeps it from being trimmed. At the bound those who \
                 are furthest behind are dropped",
                readers.kept_bytes, self.keep.max_bytes
            );
            plain("log-nearly-full", String::new(), now, text)
        });
        let away = readers.readers.iter().filter(|(_, reader)| {
            reader.dropped_at.is_none()
                && reader.after < readers.stable
                && now.since(reader.heard_at) >= self.away_after
        });
        let away = away.map(|(name, reader)| {
            let text = format!(
                "events are kept for the reader {name}, which was last heard of then: start it, or let it go with `undoubt readers forget`"
            );
            plain("reader-away", name.to_string(), reader.heard_at, text)
        });
        full.into_iter().chain(away).collect()
    }

    fn parked(&self) -> BTreeMap<SubscriptionName, usize> {
        parked(&self.subscriptions)
    }
}

fn parked(view: &View) -> BTreeMap<SubscriptionName, usize> {
    view.sources().into_iter().map(|((name, _), _)| name).map(|name| (name.clone(), view.parked_count(&name))).collect()
}

fn lock(readers: &Mutex<Option<Readers>>) -> MutexGuard<'_, Option<Readers>> {
    // What is behind it is replaced as a whole.
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns nothing where the resource cannot do it for now.
fn unless_unavailable<T>(done: Result<T, ResourceError>) -> Result<Option<T>, ResourceError> {
    match done {
        Ok(done) => Ok(Some(done)),
        // A trim may be repeated, so it does not matter whether one of which no answer came was done.
        Err(not_now @ (ResourceError::Unavailable { .. } | ResourceError::NoRoom | ResourceError::Unclear { .. })) => {
            tracing::warn!(%not_now, "the log of events cannot be trimmed now; it is tried again");
            Ok(None)
        }
        Err(error @ (ResourceError::Foreign { .. } | ResourceError::Stopped { .. } | ResourceError::Fenced { .. })) => {
            Err(error)
        }
    }
}

impl Tell for EventFigures {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        if let Some(readers) = &*lock(&self.readers) {
            telling.one(&LOG_BYTES, readers.kept_bytes)?;
            telling.one(&MAX_LOG_BYTES, self.max_bytes)?;
            telling.one(&LOG_POSITION, readers.stable.0)?;
            let kept_for = readers.readers.iter().filter(|(_, reader)| reader.dropped_at.is_none());
            let behind = |reader: &Reader| readers.stable.0.saturating_sub(reader.after.0);
            telling.each(&READER_BEHIND, kept_for.map(|(name, reader)| ([name.as_str()], behind(reader))))?;
        }
        let (sources, now) = (self.subscriptions.sources(), self.clock.now());
        let behind = |shown: &Shown| shown.stable.0.saturating_sub(shown.through.position().0);
        let behind_for = |shown: &Shown| {
            shown.last_at.filter(|_| behind(shown) > 0).map_or(Duration::ZERO, |last_at| now.since(last_at))
        };
        let is_stopped = |shown: &Shown| matches!(shown.standing, Standing::Stopped(_));
        let labels = |(name, source): &'_ (SubscriptionName, ParticipantName)| [name.to_string(), source.to_string()];
        let labelled: Vec<_> = sources.iter().map(|(name, shown)| (labels(name), shown)).collect();
        let each = || labelled.iter().map(|([name, source], shown)| ([name.as_str(), source.as_str()], *shown));
        telling.each(&BEHIND, each().map(|(labels, shown)| (labels, behind(shown))))?;
        telling.each(&BEHIND_SECONDS, each().map(|(labels, shown)| (labels, behind_for(shown))))?;
        telling.each(&STOPPED, each().map(|(labels, shown)| (labels, is_stopped(shown))))?;
        telling.each(&PARKED, parked(&self.subscriptions).iter().map(|(name, number)| ([name.as_str()], *number)))
    }
}
