//! The figures of a server, as Prometheus reads them.
//!
//! Each crate that has something to tell owns a module `metrics`, with a table of [`Metric`]s: name, kind, labels, meaning. What is
//! counted is counted with plain atomics; what is a state is looked up when somebody asks, by a [`Source`], and costs nothing in between.
//! Nothing is global: a server tells into the [`Metrics`] that its environment brings, so that one process may run dozens.

mod config;
mod distribution;
pub(crate) mod http;
mod store;

use futures::future::BoxFuture;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

pub use config::{BadMetricsAddress, MetricsConfig};
pub use distribution::{Distribution, LATENCY_SECONDS, SIZES};
pub use http::{Board, MetricsServerError, serve_board};
pub use store::{METRICS as STORE_METRICS, StoreFigures, StoreMetrics, WriterFigures};

/// The time that a server may take to be looked at.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// A metric's name, without what the format adds to it (`_total` to a counter), and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
        Metric { name, kind: Kind::Counter, labels, help }
    }

    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
        Metric { name, kind: Kind::Gauge, labels, help }
    }

    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
        Metric { name, kind: Kind::Histogram, labels, help }
    }

    /// Returns the name under which it is queried: of a counter with its ending.
    pub fn queried(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }
}

/// Tells some metrics, as they are now.
pub trait Tell: Send + Sync + 'static {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result;
}

/// The sheet on which metrics are told.
pub struct Telling<'e>(DescriptorEncoder<'e>);

impl fmt::Debug for Telling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}

/// A value of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Value<'v> {
    Count(u64),
    Number(f64),
    Distribution(&'v Distribution),
}

impl From<u64> for Value<'_> {
    fn from(count: u64) -> Self {
        Value::Count(count)
    }
}

impl From<usize> for Value<'_> {
    fn from(count: usize) -> Self {
        Value::Count(count as u64)
    }
}

impl From<bool> for Value<'_> {
    fn from(is_so: bool) -> Self {
        Value::Count(u64::from(is_so))
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<Duration> for Value<'_> {
    fn from(duration: Duration) -> Self {
        Value::Number(duration.as_secs_f64())
    }
}

impl<'v> From<&'v Distribution> for Value<'v> {
    fn from(distribution: &'v Distribution) -> Self {
        Value::Distribution(distribution)
    }
}

impl Telling<'_> {
    /// Tells a metric that has no labels.
    pub fn one<'v>(&mut self, metric: &Metric, value: impl Into<Value<'v>>) -> fmt::Result {
        assert!(metric.labels.is_empty(), "{} has labels", metric.name);
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, metric.kind.of_format())?;
        value.into().encode(metric.kind, &mut encoder)
    }

    /// Tells a metric by its labels' values, in the order in which it names them.
    pub fn each<'v, V: Into<Value<'v>>, const LABELS: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([&'v str; LABELS], V)>,
    ) -> fmt::Result {
        assert_eq!(metric.labels.len(), LABELS, "{} has other labels", metric.name);
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, metric.kind.of_format())?;
        for (values, value) in samples {
            let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(values).collect();
            value.into().encode(metric.kind, &mut encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Kind {
    fn of_format(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
    }
}

impl Value<'_> {
    fn encode(self, kind: Kind, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
        match (self, kind) {
            (Value::Count(count), Kind::Counter) => encoder.encode_counter(&count, NO_EXEMPLAR),
            (Value::Number(number), Kind::Counter) => encoder.encode_counter(&number, NO_EXEMPLAR),
            (Value::Count(count), Kind::Gauge) => encoder.encode_gauge(&(count as f64)),
            (Value::Number(number), Kind::Gauge) => encoder.encode_gauge(&number),
            (Value::Distribution(distribution), Kind::Histogram) => distribution.encode(encoder),
            (Value::Distribution(_), Kind::Counter | Kind::Gauge)
            | (Value::Count(_) | Value::Number(_), Kind::Histogram) => Err(fmt::Error),
        }
    }
}

/// The figures of one run of a server. Clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    ready: Arc<AtomicBool>,
    registry: Mutex<Registry>,
    source: Mutex<Option<Arc<dyn Source>>>,
}

/// Looks at a server for those who ask.
pub trait Source: Send + Sync + 'static {
    /// Brings up to date what is told as a state, and returns the reason why the server is not ready, if it is not.
    fn look(&self) -> BoxFuture<'_, Result<(), String>>;
}

