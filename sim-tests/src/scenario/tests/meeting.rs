//! Faults that meet.

use crate::check::check_all;
use crate::plan::{Fault, Host, Plan, Shape, What, When};
use crate::run::Run;
use crate::trace::Event;
use crate::world::simulate;

const COORDINATOR: Host = Host::Coordinator;
const P1: Host = Host::Participant(1);

fn run(faults: &[(u64, What)]) -> Run {
    let shape = Shape { think_ms: 200, heal_at_ms: 4_500, sagas_percent: 30, ..Shape::default() };
    let faults = faults.iter().map(|(ms, what)| Fault { when: When::At { ms: *ms }, what: what.clone() }).collect();
    simulate(&Plan { seed: 7, shape, faults, mutant: None })
}

fn broken(run: &Run) -> Vec<String> {
    check_all(run).into_iter().map(|broken| format!("{}: {}", broken.rule, broken.what)).collect()
}

/// Moments of a host's life before the healing.
fn times(run: &Run, host: Host, is: fn(&Event) -> bool) -> Vec<u64> {
    let until_healed = run.trace.iter().take_while(|entry| entry.event != Event::Healed);
    until_healed.filter(|entry| entry.host == Some(host) && is(&entry.event)).map(|entry| entry.at_us).collect()
}

#[test]
fn what_happens_to_a_disk_ends_whoever_has_taken_it_over() {
    let host = COORDINATOR;
    let of_the_disk = [
        What::LyingSyncs { host, for_ms: 10 },
        What::Crash { host, power: true, down_ms: 10 },
        What::RolledBack { host, frames: 2 },
        What::BitFlip { host, at_permille: 500, repaired_after_ms: 10 },
        What::Wiped { host },
        What::Swapped { host, with: P1, repaired_after_ms: 10 },
    ];
    for what in of_the_disk {
        let run = run(&[(500, What::Takeover { zombie_after_ms: 100 }), (2_000, what.clone())]);
        let crashed = times(&run, Host::Standby, |event| matches!(event, Event::Crashed { .. }));
        let started = times(&run, Host::Standby, |event| *event == Event::Started);
        assert_eq!((crashed.len(), started.len()), (1, 2), "{what}");
        assert!(started[0] < crashed[0] && crashed[0] < started[1], "{what}");
        assert_eq!(broken(&run), [""; 0], "{what}");
    }
}

#[test]
fn a_coordinator_that_has_forgotten_its_starts_is_held_until_an_operator_accepts_the_loss() {
    let crash = What::Crash { host: COORDINATOR, power: false, down_ms: 10 };
    let forgets = What::RolledBack { host: COORDINATOR, frames: 2 };
    let shape = Shape { think_ms: 10_000, ..Shape::default() };
    let faults = [(300, crash.clone()), (600, crash.clone()), (900, crash), (1_200, forgets)];
    let faults = faults.into_iter().map(|(ms, what)| Fault { when: When::At { ms }, what }).collect();
    let run = simulate(&Plan { seed: 7, shape, faults, mutant: None });
    let serves = times(&run, COORDINATOR, |event| *event == Event::Serving);
    assert!(serves.last().is_some_and(|at_us| *at_us < 1_200_000), "it serves before the healing: {serves:?}");
    assert!(!run.finals.accepted.is_empty(), "nobody has held it");
    assert_eq!(broken(&run), [""; 0]);
}

#[test]
fn the_end_of_a_zombies_process_is_not_that_of_its_successor() {
    let crash = What::Crash { host: COORDINATOR, power: false, down_ms: 10 };
    let run = run(&[(500, What::Takeover { zombie_after_ms: 1_000 }), (1_000, crash)]);
    assert_eq!(times(&run, COORDINATOR, |event| matches!(event, Event::Crashed { .. })).len(), 1);
    assert_eq!(times(&run, Host::Standby, |event| matches!(event, Event::Crashed { .. })), [0; 0]);
    assert_eq!(broken(&run), [""; 0]);
}

#[test]
fn a_disk_that_is_wiped_in_anothers_machine_is_its_owners_again_and_empty() {
    for (wiped, owner) in [(P1, COORDINATOR), (COORDINATOR, P1)] {
        let swapped = What::Swapped { host: COORDINATOR, with: P1, repaired_after_ms: 1_500 };
        let run = run(&[(1_000, swapped), (1_500, What::Wiped { host: wiped })]);
        let notices = |event: &Event| matches!(event, Event::Stopped { why } if why.contains("empty disk"));
        assert!(!times(&run, wiped, notices).is_empty(), "{wiped} does not make it its own");
        if owner == COORDINATOR {
            // Its name is known with another log, so it is held until an operator accepts that.
            assert!(!run.finals.accepted.is_empty());
        } else {
            // It had acknowledged nothing yet.
            let serves = times(&run, owner, |event| *event == Event::Serving);
            assert!(serves.last().is_some_and(|at_us| *at_us > 2_500_000), "{owner} serves again");
        }
        assert_eq!(broken(&run), [""; 0], "{wiped}");
    }
}
