//! Sweeps: worlds under faults, scenarios, and planted bugs that have to be found.

use clap::ValueEnum as _;
use std::collections::BTreeMap;
use std::path::Path;
use undoubt_sim_tests::plan::{Mode, Mutant, Plan, Trips, World, plan_of};
use undoubt_sim_tests::run::{Barrier, FinalOutcome, Reply};
use undoubt_sim_tests::scenario;
use undoubt_sim_tests::sweep::{Sweep, examine};
use undoubt_sim_tests::trace::{Entry, Event, Standing};

/// So that every rule has something to be broken by.
const MIN_MEAN_COMMITTED: f64 = 40.0;

/// What is done on other machines is slower, and goes wrong more often.
const MIN_MEAN_COMMITTED_ELSEWHERE: f64 = 20.0;

/// Within so many seeds, every planted bug has to be found.
const MAX_SEEDS_PER_MUTANT: u64 = 1_000;

#[test]
fn three_hundred_seeds_break_no_rule() {
    let report = Sweep { keep_going: true, ..Sweep::new(1, 300) }.run(&mut |_| {});
    println!("{} cells were never hit", report.cells_never_hit.len());
    println!("crash points never reached: {:?}", report.points_never_reached);
    println!("{:?}, {:?}", report.committed, report.speed);
    let broken = report.failed.iter().map(|failed| {
        let what = failed.broken.iter().map(|broken| format!("\n  {broken}")).collect::<String>();
        format!("\nundoubt-sim replay --seed {}{what}", failed.seed)
    });
    assert!(report.failed.is_empty(), "{}", broken.collect::<String>());
    assert_eq!(report.seeds, 300);
    assert!(report.committed.mean >= MIN_MEAN_COMMITTED, "too little happens: {:?}", report.committed);
    assert_eq!(report.cells_hit_against_reason, [], "the table of impossible cells is wrong");
}

#[test]
fn a_disk_that_is_put_back_loses_nothing_in_silence() {
    let report = Sweep { keep_going: true, world: World::PutBack, ..Sweep::new(1, 60) }.run(&mut |_| {});
    println!("{:?}; excused: {:?}", report.restores, report.excused);
    let broken = report.failed.iter().map(|failed| {
        let what = failed.broken.iter().map(|broken| format!("\n  {broken}")).collect::<String>();
        format!("\nundoubt-sim replay --seed {} --world put-back{what}", failed.seed)
    });
    assert!(report.failed.is_empty(), "{}", broken.collect::<String>());
    assert_eq!(report.restores.len(), 8, "some kind was never put back");
    let accepted: u64 = report.restores.iter().map(|(_, restored)| restored.accepted).sum();
    assert!(accepted > 0, "no operator had to accept anything");
}

#[test]
fn participants_in_front_of_databases_break_no_rule() {
    let report = Sweep { keep_going: true, world: World::Databases, ..Sweep::new(1, 200) }.run(&mut |_| {});
    println!("{:?}; {:?}", report.committed, report.speed);
    let broken = report.failed.iter().map(|failed| {
        let what = failed.broken.iter().map(|broken| format!("\n  {broken}")).collect::<String>();
        format!("\nundoubt-sim replay --seed {} --world databases{what}", failed.seed)
    });
    assert!(report.failed.is_empty(), "{}", broken.collect::<String>());
    assert!(report.committed.mean >= MIN_MEAN_COMMITTED_ELSEWHERE, "too little happens: {:?}", report.committed);
}

#[test]
fn participants_that_call_services_break_no_rule() {
    let report = Sweep { keep_going: true, world: World::Http, ..Sweep::new(1, 60) }.run(&mut |_| {});
    println!("{:?}; {:?}", report.committed, report.speed);
    let broken = report.failed.iter().map(|failed| {
        let what = failed.broken.iter().map(|broken| format!("\n  {broken}")).collect::<String>();
        format!("\nundoubt-sim replay --seed {} --world http{what}", failed.seed)
    });
    assert!(report.failed.is_empty(), "{}", broken.collect::<String>());
    assert!(report.committed.mean >= MIN_MEAN_COMMITTED_ELSEWHERE, "too little happens: {:?}", report.committed);
}

