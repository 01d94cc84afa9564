//! The promises of every resource, as a suite that the author of an adapter runs.
//!
//! A [`World`] opens the resource under test and writes work for it. Each rule is a function with the outcome as its
//! name, on a fresh resource. The suite is chosen by what the resource [can do](crate::resource):
//!
//! | function | for a resource that |
//! | --- | --- |
//! | [`steps`] | implements [`Steps`]: every one |
//! | [`attempts`] | has its work done elsewhere |
//! | [`semantic_locks`] | leaves semantic locks |
//! | [`open_sagas`] | takes the steps of [open sagas](Steps::takes_open_sagas) |
//! | [`branches`] | implements [`Branches`] |
//! | [`read_only`] | votes read-only |
//! | [`steps_beside_branches`] | does both, and lets who comes to a lock wait |
//! | [`waits`], [`wait_die`] | lets branches wait for locks; and refuses the younger of two |
//! | [`bounded_results`] | minds the room for its results |
//! | [`unclear`], [`unclear_branches`], [`unclear_ends`] | says that a call was unclear |
//! | [`numbered`] | numbers its writes, so that an older copy of it is noticed |
//! | [`other_hands`] | can be reached by others, who end its branches |
//! | [`late_prepares`] | finds prepared branches by itself |
//!
//! The suite panics at the first promise that is not kept, naming it. Nothing in it depends on speed but lock waits that are
//! meant to run out; a call that does not answer at all within [`PATIENCE`] fails.
//!
//! What the server does for every resource (attempts, low-water marks, messages that come twice) is not asked for here; but
//! sagas run behind the server's own rules, for their barriers are both: decided there, stored by the resource.

mod batches;
mod coexistence;
mod commit;
mod doubt;
mod evidence;
mod gone_branches;
mod late_prepares;
mod life;
mod lock;
mod numbers;
mod open_saga;
mod room;
mod saga;
pub mod server;
mod subject;
mod unclear_calls;

use crate::resource::{BranchId, Branches, Steps};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_vocabulary::{RefusalCode, Timestamp};

/// The time for which the suite waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The place where the resource under test lives.
///
/// Its work is small: keys and values are short texts, save a value of 20,000 characters to see what is done without room
/// for it.
pub trait World {
    type Resource: Steps;

    /// Opens an empty resource of its own, not recovered yet.
    fn fresh(&mut self) -> impl Future<Output = Self::Resource>;

    /// Opens the last resource again, as a crash left it: with all that was durable, and best without what was not. The suite
    /// has dropped it before, and recovers it after.
    fn reopen(&mut self) -> impl Future<Output = Self::Resource>;

    /// Reads the committed value of a key that nobody has locked.
    fn read(&self, resource: &Arc<Self::Resource>, key: &str) -> impl Future<Output = Option<String>>;

    /// Returns work that sets a value.
    fn put(&self, key: &str, value: &str) -> Bytes;

    /// Returns work that reads a value.
    fn get(&self, key: &str) -> Bytes;

    /// Returns work that adds to a number, absent counting as 0, and is refused where the sum is below the floor.
    fn add(&self, key: &str, delta: i64, floor: Option<i64>) -> Bytes;

    /// Returns work of a step's action that sets a value and leaves a semantic lock; `None` where the resource has none.
    fn put_pending(&self, _key: &str, _value: &str) -> Option<Bytes> {
        None
    }

    /// Returns the value in the result of a [`get`](Self::get) or [`add`](Self::add).
    fn value(&self, result: &Bytes) -> Option<String>;

    /// Returns whether the work is done by somebody else, so that its barrier says that it was
    /// [attempted](crate::resource::StepState::Attempted) before it says that it is done.
    fn works_elsewhere(&self) -> bool {
        false
    }
}

/// A world of a resource that takes part in two-phase commit.
pub trait BranchWorld: World<Resource: Branches> {
    /// Tells how the resource treats those who come to a lock that is taken.
    fn locking(&self) -> Locking;

    /// Returns whether work that wrote nothing is voted read-only in two phases.
    fn votes_read_only(&self) -> bool {
        true
    }

    /// Returns whether what is in doubt is recovered with the result it voted with.
    fn keeps_results(&self) -> bool {
        true
    }
}

/// A world in which answers of the resource can be lost.
pub trait UnclearWorld: BranchWorld {
    /// Makes the next call of the resource unclear: it takes effect, or takes none.
    fn lose_the_next_answer(&self, resource: &Self::Resource, takes_effect: bool);
}

/// A world in which somebody else ends branches, in the resource itself.
pub trait SharedWorld: BranchWorld {
    /// Commits or undoes a prepared branch without the adapter's doing.
    fn end_by_another_hand(
        &self,
        resource: &Self::Resource,
        branch: &BranchId,
        commit: bool,
    ) -> impl Future<Output = ()>;
}

