//! Records of sagas, and the progress of steps, as bytes, and back.

use super::{DecodeError, digest, put, result_apart};
use crate::log::DEFINITION;
use crate::log::separate_parts::{self, Stored};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use undoubt_coordinator_core::{Progress, SagaRecord, Unfinished};
use undoubt_platform::Store;
use undoubt_proto::convert::Malformed;
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{AttemptNumber, PartName, SagaStep, Timestamp, TxId};

/// Returns the record as stored. `results` and `definition`: what is stored beside it.
pub(in crate::log) fn encode_saga(
    saga: &SagaRecord,
    results: &[PartName],
    definition: bool,
    history: &[u8],
    bytes: &mut Vec<u8>,
) {
    let progress = saga.steps.iter().zip(&saga.progress);
    let steps: &[_] = if definition { &[] } else { &saga.steps };
    let state = record::SagaState {
        steps: steps.iter().map(|step| v1::SagaStep::from(&**step)).collect(),
        deadline_us: saga.deadline.0,
        compensating: saga.compensating.clone().map(v1::AbortReason::from),
        progress: progress
            .map(|(step, progress)| progress_to_wire(progress, results.contains(&PartName::Step(step.name.clone()))))
            .collect(),
        definition_apart: definition,
    };
    let record = record::OpenTransaction {
        kind: record::open_transaction::Kind::Saga.into(),
        attempt_number: saga.attempt_number.0,
        begun_at_us: saga.begun_at.0,
        digest: Bytes::copy_from_slice(&saga.digest),
        saga: Some(state),
        ..record::OpenTransaction::default()
    };
    put(&record, history, bytes);
}

pub(super) fn decode_saga(
    store: &dyn Store,
    key: &Bytes,
    wire: record::OpenTransaction,
) -> Result<(Unfinished, Stored), DecodeError> {
    let attempt_number = AttemptNumber(wire.attempt_number);
    let state = wire.saga.ok_or(Malformed::Missing { field: "saga" })?;
    let mut stored = Stored { definition: state.definition_apart, ..Stored::default() };
    let steps = if stored.definition {
        let missing = || DecodeError::NotBeside { what: "the saga's definition".into(), family: DEFINITION.0 };
        let definition = separate_parts::definition(store, attempt_number)?.ok_or_else(missing)?;
        record::SagaDefinition::decode(definition)?.steps
    } else {
        state.steps
    };
    let steps = steps.into_iter().map(|step| {
        let step = SagaStep::try_from(step)?;
        let action = Some(step.action.clone().unwrap_or_default());
        Ok::<_, Malformed>(Arc::new(SagaStep { action, ..step }))
    });
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    if steps.len() != state.progress.len() {
        return Err(DecodeError::Progress { steps: steps.len(), progress: state.progress.len() });
    }
    let mut progress = Vec::with_capacity(steps.len());
    for (step, wire) in steps.iter().zip(state.progress) {
        let (mut known, is_apart) = progress_from_wire(wire)?;
        if let (Progress::Done { result, .. }, true) = (&mut known, is_apart) {
            let part = PartName::Step(step.name.clone());
            *result = result_apart(store, attempt_number, &part)?;
            stored.results.insert(part);
        }
        progress.push(known);
    }
    let saga = SagaRecord {
        tx: TxId::new(key.clone())?,
        attempt_number,
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        deadline: Timestamp(state.deadline_us),
        steps,
        compensating: state.compensating.map(TryInto::try_into).transpose()?,
        progress,
    };
    Ok((Unfinished::Saga(saga), stored))
}

pub(in crate::log) fn progress_to_wire(progress: &Progress, apart: bool) -> record::StepProgress {
    use record::step_progress::State;
    let state = match progress {
        Progress::Pending => None,
        Progress::Done { result, pending } => {
            let result = if apart { Bytes::new() } else { result.clone() };
            Some(State::Done(record::StepDone { result, pending: *pending, apart }))
        }
        Progress::Completed { result, pending } => {
            let result = if apart { Bytes::new() } else { result.clone() };
            Some(State::Completed(record::StepDone { result, pending: *pending, apart }))
        }
        Progress::Refused(refusal) => Some(State::Refused(refusal.clone().into())),
        Progress::Undone => Some(State::Undone(record::StepUndone {})),
        Progress::Skipped => Some(State::Skipped(record::StepSkipped {})),
    };
    record::StepProgress { state }
}

/// Returns the progress, and whether the result is stored apart.
pub(super) fn progress_from_wire(wire: record::StepProgress) -> Result<(Progress, bool), Malformed> {
    use record::step_progress::State;
    Ok(match wire.state {
        None => (Progress::Pending, false),
        Some(State::Done(record::StepDone { result, pending, apart })) => (Progress::Done { result, pending }, apart),
        Some(State::Undone(record::StepUndone {})) => (Progress::Undone, false),
        Some(State::Skipped(record::StepSkipped {})) => (Progress::Skipped, false),
        Some(State::Refused(refusal)) => (Progress::Refused(refusal.try_into()?), false),
        Some(State::Completed(record::StepDone { result, pending, apart })) => {
            (Progress::Completed { result, pending }, apart)
        }
    })
}
