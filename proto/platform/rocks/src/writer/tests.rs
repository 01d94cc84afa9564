use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use super::*;
use undoubt_platform::store::Family;

const FAMILY: Family = Family("family");
const WIDE: Bounds = Bounds { batches: 1_000, bytes: 1_000_000 };

/// A writer whose device does each group only when told how it ends.
///
/// Dropped in this order: without a word from the stage every further group ends well, so that the writer can end.
struct Stage {
    outcomes: Sender<Result<(), StoreError>>,
    writer: Writer,
    /// Groups as they reach the device.
    arrived: Receiver<(usize, Durability)>,
}

fn stage(bounds: Bounds) -> Stage {
    let (arrive, arrived) = mpsc::channel();
    let (outcomes, outcome) = mpsc::channel();
    let writer = Writer::start(bounds, move |batches, durability| {
        arrive.send((batches.iter().map(Batch::len).sum(), durability)).unwrap();
        outcome.recv().unwrap_or(Ok(()))
    });
    Stage { outcomes, writer: writer.unwrap(), arrived }
}

impl Stage {
    fn write(&self, bytes: usize, durability: Durability) -> Written {
        let mut batch = Batch::default();
        batch.put(FAMILY, "", vec![0; bytes]);
        self.writer.enqueue(batch, durability)
    }

    /// Starts a write and returns once the device has it in hand.
    fn write_and_hold(&self) -> Written {
        let held = self.write(1, Durability::Forced);
        self.arrived.recv().unwrap();
        held
    }
}

fn broken() -> StoreError {
    StoreError::Io { detail: "the device is broken".into() }
}

#[tokio::test]
async fn all_that_queues_behind_a_forced_write_shares_the_next_one() {
    let stage = stage(WIDE);
    let first = stage.write_and_hold();
    let waiting: Vec<Written> = (0..100).map(|_| stage.write(1, Durability::Forced)).collect();
    stage.outcomes.send(Ok(())).unwrap();
    stage.outcomes.send(Ok(())).unwrap();
    first.await.unwrap();
    for written in waiting {
        written.await.unwrap();
    }
    assert_eq!(stage.arrived.recv(), Ok((100, Durability::Forced)));
    let figures = stage.writer.figures().writer;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!((count(&figures.batches), count(&figures.forced_writes)), (101, 2));
    assert_eq!((count(&figures.lazy_writes), count(&figures.bytes)), (0, 101));
}

#[tokio::test]
async fn a_group_is_forced_only_if_one_of_it_is() {
    let stage = stage(WIDE);
    for (durabilities, expected) in [
        ([Durability::Lazy, Durability::Lazy], Durability::Lazy),
        ([Durability::Lazy, Durability::Forced], Durability::Forced),
    ] {
        let first = stage.write_and_hold();
        let last = durabilities.map(|durability| stage.write(1, durability));
        stage.outcomes.send(Ok(())).unwrap();
        stage.outcomes.send(Ok(())).unwrap();
        first.await.unwrap();
        for written in last {
            written.await.unwrap();
        }
        assert_eq!(stage.arrived.recv(), Ok((2, expected)));
    }
}

#[test]
fn closing_writes_what_is_queued_and_forces_what_was_lazy() {
    let Stage { writer, arrived, outcomes } = stage(WIDE);
    drop(outcomes);
    for _ in 0..50 {
        drop(writer.enqueue(Batch::default(), Durability::Lazy));
    }
    let mut batch = Batch::default();
    batch.put(FAMILY, "key", "value");
    drop(writer.enqueue(batch, Durability::Lazy));
    drop(writer);
    let groups: Vec<_> = arrived.iter().collect();
    assert_eq!(groups.iter().map(|(operations, _)| operations).sum::<usize>(), 1);
    assert_eq!(groups.last(), Some(&(0, Durability::Forced)));
}

#[tokio::test]
async fn the_first_failure_stops_the_writer_for_good() {
    let stage = stage(WIDE);
    let failing = stage.write_and_hold();
    let waiting = stage.write(1, Durability::Lazy);
    stage.outcomes.send(Err(broken())).unwrap();
    assert_eq!(failing.await, Err(broken()));
    assert!(matches!(waiting.await, Err(StoreError::Stopped { cause }) if cause.contains("the device is broken")));
    let later = stage.write(1, Durability::Forced).await;
    assert!(matches!(later, Err(StoreError::Stopped { cause }) if cause.contains("the device is broken")));

    let Stage { writer, arrived, .. } = stage;
    drop(writer);
    assert_eq!(arrived.iter().count(), 0, "nothing may reach the device after a failure");
}

#[tokio::test]
async fn a_writer_that_panics_leaves_nobody_waiting() {
    let writer = Writer::start(WIDE, |_, _| panic!("expected by this test")).unwrap();
    let first = writer.enqueue(Batch::default(), Durability::Forced).await;
    assert!(matches!(first, Err(StoreError::Stopped { .. })));
    let later = writer.enqueue(Batch::default(), Durability::Forced).await;
    assert!(matches!(later, Err(StoreError::Stopped { .. })));
}

#[tokio::test]
async fn a_full_queue_refuses_by_the_name_of_its_bound_and_takes_writes_again_once_drained() {
    let stage = stage(Bounds { batches: 3, bytes: 100 });
    let held = stage.write_and_hold();
    let by_bytes = [stage.write(60, Durability::Lazy), stage.write(41, Durability::Lazy)];
    let [fits, refused] = by_bytes;
    assert_eq!(refused.await, Err(full("queue_bytes", 100, 60)));
    let also_fit = [stage.write(20, Durability::Lazy), stage.write(20, Durability::Lazy)];
    let refused = stage.write(0, Durability::Lazy).await;
    assert_eq!(refused, Err(full("queue_batches", 3, 3)));

    stage.outcomes.send(Ok(())).unwrap();
    stage.outcomes.send(Ok(())).unwrap();
    held.await.unwrap();
    fits.await.unwrap();
    for written in also_fit {
        written.await.unwrap();
    }
    assert_eq!(stage.arrived.recv(), Ok((3, Durability::Lazy)), "what was refused is not applied");
    stage.outcomes.send(Ok(())).unwrap();
    stage.write(100, Durability::Lazy).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_could_never_fit_is_refused_as_too_large() {
    let stage = stage(Bounds { batches: 3, bytes: 100 });
    let refused = stage.write(101, Durability::Forced).await;
    assert_eq!(refused, Err(StoreError::BatchTooLarge { bytes: 101, bound: "queue_bytes", limit: 100 }));
}
