//! The only branch of a transaction is at a participant that cannot be reached.

use bytes::Bytes;
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Client, Content, Coordinator, Effect, Input, Limits, Request, Stage, Submission, Timer,
};
use undoubt_vocabulary::{
    Abilities, AbortReason, AttemptNumber, Epoch, Outcome, ParticipantName, Timestamp, TransactionPhase, TxId,
};

const TIMEOUT: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits {
    max_begun_transactions: 10,
    max_open_transactions: 1,
    max_open_bytes: 1 << 30,
    max_gathered_bytes: 1 << 30,
    breaker_threshold: 0,
    breaker_pause: Duration::from_secs(1),
    old_after_attempts: 1_000,
};

fn put(coordinator: &mut Coordinator, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    coordinator.handle_input(Timestamp(1), input, &mut effects);
    effects
}

/// A coordinator whose one branch is delegated on stable storage, with the attempt number of the attempt.
fn delegated(participant: &ParticipantName, tx: &TxId) -> (Coordinator, AttemptNumber) {
    let mut coordinator = Coordinator::new(Epoch(1), LIMITS);
    put(&mut coordinator, Input::RecoveryDone { paused: false });
    let submission = Submission {
        tx: tx.clone(),
        digest: [1; 32],
        content: Content::TwoPhase(vec![(participant.clone(), Bytes::new())]),
        timeout: TIMEOUT,
        client: Client(1),
        wait: true,
    };
    put(&mut coordinator, Input::LookedUp { request: Request::Submit(submission), ended: None });
    let attempt_number = AttemptNumber::first_of(Epoch(1));
    put(&mut coordinator, Input::Appended { tx: tx.clone(), attempt_number, stage: Stage::Delegated });
    (coordinator, attempt_number)
}

fn deadline(tx: &TxId, attempt_number: AttemptNumber) -> Input {
    Input::Fired { tx: tx.clone(), attempt_number, timer: Timer::Deadline { after: TIMEOUT } }
}

#[test]
fn what_was_never_sent_is_aborted_at_its_deadline() {
    let (participant, tx): (ParticipantName, TxId) = ("bank".parse().unwrap(), "t".parse().unwrap());
    let (mut coordinator, attempt_number) = delegated(&participant, &tx);
    put(&mut coordinator, deadline(&tx, attempt_number));
    let effects = put(&mut coordinator, Input::Appended { tx: tx.clone(), attempt_number, stage: Stage::Ended });
    let outcome = Outcome::Aborted(AbortReason::DeadlinePassed { unanswered: vec![participant] });
    let answer = Answer::Outcome { outcome, results: Vec::new() };
    assert!(effects.contains(&Effect::Answer { client: Client(1), tx, answer }), "{effects:?}");
}

#[test]
fn what_may_have_been_sent_is_settled_and_not_presumed() {
    let (participant, tx): (ParticipantName, TxId) = ("bank".parse().unwrap(), "t".parse().unwrap());
    let (mut coordinator, attempt_number) = delegated(&participant, &tx);
    put(&mut coordinator, Input::Connected { participant: participant.clone(), abilities: Abilities::ALL });
    put(&mut coordinator, Input::Disconnected { participant });
    let effects = put(&mut coordinator, deadline(&tx, attempt_number));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Append { .. })), "{effects:?}");
    assert_eq!(coordinator.view(&tx).unwrap().phase, TransactionPhase::Settling);
}
