//! What every [`ResourceManager`] must do, as a suite that the author of any adapter runs.
//!
//! A [`World`] opens the resource under test and writes work for it. Each rule is a function with the outcome as its
//! name, on a fresh resource; [`conformance`] runs all. The suite panics at the first promise that is not kept, naming
//! it. Nothing in it depends on speed but one lock wait, which is meant to run out; a call that does not answer at all
//! within [`PATIENCE`] fails.
//!
//! What the server does for every resource manager (tickets, fences, messages that come twice) is not asked for here; but
//! sagas run behind the server's own rules, for their barriers are both: decided there, stored by the resource manager.

mod commit;
mod doubt;
mod lock;
mod room;
mod saga;
pub mod server;
mod subject;
mod together;

use crate::resource::ResourceManager;
use bytes::Bytes;
use std::time::Duration;

/// How long the suite waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where the resource under test lives.
///
/// Its work is small: keys and values are short texts, save a value of 20,000 characters to see what is done without room
/// for it.
pub trait World {
    type Resource: ResourceManager;

    /// An empty resource of its own, not recovered yet.
    fn fresh(&mut self) -> impl Future<Output = Self::Resource>;

    /// The resource opened last, as a crash left it: with all that was forced, and best without what was not. The suite
    /// has dropped it before, and recovers it after.
    fn reopen(&mut self) -> impl Future<Output = Self::Resource>;

    /// Work that sets a value.
    fn put(&self, key: &str, value: &str) -> Bytes;

    /// Work that reads a value.
    fn get(&self, key: &str) -> Bytes;

    /// Work that adds to a number, absent counting as 0, and is refused where the sum is below the floor.
    fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes;

    /// Work of a step's action that sets a value and leaves a semantic lock; `None` where the resource has none.
    fn put_pending(&self, _key: &str, _value: &str) -> Option<Bytes> {
        None
    }

    /// The value in the result of a [`get`](Self::get) or [`add`](Self::add).
    fn value(&self, result: &Bytes) -> Option<String>;
}

/// Runs every rule.
///
/// # Panics
/// At the first promise that the resource manager does not keep.
pub async fn conformance<W: World>(world: &mut W) {
    commit::what_is_prepared_is_seen_only_once_committed(world).await;
    commit::a_commit_survives_a_crash_and_may_be_repeated(world).await;
    commit::an_abort_undoes_and_may_be_repeated_or_be_for_something_unknown(world).await;
    commit::a_condition_that_does_not_hold_is_refused_and_leaves_nothing_behind(world).await;
    commit::work_in_one_phase_is_committed_at_once_and_remembered_with_its_result(world).await;
    commit::reading_in_one_phase_leaves_no_trace(world).await;
    lock::a_younger_transaction_is_refused_where_an_older_one_has_the_lock(world).await;
    lock::an_older_transaction_waits_for_a_younger_one_and_sees_what_it_did(world).await;
    lock::a_wait_for_locks_ends_at_its_timeout(world).await;
    lock::a_wait_that_is_cancelled_ends_and_leaves_nothing_behind(world).await;
    lock::a_read_only_branch_keeps_its_locks_until_it_is_released(world).await;
    lock::aborting_a_read_only_branch_frees_its_locks(world).await;
    doubt::a_prepared_branch_survives_a_crash_with_its_locks(world).await;
    doubt::a_branch_in_doubt_commits_after_a_crash(world).await;
    doubt::a_branch_in_doubt_aborts_after_a_crash(world).await;
    doubt::an_operators_commit_is_done_and_kept_until_it_is_forgotten(world).await;
    doubt::an_operators_abort_is_done_and_kept_until_it_is_forgotten(world).await;
    doubt::a_fence_drops_what_is_finished_below_it_and_nothing_else(world).await;
    doubt::the_highest_epoch_survives_a_crash(world).await;
    together::branches_that_come_together_are_each_voted_and_committed(world).await;
    together::branches_prepared_together_survive_a_crash(world).await;
    together::what_keeps_one_branch_waiting_keeps_no_other(world).await;
    room::work_without_room_for_its_result_leaves_nothing_behind(world).await;
    room::of_branches_that_come_together_those_without_room_are_handed_back(world).await;
    saga::a_barrier_and_its_work_are_stored_together(world).await;
    saga::an_action_that_comes_twice_runs_once_and_is_answered_the_same(world).await;
    saga::an_action_that_only_reads_is_remembered_too(world).await;
    saga::a_compensation_that_comes_twice_undoes_once(world).await;
    saga::a_compensation_before_its_action_is_empty_and_the_action_changes_nothing(world).await;
    saga::a_refused_action_leaves_nothing_behind_and_may_succeed_later(world).await;
    saga::a_refused_compensation_leaves_the_action_in_effect(world).await;
    saga::steps_of_one_saga_are_independent(world).await;
    saga::a_branch_prepared_under_the_same_id_keeps_its_locks(world).await;
    saga::an_actions_wait_for_locks_ends_when_it_has_to(world).await;
    saga::semantic_locks_last_until_their_saga_or_their_step_is_over(world).await;
    saga::semantic_locks_are_listed_until_an_operator_releases_those_of_a_saga(world).await;
    saga::a_fence_drops_the_barriers_below_it_and_nothing_else(world).await;
    room::an_action_without_room_for_its_result_leaves_nothing_behind(world).await;
}
