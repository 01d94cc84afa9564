//! Two-phase commit and sagas, orchestration and choreography under the same failures: what theory predicts is what is measured.

use undoubt_sim_tests::compare::trips::{self, Way};
use undoubt_sim_tests::compare::{FAILURES, OUTAGE_MS, Row, compare};
use undoubt_sim_tests::plan::Mode;

/// Enough that a median tells: in some seeds the vote that a failure strikes after is lost with the connection, or was a refusal.
const SEEDS: u64 = 7;

/// What events make of a trip differs little from seed to seed.
const SEEDS_OF_TRIPS: u64 = 3;

#[test]
fn locks_of_two_phase_commit_last_as_long_as_the_outage_and_those_of_a_saga_do_not_but_others_see_it_half_done() {
    let rows = compare(1, SEEDS, None, &|| {});
    let of = |failure: &str, mode: Mode| -> &Row {
        rows.iter()
            .find(|row| row.failure.starts_with(failure) && row.mode == mode)
            .expect("every failure has every mode")
    };
    let anomalies =
        |mode: Mode| -> u64 { rows.iter().filter(|row| row.mode == mode).flat_map(|row| row.anomalies.values()).sum() };
    for row in &rows {
        assert_eq!(row.struck, SEEDS, "{}, {:?}: the failure did not strike everywhere", row.failure, row.mode);
    }
    for failure in ["coordinator dies after votes, for a while", "participant dies while prepared", "partition after"] {
        let (two_phase, saga) = (of(failure, Mode::TwoPhase), of(failure, Mode::Saga));
        assert!(two_phase.lock_longest_ms >= OUTAGE_MS, "{two_phase:?}");
        assert!(saga.lock_longest_ms < OUTAGE_MS / 10, "{saga:?}");
        assert!(two_phase.blocked_transactions > saga.blocked_transactions, "{two_phase:?} {saga:?}");
    }
    let for_good = "coordinator dies after votes, for good";
    assert!(of(for_good, Mode::Saga).atomic < SEEDS, "a saga that nobody carries on is left half done");
    for row in rows.iter().filter(|row| row.mode == Mode::TwoPhase || row.failure != for_good) {
        assert_eq!(row.atomic, SEEDS, "{}, {:?}", row.failure, row.mode);
    }
    assert_eq!(anomalies(Mode::TwoPhase), 0, "two-phase commit is serializable");
    assert!(anomalies(Mode::Saga) > 0, "a saga is not isolated");
    assert!(anomalies(Mode::GuardedSaga) < anomalies(Mode::Saga), "semantic locks help");
    assert_eq!(rows.len(), 4 * FAILURES.len());
}

#[test]
fn events_are_faster_than_a_coordinator_and_go_on_without_it_which_needs_fewer_messages_knows_earlier_of_a_failure_and_couples_nobody()
 {
    let report = trips::compare(1, SEEDS_OF_TRIPS, None, &|| {});
    let cost = |way, steps| report.costs.iter().find(|cost| (cost.way, cost.steps) == (way, steps)).unwrap();
    let row = |failure: &str, way| {
        report
            .rows
            .iter()
            .find(|row| row.failure.starts_with(failure) && row.way == way)
            .expect("every failure has every way")
    };
    for row in &report.rows {
        assert_eq!(row.struck, SEEDS_OF_TRIPS, "{}, {:?}: the failure did not strike everywhere", row.failure, row.way);
        if row.failure != "the second participant dies, for good" {
            assert_eq!(row.atomic, SEEDS_OF_TRIPS, "{}, {:?}", row.failure, row.way);
        }
    }
    for steps in trips::STEPS {
        let (orchestrated, chain) = (cost(Way::Orchestrated, steps), cost(Way::Chain, steps));
        assert!(chain.latency_ms < orchestrated.latency_ms, "{chain:?} {orchestrated:?}");
        assert_eq!(orchestrated.messages, f64::from(2 * steps + 2), "two for each step, and two of the client");
        // Each reaction is told all events of the topics that it reads.
        assert!(orchestrated.messages < chain.messages, "{chain:?} {orchestrated:?}");
        assert!(cost(Way::Broadcast, steps).messages >= chain.messages);
        assert_eq!(orchestrated.couplings.events_known, 0);
    }
    let longest = *trips::STEPS.end();
    assert!(cost(Way::Broadcast, longest).couplings.events_known > cost(Way::Chain, longest).couplings.events_known);
    let share = |row: &trips::Row| row.went_on as f64 / row.under_way.max(1) as f64;
    let coordinator = "the coordinator dies";
    assert!(share(row(coordinator, Way::Chain)) > share(row(coordinator, Way::Orchestrated)));
    let participant = "the second participant dies, for a while";
    let (orchestrated, chain) = (row(participant, Way::Orchestrated), row(participant, Way::Chain));
    assert!(orchestrated.noticed_after_ms.unwrap() < chain.noticed_after_ms.unwrap(), "{orchestrated:?} {chain:?}");
    assert!(!trips::conclusions(&report).is_empty());
}
