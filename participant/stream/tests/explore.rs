//! All that can happen to a reaction: each state keeps the rules, and from each there is a way on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;
#[path = "explore/rules.rs"]
mod rules;
#[path = "explore/search.rs"]
mod search;
#[path = "explore/world.rs"]
mod world;

use common::{STOCK, event, reaction, source};
use rules::{ONCE, ORDER, SKIPPED, UNDONE};
use search::{Violation, search};
use undoubt_vocabulary::Event;
use world::{Lane, Mutant, Setting};

/// A reaction that nothing undoes: only the position makes it act once.
fn plain(readers: usize, mutant: Mutant) -> Setting {
    let declaration = STOCK.lines().filter(|line| !line.starts_with("undo")).collect::<Vec<_>>().join("\n");
    let shop = source("shop", "orders", 0);
    let placed = |at, previous, key, saga| event(&shop, at, previous, "order.placed", key, saga);
    let orders = vec![placed(1, 0, "b", "B"), placed(3, 1, "b", "C"), placed(4, 3, "a", "A")];
    setting(&declaration, vec![(orders, 2), (other_partition(), 1)], readers, mutant)
}

/// A reaction that is undone by another producer's events.
fn undone(readers: usize, mutant: Mutant) -> Setting {
    let (shop, bank) = (source("shop", "orders", 0), source("bank", "payments", 0));
    let placed = |at, previous, key, saga| event(&shop, at, previous, "order.placed", key, saga);
    let refused = |at, key, saga| event(&bank, at, at - 1, "payment.refused", key, saga);
    let orders = vec![placed(1, 0, "b", "B"), placed(3, 1, "b", "C")];
    let payments = vec![refused(1, "17", "C"), refused(2, "b", "B")];
    setting(STOCK, vec![(orders, 1), (payments, 2)], readers, mutant)
}

fn other_partition() -> Vec<Event> {
    vec![event(&source("shop", "orders", 1), 2, 0, "order.placed", "d", "D")]
}

/// The first event of the first lane is the one that is refused.
fn setting(declaration: &str, lanes: Vec<(Vec<Event>, usize)>, readers: usize, mutant: Mutant) -> Setting {
    let poison = lanes[0].0[0].id();
    let lane = |(events, handed_on): (Vec<Event>, usize)| {
        let from = if events[0].topic.as_str() == "orders" { "shop" } else { "bank" };
        Lane { source: source(from, events[0].topic.as_str(), events[0].partition.0), events, handed_on }
    };
    let lanes = lanes.into_iter().map(lane).collect();
    Setting { reaction: reaction(declaration), lanes, poison, readers, mutant }
}

const SETTINGS: [fn(usize, Mutant) -> Setting; 2] = [plain, undone];

#[test]
fn whatever_happens_the_rules_hold_and_there_is_a_way_on() {
    for (at, setting) in SETTINGS.iter().enumerate() {
        for readers in [1, 2] {
            let searched = search(&setting(readers, Mutant::None));
            assert!(searched.violation.is_none(), "setting {at}, {readers} readers: {:?}", searched.violation);
            println!("setting {at}, {readers} readers: {} states", searched.states);
            assert!(searched.states > 100, "it is no search of {} states", searched.states);
        }
    }
}

fn found(mutant: Mutant) -> Option<&'static str> {
    let searches = [1, 2].into_iter().flat_map(|readers| SETTINGS.iter().map(move |setting| (readers, setting)));
    let mut violations = searches.filter_map(|(readers, setting)| search(&setting(readers, mutant)).violation);
    violations.next().map(|Violation { rule, path }| {
        println!("{mutant:?}: {rule}: {path:?}");
        rule
    })
}

#[test]
fn each_fault_is_found() {
    for (mutant, rule) in [
        (Mutant::PositionFirst, SKIPPED),
        (Mutant::WorkFirst, ONCE),
        (Mutant::RepetitionApplied, ONCE),
        (Mutant::GapApplied, ORDER),
        (Mutant::PoisonSkipped, SKIPPED),
        (Mutant::ParkedKeyIgnored, ORDER),
        (Mutant::NoBarrier, UNDONE),
        (Mutant::PositionNotCompared, ONCE),
        (Mutant::TurnNotCompared, UNDONE),
        (Mutant::ParkedNotCompared, ONCE),
    ] {
        assert_eq!(found(mutant), Some(rule), "{mutant:?}");
    }
}
