//! What applications prepare by themselves.

use crate::nothing_breaks;
use undoubt_explore::Scenario;

#[test]
fn what_an_application_has_prepared_commits_with_the_others_and_no_late_answer_undoes_it() {
    nothing_breaks(Scenario::enlisted_and_adopted());
}

#[test]
fn what_is_prepared_at_any_time_is_adopted_or_undone() {
    nothing_breaks(Scenario::enlisted_among_others());
}

#[test]
fn what_is_prepared_for_a_transaction_that_is_cancelled_is_undone() {
    nothing_breaks(Scenario::enlisted_and_cancelled());
}

#[test]
fn what_never_joins_is_undone_once_its_transaction_has_ended_and_not_before() {
    nothing_breaks(Scenario::enlisted_and_left());
}

#[test]
fn what_is_prepared_under_an_id_that_nobody_has_begun_is_undone() {
    nothing_breaks(Scenario::enlisted_for_nobody());
}

#[test]
fn what_is_prepared_for_a_coordinator_that_was_never_there_is_undone_without_asking() {
    nothing_breaks(Scenario::enlisted_for_a_stranger());
}
