//! The spans of work that belongs to a trace: from the message that asks for it until it is done.
//!
//! The core knows nothing of them, and of work without a trace nothing is kept.

use crate::resource::TracedCall;
use std::sync::Arc;
use std::time::Duration;
use undoubt_participant_core::{BranchId, Effect, Input, StepId};
use undoubt_platform::Traces;
use undoubt_platform::traces::attributes::{ANSWER, ATTEMPT, ERROR_TYPE, LOCK_WAIT_MS, PARTICIPANT, TX};
use undoubt_platform::traces::ids::span_of;
use undoubt_platform::traces::{Span, SpanKind};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, DigestMap, ParticipantName, Refusal, StepOutcome, Timestamp, TraceContext, TxId, Vote,
};

/// Work that is traced and not done yet. What waits for it to be done ends it, so there is no more of it than of open work.
pub(super) struct TracedWork {
    traces: Traces,
    participant: Arc<str>,
    /// The context of the message that is being put to the core.
    asked: Option<TraceContext>,
    under_way: DigestMap<TxId, Vec<(Work, Span)>>,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Branch(BranchId),
    Step(StepId),
    Close(CoordinatorId, AttemptNumber),
}

impl TracedWork {
    pub(super) fn new(traces: Traces, participant: &ParticipantName) -> TracedWork {
        let participant = participant.as_str().into();
        TracedWork { traces, participant, asked: None, under_way: DigestMap::new() }
    }

    /// Has the context of a message at hand until [`Self::asked`].
    pub(super) fn ask(&mut self, context: &v1::TraceContext) {
        if self.traces.is_on() {
            let context = self.traces.read(&context.traceparent, &context.tracestate);
            self.asked = context.filter(|context| context.sampled);
        }
    }

    /// The message was put to the core.
    pub(super) fn asked(&mut self) {
        self.asked = None;
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Begins a span if the effect is the work that the message asks for, and returns the call of the resource that is done for it.
    pub(super) fn begin<'a>(&mut self, now: Timestamp, effect: &'a Effect) -> Option<(TracedCall<'a>, TraceContext)> {
        let context = self.asked.as_ref()?;
        let (name, tx, work) = begun(effect)?;
        let id = span_of(context.trace, name, &[&context.span.bytes(), self.participant.as_bytes()]);
        let span = Span::begin(name, SpanKind::Server, id, context, now)
            .with(TX, tx.to_string())
            .with(PARTICIPANT, &*self.participant);
        let span = if let Effect::RunAction { run, .. } | Effect::FinishStep { run, .. } = effect {
            span.with(ATTEMPT, run.attempt)
        } else {
            span
        };
        let known = self.under_way.get_or_insert_with(tx.clone(), Vec::new);
        // It is asked for anew only once it is done, or never will be.
        known.retain(|(other, _)| *other != work);
        let context = span.context();
        known.push((work, span));
        Some((call_of(effect)?, context))
    }

    /// Ends the span of what is done.
    pub(super) fn end(&mut self, now: Timestamp, input: &Input) {
        let Some((tx, work)) = done(input) else { return };
        let Some(known) = self.under_way.get_mut(tx) else { return };
        if let Some(at) = known.iter().position(|(other, _)| *other == work) {
            let (_, mut span) = known.remove(at);
            answered(&mut span, input);
            self.traces.record(span.end(now));
        }
        if known.is_empty() {
            self.under_way.remove(tx);
        }
    }

    /// Notes for how long a branch has waited for its locks.
    pub(super) fn waited(&mut self, branch: &BranchId, waited: Duration) {
        let Some(known) = self.under_way.get_mut(&branch.tx) else { return };
        let is_it = |work: &Work| matches!(work, Work::Branch(other) if other == branch);
        if let Some((_, span)) = known.iter_mut().find(|(work, _)| is_it(work)) {
            span.set(LOCK_WAIT_MS, u32::try_from(waited.as_millis()).unwrap_or(u32::MAX));
        }
    }
}

