//! What the key-value store makes of sagas, beyond what every resource has to.

use super::world::{encoded, operation, put_of, put_pending};
use super::*;
use undoubt_participant::resource::{FinishedBranch, Kept, RecoveredStep, StepState};
use undoubt_participant::table::Barrier;
use undoubt_platform::Direction as ScanDirection;
use undoubt_proto::work::{CompareAndSet, Delete, Get, Operation, Reference};
use undoubt_vocabulary::{BranchOutcome, Direction, StepIndex};
use undoubt_work::{Results, Value};

/// A saga began at the moment of its number, and has it as its attempt number.
fn step(saga: u64, index: u16) -> StepId {
    let BranchId { tx, attempt_number, coordinator } = branch(OWNER, saga);
    StepId { coordinator, attempt_number, step: StepIndex(index), tx }
}

fn run(step: &StepId, direction: Direction, work: Bytes, inputs: &[Bytes]) -> RunStep {
    let StepId { coordinator: _, attempt_number, step, tx } = step.clone();
    let (begun_at, timeout) = (Timestamp(attempt_number.0), Duration::from_secs(60));
    RunStep {
        tx,
        attempt_number,
        step,
        direction,
        acted_elsewhere: false,
        check_back: false,
        attempt: 1,
        begun_at,
        timeout,
        work,
        inputs: inputs.to_vec(),
    }
}

impl Fixture {
    async fn act_with(&self, step: &StepId, work: Bytes, inputs: &[Bytes]) -> Result<StepOutcome, ResourceError> {
        self.kv.act(step.clone(), run(step, Direction::Forward, work, inputs), CancellationToken::new()).await
    }

    async fn act(&self, step: &StepId, work: Bytes) -> Bytes {
        acted(self.act_with(step, work, &[]).await)
    }

    async fn act_refused(&self, step: &StepId, work: Bytes, inputs: &[Bytes]) -> Refusal {
        refused(self.act_with(step, work, inputs).await)
    }

    async fn undo(&self, step: &StepId, work: Bytes, inputs: &[Bytes]) -> Result<StepOutcome, ResourceError> {
        self.kv.compensate(step.clone(), run(step, Direction::Compensating, work, inputs)).await
    }

    async fn close(&self, saga: u64) {
        let BranchId { tx, attempt_number, coordinator } = branch(OWNER, saga);
        self.kv.close_saga(coordinator, attempt_number, tx).await.unwrap();
    }

    /// What a branch that respects semantic locks is told about this key.
    async fn is_pending(&self, key: &str) -> bool {
        match self.execute(Execution::OnePhase, &branch(OWNER, 1_000_000), respectful_get(key)).await.unwrap() {
            Vote::Refused(refusal) => {
                assert_eq!(refusal.code, RefusalCode::Pending, "{refusal}");
                true
            }
            Vote::ReadOnly { .. } => false,
            other @ (Vote::Prepared { .. } | Vote::Committed { .. }) => panic!("{other:?}"),
        }
    }
}

fn acted(outcome: Result<StepOutcome, ResourceError>) -> Bytes {
    match outcome.unwrap() {
        StepOutcome::Done { result, .. } => result,
        other @ (StepOutcome::Empty | StepOutcome::Refused(_)) => panic!("{other:?}"),
    }
}

fn refused(outcome: Result<StepOutcome, ResourceError>) -> Refusal {
    match outcome.unwrap() {
        StepOutcome::Refused(refusal) => refusal,
        other @ (StepOutcome::Empty | StepOutcome::Done { .. }) => panic!("{other:?}"),
    }
}

fn respectful_get(key: &str) -> Bytes {
    encoded([Operation { respect_pending: true, ..operation(key, Kind::Get(Get {})) }])
}

fn from(input: u32, operation: u32) -> Option<Reference> {
    Some(Reference { input, operation, ..Reference::default() })
}

