//! Messages: of a session, and what applications and operators ask.

use crate::{Target, says_why};
use bytes::Bytes;
use prost::{Message, Name};
use std::fmt::Debug;
use undoubt_coordinator::{Config, decoders as coordinator};
use undoubt_participant::decoders as participant;
use undoubt_proto::convert::{KnownOutcome, Malformed, still_open};
use undoubt_proto::{codec, v1};
use undoubt_vocabulary::{
    AbortReason, AttemptNumber, BranchOutcome, Direction, Execution, KnownAttempt, KnownState, Outcome, PartName,
    Prepare, Refusal, RefusalCode, RunStep, SagaStep, Start, StepIndex, StepOutcome, StuckStep, Succession, Timestamp,
    ToCoordinator, ToParticipant, TxId, Vote, WriteNumber,
};

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "to-participant",
        decode: converted::<v1::ToParticipant, ToParticipant>,
        growth: GROWTH,
        seeds: to_participant,
    },
    Target {
        name: "to-coordinator",
        decode: converted::<v1::ToCoordinator, ToCoordinator>,
        growth: GROWTH,
        seeds: to_coordinator,
    },
    Target { name: "outcome", decode: converted::<v1::Outcome, KnownOutcome>, growth: GROWTH, seeds: outcomes },
    Target {
        name: "known-attempt",
        decode: converted::<v1::KnownAttempt, KnownAttempt>,
        growth: GROWTH,
        seeds: known_attempts,
    },
    Target { name: "log-number", decode: converted::<v1::LogNumber, WriteNumber>, growth: GROWTH, seeds: log_numbers },
    Target { name: "coordinator-batch", decode: coordinator_batch, growth: GROWTH, seeds: coordinator_batches },
    Target { name: "participant-batch", decode: participant_batch, growth: GROWTH, seeds: participant_batches },
    Target { name: "submission", decode: submission, growth: GROWTH, seeds: submissions },
    Target { name: "begin-request", decode: begin_request, growth: GROWTH, seeds: begin_requests },
    Target { name: "join-request", decode: join_request, growth: GROWTH, seeds: join_requests },
    Target { name: "list-request", decode: list_request, growth: GROWTH, seeds: list_requests },
    Target { name: "branches-request", decode: branches_request, growth: GROWTH, seeds: branches_requests },
];

/// An empty entry of a list takes two bytes on the wire; read, converted, written and read again it is a thousand.
const GROWTH: usize = 2_048;

/// Reads a message as a server's codec does.
fn read<W: Message + Name + Default>(input: &[u8]) -> Option<W> {
    if let Err(why) = codec::check::<W>(input) {
        says_why(&why, input);
        return None;
    }
    W::decode(input).map_err(|why| says_why(&why, input)).ok()
}

/// Reads a message, and has it written and read again.
fn converted<W, V>(input: &[u8])
where
    W: Message + Name + Default + From<V>,
    V: TryFrom<W, Error = Malformed> + Clone + Debug + PartialEq,
{
    let Some(wire) = read::<W>(input) else { return };
    match V::try_from(wire) {
        Err(why) => says_why(&why, input),
        Ok(value) => {
            let written = W::from(value.clone()).encode_to_vec();
            let wire = W::decode(&written[..]).expect("what is written is a message");
            assert_eq!(V::try_from(wire).as_ref(), Ok(&value));
        }
    }
}

fn coordinator_batch(input: &[u8]) {
    let Some(batch) = read::<v1::CoordinatorBatch>(input) else { return };
    if let Some(Err(why)) = batch.hello.as_ref().map(participant::hello) {
        says_why(&why.message(), input);
    }
    if let Some(Err(why)) = batch.still_open.as_ref().map(still_open) {
        says_why(&why, input);
    }
    for message in batch.messages {
        match ToParticipant::try_from(message) {
            Ok(mut message) => message.unshare(),
            Err(why) => says_why(&why, input),
        }
    }
}

fn participant_batch(input: &[u8]) {
    let Some(batch) = read::<v1::ParticipantBatch>(input) else { return };
    let refused = batch.messages.into_iter().filter_map(|message| ToCoordinator::try_from(message).err());
    refused.for_each(|why| says_why(&why, input));
}

fn submission(input: &[u8]) {
    let Some(request) = read::<v1::SubmitRequest>(input) else { return };
    if let Err(status) = coordinator::submission(request, &Config::default()) {
        says_why(&status.message(), input);
    }
}

