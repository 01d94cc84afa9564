use super::*;
use crate::plan::{Code, PHASES};
use std::collections::BTreeSet;

#[test]
fn a_seed_always_stands_for_the_same_plan_and_survives_being_written_down() {
    for seed in 0..50 {
        let plan = Plan::of_seed(seed);
        assert_eq!(plan, Plan::of_seed(seed));
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "{json}");
    }
}

#[test]
fn some_seeds_have_participants_that_cannot_prepare_or_that_auto_spares_sooner() {
    let shapes: Vec<Shape> = (0..1_000).map(|seed| Plan::of_seed(seed).shape).collect();
    let unable = shapes.iter().filter(|shape| shape.cannot_prepare.is_some()).count();
    assert!((50..200).contains(&unable), "{unable}");
    assert!(shapes.iter().any(|shape| shape.breaker.is_some_and(|breaker| breaker.threshold == 1)));
    let large = shapes.iter().filter(|shape| shape.value_bytes > 0).count();
    assert!((50..200).contains(&large), "{large}");
    let plain = |shape: &&Shape| {
        shape.sagas_percent == 0
            && shape.value_bytes == 0
            && shape.large_reads_percent == 0
            && shape.databases.is_empty()
    };
    assert!(shapes.iter().filter(plain).all(|shape| shape.peculiarities().is_empty()));
}

#[test]
fn services_meet_every_fault_of_their_own() {
    let plans = (0..200).map(Plan::with_services);
    let codes: BTreeSet<Code> = plans.flat_map(|plan| plan.faults).map(|fault| fault.code()).collect();
    for code in [Code::H1, Code::H2, Code::H3, Code::S3, Code::S15, Code::P7] {
        assert!(codes.contains(&code), "no seed has {code}");
    }
}

#[test]
fn every_point_around_the_decision_is_one_and_tells_crashes_apart() {
    let host = Host::Coordinator;
    assert!(RARE_PHASES.iter().all(|phase| PHASES.contains(phase)));
    for point in POINTS_AROUND_THE_DECISION {
        assert!(undoubt_coordinator::CRASH_POINTS.contains(&point), "{point}");
        let when = When::Point { host, point: point.to_owned(), count: 1, during: None };
        let crash = Fault { when, what: What::Crash { host, power: false, down_ms: 1 } };
        assert!((Code::P2..=Code::P6).contains(&crash.code()), "{point}");
    }
}

#[test]
fn a_thousand_seeds_have_faults_of_every_code_that_plans_can_hold() {
    let codes: BTreeSet<String> =
        (0..1_000).flat_map(|seed| Plan::of_seed(seed).faults).map(|fault| fault.code().to_string()).collect();
    for code in
        "S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 S13 S14 S15 S16 D1 D2 D3 P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 N1 N2 N3 N4 N5 N6 N7 N8 C1 O1 O3 O4 O5 O6 G1 G3 G4"
            .split(' ')
    {
        assert!(codes.contains(code), "no seed has {code}");
    }
}
