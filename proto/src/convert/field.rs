//! Checks of single fields.

use super::Malformed;
use bytes::Bytes;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{InvalidId, ParticipantName, StepName, TxId};

pub(super) fn tx(bytes: Bytes) -> Result<TxId, Malformed> {
    TxId::new(bytes).map_err(|cause| Malformed::Id { field: "tx", cause })
}

pub(super) fn participant(field: &'static str, name: &str) -> Result<ParticipantName, Malformed> {
    name.parse().map_err(|cause: InvalidId| Malformed::Id { field, cause })
}

pub(super) fn step(field: &'static str, name: &str) -> Result<StepName, Malformed> {
    name.parse().map_err(|cause: InvalidId| Malformed::Id { field, cause })
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed::Missing { field })
}

pub(super) fn known<T: TryFrom<i32>>(field: &'static str, value: i32) -> Result<T, Malformed> {
    T::try_from(value).map_err(|_| Malformed::UnknownValue { field, value })
}

pub(super) fn within(field: &'static str, length: usize, max: usize) -> Result<(), Malformed> {
    if length > max { Err(Malformed::TooLong { field, length, max }) } else { Ok(()) }
}

pub(super) fn at_most(field: &'static str, count: usize, max: usize) -> Result<(), Malformed> {
    if count > max { Err(Malformed::TooMany { field, count, max }) } else { Ok(()) }
}

pub(super) fn result(field: &'static str, bytes: Bytes) -> Result<Bytes, Malformed> {
    within(field, bytes.len(), MAX_RESULT_BYTES).map(|()| bytes)
}
