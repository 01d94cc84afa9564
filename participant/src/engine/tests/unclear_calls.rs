//! What the resource did is unclear, or somebody else did it.

use super::*;
use crate::resource::{Health, Pin, Recovered, StepsOnly};
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test(start_paused = true)]
async fn an_unclear_prepare_is_aborted_before_it_is_refused() {
    for takes_effect in [false, true] {
        let disk = Arc::new(Disk::default());
        let mut running = Running::over(Memory::over(disk.clone())).await;
        disk.loses_the_next_answer(takes_effect);
        running.tell(prepare(1, Execution::TwoPhase, put("k", "v"))).await;
        let ToCoordinator::Vote { vote: Vote::Refused(refusal), .. } = running.answer().await else {
            panic!("not refused")
        };
        assert_eq!(refusal.code, RefusalCode::Unavailable, "{refusal}");
        running.tell(prepare(2, Execution::OnePhase, put("k", "next"))).await;
        let answer = running.answer().await;
        assert!(
            matches!(answer, ToCoordinator::Vote { vote: Vote::Committed { .. }, .. }),
            "nothing is left: {answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclear_branch_in_one_phase_is_answered_as_what_it_came_to() {
    for takes_effect in [false, true] {
        let disk = Arc::new(Disk::default());
        let mut running = Running::over(Memory::over(disk.clone())).await;
        disk.loses_the_next_answer(takes_effect);
        running.tell(prepare(1, Execution::OnePhase, put("k", "v"))).await;
        let ToCoordinator::Vote { vote, .. } = running.answer().await else { panic!("not voted") };
        assert_eq!(matches!(vote, Vote::Committed { .. }), takes_effect, "{vote:?}");
        assert_eq!(matches!(vote, Vote::Refused(_)), !takes_effect, "{vote:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclear_step_is_answered_as_what_it_came_to_and_an_unclear_compensation_is_done_once() {
    for takes_effect in [false, true] {
        let disk = Arc::new(Disk::default());
        let mut running = Running::over(Memory::over(disk.clone())).await;
        disk.loses_the_next_answer(takes_effect);
        let acted = running.run(Direction::Forward, put("k", "v")).await;
        assert_eq!(matches!(acted, StepOutcome::Done { .. }), takes_effect, "{acted:?}");
        assert_eq!(matches!(acted, StepOutcome::Refused(_)), !takes_effect, "{acted:?}");
        if takes_effect {
            disk.loses_the_next_answer(true);
            assert_eq!(running.run(Direction::Compensating, put("k", "undone")).await, done());
        }
    }
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    running.run(Direction::Forward, put("k", "v")).await;
    disk.loses_the_next_answer(false);
    assert_eq!(running.run(Direction::Compensating, put("k", "undone")).await, done(), "it is tried until it is done");
}

#[tokio::test(start_paused = true)]
async fn an_unclear_compensation_is_not_done_again_while_nobody_can_be_asked_about_it() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    running.run(Direction::Forward, put("k", "v")).await;
    disk.loses_the_next_answer(true);
    disk.settles_later();
    assert_eq!(running.run(Direction::Compensating, put("k", "undone")).await, done());
    assert_eq!(disk.compensations(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unclear_commit_is_repeated_and_answered_once() {
    for takes_effect in [false, true] {
        let disk = Arc::new(Disk::default());
        let mut running = Running::over(Memory::over(disk.clone())).await;
        running.tell(prepare(1, Execution::TwoPhase, put("k", "v"))).await;
        running.answer().await;
        disk.loses_the_next_answer(takes_effect);
        running.tell(commit(1)).await;
        let ToCoordinator::Finished { outcome, .. } = running.answer().await else { panic!("not finished") };
        assert_eq!(outcome, BranchOutcome::Committed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_ended_is_reported_and_kept() {
    for commit_it in [false, true] {
        let disk = Arc::new(Disk::default());
        let mut running = Running::over(Memory::over(disk.clone())).await;
        running.tell(prepare(1, Execution::TwoPhase, put("k", "v"))).await;
        running.answer().await;
        // The other way.
        disk.ends_by_another_hand(1, !commit_it);
        let abort = ToParticipant::Abort { tx: "T1".parse().unwrap(), attempt_number: AttemptNumber(1), certain: true };
        running.tell(if commit_it { commit(1) } else { abort }).await;
        let ToCoordinator::Finished { outcome, .. } = running.answer().await else { panic!("not reported") };
        let expected =
            if commit_it { BranchOutcome::HeuristicallyAborted } else { BranchOutcome::HeuristicallyCommitted };
        assert_eq!(outcome, expected);
        running.engine.tell(Command::Stop).await.unwrap();
        running.ended.await.unwrap().unwrap();
        let kept = Memory::over(disk).recover(&"test".parse().unwrap()).await.unwrap().heuristics;
        let [kept] = &kept[..] else { panic!("it is kept: {kept:?}") };
        assert_eq!((kept.heuristic.commit, kept.heuristic.decision), (!commit_it, Some(commit_it)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_locks_are_lost_is_not_confirmed() {
    let disk = Arc::new(Disk::default());
    let memory = Arc::new(Memory::over(disk));
    let mut running = Running::of(memory.clone()).await;
    for attempt_number in [1, 2] {
        running.tell(prepare(attempt_number, Execution::TwoPhase, get("k"))).await;
        running.answer().await;
    }
    memory.loses_its_locks(1);
    for (attempt_number, expected) in [(1, false), (2, true)] {
        let tx = format!("T{attempt_number}").parse().unwrap();
        running.tell(ToParticipant::Confirm { tx, attempt_number: AttemptNumber(attempt_number) }).await;
        let ToCoordinator::Confirmed { held, .. } = running.answer().await else { panic!("not confirmed") };
        assert_eq!(held, expected, "number {attempt_number}");
    }
}

/// A resource that is away at first.
struct AwayAtFirst(AtomicU32);

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_away_at_the_start_is_waited_for() {
    let running = Running::over(StepsOnly(AwayAtFirst(AtomicU32::new(3)))).await;
    let health = running.engine.inspect(|view| view.health.clone()).await.unwrap();
    assert_eq!(health.numbers, [("attempts_left", 0)]);
}

impl Resource for AwayAtFirst {
    fn kind(&self) -> &'static str {
        "away at first"
    }

    async fn recover(&self, _: &ParticipantName) -> Result<Recovered, ResourceError> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(Recovered::default()),
            left => {
                self.0.store(left - 1, Ordering::Relaxed);
                Err(ResourceError::Unavailable { cause: "nobody listens there".into() })
            }
        }
    }

    async fn record_epoch(&self, _: CoordinatorId, _: Epoch, _: Option<Pin>) -> Result<(), ResourceError> {
        Ok(())
    }

    async fn collect(&self, _: CoordinatorId, _: LowWaterMark) -> Result<(), ResourceError> {
        Ok(())
    }

    fn health(&self) -> Health {
        Health { numbers: vec![("attempts_left", self.0.load(Ordering::Relaxed).into())], ..Health::default() }
    }
}

impl Steps for AwayAtFirst {
    async fn act(&self, _: StepId, _: RunStep, _: CancellationToken) -> Result<StepOutcome, ResourceError> {
        Ok(done())
    }

    async fn compensate(&self, _: StepId, _: RunStep) -> Result<StepOutcome, ResourceError> {
        Ok(done())
    }

    async fn store_empty(&self, _: StepId) -> Result<(), ResourceError> {
        Ok(())
    }
}
