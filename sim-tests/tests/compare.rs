//! Two-phase commit and sagas under the same failures: what theory predicts is what is measured.

use undoubt_sim_tests::compare::{FAILURES, OUTAGE_MS, Row, compare};
use undoubt_sim_tests::plan::Mode;

/// Enough that a median tells: in some seeds the vote that a failure strikes after is lost with the connection, or was a refusal.
const SEEDS: u64 = 7;

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
