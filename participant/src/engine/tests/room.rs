//! Large results, and what waits for room.

use super::*;
use memory::{all, copy};
use undoubt_vocabulary::Refusal;
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;

const KEYS: usize = 16;
const VALUE_BYTES: usize = 65_000;

/// A participant with 1 MB in it.
async fn with_large_values(config: Config) -> Running {
    let disk = Arc::new(Disk::default());
    let mut running = Running::with(config, Memory::over(disk)).await;
    let value = "x".repeat(VALUE_BYTES);
    let puts = (0..KEYS).map(|key| put(&format!("k{key}"), &value));
    running.tell(prepare(1, Execution::OnePhase, all(puts))).await;
    let answer = running.answer().await;
    assert!(matches!(answer, ToCoordinator::Vote { vote: Vote::Committed { .. }, .. }), "{answer:?}");
    running
}

/// Reads all of it.
fn large() -> Bytes {
    all((0..KEYS).map(|key| get(&format!("k{key}"))))
}

fn within(seconds: u64, message: ToParticipant) -> ToParticipant {
    let ToParticipant::Prepare(prepare) = message else { panic!("{message:?}") };
    ToParticipant::Prepare(Prepare { timeout: Duration::from_secs(seconds), ..prepare })
}

fn act(attempt_number: u64, work: Bytes) -> ToParticipant {
    let (tx, attempt_number) = (format!("T{attempt_number}").parse().unwrap(), AttemptNumber(attempt_number));
    let ToParticipant::Run(action) = run(Direction::Forward, work) else { panic!("not a step") };
    ToParticipant::Run(RunStep { tx, attempt_number, ..action })
}

impl Running {
    /// Whatever can be computed now is queued.
    async fn settled(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.engine.inspect(|_| ()).await.unwrap();
    }

    async fn refusal(&mut self) -> Refusal {
        let answer = self.answer().await;
        if let ToCoordinator::Vote { vote: Vote::Refused(refusal), .. }
        | ToCoordinator::Ran { outcome: StepOutcome::Refused(refusal), .. } = answer
        {
            return refusal;
        }
        panic!("not refused: {answer:?}")
    }

