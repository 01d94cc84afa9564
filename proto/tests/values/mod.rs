//! One fixed value of everything that is stored or said in a session; each field is set at least once.

mod works;

use super::{Sample, sample};
use bytes::Bytes;
use undoubt_proto::v1::branch_result::Part;
use undoubt_proto::{record, v1};
pub use works::work;

const TX: Bytes = Bytes::from_static(b"transfer-1");
const COORDINATOR: Bytes = Bytes::from_static(b"coordinator-0001");
/// The third attempt number of the second epoch.
const ATTEMPT_NUMBER: u64 = (2 << 40) + 3;
/// 2026-01-01T00:00:00Z.
const BEGUN_AT_US: u64 = 1_767_225_600_000_000;
const ENDED_AT_US: u64 = BEGUN_AT_US + 2_500;

fn traced() -> record::Traced {
    record::Traced {
        trace_id: Bytes::from_static(&[0x4b; 16]),
        span_id: Bytes::from_static(&[0xf0; 8]),
        parent_span_id: Bytes::from_static(&[0x0f; 8]),
        trace_state: "key=value".into(),
    }
}

fn trace_context() -> v1::TraceContext {
    v1::TraceContext {
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        tracestate: "key=value".into(),
    }
}

fn saga_state() -> record::SagaState {
    use record::step_progress::State;
    let step = |name: &str, compensation| v1::SagaStep {
        name: name.into(),
        participant: "bank-a".into(),
        action: Some(Bytes::from_static(b"do")),
        compensation,
        completion: None,
        after: vec![0],
        uses: vec![0],
        pivot: true,
        retry: Some(v1::RetryPolicy {
            max_attempts: 5,
            first_pause_ms: 100,
            max_pause_ms: 5_000,
            attempt_timeout_ms: 3_000,
        }),
    };
    let progress = [
        None,
        Some(State::Done(record::StepDone { result: Bytes::from_static(b"result"), pending: true, apart: false })),
        Some(State::Undone(record::StepUndone {})),
        Some(State::Skipped(record::StepSkipped {})),
    ];
    record::SagaState {
        steps: vec![step("take", Some(Bytes::from_static(b"undo"))), step("give", None)],
        deadline_us: ENDED_AT_US,
        compensating: Some(v1::AbortReason { reason: Some(v1::abort_reason::Reason::Cancelled(v1::Cancelled {})) }),
        progress: progress.into_iter().map(|state| record::StepProgress { state }).collect(),
        definition_apart: false,
    }
}

/// The same saga, with all that is large stored apart.
fn saga_state_apart() -> record::SagaState {
    use record::step_progress::State;
    let done = State::Done(record::StepDone { result: Bytes::new(), pending: false, apart: true });
    record::SagaState {
        steps: Vec::new(),
        compensating: None,
        progress: vec![record::StepProgress { state: Some(done) }, record::StepProgress { state: None }],
        definition_apart: true,
        ..saga_state()
    }
}

fn number() -> v1::LogNumber {
    v1::LogNumber { log_id: COORDINATOR, losses: 1, start: 2, mark: 3, writes: 4 }
}

