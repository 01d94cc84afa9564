//! A participant that others have seen more of than its log holds.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use std::time::Duration;
use undoubt_participant_core::{
    Answer, BranchId, Effect, Hello, Input, Kept, Limits, Operator, Participant, Proof, Recall, Recovered, Rejection,
    Seen, Session, SessionRefused, StepId, StepState, Trust,
};
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, CoordinatorId, Epoch, Execution, KnownAttempt, KnownState, Prepare, Start, Starts,
    StepIndex, Timestamp, ToCoordinator, ToParticipant, Vote, WriteNumber, saga,
};

const OWN: [u8; 16] = [7; 16];
const COORDINATOR: CoordinatorId = CoordinatorId([1; 16]);
const OTHER: CoordinatorId = CoordinatorId([2; 16]);

fn number(log: [u8; 16], count: u32, mark: u64, writes: u64) -> WriteNumber {
    WriteNumber { log, start: Start { losses: 0, count, mark }, writes }
}

/// At its second start, after a first of 10 writes.
fn participant() -> Participant {
    let mut core =
        Participant::new(Limits { max_open_branches: 8, largest_kept_bytes: 1_024, trust: Trust::EVERYBODY });
    let mut starts = Starts::new(OWN, Start { losses: 0, count: 2, mark: 22 });
    starts.add_past(Start { losses: 0, count: 1, mark: 11 }, 10);
    assert_eq!(put(&mut core, Input::Recovered(Recovered::Log { starts, put_back: None })), []);
    core
}

fn put(core: &mut Participant, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle_input(input, &mut effects);
    effects
}

fn hello(coordinator: CoordinatorId, epoch: u32, number: Option<WriteNumber>, shown: Option<WriteNumber>) -> Hello {
    Hello { coordinator, proof: Proof::default(), name: String::new(), epoch: Epoch(epoch), number, shown }
}

/// Lets a coordinator in, and returns what it is told to have been seen of its log.
fn join(core: &mut Participant, session: u64, hello: Hello) -> Option<WriteNumber> {
    let session = Session(session);
    let mut effects = put(core, Input::Hello { session, hello });
    effects.extend(put(core, Input::EpochRecorded { session }));
    let welcomed = effects.into_iter().find_map(|effect| match effect {
        Effect::Welcome { seen, .. } => Some(seen),
        Effect::Close { session: closed, why } if closed == session => panic!("{why}"),
        _ => None,
    });
    welcomed.expect("it is welcome")
}

