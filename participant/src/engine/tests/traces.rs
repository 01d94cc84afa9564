//! The spans of work that is asked for in a trace.

use super::*;
use undoubt_platform::traces::{KeptSpans, Sampling, Span, SpanKind};
use undoubt_vocabulary::TraceContext;

const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

async fn running() -> (Arc<KeptSpans>, Running) {
    let kept = Arc::new(KeptSpans::default());
    let traces = Traces::new(kept.clone(), Sampling::default(), Arc::default());
    let resource = Arc::new(Memory::over(Arc::new(Disk::default())));
    (kept, Running::traced(traces, Config::default(), resource).await)
}

fn context(traceparent: &str) -> v1::TraceContext {
    v1::TraceContext { traceparent: traceparent.to_owned(), tracestate: String::new() }
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name).collect()
}

#[tokio::test(start_paused = true)]
async fn each_piece_of_work_is_a_child_of_the_span_for_which_it_was_asked() {
    let (kept, mut running) = running().await;
    let asked = TraceContext::read(ASKED, "").unwrap();
    let prepares = vec![
        prepare(1, Execution::TwoPhase, put("a", "v")),
        prepare(2, Execution::TwoPhase, put("b", "v")),
        prepare(3, Execution::TwoPhase, put("c", "v")),
    ];
    running.tell_traced(prepares, vec![(1, context(ASKED)), (2, context(NOT_SAMPLED))]).await;
    for _ in 0..3 {
        running.answer().await;
    }
    assert_eq!(names(&kept.spans()), ["prepare"], "one of three was asked for in a trace that is recorded");
    running.tell_traced(vec![commit(1), commit(2)], vec![(1, context(ASKED))]).await;
    for _ in 0..2 {
        running.answer().await;
    }
    let spans = kept.spans();
    assert_eq!(names(&spans), ["prepare", "commit"]);
    assert_ne!(spans[0].id, spans[1].id);
    for span in spans {
        assert_eq!((span.trace, span.parent, span.kind), (asked.trace, Some(asked.span), SpanKind::Server));
        assert!(span.failed.is_none(), "{span:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_and_its_compensation_have_spans_and_a_repetition_that_does_nothing_has_none() {
    let (kept, mut running) = running().await;
    for direction in [Direction::Forward, Direction::Forward, Direction::Compensating] {
        running.tell_traced(vec![run(direction, put("a", "v"))], vec![(0, context(ASKED))]).await;
        running.answer().await;
    }
    assert_eq!(names(&kept.spans()), ["action", "compensation"]);
}
