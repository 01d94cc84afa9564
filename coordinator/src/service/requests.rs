//! Reading what comes in. Whatever is wrong is refused before anything is done.

use crate::config::Config;
use crate::engine::Request;
use bytes::Bytes;
use std::time::Duration;
use tonic::Status;
use undoubt_proto::v1;
use undoubt_vocabulary::limits::{MAX_BRANCHES_PER_TRANSACTION, MAX_WORK_BYTES};
use undoubt_vocabulary::{InvalidId, ParticipantName, TxId};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error(
        "the work for {participant} has {given} bytes, more than the {max} allowed for one branch; make it smaller"
    )]
    WorkTooLarge { participant: ParticipantName, given: usize, max: usize },
    #[error("{given} branches are more than the {max} a transaction may have; split it")]
    TooManyBranches { given: usize, max: usize },
    #[error("timeout_ms {given} is more than the {max} allowed (max_timeout_ms); give it less")]
    TimeoutTooLong { given: u32, max: u64 },
}

impl From<BadRequest> for Status {
    fn from(bad: BadRequest) -> Status {
        Status::invalid_argument(bad.to_string())
    }
}

pub(crate) fn parse_tx(tx: Bytes) -> Result<TxId, Status> {
    TxId::new(tx).map_err(|bad| Status::from(BadRequest::from(bad)))
}

pub(super) fn parse(request: v1::SubmitRequest, config: &Config) -> Result<Request, BadRequest> {
    let v1::SubmitRequest { tx, branches, timeout_ms, no_wait } = request;
    let tx = TxId::new(tx)?;
    if branches.len() > MAX_BRANCHES_PER_TRANSACTION {
        return Err(BadRequest::TooManyBranches { given: branches.len(), max: MAX_BRANCHES_PER_TRANSACTION });
    }
    let mut parsed: Vec<(ParticipantName, Bytes)> = Vec::with_capacity(branches.len());
    for v1::BranchWork { participant, work } in branches {
        let participant: ParticipantName = participant.parse()?;
        if work.len() > MAX_WORK_BYTES {
            return Err(BadRequest::WorkTooLarge { participant, given: work.len(), max: MAX_WORK_BYTES });
        }
        parsed.push((participant, work));
    }
    let timeout_ms = match timeout_ms {
        0 => config.default_timeout_ms,
        given if u64::from(given) > config.max_timeout_ms => {
            return Err(BadRequest::TimeoutTooLong { given, max: config.max_timeout_ms });
        }
        given => given.into(),
    };
    let digest = digest(&parsed);
    Ok(Request { tx, digest, branches: parsed, timeout: Duration::from_millis(timeout_ms), wait: !no_wait })
}

/// Of what makes two submissions the same (R10): who does what. The order of the branches and the timeout do not count.
fn digest(branches: &[(ParticipantName, Bytes)]) -> [u8; 32] {
    let mut ordered: Vec<_> = branches.iter().collect();
    ordered.sort();
    let mut hasher = blake3::Hasher::new();
    for (participant, work) in ordered {
        for part in [participant.as_str().as_bytes(), work.as_ref()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(name: &str, work: &'static str) -> (ParticipantName, Bytes) {
        (name.parse().unwrap(), Bytes::from_static(work.as_bytes()))
    }

    #[test]
    fn the_digest_tells_content_apart_but_not_order() {
        let one = digest(&[branch("a", "x"), branch("b", "y")]);
        assert_eq!(one, digest(&[branch("b", "y"), branch("a", "x")]));
        assert_ne!(one, digest(&[branch("a", "xb"), branch("b", "y")]));
        assert_ne!(one, digest(&[branch("a", "x"), branch("by", "")]));
        assert_ne!(one, digest(&[branch("a", "x")]));
    }
}
