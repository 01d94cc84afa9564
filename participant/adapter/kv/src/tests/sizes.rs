//! Over a store that takes small batches, many share a write and none is cut; what is too large for one is refused by itself.

use super::*;
use undoubt_vocabulary::{Direction, RunStep, StepIndex, StepOutcome};

const MAX_BATCH_BYTES: usize = 64 << 10;
/// Fits, but not often into one write.
const USUAL_BYTES: usize = 20 << 10;
/// Fits into no write that others may share.
const LARGE_BYTES: usize = 50 << 10;
const BRANCHES: u64 = 9;
/// The one that brings too much.
const GREEDY: u64 = 4;

async fn fixture() -> Fixture {
    let store = Arc::new(MemoryStore::default());
    store.takes_batches_of(MAX_BATCH_BYTES);
    Fixture::over(store).await
}

fn key(number: u64) -> String {
    format!("k{number}")
}

fn put_so_much(number: u64, bytes: usize) -> Bytes {
    put(&key(number), &"x".repeat(bytes))
}

#[tokio::test]
async fn of_branches_that_came_together_only_the_one_that_brings_too_much_is_refused() {
    let fixture = fixture().await;
    let call = |number| {
        let id = branch(OWNER, number);
        let bytes = if number == GREEDY { LARGE_BYTES } else { USUAL_BYTES };
        let prepare = Prepare {
            tx: id.tx.clone(),
            attempt_number: id.attempt_number,
            begun_at: Timestamp(number),
            timeout: Duration::from_secs(60),
            execution: Execution::TwoPhase,
            work: put_so_much(number, bytes),
        };
        (id, prepare)
    };
    let mut voted = Vec::new();
    for votes in fixture.kv.prepare_all((1..=BRANCHES).map(call).collect(), &mut Cancellations::default()) {
        voted.extend(votes.await.unwrap().votes);
    }
    assert_eq!(voted.len(), BRANCHES as usize);
    for (id, vote) in voted {
        match vote {
            Vote::Prepared { .. } => assert_ne!(id, branch(OWNER, GREEDY)),
            Vote::Refused(refusal) => {
                assert_eq!((id, refusal.code), (branch(OWNER, GREEDY), RefusalCode::TooLarge), "{refusal}");
            }
            other @ (Vote::ReadOnly { .. } | Vote::Committed { .. }) => panic!("{other:?}"),
        }
    }
    let prepared = (1..=BRANCHES).filter(|number| *number != GREEDY);
    for (_, committed) in fixture.kv.commit_all(prepared.clone().map(|number| branch(OWNER, number)).collect()) {
        committed.await.unwrap();
    }
    for number in prepared {
        assert_eq!(fixture.read(&key(number)).await.map(|value| value.len()), Some(USUAL_BYTES));
    }
    assert_eq!(fixture.read(&key(GREEDY)).await, None, "its locks are free, and nothing of it is there");
    assert!(fixture.store.largest_write_bytes() <= MAX_BATCH_BYTES);
}

#[tokio::test]
async fn a_step_that_brings_too_much_is_refused_and_so_is_a_compensation_which_leaves_its_mark() {
    let fixture = fixture().await;
    let step = |index| {
        let BranchId { tx, attempt_number, coordinator } = branch(OWNER, 1);
        StepId { coordinator, attempt_number, step: StepIndex(index), tx }
    };
    let run = |of: &StepId, direction, work| {
        let (tx, attempt_number, step) = (of.tx.clone(), of.attempt_number, of.step);
        let (begun_at, timeout) = (Timestamp(1), Duration::from_secs(60));
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
            inputs: Vec::new(),
        }
    };
    let too_large = |outcome: Result<StepOutcome, ResourceError>| match outcome.unwrap() {
        StepOutcome::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::TooLarge, "{refusal}"),
        other @ (StepOutcome::Done { .. } | StepOutcome::Empty) => panic!("{other:?}"),
    };
    let act =
        |of: &StepId, work| fixture.kv.act(of.clone(), run(of, Direction::Forward, work), CancellationToken::new());
    too_large(act(&step(0), put_so_much(0, LARGE_BYTES)).await);
    assert_eq!(fixture.read(&key(0)).await, None);
    let marked = world::put_pending("marked", "v");
    assert!(matches!(act(&step(1), marked).await.unwrap(), StepOutcome::Done { pending: true, .. }));
    let undo = |work| fixture.kv.compensate(step(1), run(&step(1), Direction::Compensating, work));
    too_large(undo(put_so_much(1, LARGE_BYTES)).await);
    assert_eq!(fixture.kv.marks(Bytes::new(), 9).await.unwrap().len(), 1, "it stays marked until it is undone");
    assert!(matches!(undo(put("marked", "undone")).await.unwrap(), StepOutcome::Done { .. }));
    assert_eq!(fixture.kv.marks(Bytes::new(), 9).await.unwrap(), []);
}
