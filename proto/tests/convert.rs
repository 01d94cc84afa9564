//! What is said arrives as it was meant, and what nobody well-behaved would say is refused, never met with a panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use std::fmt::Debug;
use std::time::Duration;
use undoubt_proto::convert::{KnownOutcome, Malformed};
use undoubt_proto::v1;
use undoubt_proto::v1::branch_result::Part;
use undoubt_vocabulary::limits::{MAX_DETAIL_BYTES, MAX_RESULT_BYTES, MAX_WORK_BYTES};
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, CoordinatorPhase, Direction, EventKind, Execution, Outcome, PartName,
    PartState, ParticipantName, Prepare, Refusal, RefusalCode, RunStep, StepIndex, StepName, StepOutcome, StuckStep,
    Timestamp, ToCoordinator, ToParticipant, TransactionPhase, TxId, Vote,
};

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

fn tx() -> impl Strategy<Value = TxId> {
    vec(any::<u8>(), 1..=64).prop_map(|bytes| TxId::new(bytes).unwrap())
}

fn attempt_number() -> impl Strategy<Value = AttemptNumber> {
    any::<u64>().prop_map(AttemptNumber)
}

fn name() -> impl Strategy<Value = ParticipantName> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|name| name.parse().unwrap())
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let codes = [
        RefusalCode::Condition,
        RefusalCode::InvalidWork,
        RefusalCode::TooLarge,
        RefusalCode::LockConflict,
        RefusalCode::LockTimeout,
        RefusalCode::Unavailable,
        RefusalCode::Late,
    ];
    (prop::sample::select(codes.to_vec()), ".{0,300}").prop_map(|(code, detail)| Refusal::new(code, detail))
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        bytes().prop_map(|result| Vote::Prepared { result }),
        bytes().prop_map(|result| Vote::ReadOnly { result }),
        bytes().prop_map(|result| Vote::Committed { result }),
        refusal().prop_map(Vote::Refused),
    ]
}

fn branch_outcome() -> impl Strategy<Value = BranchOutcome> {
    prop::sample::select(vec![
        BranchOutcome::Committed,
        BranchOutcome::Aborted,
        BranchOutcome::HeuristicallyCommitted,
        BranchOutcome::HeuristicallyAborted,
        BranchOutcome::Unknown,
    ])
}

fn abort_reason() -> impl Strategy<Value = AbortReason> {
    prop_oneof![
        (name(), refusal()).prop_map(|(by, refusal)| AbortReason::Refused { by, refusal }),
        vec(name(), 0..=64).prop_map(|unanswered| AbortReason::DeadlinePassed { unanswered }),
        (name(), any::<u32>()).prop_map(|(by, attempts)| AbortReason::Unanswered { by, attempts }),
        name().prop_map(|by| AbortReason::ReadLocksLost { by }),
        name().prop_map(|by| AbortReason::NotExecuted { by }),
        name().prop_map(|on| AbortReason::GivenUp { on }),
        Just(AbortReason::Cancelled),
        Just(AbortReason::Presumed),
        (name(), refusal()).prop_map(|(at, refusal)| AbortReason::TooMuch { at, refusal }),
        "[ -~]{0,99}".prop_map(|cause| AbortReason::Unusable { cause }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Committed), abort_reason().prop_map(Outcome::Aborted)]
}

fn step_name() -> impl Strategy<Value = StepName> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|name| name.parse().unwrap())
}

fn part_name() -> impl Strategy<Value = PartName> {
    prop_oneof![name().prop_map(PartName::Branch), step_name().prop_map(PartName::Step)]
}

fn stuck() -> impl Strategy<Value = StuckStep> {
    (step_name(), name(), any::<bool>(), refusal()).prop_map(|(step, participant, compensation, refusal)| {
        let direction = if compensation { Direction::Compensating } else { Direction::Forward };
        StuckStep { step, participant, direction, refusal }
    })
}

fn known_outcome() -> impl Strategy<Value = KnownOutcome> {
    (option::of(outcome()), btree_map(part_name(), bytes(), 0..=64)).prop_flat_map(|(decided, results)| {
        let stuck = if decided.is_none() { option::of(stuck()).boxed() } else { Just(None).boxed() };
        stuck.prop_map(move |stuck| {
            let closed = decided.is_none() && stuck.is_none();
            KnownOutcome { decided: decided.clone(), results: results.clone(), stuck, closed, applied: None }
        })
    })
}

