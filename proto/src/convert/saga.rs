//! Sagas: their steps as they are submitted, run and answered.

use super::message::milliseconds;
use super::{Malformed, field};
use crate::v1;
use bytes::Bytes;
use std::time::Duration;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_WORK_BYTES};
use undoubt_vocabulary::{
    AttemptNumber, Direction, RetryPolicy, RunStep, SagaStep, StepIndex, StepOutcome, StuckStep, Timestamp,
    ToCoordinator, TxId,
};
use v1::step_ran::Outcome;

impl From<RunStep> for v1::RunStep {
    fn from(run: RunStep) -> Self {
        v1::RunStep {
            step: run.step.0.into(),
            direction: wire_direction(run.direction).into(),
            acted_elsewhere: run.acted_elsewhere,
            attempt: run.attempt,
            begun_at_us: run.begun_at.0,
            timeout_ms: milliseconds(run.timeout),
            work: run.work,
            inputs: run.inputs,
        }
    }
}

pub(super) fn run_step(tx: TxId, attempt_number: AttemptNumber, body: v1::RunStep) -> Result<RunStep, Malformed> {
    field::within("run.work", body.work.len(), MAX_WORK_BYTES)?;
    field::at_most("run.inputs", body.inputs.len(), MAX_BRANCHES_PER_TRANSACTION)?;
    let inputs: Vec<Bytes> =
        body.inputs.into_iter().map(|input| field::result("run.inputs", input)).collect::<Result<_, _>>()?;
    Ok(RunStep {
        tx,
        attempt_number,
        step: step_index("run.step", body.step)?,
        direction: direction_of("run.direction", body.direction)?,
        acted_elsewhere: body.acted_elsewhere,
        attempt: body.attempt,
        begun_at: Timestamp(body.begun_at_us),
        timeout: Duration::from_millis(body.timeout_ms.into()),
        work: body.work,
        inputs,
    })
}

pub(super) fn step_ran(step: StepIndex, direction: Direction, attempt: u32, outcome: StepOutcome) -> v1::StepRan {
    let outcome = match outcome {
        StepOutcome::Done { result, pending } => Outcome::Done(v1::StepDone { result, pending }),
        StepOutcome::Empty => Outcome::Empty(v1::StepEmpty {}),
        StepOutcome::Refused(refusal) => Outcome::Refused(refusal.into()),
    };
    let (step, direction) = (step.0.into(), wire_direction(direction).into());
    v1::StepRan { step, direction, attempt, outcome: Some(outcome) }
}

pub(super) fn ran(tx: TxId, attempt_number: AttemptNumber, body: v1::StepRan) -> Result<ToCoordinator, Malformed> {
    let outcome = match field::required("ran.outcome", body.outcome)? {
        Outcome::Done(v1::StepDone { result, pending }) => StepOutcome::Done { result, pending },
        Outcome::Empty(v1::StepEmpty {}) => StepOutcome::Empty,
        Outcome::Refused(refusal) => StepOutcome::Refused(refusal.try_into()?),
    };
    let (step, direction) = (step_index("ran.step", body.step)?, direction_of("ran.direction", body.direction)?);
    Ok(ToCoordinator::Ran { tx, attempt_number, step, direction, attempt: body.attempt, outcome })
}

fn wire_direction(direction: Direction) -> v1::Direction {
    match direction {
        Direction::Forward => v1::Direction::Forward,
        Direction::Compensating => v1::Direction::Compensating,
        Direction::Completing => v1::Direction::Completing,
    }
}

fn direction_of(field: &'static str, direction: i32) -> Result<Direction, Malformed> {
    match v1::Direction::try_from(direction) {
        Ok(v1::Direction::Forward) => Ok(Direction::Forward),
        Ok(v1::Direction::Compensating) => Ok(Direction::Compensating),
        Ok(v1::Direction::Completing) => Ok(Direction::Completing),
        Err(_) => Err(Malformed::UnknownValue { field, value: direction }),
    }
}

