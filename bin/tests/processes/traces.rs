//! Spans of all processes, as a collector hears them.

use crate::support::api::{coordinator, no_wait, request, submit, transfer};
use crate::support::cli::undoubt;
use crate::support::{banks, start, until};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_proto::v1;

/// The caller's span.
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(trace: char, sampled: bool) -> String {
    format!("00-{}-{CALLER}-{:02x}", trace.to_string().repeat(32), u8::from(sampled))
}

/// A collector that keeps all it hears, each span with the name of its service.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let resource = of_resource.resource.unwrap_or_default();
            let service = text(&resource.attributes, "service.name").expect("a service has a name");
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn listen() -> (Collector, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Collector::default();
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, url)
    }

    fn of(&self, trace: char) -> Vec<(String, Span)> {
        let byte = u8::from_str_radix(&trace.to_string().repeat(2), 16).unwrap();
        let all = self.0.lock().unwrap();
        all.iter().filter(|(_, span)| span.trace_id == [byte; 16]).cloned().collect()
    }

    /// Waits until the spans of a trace are these, as [`drawn`] has them.
    async fn hears(&self, trace: char, expected: &str) {
        let expected: String = expected.lines().map(str::trim_end).filter(|line| !line.is_empty()).fold(
            String::new(),
            |mut text, line| {
                writeln!(text, "{}", line.strip_prefix("        ").unwrap_or(line)).unwrap();
                text
            },
        );
        let looked = tokio::time::timeout(crate::support::PATIENCE, async {
            while drawn(&self.of(trace)) != expected {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        if looked.await.is_err() {
            panic!("expected\n{expected}\nand heard\n{}", drawn(&self.of(trace)));
        }
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let value = found.value.clone()?.value?;
    if let Value::StringValue(text) = value { Some(text) } else { Some(format!("{value:?}")) }
}

/// Draws the spans of a trace as a tree, below those that are children of the caller's span or of none. Spans whose parent is not
/// there stand apart.
fn drawn(spans: &[(String, Span)]) -> String {
    let ids: BTreeSet<&Vec<u8>> = spans.iter().map(|(_, span)| &span.span_id).collect();
    let caller: Vec<u8> = (0..8).map(|at| u8::from_str_radix(&CALLER[2 * at..2 * at + 2], 16).unwrap()).collect();
    let mut picture = String::new();
    draw(spans, &caller, 0, &mut picture);
    draw(spans, &[], 0, &mut picture);
    for (service, span) in spans {
        let parent = &span.parent_span_id;
        if !parent.is_empty() && *parent != caller && !ids.contains(parent) {
            writeln!(picture, "orphan: {service}: {}", span.name).unwrap();
        }
    }
    picture
}

fn draw(spans: &[(String, Span)], parent: &[u8], depth: usize, picture: &mut String) {
    let mut children: Vec<(String, &Span)> = spans
        .iter()
        .filter(|(_, span)| span.parent_span_id == parent)
        .map(|(service, span)| (shown(service, span), span))
        .collect();
    children.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (line, span) in children {
        writeln!(picture, "{}{line}", "  ".repeat(depth)).unwrap();
        draw(spans, &span.span_id, depth + 1, picture);
    }
}

fn shown(service: &str, span: &Span) -> String {
    let about = ["undoubt.step", "undoubt.stage"].into_iter().find_map(|key| text(&span.attributes, key));
    let whom = || text(&span.attributes, "undoubt.participant").filter(|whom| whom != service);
    let about = about.or_else(whom).map(|about| format!(" {about}")).unwrap_or_default();
    let links = if span.links.is_empty() { String::new() } else { format!(", {} link", span.links.len()) };
    format!("{service}: {}{about}{links}", span.name)
}

async fn traced(collector: &str) -> Cluster {
    let settings = vec![format!("traces.endpoint={collector}"), "traces.sample_percent=0".to_owned()];
    let quick = vec!["retry_first_pause_ms=200".to_owned(), "reconnect_max_pause_ms=200".to_owned()];
    let coordinator_settings = [settings.clone(), quick].concat();
    start(Plan { coordinator_settings, participant_settings: settings, ..banks() }).await
}

/// Hears one call, and returns its head.
async fn hear(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = Vec::new();
    while !heard.contains(&b'}') && stream.read_buf(&mut heard).await.unwrap() > 0 {}
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn the_spans_of_all_processes_are_one_tree_below_the_span_of_the_caller() {
    let (collector, url) = Collector::listen().await;
    let cluster = traced(&url).await;
    let work = ["submit", "--on", "bank-a", "add alice -1", "--on", "bank-b", "add bob 1"];
    let context = traceparent('a', true);
    let submitted = [&work[..], &["--traceparent", &context, "--tracestate", "key=value"]].concat();
    undoubt(&cluster, &submitted).await.expect(0, &["committed"]);
    let transaction = "
        coordinator: transaction
          coordinator: commit bank-a
            bank-a: commit
          coordinator: commit bank-b
            bank-b: commit
          coordinator: forced write committed
          coordinator: prepare bank-a
            bank-a: prepare
          coordinator: prepare bank-b
            bank-b: prepare";
    collector.hears('a', transaction).await;
    assert!(collector.of('a').iter().all(|(_, span)| span.trace_state == "key=value"));

    // By metadata, and with somebody who hears of the outcome.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callback = format!("http://{}/done", listener.local_addr().unwrap());
    let called = tokio::spawn(hear(listener));
    let step = |name: &str, at: &str| v1::SagaStep {
        name: name.to_owned(),
        participant: at.to_owned(),
        action: Some(undoubt_client::kv::KvWork::new().put(name.to_owned(), "v").encode().unwrap()),
        compensation: Some(undoubt_client::kv::KvWork::new().delete(name.to_owned()).encode().unwrap()),
        ..v1::SagaStep::default()
    };
    let second = v1::SagaStep { after: vec![0], ..step("second", "bank-b") };
    let steps = vec![step("first", "bank-a"), second];
    let saga = v1::SubmitRequest { mode: v1::Mode::Saga.into(), steps, callback, ..request("s", []) };
    let mut submission = Request::new(no_wait(saga));
    submission.metadata_mut().insert("traceparent", traceparent('b', true).parse().unwrap());
    coordinator(&cluster).await.submit(submission).await.unwrap();
    let saga = "
        coordinator: transaction
          coordinator: action first
            bank-a: action
          coordinator: action second
            bank-b: action
          coordinator: callback
          coordinator: forced write begun
          coordinator: forced write ended";
    collector.hears('b', saga).await;
    let head = called.await.unwrap();
    let context = head.lines().find_map(|line| line.strip_prefix("traceparent: ")).expect("it carries its context");
    let (_, call) = collector.of('b').into_iter().find(|(_, span)| span.name == "callback").unwrap();
    let own: String = call.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(context, traceparent('b', true).replace(CALLER, &own));
}

#[tokio::test]
async fn after_a_kill_the_second_phase_is_linked_to_the_transaction_whose_span_is_told_by_the_next_process() {
    let (collector, url) = Collector::listen().await;
    let mut cluster = traced(&url).await;
    // It dies before it has committed.
    let bank_b = Who::Participant(1);
    cluster.kill(bank_b).await.unwrap();
    cluster.restart(bank_b, Some("before-commit:1")).await.unwrap();
    cluster.wait_until_ready(bank_b).await.unwrap();
    let context = v1::TraceContext { traceparent: traceparent('c', true), ..v1::TraceContext::default() };
    let sent = v1::SubmitRequest { trace_context: Some(context), timeout_ms: 60_000, ..transfer("t", 1) };
    submit(&cluster, sent).await.unwrap();
    let told = |name: &'static str, count| {
        let collector = &collector;
        async move {
            let is_it = |(service, span): &(String, Span)| service == "coordinator" && span.name == name;
            until(name, async || (collector.of('c').iter().filter(|span| is_it(span)).count() >= count).then_some(()))
                .await;
        }
    };
    told("prepare", 2).await;
    told("commit", 1).await;
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.kill(bank_b).await.unwrap();
    cluster.restart(bank_b, None).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    told("transaction", 2).await;
    // The participant tells its own by itself, a moment later maybe.
    let of_bank_b = |(service, span): &(String, Span)| service == "bank-b" && span.name == "commit";
    until("bank-b tells its commit", async || collector.of('c').iter().any(of_bank_b).then_some(())).await;
    let spans = collector.of('c');
    let picture = drawn(&spans);
    assert!(!picture.contains("orphan"), "{picture}");
    let transactions: Vec<&Span> =
        spans.iter().map(|(_, span)| span).filter(|span| span.name == "transaction").collect();
    let recovered = transactions.iter().find(|span| !span.links.is_empty()).expect("one has a link");
    let former = transactions.iter().find(|span| span.links.is_empty()).expect("one has none");
    assert!(recovered.parent_span_id.is_empty() && recovered.links[0].span_id == former.span_id, "{picture}");
    let commits = |of: &Span| -> Vec<String> {
        let is_it = |span: &Span| span.name == "commit" && span.parent_span_id == of.span_id;
        spans.iter().filter(|(_, span)| is_it(span)).map(|(service, span)| shown(service, span)).collect()
    };
    assert_eq!(commits(former), ["coordinator: commit bank-a"], "{picture}");
    assert!(commits(recovered).contains(&"coordinator: commit bank-b".to_owned()), "{picture}");
    assert!(picture.contains("    bank-b: commit\n"), "{picture}");
}

#[tokio::test]
async fn of_what_is_not_sampled_nothing_is_told_and_a_context_that_cannot_be_read_is_counted() {
    let (collector, url) = Collector::listen().await;
    let cluster = traced(&url).await;
    for (id, context) in [("t", traceparent('d', false)), ("u", "nonsense".to_owned()), ("v", String::new())] {
        let context = Some(v1::TraceContext { traceparent: context, ..v1::TraceContext::default() });
        let outcome = submit(&cluster, v1::SubmitRequest { trace_context: context, ..transfer(id, 1) }).await.unwrap();
        assert_eq!(outcome.state(), v1::State::Committed);
    }
    submit(&cluster, transfer("w", 1)).await.unwrap();
    // Spans are told in their order, so what came before would have been told.
    let context = Some(v1::TraceContext { traceparent: traceparent('e', true), ..v1::TraceContext::default() });
    submit(&cluster, v1::SubmitRequest { trace_context: context, ..transfer("x", 1) }).await.unwrap();
    until("it is told", async || (collector.of('e').len() == 10).then_some(())).await;
    let all = collector.0.lock().unwrap();
    assert_eq!(all.len(), 10, "{}", json!(all.iter().map(|(service, span)| shown(service, span)).collect::<Vec<_>>()));
}