fn closed(effects: &[Effect]) -> Vec<(Session, &SessionRefused)> {
    let of = |effect| match effect {
        &Effect::Close { session, ref why } => Some((session, why)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn one_that_is_shown_what_its_log_lacks_ends_every_session_and_lets_nobody_in_until_the_loss_is_accepted() {
    let mut core = participant();
    join(&mut core, 1, hello(OTHER, 1, None, Some(number(OWN, 1, 11, 10))));
    let recall = Recall {
        coordinator: COORDINATOR,
        proof: Proof::default(),
        name: "c".into(),
        shown: Some(number(OWN, 1, 11, 11)),
    };
    let effects = put(&mut core, Input::Recall(recall.clone()));
    assert!(matches!(&effects[0], Effect::StorePutBack { why } if why.contains("write 11")), "{effects:?}");
    assert!(matches!(closed(&effects)[..], [(Session(1), SessionRefused::PutBack { .. })]), "{effects:?}");
    assert!(core.recalled(&recall).put_back.is_some());
    for coordinator in [COORDINATOR, OTHER] {
        let effects = put(&mut core, Input::Hello { session: Session(2), hello: hello(coordinator, 9, None, None) });
        assert!(matches!(closed(&effects)[..], [(Session(2), SessionRefused::PutBack { .. })]), "{effects:?}");
    }
    let operator = Operator(1);
    let accept = Input::AcceptLoss { at: Timestamp(5), who: "ada".into(), reason: "so be it".into(), operator };
    let effects = put(&mut core, accept.clone());
    assert!(matches!(&effects[..], [Effect::AcceptLoss { loss, .. }] if loss.who == "ada" && loss.above.count == 1));
    let starts = Starts::new(OWN, Start { losses: 1, count: 3, mark: 33 });
    let effects = put(&mut core, Input::LossAccepted { starts, operator });
    assert!(matches!(&effects[..], [Effect::Answer { answer: Answer::LossAccepted { .. }, .. }]), "{effects:?}");
    // Another coordinator may show the same later: it is accepted already.
    join(&mut core, 3, hello(OTHER, 9, None, Some(number(OWN, 1, 11, 12))));
    let again = put(&mut core, accept);
    assert_eq!(again, [Effect::Answer { operator, answer: Answer::Rejected(Rejection::NotPutBack) }]);
}

#[test]
fn one_that_does_not_number_its_writes_minds_nothing_that_it_is_shown() {
    let mut core =
        Participant::new(Limits { max_open_branches: 8, largest_kept_bytes: 1_024, trust: Trust::EVERYBODY });
    join(&mut core, 1, hello(COORDINATOR, 1, None, Some(number(OWN, 9, 9, 9))));
}

#[test]
fn what_was_seen_of_a_coordinator_is_told_to_its_next_starts_until_one_of_them_has_written_more() {
    let mut core = participant();
    let of = |count, writes| number(COORDINATOR.0, count, u64::from(count), writes);
    assert_eq!(join(&mut core, 1, hello(COORDINATOR, 1, Some(of(1, 0)), None)), None);
    let effects = put(&mut core, Input::Seen { session: Session(1), writes: 7 });
    let seen = Seen { met: Some(of(1, 0).start), number: Some(of(1, 7)) };
    assert_eq!(effects, [Effect::RememberSeen { coordinator: COORDINATOR, seen }]);
    for session in 2..4 {
        let epoch = u32::try_from(session).unwrap();
        assert_eq!(join(&mut core, session, hello(COORDINATOR, epoch, Some(of(epoch, 0)), None)), Some(of(1, 7)));
        assert_eq!(put(&mut core, Input::Seen { session: Session(session), writes: 0 }), []);
    }
    put(&mut core, Input::Seen { session: Session(3), writes: 1 });
    assert_eq!(join(&mut core, 4, hello(COORDINATOR, 3, Some(of(3, 1)), None)), Some(of(3, 1)));
}

#[test]
fn a_new_log_under_a_known_name_is_shown_what_the_former_one_wrote_until_it_goes_on_all_the_same() {
    let mut core = participant();
    let named = |coordinator: CoordinatorId, mark| {
        let hello = hello(coordinator, 1, Some(number(coordinator.0, 1, mark, 0)), None);
        Hello { name: "c".into(), ..hello }
    };
    join(&mut core, 1, named(COORDINATOR, 1));
    put(&mut core, Input::Seen { session: Session(1), writes: 7 });
    let former = Some(number(COORDINATOR.0, 1, 1, 7));
    let recall = Recall { coordinator: OTHER, proof: Proof::default(), name: "c".into(), shown: None };
    assert_eq!(core.recalled(&recall).seen.number, former);
    // The first time may be lost with its session.
    for session in 2..4 {
        assert_eq!(join(&mut core, session, named(OTHER, 2)), former);
    }
    assert_eq!(core.recalled(&recall).seen.number, former);
    put(&mut core, Input::Seen { session: Session(3), writes: 1 });
    assert_eq!(join(&mut core, 4, named(OTHER, 2)), Some(number(OTHER.0, 1, 2, 1)));
}

#[test]
fn of_two_processes_with_one_epoch_the_second_is_refused() {
    let mut core = participant();
    join(&mut core, 1, hello(COORDINATOR, 4, Some(number(COORDINATOR.0, 4, 1, 0)), None));
    let second = hello(COORDINATOR, 4, Some(number(COORDINATOR.0, 4, 2, 0)), None);
    let effects = put(&mut core, Input::Hello { session: Session(2), hello: second });
    assert!(matches!(closed(&effects)[..], [(Session(2), SessionRefused::OtherStart { epoch: 4 })]), "{effects:?}");
    // The same process may come again.
    join(&mut core, 3, hello(COORDINATOR, 4, Some(number(COORDINATOR.0, 4, 1, 0)), None));
}

#[test]
fn a_coordinators_name_is_known_as_that_of_the_log_that_had_it_last() {
    let mut core = participant();
    let named = |coordinator| Hello { name: "c".into(), ..hello(coordinator, 1, None, None) };
    let other = |core: &Participant, coordinator| {
        core.recalled(&Recall { coordinator, proof: Proof::default(), name: "c".into(), shown: None }).other
    };
    assert_eq!(other(&core, COORDINATOR), None);
    join(&mut core, 1, named(COORDINATOR));
    assert_eq!((other(&core, COORDINATOR), other(&core, OTHER)), (None, Some(COORDINATOR)));
    join(&mut core, 2, named(OTHER));
    assert_eq!((other(&core, COORDINATOR), other(&core, OTHER)), (Some(OTHER), None));
}

fn branch(tx: &str, attempt_number: u64) -> BranchId {
    BranchId { tx: tx.parse().unwrap(), attempt_number: AttemptNumber(attempt_number), coordinator: COORDINATOR }
}

#[test]
fn what_is_kept_of_attempts_is_told_in_the_order_of_attempt_numbers_and_page_by_page() {
    let mut core = participant();
    for attempt_number in [5, 3, 9] {
        let recovered = Recovered::Committed {
            branch: branch(&format!("t{attempt_number}"), attempt_number),
            result: Kept::Here(Bytes::new()),
        };
        put(&mut core, Input::Recovered(recovered));
    }
    let prepared = Recovered::Prepared { branch: branch("t7", 7), begun_at: Timestamp(0), result: Bytes::new() };
    put(&mut core, Input::Recovered(prepared));
    let attempt = |attempt_number: u64, state| KnownAttempt {
        attempt_number: AttemptNumber(attempt_number),
        tx: format!("t{attempt_number}").parse().unwrap(),
        state,
        in_effect: Vec::new(),
    };
    let all = [
        attempt(3, KnownState::Committed),
        attempt(5, KnownState::Committed),
        attempt(7, KnownState::Prepared),
        attempt(9, KnownState::Committed),
    ];
    assert_eq!(core.attempts(COORDINATOR, AttemptNumber(0), 10), (all.to_vec(), None));
    assert_eq!(core.attempts(COORDINATOR, AttemptNumber(0), 3), (all[..3].to_vec(), Some(AttemptNumber(9))));
    assert_eq!(core.attempts(COORDINATOR, AttemptNumber(9), 3), (all[3..].to_vec(), None));
    assert_eq!(core.attempts(OTHER, AttemptNumber(0), 3), (Vec::new(), None));
}

#[test]
fn a_completed_step_is_in_effect_until_it_is_stored_that_it_was_undone_as_a_step_of_its_own() {
    let mut core = participant();
    let step = |number| StepId {
        coordinator: COORDINATOR,
        attempt_number: AttemptNumber(3),
        step: StepIndex(number),
        tx: "t".parse().unwrap(),
    };
    let mut in_effect_after = |number, state| {
        put(&mut core, Input::Recovered(Recovered::Step { step: step(number), state }));
        core.attempts(COORDINATOR, AttemptNumber(0), 10).0[0].in_effect.clone()
    };
    assert_eq!(in_effect_after(0, StepState::Completed), [StepIndex(0)]);
    assert_eq!(in_effect_after(1, StepState::Completed), [StepIndex(0), StepIndex(1)]);
    assert_eq!(in_effect_after(1 + saga::UNDONE_ANEW, StepState::Compensated), [StepIndex(0)]);
}

fn prepare(execution: Execution) -> Prepare {
    Prepare {
        tx: "t".parse().unwrap(),
        attempt_number: AttemptNumber(5),
        begun_at: Timestamp(1),
        timeout: Duration::from_secs(1),
        execution,
        work: Bytes::new(),
    }
}

#[test]
fn work_under_way_is_told_if_it_may_commit_by_itself() {
    for (execution, states) in [(Execution::OnePhase, vec![KnownState::Prepared]), (Execution::TwoPhase, vec![])] {
        let mut core = participant();
        join(&mut core, 1, hello(COORDINATOR, 1, None, None));
        let message = ToParticipant::Prepare(prepare(execution));
        put(&mut core, Input::Message { session: Session(1), message });
        let (known, _) = core.attempts(COORDINATOR, AttemptNumber(0), 10);
        assert_eq!(known.iter().map(|known| known.state).collect::<Vec<_>>(), states);
    }
}

#[test]
fn whether_an_attempt_below_the_low_water_mark_committed_alone_is_not_known_any_more() {
    let mut core = participant();
    join(&mut core, 1, hello(COORDINATOR, 1, None, None));
    let session = Session(1);
    let prepare = prepare(Execution::OnePhase);
    put(&mut core, Input::Message { session, message: ToParticipant::Prepare(prepare) });
    put(&mut core, Input::Executed { branch: branch("t", 5), vote: Vote::Committed { result: Bytes::new() } });
    put(&mut core, Input::LowWaterMark { session, low_water_mark: AttemptNumber(6).into() });
    let (tx, attempt_number) = ("t".parse().unwrap(), AttemptNumber(5));
    let effects = put(&mut core, Input::Message { session, message: ToParticipant::Settle { tx, attempt_number } });
    let unknown = |effect: &Effect| {
        matches!(effect, Effect::Send { message: ToCoordinator::Finished { outcome: BranchOutcome::Unknown, .. }, .. })
    };
    assert!(effects.iter().any(unknown), "{effects:?}");
}
