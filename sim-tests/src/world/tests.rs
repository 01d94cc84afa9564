//! Plans and the world that runs them agree on names.

use super::simulate;
use crate::plan::points::{IN_CALLS, points_of};
use crate::plan::{Host, Plan};

#[test]
fn every_point_that_a_server_reaches_can_be_waited_for() {
    let reached: Vec<(Host, String)> =
        (1..6).flat_map(|seed| simulate(&Plan::of_seed(seed)).reached.into_keys()).collect();
    for (host, point) in &reached {
        assert!(points_of(*host).contains(&point.as_str()), "{host} reaches {point}");
    }
    assert!(IN_CALLS.iter().any(|call| reached.iter().any(|(_, point)| point == call)), "{reached:?}");
}