/// A world in which a prepare can land though nobody waits for it any more.
pub trait LateWorld: BranchWorld {
    /// Prepares a branch that sets a value, as a session does whose client is gone: without the adapter's doing.
    fn land_late(
        &self,
        resource: &Self::Resource,
        branch: &BranchId,
        begun_at: Timestamp,
        key: &str,
        value: &str,
    ) -> impl Future<Output = ()>;
}

/// The way in which a branch is treated that comes to a lock which another holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// The older of the two waits, the younger is refused (R12).
    WaitDie,
    /// The branch waits, until its timeout at the latest.
    BoundedWaits,
}

impl Locking {
    /// Returns what the youngest hears that waits for a lock for a short time.
    fn refuses_with(self) -> RefusalCode {
        match self {
            Locking::WaitDie => RefusalCode::LockConflict,
            Locking::BoundedWaits => RefusalCode::LockTimeout,
        }
    }
}

/// Runs the rules of a resource that runs the steps of sagas.
///
/// # Panics
/// At the first promise that the resource does not keep, as all functions here do.
pub async fn steps<W: World>(world: &mut W) {
    life::the_highest_epoch_survives_a_crash(world).await;
    life::the_last_pin_of_a_coordinator_survives_a_crash_with_its_epoch(world).await;
    life::a_resource_of_another_participant_is_refused(world).await;
    life::its_own_work_in_the_background_ends_when_it_is_told_to_stop(world).await;
    saga::a_barrier_and_its_work_are_stored_together(world).await;
    saga::an_action_that_comes_twice_runs_once_and_is_answered_the_same(world).await;
    saga::an_action_that_only_reads_is_remembered_too(world).await;
    saga::a_compensation_that_comes_twice_undoes_once(world).await;
    saga::a_compensation_before_its_action_is_empty_and_the_action_changes_nothing(world).await;
    saga::a_refused_action_leaves_nothing_behind_and_may_succeed_later(world).await;
    saga::a_refused_compensation_leaves_the_action_in_effect(world).await;
    saga::steps_of_one_saga_are_independent(world).await;
    saga::a_low_water_mark_drops_the_barriers_below_it_and_nothing_else(world).await;
    saga::what_is_still_open_below_a_low_water_mark_stays_until_it_is_over(world).await;
}

/// Runs the rules of a resource whose [work is done elsewhere](World::works_elsewhere).
pub async fn attempts<W: World>(world: &mut W) {
    assert!(world.works_elsewhere(), "the world says that its work is done elsewhere");
    saga::an_action_that_was_cut_short_is_asked_again_and_takes_effect_once(world).await;
    saga::an_action_that_was_cut_short_is_undone_whether_or_not_it_took_effect(world).await;
}

/// Runs the rules of a resource whose steps leave semantic locks.
pub async fn semantic_locks<W: World>(world: &mut W) {
    saga::semantic_locks_last_until_their_saga_or_their_step_is_over(world).await;
    saga::semantic_locks_are_listed_until_an_operator_releases_those_of_a_saga(world).await;
}

/// Runs the rules of a resource that takes the steps of open sagas.
pub async fn open_sagas<W: World>(world: &mut W) {
    open_saga::a_resource_that_takes_the_steps_of_open_sagas_says_so(world).await;
    open_saga::a_completion_that_comes_twice_completes_once(world).await;
    open_saga::a_refused_completion_leaves_the_action_in_effect_and_may_succeed_later(world).await;
    open_saga::what_was_done_elsewhere_is_ended_once(world).await;
    open_saga::a_refused_end_of_what_was_done_elsewhere_leaves_nothing_behind_and_may_succeed_later(world).await;
    open_saga::an_end_and_its_barrier_are_stored_together(world).await;
    open_saga::a_low_water_mark_drops_the_ends_below_it(world).await;
    open_saga::ends_of_what_is_still_open_below_a_low_water_mark_stay(world).await;
    open_saga::semantic_locks_end_with_their_steps_completion(world).await;
}

/// Runs the rules of a resource that takes part in two-phase commit.
pub async fn branches<W: BranchWorld>(world: &mut W) {
    commit::what_is_prepared_is_seen_only_once_committed(world).await;
    commit::a_commit_survives_a_crash_and_may_be_repeated(world).await;
    commit::an_abort_undoes_and_may_be_repeated_or_be_for_something_unknown(world).await;
    commit::a_condition_that_does_not_hold_is_refused_and_leaves_nothing_behind(world).await;
    commit::work_in_one_phase_is_committed_at_once_and_remembered_with_its_result(world).await;
    commit::reading_in_one_phase_leaves_no_trace(world).await;
    doubt::a_prepared_branch_survives_a_crash_with_its_locks(world).await;
    doubt::a_branch_in_doubt_commits_after_a_crash(world).await;
    doubt::a_branch_in_doubt_aborts_after_a_crash(world).await;
    doubt::an_operators_commit_is_done_and_kept_until_it_is_forgotten(world).await;
    doubt::an_operators_abort_is_done_and_kept_until_it_is_forgotten(world).await;
    doubt::a_low_water_mark_drops_what_is_finished_below_it_and_nothing_else(world).await;
    batches::branches_that_come_together_are_each_voted_and_committed(world).await;
    batches::branches_prepared_together_survive_a_crash(world).await;
}