fn results(values: &[Option<&'static str>]) -> Bytes {
    let values = values.iter().map(|value| Value::from(value.map(Bytes::from)));
    Results::encode(&values.collect::<Vec<_>>())
}

fn put_from(reference: Option<Reference>) -> Kind {
    Kind::Put(Put { value_from: reference, ..Put::default() })
}

fn suffixed(key: &str, reference: Option<Reference>, kind: Kind) -> Bytes {
    encoded([Operation { key_suffix_from: reference, ..operation(key, kind) }])
}

#[tokio::test]
async fn a_step_uses_what_earlier_ones_read_as_keys_and_as_values() {
    let fixture = Fixture::new().await;
    let inputs = [results(&[None, Some("42")]), results(&[Some("ada")])];
    let work = encoded([
        Operation { key_suffix_from: from(0, 1), ..operation("order-", put_from(from(1, 0))) },
        operation("plain", put_of("v")),
    ]);
    acted(fixture.act_with(&step(1, 0), work, &inputs).await);
    assert_eq!(fixture.read("order-42").await.as_deref(), Some("ada"));
    acted(fixture.act_with(&step(2, 0), suffixed("", from(1, 0), put_of("whole")), &inputs).await);
    assert_eq!(fixture.read("ada").await.as_deref(), Some("whole"));
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test]
async fn a_step_tells_what_it_brought_along_and_later_ones_use_it_and_a_branch_does_not_tell_it() {
    let fixture = Fixture::new().await;
    let work = || encoded([operation("k", put_of("v")), operation("k", Kind::Get(Get {}))]);
    let told = fixture.act(&step(1, 0), work()).await;
    assert_eq!(told, results(&[Some("v"), Some("v")]));
    acted(fixture.act_with(&step(2, 0), encoded([operation("copy", put_from(from(0, 0)))]), &[told]).await);
    assert_eq!(fixture.read("copy").await.as_deref(), Some("v"));
    let vote = fixture.vote(&branch(OWNER, 3), work()).await.unwrap();
    assert_eq!(vote, Vote::Prepared { result: results(&[None, Some("v")]) });
}

#[tokio::test]
async fn a_value_is_reread_and_set_only_if_it_is_still_what_an_earlier_step_saw() {
    let fixture = Fixture::new().await;
    let seen = [results(&[Some("old"), None])];
    let set = |expected, value| {
        let kind = CompareAndSet { expected: None, value: None, expected_from: expected, value_from: value };
        work([("k", Kind::CompareAndSet(kind))])
    };
    let refusal = fixture.act_refused(&step(1, 0), set(from(0, 0), None), &seen).await;
    assert_eq!(refusal.code, RefusalCode::Condition, "nothing is there, where the step saw 'old': {refusal}");
    acted(fixture.act_with(&step(2, 0), set(from(0, 1), from(0, 0)), &seen).await);
    assert_eq!(fixture.read("k").await.as_deref(), Some("old"), "the step saw nothing, and nothing was there");
    acted(fixture.act_with(&step(3, 0), set(from(0, 0), from(0, 1)), &seen).await);
    assert_eq!(fixture.read("k").await, None, "no value stands for no value");
}

#[tokio::test]
async fn a_compensation_restores_what_its_own_action_read() {
    let fixture = Fixture::new().await;
    fixture.act(&step(1, 0), put("k", "before")).await;
    let change = work([("k", Kind::Get(Get {})), ("k", put_of("after"))]);
    let result = fixture.act(&step(2, 0), change).await;
    let restore = work([("k", put_from(from(0, 0)))]);
    acted(fixture.undo(&step(2, 0), restore, &[result]).await);
    assert_eq!(fixture.read("k").await.as_deref(), Some("before"));
}

#[tokio::test]
async fn a_reference_to_what_is_not_there_is_refused_with_its_place() {
    let fixture = Fixture::new().await;
    let inputs = [results(&[None, Some("v")]), Bytes::from_static(b"\xff")];
    let both = Kind::Put(Put { value: Bytes::from_static(b"v"), value_from: from(0, 1), value_in_branch: None });
    let long = suffixed(&"k".repeat(1_024), from(0, 1), Kind::Get(Get {}));
    for (work, code, told) in [
        (work([("k", put_from(from(2, 0)))]), RefusalCode::InvalidWork, "input 2 is referred to, but there are 2"),
        (work([("k", put_from(from(0, 2)))]), RefusalCode::InvalidWork, "result 2 of input 0"),
        (work([("k", put_from(from(1, 0)))]), RefusalCode::InvalidWork, "input 1 is no undoubt.work.v1.Results"),
        (work([("k", both)]), RefusalCode::InvalidWork, "give one of the two"),
        (suffixed("k", from(0, 0), Kind::Get(Get {})), RefusalCode::InvalidWork, "has no value"),
        (suffixed("k", from(9, 0), Kind::Delete(Delete {})), RefusalCode::InvalidWork, "input 9"),
        (long, RefusalCode::TooLarge, "1025 bytes"),
    ] {
        let refusal = fixture.act_refused(&step(1, 0), work, &inputs).await;
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.detail.contains(told), "{told:?} is not told: {refusal}");
    }
    let refusal = fixture.refusal(&branch(OWNER, 1), work([("k", put_from(from(0, 0)))])).await;
    assert_eq!(refusal.code, RefusalCode::InvalidWork, "a branch has no earlier steps: {refusal}");
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test]
async fn only_an_action_can_leave_a_semantic_lock() {
    let fixture = Fixture::new().await;
    let whole = fixture.execute(Execution::OnePhase, &branch(OWNER, 1), put_pending("k", "v")).await.unwrap();
    assert!(matches!(whole, Vote::Committed { .. }), "a branch is over as a whole: {whole:?}");
    assert!(!fixture.is_pending("k").await, "and leaves no mark");
    let result = fixture.act(&step(2, 0), put("k", "v")).await;
    let refusal = refused(fixture.undo(&step(2, 0), put_pending("k", "v"), &[result]).await);
    assert_eq!(refusal.code, RefusalCode::InvalidWork, "{refusal}");
}