fn step_index(field: &'static str, value: u32) -> Result<StepIndex, Malformed> {
    let too_many = |_| Malformed::TooMany { field, count: value as usize, max: MAX_BRANCHES_PER_TRANSACTION };
    u16::try_from(value).map(StepIndex).map_err(too_many)
}

impl From<StuckStep> for v1::StuckStep {
    fn from(stuck: StuckStep) -> Self {
        v1::StuckStep {
            step: stuck.step.to_string(),
            participant: stuck.participant.to_string(),
            direction: wire_direction(stuck.direction).into(),
            refusal: Some(stuck.refusal.into()),
        }
    }
}

impl TryFrom<v1::StuckStep> for StuckStep {
    type Error = Malformed;

    fn try_from(wire: v1::StuckStep) -> Result<Self, Malformed> {
        Ok(StuckStep {
            step: field::step("stuck.step", &wire.step)?,
            participant: field::participant("stuck.participant", &wire.participant)?,
            direction: direction_of("stuck.direction", wire.direction)?,
            refusal: field::required("stuck.refusal", wire.refusal)?.try_into()?,
        })
    }
}

impl From<&SagaStep> for v1::SagaStep {
    fn from(step: &SagaStep) -> Self {
        let indices = |steps: &[StepIndex]| steps.iter().map(|step| step.0.into()).collect();
        v1::SagaStep {
            name: step.name.to_string(),
            participant: step.participant.to_string(),
            action: step.action.clone(),
            compensation: step.compensation.clone(),
            completion: step.completion.clone(),
            after: indices(&step.after),
            uses: indices(&step.uses),
            pivot: step.pivot,
            retry: Some(step.retry.into()),
        }
    }
}

impl TryFrom<v1::SagaStep> for SagaStep {
    type Error = Malformed;

    fn try_from(wire: v1::SagaStep) -> Result<Self, Malformed> {
        let work = [
            ("steps.action", &wire.action),
            ("steps.compensation", &wire.compensation),
            ("steps.completion", &wire.completion),
        ];
        for (field, work) in work {
            field::within(field, work.as_ref().map_or(0, Bytes::len), MAX_WORK_BYTES)?;
        }
        let indices = |field, steps: Vec<u32>| {
            field::at_most(field, steps.len(), MAX_BRANCHES_PER_TRANSACTION)?;
            steps.into_iter().map(|step| step_index(field, step)).collect::<Result<Vec<_>, _>>()
        };
        Ok(SagaStep {
            name: field::step("steps.name", &wire.name)?,
            participant: field::participant("steps.participant", &wire.participant)?,
            action: wire.action,
            compensation: wire.compensation,
            completion: wire.completion,
            after: indices("steps.after", wire.after)?,
            uses: indices("steps.uses", wire.uses)?,
            pivot: wire.pivot,
            retry: wire.retry.map(RetryPolicy::from).unwrap_or_default(),
        })
    }
}

impl From<RetryPolicy> for v1::RetryPolicy {
    fn from(policy: RetryPolicy) -> Self {
        v1::RetryPolicy {
            max_attempts: policy.max_attempts,
            first_pause_ms: milliseconds(policy.first_pause),
            max_pause_ms: milliseconds(policy.max_pause),
            attempt_timeout_ms: milliseconds(policy.attempt_timeout),
        }
    }
}

/// A field that is 0 has its default.
impl From<v1::RetryPolicy> for RetryPolicy {
    fn from(wire: v1::RetryPolicy) -> Self {
        let default = RetryPolicy::default();
        let or = |ms: u32, default| if ms == 0 { default } else { Duration::from_millis(ms.into()) };
        RetryPolicy {
            max_attempts: if wire.max_attempts == 0 { default.max_attempts } else { wire.max_attempts },
            first_pause: or(wire.first_pause_ms, default.first_pause),
            max_pause: or(wire.max_pause_ms, default.max_pause),
            attempt_timeout: or(wire.attempt_timeout_ms, default.attempt_timeout),
        }
    }
}
