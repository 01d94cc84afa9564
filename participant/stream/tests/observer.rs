//! What an observer says of a saga, against what its participants have stored: whatever happens, and however late it hears of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]

#[path = "observer/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use undoubt_stream::observer::{Change, Standing};
use undoubt_vocabulary::Timestamp;
use world::{Action, DONE, ENDED, KNOWN, Mutant, Outcome, UNDONE, World, choreography};

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
const WALKS: u64 = 2_000;
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
    let states = search(world, 60_000).unwrap_or_else(|(rule, path)| panic!("{rule}: {path}"));
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
    let ended =
        walks(|| with_trims(example(Mutant::None)), WALKS).unwrap_or_else(|(rule, path)| panic!("{rule}: {path}"));
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

/// Writes down what the observer says.
#[derive(Default)]
struct Told(String);

impl Told {
    fn note(&mut self, what: &str, world: &World) {
        self.0.push_str(&format!("{what}\n{}", world.told()));
    }

    fn check(&self, name: &str) {
        // Relative to the package: several checkouts share what is compiled.
        let path = format!("tests/golden/observer-{name}.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &self.0).expect("the folder of golden files can be written");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.0, expected, "{path} differs; look at the difference, then run with UPDATE_GOLDEN=1");
    }
}

#[test]
fn a_saga_that_is_done_is_told_once_what_publishes_nothing_has_said_so() {
    let (mut world, mut told) = (example(Mutant::None), Told::default());
    world.hear_all();
    told.note("the order is heard of", &world);
    world.react("stock", "reserve", "shop", Outcome::Done);
    world.hear_all();
    told.note("stock has reserved", &world);
    world.react("bank", "pay", "stock", Outcome::Done);
    world.hear_all();
    told.note("it is paid", &world);
    world.react("shop", "finish", "bank", Outcome::Done);
    world.react("shop", "order.expired", "bank", Outcome::Done);
    told.note("the shop has finished it, and publishes nothing", &world);
    world.survey_all();
    told.note("the participants were asked", &world);
    told.check("done");
}

#[test]
fn a_saga_that_is_refused_is_told_as_undone_once_nothing_is_in_effect() {
    let (mut world, mut told) = (example(Mutant::None), Told::default());
    world.react("stock", "reserve", "shop", Outcome::Done);
    world.react("bank", "pay", "stock", Outcome::Refused);
    world.hear_all();
    told.note("it cannot be paid", &world);
    world.react("stock", "reserve", "bank", Outcome::Done);
    world.react("shop", "give-up", "bank", Outcome::Done);
    world.react("shop", "order.expired", "bank", Outcome::Done);
    world.survey_all();
    told.note("the participants were asked", &world);
    told.check("undone");
}

#[test]
fn a_saga_whose_time_is_over_is_told_with_what_it_still_waits_for() {
    let (mut world, mut told) = (example(Mutant::None), Told::default());
    world.react("stock", "reserve", "shop", Outcome::Done);
    world.step(&Action::Expire);
    world.flush();
    world.hear_all();
    world.survey_all();
    told.note("the time is over before it is paid", &world);
    world.react("stock", "reserve", "shop", Outcome::Done);
    world.survey_all();
    told.note("the stock has undone it", &world);
    world.react("bank", "pay", "shop", Outcome::Done);
    world.react("bank", "pay", "shop", Outcome::Done);
    world.react("bank", "pay", "stock", Outcome::Done);
    world.survey_all();
    told.note("the bank has heard of it before it paid", &world);
    told.check("expired");
}

#[test]
fn what_waits_for_an_operator_and_what_is_silent_for_too_long_is_told_as_that() {
    let (mut world, mut told) = (example(Mutant::None), Told::default());
    world.react("stock", "reserve", "shop", Outcome::Done);
    world.hear_all();
    world.survey_all();
    world.now = Timestamp(2_000_000);
    told.note("nobody was heard since", &world);
    world.hear_all();
    world.survey_all();
    told.note("everybody was heard, and nothing has happened", &world);
    world.lose("bank", "cannot connect: connection refused");
    told.note("the bank is away", &world);
    world.react("bank", "pay", "stock", Outcome::Done);
    world.react("shop", "finish", "bank", Outcome::Refused);
    world.hear_all();
    world.survey_all();
    told.note("the shop has parked the payment", &world);
    world.give_up("shop", "finish");
    world.react("shop", "order.expired", "bank", Outcome::Done);
    world.survey_all();
    told.note("an operator has given it up", &world);
    told.check("parked");
}

#[test]
fn of_more_than_may_run_the_oldest_are_given_up_and_of_more_than_is_kept_the_first_are_dropped() {
    let mut world = example(Mutant::None);
    world.hear_all();
    let more = world.more_sagas(9);
    let changes = world.observer.look(world.now).changes;
    let given_up: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::End(saga) => Some((saga.correlation.to_string(), saga.end.clone().unwrap().verdict)),
            Change::Drop { .. } => None,
        })
        .collect();
    assert_eq!(given_up.len(), 2, "ten run, and eight may");
    assert!(given_up.iter().all(|(_, verdict)| verdict.standing == Standing::Unknown), "{given_up:?}");
    assert!(given_up[0].1.why.as_ref().unwrap().contains("max_running_sagas"), "{given_up:?}");
    assert_eq!(world.observer.counts(), (8, 2));
    drop(more);
}
