//! A coordinator that is started again with another time on its clock.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator_core::{
    Coordinator, Effect, Input, Limits, Note, Progress, Request, SagaRecord, Timer, Unfinished,
};
use undoubt_vocabulary::{AttemptNumber, Epoch, RetryPolicy, SagaStep, Timestamp, ToCoordinator, ToParticipant, TxId};

const LIMITS: Limits = Limits {
    max_begun_transactions: 10,
    max_open_transactions: 1,
    max_open_bytes: 1 << 30,
    max_gathered_bytes: 1 << 30,
    breaker_threshold: 0,
    breaker_pause: Duration::from_secs(1),
    old_after_attempts: 1_000,
};
const SECOND_US: u64 = 1_000_000;
const HOUR_US: u64 = 3_600 * SECOND_US;

/// Begun after an hour, with a deadline of 4 s.
fn saga() -> Unfinished {
    let step = SagaStep {
        name: "step".parse().unwrap(),
        participant: "bank".parse().unwrap(),
        action: Some(Bytes::new()),
        compensation: Some(Bytes::new()),
        completion: None,
        after: Vec::new(),
        uses: Vec::new(),
        pivot: false,
        retry: RetryPolicy::default(),
    };
    Unfinished::Saga(SagaRecord {
        tx: "t".parse().unwrap(),
        attempt_number: AttemptNumber::first_of(Epoch(1)),
        begun_at: Timestamp(HOUR_US),
        digest: [1; 32],
        deadline: Timestamp(HOUR_US + 4 * SECOND_US),
        steps: vec![Arc::new(step)],
        compensating: None,
        progress: vec![Progress::Pending],
    })
}

/// Returns what is left of the deadline for a coordinator that starts at this time.
fn left_at(now_us: u64) -> Duration {
    let mut coordinator = Coordinator::new(Epoch(2), LIMITS);
    let mut effects = Vec::new();
    coordinator.handle_input(Timestamp(now_us), Input::Recovered(saga()), &mut effects);
    let mut deadlines = effects.iter().filter_map(|effect| {
        if let Effect::Arm { timer: Timer::Deadline { after }, .. } = effect { Some(*after) } else { None }
    });
    deadlines.next().expect("a saga that was begun has a deadline")
}

#[test]
fn a_saga_never_has_more_time_left_than_it_began_with() {
    assert_eq!(left_at(HOUR_US + SECOND_US), Duration::from_secs(3));
    assert_eq!(left_at(SECOND_US), Duration::from_secs(4), "the clock was set an hour back");
    assert_eq!(left_at(2 * HOUR_US), Duration::ZERO, "the clock was set an hour forward");
}

#[test]
fn what_a_participant_tells_of_an_attempt_that_a_crash_forgot_is_noted_and_answered_by_abort() {
    let (tx, lost): (TxId, _) = ("lost".parse().unwrap(), AttemptNumber::first_of(Epoch(1)));
    let mut coordinator = Coordinator::new(Epoch(2), LIMITS);
    let mut effects = Vec::new();
    coordinator.handle_input(Timestamp(1), Input::RecoveryDone { paused: false }, &mut effects);
    let message = ToCoordinator::Inquiry { tx: tx.clone(), attempt_number: lost };
    let request = Request::Message { from: "bank".parse().unwrap(), message };
    coordinator.handle_input(Timestamp(2), Input::LookedUp { request, ended: None }, &mut effects);
    let note = Note::Earlier { from: "bank".parse().unwrap(), attempt_number: lost, message: "inquiry" };
    let abort = ToParticipant::Abort { tx: tx.clone(), attempt_number: lost, certain: true };
    assert_eq!(effects, [Effect::Note { tx, note }, Effect::Send { to: "bank".parse().unwrap(), message: abort }]);
}