pub fn records() -> Vec<Sample> {
    let committed = v1::BranchOutcome::Committed.into();
    vec![
        sample(
            "OpenTransaction",
            record::OpenTransaction {
                kind: record::open_transaction::Kind::Commit.into(),
                attempt_number: ATTEMPT_NUMBER,
                begun_at_us: BEGUN_AT_US,
                digest: Bytes::from_static(b"digest"),
                participants: vec!["bank-a".into(), "bank-b".into()],
                results: vec![branch_result()],
                saga: None,
                happened: happened(),
                read_only: vec!["rates".into()],
                results_apart: vec![],
                held_because: String::new(),
                traced: Some(traced()),
                opened: None,
            },
        ),
        sample(
            "OpenTransaction, delegated",
            record::OpenTransaction {
                kind: record::open_transaction::Kind::Delegated.into(),
                attempt_number: ATTEMPT_NUMBER,
                participants: vec!["bank-a".into()],
                ..Default::default()
            },
        ),
        sample(
            "OpenTransaction, saga",
            record::OpenTransaction {
                kind: record::open_transaction::Kind::Saga.into(),
                attempt_number: ATTEMPT_NUMBER,
                begun_at_us: BEGUN_AT_US,
                digest: Bytes::from_static(b"digest"),
                saga: Some(saga_state()),
                ..Default::default()
            },
        ),
        sample(
            "OpenTransaction, held",
            record::OpenTransaction {
                attempt_number: ATTEMPT_NUMBER,
                participants: vec!["bank-a".into()],
                held_because: "it was put back".into(),
                ..Default::default()
            },
        ),
        sample(
            "Loss",
            record::Loss {
                at_us: ENDED_AT_US,
                who: "ada".into(),
                reason: "the disk is gone".into(),
                put_back: "it was put back".into(),
                kept: Some(number()),
                participant: "bank-a".into(),
                listed: 7,
                more: true,
            },
        ),
        sample("SeenOfCoordinator", record::SeenOfCoordinator { met: Some(number()), number: Some(number()) }),
        sample(
            "AuditRecord",
            record::AuditRecord {
                entry: Some(v1::AuditEntry {
                    number: 3,
                    at_us: ENDED_AT_US,
                    who: "ada".into(),
                    through: "gateway".into(),
                    address: "127.0.0.1".into(),
                    action: "forget".into(),
                    txs: vec![TX],
                    about: "bank-a".into(),
                    note: "ada: it was paid".into(),
                    refused: "NOT_FOUND".into(),
                    count: 1,
                }),
                bytes_before: 300,
            },
        ),
        sample(
            "EndedTransaction",
            record::EndedTransaction {
                outcome: Some(v1::Outcome {
                    state: v1::State::Committed.into(),
                    abort_reason: None,
                    results: vec![branch_result()],
                    worth_retrying: false,
                    stuck: None,
                    closed: false,
                }),
                attempt_number: ATTEMPT_NUMBER,
                begun_at_us: BEGUN_AT_US,
                ended_at_us: ENDED_AT_US,
                digest: Bytes::from_static(b"digest"),
                branches: vec![record::EndedBranch {
                    participant: "bank-a".into(),
                    outcome: committed,
                    step: String::new(),
                    attempt_number: 0,
                    nothing_kept: false,
                }],
                saga: false,
                happened: happened(),
                results_apart: vec![],
                read_only: vec!["rates".into()],
                traced: None,
            },
        ),
        sample("EndedTransaction, traced", record::EndedTransaction { traced: Some(traced()), ..Default::default() }),
        sample(
            "LostParts",
            record::LostParts {
                parts: vec![record::LostPart {
                    participant: "bank-a".into(),
                    step_name: "pay".into(),
                    step: Some(0),
                    outcome: committed,
                }],
            },
        ),
        sample(
            "OpenTransaction, large results apart",
            record::OpenTransaction {
                kind: record::open_transaction::Kind::Commit.into(),
                attempt_number: ATTEMPT_NUMBER,
                results: vec![v1::BranchResult {
                    part: Some(Part::Participant("bank-a".into())),
                    result: Bytes::new(),
                }],
                results_apart: vec!["bank-a".into()],
                ..Default::default()
            },
        ),
        sample(
            "OpenTransaction, large saga apart",
            record::OpenTransaction {
                kind: record::open_transaction::Kind::Saga.into(),
                attempt_number: ATTEMPT_NUMBER,
                saga: Some(saga_state_apart()),
                ..Default::default()
            },
        ),
        sample("SagaDefinition", record::SagaDefinition { steps: saga_state().steps }),
        sample(
            "EndedTransaction, large results apart",
            record::EndedTransaction {
                attempt_number: ATTEMPT_NUMBER,
                results_apart: vec!["bank-a".into()],
                ..Default::default()
            },
        ),
        aborted("EndedTransaction, refused", refused_by()),
        aborted(
            "EndedTransaction, deadline passed",
            v1::abort_reason::Reason::DeadlinePassed(v1::DeadlinePassed { unanswered: vec!["bank-b".into()] }),
        ),
        aborted(
            "EndedTransaction, unanswered",
            v1::abort_reason::Reason::Unanswered(v1::UnansweredBy { participant: "bank-b".into(), attempts: 3 }),
        ),
        aborted("EndedTransaction, read locks lost", v1::abort_reason::Reason::ReadLocksLost("bank-a".into())),
        aborted("EndedTransaction, not executed", v1::abort_reason::Reason::NotExecuted("bank-a".into())),
        aborted("EndedTransaction, given up", v1::abort_reason::Reason::GivenUp("bank-a".into())),
        aborted("EndedTransaction, cancelled", v1::abort_reason::Reason::Cancelled(v1::Cancelled {})),
        aborted(
            "EndedTransaction, too much",
            v1::abort_reason::Reason::TooMuch(v1::RefusedBy { participant: "bank-a".into(), refusal: Some(refusal()) }),
        ),
        aborted("EndedTransaction, unusable", v1::abort_reason::Reason::Unusable("it has no steps".into())),
        aborted("EndedTransaction, presumed", v1::abort_reason::Reason::Presumed(v1::Presumed {})),
        sample(
            "PreparedBranch",
            record::PreparedBranch {
                attempt_number: ATTEMPT_NUMBER,
                coordinator_id: COORDINATOR,
                begun_at_us: BEGUN_AT_US,
                result: Bytes::from_static(b"result"),
            },
        ),
        sample(
            "KeyValueBranch",
            record::KeyValueBranch {
                read_keys: vec![Bytes::from_static(b"rate")],
                writes: vec![
                    record::Write { key: Bytes::from_static(b"alice"), value: Some(Bytes::from_static(b"70")) },
                    record::Write { key: Bytes::from_static(b"empty"), value: Some(Bytes::new()) },
                    record::Write { key: Bytes::from_static(b"gone"), value: None },
                ],
                events: vec![],
            },
        ),
        sample(
            "KeyValueBranch, with an event",
            record::KeyValueBranch { events: vec![event()], ..record::KeyValueBranch::default() },
        ),
        sample("StoredEvent", record::StoredEvent { previous: 6, published_at_us: ENDED_AT_US, ..event() }),
        sample(
            "LogTails",
            record::LogTails {
                position: 7,
                tails: vec![record::LogTail { topic: "orders".into(), partition: 3, position: 5 }],
                bytes: 2_100,
            },
        ),
        sample("StoredTopic", record::StoredTopic { partitions: 8 }),
        sample(
            "StoredWatermark",
            record::StoredWatermark { incarnation: Bytes::from_static(&[7; 16]), position: 5, floor: 2 },
        ),
        sample("LogMark", record::LogMark { position: 1_024, published_at_us: 7, bytes: 300_000 }),
        sample("StoredReader", record::StoredReader { position: 9, heard_at_us: 7, dropped_at_us: Some(8) }),
        sample(
            "StoredGivenUp",
            record::StoredGivenUp {
                parked: Some(record::StoredParkedEvent {
                    key: Bytes::from_static(b"order-17"),
                    source: "shop".into(),
                    topic: "orders".into(),
                    partition: 3,
                    incarnation: Bytes::from_static(&[7; 16]),
                    position: 5,
                    parked_at_us: BEGUN_AT_US,
                    attempts: 5,
                    refusal: Some(refusal()),
                }),
                who: "Ada".into(),
                reason: "gone".into(),
                at_us: ENDED_AT_US,
            },
        ),
        sample(
            "StoredReaction",
            record::StoredReaction {
                state: record::stored_reaction::State::Acted.into(),
                on_incarnation: Bytes::from_static(&[7; 16]),
                on_position: 5,
                undo_work: Some(Bytes::from_static(b"work")),
                undone: Some(event()),
            },
        ),
        sample(
            "StepBarrier",
            record::StepBarrier {
                state: record::step_barrier::State::Acted.into(),
                result: Bytes::from_static(b"result"),
                pending: vec![Bytes::from_static(b"alice")],
                released: None,
            },
        ),
        sample(
            "StepBarrier, released",
            record::StepBarrier {
                state: record::step_barrier::State::Acted.into(),
                result: Bytes::from_static(b"result"),
                pending: vec![],
                released: Some(record::MarksReleased { at_us: ENDED_AT_US, who: "Ada".into(), reason: "gone".into() }),
            },
        ),
        sample(
            "PendingMark, with the beginning of its saga",
            record::PendingMark {
                coordinator_id: COORDINATOR,
                attempt_number: ATTEMPT_NUMBER,
                step: 1,
                tx: TX,
                begun_at_us: BEGUN_AT_US,
            },
        ),
        sample(
            "PendingMark",
            record::PendingMark {
                coordinator_id: COORDINATOR,
                attempt_number: ATTEMPT_NUMBER,
                step: 1,
                tx: TX,
                begun_at_us: 0,
            },
        ),
        sample("FinishedBranch", record::FinishedBranch { outcome: committed, result: Bytes::from_static(b"result") }),
        sample(
            "HeuristicBranch",
            record::HeuristicBranch {
                attempt_number: ATTEMPT_NUMBER,
                coordinator_id: COORDINATOR,
                begun_at_us: BEGUN_AT_US,
                heuristic: Some(v1::Heuristic {
                    outcome: v1::BranchOutcome::HeuristicallyCommitted.into(),
                    at_us: ENDED_AT_US,
                    who: "ada".into(),
                    reason: "the coordinator is lost".into(),
                    decision: v1::BranchOutcome::Aborted.into(),
                }),
            },
        ),
    ]
}

