//! Nobody is taken for a coordinator but itself, whatever an impostor tries; and planted bugs are found.

use undoubt_explore::{Flaw, Measure, explore_impostor};

const MEASURE: Measure = Measure { dials: 3, attempts: 2, decoys: 1, restarts: 1, rotations: 1, crashes: 1 };

#[test]
fn an_impostor_is_never_welcomed_stores_nothing_and_has_the_coordinator_refused_never() {
    let findings = explore_impostor(MEASURE, None);
    assert!(findings.violation.is_none(), "{:#?}", findings.violation);
    assert_eq!(findings.welcomed_with, [true; 2], "it is explored what the rule is about");
    assert!(findings.states > 10_000, "{}", findings.states);
}

#[test]
fn every_planted_bug_of_the_beginning_of_sessions_is_found() {
    for flaw in [
        Flaw::ProofUnread,
        Flaw::ChallengeRepeated,
        Flaw::NameUnsigned,
        Flaw::PinUnstored,
        Flaw::PinUncompared,
        Flaw::SuccessionUnread,
        Flaw::FormerKeyTaken,
    ] {
        let findings = explore_impostor(MEASURE, Some(flaw));
        assert!(findings.violation.is_some(), "{flaw:?} breaks no rule in {} states", findings.states);
    }
}