#[tokio::test]
async fn a_branch_that_would_mark_a_key_waits_for_the_mark_of_a_saga() {
    let fixture = Fixture::new().await;
    fixture.act(&step(1, 0), put_pending("k", "v")).await;
    assert_eq!(fixture.refusal(&branch(OWNER, 9), put_pending("k", "w")).await.code, RefusalCode::Pending);
    fixture.close(1).await;
    assert!(matches!(fixture.vote(&branch(OWNER, 9), put_pending("k", "w")).await.unwrap(), Vote::Prepared { .. }));
}

#[tokio::test]
async fn a_put_can_say_whether_a_branch_or_a_step_carried_it_out() {
    let fixture = Fixture::new().await;
    let either = || {
        let value_in_branch = Some(Bytes::from_static(b"committed"));
        work([("k", Kind::Put(Put { value: Bytes::from_static(b"acted"), value_in_branch, value_from: None }))])
    };
    fixture.act(&step(1, 0), either()).await;
    assert_eq!(fixture.read("k").await.as_deref(), Some("acted"));
    fixture.execute(Execution::OnePhase, &branch(OWNER, 2), either()).await.unwrap();
    assert_eq!(fixture.read("k").await.as_deref(), Some("committed"));
}

#[tokio::test]
async fn a_semantic_lock_is_seen_by_those_who_respect_it_until_its_saga_is_closed() {
    let fixture = Fixture::new().await;
    fixture.act(&step(1, 0), put_pending("k", "v")).await;
    assert!(fixture.is_pending("k").await);
    assert_eq!(fixture.refusal(&branch(OWNER, 9), respectful_get("k")).await.code, RefusalCode::Pending);
    let refusal = fixture.act_refused(&step(2, 0), respectful_get("k"), &[]).await;
    assert_eq!(refusal.code, RefusalCode::Pending);
    assert!(refusal.detail.contains("key 'k'") && refusal.detail.contains(&step(1, 0).tx.to_string()), "{refusal}");
    fixture.act(&step(1, 1), respectful_get("k")).await;
    fixture.act(&step(3, 0), put("k", "careless")).await;
    assert_eq!(fixture.read("k").await.as_deref(), Some("careless"), "who does not ask is not held back");

    let fixture = Fixture::over(Arc::new(fixture.store.crashed())).await;
    assert!(fixture.is_pending("k").await, "it survives a crash");
    fixture.close(2).await;
    assert!(fixture.is_pending("k").await, "another saga's end is nothing to it");
    fixture.close(1).await;
    assert!(!fixture.is_pending("k").await);
    assert!(fixture.kv.locks.is_idle());
}

