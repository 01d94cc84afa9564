//! The tables, and the rows that both sides have to read.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use undoubt_kv::FAMILIES;
use undoubt_participant::resource::{BranchId, Mark, StepId};
use undoubt_platform::store::Contents;
use undoubt_platform::{Batch, Family};
use undoubt_proto::record::PendingMark;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, StepIndex, Timestamp, TxId};

/// What is prepared, by its name.
pub(super) const PREPARED: Family = Family("prepared");

pub(super) const DATA: Family = Family("data");
pub(super) const PENDING: Family = Family("pending");

/// All tables: the participant's are those of a store of its own.
pub(super) fn tables() -> Vec<Family> {
    FAMILIES.iter().copied().chain([PREPARED]).collect()
}

/// The bytes of a name before the transaction's id: coordinator, attempt number, begin.
pub(in crate::world) const GID_HEAD_BYTES: usize = 16 + 8 + 8;

/// The name of something prepared. It tells all that has to be known again after a crash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gid(pub(super) Bytes);

impl Gid {
    pub(super) fn of(branch: &BranchId, begun_at: Timestamp) -> Gid {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&branch.coordinator.0);
        bytes.put_u64(branch.attempt_number.0);
        bytes.put_u64(begun_at.0);
        bytes.put_slice(branch.tx.as_bytes());
        Gid(bytes.freeze())
    }

    /// Returns the branch, and when its transaction began. Nobody else prepares anything here.
    pub(super) fn read(&self) -> Option<(BranchId, Timestamp)> {
        let (coordinator, rest) = self.0.split_first_chunk()?;
        let (attempt, rest) = rest.split_first_chunk()?;
        let (begun_at, tx) = rest.split_first_chunk()?;
        let branch = BranchId {
            coordinator: CoordinatorId(*coordinator),
            attempt_number: AttemptNumber(u64::from_be_bytes(*attempt)),
            tx: TxId::new(tx).ok()?,
        };
        Some((branch, Timestamp(u64::from_be_bytes(*begun_at))))
    }
}

/// A saga, as its marks name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saga {
    pub(super) coordinator: CoordinatorId,
    pub(super) attempt_number: AttemptNumber,
    pub(super) tx: TxId,
}

impl From<&StepId> for Saga {
    fn from(step: &StepId) -> Saga {
        Saga { coordinator: step.coordinator, attempt_number: step.attempt_number, tx: step.tx.clone() }
    }
}

/// Steps of one saga may mark a key together: each has a row.
pub(super) fn put_mark(batch: &mut Batch, key: &Bytes, step: &StepId, begun_at: Timestamp) {
    let mark = PendingMark {
        coordinator_id: Bytes::copy_from_slice(&step.coordinator.0),
        attempt_number: step.attempt_number.0,
        step: step.step.0.into(),
        tx: step.tx.to_bytes(),
        begun_at_us: begun_at.0,
    };
    batch.put_with(PENDING, mark_key(key, step), |bytes| mark.encode_raw(bytes));
}

pub(super) fn delete_mark(batch: &mut Batch, key: &Bytes, step: &StepId) {
    batch.delete(PENDING, mark_key(key, step));
}

/// Returns the marks on a key.
pub(super) fn marks_on<'a>(tables: &'a Contents, key: &'a [u8]) -> impl Iterator<Item = Mark> + 'a {
    marks(tables).filter(move |mark| mark.key == key)
}

/// Returns all marks, in the order of their keys.
pub(super) fn marks(tables: &Contents) -> impl Iterator<Item = Mark> + '_ {
    tables.pairs(PENDING).filter_map(|(key, value)| read_mark(key, value.clone()))
}

/// No key of data has a zero in it.
fn mark_key(key: &Bytes, step: &StepId) -> Bytes {
    let parts = [
        &key[..],
        &[0],
        &step.coordinator.0[..],
        &step.attempt_number.0.to_be_bytes(),
        &step.step.0.to_be_bytes(),
        step.tx.as_bytes(),
    ];
    parts.concat().into()
}

fn read_mark(key: &Bytes, value: Bytes) -> Option<Mark> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let mark = PendingMark::decode(value).ok()?;
    let by = StepId {
        coordinator: CoordinatorId::try_from(&mark.coordinator_id[..]).ok()?,
        attempt_number: AttemptNumber(mark.attempt_number),
        step: StepIndex(u16::try_from(mark.step).ok()?),
        tx: TxId::new(mark.tx).ok()?,
    };
    Some(Mark { key: key.slice(..end), by, begun_at: Timestamp(mark.begun_at_us) })
}
