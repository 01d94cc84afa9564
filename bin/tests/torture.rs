//! The short form of `make torture`: every crash point once, and as many random moments.

use std::path::PathBuf;
use undoubt::cluster::Programs;
use undoubt::torture::{Torture, torture};
use undoubt::workload::Mode;

#[tokio::test(flavor = "multi_thread")]
async fn no_promise_is_broken_by_kill_9_at_every_crash_point_and_at_random_moments() {
    let programs = Programs {
        coordinator: PathBuf::from(env!("CARGO_BIN_EXE_undoubt-coordinator")),
        participant: PathBuf::from(env!("CARGO_BIN_EXE_undoubt-participant")),
    };
    let points = undoubt_coordinator::CRASH_POINTS.len() + undoubt_participant::CRASH_POINTS.len();
    let plan =
        Torture { kills: 2 * points, seed: 7, participants: 3, customers: 500, in_flight: 64, mode: Mode::Mixed };
    let report = torture(&programs, &plan, |_, _| {}).await.expect("the torture runs to its end");
    println!(
        "{} kills at random moments, {} at crash points; not reached: {:?}; {} commits audited",
        report.kills_at_random_moments, report.kills_at_crash_points, report.not_reached, report.audit.commits
    );
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.audit.commits > 0, "a bank where nothing happens proves nothing");
    assert!(report.kills_at_crash_points >= points / 2, "most crash points are reached: {report:#?}");
}