/// Returns the name of the work that an effect begins, and what it is.
fn begun(effect: &Effect) -> Option<(&'static str, &TxId, Work)> {
    let of_branch = |name, branch: &BranchId| (name, Work::Branch(branch.clone()));
    let of_step = |name, step: &StepId| (name, Work::Step(step.clone()));
    let (name, work) = match effect {
        Effect::Execute { branch, .. } => of_branch("prepare", branch),
        Effect::Confirm { branch } => of_branch("confirm", branch),
        Effect::Commit { branch } => of_branch("commit", branch),
        Effect::Abort { branch } => of_branch("abort", branch),
        Effect::RunAction { step, .. } => of_step("action", step),
        Effect::FinishStep { step, run, .. } => of_step(run.direction.as_str(), step),
        Effect::StoreEmpty { step } => of_step("compensation", step),
        Effect::CloseSaga { coordinator, attempt_number, .. } => ("close", Work::Close(*coordinator, *attempt_number)),
        Effect::RecordEpoch { .. }
        | Effect::RecordPin { .. }
        | Effect::Welcome { .. }
        | Effect::RememberSeen { .. }
        | Effect::RememberName { .. }
        | Effect::StorePutBack { .. }
        | Effect::AcceptLoss { .. }
        | Effect::Close { .. }
        | Effect::Send { .. }
        | Effect::Settle { .. }
        | Effect::Cancel { .. }
        | Effect::Release { .. }
        | Effect::Resolve { .. }
        | Effect::StoreHeuristic { .. }
        | Effect::ForgetHeuristic { .. }
        | Effect::CancelAction { .. }
        | Effect::RecallVote { .. }
        | Effect::RecallOutcome { .. }
        | Effect::ReleaseMarks { .. }
        | Effect::Collect { .. }
        | Effect::Answer { .. } => return None,
    };
    Some((name, tx_of(effect)?, work))
}

/// Returns the call that an effect begins, of those that a resource hears the trace of.
fn call_of(effect: &Effect) -> Option<TracedCall<'_>> {
    if let Effect::Execute { branch, .. } | Effect::Commit { branch } | Effect::Abort { branch } = effect {
        return Some(TracedCall::Branch(branch));
    }
    if let Effect::RunAction { step, .. } | Effect::FinishStep { step, .. } = effect {
        return Some(TracedCall::Step(step));
    }
    None
}

fn tx_of(effect: &Effect) -> Option<&TxId> {
    if let Effect::Execute { branch, .. }
    | Effect::Confirm { branch }
    | Effect::Commit { branch }
    | Effect::Abort { branch } = effect
    {
        return Some(&branch.tx);
    }
    if let Effect::RunAction { step, .. } | Effect::FinishStep { step, .. } | Effect::StoreEmpty { step } = effect {
        return Some(&step.tx);
    }
    if let Effect::CloseSaga { tx, .. } = effect { Some(tx) } else { None }
}

/// Returns the work that is done by this.
fn done(input: &Input) -> Option<(&TxId, Work)> {
    if let Input::Executed { branch, .. }
    | Input::Confirmed { branch, .. }
    | Input::Committed { branch }
    | Input::Aborted { branch }
    | Input::Gone { branch, .. } = input
    {
        return Some((&branch.tx, Work::Branch(branch.clone())));
    }
    if let Input::ActionRan { step, .. } | Input::StepFinished { step, .. } | Input::EmptyStored { step } = input {
        return Some((&step.tx, Work::Step(step.clone())));
    }
    if let Input::SagaClosed { coordinator, attempt_number, tx } = input {
        return Some((tx, Work::Close(*coordinator, *attempt_number)));
    }
    None
}

/// Says how it ended.
fn answered(span: &mut Span, input: &Input) {
    if let Input::Executed { vote, .. } = input {
        match vote {
            Vote::Prepared { .. } => span.set(ANSWER, "prepared"),
            Vote::ReadOnly { .. } => span.set(ANSWER, "read-only"),
            Vote::Committed { .. } => span.set(ANSWER, "committed"),
            Vote::Refused(refusal) => refused(span, refusal),
        }
    }
    if let Input::ActionRan { outcome, .. } | Input::StepFinished { outcome, .. } = input {
        match outcome {
            StepOutcome::Done { .. } => span.set(ANSWER, "done"),
            StepOutcome::Empty => span.set(ANSWER, "empty"),
            StepOutcome::Refused(refusal) => refused(span, refusal),
        }
    }
    if let Input::Confirmed { held: false, .. } = input {
        span.failed = Some("the read locks were lost".to_owned());
    }
    if let Input::Gone { .. } = input {
        span.failed = Some("somebody else had ended the branch in the resource itself".to_owned());
    }
}

fn refused(span: &mut Span, refusal: &Refusal) {
    span.set(ANSWER, "refused");
    span.set(ERROR_TYPE, refusal.code.as_str());
    span.failed = Some(refusal.to_string());
}