fn prepare() -> impl Strategy<Value = Prepare> {
    (tx(), attempt_number(), any::<u64>(), any::<u32>(), any::<bool>(), bytes()).prop_map(
        |(tx, attempt_number, begun_at, timeout, one_phase, work)| Prepare {
            tx,
            attempt_number,
            begun_at: Timestamp(begun_at),
            timeout: Duration::from_millis(timeout.into()),
            execution: if one_phase { Execution::OnePhase } else { Execution::TwoPhase },
            work,
        },
    )
}

fn step() -> impl Strategy<Value = StepIndex> {
    any::<u16>().prop_map(StepIndex)
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Forward), Just(Direction::Compensating), Just(Direction::Completing)]
}

fn step_outcome() -> impl Strategy<Value = StepOutcome> {
    prop_oneof![
        (bytes(), any::<bool>()).prop_map(|(result, pending)| StepOutcome::Done { result, pending }),
        Just(StepOutcome::Empty),
        refusal().prop_map(StepOutcome::Refused),
    ]
}

fn run_step() -> impl Strategy<Value = RunStep> {
    (
        (tx(), attempt_number(), step(), direction()),
        any::<u32>(),
        any::<u64>(),
        any::<u32>(),
        bytes(),
        vec(bytes(), 0..=64),
    )
        .prop_map(|((tx, attempt_number, step, direction), attempt, begun_at, timeout, work, inputs)| RunStep {
            acted_elsewhere: direction != Direction::Forward && attempt % 2 == 1,
            check_back: direction == Direction::Forward && attempt % 3 == 1,
            tx,
            attempt_number,
            step,
            direction,
            attempt,
            begun_at: Timestamp(begun_at),
            timeout: Duration::from_millis(timeout.into()),
            work,
            inputs,
        })
}

fn to_participant() -> impl Strategy<Value = ToParticipant> {
    prop_oneof![
        prepare().prop_map(ToParticipant::Prepare),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToParticipant::Confirm { tx, attempt_number }),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToParticipant::Commit { tx, attempt_number }),
        (tx(), attempt_number(), any::<bool>()).prop_map(|(tx, attempt_number, certain)| ToParticipant::Abort {
            tx,
            attempt_number,
            certain
        }),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToParticipant::Settle { tx, attempt_number }),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToParticipant::Undecided { tx, attempt_number }),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToParticipant::Noted { tx, attempt_number }),
        run_step().prop_map(ToParticipant::Run),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToParticipant::Close { tx, attempt_number }),
    ]
}

fn to_coordinator() -> impl Strategy<Value = ToCoordinator> {
    prop_oneof![
        (tx(), attempt_number(), vote()).prop_map(|(tx, attempt_number, vote)| ToCoordinator::Vote {
            tx,
            attempt_number,
            vote
        }),
        (tx(), attempt_number(), any::<bool>()).prop_map(|(tx, attempt_number, held)| ToCoordinator::Confirmed {
            tx,
            attempt_number,
            held
        }),
        (tx(), attempt_number(), branch_outcome()).prop_map(|(tx, attempt_number, outcome)| ToCoordinator::Finished {
            tx,
            attempt_number,
            outcome
        }),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToCoordinator::Inquiry { tx, attempt_number }),
        (tx(), attempt_number(), step(), direction(), any::<u32>(), step_outcome()).prop_map(
            |(tx, attempt_number, step, direction, attempt, outcome)| ToCoordinator::Ran {
                tx,
                attempt_number,
                step,
                direction,
                attempt,
                outcome
            }
        ),
        (tx(), attempt_number()).prop_map(|(tx, attempt_number)| ToCoordinator::Closed { tx, attempt_number }),
    ]
}

/// Through the wire form and its bytes, and back.
fn carried<Plain, Wire>(value: Plain) -> Plain
where
    Wire: Message + Default + From<Plain>,
    Plain: TryFrom<Wire, Error: Debug>,
{
    let bytes = Wire::from(value).encode_to_vec();
    Plain::try_from(Wire::decode(&bytes[..]).unwrap()).unwrap()
}

