//! Every target takes its seeds, all that was kept, and many changes of these: the share of fuzzing that every run of the tests has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::fs;
use std::path::{Path, PathBuf};
use undoubt_fuzz::{MAX_INPUT_BYTES, Target, note_panics, targets};

/// The folder of kept inputs, one for each target.
fn corpus(target: &Target) -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("corpus").join(target.name)
}

fn kept(target: &Target) -> Vec<Vec<u8>> {
    let Ok(files) = fs::read_dir(corpus(target)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A change of an input.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Delete(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    Append(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let few = || prop_oneof![prop::collection::vec(any::<u8>(), 1..4), "[ -~]{1,6}".prop_map(String::into_bytes)];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, with)| Change::Flip(at, with)),
        2 => (at(), few()).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (at(), 1_usize..8).prop_map(|(at, length)| Change::Delete(at, length)),
        2 => (at(), 1_usize..32).prop_map(|(at, length)| Change::Repeat(at, length)),
        1 => at().prop_map(Change::Cut),
        1 => at().prop_map(Change::Append),
    ]
}

fn changed(mut input: Vec<u8>, change: &Change, others: &[Vec<u8>]) -> Vec<u8> {
    let place = |at: &prop::sample::Index, input: &[u8]| at.index(input.len() + 1);
    match change {
        Change::Flip(at, with) => {
            if !input.is_empty() {
                let place = at.index(input.len());
                input[place] ^= with;
            }
        }
        Change::Insert(at, bytes) => {
            let place = place(at, &input);
            input.splice(place..place, bytes.iter().copied());
        }
        Change::Delete(at, length) => {
            let place = place(at, &input);
            input.drain(place..input.len().min(place + length));
        }
        Change::Repeat(at, length) => {
            let place = place(at, &input);
            let part = input[place..input.len().min(place + length)].to_vec();
            input.splice(place..place, part);
        }
        Change::Cut(at) => input.truncate(place(at, &input)),
        Change::Append(at) => input.extend(at.get::<Vec<u8>>(others)),
    }
    input.truncate(MAX_INPUT_BYTES);
    input
}

/// Changed inputs of each target; `UNDOUBT_FUZZ_CASES` for another number.
fn cases() -> u32 {
    std::env::var("UNDOUBT_FUZZ_CASES").map_or(2_000, |cases| cases.parse().unwrap())
}

// One test for all: memory is counted for the whole process.
#[test]
fn no_decoder_panics_grows_without_bound_or_forgets_what_it_has_read() {
    note_panics();
    for target in targets() {
        let mut inputs = (target.seeds)();
        assert!(!inputs.is_empty(), "{} has no seeds", target.name);
        inputs.extend(kept(&target));
        inputs.push(Vec::new());
        inputs.iter().for_each(|input| target.try_out(input));
        let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let strategy = (any::<prop::sample::Index>(), prop::collection::vec(change(), 1..6));
        let run = runner.run(&strategy, |(which, changes)| {
            let input = changes.iter().fold(which.get(&inputs).clone(), |input, one| changed(input, one, &inputs));
            target.try_out(&input);
            Ok::<(), TestCaseError>(())
        });
        run.unwrap_or_else(|failure| panic!("{}: {failure}", target.name));
    }
}

#[test]
fn names_are_told_apart_and_no_folder_is_of_a_target_that_is_gone() {
    let names: Vec<&str> = targets().iter().map(|target| target.name).collect();
    for (place, name) in names.iter().enumerate() {
        assert!(!names[..place].contains(name), "{name} is there twice");
    }
    let place = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("corpus");
    for folder in fs::read_dir(place).into_iter().flatten() {
        let folder = folder.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&folder.as_str()), "corpus/{folder} belongs to no target");
    }
}