#[test]
fn participants_that_publish_break_no_rule() {
    let report = Sweep { keep_going: true, world: World::Events, ..Sweep::new(1, 100) }.run(&mut |_| {});
    println!("{:?}; {:?}", report.committed, report.speed);
    let broken = report.failed.iter().map(|failed| {
        let what = failed.broken.iter().map(|broken| format!("\n  {broken}")).collect::<String>();
        format!("\nundoubt-sim replay --seed {} --world events{what}", failed.seed)
    });
    assert!(report.failed.is_empty(), "{}", broken.collect::<String>());
    assert!(report.committed.mean >= MIN_MEAN_COMMITTED_ELSEWHERE, "too little happens: {:?}", report.committed);
}

#[test]
fn trips_meet_every_fate() {
    let mut fates: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 1..=60 {
        let run = examine(&plan_of(seed, World::Events, None)).run.unwrap();
        let Some(trips) = &run.plan.shape.trips else { continue };
        let mut count = |fate, times| *fates.entry(fate).or_default() += times;
        let of = |at: u8| run.finals.logs.get(&at).into_iter().flatten();
        let done = format!("trip.s{}.done", trips.steps);
        count("begun", of(1).filter(|event| event.kind == Trips::BEGUN).count());
        count("done", of(trips.steps).filter(|event| event.kind == done).count());
        count("expired", of(1).filter(|event| event.kind == Trips::EXPIRED).count());
        let refused = (1..=trips.steps).flat_map(of).filter(|event| event.kind.ends_with(".refused"));
        count("refused", refused.count());
        let last: BTreeMap<u8, _> = run.finals.accounts.iter().map(|account| (account.participant, account)).collect();
        let never = last.values().flat_map(|account| account.barriers.values()).filter(|one| **one == Barrier::Never);
        count("undone before it was done, or refused", never.count());
        count("given up", last.values().map(|account| account.given_up.len()).sum());
        count("stopped", run.finals.listed.iter().filter(|listed| listed.stopped.is_some()).count());
    }
    println!("{fates:?}");
    for (fate, times) in &fates {
        assert!(*times >= 5, "{fate}: {fates:?}");
    }
    assert_eq!(fates.len(), 7);
}

#[test]
fn who_has_read_more_than_a_log_holds_that_was_put_back_is_told_so() {
    let scenario = scenario::named("a-log-that-was-read-is-put-back").unwrap();
    let run = examine(&scenario.plan).run.unwrap();
    let told = run.finals.readings.iter().filter(|reading| reading.put_back.is_some()).count();
    assert_eq!(told, 1, "one reader has read the log that is put back");
    assert!(run.finals.logs.values().all(|log| log.len() > 50), "too little is published");
}

#[test]
fn who_has_reacted_to_more_than_a_log_holds_that_was_put_back_stops_and_says_so() {
    let scenario = scenario::named("a-source-is-put-back").unwrap();
    let run = examine(&scenario.plan).run.unwrap();
    let stopped: Vec<_> = run.finals.listed.iter().filter(|listed| listed.stopped.is_some()).collect();
    assert!(!stopped.is_empty() && stopped.iter().all(|listed| listed.source == 2), "{stopped:?}");
}

#[test]
fn sagas_that_are_open_and_nested_break_no_rule() {
    let report = Sweep { keep_going: true, world: World::OpenSagas, ..Sweep::new(1, 60) }.run(&mut |_| {});
    println!("{:?}; {:?}", report.committed, report.speed);
    let broken = report.failed.iter().map(|failed| {
        let what = failed.broken.iter().map(|broken| format!("\n  {broken}")).collect::<String>();
        format!("\nundoubt-sim replay --seed {} --world open-sagas{what}", failed.seed)
    });
    assert!(report.failed.is_empty(), "{}", broken.collect::<String>());
    assert!(report.committed.mean >= MIN_MEAN_COMMITTED_ELSEWHERE, "too little happens: {:?}", report.committed);
}

