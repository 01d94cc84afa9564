//! The spans of transactions, as the real engine makes them.

use super::world::{Manners, World, store, tx};
use crate::config::Config;
use crate::engine::traced::TracedTransactions;
use crate::engine::{Command, NewTransaction, Reply};
use crate::log::Log;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use undoubt_coordinator_core::{Content, Note};
use undoubt_platform::Traces;
use undoubt_platform::audit::Origin;
use undoubt_platform::server::AnswerRoom;
use undoubt_platform::store::memory::MemoryStore;
use undoubt_platform::traces::{KeptSpans, Sampling, Span, Value};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    AttemptNumber, Epoch, RetryPolicy, SagaStep, StepIndex, Timestamp, ToParticipant, TraceContext, TransactionPhase,
};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const TALKATIVE: Manners = Manners { result_bytes: 1, acknowledge: true, steps: u16::MAX };
/// The store takes batches of any size.
const BOUNDLESS: usize = usize::MAX;

fn tracing(percent: f64) -> (Arc<KeptSpans>, Traces) {
    let kept = Arc::new(KeptSpans::default());
    (kept.clone(), Traces::new(kept, Sampling::of_percent(percent), Arc::default()))
}

async fn start(store: Arc<MemoryStore>, epoch: u32, manners: Manners, traces: &Traces) -> World {
    World::start_traced(store, epoch, 2, manners, (Config::default(), traces.clone())).await
}

async fn submit(world: &World, id: &str, content: Content, traceparent: Option<&str>) {
    let (to, receiver) = oneshot::channel();
    let context = |given: &str| v1::TraceContext { traceparent: given.to_owned(), tracestate: "a=b".to_owned() };
    let request = NewTransaction {
        tx: tx(id),
        digest: [1; 32],
        content,
        timeout: Duration::from_secs(600),
        wait: true,
        origin: Origin::default(),
        trace: traceparent.map(|given| Box::new(context(given))),
    };
    let reply = Reply::Once { room: AnswerRoom::boundless(), to };
    world.handle.tell(Command::Submit { request, reply }).await.unwrap();
    receiver.await.unwrap();
}

fn transfer() -> Content {
    Content::TwoPhase((0..2).map(|number| (super::world::name(number), Bytes::from_static(b"w"))).collect())
}

fn trip() -> Content {
    let step = |number: usize, after| SagaStep {
        name: format!("s{number}").parse().unwrap(),
        participant: super::world::name(number),
        action: Some(Bytes::new()),
        completion: None,
        compensation: Some(Bytes::new()),
        after,
        uses: Vec::new(),
        pivot: false,
        retry: RetryPolicy::default(),
    };
    Content::Saga(vec![step(0, Vec::new()), step(1, vec![StepIndex(0)])])
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name).collect();
    names.sort_unstable();
    names
}

fn says(span: &Span, name: &str, value: impl Into<Value>) -> bool {
    let value = value.into();
    span.attributes.iter().any(|(known, said)| *known == name && *said == value)
}

#[tokio::test]
async fn a_transaction_is_one_span_of_its_caller_with_a_child_for_each_piece_of_its_work() {
    let (kept, traces) = tracing(0.0);
    let world = start(store(BOUNDLESS), 1, TALKATIVE, &traces).await;
    submit(&world, "t", transfer(), Some(CALLER)).await;
    world.until("t", None).await;
    world.stop().await;
    let spans = kept.spans();
    assert_eq!(names(&spans), ["commit", "commit", "forced write", "prepare", "prepare", "transaction"], "{spans:#?}");
    let [transaction] = named(&spans, "transaction")[..] else { panic!("{spans:#?}") };
    let caller = traces.read(CALLER, "a=b").unwrap();
    assert_eq!(
        (transaction.trace, transaction.parent, &transaction.state),
        (caller.trace, Some(caller.span), &caller.state)
    );
    assert!(says(transaction, "undoubt.outcome", "committed") && says(transaction, "undoubt.mode", "two-phase"));
    for child in spans.iter().filter(|span| span.name != "transaction") {
        assert_eq!((child.trace, child.parent), (caller.trace, Some(transaction.id)), "{child:?}");
        assert!(child.began >= transaction.began && child.ended <= transaction.ended, "{child:?}");
    }
    assert_eq!(spans.iter().map(|span| span.id).collect::<BTreeSet<_>>().len(), spans.len(), "ids differ");
}

