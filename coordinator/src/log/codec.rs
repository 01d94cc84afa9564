//! Records as bytes, and back. The messages are in `record.proto`.

mod open_sagas;
mod sagas;

pub(super) use open_sagas::{encode_opened, joined_step};
pub(super) use sagas::{encode_saga, progress_to_wire};

use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use undoubt_coordinator_core::{
    Barrier, EndedBranch, EndedRecord, OpenKind, OpenRecord, Part, PartStep, Unfinished, UnusableRecord, decided,
};
use undoubt_platform::{Store, StoreError};
use undoubt_proto::convert::{KnownOutcome, Malformed, branch_outcome};
use undoubt_proto::v1::BranchResult;
use undoubt_proto::{record, v1};
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, InvalidId, Outcome, PartName, ParticipantName, StepIndex, Timestamp, TxId,
};

use super::separate_parts::{self, Stored};
use super::stored_history::{UnreadableLine, events_of};
use super::{Ended, Found, RESULT, Traced};
use open_sagas::decode_opened;
use sagas::{decode_saga, progress_from_wire};

/// The reason why a record cannot be read.
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
    #[error("a saga has no step {0}")]
    Step(u32),
    #[error("it says that the transaction is not decided")]
    Undecided,
    #[error(transparent)]
    History(#[from] UnreadableLine),
    #[error("{what} is not in family {family}, where it was stored")]
    NotBeside { what: String, family: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns the record as stored. `apart`: whose results are stored beside it.
pub(super) fn encode_open(open: &OpenRecord, apart: &[PartName], history: &[u8], bytes: &mut Vec<u8>) {
    let kind = match open.kind {
        OpenKind::Committed => record::open_transaction::Kind::Commit,
        OpenKind::Delegated => record::open_transaction::Kind::Delegated,
    };
    let record = record::OpenTransaction {
        kind: kind.into(),
        attempt_number: open.attempt_number.0,
        begun_at_us: open.begun_at.0,
        digest: Bytes::copy_from_slice(&open.digest),
        participants: names(&open.participants),
        read_only: names(&open.read_only),
        results: results_to_wire(&open.results, apart),
        saga: None,
        happened: Vec::new(),
        results_apart: part_names(apart),
        held_because: String::new(),
        traced: None,
        opened: None,
    };
    put(&record, history, bytes);
}

/// Encodes an attempt that is held.
pub(super) fn encode_held(held: &UnusableRecord, bytes: &mut Vec<u8>) {
    let record = record::OpenTransaction {
        attempt_number: held.attempt_number.0,
        begun_at_us: held.begun_at.0,
        digest: Bytes::copy_from_slice(&held.digest),
        participants: names(&held.participants),
        saga: held.saga.then(record::SagaState::default),
        held_because: held.cause.clone(),
        ..record::OpenTransaction::default()
    };
    put(&record, &[], bytes);
}

/// Decodes the record of an open transaction. The parts that are stored apart are read from the store.
pub(super) fn decode_open(store: &dyn Store, key: &Bytes, value: &Bytes) -> Result<(Found, Stored), DecodeError> {
    let mut wire = record::OpenTransaction::decode(value.clone())?;
    let mut history = events_of(std::mem::take(&mut wire.happened))?;
    let traced = Traced::read(wire.traced.as_ref());
    let held = UnusableRecord {
        saga: wire.saga.is_some() || wire.opened.is_some(),
        tx: TxId::new(key.clone())?,
        attempt_number: AttemptNumber(wire.attempt_number),
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        participants: participants_of(store, &wire)?,
        decided: decided_of(&wire),
        cause: String::new(),
    };
    if !wire.held_because.is_empty() {
        let held = UnusableRecord { cause: std::mem::take(&mut wire.held_because), ..held };
        return Ok((Found { unfinished: Unfinished::Unusable(held), history, traced }, Stored::default()));
    }
    let (unfinished, stored) = match decode_unfinished(store, key, wire) {
        Ok(whole) => whole,
        Err(why) if why.is_damage() => return Err(why),
        Err(why) => {
            // How far each step is cannot be told, if they are not as many.
            let decided = held.decided.clone().filter(|_| !matches!(why, DecodeError::Progress { .. }));
            let held = UnusableRecord { decided, cause: why.to_string(), ..held };
            (Unfinished::Unusable(held), Stored { unknown: true, ..Stored::default() })
        }
    };
    if let Unfinished::Opened(opened, _) = &unfinished {
        history.extend(open_sagas::joined_since(store, opened.attempt_number, &history)?);
    }
    Ok((Found { unfinished, history, traced }, stored))
}

/// Returns the participants that may hold something of the transaction, as far as that can be read; each once.
fn participants_of(store: &dyn Store, wire: &record::OpenTransaction) -> Result<Vec<ParticipantName>, StoreError> {
    let steps = wire.saga.iter().flat_map(|saga| &saga.steps).map(|step| &step.participant);
    let names = wire.participants.iter().chain(&wire.read_only).chain(steps);
    let mut readable: BTreeSet<ParticipantName> = names.filter_map(|name| name.parse().ok()).collect();
    if wire.opened.is_some() {
        for (_, value) in separate_parts::joined(store, AttemptNumber(wire.attempt_number))? {
            let step = record::JoinedStep::decode(value).ok().and_then(|joined| joined.step);
            readable.extend(step.and_then(|step| step.participant.parse().ok()));
        }
    }
    Ok(readable.into_iter().collect())
}

/// Returns the outcome, if the record says that it is decided.
fn decided_of(wire: &record::OpenTransaction) -> Option<Outcome> {
    if wire.kind == i32::from(record::open_transaction::Kind::Commit) {
        return Some(Outcome::Committed);
    }
    if let Some(opened) = &wire.opened {
        let reason = opened.compensating.clone().map(AbortReason::try_from).transpose().ok()?;
        return reason.map(Outcome::Aborted).or(opened.closed.then_some(Outcome::Committed));
    }
    let saga = wire.saga.as_ref()?;
    let compensating = saga.compensating.clone().map(AbortReason::try_from).transpose().ok()?;
    let progress = saga.progress.iter().map(|step| progress_from_wire(step.clone()).map(|(progress, _)| progress));
    decided(compensating.as_ref(), &progress.collect::<Result<Vec<_>, _>>().ok()?)
}

impl DecodeError {
    /// Returns true if the bytes are not what was written (R8). Else they are, but say what cannot be carried out
    /// (R13).
    fn is_damage(&self) -> bool {
        match self {
            DecodeError::Encoding(_)
            | DecodeError::Id(_)
            | DecodeError::Digest { .. }
            | DecodeError::Kind(_)
            | DecodeError::Step(_)
            | DecodeError::Undecided
            | DecodeError::History(_)
            | DecodeError::Store(_) => true,
            DecodeError::Content(_) | DecodeError::Progress { .. } | DecodeError::NotBeside { .. } => false,
        }
    }
}

fn decode_unfinished(
    store: &dyn Store,
    key: &Bytes,
    wire: record::OpenTransaction,
) -> Result<(Unfinished, Stored), DecodeError> {
    let kind = match record::open_transaction::Kind::try_from(wire.kind) {
        Ok(record::open_transaction::Kind::Commit) => OpenKind::Committed,
        Ok(record::open_transaction::Kind::Delegated) => OpenKind::Delegated,
        Ok(record::open_transaction::Kind::Saga) => return decode_saga(store, key, wire),
        Ok(record::open_transaction::Kind::Opened) => return decode_opened(store, key, wire),
        Ok(record::open_transaction::Kind::Unspecified) | Err(_) => return Err(DecodeError::Kind(wire.kind)),
    };
    let attempt_number = AttemptNumber(wire.attempt_number);
    let mut results = results_from_wire(wire.results)?;
    let apart: Vec<PartName> = parse_names(&wire.results_apart)?.into_iter().map(PartName::Branch).collect();
    for (part, result) in results.iter_mut().filter(|(part, _)| apart.contains(part)) {
        *result = result_apart(store, attempt_number, part)?;
    }
    let open = OpenRecord {
        kind,
        tx: TxId::new(key.clone())?,
        attempt_number,
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        participants: parse_names(&wire.participants)?,
        read_only: parse_names(&wire.read_only)?,
        results,
    };
    Ok((Unfinished::TwoPhase(open), Stored { results: apart.into_iter().collect(), ..Stored::default() }))
}

fn result_apart(store: &dyn Store, attempt_number: AttemptNumber, part: &PartName) -> Result<Bytes, DecodeError> {
    let missing = || DecodeError::NotBeside { what: format!("the result of {part}"), family: RESULT.0 };
    separate_parts::result(store, attempt_number, part)?.ok_or_else(missing)
}

/// Returns the record as stored. `apart`: whose results are stored beside it.
pub(super) fn encode_ended(
    ended: &EndedRecord,
    apart: &[PartName],
    now: Timestamp,
    history: &[u8],
    bytes: &mut Vec<u8>,
) {
    let branch = |branch: &EndedBranch| record::EndedBranch {
        participant: branch.participant.to_string(),
        outcome: v1::BranchOutcome::from(branch.outcome).into(),
        step: branch.step.as_ref().map(ToString::to_string).unwrap_or_default(),
        attempt_number: match branch.barrier {
            Barrier::Of(attempt_number) => attempt_number.0,
            Barrier::OfTransaction | Barrier::Nowhere => 0,
        },
        nothing_kept: branch.barrier == Barrier::Nowhere,
    };
    let results =
        ended.results.iter().map(|(name, result)| (name.clone(), unless_apart(name, result, apart))).collect();
    let known =
        KnownOutcome { decided: Some(ended.outcome.clone()), results, stuck: None, closed: false, applied: None };
    let record = record::EndedTransaction {
        outcome: Some(known.into()),
        attempt_number: ended.attempt_number.0,
        begun_at_us: ended.begun_at.0,
        ended_at_us: now.0,
        digest: Bytes::copy_from_slice(&ended.digest),
        branches: ended.branches.iter().map(branch).collect(),
        saga: ended.saga,
        happened: Vec::new(),
        results_apart: part_names(apart),
        read_only: names(&ended.read_only),
        traced: None,
    };
    put(&record, history, bytes);
}

pub(super) fn decode_ended(key: &[u8], value: &Bytes) -> Result<Ended, DecodeError> {
    let wire = record::EndedTransaction::decode(value.clone())?;
    let known = KnownOutcome::try_from(wire.outcome.unwrap_or_default())?;
    let branch = |branch: record::EndedBranch| -> Result<EndedBranch, DecodeError> {
        Ok(EndedBranch {
            participant: branch.participant.parse()?,
            step: if branch.step.is_empty() { None } else { Some(branch.step.parse()?) },
            outcome: branch_outcome("outcome", branch.outcome)?,
            barrier: match branch.attempt_number {
                _ if branch.nothing_kept => Barrier::Nowhere,
                0 => Barrier::OfTransaction,
                attempt_number => Barrier::Of(AttemptNumber(attempt_number)),
            },
        })
    };
    let branches = wire.branches.into_iter().map(branch).collect::<Result<Vec<_>, _>>()?;
    let record = EndedRecord {
        saga: wire.saga,
        tx: TxId::new(Bytes::copy_from_slice(key))?,
        attempt_number: AttemptNumber(wire.attempt_number),
        begun_at: Timestamp(wire.begun_at_us),
        digest: digest(&wire.digest)?,
        outcome: known.decided.ok_or(DecodeError::Undecided)?,
        branches,
        read_only: parse_names(&wire.read_only)?,
        results: known.results.into_iter().collect(),
    };
    let history = events_of(wire.happened)?;
    let apart = if wire.saga {
        let steps = wire.results_apart.iter().map(|step| Ok(PartName::Step(step.parse()?)));
        steps.collect::<Result<_, DecodeError>>()?
    } else {
        parse_names(&wire.results_apart)?.into_iter().map(PartName::Branch).collect()
    };
    Ok(Ended { record, ended_at: Timestamp(wire.ended_at_us), history, apart })
}

/// Encodes what participants have lost of an open transaction.
pub(super) fn encode_lost(parts: &[Part], bytes: &mut Vec<u8>) {
    let part = |part: &Part| record::LostPart {
        participant: part.participant.to_string(),
        step_name: part.step.as_ref().map(|step| step.name.to_string()).unwrap_or_default(),
        step: part.step.as_ref().map(|step| step.index.0.into()),
        outcome: v1::BranchOutcome::from(part.outcome).into(),
    };
    let lost = record::LostParts { parts: parts.iter().map(part).collect() };
    lost.encode_raw(bytes);
}

pub(super) fn decode_lost(value: &Bytes) -> Result<Vec<Part>, DecodeError> {
    let wire = record::LostParts::decode(value.clone())?;
    let part = |part: record::LostPart| {
        let step = |step: u32| -> Result<PartStep, DecodeError> {
            let index = u16::try_from(step).map(StepIndex).map_err(|_| DecodeError::Step(step))?;
            Ok(PartStep { index, name: part.step_name.parse()? })
        };
        let step = part.step.map(step).transpose()?;
        let outcome = branch_outcome("outcome", part.outcome)?;
        Ok(Part { participant: part.participant.parse()?, step, outcome })
    };
    wire.parts.into_iter().map(part).collect()
}

/// Returns a record with a history in the form of [`stored_history`](super::stored_history) behind it.
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

fn part_names(parts: &[PartName]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

fn results_to_wire(results: &[(PartName, Bytes)], apart: &[PartName]) -> Vec<BranchResult> {
    let wire = |(part, result): &(PartName, Bytes)| BranchResult {
        part: Some(part.clone().into()),
        result: unless_apart(part, result, apart),
    };
    results.iter().map(wire).collect()
}

fn unless_apart(part: &PartName, result: &Bytes, apart: &[PartName]) -> Bytes {
    if apart.contains(part) { Bytes::new() } else { result.clone() }
}

fn results_from_wire(results: Vec<BranchResult>) -> Result<Vec<(PartName, Bytes)>, DecodeError> {
    let read = |BranchResult { part, result }| {
        let part = part.ok_or(Malformed::Missing { field: "results.part" })?;
        Ok((part.try_into()?, result))
    };
    results.into_iter().map(read).collect()
}

fn digest(bytes: &Bytes) -> Result<[u8; 32], DecodeError> {
    bytes.as_ref().try_into().map_err(|_| DecodeError::Digest { field: "digest", length: bytes.len() })
}
