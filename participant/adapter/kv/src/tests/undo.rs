//! A saga that was refused or cancelled leaves the same state as if it had never run, save what commuting operations of
//! others did meanwhile.
//!
//! Random sagas at two stores, behind the participant's own rules, among others' work, repeated and late messages,
//! crashes and moving low-water marks. All compensate at some step and are undone in reverse. Another pair of stores
//! sees what the others did, and nothing else. In the end both hold the same.
//!
//! The others keep their part: they only add, and where sagas put and delete they respect what is pending.

mod plan;
mod play;

use super::world::MemoryWorld;
use plan::{Plan, plans};
use play::Play;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::RefCell;

const CASES: u32 = 500;

/// Something that is done wrong, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    LeavesFirstStepInEffect,
    UndoesInTheOrderOfDoing,
    /// Messages that are repeated or late get past the barrier.
    IgnoresBarriers,
    OthersIgnoreWhatIsPending,
    /// The low-water mark stays where it is, so that barriers outlive their sagas.
    MovesNoLowWaterMark,
}

/// How often the plans met what they are there for.
#[derive(Debug, Default)]
struct Met {
    undone: usize,
    empty: usize,
    late: usize,
    repeated: usize,
    /// Sagas' steps, and others, that met a semantic lock.
    pending: usize,
}

async fn play(plan: &Plan, flaw: Flaw, met: &RefCell<Met>) -> Result<(), String> {
    let mut worlds = [MemoryWorld::new(|kv| kv), MemoryWorld::new(|kv| kv)];
    let mut play = Play::new(plan, flaw, &mut worlds, met).await?;
    for event in &plan.events {
        play.event(event).await?;
    }
    play.end().await
}

/// Plays the same plans each time. Fails with the first that went wrong, made small if nothing should.
fn search(flaw: Flaw, met: &RefCell<Met>) -> Result<(), String> {
    let max_shrink_iters = if flaw == Flaw::None { 2_000 } else { 0 };
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let played = |plan| runtime.block_on(play(&plan, flaw, met)).map_err(TestCaseError::fail);
    runner.run(&plans(), played).map_err(|found| found.to_string())
}

#[test]
fn a_saga_that_is_undone_leaves_what_would_be_there_without_it() {
    let met = RefCell::default();
    search(Flaw::None, &met).unwrap_or_else(|found| panic!("{found}"));
    let Met { undone, empty, late, repeated, pending } = met.into_inner();
    let least = [undone, empty, late, repeated, pending].into_iter().min();
    assert!(
        least > Some(100),
        "too seldom: {undone} undone, {empty} empty, {late} late, {repeated} repeated, {pending} pending"
    );
}

#[test]
fn each_way_of_undoing_wrongly_is_found() {
    for (flaw, found) in [
        (Flaw::LeavesFirstStepInEffect, ""),
        (Flaw::UndoesInTheOrderOfDoing, "the store holds"),
        (Flaw::IgnoresBarriers, ""),
        (Flaw::OthersIgnoreWhatIsPending, ""),
        (Flaw::MovesNoLowWaterMark, "left in the family step"),
    ] {
        let told = search(flaw, &RefCell::default()).expect_err("it goes unnoticed");
        assert!(told.contains(found), "{flaw:?}: {told}");
    }
}