fn begin_request(input: &[u8]) {
    let Some(request) = read::<v1::BeginRequest>(input) else { return };
    for who in [None, Some("ada")] {
        if let Err(status) = coordinator::opening(request.clone(), who, &Config::default()) {
            says_why(&status.message(), input);
        }
    }
}

fn join_request(input: &[u8]) {
    let Some(request) = read::<v1::JoinRequest>(input) else { return };
    if let Err(status) = coordinator::joining(request) {
        says_why(&status.message(), input);
    }
}

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn list_request(input: &[u8]) {
    let Some(request) = read::<v1::ListRequest>(input) else { return };
    let after = request.after.clone();
    match coordinator::list(request, NOW) {
        Ok(Some(cursor)) => assert_eq!(cursor, after, "a cursor is written as it was read"),
        Ok(None) => assert!(after.is_empty()),
        Err(status) => says_why(&status.message(), input),
    }
}

fn branches_request(input: &[u8]) {
    let Some(request) = read::<v1::ListBranchesRequest>(input) else { return };
    if let Err(status) = participant::list(request) {
        says_why(&status.message(), input);
    }
}

fn tx() -> TxId {
    "order-17".parse().expect("it is an id")
}

fn refusal() -> Refusal {
    Refusal::new(RefusalCode::LockConflict, "key 'alice' is locked".to_owned())
}

fn encoded<W: Message + From<V>, V>(values: impl IntoIterator<Item = V>) -> Vec<Vec<u8>> {
    values.into_iter().map(|value| W::from(value).encode_to_vec()).collect()
}

fn for_participants() -> Vec<ToParticipant> {
    let attempt_number = AttemptNumber(7 << 40 | 9);
    let prepare = Prepare {
        tx: tx(),
        attempt_number,
        begun_at: NOW,
        timeout: std::time::Duration::from_secs(10),
        execution: Execution::TwoPhase,
        work: Bytes::from_static(b"work"),
    };
    let run = RunStep {
        tx: tx(),
        attempt_number,
        step: StepIndex(1),
        direction: Direction::Compensating,
        acted_elsewhere: false,
        check_back: false,
        attempt: 3,
        begun_at: NOW,
        timeout: std::time::Duration::from_secs(10),
        work: Bytes::from_static(b"work"),
        inputs: vec![Bytes::from_static(b"input"), Bytes::new()],
    };
    let tx = tx();
    vec![
        ToParticipant::Prepare(Prepare { execution: Execution::OnePhase, ..prepare.clone() }),
        ToParticipant::Prepare(prepare),
        ToParticipant::Confirm { tx: tx.clone(), attempt_number },
        ToParticipant::Commit { tx: tx.clone(), attempt_number },
        ToParticipant::Abort { tx: tx.clone(), attempt_number, certain: true },
        ToParticipant::Settle { tx: tx.clone(), attempt_number },
        ToParticipant::Undecided { tx: tx.clone(), attempt_number },
        ToParticipant::Noted { tx: tx.clone(), attempt_number },
        ToParticipant::Run(run),
        ToParticipant::Close { tx, attempt_number },
    ]
}

fn for_coordinators() -> Vec<ToCoordinator> {
    let (tx, attempt_number) = (tx(), AttemptNumber(7 << 40 | 9));
    let result = Bytes::from_static(b"result");
    let ran = |outcome| ToCoordinator::Ran {
        tx: tx.clone(),
        attempt_number,
        step: StepIndex(0),
        direction: Direction::Forward,
        attempt: 1,
        outcome,
    };
    let vote = |vote| ToCoordinator::Vote { tx: tx.clone(), attempt_number, vote };
    vec![
        vote(Vote::Prepared { result: result.clone() }),
        vote(Vote::ReadOnly { result: result.clone() }),
        vote(Vote::Committed { result: result.clone() }),
        vote(Vote::Refused(refusal())),
        ToCoordinator::Confirmed { tx: tx.clone(), attempt_number, held: true },
        ToCoordinator::Finished { tx: tx.clone(), attempt_number, outcome: BranchOutcome::HeuristicallyAborted },
        ToCoordinator::Inquiry { tx: tx.clone(), attempt_number },
        ran(StepOutcome::Done { result, pending: true }),
        ran(StepOutcome::Empty),
        ran(StepOutcome::Refused(refusal())),
        ToCoordinator::Closed { tx: tx.clone(), attempt_number },
    ]
}

