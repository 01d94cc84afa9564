//! Records of the key-value store's own, as they are put into batches and read back.

use super::schema::{DATA, PENDING};
use bytes::Bytes;
use prost::Message;
use undoubt_participant::resource::StepId;
use undoubt_participant::table::Unreadable;
use undoubt_platform::Batch;
use undoubt_proto::convert::Malformed;
use undoubt_proto::record::{PendingMark, Write};
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, StepIndex, Timestamp, TxId};

pub(super) fn put_data(batch: &mut Batch, writes: &[Write]) {
    for Write { key, value } in writes {
        match value {
            Some(value) => batch.put(DATA, key, value),
            None => batch.delete(DATA, key),
        }
    }
}

pub(super) fn put_mark(batch: &mut Batch, key: &Bytes, step: &StepId, begun_at: Timestamp) {
    let mark = PendingMark {
        coordinator_id: Bytes::copy_from_slice(&step.coordinator.0),
        attempt_number: step.attempt_number.0,
        step: step.step.0.into(),
        tx: step.tx.to_bytes(),
        begun_at_us: begun_at.0,
    };
    batch.put_with(PENDING, key, |bytes| mark.encode_raw(bytes));
}

pub(super) fn delete_mark(batch: &mut Batch, key: &Bytes) {
    batch.delete(PENDING, key);
}

/// Returns whose mark it is, and when that saga began.
pub(super) fn read_mark(value: Bytes) -> Result<(StepId, Timestamp), Unreadable> {
    let mark = PendingMark::decode(value)?;
    let too_high = |_| Malformed::UnknownValue { field: "step", value: mark.step.cast_signed() };
    let begun_at = Timestamp(mark.begun_at_us);
    let by = StepId {
        coordinator: CoordinatorId::try_from(&mark.coordinator_id[..])?,
        attempt_number: AttemptNumber(mark.attempt_number),
        step: StepIndex(u16::try_from(mark.step).map_err(too_high)?),
        tx: TxId::new(mark.tx)?,
    };
    Ok((by, begun_at))
}