/// Reads bytes as this message; only a panic would be wrong.
fn read<Plain: TryFrom<Wire>, Wire: Message + Default>(bytes: &[u8]) {
    let _ = Wire::decode(bytes).map(Plain::try_from);
}

proptest! {
    #[test]
    fn what_a_coordinator_says_arrives_as_it_was_meant(message in to_participant()) {
        prop_assert_eq!(carried::<_, v1::ToParticipant>(message.clone()), message);
    }

    #[test]
    fn what_a_participant_says_arrives_as_it_was_meant(message in to_coordinator()) {
        prop_assert_eq!(carried::<_, v1::ToCoordinator>(message.clone()), message);
    }

    #[test]
    fn an_outcome_arrives_as_it_was_meant(known in known_outcome(), outcome in outcome()) {
        prop_assert_eq!(carried::<_, v1::Outcome>(known.clone()), known);
        prop_assert_eq!(carried::<_, v1::Outcome>(outcome.clone()), outcome);
    }

    #[test]
    fn reading_arbitrary_bytes_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        read::<ToParticipant, v1::ToParticipant>(&bytes);
        read::<ToCoordinator, v1::ToCoordinator>(&bytes);
        read::<KnownOutcome, v1::Outcome>(&bytes);
    }

    // Arbitrary bytes seldom get past the outermost field; a damaged message reaches every check behind it.
    #[test]
    fn reading_a_damaged_message_never_panics(
        messages in (to_participant(), to_coordinator(), known_outcome()),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let damaged = |mut bytes: Vec<u8>| {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            bytes
        };
        read::<ToParticipant, v1::ToParticipant>(&damaged(v1::ToParticipant::from(messages.0).encode_to_vec()));
        read::<ToCoordinator, v1::ToCoordinator>(&damaged(v1::ToCoordinator::from(messages.1).encode_to_vec()));
        read::<KnownOutcome, v1::Outcome>(&damaged(v1::Outcome::from(messages.2).encode_to_vec()));
    }
}

fn wire_vote(vote: v1::vote::Vote) -> v1::ToCoordinator {
    let body = v1::to_coordinator::Body::Vote(v1::Vote { vote: Some(vote) });
    v1::ToCoordinator { tx: Bytes::from_static(b"t"), attempt_number: 1, body: Some(body), emitted: None }
}

fn wire_refusal(code: i32, detail_bytes: usize) -> v1::ToCoordinator {
    wire_vote(v1::vote::Vote::Refused(v1::Refusal { code, detail: "x".repeat(detail_bytes) }))
}

#[test]
fn a_message_without_its_id_or_its_body_is_refused() {
    let nameless =
        v1::ToParticipant { body: Some(v1::to_participant::Body::Commit(v1::Commit {})), ..Default::default() };
    assert!(matches!(ToParticipant::try_from(nameless), Err(Malformed::Id { field: "tx", .. })));

    let empty = v1::ToParticipant { tx: Bytes::from_static(b"t"), attempt_number: 1, ..Default::default() };
    assert_eq!(ToParticipant::try_from(empty), Err(Malformed::Missing { field: "body" }));
}

#[test]
fn a_value_unknown_here_is_refused_not_replaced() {
    let unknown = Malformed::UnknownValue { field: "refusal.code", value: 99 };
    assert_eq!(ToCoordinator::try_from(wire_refusal(99, 0)), Err(unknown));
    assert_eq!(ToCoordinator::try_from(wire_refusal(0, 0)), Err(Malformed::Missing { field: "refusal.code" }));
}

