//! A run depends on its plan and on nothing else. Everything else that is known from simulation rests on this.
//!
//! Each seed runs in two fresh processes, which have different runs behind them by then: one goes through the seeds
//! upwards, the other downwards. Where the two differ, both are run again in detail, and the first event that differs is
//! told.

#![allow(clippy::unwrap_used, reason = "a test that cannot start its processes has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use undoubt_sim_tests::divergence::first_divergence;

/// A process that runs some seeds, one after the other.
#[derive(Clone, Copy)]
struct Batch {
    first: u64,
    seeds: u64,
    descending: bool,
    world: &'static str,
    mutant: Option<&'static str>,
}

impl Batch {
    fn upwards(first: u64, seeds: u64) -> Batch {
        Batch { first, seeds, descending: false, world: "drawn", mutant: None }
    }

    fn downwards(self) -> Batch {
        Batch { descending: true, ..self }
    }

    /// The same, but it ends with this seed.
    fn up_to(self, seed: u64) -> Batch {
        match self.descending {
            false => Batch { seeds: seed - self.first + 1, ..self },
            true => Batch { first: seed, seeds: self.first + self.seeds - seed, ..self },
        }
    }

    fn start(self, detail: Option<&Path>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_undoubt-sim"));
        command.args(["hash", "--first", &self.first.to_string(), "--seeds", &self.seeds.to_string()]);
        command.args(self.descending.then_some("--descending"));
        command.args(["--world", self.world]);
        command.args(self.mutant.into_iter().flat_map(|mutant| ["--mutant", mutant]));
        command.args(detail.into_iter().flat_map(|file| [Path::new("--detail"), file]));
        command.stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// The hash of each seed.
fn hashes(child: Child) -> BTreeMap<u64, String> {
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{:?}", done.status);
    let read = |line: &str| line.split_once(' ').map(|(seed, hash)| (seed.parse().unwrap(), hash.to_owned()));
    String::from_utf8(done.stdout).unwrap().lines().filter_map(read).collect()
}

/// Runs both at a time. Says where they part, if they do.
fn compare(name: &str, one: Batch, other: Batch, in_detail: bool) -> Result<(), String> {
    let file = |side: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("determinism-{name}-{side}"));
    let (file_of_one, file_of_other) = (file("one"), file("other"));
    let both = |one: Batch, other: Batch, in_detail: bool| {
        let first = one.start(in_detail.then_some(&file_of_one));
        let second = other.start(in_detail.then_some(&file_of_other));
        (hashes(first), hashes(second))
    };
    let (ones, others) = both(one, other, in_detail);
    assert_eq!((ones.len() as u64, others.len() as u64), (one.seeds, other.seeds));
    let differing: Vec<u64> =
        ones.iter().filter(|(seed, hash)| others.get(seed) != Some(hash)).map(|(s, _)| *s).collect();
    let Some(seed) = differing.first().copied() else { return Ok(()) };
    // Again, with the same behind them.
    both(one.up_to(seed), other.up_to(seed), true);
    let events = |file: &Path| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let parted = match first_divergence(&events(&file_of_one), &events(&file_of_other)) {
        Some(divergence) => divergence.to_string(),
        None => "but run again in detail, they do not differ".to_owned(),
    };
    Err(format!("seeds {differing:?} differ from one process to the other; of seed {seed}, {parted}"))
}

#[test]
fn a_seed_runs_alike_in_two_processes_whatever_ran_before() {
    let upwards = Batch::upwards(1, 100);
    compare("seeds", upwards, upwards.downwards(), false).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn a_seed_runs_alike_where_a_disk_is_put_back() {
    let upwards = Batch { world: "put-back", ..Batch::upwards(1, 30) };
    compare("put-back", upwards, upwards.downwards(), false).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn a_seed_runs_alike_where_participants_stand_in_front_of_databases() {
    let upwards = Batch { world: "databases", ..Batch::upwards(1, 40) };
    compare("databases", upwards, upwards.downwards(), false).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn a_seed_runs_alike_where_participants_call_services() {
    let upwards = Batch { world: "http", ..Batch::upwards(1, 40) };
    compare("http", upwards, upwards.downwards(), false).unwrap_or_else(|parted| panic!("{parted}"));
    let in_detail = Batch { world: "http", ..Batch::upwards(1_000, 4) };
    compare("http-details", in_detail, in_detail.downwards(), true).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn a_seed_runs_alike_where_sagas_are_open_and_nested() {
    let upwards = Batch { world: "open-sagas", ..Batch::upwards(1, 30) };
    compare("open-sagas", upwards, upwards.downwards(), false).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn a_seed_runs_alike_where_participants_publish() {
    let upwards = Batch { world: "events", ..Batch::upwards(1, 40) };
    compare("events", upwards, upwards.downwards(), false).unwrap_or_else(|parted| panic!("{parted}"));
    let in_detail = Batch { world: "events", ..Batch::upwards(1_000, 4) };
    compare("events-details", in_detail, in_detail.downwards(), true).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn a_seed_runs_alike_in_every_event_of_every_library() {
    let upwards = Batch::upwards(1_000, 6);
    compare("details", upwards, upwards.downwards(), true).unwrap_or_else(|parted| panic!("{parted}"));
}

#[test]
fn what_leaks_in_is_found_and_the_first_event_that_differs_is_told() {
    let clean = Batch::upwards(1, 3);
    let leaking = Batch { mutant: Some("commits-at-prepare"), ..clean };
    let parted = compare("leak", clean, leaking.downwards(), false).unwrap_err();
    println!("{parted}");
    assert!(parted.contains("they part in line") && parted.contains("  one:   "), "{parted}");
}

#[test]
fn two_seeds_do_not_run_alike() {
    let (one, other) = (Batch::upwards(1, 1), Batch::upwards(2, 1));
    let (one, other) = (hashes(one.start(None)), hashes(other.start(None)));
    assert_ne!(one[&1], other[&2]);
}
