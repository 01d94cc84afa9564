//! The numbers of writes.

use super::Malformed;
use crate::v1;
use bytes::Bytes;
use undoubt_vocabulary::{Start, WriteNumber};

impl From<WriteNumber> for v1::LogNumber {
    fn from(number: WriteNumber) -> Self {
        let WriteNumber { log, start: Start { losses, count, mark }, writes } = number;
        v1::LogNumber { log_id: Bytes::copy_from_slice(&log), losses, start: count, mark, writes }
    }
}

impl TryFrom<v1::LogNumber> for WriteNumber {
    type Error = Malformed;

    fn try_from(number: v1::LogNumber) -> Result<Self, Malformed> {
        let v1::LogNumber { log_id, losses, start, mark, writes } = number;
        let too_long = Malformed::TooLong { field: "log_id", length: log_id.len(), max: 16 };
        let log = log_id.as_ref().try_into().map_err(|_| too_long)?;
        Ok(WriteNumber { log, start: Start { losses, count: start, mark }, writes })
    }
}
