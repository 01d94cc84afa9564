//! The spans of one transaction.

use crate::log::Traced;
use undoubt_coordinator_core::{Note, Stage};
use undoubt_platform::Traces;
use undoubt_platform::traces::attributes::{ANSWER, ATTEMPT, ERROR_TYPE, MODE, OUTCOME, PARTICIPANT, STAGE, STEP};
use undoubt_platform::traces::ids::span_of;
use undoubt_platform::traces::{Span, SpanKind};
use undoubt_vocabulary::{
    BranchOutcome, Direction, Outcome, ParticipantName, RunStep, StepName, Timestamp, ToParticipant, TraceContext,
};

const FORCED_WRITE: &str = "forced write";

/// A transaction that is traced.
pub(super) struct Transaction {
    /// `None`: spans go nowhere from here.
    span: Option<Span>,
    /// The context in which what has no span of its own is sent.
    context: TraceContext,
    under_way: Vec<UnderWay>,
    /// The name of the step that the next message runs.
    next_step: Option<StepName>,
    /// The number of forced writes so far.
    writes: u32,
}

/// A piece of it that is not answered yet. Of each kind there is one at a time: what is repeated goes on.
struct UnderWay {
    about: About,
    span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    Prepare(ParticipantName),
    Confirm(ParticipantName),
    Commit(ParticipantName),
    /// The question whether a lone branch has committed.
    Settle(ParticipantName),
    Close(ParticipantName),
    Step(StepName, Direction),
    Write(Stage),
}

impl Transaction {
    pub(super) fn begun(span: Span) -> Transaction {
        let context = span.context();
        Transaction { span: Some(span), ..Transaction::handed_on(context) }
    }

    pub(super) fn handed_on(context: TraceContext) -> Transaction {
        Transaction { span: None, context, under_way: Vec::new(), next_step: None, writes: 0 }
    }

    /// Returns what is stored of it; `None` if spans go nowhere from here, also after the next start.
    pub(super) fn traced(&self) -> Option<Traced> {
        self.span.as_ref().map(|span| Traced { context: self.context.clone(), parent: span.parent })
    }

    pub(super) fn noted(&mut self, now: Timestamp, note: &Note, traces: &Traces) {
        if let Note::Run { step, .. } = note {
            self.next_step = Some(step.clone());
        }
        let Some(span) = &mut self.span else { return };
        match note {
            Note::Begun { .. } => span.set(MODE, "two-phase"),
            Note::SagaBegun { .. } => span.set(MODE, "saga"),
            Note::Opened => span.set(MODE, "open saga"),
            Note::Decided { outcome } => decided(span, now, outcome),
            Note::Voted { from, vote, refusal } => {
                let about = About::Prepare(from.clone());
                self.over(now, &about, traces, |span| {
                    answered(span, vote, refusal.as_ref().map(|refusal| refusal.code.as_str()))
                });
            }
            Note::Confirmed { from, held } => {
                let answer = if *held { "read locks held" } else { "read locks lost" };
                self.over(now, &About::Confirm(from.clone()), traces, |span| answered(span, answer, None));
            }
            Note::Finished { from, outcome } => {
                for about in [About::Commit(from.clone()), About::Settle(from.clone())] {
                    self.over(now, &about, traces, |span| finished(span, *outcome));
                }
            }
            Note::Closed { from } => {
                self.over(now, &About::Close(from.clone()), traces, |span| answered(span, "closed", None));
            }
            Note::Ran { step, direction, outcome, refusal, .. } => {
                let about = About::Step(step.clone(), *direction);
                self.over(now, &about, traces, |span| {
                    answered(span, outcome, refusal.as_ref().map(|refusal| refusal.code.as_str()))
                });
            }
            Note::Unanswered { step, direction, .. } => {
                let about = About::Step(step.clone(), *direction);
                self.over(now, &about, traces, |span| answered(span, "none", Some("timeout")));
            }
            Note::Chosen { .. }
            | Note::Compensating { .. }
            | Note::DeadlinePassed
            | Note::Retried { .. }
            | Note::Stuck(_)
            | Note::HeldUp { .. }
            | Note::Resolved { .. }
            | Note::LeftOut { .. }
            | Note::Joined { .. }
            | Note::CloseAsked
            | Note::Nested { .. }
            | Note::Kept
            | Note::Inquired { .. }
            | Note::Forgotten => span.happened(note.kind().as_str(), now, note.to_string()),
            Note::Recovered { .. }
            | Note::Sent { .. }
            | Note::Run { .. }
            | Note::Logged { .. }
            | Note::Earlier { .. }
            | Note::Unusable { .. } => {}
        }
    }

