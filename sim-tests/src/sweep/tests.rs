use super::*;
use crate::plan::{Code, Fault, Host, Plan, What, When};
use std::time::Duration;

/// Seeds that end in 7 break a rule. The lower the seed, the longer it takes.
fn invented(seed: u64) -> Summary {
    thread::yield_now();
    let spin = (0..(1_000 - seed.min(999)) * 20).fold(seed, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
    let broken = Broken { rule: "rule".into(), what: format!("in seed {seed}"), tx: None, at_us: None };
    let mut summary = Summary {
        seed,
        broken: if seed % 10 == 7 { vec![broken; 8] } else { Vec::new() },
        // Never true, but nobody knows.
        committed: if spin == 1 { 0 } else { 40 + seed % 3 },
        simulated_us: 1_500_000,
        ..Summary::default()
    };
    summary.cells.hit(Code::P7, "prepared");
    summary.points.reached.insert("before-answer".into(), 2);
    summary
}

fn report(sweep: &Sweep, jobs: usize) -> Report {
    let sweep = Sweep { jobs: NonZeroUsize::new(jobs), ..sweep.clone() };
    Report { speed: Speed::default(), ..sweep.run_with(&invented, &mut |_| {}) }
}

#[test]
fn the_report_does_not_depend_on_how_many_threads_there_are() {
    for keep_going in [false, true] {
        let sweep = Sweep { keep_going, ..Sweep::new(8, 100) };
        let alone = report(&sweep, 1);
        for _ in 0..10 {
            assert_eq!(report(&sweep, 8), alone);
        }
    }
}

#[test]
fn it_stops_at_the_lowest_seed_that_breaks_a_rule() {
    let found = report(&Sweep::new(8, 100), 4);
    assert_eq!(found.failed.iter().map(|failed| failed.seed).collect::<Vec<_>>(), [17]);
    assert_eq!(found.seeds, 10);
}

#[test]
fn told_to_keep_going_it_finds_all_and_tells_the_first_few_of_each() {
    let found = report(&Sweep { keep_going: true, ..Sweep::new(1, 40) }, 4);
    assert_eq!(found.failed.iter().map(|failed| failed.seed).collect::<Vec<_>>(), [7, 17, 27, 37]);
    assert_eq!((found.failed[0].broken.len(), found.failed[0].more), (5, 3));
    assert_eq!(found.seeds, 40);
}

#[test]
fn everything_is_added_up() {
    let mut heard = 0;
    let sweep = Sweep { keep_going: true, ..Sweep::new(0, 9) };
    let found = sweep.run_with(&invented, &mut |_| heard += 1);
    assert_eq!((heard, found.seeds), (9, 9));
    assert_eq!(found.committed, Committed { mean: 41.0, min: 40, seed_of_min: 0 });
    assert!((found.simulated_s - 13.5).abs() < 1e-9);
    assert_eq!(found.cells.hits(Code::P7, "prepared"), 9);
    assert_eq!(found.points.reached["before-answer"], 18);
    assert_eq!(found.points_never_reached.len(), crash_points().count() - 1);
}

#[test]
fn speed_is_counted_for_each_thread() {
    let summaries = [invented(1), invented(2)];
    let speed = Speed::new(Duration::from_millis(500), 2, summaries.iter());
    assert_eq!(speed, Speed { wall_s: 0.5, jobs: 2, seeds_per_s: 4.0, simulated_s_per_s_and_core: 3.0 });
}

#[test]
fn a_panic_is_a_violation_and_the_next_run_is_as_if_nothing_had_been() {
    let plan = Plan::of_seed(1);
    let sound = examine(&plan);
    let mut panics = plan.clone();
    // Nobody has a disk of this name.
    let what = What::SyncFails { host: Host::Client(200) };
    panics.faults = vec![Fault { when: When::At { ms: 500 }, what }];
    let examined = examine(&panics);
    assert!(examined.run.is_none());
    assert_eq!(examined.broken.iter().map(|broken| broken.rule.as_str()).collect::<Vec<_>>(), ["panic"]);
    assert_eq!(breaks(&panics, "panic").as_deref(), Some("panic"));
    let again = examine(&plan);
    assert_eq!(again.run.map(|run| run.hash), sound.run.map(|run| run.hash));
}
