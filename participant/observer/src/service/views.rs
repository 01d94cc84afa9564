//! Sagas as answers to `Get`, and as rows of lists.

use crate::shared::Found;
use undoubt_proto::v1;
use undoubt_stream::choreography::StepId;
use undoubt_stream::observer::{Awaited, Fate, Line, Saga, Standing, Verdict};
use undoubt_vocabulary::{AbortReason, PartState, Refusal, RefusalCode, Timestamp, TransactionPhase};

/// Events of a history; of more, the first and the last are told.
const MAX_HISTORY_EVENTS: usize = 256;

pub(super) fn whole(found: &Found) -> v1::Transaction {
    let lines = &found.lines;
    let history = if lines.len() > MAX_HISTORY_EVENTS {
        let half = MAX_HISTORY_EVENTS / 2;
        lines[..half].iter().chain(&lines[lines.len() - half..]).map(event).collect()
    } else {
        lines.iter().map(event).collect()
    };
    v1::Transaction { history, ..row(&found.saga, &found.verdict) }
}

pub(super) fn event(line: &Line) -> v1::HistoryEvent {
    v1::HistoryEvent {
        at_us: line.at.0,
        kind: line.kind.number(),
        participant: line.participant.as_ref().map(ToString::to_string).unwrap_or_default(),
        detail: line.detail.clone(),
        count: 1,
    }
}

pub(super) fn row(saga: &Saga, verdict: &Verdict) -> v1::Transaction {
    let awaited = |awaited: &Awaited| v1::Awaited {
        participant: awaited.step.participant.to_string(),
        reaction: awaited.step.name.to_string(),
        event: awaited.event.to_string(),
        since_us: awaited.since.0,
        detail: awaited.to_string(),
    };
    let mut branches: Vec<v1::BranchView> =
        verdict.fates.iter().map(|(step, fate)| branch(step, *fate, verdict)).collect();
    let limits = verdict.awaited.iter().filter(|awaited| !verdict.fates.contains_key(&awaited.step));
    branches
        .extend(limits.map(|awaited| part(&awaited.step, state_of(awaited, PartState::Waiting), awaited.to_string())));
    v1::Transaction {
        tx: saga.correlation.0.to_bytes(),
        phase: phase(verdict.standing).number(),
        outcome: Some(outcome(verdict)),
        begun_at_us: saga.begun_at().0,
        ended_at_us: saga.end.as_ref().map_or(Timestamp(0), |end| end.at).0,
        branches,
        heuristic_damage: verdict.standing == Standing::Mixed,
        saga: true,
        choreographed: Some(v1::Choreographed {
            standing: verdict.standing.as_str().to_owned(),
            awaited: verdict.awaited.iter().map(awaited).collect(),
            why: verdict.why.clone().unwrap_or_default(),
        }),
        ..Default::default()
    }
}

fn state_of(awaited: &Awaited, otherwise: PartState) -> PartState {
    if awaited.parked.is_some() { PartState::Stuck } else { otherwise }
}

fn branch(step: &StepId, fate: Fate, verdict: &Verdict) -> v1::BranchView {
    let awaited = verdict.awaited.iter().find(|awaited| awaited.step == *step);
    let detail = awaited.map(ToString::to_string).unwrap_or_default();
    let waits = |state| awaited.map_or(state, |awaited| state_of(awaited, state));
    let state = match fate {
        Fate::Awaited => waits(PartState::Waiting),
        Fate::Acted => PartState::Done,
        Fate::Refused => PartState::Refused,
        Fate::Undoing => waits(PartState::Compensating),
        Fate::Undone | Fate::NotInEffect => PartState::Undone,
        Fate::Skipped => PartState::Skipped,
        Fate::Remains => PartState::Done,
        Fate::Unknown => PartState::Unknown,
    };
    part(step, state, detail)
}

fn part(step: &StepId, state: PartState, detail: String) -> v1::BranchView {
    v1::BranchView {
        participant: step.participant.to_string(),
        state: state.number(),
        step: step.name.to_string(),
        detail,
        ..Default::default()
    }
}

fn phase(standing: Standing) -> TransactionPhase {
    match standing {
        Standing::Running => TransactionPhase::Running,
        Standing::Undoing => TransactionPhase::Compensating,
        Standing::Parked => TransactionPhase::Stuck,
        Standing::Quiet => TransactionPhase::Quiet,
        Standing::Done | Standing::Undone | Standing::Expired | Standing::Mixed => TransactionPhase::Ended,
        Standing::Unknown => TransactionPhase::Unknown,
    }
}

/// Returns the outcome as transactions have one: what was undone has aborted.
pub(super) fn outcome(verdict: &Verdict) -> v1::Outcome {
    let aborted = |reason: AbortReason| v1::Outcome {
        state: v1::State::Aborted.into(),
        abort_reason: Some(reason.into()),
        ..Default::default()
    };
    match verdict.standing {
        Standing::Done => v1::Outcome { state: v1::State::Committed.into(), ..Default::default() },
        Standing::Expired => aborted(AbortReason::DeadlinePassed { unanswered: Vec::new() }),
        Standing::Undone | Standing::Mixed => {
            let refused = verdict.fates.iter().find(|(_, fate)| **fate == Fate::Refused);
            aborted(match refused {
                Some((step, _)) => AbortReason::Refused {
                    by: step.participant.clone(),
                    refusal: Refusal::new(RefusalCode::Condition, format!("{step} was refused")),
                },
                None => AbortReason::Cancelled,
            })
        }
        Standing::Running | Standing::Undoing | Standing::Parked | Standing::Quiet | Standing::Unknown => {
            v1::Outcome { state: v1::State::Pending.into(), ..Default::default() }
        }
    }
}
