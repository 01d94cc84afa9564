//! Records as bytes, and back. The messages are in `record.proto`.

use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use undoubt_coordinator_core::{EndedRecord, OpenKind, OpenRecord, Progress, SagaRecord, Unfinished};
use undoubt_proto::convert::{KnownOutcome, Malformed, branch_outcome};
use undoubt_proto::v1::{BranchResult, HistoryEvent};
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{InvalidId, ParticipantName, SagaStep, Ticket, Timestamp, TxId};

use super::Ended;
use super::stored_history::{UnreadableLine, events_of};

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("it is not a protobuf message of this kind ({0})")]
    Encoding(#[from] prost::DecodeError),
    #[error("{0}")]
    Id(InvalidId),
    #[error("{0}")]
    Content(Malformed),
    #[error("its {field} has {length} bytes instead of 32")]
    Digest { field: &'static str, length: usize },
    #[error("its kind {0} is not known to this version")]
    Kind(i32),
    #[error("it has {steps} steps and the progress of {progress}")]
    Progress { steps: usize, progress: usize },
    #[error("it says that the transaction is not decided")]
    Undecided,
    #[error(transparent)]
    History(#[from] UnreadableLine),
}

pub(super) fn encode_open(open: &OpenRecord, history: &[u8], bytes: &mut Vec<u8>) {
    let kind = match open.kind {
        OpenKind::Committed => record::open_transaction::Kind::Commit,
        OpenKind::Delegated => record::open_transaction::Kind::Delegated,
    };
    let record = record::OpenTransaction {
        kind: kind.into(),
        ticket: open.ticket.0,
        begun_at_us: open.begun_at.0,
        digest: Bytes::copy_from_slice(&open.digest),
        participants: names(&open.participants),
        read_only: names(&open.read_only),
        results: results_to_wire(&open.results),
        history: Vec::new(),
        saga: None,
        happened: Vec::new(),
    };
    put(&record, history, bytes);
}

pub(super) fn decode_open(key: &Bytes, value: &Bytes) -> Result<(Unfinished, Vec<HistoryEvent>), DecodeError> {
    let wire = record::OpenTransaction::decode(value.clone())?;
    let kind = match record::open_transaction::Kind::try_from(wire.kind) {
        Ok(record::open_transaction::Kind::Commit) => OpenKind::Committed,
        Ok(record::open_transaction::Kind::Delegated) => OpenKind::Delegated,
        Ok(record::open_transaction::Kind::Saga) => return decode_saga(key, wire),
        Ok(record::open_transaction::Kind::Unspecified) | Err(_) => return Err(DecodeError::Kind(wire.kind)),
    };
    let open = OpenRecord {
        kind,
        tx: TxId::new(key.clone())?,
        ticket: Ticket(wire.ticket),
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        participants: parse_names(&wire.participants)?,
        read_only: parse_names(&wire.read_only)?,
        results: results_from_wire(wire.results)?,
    };
    Ok((Unfinished::TwoPhase(open), history_of(wire.history, wire.happened)?))
}

pub(super) fn encode_saga(saga: &SagaRecord, history: &[u8], bytes: &mut Vec<u8>) {
    let state = record::SagaState {
        steps: saga.steps.iter().map(|step| v1::SagaStep::from(&**step)).collect(),
        deadline_us: saga.deadline.0,
        turned: saga.turned.clone().map(v1::AbortReason::from),
        progress: saga.progress.iter().map(progress_to_wire).collect(),
    };
    let record = record::OpenTransaction {
        kind: record::open_transaction::Kind::Saga.into(),
        ticket: saga.ticket.0,
        begun_at_us: saga.begun_at.0,
        digest: Bytes::copy_from_slice(&saga.digest),
        saga: Some(state),
        ..record::OpenTransaction::default()
    };
    put(&record, history, bytes);
}

fn decode_saga(key: &Bytes, wire: record::OpenTransaction) -> Result<(Unfinished, Vec<HistoryEvent>), DecodeError> {
    let state = wire.saga.ok_or(Malformed::Missing { field: "saga" })?;
    let steps = state.steps.into_iter().map(|step| SagaStep::try_from(step).map(Arc::new));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    if steps.len() != state.progress.len() {
        return Err(DecodeError::Progress { steps: steps.len(), progress: state.progress.len() });
    }
    let saga = SagaRecord {
        tx: TxId::new(key.clone())?,
        ticket: Ticket(wire.ticket),
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        deadline: Timestamp(state.deadline_us),
        steps,
        turned: state.turned.map(TryInto::try_into).transpose()?,
        progress: state.progress.into_iter().map(progress_from_wire).collect(),
    };
    Ok((Unfinished::Saga(saga), history_of(wire.history, wire.happened)?))
}

fn progress_to_wire(progress: &Progress) -> record::StepProgress {
    use record::step_progress::State;
    let state = match progress {
        Progress::Pending => None,
        Progress::Done { result, pending } => {
            Some(State::Done(record::StepDone { result: result.clone(), pending: *pending }))
        }
        Progress::Undone => Some(State::Undone(record::StepUndone {})),
        Progress::Skipped => Some(State::Skipped(record::StepSkipped {})),
    };
    record::StepProgress { state }
}

fn progress_from_wire(wire: record::StepProgress) -> Progress {
    use record::step_progress::State;
    match wire.state {
        None => Progress::Pending,
        Some(State::Done(record::StepDone { result, pending })) => Progress::Done { result, pending },
        Some(State::Undone(record::StepUndone {})) => Progress::Undone,
        Some(State::Skipped(record::StepSkipped {})) => Progress::Skipped,
    }
}

pub(super) fn encode_ended(ended: &EndedRecord, now: Timestamp, history: &[u8], bytes: &mut Vec<u8>) {
    let branch = |(name, outcome): &(ParticipantName, _)| record::EndedBranch {
        participant: name.to_string(),
        outcome: v1::BranchOutcome::from(*outcome).into(),
    };
    let results = ended.results.iter().cloned().collect();
    let known = KnownOutcome { decided: Some(ended.outcome.clone()), results, stuck: None };
    let record = record::EndedTransaction {
        outcome: Some(known.into()),
        ticket: ended.ticket.0,
        begun_at_us: ended.begun_at.0,
        ended_at_us: now.0,
        digest: Bytes::copy_from_slice(&ended.digest),
        branches: ended.branches.iter().map(branch).collect(),
        history: Vec::new(),
        saga: ended.saga,
        happened: Vec::new(),
    };
    put(&record, history, bytes);
}

pub(super) fn decode_ended(key: &[u8], value: &Bytes) -> Result<Ended, DecodeError> {
    let wire = record::EndedTransaction::decode(value.clone())?;
    let known = KnownOutcome::try_from(wire.outcome.unwrap_or_default())?;
    let mut branches = Vec::with_capacity(wire.branches.len());
    for branch in wire.branches {
        branches.push((branch.participant.parse::<ParticipantName>()?, branch_outcome("outcome", branch.outcome)?));
    }
    let record = EndedRecord {
        saga: wire.saga,
        tx: TxId::new(Bytes::copy_from_slice(key))?,
        ticket: Ticket(wire.ticket),
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        outcome: known.decided.ok_or(DecodeError::Undecided)?,
        branches,
        results: known.results.into_iter().collect(),
    };
    let history = history_of(wire.history, wire.happened)?;
    Ok(Ended { record, ended_at: Timestamp(wire.ended_at_us), history })
}

/// What format 1 told, and what is told since.
fn history_of(
    mut former: Vec<HistoryEvent>,
    happened: Vec<record::Happened>,
) -> Result<Vec<HistoryEvent>, DecodeError> {
    former.append(&mut events_of(happened)?);
    Ok(former)
}

/// A record with a history in the form of [`stored_history`](super::stored_history) behind it.
fn put(record: &impl Message, history: &[u8], bytes: &mut Vec<u8>) {
    record.encode_raw(bytes);
    bytes.extend_from_slice(history);
}

fn names(names: &[ParticipantName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn parse_names(names: &[String]) -> Result<Vec<ParticipantName>, DecodeError> {
    names.iter().map(|name| Ok(name.parse()?)).collect()
}

fn results_to_wire(results: &[(ParticipantName, Bytes)]) -> Vec<BranchResult> {
    let wire = |(name, result): &(ParticipantName, Bytes)| BranchResult {
        participant: name.to_string(),
        result: result.clone(),
    };
    results.iter().map(wire).collect()
}

fn results_from_wire(results: Vec<BranchResult>) -> Result<Vec<(ParticipantName, Bytes)>, DecodeError> {
    results.into_iter().map(|branch| Ok((branch.participant.parse()?, branch.result))).collect()
}

fn digest(bytes: &Bytes) -> Result<[u8; 32], DecodeError> {
    bytes.as_ref().try_into().map_err(|_| DecodeError::Digest { field: "digest", length: bytes.len() })
}
