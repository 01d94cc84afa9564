//! Spans on their way to a collector, by OTLP. The only file that knows OpenTelemetry's SDK.
//!
//! A server never waits for the collector: spans wait in a queue of bounded length, and what finds no room, or is not taken in time, is
//! left out and counted.

use super::{Failed, Failure, Guard, OrFailed as _};
use anyhow::{Context as _, anyhow};
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Endpoint, Uri};
use undoubt_platform::access::TlsConfig;
use undoubt_platform::dial::{Dial, connect_lazily};
use undoubt_platform::traces::{self, Span, SpanFigures, TracesConfig, Value, collector};
use undoubt_platform::{Timestamp, Traces};
use undoubt_tls::Protocol;

/// Spans that wait for the collector. One takes about a kilobyte.
const MAX_WAITING_SPANS: usize = 16_384;

/// Spans in one call of the collector.
const MAX_SPANS_PER_BATCH: usize = 512;

/// The time for which spans gather before they are sent.
const LINGER: Duration = Duration::from_millis(500);

/// The time that the collector may take for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that the process gives the last spans when it ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// The variables by which OpenTelemetry names a collector, where the settings name none.
const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The way of spans out of this process.
#[derive(Debug)]
pub struct Spans {
    traces: Traces,
    exporting: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Spans {
    /// Begins to send spans, if a collector is named. It may be away, now and later. `name` is the server's.
    pub fn start(
        config: &TracesConfig,
        (kind, name): (&'static str, &str),
        (guard, tls): (&mut Guard, &TlsConfig),
    ) -> Result<Spans, Failed> {
        let Some(endpoint) = endpoint(config).or_failed(Failure::Configuration)? else {
            return Ok(Spans { traces: Traces::default(), exporting: None });
        };
        tracing::info!(%endpoint, sample_percent = config.sample_percent, "spans go to a collector");
        if endpoint.scheme_str() == Some("https") && tls.ca().is_none() {
            let lacks = anyhow!(
                "the collector of spans is https://, and no CA is named whose certificates are trusted; set tls.ca"
            );
            return Err(lacks).or_failed(Failure::Configuration);
        }
        let dial = guard.dial(tls.ca(), Some(tls), Protocol::H2, "the certificates for the collector of spans")?;
        let exporter = exporter(&endpoint, dial, resource(kind, name)).or_failed(Failure::Configuration)?;
        let figures = Arc::new(SpanFigures::default());
        let (queue, waiting) = mpsc::channel(MAX_WAITING_SPANS);
        let (stop, stopped) = oneshot::channel();
        let export = Export { exporter, waiting, figures: figures.clone(), failures: 0 };
        let task = tokio::spawn(export.run(stopped));
        let traces = Traces::new(Arc::new(Queue(queue)), config.sampling(), figures);
        Ok(Spans { traces, exporting: Some((stop, task)) })
    }

    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// Sends what waits, in bounded time, as the process ends.
    pub async fn finish(self) {
        let Some((stop, task)) = self.exporting else { return };
        // The task may have ended by a panic; then there is nothing to wait for.
        let _ = stop.send(());
        if timeout(LAST_TIMEOUT, task).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time, and they are lost");
        }
    }
}

/// The queue of spans that wait.
struct Queue(mpsc::Sender<Span>);

impl traces::Tracer for Queue {
    fn record(&self, span: Span) -> bool {
        self.0.try_send(span).is_ok()
    }
}

struct Export {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<Span>,
    figures: Arc<SpanFigures>,
    /// Batches in a row that were not taken.
    failures: u32,
}

impl Export {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(MAX_SPANS_PER_BATCH);
        let mut stops = false;
        loop {
            tokio::select! {
                _ = &mut stopped, if !stops => {
                    stops = true;
                    self.waiting.close();
                    continue;
                }
                taken = self.waiting.recv_many(&mut batch, MAX_SPANS_PER_BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            if !stops {
                let gathering = async {
                    while batch.len() < MAX_SPANS_PER_BATCH {
                        let more = MAX_SPANS_PER_BATCH - batch.len();
                        if self.waiting.recv_many(&mut batch, more).await == 0 {
                            return;
                        }
                    }
                };
                tokio::select! {
                    _ = timeout(LINGER, gathering) => {}
                    _ = &mut stopped => {
                        stops = true;
                        self.waiting.close();
                    }
                }
            }
            self.send(batch.drain(..).map(exported).collect()).await;
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        let error = match timeout(EXPORT_TIMEOUT, self.exporter.export(batch)).await {
            Ok(Ok(())) => {
                if self.failures > 0 {
                    tracing::info!(batches_lost = self.failures, "the collector takes spans again");
                }
                self.failures = 0;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("it did not answer within {} s", EXPORT_TIMEOUT.as_secs()),
        };
        self.figures.lost(spans);
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            let failures = self.failures;
            tracing::warn!(error, failures, "the collector does not take spans, and they are lost; nothing else is");
        }
    }
}

/// Returns the collector that the settings name, or else the environment.
fn endpoint(config: &TracesConfig) -> anyhow::Result<Option<Uri>> {
    if let Some(endpoint) = config.endpoint()? {
        return Ok(Some(endpoint));
    }
    for variable in VARIABLES {
        let Some(text) = std::env::var_os(variable).filter(|text| !text.is_empty()) else { continue };
        let read = text.to_str().context("it is not UTF-8").and_then(|text| Ok(collector(text)?));
        return read.with_context(|| format!("in the variable {variable}"));
    }
    Ok(None)
}

fn exporter(endpoint: &Uri, dial: Arc<dyn Dial>, resource: Resource) -> anyhow::Result<SpanExporter> {
    let channel = Endpoint::from(endpoint.clone()).connect_timeout(EXPORT_TIMEOUT).timeout(EXPORT_TIMEOUT);
    let builder = SpanExporter::builder().with_tonic().with_channel(connect_lazily(channel, dial));
    let mut exporter = builder
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| anyhow!("spans cannot be exported: {error}; correct [traces] or the variables OTEL_*"))?;
    exporter.set_resource(&resource);
    Ok(exporter)
}

/// Returns what is said of this process; what the variables `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say of it counts.
fn resource(kind: &'static str, name: &str) -> Resource {
    let service_name = Key::from_static_str("service.name");
    let of_environment = Resource::builder().build();
    let is_named = of_environment.get(&service_name).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let own_name = (!is_named).then(|| KeyValue::new(service_name, name.to_owned()));
    Resource::builder()
        .with_attributes(own_name)
        .with_attributes([
            KeyValue::new("service.namespace", "undoubt"),
            KeyValue::new("service.instance.id", format!("{kind}/{name}")),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}

fn exported(span: Span) -> SpanData {
    let trace = TraceId::from_bytes(span.trace.bytes());
    let state: TraceState = span.state.as_str().parse().unwrap_or_default();
    let context = |id: undoubt_vocabulary::SpanId| {
        SpanContext::new(trace, SpanId::from_bytes(id.bytes()), TraceFlags::SAMPLED, false, state.clone())
    };
    let mut events = SpanEvents::default();
    events.dropped_count = span.events_left_out;
    events.events.extend(span.events.into_iter().map(|event| {
        let detail = (!event.detail.is_empty()).then(|| KeyValue::new("undoubt.detail", event.detail));
        Event::new(event.name, time(event.at), detail.into_iter().collect(), 0)
    }));
    let mut links = SpanLinks::default();
    links.links.extend(span.links.iter().map(|link| Link::new(context(*link), Vec::new(), 0)));
    SpanData {
        span_context: context(span.id),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.bytes())),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: match span.kind {
            traces::SpanKind::Client => SpanKind::Client,
            traces::SpanKind::Server => SpanKind::Server,
            traces::SpanKind::Internal => SpanKind::Internal,
        },
        name: span.name.into(),
        start_time: time(span.began),
        end_time: time(span.ended),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events,
        links,
        status: span.failed.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("undoubt").with_version(env!("CARGO_PKG_VERSION")).build(),
    }
}

fn attribute((name, value): (&'static str, Value)) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
        Value::Flag(flag) => KeyValue::new(name, flag),
    }
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(at.0)
}