/// Runs the rules of a resource that votes read-only on work that wrote nothing.
pub async fn read_only<W: BranchWorld>(world: &mut W) {
    lock::a_read_only_branch_keeps_its_locks_until_it_is_confirmed(world).await;
    lock::a_read_only_branch_that_has_lost_its_locks_says_so(world).await;
    lock::aborting_a_read_only_branch_frees_its_locks(world).await;
}

/// Runs the rules of a resource where branches and steps wait for locks: every wait ends in time.
pub async fn waits<W: BranchWorld>(world: &mut W) {
    lock::an_older_transaction_waits_for_a_younger_one_and_sees_what_it_did(world).await;
    lock::a_wait_for_locks_ends_at_its_timeout(world).await;
    lock::a_wait_that_is_cancelled_ends_and_leaves_nothing_behind(world).await;
    batches::what_keeps_one_branch_waiting_keeps_no_other(world).await;
}

/// Runs the rules of a resource that takes part both ways: steps and branches have locks of their own, and meet at them.
pub async fn steps_beside_branches<W: BranchWorld>(world: &mut W) {
    coexistence::a_branch_prepared_under_the_same_id_keeps_its_locks(world).await;
    coexistence::an_actions_wait_for_locks_ends_when_it_has_to(world).await;
}

/// Runs the rule of a resource that lets the older of two wait and refuses the younger.
pub async fn wait_die<W: BranchWorld>(world: &mut W) {
    assert_eq!(world.locking(), Locking::WaitDie, "the world says how its resource locks");
    lock::a_younger_transaction_is_refused_where_an_older_one_has_the_lock(world).await;
}

/// Runs the rules of a resource that asks for room before it computes a large result.
pub async fn bounded_results<W: BranchWorld>(world: &mut W) {
    room::work_without_room_for_its_result_leaves_nothing_behind(world).await;
    room::of_branches_that_come_together_those_without_room_are_handed_back(world).await;
    room::an_action_without_room_for_its_result_leaves_nothing_behind(world).await;
}

/// Runs the rules of a resource that says that a call was unclear.
pub async fn unclear<W: UnclearWorld>(world: &mut W) {
    unclear_branches(world).await;
    unclear_calls::what_became_of_an_unclear_action_is_told(world).await;
    unclear_calls::what_became_of_an_unclear_compensation_is_told(world).await;
}

/// Runs those of these rules that are about branches.
pub async fn unclear_branches<W: UnclearWorld>(world: &mut W) {
    unclear_calls::an_unclear_prepare_is_over_once_it_is_aborted(world).await;
    unclear_calls::what_became_of_an_unclear_branch_in_one_phase_is_told(world).await;
    unclear_calls::an_unclear_commit_may_be_repeated(world).await;
}

/// Runs those of these rules that are about the steps of open sagas.
pub async fn unclear_ends<W: UnclearWorld>(world: &mut W) {
    unclear_calls::what_became_of_an_unclear_completion_is_told(world).await;
    unclear_calls::what_became_of_an_unclear_end_of_what_was_done_elsewhere_is_told(world).await;
}

/// Runs the rules of a resource that numbers its writes.
pub async fn numbered<W: BranchWorld>(world: &mut W) {
    numbers::each_answer_is_held_after_a_crash_and_more_would_be_missed(world).await;
    numbers::rows_that_are_collected_are_not_missed(world).await;
    numbers::ends_of_steps_are_held_after_a_crash_and_not_missed_once_collected(world).await;
    numbers::a_sign_of_an_older_copy_is_kept_until_the_loss_is_accepted(world).await;
}

/// Runs the rules of a resource that others can reach, who end its branches.
pub async fn other_hands<W: SharedWorld>(world: &mut W) {
    gone_branches::a_commit_of_what_another_hand_has_undone_says_so(world).await;
    gone_branches::an_abort_of_what_another_hand_has_committed_says_so(world).await;
    gone_branches::an_abort_of_what_another_hand_has_committed_says_so_after_a_crash(world).await;
    gone_branches::what_another_hand_has_ended_as_decided_is_as_told(world).await;
    evidence::what_another_hand_has_committed_is_reported_after_crashes(world).await;
}

/// Runs the rules of a resource that [finds](crate::resource::Branches::found) prepared branches by itself.
pub async fn late_prepares<W: LateWorld>(world: &mut W) {
    late_prepares::a_prepare_that_lands_late_is_found_and_ends_as_it_is_told(world).await;
    late_prepares::a_prepare_that_landed_late_survives_a_crash(world).await;
}

/// Runs what a key-value store with wait-die has to keep: all but what needs a world of its own.
pub async fn conformance<W: BranchWorld>(world: &mut W) {
    branches(world).await;
    wait_die(world).await;
    waits(world).await;
    read_only(world).await;
    steps(world).await;
    steps_beside_branches(world).await;
    semantic_locks(world).await;
    open_sagas(world).await;
    bounded_results(world).await;
}