fn aborted(name: &'static str, reason: v1::abort_reason::Reason) -> Sample {
    let outcome = v1::Outcome {
        state: v1::State::Aborted.into(),
        abort_reason: Some(v1::AbortReason { reason: Some(reason) }),
        results: vec![],
        worth_retrying: false,
        stuck: None,
        closed: false,
    };
    sample(name, record::EndedTransaction { outcome: Some(outcome), ..Default::default() })
}

fn refused_by() -> v1::abort_reason::Reason {
    v1::abort_reason::Reason::Refused(v1::RefusedBy { participant: "bank-a".into(), refusal: Some(refusal()) })
}

fn event() -> record::StoredEvent {
    record::StoredEvent {
        topic: "orders".into(),
        partition: 3,
        previous: 0,
        key: Bytes::from_static(b"order-17"),
        r#type: "order.placed".into(),
        schema: "order-2".into(),
        content_type: "application/json".into(),
        data: Bytes::from_static(b"{}"),
        published_at_us: 0,
        version: Some(2),
        correlation: Bytes::from_static(b"t1"),
        caused_by_incarnation: Bytes::from_static(&[9; 16]),
        caused_by_position: 4,
    }
}

fn refusal() -> v1::Refusal {
    v1::Refusal { code: v1::RefusalCode::Condition.into(), detail: "below the floor".into() }
}

