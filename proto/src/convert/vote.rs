//! Votes and refusals.

use super::{Malformed, field};
use crate::v1;
use undoubt_vocabulary::{Refusal, RefusalCode, Vote};
use v1::vote::Vote as Choice;

impl From<Vote> for v1::Vote {
    fn from(vote: Vote) -> Self {
        let choice = match vote {
            Vote::Prepared { result } => Choice::Prepared(result),
            Vote::ReadOnly { result } => Choice::ReadOnly(result),
            Vote::Committed { result } => Choice::Committed(result),
            Vote::Refused(refusal) => Choice::Refused(refusal.into()),
        };
        v1::Vote { vote: Some(choice) }
    }
}

impl TryFrom<v1::Vote> for Vote {
    type Error = Malformed;

    fn try_from(wire: v1::Vote) -> Result<Self, Malformed> {
        Ok(match field::required("vote.vote", wire.vote)? {
            Choice::Prepared(result) => Vote::Prepared { result },
            Choice::ReadOnly(result) => Vote::ReadOnly { result },
            Choice::Committed(result) => Vote::Committed { result },
            Choice::Refused(refusal) => Vote::Refused(refusal.try_into()?),
        })
    }
}

impl From<Refusal> for v1::Refusal {
    fn from(refusal: Refusal) -> Self {
        v1::Refusal { code: v1::RefusalCode::from(refusal.code).into(), detail: refusal.detail }
    }
}

impl TryFrom<v1::Refusal> for Refusal {
    type Error = Malformed;

    fn try_from(wire: v1::Refusal) -> Result<Self, Malformed> {
        Ok(Refusal::new(refusal_code(wire.code)?, wire.detail))
    }
}

impl From<RefusalCode> for v1::RefusalCode {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::Condition => v1::RefusalCode::Condition,
            RefusalCode::InvalidWork => v1::RefusalCode::InvalidWork,
            RefusalCode::TooLarge => v1::RefusalCode::TooLarge,
            RefusalCode::LockConflict => v1::RefusalCode::LockConflict,
            RefusalCode::LockTimeout => v1::RefusalCode::LockTimeout,
            RefusalCode::Unavailable => v1::RefusalCode::Unavailable,
            RefusalCode::Late => v1::RefusalCode::Late,
            RefusalCode::Pending => v1::RefusalCode::Pending,
            RefusalCode::Unclear => v1::RefusalCode::Unclear,
        }
    }
}

fn refusal_code(value: i32) -> Result<RefusalCode, Malformed> {
    let field = "refusal.code";
    Ok(match field::known(field, value)? {
        v1::RefusalCode::Unspecified => return Err(Malformed::Missing { field }),
        v1::RefusalCode::Condition => RefusalCode::Condition,
        v1::RefusalCode::InvalidWork => RefusalCode::InvalidWork,
        v1::RefusalCode::TooLarge => RefusalCode::TooLarge,
        v1::RefusalCode::LockConflict => RefusalCode::LockConflict,
        v1::RefusalCode::LockTimeout => RefusalCode::LockTimeout,
        v1::RefusalCode::Unavailable => RefusalCode::Unavailable,
        v1::RefusalCode::Late => RefusalCode::Late,
        v1::RefusalCode::Pending => RefusalCode::Pending,
        v1::RefusalCode::Unclear => RefusalCode::Unclear,
    })
}