    /// Returns the context of a message, which is that of its own span if it has one.
    pub(super) fn sent(
        &mut self,
        now: Timestamp,
        to: &ParticipantName,
        message: &ToParticipant,
        traces: &Traces,
    ) -> TraceContext {
        if self.span.is_none() {
            return self.context.clone();
        }
        match message {
            ToParticipant::Prepare(_) => self.ask(now, "prepare", to, About::Prepare(to.clone())),
            ToParticipant::Confirm { .. } => self.ask(now, "confirm", to, About::Confirm(to.clone())),
            ToParticipant::Commit { .. } => self.ask(now, "commit", to, About::Commit(to.clone())),
            ToParticipant::Settle { .. } => self.ask(now, "settle", to, About::Settle(to.clone())),
            ToParticipant::Close { .. } => self.ask(now, "close", to, About::Close(to.clone())),
            ToParticipant::Run(run) => self.run(now, to, run),
            // Nobody answers it: an abort is presumed anyway.
            ToParticipant::Abort { .. } => {
                let span = self.child("abort", now, &[to.as_str().as_bytes()]).with(PARTICIPANT, to.as_str());
                let context = span.context();
                traces.record(Span { kind: SpanKind::Client, ..span }.end(now));
                context
            }
            ToParticipant::Undecided { .. } | ToParticipant::Noted { .. } => self.context.clone(),
        }
    }

    fn ask(&mut self, now: Timestamp, name: &'static str, to: &ParticipantName, about: About) -> TraceContext {
        self.wait_for(about, |of| {
            let span = of.child(name, now, &[to.as_str().as_bytes()]).with(PARTICIPANT, to.as_str());
            Span { kind: SpanKind::Client, ..span }
        })
    }

    fn run(&mut self, now: Timestamp, to: &ParticipantName, run: &RunStep) -> TraceContext {
        let Some(step) = self.next_step.take() else { return self.context.clone() };
        let name = match run.direction {
            Direction::Forward => "action",
            Direction::Compensating => "compensation",
            Direction::Completing => "completion",
        };
        let attempt = run.attempt.to_be_bytes();
        self.wait_for(About::Step(step.clone(), run.direction), |of| {
            let span = of.child(name, now, &[step.as_str().as_bytes(), &attempt]);
            let span = span.with(PARTICIPANT, to.as_str()).with(STEP, step.as_str()).with(ATTEMPT, run.attempt);
            Span { kind: SpanKind::Client, ..span }
        })
    }

    pub(super) fn write_begins(&mut self, now: Timestamp, stage: Stage) {
        if self.span.is_none() {
            return;
        }
        let write = self.writes.to_be_bytes();
        self.writes += 1;
        let label = match stage {
            Stage::Delegated => "delegated",
            Stage::Committed => "committed",
            Stage::Ended => "ended",
            Stage::Begun => "begun",
            Stage::Stepped => "stepped",
            Stage::Compensating => "compensating",
            Stage::Opened => "opened",
            Stage::Joined => "joined",
            Stage::Closed => "closed",
        };
        self.wait_for(About::Write(stage), |of| of.child(FORCED_WRITE, now, &[&write]).with(STAGE, label));
    }

    /// Returns the context of a span that is under way, which begins unless it is already.
    fn wait_for(&mut self, about: About, begin: impl FnOnce(&Transaction) -> Span) -> TraceContext {
        if let Some(known) = self.under_way.iter().find(|known| known.about == about) {
            return known.span.context();
        }
        let span = begin(self);
        let context = span.context();
        self.under_way.push(UnderWay { about, span });
        context
    }

    fn child(&self, name: &'static str, now: Timestamp, parts: &[&[u8]]) -> Span {
        let own = self.context.span.bytes();
        let parts: Vec<&[u8]> = std::iter::once(&own[..]).chain(parts.iter().copied()).collect();
        let id = span_of(self.context.trace, name, &parts);
        Span::begin(name, SpanKind::Internal, id, &self.context, now)
    }

    /// Ends the span that this is about, if it is under way.
    pub(super) fn over(&mut self, now: Timestamp, about: &About, traces: &Traces, say: impl FnOnce(&mut Span)) {
        if let Some(at) = self.under_way.iter().position(|known| known.about == *about) {
            let mut span = self.under_way.remove(at).span;
            say(&mut span);
            traces.record(span.end(now));
        }
    }

    /// Ends all of it. What is still under way is not waited for any more.
    pub(super) fn retired(self, now: Timestamp, traces: &Traces) {
        let open = self.under_way.into_iter().map(|known| known.span);
        open.chain(self.span).for_each(|span| traces.record(span.end(now)));
    }
}

fn decided(span: &mut Span, now: Timestamp, outcome: &Outcome) {
    match outcome {
        Outcome::Committed => span.set(OUTCOME, "committed"),
        Outcome::Aborted(reason) => {
            span.set(OUTCOME, "aborted");
            span.set(ERROR_TYPE, reason.label());
            span.failed = Some(reason.to_string());
        }
    }
    span.happened("decided", now, outcome.to_string());
}

fn answered(span: &mut Span, answer: &str, error: Option<&str>) {
    span.set(ANSWER, answer);
    if let Some(error) = error {
        span.set(ERROR_TYPE, error);
        span.failed = Some(format!("{answer}: {error}"));
    }
}

fn finished(span: &mut Span, outcome: BranchOutcome) {
    let error = match outcome {
        BranchOutcome::Committed | BranchOutcome::Aborted => None,
        BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted => Some("heuristic"),
        BranchOutcome::Unknown => Some("unknown"),
    };
    answered(span, outcome.as_str(), error);
}