fn to_participant() -> Vec<Vec<u8>> {
    encoded::<v1::ToParticipant, _>(for_participants())
}

fn to_coordinator() -> Vec<Vec<u8>> {
    encoded::<v1::ToCoordinator, _>(for_coordinators())
}

fn outcomes() -> Vec<Vec<u8>> {
    let by = || "bank-a".parse().expect("it is a name");
    let branch = PartName::Branch(by());
    let step = PartName::Step("pay".parse().expect("it is a name"));
    let results = [(branch, Bytes::from_static(b"70")), (step, Bytes::new())].into();
    let stuck = StuckStep {
        step: "pay".parse().expect("it is a name"),
        participant: by(),
        direction: Direction::Forward,
        refusal: refusal(),
    };
    let committed =
        KnownOutcome { decided: Some(Outcome::Committed), results, stuck: None, closed: false, applied: None };
    let pending = KnownOutcome { decided: None, results: [].into(), stuck: Some(stuck), closed: true, applied: None };
    let reasons = [
        AbortReason::Refused { by: by(), refusal: refusal() },
        AbortReason::DeadlinePassed { unanswered: vec![by()] },
        AbortReason::Unanswered { by: by(), attempts: 3 },
        AbortReason::ReadLocksLost { by: by() },
        AbortReason::NotExecuted { by: by() },
        AbortReason::GivenUp { on: by() },
        AbortReason::Cancelled,
        AbortReason::Presumed,
        AbortReason::TooMuch { at: by(), refusal: refusal() },
        AbortReason::Unusable { cause: "it has no steps".to_owned() },
    ];
    let aborted = reasons.map(|reason| KnownOutcome {
        decided: Some(Outcome::Aborted(reason)),
        results: [].into(),
        stuck: None,
        closed: false,
        applied: None,
    });
    encoded::<v1::Outcome, _>([committed, pending].into_iter().chain(aborted))
}

fn write_number() -> WriteNumber {
    WriteNumber { log: [7; 16], start: Start { losses: 1, count: 2, mark: 3 }, writes: 4 }
}

fn known_attempts() -> Vec<Vec<u8>> {
    let attempt = |state| KnownAttempt {
        attempt_number: AttemptNumber(9),
        tx: tx(),
        state,
        in_effect: vec![StepIndex(0), StepIndex(2)],
    };
    encoded::<v1::KnownAttempt, _>([KnownState::Prepared, KnownState::Committed, KnownState::Steps].map(attempt))
}

fn log_numbers() -> Vec<Vec<u8>> {
    encoded::<v1::LogNumber, _>([write_number()])
}

fn coordinator_batches() -> Vec<Vec<u8>> {
    let key = undoubt_platform::SecretKey::draw(&undoubt_platform::SeededRandom::new(1));
    let key = key.succeed(&undoubt_platform::SeededRandom::new(2));
    let hello = v1::Hello {
        protocol_version: 1,
        newest_protocol_version: 2,
        coordinator_id: Bytes::from_static(&[7; 16]),
        coordinator_name: "c".to_owned(),
        participant_name: "bank-a".to_owned(),
        epoch: 3,
        number: Some(write_number().into()),
        seen: Some(write_number().into()),
        public_key: key.public().0.to_vec().into(),
        successions: key.successions().iter().cloned().map(|it: Succession| it.into()).collect(),
        ..v1::Hello::default()
    };
    let messages = for_participants().into_iter().map(Into::into).collect();
    let batch = v1::CoordinatorBatch { hello: Some(hello), ..v1::CoordinatorBatch::default() };
    let later = v1::CoordinatorBatch {
        low_water_mark: 5,
        still_open: Some(v1::StillOpen { attempt_numbers: vec![2, 4] }),
        stable_writes: 6,
        messages,
        ..v1::CoordinatorBatch::default()
    };
    vec![batch.encode_to_vec(), later.encode_to_vec()]
}

fn participant_batches() -> Vec<Vec<u8>> {
    let messages = for_coordinators().into_iter().map(Into::into).collect();
    vec![v1::ParticipantBatch { stable_writes: 6, messages, ..v1::ParticipantBatch::default() }.encode_to_vec()]
}