impl Default for Metrics {
    fn default() -> Self {
        let ready = Arc::new(AtomicBool::new(false));
        let metrics =
            Metrics(Arc::new(Inner { ready: ready.clone(), registry: Mutex::default(), source: Mutex::default() }));
        metrics.add(Ready(ready));
        metrics
    }
}

/// Tells of a server as such.
struct Ready(Arc<AtomicBool>);

/// The metrics that every server has.
pub const METRICS: &[Metric] = &[READY, BUILD];

const READY: Metric = Metric::gauge("undoubt_ready", &[], "1 while the server is ready, as `/readyz` says");
const BUILD: Metric = Metric::gauge("undoubt_build_info", &["version"], "1, for the version that runs");

impl Tell for Ready {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        telling.one(&READY, self.0.load(Ordering::Relaxed))?;
        telling.each(&BUILD, [([env!("CARGO_PKG_VERSION")], true)])
    }
}

impl Metrics {
    /// Adds metrics that are told from now on.
    pub fn add(&self, tells: impl Tell) {
        lock(&self.0.registry).register_collector(Box::new(Told(tells)));
    }

    /// Sets who looks at the server before anything is told.
    pub fn looked_up_by(&self, source: Arc<dyn Source>) {
        *lock(&self.0.source) = Some(source);
    }

    /// Returns the reason why the server is not ready, if it is not.
    pub async fn readiness(&self) -> Result<(), String> {
        let source = lock(&self.0.source).clone();
        match source {
            Some(source) => {
                let looked = timeout(LOOK_TIMEOUT, source.look()).await;
                looked.unwrap_or_else(|_elapsed| Err("it does not answer".to_owned()))
            }
            None => Err("it has not read its log yet".to_owned()),
        }
    }

    /// Returns all metrics as they are now, in the text of OpenMetrics 1.0. Of a server that does not answer it tells what was
    /// counted, and no state.
    pub async fn text(&self) -> Result<String, fmt::Error> {
        self.0.ready.store(self.readiness().await.is_ok(), Ordering::Relaxed);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &lock(&self.0.registry))?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Hands what tells metrics to the registry.
struct Told<T>(T);

impl<T> fmt::Debug for Told<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl<T: Tell> Collector for Told<T> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.tell(&mut Telling(encoder))
    }
}

impl<T: Tell> Tell for Arc<T> {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        self.as_ref().tell(telling)
    }
}

/// Locks a mutex. Nothing that is done under these locks leaves them in a state that others must not see.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOWER: [Metric; 3] = [
        Metric::counter("undoubt_test_bells", &["tower"], "Bells rung"),
        Metric::gauge("undoubt_test_height_metres", &[], "Height of the tower"),
        Metric::histogram("undoubt_test_ring_seconds", &[], "Length of a ring"),
    ];

    struct Tower(Distribution);

    impl Tell for Tower {
        fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
            let [bells, height, rings] = &TOWER;
            telling.each(bells, [(["north \"1\""], 3_u64), (["south"], 0)])?;
            telling.one(height, 7.5)?;
            telling.one(rings, &self.0)
        }
    }

    #[tokio::test]
    async fn metrics_are_told_in_the_text_of_the_format() {
        let metrics = Metrics::default();
        let rings = Distribution::new(&[0.1, 1.0]);
        rings.add(0.05);
        rings.add(5.0);
        metrics.add(Tower(rings));
        let text = metrics.text().await.unwrap();
        for line in [
            "# TYPE undoubt_test_bells counter",
            "undoubt_test_bells_total{tower=\"north \\\"1\\\"\"} 3",
            "undoubt_test_height_metres 7.5",
            "undoubt_test_ring_seconds_bucket{le=\"0.1\"} 1",
            "undoubt_test_ring_seconds_bucket{le=\"+Inf\"} 2",
            "undoubt_test_ring_seconds_sum 5.05",
            "# EOF",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
        }
        assert!(metrics.readiness().await.is_err(), "nobody has looked at it");
    }
}
