//! The scenarios themselves, and faults that meet.

mod meeting;

use super::*;
use std::collections::BTreeSet;

#[test]
fn names_are_unique_and_every_code_has_a_scenario() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), all.len());
    let codes: BTreeSet<String> = all.iter().flat_map(|scenario| scenario.codes).map(ToString::to_string).collect();
    let wanted = "S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 S13 S14 S15 S16 D1 D2 D3 H1 H2 H3 E1 E4 E5 E8 E10 E12 E13 P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 N1 N2 N3 N4 N5 N6 N7 N8 C1 O1 O2 O3 O4 O5 O6 G1 G2 G3 G4";
    assert_eq!(codes, wanted.split(' ').map(str::to_owned).collect());
}

#[test]
fn the_plan_of_every_scenario_is_sound() {
    for plan in all().into_iter().map(|scenario| scenario.plan) {
        assert_eq!(plan.clone().sound(), Ok(plan));
    }
}
