use super::*;
use crate::plan::{Breaker, Fault, Host, Shape, What, When};

fn at(ms: u64, what: What) -> Fault {
    Fault { when: When::At { ms }, what }
}

fn pause(participant: u8, for_ms: u64) -> What {
    What::Pause { host: Host::Participant(participant), for_ms }
}

/// Nine faults, of which only some matter.
fn large() -> Plan {
    let crash = What::Crash { host: Host::Coordinator, power: true, down_ms: 1_800 };
    let mut faults: Vec<Fault> = (0..7).map(|index| at(500 * index, pause(3, 700 + index))).collect();
    faults.insert(2, at(1_111, crash));
    faults.insert(6, at(2_222, pause(1, 900)));
    Plan { seed: 1, shape: Shape { clients: 5, ..Shape::default() }, faults, mutant: None }
}

fn has_crash_of_at_least(plan: &Plan, least_ms: u64) -> bool {
    plan.faults.iter().any(|fault| matches!(fault.what, What::Crash { down_ms, .. } if down_ms >= least_ms))
}

fn pauses(plan: &Plan, participant: u8) -> bool {
    plan.faults.iter().any(|fault| fault.what.hosts() == [Host::Participant(participant)])
}

fn broken(breaks: bool) -> Option<String> {
    breaks.then(|| "rule".to_owned())
}

#[test]
fn all_that_does_not_matter_is_left_out() {
    let shrunk = shrink(&large(), "rule", 1_000, |plan| {
        let shape = &plan.shape;
        let enough = shape.clients >= 2 && shape.transactions_per_client >= 7 && shape.heal_at_ms >= 3_300;
        broken(enough && has_crash_of_at_least(plan, 400) && pauses(plan, 1))
    });
    let Plan { shape, faults, .. } = &shrunk.plan;
    assert!(shrunk.minimal && shrunk.runs < 100, "{} runs", shrunk.runs);
    assert_eq!((shape.clients, shape.transactions_per_client, shape.participants, shape.keys), (2, 7, 1, 1));
    assert!((3_300..3_500).contains(&shape.heal_at_ms), "{}", shape.heal_at_ms);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(has_crash_of_at_least(&shrunk.plan, 400) && !has_crash_of_at_least(&shrunk.plan, 500), "{faults:?}");
    assert_eq!(faults[1], at(2_222, pause(1, 10)));
}

#[test]
fn a_peculiarity_stays_only_where_it_matters_and_its_participant_is_there() {
    let mut plan = large();
    plan.shape.cannot_prepare = Some(3);
    plan.shape.breaker = Some(Breaker { threshold: 1, pause_ms: 500 });
    let shrunk = shrink(&plan, "rule", 1_000, |plan| broken(plan.shape.breaker.is_some()));
    assert_eq!((shrunk.plan.shape.cannot_prepare, shrunk.plan.shape.breaker.is_some()), (None, true));
    let shrunk = shrink(&plan, "rule", 1_000, |plan| broken(plan.shape.cannot_prepare.is_some()));
    assert_eq!((shrunk.plan.shape.cannot_prepare, shrunk.plan.shape.participants), (Some(3), 3));
}

#[test]
fn faults_that_matter_only_together_all_stay() {
    let shrunk = shrink(&large(), "rule", 1_000, |plan| broken(plan.faults.len() >= 5));
    assert_eq!(shrunk.plan.faults.len(), 5);
}

#[test]
fn another_rule_that_breaks_does_not_count() {
    let shrunk = shrink(&large(), "rule", 1_000, |plan| {
        let rule = if pauses(plan, 1) { "rule" } else { "other" };
        Some(rule.to_owned())
    });
    assert_eq!(shrunk.plan.faults, [at(2_222, pause(1, 10))]);
}

#[test]
fn no_more_runs_are_made_than_granted_and_what_was_found_by_then_is_kept() {
    let mut runs = 0;
    let shrunk = shrink(&large(), "rule", 10, |plan| {
        runs += 1;
        broken(pauses(plan, 1))
    });
    assert_eq!((runs, shrunk.runs, shrunk.minimal), (10, 10, false));
    assert!(pauses(&shrunk.plan, 1) && shrunk.plan.faults.len() < large().faults.len());
}

#[test]
fn what_cannot_be_made_smaller_stays_as_it_is() {
    let plan = large();
    let shrunk = shrink(&plan, "rule", 1_000, |_| None);
    assert_eq!(shrunk.plan, plan);
    assert!(shrunk.minimal);
}

#[test]
fn faults_of_those_who_do_not_take_part_any_more_are_never_run() {
    let mut plan = large();
    plan.faults.push(at(100, What::Takeover { zombie_after_ms: 500 }));
    plan.faults.push(at(900, What::Pause { host: Host::Standby, for_ms: 100 }));
    plan.faults.push(Fault {
        when: When::Point { host: Host::Client(4), point: "nowhere".into(), count: 1, during: None },
        what: What::Forget,
    });
    shrink(&plan, "rule", 1_000, |plan| {
        let takes_over = plan.faults.iter().any(|fault| matches!(fault.what, What::Takeover { .. }));
        for fault in &plan.faults {
            assert!(takes_over || fault.what.hosts() != [Host::Standby], "{fault}");
            assert!(plan.shape.participants >= 3 || fault.what.hosts() != [Host::Participant(3)], "{fault}");
            assert!(plan.shape.clients >= 4 || fault.what != What::Forget, "{fault}");
        }
        broken(plan.shape.keys >= 2)
    });
}

#[test]
fn a_fault_waits_for_no_more_than_matters() {
    let waits = |during: Option<&str>, count| {
        let during = during.map(str::to_owned);
        let when = When::Point { host: Host::Coordinator, point: "before-answer".into(), count, during };
        Plan { faults: vec![Fault { when, what: pause(1, 10) }], ..large() }
    };
    let counts = |plan: &Plan| match plan.faults.first().map(|fault| &fault.when) {
        Some(When::Point { count, during, .. }) => (*count, during.clone()),
        Some(When::At { .. }) | None => (0, None),
    };
    let shrunk = shrink(&waits(Some("stuck"), 9), "rule", 1_000, |plan| broken(counts(plan).0 >= 5));
    assert_eq!(counts(&shrunk.plan), (5, None));
    let shrunk = shrink(&waits(Some("stuck"), 9), "rule", 1_000, |plan| broken(counts(plan).1.is_some()));
    assert_eq!(counts(&shrunk.plan), (1, Some("stuck".to_owned())));
}
