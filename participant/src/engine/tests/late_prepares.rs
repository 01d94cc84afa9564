//! Prepares that land though nobody waits for them any more, and that the resource finds.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_lands_late_is_taken_up_at_the_next_sweep_and_ends_as_its_coordinator_says() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    for (number, commits) in [(1, false), (2, true)] {
        let (tx, attempt_number): (TxId, _) = (format!("T{number}").parse().unwrap(), AttemptNumber(number));
        disk.lands_late(BranchId { tx: tx.clone(), attempt_number, coordinator: COORDINATOR }, "k", "late");
        let inquiry = ToCoordinator::Inquiry { tx: tx.clone(), attempt_number };
        assert_eq!(running.answer().await, inquiry);
        running
            .tell(if commits { commit(number) } else { ToParticipant::Abort { tx, attempt_number, certain: true } })
            .await;
        if commits {
            let answer = running.answer().await;
            assert!(matches!(answer, ToCoordinator::Finished { outcome: BranchOutcome::Committed, .. }), "{answer:?}");
        }
        // Nothing is asked about what has ended.
        let more = tokio::time::timeout(Duration::from_secs(60), running.next()).await;
        assert!(more.is_err(), "{more:?}");
        assert_eq!(disk.value("k").as_deref(), commits.then_some("late"));
        assert_eq!(running.engine.inspect(|view| view.core.open_branches()).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_lands_late_after_it_was_refused_is_undone_without_a_question() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    disk.loses_the_next_answer(false);
    running.tell(prepare(1, Execution::TwoPhase, put("k", "late"))).await;
    let answer = running.answer().await;
    assert!(matches!(answer, ToCoordinator::Vote { vote: Vote::Refused(_), .. }), "{answer:?}");
    let (tx, attempt_number) = ("T1".parse().unwrap(), AttemptNumber(1));
    let late = BranchId { tx, attempt_number, coordinator: COORDINATOR };
    disk.lands_late(late, "k", "late");
    let more = tokio::time::timeout(Duration::from_secs(60), running.next()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(disk.prepared(), 0);
}
