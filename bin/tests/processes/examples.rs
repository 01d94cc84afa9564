//! The client's examples, against real processes.

use crate::support::{PATIENCE, banks, start};
use std::path::{Path, PathBuf};
use tokio::process::Command;
use undoubt::cluster::{Cluster, Who};

/// Cargo puts examples beside the programs.
fn example(name: &str) -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_undoubt")).parent().unwrap();
    let path = programs.join("examples").join(name);
    assert!(path.is_file(), "{} is missing; build it with `cargo build --workspace --examples`", path.display());
    path
}

async fn run(cluster: &Cluster, name: &str) -> String {
    let mut command = Command::new(example(name));
    command.arg(cluster.url(Who::Coordinator).unwrap()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it did not end").unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}{err}", output.status);
    out.into_owned()
}

#[tokio::test]
async fn each_example_does_what_it_says() {
    let cluster = start(banks()).await;
    for (name, said) in [
        ("transfer", ["30 from alice to bob: committed", "500 from alice to bob: aborted", "alice has 70, bob has 80"]),
        ("trip_saga", ["a trip for 20: committed", "a trip for 500: aborted", "bank-a refused"]),
        ("many_at_once", ["1000 of 1000 committed", "the slowest in", ""]),
        ("watching", ["as it happens:", "on record:\n  begun", "decided  committed"]),
        ("auto", ["committed, by two-phase commit", "", ""]),
    ] {
        let out = run(&cluster, name).await;
        assert!(said.iter().all(|said| out.contains(said)), "{name} printed\n{out}");
    }
}

#[tokio::test]
async fn an_example_that_reaches_nobody_fails() {
    let mut command = Command::new(example("transfer"));
    let output = command.arg("http://localhost").kill_on_drop(true).output().await.unwrap();
    assert!(!output.status.success() && !output.stderr.is_empty(), "{output:?}");
}