#[tokio::test]
async fn two_sagas_cannot_mark_the_same_key_even_where_they_only_read_it() {
    let fixture = Fixture::new().await;
    let mark = || encoded([Operation { pend: true, ..operation("k", Kind::Get(Get {})) }]);
    fixture.act(&step(1, 0), mark()).await;
    assert_eq!(fixture.act_refused(&step(2, 0), mark(), &[]).await.code, RefusalCode::Pending);
    fixture.close(1).await;
    fixture.act(&step(2, 0), mark()).await;
    fixture.close(1).await;
    assert!(fixture.is_pending("k").await, "a close that comes again leaves what others marked since");
}

#[tokio::test]
async fn a_key_that_two_steps_of_a_saga_marked_is_pending_until_both_are_undone() {
    for order in [[0, 1], [1, 0]] {
        let mut fixture = Fixture::new().await;
        let mut undone = Vec::new();
        for index in [0, 1] {
            undone.push(fixture.act(&step(1, index), put_pending("k", "v")).await);
        }
        for (index, is_pending) in order.into_iter().zip([true, false]) {
            let result = undone[usize::from(index)].clone();
            acted(fixture.undo(&step(1, index), put("k", "undone"), &[result]).await);
            assert_eq!(fixture.is_pending("k").await, is_pending, "{index} of {order:?}");
            fixture = Fixture::over(Arc::new(fixture.store.crashed())).await;
            assert_eq!(fixture.is_pending("k").await, is_pending, "after a crash, {index} of {order:?}");
        }
    }
}

#[tokio::test]
async fn a_low_water_mark_ends_semantic_locks_that_nobody_closed() {
    let fixture = Fixture::new().await;
    fixture.act(&step(1, 0), put_pending("below", "v")).await;
    fixture.act(&step(2, 0), put_pending("above", "v")).await;
    fixture.kv.collect(OWNER, AttemptNumber(2).into()).await.unwrap();
    assert!(!fixture.is_pending("below").await);
    assert!(fixture.is_pending("above").await);
    fixture.act(&step(3, 0), put_pending("below", "v")).await;
    fixture.kv.collect(OWNER, AttemptNumber(2).into()).await.unwrap();
    assert!(fixture.is_pending("below").await, "what another saga marked since stays");
}

#[tokio::test]
async fn a_step_takes_one_forced_write_and_so_does_the_end_of_a_saga_that_has_marks() {
    let fixture = Fixture::new().await;
    let before = fixture.store.forced_writes();
    let result = fixture.act(&step(1, 0), put_pending("a", "v")).await;
    fixture.act(&step(1, 1), put_pending("b", "v")).await;
    fixture.act(&step(2, 0), get("a")).await;
    assert_eq!(fixture.store.forced_writes() - before, 3);
    acted(fixture.undo(&step(1, 0), put("a", "undone"), &[result]).await);
    fixture.kv.store_empty(step(3, 0)).await.unwrap();
    assert_eq!(fixture.store.forced_writes() - before, 5);
    fixture.close(1).await;
    fixture.close(1).await;
    fixture.close(2).await;
    assert_eq!(fixture.store.forced_writes() - before, 6);
}

#[tokio::test]
async fn a_saga_with_large_results_is_closed_in_writes_of_a_bounded_size() {
    const STEPS: u16 = 6;
    let fixture = Fixture::new().await;
    let value: &'static str = "x".repeat(60_000).leak();
    for key in 0..10 {
        fixture.act(&step(1, key), put(&format!("large{key}"), value)).await;
    }
    let reads = (0..10).map(|key| operation(&format!("large{key}"), Kind::Get(Get {})));
    for index in 0..STEPS {
        let mark = Operation { pend: true, ..operation(&format!("k{index}"), put_of("v")) };
        fixture.act(&step(2, index), encoded(reads.clone().chain([mark]))).await;
    }
    fixture.close(2).await;
    let largest = fixture.store.largest_write_bytes();
    assert!((600_000..2 << 20).contains(&largest), "{largest} bytes of {STEPS} results of 600,000 in one write");
    for index in 0..STEPS {
        assert!(!fixture.is_pending(&format!("k{index}")).await);
    }
}