    async fn reads(&mut self) {
        let answer = self.answer().await;
        assert!(matches!(answer, ToCoordinator::Vote { vote: Vote::ReadOnly { .. }, .. }), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_results_wait_until_those_before_them_are_sent_and_small_ones_pass_them() {
    let mut running = with_large_values(Config::default()).await;
    let reads = 100;
    running
        .tell_all((2..2 + reads).map(|attempt_number| prepare(attempt_number, Execution::OnePhase, large())).collect())
        .await;
    running.settled().await;
    running.tell(prepare(500, Execution::OnePhase, put("small", "v"))).await;
    running.settled().await;
    let mut before_the_small_one = None;
    for heard in 0..=reads {
        let ToCoordinator::Vote { vote, .. } = running.answer().await else { panic!("not a vote") };
        match vote {
            Vote::ReadOnly { result } => assert!(result.len() > KEYS * VALUE_BYTES),
            Vote::Committed { .. } => before_the_small_one = Some(heard),
            Vote::Prepared { .. } | Vote::Refused(_) => panic!("{vote:?}"),
        }
    }
    let computed = before_the_small_one.unwrap();
    assert!(computed <= 32, "{computed} MB were computed before anything was sent");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_gives_back_the_room_of_what_it_was_not_sent() {
    let mut running = with_large_values(Config::default()).await;
    running
        .tell_all((2..102).map(|attempt_number| prepare(attempt_number, Execution::OnePhase, large())).collect())
        .await;
    running.settled().await;
    let (out, outgoings) = outbox(running.engine.room());
    (running.outgoings, running.heard) = (outgoings, VecDeque::new());
    running.engine.tell(Command::Hello { session: Session(2), hello: hello(), out }).await.unwrap();
    assert!(matches!(running.next().await, Outgoing::Welcome { .. }));
    // Results that had not been computed by then are told in the session that there is.
    for _ in 0..60 {
        running.reads().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_in_time_is_refused_with_the_bound_and_has_room_once_others_are_over() {
    let config = Config { max_kept_result_bytes: 2 * MAX_RESULT_BYTES, ..Config::default() };
    let mut running = with_large_values(config).await;
    for attempt_number in [2, 3] {
        running.tell(prepare(attempt_number, Execution::TwoPhase, large())).await;
        running.reads().await;
    }
    running.tell(within(1, prepare(4, Execution::TwoPhase, large()))).await;
    let refusal = running.refusal().await;
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.detail.contains("max_kept_result_bytes"), "{refusal}");
    running.tell(act(5, large())).await;
    running.tell(prepare(6, Execution::TwoPhase, large())).await;
    running.settled().await;
    running.tell(prepare(7, Execution::OnePhase, put("small", "v"))).await;
    let small = running.answer().await;
    assert!(matches!(small, ToCoordinator::Vote { vote: Vote::Committed { .. }, .. }), "{small:?}");
    let abort = |attempt_number: u64| ToParticipant::Abort {
        tx: format!("T{attempt_number}").parse().unwrap(),
        attempt_number: AttemptNumber(attempt_number),
        certain: true,
    };
    running.tell_all(vec![abort(2), abort(3)]).await;
    let answers = [running.answer().await, running.answer().await];
    let mut attempt_numbers = answers.each_ref().map(|answer| answer.attempt_number().0);
    attempt_numbers.sort_unstable();
    assert_eq!(attempt_numbers, [5, 6]);
    for answer in answers {
        let done = matches!(
            answer,
            ToCoordinator::Vote { vote: Vote::ReadOnly { .. }, .. }
                | ToCoordinator::Ran { outcome: StepOutcome::Done { .. }, .. }
        );
        assert!(done, "what waited has room now: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_while_it_waits_for_room_is_not_begun() {
    let config = Config { max_kept_result_bytes: MAX_RESULT_BYTES, ..Config::default() };
    let mut running = with_large_values(config).await;
    running.tell(prepare(2, Execution::TwoPhase, large())).await;
    running.reads().await;
    running.tell(prepare(3, Execution::OnePhase, large())).await;
    running.tell(act(4, large())).await;
    running.settled().await;
    running.tell(ToParticipant::Settle { tx: "T3".parse().unwrap(), attempt_number: AttemptNumber(3) }).await;
    assert_eq!(running.refusal().await.code, RefusalCode::Late);
    running.tell(ToParticipant::Close { tx: "T4".parse().unwrap(), attempt_number: AttemptNumber(4) }).await;
    assert_eq!(running.refusal().await.code, RefusalCode::Late);
}

/// Reads all of it, and writes something.
fn large_that_writes(key: &str) -> Bytes {
    all([large(), put(key, "v")])
}

#[tokio::test(start_paused = true)]
async fn what_is_over_takes_no_room_however_long_the_low_water_mark_stays_behind() {
    let config = Config { max_kept_result_bytes: MAX_RESULT_BYTES, ..Config::default() };
    let mut running = with_large_values(config).await;
    for attempt_number in 10..30 {
        running.tell(act(attempt_number, large())).await;
        let answer = running.answer().await;
        assert!(
            matches!(answer, ToCoordinator::Ran { outcome: StepOutcome::Done { .. }, .. }),
            "{attempt_number}: {answer:?}"
        );
        running.tell(prepare(100 + attempt_number, Execution::OnePhase, large_that_writes("w"))).await;
        let answer = running.answer().await;
        assert!(
            matches!(answer, ToCoordinator::Vote { vote: Vote::Committed { .. }, .. }),
            "{attempt_number}: {answer:?}"
        );
    }
    let waits = running.engine.inspect(|view| view.health.refuses_work.clone()).await.unwrap();
    assert_eq!(waits, None);
}

#[tokio::test(start_paused = true)]
async fn long_results_of_what_is_over_are_said_again_also_after_a_crash() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    let value = "x".repeat(VALUE_BYTES);
    running.tell(prepare(1, Execution::OnePhase, put("k0", &value))).await;
    running.answer().await;
    let long = || all([get("k0"), put("w", "v")]);
    let action = || act(2, long());
    let alone = || prepare(3, Execution::OnePhase, long());
    let settle = || ToParticipant::Settle { tx: "T3".parse().unwrap(), attempt_number: AttemptNumber(3) };
    running.tell(action()).await;
    let acted = running.answer().await;
    let ToCoordinator::Ran { outcome: StepOutcome::Done { result, .. }, .. } = &acted else { panic!("{acted:?}") };
    assert!(result.len() > VALUE_BYTES);
    running.tell(alone()).await;
    let voted = running.answer().await;
    assert!(matches!(voted, ToCoordinator::Vote { vote: Vote::Committed { .. }, .. }), "{voted:?}");
    for _ in 0..2 {
        for (message, said) in [(action(), &acted), (alone(), &voted), (settle(), &voted)] {
            running.tell(message).await;
            assert_eq!(running.answer().await, *said);
        }
        running = Running::over(Memory::over(disk.clone())).await;
    }
    // The compensation is given what its action came to.
    let ToParticipant::Run(undo) = act(2, copy("copy")) else { unreachable!("it is a step") };
    running.tell(ToParticipant::Run(RunStep { direction: Direction::Compensating, ..undo })).await;
    let undone = running.answer().await;
    assert!(matches!(undone, ToCoordinator::Ran { outcome: StepOutcome::Done { .. }, .. }), "{undone:?}");
    running.tell(prepare(4, Execution::OnePhase, get("copy"))).await;
    let ToCoordinator::Vote { vote: Vote::ReadOnly { result }, .. } = running.answer().await else {
        panic!("not read")
    };
    assert!(result.len() > VALUE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn why_large_work_waits_is_told_with_whose_transactions_are_not_over() {
    let config = Config { max_kept_result_bytes: MAX_RESULT_BYTES * 3 / 2, ..Config::default() };
    let mut running = with_large_values(config).await;
    running.tell(prepare(2, Execution::TwoPhase, large_that_writes("w"))).await;
    let answer = running.answer().await;
    assert!(matches!(answer, ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. }), "{answer:?}");
    running.settled().await;
    let waits = running.engine.inspect(|view| view.health.refuses_work.clone()).await.unwrap().unwrap_or_default();
    let whose = format!("kept for coordinator {COORDINATOR}");
    assert!(waits.contains("large results wait") && waits.contains(&whose), "{waits}");
}
