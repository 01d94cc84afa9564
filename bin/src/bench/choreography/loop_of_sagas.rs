//! A closed loop of sagas: a new one begins when one has ended, wherever its end shows.

use super::super::floor;
use super::super::load::Length;
use futures::Stream;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use undoubt_client::Submission;

/// The sagas that are under way.
#[derive(Clone)]
pub(super) struct Load {
    run: String,
    room: Arc<Semaphore>,
    under_way: Arc<Mutex<BTreeMap<String, Instant>>>,
    from: Instant,
    until: Instant,
}

impl Load {
    pub(super) fn begin(run: String, in_flight: usize, length: Length) -> Load {
        let from = Instant::now() + length.warm_up;
        let (room, until) = (Arc::new(Semaphore::new(in_flight)), from + length.measured);
        Load { run, room, under_way: Arc::default(), from, until }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is submitted, each as soon as there is room for it, until the time is over.
    pub(super) fn submissions<F>(&self, of: F) -> impl Stream<Item = Submission> + Send + use<F>
    where
        F: Fn(&str) -> Submission + Send + Sync,
    {
        let of = Arc::new(of);
        futures::stream::unfold((self.clone(), 0_u64), move |(load, number)| {
            let of = of.clone();
            async move {
                load.room.acquire().await.ok()?.forget();
                if Instant::now() >= load.until {
                    return None;
                }
                let id = format!("{}-{number}", load.run);
                load.under_way().insert(id.clone(), Instant::now());
                Some((of(&id), (load, number + 1)))
            }
        })
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.under_way().is_empty()
    }

    /// Notes that a saga has ended, and returns what it took; `None` if it is not of this load, or was noted.
    pub(super) fn ended(&self, id: &str) -> Option<Duration> {
        let began = self.under_way().remove(id)?;
        self.room.add_permits(1);
        Some(began.elapsed())
    }
}

/// The sagas that have ended.
pub(super) struct Ended {
    /// Those that ended while it was measured.
    pub(super) measured: u64,
    pub(super) all: u64,
    /// The time that those took, in µs.
    pub(super) took: Histogram<u64>,
}

impl Ended {
    pub(super) fn new() -> anyhow::Result<Ended> {
        Ok(Ended { measured: 0, all: 0, took: floor::histogram()? })
    }

    pub(super) fn note(&mut self, took: Option<Duration>, load: &Load) {
        let Some(took) = took else { return };
        self.all += 1;
        let now = Instant::now();
        if now >= load.from && now < load.until {
            self.measured += 1;
            self.took.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }
}
