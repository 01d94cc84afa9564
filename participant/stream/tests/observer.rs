//! What an observer says of a saga, against what its participants have stored: whatever happens, and however late it hears of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]

#[path = "observer/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use undoubt_stream::observer::Standing;
use world::{Action, DONE, ENDED, KNOWN, Mutant, UNDONE, World, choreography};

const SHOP: &str = include_str!("../../examples/choreography/shop.toml");
const STOCK: &str = include_str!("../../examples/choreography/stock.toml");
const BANK: &str = include_str!("../../examples/choreography/bank.toml");

/// One participant orders, the other one reserves, silently; it is undone when the time is over.
const SMALL_SHOP: &str = r#"
[[topic]]
name = "orders"
[[begin]]
topic = "orders"
type = "order.placed"
expire = { after = "30s", emit = { topic = "orders", type = "order.expired" }, unless = [{ from = "stock", topic = "stock", type = "stock.reserved" }, { from = "stock", topic = "stock", type = "stock.refused" }] }
[[on]]
name = "finish"
from = "stock"
topic = "stock"
type = "stock.reserved"
do = ["add finished 1"]
undo-on = [{ from = "shop", topic = "orders", type = "order.expired" }]
undo = ["add finished -1"]
"#;
const SMALL_STOCK: &str = r#"
[[topic]]
name = "stock"
[[on]]
name = "reserve"
from = "shop"
topic = "orders"
type = "order.placed"
do = ["add stock/book -1 floor=0"]
emit = { topic = "stock", type = "stock.reserved" }
refused = { topic = "stock", type = "stock.refused" }
undo-on = [{ from = "shop", topic = "orders", type = "order.expired" }]
undo = ["add stock/book 1"]
"#;

fn small(mutant: Mutant) -> World {
    let choreography = choreography(&[("shop", SMALL_SHOP), ("stock", SMALL_STOCK)]);
    World::new(choreography, ("shop", "orders", "order.placed"), mutant)
}

fn example(mutant: Mutant) -> World {
    let choreography = choreography(&[("shop", SHOP), ("stock", STOCK), ("bank", BANK)]);
    World::new(choreography, ("shop", "orders", "order.placed"), mutant)
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&world.participants, &world.observer, &world.asking).hash(&mut hasher);
    (world.crashes, world.refusals, world.surveys, world.trims).hash(&mut hasher);
    hasher.finish()
}

/// Goes through all states of a world, and returns how many there are; `Err` says what went wrong first, and how.
fn search(first: World, max_states: usize) -> Result<usize, (&'static str, String)> {
    let mut seen = BTreeSet::from([fingerprint(&first)]);
    let mut layer = vec![(first, String::new())];
    while !layer.is_empty() && seen.len() < max_states {
        let mut next = Vec::new();
        for (world, path) in layer {
            for action in world.actions() {
                let mut after = world.clone();
                after.step(&action);
                let path = || format!("{path}\n  {action:?}");
                after.check().map_err(|rule| (rule, path()))?;
                if seen.insert(fingerprint(&after)) {
                    let path = path();
                    next.push((after, path));
                }
            }
        }
        layer = next;
    }
    Ok(seen.len())
}

/// Goes one way through a world; in the end the observer knows what has become of the saga.
fn walk(mut world: World, seed: u64, steps: usize) -> Result<Standing, (&'static str, String)> {
    let (mut random, mut path) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, String::new());
    for step in 0..steps {
        let mut actions = world.actions();
        // Every state is checked anyway.
        actions.retain(|action| step % 8 == 0 || *action != Action::Look);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let Some(action) = actions.get(usize::try_from(random >> 33).unwrap() % actions.len().max(1)) else { break };
        path.push_str(&format!("\n  {action:?}"));
        world.step(action);
        world.check().map_err(|rule| (rule, path.clone()))?;
    }
    world.drain();
    world.check().map_err(|rule| (rule, format!("{path}\n  and all the rest")))?;
    let verdict = world.verdict().unwrap();
    let is_parked = world.participants.values().any(|own| !own.stable.parked.is_empty());
    let knows = match verdict.standing {
        Standing::Unknown => world.doubted(),
        Standing::Parked => is_parked,
        standing => standing.has_ended(),
    };
    if knows { Ok(verdict.standing) } else { Err((KNOWN, format!("{path}\n  {verdict:?}"))) }
}

/// Ways through a world that has to be right, and at most through one with a fault.
const WALKS: u64 = 4_000;
const MAX_WALKS: u64 = 40_000;

fn walks(of: impl Fn() -> World, walks: u64) -> Result<BTreeSet<Standing>, (&'static str, String)> {
    (0..walks).map(|seed| walk(of(), seed, 60)).collect()
}

fn with_trims(mut world: World) -> World {
    world.trims = 1;
    world
}

#[test]
fn it_never_says_that_a_saga_has_ended_that_goes_on() {
    let mut world = small(Mutant::None);
    (world.surveys, world.refusals, world.crashes) = (2, 1, 1);
    let states = search(world, 150_000).unwrap_or_else(|(rule, path)| panic!("{rule}: {path}"));
    println!("{states} states");
    assert!(states > 10_000, "it is no search of {states} states");
}

#[test]
fn in_the_end_it_says_exactly_what_is() {
    let ended = walks(|| example(Mutant::None), WALKS).unwrap_or_else(|(rule, path)| panic!("{rule}: {path}"));
    println!("{ended:?}");
    let all = [Standing::Done, Standing::Undone, Standing::Expired, Standing::Mixed, Standing::Parked];
    assert_eq!(ended, BTreeSet::from(all), "all ends were met");
}

#[test]
fn what_was_missed_is_unknown_and_never_guessed() {
    let ended = walks(|| with_trims(example(Mutant::None)), WALKS).unwrap_or_else(|(rule, path)| panic!("{rule}: {path}"));
    assert!(ended.contains(&Standing::Unknown), "{ended:?}");
}

fn found(mutant: Mutant) -> Option<&'static str> {
    let settings = [small, example].map(|setting| move || with_trims(setting(mutant)));
    let found = settings.iter().find_map(|setting| walks(setting, MAX_WALKS).err());
    found.map(|(rule, path)| {
        println!("{mutant:?}: {rule}: {path}");
        rule
    })
}

#[test]
fn each_fault_is_found() {
    for (mutant, rules) in [
        (Mutant::LogNotAsked, &[ENDED, DONE, UNDONE, KNOWN][..]),
        (Mutant::LogAskedFirst, &[ENDED, DONE, UNDONE, KNOWN]),
        (Mutant::ParkedAskedFirst, &[ENDED, DONE]),
        (Mutant::ParkedNotAsked, &[ENDED, DONE]),
        (Mutant::GivenUpNotAsked, &[ENDED, DONE, UNDONE, KNOWN]),
        (Mutant::CutTakenForWhole, &[ENDED, DONE]),
        (Mutant::UnstableTold, &[ENDED, DONE, UNDONE]),
        (Mutant::MissedNotTold, &[ENDED, DONE, UNDONE, KNOWN]),
    ] {
        let found = found(mutant);
        assert!(found.is_some_and(|rule| rules.contains(&rule)), "{mutant:?}: {found:?}");
    }
}
