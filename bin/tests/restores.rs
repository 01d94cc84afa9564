//! The short form of `make restores`: every way to put a folder back, once.

use std::path::PathBuf;
use undoubt::cluster::Programs;
use undoubt::restores::{Case, Restores, restores};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_folder_is_put_back_it_is_noticed_in_time_and_nothing_is_lost_in_silence() {
    let programs = Programs {
        coordinator: PathBuf::from(env!("CARGO_BIN_EXE_undoubt-coordinator")),
        participant: PathBuf::from(env!("CARGO_BIN_EXE_undoubt-participant")),
    };
    let plan = Restores { rounds: Case::all().count(), seed: 7 };
    let report = restores(&programs, &plan, |_, _| {}).await.expect("every round comes to its end");
    for round in &report.rounds {
        println!("{round:?}");
        assert!(round.committed > 0, "a load that does nothing proves nothing: {round:?}");
    }
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.rounds.iter().any(|round| round.listed > 0), "something was lost, and is listed: {report:#?}");
}
