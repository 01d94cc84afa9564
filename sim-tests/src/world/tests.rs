//! Plans and the world that runs them agree on names.

use super::simulate;
use crate::plan::points::{IN_CALLS, points_of};
use crate::plan::{Host, Plan};
use std::collections::BTreeSet;

#[test]
fn every_point_that_a_server_reaches_can_be_waited_for() {
    let reached: Vec<(Host, String)> = (1..6)
        .flat_map(|seed| [Plan::of_seed(seed), Plan::with_services(seed)])
        .flat_map(|plan| simulate(&plan).reached.into_keys())
        .collect();
    for (host, point) in &reached {
        assert!(points_of(*host).contains(&point.as_str()), "{host} reaches {point}");
    }
    assert!(IN_CALLS.iter().any(|call| reached.iter().any(|(_, point)| point == call)), "{reached:?}");
}

#[test]
fn services_are_asked_for_everything_that_there_is() {
    let effects = (1..9).flat_map(|seed| simulate(&Plan::with_services(seed)).finals.services.into_values()).flatten();
    let done: BTreeSet<String> = effects.flat_map(|effect| effect.done).collect();
    let all = ["action", "cancel", "compensation", "completion", "confirm", "try"].map(str::to_owned);
    assert_eq!(done, BTreeSet::from(all));
}