fn submissions() -> Vec<Vec<u8>> {
    let step = |name: &str, after: Vec<u32>, pivot: bool| v1::SagaStep {
        name: name.to_owned(),
        participant: "bank-a".to_owned(),
        action: Some(Bytes::from_static(b"work")),
        completion: None,
        compensation: (!pivot).then(|| Bytes::from_static(b"undo")),
        after: after.clone(),
        uses: after,
        pivot,
        retry: Some(v1::RetryPolicy { max_attempts: 3, first_pause_ms: 5, max_pause_ms: 50, attempt_timeout_ms: 500 }),
    };
    let branch = |name: &str| v1::BranchWork { participant: name.to_owned(), work: Bytes::from_static(b"work") };
    let two_phase = v1::SubmitRequest {
        tx: tx().to_bytes(),
        branches: vec![branch("bank-a"), branch("bank-b")],
        timeout_ms: 5_000,
        no_wait: true,
        callback: "http://127.0.0.1:80/hook".to_owned(),
        ..v1::SubmitRequest::default()
    };
    let saga = v1::SubmitRequest {
        tx: tx().to_bytes(),
        mode: v1::Mode::Saga.into(),
        steps: vec![step("a", vec![], false), step("b", vec![0], true), step("c", vec![0, 1], true)],
        ..v1::SubmitRequest::default()
    };
    let auto = v1::SubmitRequest { mode: v1::Mode::Auto.into(), value: 7, ..saga.clone() };
    [two_phase, saga, auto].iter().map(Message::encode_to_vec).collect()
}

fn open_step(name: &str) -> v1::SagaStep {
    v1::SagaStep {
        name: name.to_owned(),
        participant: "bank-a".to_owned(),
        action: Some(Bytes::from_static(b"work")),
        ..v1::SagaStep::default()
    }
}

fn begin_requests() -> Vec<Vec<u8>> {
    let own = v1::BeginRequest {
        tx: tx().to_bytes(),
        timeout_ms: 5_000,
        completion_order: v1::CompletionOrder::Reversed.into(),
        check_back: Some(open_step("")),
        owner_only: true,
        ..v1::BeginRequest::default()
    };
    let completion_order = v1::CompletionOrder::TwoPhase.into();
    let two_phase = v1::BeginRequest { completion_order, check_back: None, ..own.clone() };
    [own, two_phase].iter().map(Message::encode_to_vec).collect()
}

fn join_requests() -> Vec<Vec<u8>> {
    let (undo, complete) = (Some(Bytes::from_static(b"undo")), Some(Bytes::from_static(b"complete")));
    let acting = v1::SagaStep { compensation: undo, completion: complete.clone(), ..open_step("seat") };
    let branch = v1::SagaStep { action: None, completion: complete, ..open_step("b") };
    let request = |step| v1::JoinRequest { tx: tx().to_bytes(), step: Some(step), no_wait: true };
    [acting, branch].map(|step| request(step).encode_to_vec()).into()
}

fn list_requests() -> Vec<Vec<u8>> {
    let request = |filter: v1::list_request::Filter, after: &[u8]| v1::ListRequest {
        filter: filter.into(),
        state: v1::State::Committed.into(),
        older_than_ms: 7,
        younger_than_ms: 9,
        limit: 3,
        after: Bytes::copy_from_slice(after),
        participant: "bank-a".to_owned(),
        id_prefix: Bytes::from_static(b"order-"),
    };
    let open = [&[1][..], &NOW.0.to_be_bytes(), b"order-17"].concat();
    let ended = [&[3][..], &NOW.0.to_be_bytes(), b"order-17"].concat();
    use v1::list_request::Filter;
    let requests = [(Filter::Unspecified, &open[..]), (Filter::Damaged, b"\x02order-17"), (Filter::Ended, &ended)];
    requests.map(|(filter, after)| request(filter, after).encode_to_vec()).into()
}

fn branches_requests() -> Vec<Vec<u8>> {
    let request = v1::ListBranchesRequest { in_doubt_only: true, limit: 4, after: Bytes::from_static(b"\x01place") };
    vec![request.encode_to_vec()]
}

/// Returns a step of a saga, for records.
pub(crate) fn saga_step() -> SagaStep {
    SagaStep {
        name: "pay".parse().expect("it is a name"),
        participant: "bank-a".parse().expect("it is a name"),
        action: Some(Bytes::from_static(b"work")),
        completion: None,
        compensation: Some(Bytes::from_static(b"undo")),
        after: Vec::new(),
        uses: Vec::new(),
        pivot: false,
        retry: undoubt_vocabulary::RetryPolicy::default(),
    }
}