#[tokio::test]
async fn a_key_that_two_steps_marked_stays_pending_until_the_last_write_of_their_saga() {
    let fixture = Fixture::new().await;
    let value: &'static str = "x".repeat(60_000).leak();
    for key in 0..10 {
        fixture.act(&step(1, key), put(&format!("large{key}"), value)).await;
    }
    let reads = (0..10).map(|key| operation(&format!("large{key}"), Kind::Get(Get {})));
    for index in 0..6 {
        let mark = Operation { pend: true, ..operation("k", put_of("v")) };
        fixture.act(&step(2, index), encoded(reads.clone().chain([mark]))).await;
    }
    let marked: Vec<_> = (0..6).map(|index| (step(2, index), BTreeSet::from([Bytes::from("k")]))).collect();
    let mut left = &marked[..];
    let mut writes = 0;
    while !left.is_empty() {
        assert!(fixture.is_pending("k").await, "another saga could mark it, and lose its mark to the next write");
        let (batch, steps) = marks::next_write(&fixture.kv, left, &None).unwrap();
        fixture.kv.write(batch, Durability::Forced).await.unwrap();
        left = &left[steps..];
        writes += 1;
    }
    assert!(writes > 1);
    assert!(!fixture.is_pending("k").await);
}

#[tokio::test]
async fn what_is_stored_below_a_low_water_mark_that_has_passed_goes_with_the_next_one() {
    let fixture = Fixture::new().await;
    let barriers = || fixture.store.scan(schema::STEP, b"", None, ScanDirection::Forward, 10).unwrap().len();
    let finished = || fixture.store.scan(schema::FINISHED, b"", None, ScanDirection::Forward, 10).unwrap().len();
    let late = branch(OWNER, 2);
    prepared(fixture.vote(&late, put("late", "v")).await);
    fixture.kv.collect(OWNER, AttemptNumber(10).into()).await.unwrap();
    // They were under way: an operator has given them up, and the coordinator heard of no end.
    fixture.act(&step(1, 0), put_pending("k", "v")).await;
    fixture.act(&step(1, 1), put("unmarked", "v")).await;
    fixture.kv.commit(late).await.unwrap();
    assert_eq!((barriers(), finished()), (2, 1));
    fixture.kv.collect(OWNER, AttemptNumber(10).into()).await.unwrap();
    assert_eq!((barriers(), finished()), (0, 0));
    assert!(!fixture.is_pending("k").await);
    fixture.act(&step(11, 0), put_pending("k", "v")).await;
    let reopened = Fixture::over(Arc::new(fixture.store.crashed())).await;
    reopened.kv.collect(OWNER, AttemptNumber(11).into()).await.unwrap();
    assert!(reopened.is_pending("k").await, "the mark of another saga went with what was left behind");
}

#[tokio::test]
async fn a_barrier_that_was_left_behind_takes_no_mark_of_another_saga_along() {
    let fixture = Fixture::new().await;
    fixture.act(&step(11, 0), put_pending("k", "v")).await;
    let mut batch = Batch::default();
    let left_behind = vec![Bytes::from("k")];
    fixture.kv.table.put_step(&mut batch, &step(1, 0), Barrier::Acted, Bytes::new(), left_behind);
    fixture.kv.write(batch, Durability::Forced).await.unwrap();
    let reopened = Fixture::over(Arc::new(fixture.store.crashed())).await;
    reopened.kv.collect(OWNER, AttemptNumber(11).into()).await.unwrap();
    assert!(reopened.is_pending("k").await);
    reopened.kv.collect(OWNER, AttemptNumber(12).into()).await.unwrap();
    assert!(!reopened.is_pending("k").await);
}

