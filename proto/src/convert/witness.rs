//! The numbers of writes, and what is still known of attempts.

use super::{Malformed, field};
use crate::v1;
use crate::v1::known_attempt::State;
use bytes::Bytes;
use undoubt_vocabulary::{AttemptNumber, KnownAttempt, KnownState, Start, StepIndex, WriteNumber};

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

impl From<KnownAttempt> for v1::KnownAttempt {
    fn from(KnownAttempt { attempt_number, tx, state, in_effect }: KnownAttempt) -> Self {
        let state = match state {
            KnownState::Prepared => State::Prepared,
            KnownState::Committed => State::Committed,
            KnownState::Heuristic => State::Heuristic,
            KnownState::Steps => State::Steps,
        };
        let in_effect = in_effect.into_iter().map(|step| step.0.into()).collect();
        v1::KnownAttempt { tx: tx.to_bytes(), attempt_number: attempt_number.0, state: state.into(), in_effect }
    }
}

impl TryFrom<v1::KnownAttempt> for KnownAttempt {
    type Error = Malformed;

    fn try_from(attempt: v1::KnownAttempt) -> Result<Self, Malformed> {
        let unknown = Malformed::UnknownValue { field: "state", value: attempt.state };
        let state = match attempt.state() {
            State::Unspecified => return Err(unknown),
            State::Prepared => KnownState::Prepared,
            State::Committed => KnownState::Committed,
            State::Heuristic => KnownState::Heuristic,
            State::Steps => KnownState::Steps,
        };
        // No saga has a step of a larger number.
        let in_effect = attempt.in_effect.iter().filter_map(|step| u16::try_from(*step).ok()).map(StepIndex);
        let (attempt_number, tx) = (AttemptNumber(attempt.attempt_number), field::tx(attempt.tx)?);
        Ok(KnownAttempt { attempt_number, tx, state, in_effect: in_effect.collect() })
    }
}
