//! The load of a benchmark: transactions of one shape, in a closed or an open loop, through the client library.
//!
//! In a closed loop as many as asked are kept under way. In an open loop they are due at a steady rate whatever becomes
//! of them, and latency counts from the moment one was due: what waits to be sent waits too (no coordinated omission).

use super::events::TOPIC;
use anyhow::Context;
use futures::{Stream, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use undoubt_client::kv::{Add, KvWork};
use undoubt_client::work::call::Call;
use undoubt_client::work::event::Emit;
use undoubt_client::work::http::Request;
use undoubt_client::{Client, ClientOptions, Completion, Saga, Step, Submission, SubmitError, Transaction, Work};
use undoubt_vocabulary::{AbortReason, Outcome};

/// Longer latencies count as this.
const MAX_LATENCY_US: u64 = 600_000_000;

/// Counters that transactions add to, one after the other, so that those under way never meet.
pub const COUNTERS: u64 = 100_000;

/// The way in which transactions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    TwoPhase,
    /// One step at each participant, one after the other.
    Saga,
    Auto,
}

/// The load of a benchmark: at each of its participants it adds to a counter, or replaces a value.
#[derive(Clone, Debug)]
pub struct Shape {
    pub participants: Vec<String>,
    pub mode: Mode,
    /// Counters to choose from; few of them are contention.
    pub counters: u64,
    /// The procedure that adds to a counter, where participants stand in front of databases: it takes `id` and `amount`.
    pub procedure: Option<&'static str>,
    /// The URL that is called, where participants are over HTTP services.
    pub service: Option<String>,
    /// The bytes that each branch puts under its counter's key instead of adding to it.
    pub payload_bytes: Option<usize>,
    /// The bytes of an event that each branch publishes besides.
    pub event_bytes: Option<usize>,
    /// Ids and keys begin with it.
    pub run: String,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A closed loop, with so many under way.
    Closed { in_flight: usize },
    /// An open loop, with so many a second and at most so many under way.
    Open { per_s: f64, in_flight: usize },
}

#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// The time before anything is counted.
    pub warm_up: Duration,
    pub measured: Duration,
}

/// The outcomes of the transactions that were answered while it was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    pub elapsed: Duration,
    pub committed: u64,
    /// The aborts by the label of their reason.
    pub aborted: BTreeMap<&'static str, u64>,
    /// The first reason that was told of an abort, in whole.
    pub first_abort: Option<String>,
    /// Refused for a bound, or without an answer in time.
    pub failed: BTreeMap<String, u64>,
    /// The latency of the committed, in µs.
    pub latency: Histogram<u64>,
}