#[tokio::test]
async fn long_results_are_not_handed_out_at_a_start_and_told_again_when_asked_for() {
    let fixture = Fixture::new().await;
    let value: &'static str = "x".repeat(2_000).leak();
    fixture.act(&step(1, 0), put("long", value)).await;
    let long = encoded([operation("long", Kind::Get(Get {}))]);
    let told = fixture.act(&step(1, 1), long.clone()).await;
    let both = encoded([operation("long", Kind::Get(Get {})), operation("k", put_of("v"))]);
    let Vote::Committed { result } = fixture.execute(Execution::OnePhase, &branch(OWNER, 2), both).await.unwrap()
    else {
        panic!("not committed")
    };
    let reopened = Fixture::over(Arc::new(fixture.store.crashed())).await;
    let recovered = reopened.kv.recover(&participant()).await.unwrap();
    let is_here = |state: &StepState| matches!(state, StepState::Acted { result: Kept::Here(_), .. });
    assert!(!recovered.steps.iter().any(|kept| is_here(&kept.state)), "{:?}", recovered.steps);
    let finished = FinishedBranch { branch: branch(OWNER, 2), outcome: BranchOutcome::Committed, result: Kept::Stored };
    assert_eq!(recovered.finished, [finished]);
    assert_eq!(reopened.kv.result_of_step(step(1, 1)).await.unwrap(), Some(told));
    assert_eq!(reopened.kv.result_of(branch(OWNER, 2)).await.unwrap(), Some(result));
    assert_eq!(reopened.kv.result_of_step(step(1, 2)).await.unwrap(), None);
    assert_eq!(reopened.kv.result_of(branch(OWNER, 3)).await.unwrap(), None);
}

#[tokio::test]
async fn without_room_actions_are_refused_while_compensations_go_on() {
    let fixture = Fixture::new().await;
    let result = fixture.act(&step(1, 0), put("k", "v")).await;
    fixture.store.has_free((64 << 20) - 1);
    assert_eq!(fixture.act_refused(&step(2, 0), get("k"), &[]).await.code, RefusalCode::Unavailable);
    acted(fixture.undo(&step(1, 0), put("k", "undone"), &[result]).await);
    assert_eq!(fixture.read("k").await.as_deref(), Some("undone"));
}

#[tokio::test]
async fn what_could_not_be_queued_changes_nothing_and_can_be_tried_again() {
    let fixture = Fixture::new().await;
    let result = fixture.act(&step(1, 0), put_pending("k", "v")).await;
    fixture.store.fails_writes(queue_full());
    assert_eq!(fixture.act_refused(&step(2, 0), put("another", "v"), &[]).await.code, RefusalCode::Unavailable);
    let undo = async || fixture.undo(&step(1, 0), put("k", "undone"), std::slice::from_ref(&result)).await;
    assert!(matches!(undo().await, Err(ResourceError::Unavailable { .. })));
    let BranchId { tx, attempt_number, coordinator } = branch(OWNER, 1);
    assert!(fixture.kv.close_saga(coordinator, attempt_number, tx).await.is_err());
    assert!(fixture.kv.collect(OWNER, AttemptNumber(9).into()).await.is_err());
    assert!(fixture.kv.locks.is_idle());
    fixture.store.fails_writes(None);
    assert!(fixture.is_pending("k").await);
    acted(undo().await);
    assert!(!fixture.is_pending("k").await);
    let recovered =
        KeyValue::new(fixture.store.clone(), KeyValueOptions::default()).recover(&participant()).await.unwrap();
    assert_eq!(recovered.steps, [RecoveredStep { step: step(1, 0), state: StepState::Compensated }]);
}

#[tokio::test(start_paused = true)]
async fn storage_that_fails_gives_no_answer_and_frees_no_lock_of_a_step() {
    let fixture = Fixture::new().await;
    fixture.store.fails_writes(Some(StoreError::Io { detail: "the device is gone".into() }));
    let outcome = fixture.act_with(&step(1, 0), put("k", "v"), &[]).await;
    assert!(matches!(outcome, Err(ResourceError::Stopped { .. })), "{outcome:?}");
    assert_eq!(fixture.refusal(&branch(OWNER, 2), get("k")).await.code, RefusalCode::LockTimeout);
}