#[test]
fn nested_sagas_meet_every_fate() {
    let mut fates: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut deepest = 0;
    for seed in 1..=20 {
        let run = examine(&plan_of(seed, World::OpenSagas, None)).run.unwrap();
        let came_to = |tx: &str| match run.finals.outcomes.get(tx) {
            Some(FinalOutcome::Committed { .. }) => "committed",
            Some(FinalOutcome::Aborted { .. } | FinalOutcome::NotFound) => "undone",
            Some(FinalOutcome::GivenUp | FinalOutcome::Unknown) | None => "unknown",
        };
        for call in &run.calls {
            let Some(parent) = Mode::parent_of(&call.tx) else { continue };
            let fate = match call.reply {
                Reply::Nested { closed: true } => "kept",
                Reply::Nested { closed: false } => "left",
                Reply::Aborted(_) => "cancelled",
                Reply::Committed(_) | Reply::Refused(_) | Reply::Unknown(_) => continue,
            };
            *fates.entry((fate, came_to(parent))).or_default() += 1;
            deepest = deepest.max(call.tx.matches('.').count());
        }
    }
    println!("{fates:?}");
    for fate in ["kept", "left", "cancelled"] {
        assert!(
            fates.get(&(fate, "committed")).is_some_and(|count| *count >= 10),
            "{fate} in one that committed: {fates:?}"
        );
        assert!(
            fates.get(&(fate, "undone")).is_some_and(|count| *count >= 10),
            "{fate} in one that was undone: {fates:?}"
        );
    }
    assert_eq!(deepest, 3);
}

#[test]
fn no_server_is_held_for_ordinary_crashes() {
    for seed in 1..=60 {
        let plan = Plan::with_ordinary_crashes(seed);
        let examined = examine(&plan);
        assert_eq!(examined.broken, [], "seed {seed}");
        let run = examined.run.unwrap();
        let alarm = run.trace.iter().find(|entry| {
            let Event::Standing { what } = &entry.event else { return false };
            matches!(what, Standing::Held | Standing::Refuses)
        });
        assert_eq!(alarm, None, "seed {seed}: nothing was put back");
        let starts = run.trace.iter().filter(|entry| entry.event == Event::Started).count();
        assert!(starts > plan.shape.participants.into(), "seed {seed}: nobody has crashed");
    }
}

#[test]
fn some_seeds_gather_more_than_the_coordinator_takes() {
    let plans = (1..=1_500)
        .map(|seed| plan_of(seed, World::Drawn, None))
        .filter(|plan| plan.shape.max_gathered_bytes.is_some());
    let is_too_much =
        |entry: &Entry| matches!(&entry.event, Event::Noted { note, .. } if note.contains("over max_gathered_bytes"));
    let too_much = |plan: Plan| examine(&plan).run.unwrap().trace.iter().filter(|entry| is_too_much(entry)).count();
    let found = plans.map(too_much).position(|aborted| aborted > 0);
    println!("the first is that of so many worlds that gather much: {found:?}");
    assert!(found.is_some(), "no transaction is aborted for it in any world");
}

#[test]
fn every_scenario_ends_well() {
    let scenarios = scenario::all();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        let examined = examine(&scenario.plan);
        let (name, about) = (scenario.name, scenario.about);
        assert_eq!(examined.broken, [], "{name}: {about}\nundoubt-sim scenarios {name}");
        let missed = examined.run.as_ref().and_then(|run| scenario.misses(run));
        assert_eq!(missed, None, "{name}: what it is about has not come about");
        let struck = examined.run.map_or(0, |run| run.hits.len());
        assert_eq!(struck, scenario.plan.faults.len(), "{name}: not every fault found its occasion");
    }
}

/// Plans that broke a rule once, shrunk; a file's name says what happens.
#[test]
fn plans_that_broke_a_rule_once_break_none() {
    // Asked when it runs: checkouts share a target folder, and this may have been compiled in another of them.
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("plans");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let plan: Plan = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let examined = examine(&plan);
        assert_eq!(examined.broken, [], "undoubt-sim replay {}", path.display());
        let struck = examined.run.map_or(0, |run| run.hits.len());
        assert_eq!(struck, plan.faults.len(), "{}: not every fault found its occasion", path.display());
    }
}

#[test]
fn every_planted_bug_is_found() {
    let mut not_found = Vec::new();
    for mutant in Mutant::value_variants() {
        let world = World::of(*mutant);
        let report = Sweep { mutant: Some(*mutant), world, ..Sweep::new(1, MAX_SEEDS_PER_MUTANT) }.run(&mut |_| {});
        match report.failed.first() {
            Some(failed) => println!("{mutant:?}: after {} seeds, as {}", report.seeds, failed.broken[0]),
            None => not_found.push(mutant),
        }
    }
    assert!(not_found.is_empty(), "{not_found:?} were not found in {MAX_SEEDS_PER_MUTANT} seeds");
}