impl Shape {
    pub fn new(run: &str, participants: &[String]) -> Shape {
        Shape {
            participants: participants.to_vec(),
            mode: Mode::TwoPhase,
            counters: COUNTERS,
            procedure: None,
            service: None,
            payload_bytes: None,
            event_bytes: None,
            run: run.to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Returns the saga with this number as a gateway takes it: over HTTP services or key-value participants.
    pub fn saga_document(&self, number: u64) -> Value {
        let counter = self.counter(number);
        let work = |by: i64| match &self.service {
            Some(url) => format!("http post {url}"),
            None => format!("add {}/{counter:06} {by}", self.run),
        };
        let step = |(index, participant): (usize, &String)| json!({ "name": format!("s{index}"), "at": participant, "do": [work(1)], "undo": [work(-1)] });
        let steps: Vec<Value> = self.participants.iter().enumerate().map(step).collect();
        json!({ "id": format!("{}-{number}", self.run), "mode": "saga", "steps": steps })
    }

    /// Returns the counter of the transaction with this number. Neighbours are far from each other, so that no range of keys is favoured.
    fn counter(&self, number: u64) -> u64 {
        number.wrapping_mul(7_919) % self.counters
    }

    fn submission(&self, number: u64) -> Submission {
        let id = format!("{}-{number}", self.run).parse().expect("a run's name is short, and so is a number");
        let counter = self.counter(number);
        let key = || format!("{}/{counter:06}", self.run);
        let work = |by: i64| -> Work {
            if let Some(procedure) = self.procedure {
                return Call::new(procedure).arg("id", counter.cast_signed()).arg("amount", by).into();
            }
            if let Some(url) = &self.service {
                return Request::post(url).into();
            }
            match self.payload_bytes {
                Some(bytes) => KvWork::new().put(key(), vec![b'x'; bytes]).into(),
                None => {
                    let work = KvWork::new().add(key(), Add::of(by));
                    let emit = |bytes| Emit::new(TOPIC, "added", key()).data(vec![b'x'; bytes]);
                    self.event_bytes.into_iter().fold(work, |work, bytes| work.emit(emit(bytes))).into()
                }
            }
        };
        let saga = |id| {
            let step = |(index, participant): (usize, &String)| {
                Step::new(&format!("s{index}"), participant, work(1)).undo(work(-1))
            };
            self.participants.iter().enumerate().map(step).fold(Saga::with_id(id), Saga::step)
        };
        let submission: Submission = match self.mode {
            Mode::TwoPhase => {
                let transaction = Transaction::with_id(id);
                self.participants.iter().fold(transaction, |all, participant| all.on(participant, work(1))).into()
            }
            Mode::Saga => saga(id).into(),
            Mode::Auto => saga(id).auto().into(),
        };
        submission.timeout(self.timeout)
    }
}

impl Measured {
    fn new() -> anyhow::Result<Measured> {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).context("bounds of a histogram")?;
        let (aborted, failed) = (BTreeMap::new(), BTreeMap::new());
        Ok(Measured { elapsed: Duration::ZERO, committed: 0, aborted, first_abort: None, failed, latency })
    }

    pub fn per_s(&self) -> f64 {
        self.committed as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns a quantile of the latency, in µs.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64
    }

    /// Latencies, and what did not commit, in a line.
    pub fn summary(&self) -> String {
        let ms = |quantile| self.quantile_us(quantile) / 1e3;
        let mut text = format!("p50 {:.1} ms, p99 {:.1} ms", ms(0.5), ms(0.99));
        let others = self.aborted.iter().map(|(label, count)| ((*label).to_owned(), *count));
        for (label, count) in others.chain(self.failed.clone()) {
            text.push_str(&format!(", {count} {label}"));
        }
        if let Some(reason) = &self.first_abort {
            text.push_str(&format!(" (first: {reason})"));
        }
        text
    }

    fn count(&mut self, result: &Result<undoubt_client::Answer, SubmitError>, took: Duration) {
        match result {
            Ok(answer) => match &answer.outcome {
                Outcome::Committed => {
                    self.committed += 1;
                    self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                }
                Outcome::Aborted(reason) => {
                    self.first_abort.get_or_insert_with(|| reason.to_string());
                    *self.aborted.entry(AbortReason::label(reason)).or_default() += 1;
                }
            },
            Err(error) => *self.failed.entry(what_failed(error)).or_default() += 1,
        }
    }
}

fn what_failed(error: &SubmitError) -> String {
    let text = error.to_string();
    text.split([':', ';', ',']).next().unwrap_or_default().chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// Runs the load to its end; what is under way then is waited for, but not counted.
pub async fn run(coordinator: &str, shape: &Shape, pace: Pace, length: Length) -> anyhow::Result<Measured> {
    run_with(coordinator, ClientOptions::default(), shape, pace, length).await
}

/// Runs the load as [`run`] does, with what the options show to the coordinator.
pub async fn run_with(
    coordinator: &str,
    options: ClientOptions,
    shape: &Shape,
    pace: Pace,
    length: Length,
) -> anyhow::Result<Measured> {
    let in_flight = match pace {
        Pace::Closed { in_flight } | Pace::Open { in_flight, .. } => in_flight,
    };
    let deadline = shape.timeout + Duration::from_secs(20);
    let options = options.deadline(deadline).max_in_flight_transactions(in_flight);
    let client = Client::connect_lazy(coordinator, options)?;
    let began = Instant::now();
    let (from, until) = (began + length.warm_up, began + length.warm_up + length.measured);
    let due: Arc<Mutex<VecDeque<Instant>>> = Arc::default();
    let transactions = schedule(shape.clone(), pace, began, until, due.clone());
    let mut submitted = client.submit_many(transactions);
    let mut measured = Measured::new()?;
    // When each was due, by its number; answers come in any order.
    let (mut first, mut open) = (0_u64, VecDeque::new());
    while let Some(Completion { sequence, result, took, .. }) = submitted.next().await {
        let now = Instant::now();
        let took = match pace {
            Pace::Closed { .. } => took,
            Pace::Open { .. } => {
                open.extend(due.lock().unwrap_or_else(PoisonError::into_inner).drain(..).map(Some));
                let place = usize::try_from(sequence - first)?;
                let was_due = open[place].take().context("an answer came twice")?;
                while open.front().is_some_and(Option::is_none) {
                    open.pop_front();
                    first += 1;
                }
                now.duration_since(was_due)
            }
        };
        if now >= from && now < until {
            measured.count(&result, took);
        }
    }
    measured.elapsed = length.measured;
    Ok(measured)
}

/// The transactions, as they become due.
fn schedule(
    shape: Shape,
    pace: Pace,
    began: Instant,
    until: Instant,
    due: Arc<Mutex<VecDeque<Instant>>>,
) -> impl Stream<Item = Submission> + Send {
    futures::stream::unfold((shape, 0_u64), move |(shape, number)| {
        let due = due.clone();
        async move {
            let at = match pace {
                Pace::Closed { .. } => Instant::now(),
                Pace::Open { per_s, .. } => began + Duration::from_secs_f64(number as f64 / per_s),
            };
            if at >= until {
                return None;
            }
            if let Pace::Open { .. } = pace {
                if at > Instant::now() {
                    sleep_until(at).await;
                }
                due.lock().unwrap_or_else(PoisonError::into_inner).push_back(at);
            }
            Some((shape.submission(number), (shape, number + 1)))
        }
    })
}