#[tokio::test]
async fn a_saga_has_a_span_for_each_attempt_of_a_step() {
    let (kept, traces) = tracing(100.0);
    let world = start(store(BOUNDLESS), 1, TALKATIVE, &traces).await;
    submit(&world, "t", trip(), None).await;
    world.until("t", None).await;
    world.stop().await;
    let spans = kept.spans();
    let steps = named(&spans, "action");
    assert!(
        steps.len() == 2 && says(steps[0], "undoubt.step", "s0") && says(steps[1], "undoubt.step", "s1"),
        "{spans:#?}"
    );
    let [saga] = named(&spans, "transaction")[..] else { panic!("{spans:#?}") };
    assert!(saga.parent.is_none() && says(saga, "undoubt.mode", "saga"), "it begins here: {saga:?}");
    assert!(named(&spans, "forced write").len() >= 2, "its beginning and its end: {spans:#?}");
}

#[tokio::test]
async fn of_what_the_caller_or_the_share_leaves_out_nothing_is_told_or_stored() {
    let (kept, traces) = tracing(0.0);
    let world = start(store(BOUNDLESS), 1, TALKATIVE, &traces).await;
    for (id, context) in [("t", None), ("u", Some(NOT_SAMPLED)), ("v", Some("nonsense"))] {
        submit(&world, id, transfer(), context).await;
        world.until(id, None).await;
    }
    let log = Log::new(world.stop().await);
    assert_eq!(kept.spans(), []);
    assert!(["t", "u", "v"].into_iter().all(|id| log.traced(&tx(id)).unwrap().is_none()));
}

#[tokio::test]
async fn after_a_recovery_the_second_phase_belongs_to_a_span_with_a_link_to_the_first_which_ends_then() {
    let (kept, traces) = tracing(0.0);
    let silent = Manners { acknowledge: false, ..TALKATIVE };
    let world = start(store(BOUNDLESS), 1, silent, &traces).await;
    submit(&world, "t", transfer(), Some(CALLER)).await;
    world.until("t", Some(TransactionPhase::Committing)).await;
    let store = world.stop().await;
    let first = kept.spans();
    assert_eq!(names(&first), ["forced write", "prepare", "prepare"], "the transaction goes on: {first:#?}");
    let world = start(store, 2, TALKATIVE, &traces).await;
    world.until("t", None).await;
    let log = Log::new(world.stop().await);
    let spans = kept.spans();
    let [former, recovered] = named(&spans, "transaction")[..] else { panic!("{spans:#?}") };
    assert!(says(former, "undoubt.interrupted", true) && says(recovered, "undoubt.recovered", true), "{spans:#?}");
    assert!(first.iter().all(|span| span.parent == Some(former.id)), "{spans:#?}");
    assert_eq!(
        (former.parent, former.trace),
        traces.read(CALLER, "").map(|caller| (Some(caller.span), caller.trace)).unwrap()
    );
    assert_eq!((recovered.parent, &recovered.links[..], recovered.trace), (None, &[former.id][..], former.trace));
    let commits = named(&spans, "commit");
    assert_eq!(commits.len(), 2, "{spans:#?}");
    assert!(commits.iter().all(|commit| commit.parent == Some(recovered.id)), "{spans:#?}");
    assert_eq!(
        log.traced(&tx("t")).unwrap().unwrap().context.span,
        recovered.id,
        "what is told of it later belongs there"
    );
}

#[tokio::test]
async fn a_coordinator_whose_spans_go_nowhere_hands_on_what_its_caller_said_and_stores_nothing_of_it() {
    let mut traced = TracedTransactions::new(Traces::default(), "c", Epoch(1));
    let message = ToParticipant::Commit { tx: tx("t"), attempt_number: AttemptNumber(1) };
    let mut submitted = |context: Option<&str>| {
        let context =
            context.map(|given| v1::TraceContext { traceparent: given.to_owned(), tracestate: "a=b".to_owned() });
        traced.offer(&tx("t"), context.as_ref());
        traced.noted(Timestamp(1), &tx("t"), &Note::Begun { branches: 1 });
        traced.put();
        let handed_on = traced.sent(Timestamp(2), &super::world::name(0), &message);
        assert_eq!(traced.stored(&tx("t")), None);
        traced.retired(Timestamp(3), &tx("t"));
        handed_on.map(|context| *context)
    };
    assert_eq!(submitted(Some(CALLER)), TraceContext::read(CALLER, "a=b").ok());
    assert_eq!((submitted(Some(NOT_SAMPLED)), submitted(None)), (None, None));
}
