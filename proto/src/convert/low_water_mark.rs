//! What is over between a coordinator and a participant.

use super::Malformed;
use crate::v1;
use undoubt_vocabulary::limits::MAX_STILL_OPEN;
use undoubt_vocabulary::{AttemptNumber, LowWaterMark};

impl From<&LowWaterMark> for v1::StillOpen {
    fn from(low_water_mark: &LowWaterMark) -> Self {
        v1::StillOpen { attempt_numbers: low_water_mark.still_open().iter().map(|attempt| attempt.0).collect() }
    }
}

/// Returns the attempts that are still open below low-water marks, in rising order.
pub fn still_open(wire: &v1::StillOpen) -> Result<Vec<AttemptNumber>, Malformed> {
    let count = wire.attempt_numbers.len();
    if count > MAX_STILL_OPEN {
        return Err(Malformed::TooMany { field: "still_open", count, max: MAX_STILL_OPEN });
    }
    let mut still_open: Vec<AttemptNumber> = wire.attempt_numbers.iter().copied().map(AttemptNumber).collect();
    still_open.sort_unstable();
    Ok(still_open)
}

/// Returns a low-water mark that comes as a number, and with the attempts below it that are still open, if there are any.
pub fn low_water_mark(below: u64, open: Option<&v1::StillOpen>) -> Result<LowWaterMark, Malformed> {
    Ok(LowWaterMark::new(AttemptNumber(below), open.map(still_open).transpose()?.unwrap_or_default()))
}

/// Returns the attempts below a low-water mark that are still open, if there are any.
pub fn told_open(low_water_mark: &LowWaterMark) -> Option<v1::StillOpen> {
    (!low_water_mark.still_open().is_empty()).then(|| low_water_mark.into())
}
