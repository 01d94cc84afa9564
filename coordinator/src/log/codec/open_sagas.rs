//! Records of open sagas and of the steps that have joined them, as bytes, and back.

use super::sagas::progress_from_wire;
use super::{DecodeError, digest, put, result_apart};
use crate::log::separate_parts::{self, Stored};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use undoubt_coordinator_core::{
    Completions, JoinedRecord, OpenedRecord, OpenedState, ParentRecord, Progress, Terms, Unfinished,
};
use undoubt_platform::Store;
use undoubt_proto::convert::Malformed;
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{AttemptNumber, EventKind, PartName, SagaStep, StepIndex, Timestamp, TxId};

/// Returns the record of an open saga as stored.
pub(in crate::log) fn encode_opened(opened: &OpenedRecord, history: &[u8], bytes: &mut Vec<u8>) {
    let compensating = match &opened.state {
        OpenedState::Open | OpenedState::Closed => None,
        OpenedState::Compensating(reason) | OpenedState::Reverting(reason) => {
            Some(v1::AbortReason::from(reason.clone()))
        }
    };
    let state = record::OpenedState {
        deadline_us: opened.deadline.0,
        completion_order: completion_order(opened.terms.completions).into(),
        closed: matches!(opened.state, OpenedState::Closed | OpenedState::Reverting(_)),
        compensating,
        check_back: opened.check_back.as_ref().map(|step| v1::SagaStep::from(&**step)),
        parent: opened.parent.as_ref().map(|parent| parent.tx.to_bytes()).unwrap_or_default(),
        after: opened.parent.as_ref().map_or(0, |parent| parent.after.0.into()),
        owner: opened.owner.as_deref().unwrap_or_default().to_owned(),
    };
    let record = record::OpenTransaction {
        kind: record::open_transaction::Kind::Opened.into(),
        attempt_number: opened.attempt_number.0,
        begun_at_us: opened.begun_at.0,
        digest: Bytes::copy_from_slice(&opened.digest),
        opened: Some(state),
        ..record::OpenTransaction::default()
    };
    put(&record, history, bytes);
}

/// Returns a step that has joined as it is stored.
pub(in crate::log) fn joined_step(joined: &JoinedRecord, now: Timestamp) -> record::JoinedStep {
    record::JoinedStep {
        step: Some(v1::SagaStep::from(&*joined.step)),
        digest: Bytes::copy_from_slice(&joined.digest),
        attempt_number: joined.at_participant.0,
        joined_at_us: now.0,
    }
}

/// Returns the lines of the history that tell of steps which joined after the record of their saga was written.
pub(super) fn joined_since(
    store: &dyn Store,
    attempt_number: AttemptNumber,
    history: &[v1::HistoryEvent],
) -> Result<Vec<v1::HistoryEvent>, DecodeError> {
    let kind = EventKind::Joined.number();
    let told: BTreeSet<&str> =
        history.iter().filter(|event| event.kind == kind).map(|event| event.detail.as_str()).collect();
    let mut since = Vec::new();
    for (key, value) in separate_parts::joined(store, attempt_number)? {
        if key.last() != Some(&0) {
            continue;
        }
        let record::JoinedStep { step, joined_at_us, .. } = record::JoinedStep::decode(value)?;
        let v1::SagaStep { name, participant, .. } = step.unwrap_or_default();
        if joined_at_us > 0 && !told.contains(name.as_str()) {
            since.push(v1::HistoryEvent { at_us: joined_at_us, kind, participant, detail: name, count: 1 });
        }
    }
    Ok(since)
}

pub(super) fn decode_opened(
    store: &dyn Store,
    key: &Bytes,
    wire: record::OpenTransaction,
) -> Result<(Unfinished, Stored), DecodeError> {
    let (tx, attempt_number) = (TxId::new(key.clone())?, AttemptNumber(wire.attempt_number));
    let state = wire.opened.ok_or(Malformed::Missing { field: "opened" })?;
    let mut stored = Stored::default();
    let mut steps: Vec<JoinedRecord> = Vec::new();
    for (key, value) in separate_parts::joined(store, attempt_number)? {
        match key.last() {
            Some(0) => {
                let wire = record::JoinedStep::decode(value)?;
                let step = wire.step.ok_or(Malformed::Missing { field: "step" })?;
                steps.push(JoinedRecord {
                    tx: tx.clone(),
                    attempt_number,
                    index: StepIndex(stored.joined),
                    step: Arc::new(SagaStep::try_from(step)?),
                    digest: digest(&wire.digest)?,
                    at_participant: AttemptNumber(wire.attempt_number),
                    progress: Progress::Pending,
                });
                stored.joined += 1;
            }
            Some(_) | None => {
                let step = steps.last_mut().ok_or(Malformed::Missing { field: "step" })?;
                let (mut progress, is_apart) = progress_from_wire(record::StepProgress::decode(value)?)?;
                if let (Progress::Done { result, .. } | Progress::Completed { result, .. }, true) =
                    (&mut progress, is_apart)
                {
                    let part = PartName::Step(step.step.name.clone());
                    *result = result_apart(store, attempt_number, &part)?;
                    stored.results.insert(part);
                }
                step.progress = progress;
            }
        }
    }
    let opened = OpenedRecord {
        tx,
        attempt_number,
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        deadline: Timestamp(state.deadline_us),
        terms: Terms { completions: completions(state.completion_order)? },
        check_back: state.check_back.map(SagaStep::try_from).transpose()?.map(Arc::new),
        parent: (!state.parent.is_empty()).then(|| parent(state.parent, state.after)).transpose()?,
        owner: Some(state.owner).filter(|owner| !owner.is_empty()).map(Arc::from),
        state: match state.compensating {
            Some(reason) if state.closed => OpenedState::Reverting(reason.try_into()?),
            Some(reason) => OpenedState::Compensating(reason.try_into()?),
            None if state.closed => OpenedState::Closed,
            None => OpenedState::Open,
        },
    };
    Ok((Unfinished::Opened(opened, steps), stored))
}

fn parent(tx: Bytes, after: u32) -> Result<ParentRecord, DecodeError> {
    let after = u16::try_from(after).map_err(|_| Malformed::Missing { field: "after" })?;
    Ok(ParentRecord { tx: TxId::new(tx)?, after: StepIndex(after) })
}

fn completion_order(completions: Completions) -> v1::CompletionOrder {
    match completions {
        Completions::Together => v1::CompletionOrder::Together,
        Completions::AsJoined => v1::CompletionOrder::AsJoined,
        Completions::Reversed => v1::CompletionOrder::Reversed,
        Completions::TwoPhase => v1::CompletionOrder::TwoPhase,
    }
}

fn completions(order: i32) -> Result<Completions, Malformed> {
    match v1::CompletionOrder::try_from(order) {
        Ok(v1::CompletionOrder::Unspecified | v1::CompletionOrder::Together) => Ok(Completions::Together),
        Ok(v1::CompletionOrder::AsJoined) => Ok(Completions::AsJoined),
        Ok(v1::CompletionOrder::Reversed) => Ok(Completions::Reversed),
        Ok(v1::CompletionOrder::TwoPhase) => Ok(Completions::TwoPhase),
        Err(_) => Err(Malformed::UnknownValue { field: "completion_order", value: order }),
    }
}