fn branch_result() -> v1::BranchResult {
    v1::BranchResult { part: Some(Part::Participant("bank-a".into())), result: Bytes::from_static(b"result") }
}

fn happened() -> Vec<record::Happened> {
    use record::happened::{Detail, Who};
    let text = |text: &str| text.to_owned();
    vec![
        record::Happened {
            later_us: BEGUN_AT_US.cast_signed(),
            kind: v1::EventKind::Voted.into(),
            who: Some(Who::Participant(text("bank-a"))),
            detail: Some(Detail::DetailPhrase(6)),
            count: 0,
        },
        record::Happened {
            later_us: -2,
            kind: v1::EventKind::Operator.into(),
            who: Some(Who::ParticipantAgain(0)),
            detail: Some(Detail::DetailText(text("forget, by root"))),
            count: 3,
        },
    ]
}

pub fn session() -> Vec<Sample> {
    use v1::to_coordinator::Body as FromBranch;
    use v1::to_participant::Body as ToBranch;
    let said = |name, body| {
        let trace_context = None;
        sample(name, v1::ToParticipant { tx: TX, attempt_number: ATTEMPT_NUMBER, body: Some(body), trace_context })
    };
    let answered =
        |name, body| sample(name, v1::ToCoordinator { tx: TX, attempt_number: ATTEMPT_NUMBER, body: Some(body) });
    let voted = |name, vote| answered(name, FromBranch::Vote(v1::Vote { vote: Some(vote) }));
    let finished = |name, outcome: v1::BranchOutcome| {
        answered(name, FromBranch::Finished(v1::Finished { outcome: outcome.into() }))
    };
    let read = Bytes::from_static(b"read");
    vec![
        sample(
            "CoordinatorBatch",
            v1::CoordinatorBatch {
                hello: Some(v1::Hello {
                    protocol_version: 1,
                    coordinator_id: COORDINATOR,
                    coordinator_name: "main".into(),
                    epoch: 2,
                    participant_name: "bank-a".into(),
                    number: Some(number()),
                    seen: Some(number()),
                    newest_protocol_version: 2,
                    abilities: vec!["saga-steps".into()],
                    public_key: Bytes::from_static(&[0xab; 32]),
                    successions: vec![v1::Succession {
                        former_public_key: Bytes::from_static(&[0xcd; 32]),
                        signature: Bytes::from_static(&[0xef; 64]),
                    }],
                }),
                proof: None,
                stable_writes: 9,
                low_water_mark: ATTEMPT_NUMBER,
                still_open: Some(v1::StillOpen { attempt_numbers: vec![3, ATTEMPT_NUMBER - 1] }),
                messages: vec![v1::ToParticipant {
                    tx: TX,
                    attempt_number: ATTEMPT_NUMBER,
                    body: Some(ToBranch::Commit(v1::Commit {})),
                    trace_context: Some(trace_context()),
                }],
            },
        ),
        sample(
            "ParticipantBatch",
            v1::ParticipantBatch {
                welcome: Some(v1::Welcome {
                    protocol_version: 1,
                    participant_name: "bank-a".into(),
                    resource: "kv".into(),
                    max_work_bytes: 1 << 20,
                    cannot_prepare: false,
                    number: Some(number()),
                    seen: Some(number()),
                    abilities: vec!["saga-steps".into(), "one-phase".into(), "two-phase".into()],
                }),
                challenge: Bytes::new(),
                stable_writes: 9,
                messages: vec![v1::ToCoordinator {
                    tx: TX,
                    attempt_number: ATTEMPT_NUMBER,
                    body: Some(FromBranch::Inquiry(v1::Inquiry {})),
                }],
            },
        ),
        sample(
            "challenge",
            v1::ParticipantBatch { challenge: Bytes::from_static(&[0x12; 32]), ..v1::ParticipantBatch::default() },
        ),
        sample(
            "proof",
            v1::CoordinatorBatch {
                proof: Some(v1::Proof { signature: Bytes::from_static(&[0x34; 64]) }),
                ..v1::CoordinatorBatch::default()
            },
        ),
        said(
            "prepare",
            ToBranch::Prepare(v1::Prepare {
                begun_at_us: BEGUN_AT_US,
                timeout_ms: 5_000,
                one_phase: true,
                work: Bytes::from_static(b"work"),
            }),
        ),
        said("confirm", ToBranch::Confirm(v1::Confirm {})),
        said("commit", ToBranch::Commit(v1::Commit {})),
        said("abort", ToBranch::Abort(v1::Abort { certain: false })),
        said("abort, certain", ToBranch::Abort(v1::Abort { certain: true })),
        said("settle", ToBranch::Settle(v1::Settle {})),
        said("undecided", ToBranch::Undecided(v1::Undecided {})),
        said("noted", ToBranch::Noted(v1::Noted {})),
        voted("vote, prepared", v1::vote::Vote::Prepared(read.clone())),
        voted("vote, read-only", v1::vote::Vote::ReadOnly(read.clone())),
        voted("vote, committed", v1::vote::Vote::Committed(read)),
        voted("vote, refused", v1::vote::Vote::Refused(refusal())),
        answered("confirmed", FromBranch::Confirmed(v1::Confirmed { held: true })),
        finished("finished, committed", v1::BranchOutcome::Committed),
        finished("finished, aborted", v1::BranchOutcome::Aborted),
        finished("finished, heuristically committed", v1::BranchOutcome::HeuristicallyCommitted),
        finished("finished, heuristically aborted", v1::BranchOutcome::HeuristicallyAborted),
        finished("finished, unknown", v1::BranchOutcome::Unknown),
        answered("inquiry", FromBranch::Inquiry(v1::Inquiry {})),
    ]
}