#[test]
fn what_is_at_its_limit_passes_and_what_is_above_is_refused_with_the_limit_named() {
    let condition = v1::RefusalCode::Condition.into();
    assert!(ToCoordinator::try_from(wire_refusal(condition, MAX_DETAIL_BYTES)).is_ok());
    let cut = ToCoordinator::try_from(wire_refusal(condition, MAX_DETAIL_BYTES + 1)).unwrap();
    let ToCoordinator::Vote { vote: Vote::Refused(refusal), .. } = &cut else { panic!("{cut:?}") };
    assert_eq!(refusal.detail.len(), MAX_DETAIL_BYTES, "it is cut, and the refusal counts");

    let result = |length| wire_vote(v1::vote::Vote::Prepared(vec![0; length].into()));
    // The coordinator judges it: the branch is prepared all the same.
    assert!(ToCoordinator::try_from(result(MAX_RESULT_BYTES + 1)).is_ok());

    let work = |length| v1::ToParticipant {
        tx: Bytes::from_static(b"t"),
        attempt_number: 1,
        body: Some(v1::to_participant::Body::Prepare(v1::Prepare {
            work: vec![0; length].into(),
            ..Default::default()
        })),
        trace_context: None,
    };
    assert!(ToParticipant::try_from(work(MAX_WORK_BYTES)).is_ok());
    assert!(matches!(ToParticipant::try_from(work(MAX_WORK_BYTES + 1)), Err(Malformed::TooLong { .. })));
}

#[test]
fn an_outcome_that_contradicts_itself_is_refused() {
    let presumed = || Some(v1::AbortReason::from(AbortReason::Presumed));
    let wire =
        |state: v1::State, abort_reason| v1::Outcome { state: state.into(), abort_reason, ..v1::Outcome::default() };
    let read = |state, reason| KnownOutcome::try_from(wire(state, reason));
    let reason = "outcome.abort_reason";
    assert_eq!(read(v1::State::Committed, presumed()), Err(Malformed::Unexpected { field: reason }));
    assert_eq!(read(v1::State::Pending, presumed()), Err(Malformed::Unexpected { field: reason }));
    assert_eq!(read(v1::State::Aborted, None), Err(Malformed::Missing { field: reason }));
    assert_eq!(read(v1::State::Unspecified, None), Err(Malformed::Missing { field: "outcome.state" }));
    let stuck = Some(v1::StuckStep { step: "a".into(), participant: "b".into(), ..Default::default() });
    let decided = v1::Outcome { stuck, ..wire(v1::State::Committed, None) };
    assert_eq!(KnownOutcome::try_from(decided), Err(Malformed::Unexpected { field: "outcome.stuck" }));
}

#[test]
fn a_participant_that_is_named_twice_in_the_results_is_refused() {
    let twice = v1::BranchResult { part: Some(Part::Participant("bank-a".into())), result: Bytes::new() };
    let wire =
        v1::Outcome { state: v1::State::Committed.into(), results: vec![twice.clone(), twice], ..Default::default() };
    let error = Malformed::Repeated { field: "outcome.results", name: "bank-a".into() };
    assert_eq!(KnownOutcome::try_from(wire), Err(error));
}

#[test]
fn an_undecided_transaction_has_no_outcome() {
    let pending = v1::Outcome { state: v1::State::Pending.into(), ..v1::Outcome::default() };
    assert_eq!(KnownOutcome::try_from(pending.clone()).unwrap().decided, None);
    assert_eq!(Outcome::try_from(pending), Err(Malformed::Undecided));
}

#[test]
fn how_things_stand_has_the_same_numbers_and_names_on_the_wire() {
    fn agrees<W: TryFrom<i32>>(prefix: &str, number: i32, label: &str, name: impl Fn(&W) -> &'static str) {
        let wire = W::try_from(number).unwrap_or_else(|_| panic!("{label} has no number on the wire"));
        assert_eq!(name(&wire), format!("{prefix}_{}", label.to_uppercase().replace('-', "_")));
    }
    for phase in TransactionPhase::ALL {
        let name = v1::TransactionPhase::as_str_name;
        agrees("TRANSACTION_PHASE", phase.number(), phase.as_str(), name);
    }
    for state in PartState::ALL {
        agrees("PART_STATE", state.number(), state.as_str(), v1::PartState::as_str_name);
    }
    for kind in EventKind::ALL {
        agrees("EVENT_KIND", kind.number(), kind.as_str(), v1::EventKind::as_str_name);
    }
    for phase in CoordinatorPhase::ALL {
        let name = v1::CoordinatorPhase::as_str_name;
        agrees("COORDINATOR_PHASE", phase.number(), phase.as_str(), name);
    }
}
