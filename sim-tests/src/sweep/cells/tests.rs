use super::*;
use crate::plan::{Fault, Host, OVER, What, When};
use crate::trace::{BranchState, Phase};

fn name(state: impl Serialize) -> String {
    serde_json::to_value(state).unwrap().as_str().unwrap().to_owned()
}

/// A state that is added has to be listed here, and so gets its column.
fn all_phases() -> Vec<Phase> {
    let all = [
        Phase::Preparing,
        Phase::Confirming,
        Phase::LoggingCommit,
        Phase::Committing,
        Phase::LoggingDelegation,
        Phase::Delegated,
        Phase::Settling,
        Phase::LoggingEnd,
        Phase::LoggingBeginning,
        Phase::Acting,
        Phase::LoggingCompensation,
        Phase::Compensating,
        Phase::Stuck,
        Phase::Closing,
        Phase::Ended,
    ];
    for phase in all {
        match phase {
            Phase::Preparing
            | Phase::Confirming
            | Phase::LoggingCommit
            | Phase::Committing
            | Phase::LoggingDelegation
            | Phase::Delegated
            | Phase::Settling
            | Phase::LoggingEnd
            | Phase::LoggingBeginning
            | Phase::Acting
            | Phase::LoggingCompensation
            | Phase::Compensating
            | Phase::Stuck
            | Phase::Closing
            | Phase::Ended => {}
        }
    }
    all.to_vec()
}

fn all_branch_states() -> Vec<BranchState> {
    let all = [
        BranchState::Executing,
        BranchState::Prepared,
        BranchState::ReadOnly,
        BranchState::Committing,
        BranchState::Aborting,
        BranchState::Resolving,
        BranchState::Acting,
        BranchState::Compensating,
        BranchState::Over,
    ];
    for state in all {
        match state {
            BranchState::Executing
            | BranchState::Prepared
            | BranchState::ReadOnly
            | BranchState::Committing
            | BranchState::Aborting
            | BranchState::Resolving
            | BranchState::Acting
            | BranchState::Compensating
            | BranchState::Over => {}
        }
    }
    all.to_vec()
}

#[test]
fn every_state_of_the_protocol_has_its_column_or_is_over() {
    let phases: Vec<String> =
        all_phases().into_iter().map(name).filter(|name| !OVER.contains(&name.as_str())).collect();
    let branches: Vec<String> =
        all_branch_states().into_iter().map(name).filter(|name| !OVER.contains(&name.as_str())).collect();
    assert_eq!(phases, PHASES);
    assert_eq!(branches, BRANCHES);
    assert_eq!(states().count(), 20, "committing, acting and compensating are one column each");
}

#[test]
fn every_line_of_the_catalogue_is_in_the_table_or_left_out_for_a_reason() {
    let last = Code::G4 as usize;
    let mut lines: Vec<Code> = CODES.into_iter().chain(LEFT_OUT.map(|(code, _)| code)).collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), last + 1);
    assert_eq!(lines.len(), CODES.len() + LEFT_OUT.len(), "each is in one place only");
}

#[test]
fn reasons_are_about_cells_that_there_are() {
    for impossible in IMPOSSIBLE {
        assert!(impossible.codes.iter().all(|code| CODES.contains(code)), "{impossible:?}");
        assert!(impossible.states.iter().all(|state| states().any(|known| known == *state)), "{impossible:?}");
    }
}

#[test]
fn a_crash_of_the_coordinator_is_told_apart_by_where_it_happens() {
    let crash = |host, point: &str| {
        let when = When::Point { host, point: point.to_owned(), count: 1, during: None };
        Fault { when, what: What::Crash { host, power: false, down_ms: 1 } }.code()
    };
    assert_eq!(crash(Host::Coordinator, "after-send-prepare"), Code::P1);
    assert_eq!(crash(Host::Coordinator, "before-append-committed"), Code::P2);
    assert_eq!(crash(Host::Standby, "after-append-committed"), Code::P3);
    assert_eq!(crash(Host::Coordinator, "after-send-commit"), Code::P4);
    assert_eq!(crash(Host::Coordinator, "before-answer"), Code::P5);
    assert_eq!(crash(Host::Coordinator, "after-append-ended"), Code::P6);
    assert_eq!(crash(Host::Participant(1), "after-commit"), Code::P7);
    assert_eq!(crash(Host::Participant(1), "opened"), Code::P10);
    assert_eq!(crash(Host::Coordinator, "opened"), Code::P10);
}

#[test]
fn what_was_never_hit_is_told_and_so_is_what_should_not_have_been() {
    let mut table = Table::default();
    assert_eq!(table.never_hit().len(), Table::possible());
    table.hit(Code::P7, "prepared");
    table.hit(Code::P7, "prepared");
    table.hit(Code::P7, "preparing");
    table.hit(Code::G2, "idle");
    table.hit(Code::P1, "no-such-state");
    assert_eq!(table.hits(Code::P7, "prepared"), 2);
    assert_eq!(table.never_hit().len(), Table::possible() - 1);
    let wrong: Vec<(Code, String)> =
        table.hit_against_reason().into_iter().map(|cell| (cell.fault, cell.state)).collect();
    let expected = [(Code::P1, "no-such-state"), (Code::P7, "preparing"), (Code::G2, "idle")];
    assert_eq!(wrong, expected.map(|(code, state)| (code, state.to_owned())));
}
