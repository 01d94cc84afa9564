//! The demo, shortened.

use crate::support::programs;
use serde_json::json;
use std::time::Duration;
use undoubt::demo::{Demo, DemoReport, demo};
use undoubt::workload::Progress;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_keeps_every_promise_in_both_acts_and_would_tell_if_it_did_not() {
    let shortened = Demo { stretch: Duration::from_millis(500), ..Demo::default() };
    let report = demo(&programs(), shortened, Progress::ignored(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.audit.commits > 0 && report.sagas.audit.commits > 0, "{report:#?}");
    let told = json!(report);
    assert!(told["sagas"]["half_done_while_coordinator_was_dead"].is_u64(), "{told}");
    let broken: [fn(&mut DemoReport); 6] = [
        |report| report.audit.violation_count = 1,
        |report| report.open_branches = 1,
        |report| report.sagas.audit.violation_count = 1,
        |report| report.sagas.in_doubt_while_coordinator_was_dead = 1,
        |report| report.sagas.open_branches_while_coordinator_was_dead = 1,
        |report| report.sagas.open_transactions = 1,
    ];
    for (place, broken) in broken.into_iter().enumerate() {
        let mut report = report.clone();
        broken(&mut report);
        assert!(!report.is_clean(), "{place} goes unnoticed");
    }
}
