//! An operator's decision (R3) as it is stored, and as it is told to operators.

use crate::resource::Heuristic;
use undoubt_proto::convert::{Malformed, branch_outcome};
use undoubt_proto::v1;
use undoubt_vocabulary::{BranchOutcome, Timestamp};

pub fn to_wire(heuristic: Heuristic) -> v1::Heuristic {
    let decision = match heuristic.decision {
        None => v1::BranchOutcome::Unspecified,
        Some(true) => v1::BranchOutcome::Committed,
        Some(false) => v1::BranchOutcome::Aborted,
    };
    v1::Heuristic {
        outcome: v1::BranchOutcome::from(heuristic.outcome()).into(),
        at_us: heuristic.at.0,
        who: heuristic.who,
        reason: heuristic.reason,
        decision: decision.into(),
    }
}

pub fn from_wire(wire: v1::Heuristic) -> Result<Heuristic, Malformed> {
    let contradiction = |field| Err(Malformed::Unexpected { field });
    let commit = match branch_outcome("heuristic.outcome", wire.outcome)? {
        BranchOutcome::HeuristicallyCommitted => true,
        BranchOutcome::HeuristicallyAborted => false,
        BranchOutcome::Committed | BranchOutcome::Aborted | BranchOutcome::Unknown => {
            return contradiction("heuristic.outcome");
        }
    };
    let decision = if wire.decision == i32::from(v1::BranchOutcome::Unspecified) {
        None
    } else {
        match branch_outcome("heuristic.decision", wire.decision)? {
            BranchOutcome::Committed => Some(true),
            BranchOutcome::Aborted => Some(false),
            BranchOutcome::HeuristicallyCommitted | BranchOutcome::HeuristicallyAborted | BranchOutcome::Unknown => {
                return contradiction("heuristic.decision");
            }
        }
    };
    Ok(Heuristic { commit, at: Timestamp(wire.at_us), who: wire.who, reason: wire.reason, decision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_of_an_operator_survives_being_stored() {
        for commit in [true, false] {
            for decision in [None, Some(true), Some(false)] {
                let decided =
                    Heuristic { commit, at: Timestamp(7), who: "ada".into(), reason: "lost".into(), decision };
                assert_eq!(from_wire(to_wire(decided.clone())), Ok(decided));
            }
        }
    }

    #[test]
    fn a_record_in_which_no_operator_decided_is_refused() {
        let record = |outcome: v1::BranchOutcome, decision: v1::BranchOutcome| v1::Heuristic {
            outcome: outcome.into(),
            decision: decision.into(),
            ..Default::default()
        };
        let unspecified = v1::BranchOutcome::Unspecified;
        let by_operator = v1::BranchOutcome::HeuristicallyAborted;
        assert!(from_wire(record(unspecified, unspecified)).is_err());
        assert!(from_wire(record(v1::BranchOutcome::Committed, unspecified)).is_err());
        assert!(from_wire(record(by_operator, by_operator)).is_err());
    }
}
