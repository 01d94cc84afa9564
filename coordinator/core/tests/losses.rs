//! Tests of what a participant that was put back has lost of transactions, open and ended.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator_core::{
    Coordinator, Effect, EndedBranch, EndedRecord, Input, Limits, OpenKind, OpenRecord, Part, Progress, Record,
    Request, SagaRecord, StillKnown, Unfinished,
};
use undoubt_vocabulary::{
    Abilities, AttemptNumber, BranchOutcome, Epoch, LowWaterMark, Outcome, ParticipantName, RetryPolicy, SagaStep,
    StepIndex, Timestamp, ToCoordinator, TxId,
};

const ATTEMPT_NUMBER: AttemptNumber = AttemptNumber(10);

fn name(name: &str) -> ParticipantName {
    name.parse().unwrap()
}

fn tx() -> TxId {
    "t".parse().unwrap()
}

fn low_water_mark(low_water_mark: u64) -> StillKnown {
    StillKnown { low_water_mark: AttemptNumber(low_water_mark).into(), attempts: BTreeMap::new() }
}

fn knows(steps: &[u16]) -> StillKnown {
    let steps: BTreeSet<StepIndex> = steps.iter().map(|step| StepIndex(*step)).collect();
    StillKnown { low_water_mark: LowWaterMark::default(), attempts: BTreeMap::from([((ATTEMPT_NUMBER, tx()), steps)]) }
}

/// A transaction whose branches, or, where it says at whom they were, steps came to this.
fn ended(branches: &[(&str, BranchOutcome)], at: &[&str]) -> EndedRecord {
    let branch = |(index, (of, outcome)): (usize, &(&str, BranchOutcome))| match at.get(index) {
        Some(at) => EndedBranch { step: Some(of.parse().unwrap()), ..EndedBranch::new(name(at), *outcome) },
        None => EndedBranch::new(name(of), *outcome),
    };
    EndedRecord {
        saga: !at.is_empty(),
        tx: tx(),
        attempt_number: ATTEMPT_NUMBER,
        begun_at: Timestamp(1),
        digest: [0; 32],
        outcome: Outcome::Committed,
        branches: branches.iter().enumerate().map(branch).collect(),
        read_only: vec![name("reader")],
        results: Vec::new(),
    }
}

fn names(parts: &[Part]) -> Vec<&str> {
    parts.iter().map(|part| part.name()).collect()
}

#[test]
fn a_committed_branch_is_lost_unless_it_is_known_or_was_over_before() {
    use BranchOutcome::{Aborted, Committed, HeuristicallyAborted, Unknown};
    let record = ended(&[("a", Committed), ("reader", Committed)], &[]);
    assert_eq!(names(&record.lost_at(&name("a"), &low_water_mark(10))), ["a"]);
    assert_eq!(record.lost_at(&name("a"), &low_water_mark(11)), [], "the low-water mark had passed it");
    assert_eq!(record.lost_at(&name("a"), &knows(&[])), [], "it is known");
    assert_eq!(record.lost_at(&name("reader"), &low_water_mark(0)), [], "it keeps nothing");
    assert_eq!(record.lost_at(&name("b"), &low_water_mark(0)), [], "it had no part");
    for outcome in [Aborted, HeuristicallyAborted, Unknown] {
        assert_eq!(ended(&[("a", outcome)], &[]).lost_at(&name("a"), &low_water_mark(0)), [], "{outcome}");
    }
}

#[test]
fn a_sagas_step_is_lost_if_it_is_not_in_effect_any_more_or_is_so_again() {
    use BranchOutcome::{Aborted, Committed};
    let steps = [("pay", Committed), ("tell", Committed), ("undone", Aborted), ("other", Committed)];
    let record = ended(&steps, &["a", "a", "a", "b"]);
    assert_eq!(names(&record.lost_at(&name("a"), &low_water_mark(0))), ["pay", "tell"]);
    assert_eq!(names(&record.lost_at(&name("a"), &knows(&[0, 2]))), ["tell", "undone"]);
    assert_eq!(record.lost_at(&name("a"), &knows(&[0, 1])), []);
}

#[test]
fn what_is_lost_is_unknown_in_the_end_unless_it_has_come_to_something_else_since() {
    use BranchOutcome::{Aborted, Committed, Unknown};
    let mut record = ended(&[("pay", Committed), ("tell", Committed)], &["a", "a"]);
    let lost = record.lost_at(&name("a"), &low_water_mark(0));
    record.branches[1].outcome = Aborted;
    record.lose(&lost);
    assert_eq!(record.branches.iter().map(|branch| branch.outcome).collect::<Vec<_>>(), [Unknown, Aborted]);
    assert!(record.is_damaged());
}

/// A coordinator that has recovered this, and has no other.
fn recovered(unfinished: Unfinished) -> Coordinator {
    let limits = Limits {
        max_begun_transactions: 10,
        max_open_transactions: 8,
        max_open_bytes: 1 << 20,
        max_gathered_bytes: 1 << 20,
        breaker_threshold: 0,
        breaker_pause: Duration::ZERO,
        old_after_attempts: 1_000,
    };
    let mut core = Coordinator::new(Epoch(1), limits);
    put(&mut core, Input::Recovered(unfinished));
    put(&mut core, Input::RecoveryDone { paused: false });
    for participant in ["a", "b"] {
        put(&mut core, Input::Connected { participant: name(participant), abilities: Abilities::ALL });
    }
    core
}

fn put(core: &mut Coordinator, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle_input(Timestamp(1), input, &mut effects);
    effects
}

#[test]
fn of_a_transaction_that_is_open_what_a_participant_has_answered_can_be_lost() {
    let record = OpenRecord {
        kind: OpenKind::Committed,
        tx: tx(),
        attempt_number: ATTEMPT_NUMBER,
        begun_at: Timestamp(1),
        digest: [0; 32],
        participants: vec![name("a"), name("b")],
        read_only: Vec::new(),
        results: Vec::new(),
    };
    let mut core = recovered(Unfinished::TwoPhase(record));
    let in_doubt = core.lost_at(&name("a"), &low_water_mark(0));
    assert!(matches!(&in_doubt[..], [(_, parts)] if names(parts) == ["a"]), "its vote: {in_doubt:?}");
    assert_eq!(core.lost_at(&name("a"), &knows(&[])), [], "it is still prepared");
    let finished = |from: &str| {
        let message =
            ToCoordinator::Finished { tx: tx(), attempt_number: ATTEMPT_NUMBER, outcome: BranchOutcome::Committed };
        Input::Request(Request::Message { from: name(from), message })
    };
    put(&mut core, finished("a"));
    let lost = core.lost_at(&name("a"), &low_water_mark(0));
    assert!(matches!(&lost[..], [(of, parts)] if *of == tx() && names(parts) == ["a"]), "{lost:?}");
    let effects = put(&mut core, finished("b"));
    let ends = |effect: &Effect| matches!(effect, Effect::Append { record: Record::Ended(_), .. });
    assert!(effects.iter().any(ends), "{effects:?}");
    assert_eq!(core.lost_at(&name("a"), &low_water_mark(0)), [], "its record is on its way, and is looked at there");
}

#[test]
fn a_branch_that_may_have_committed_by_itself_is_lost_if_nothing_is_known_of_it_and_it_is_called_aborted() {
    use BranchOutcome::{Aborted, Committed, Unknown};
    let record = OpenRecord {
        kind: OpenKind::Delegated,
        tx: tx(),
        attempt_number: ATTEMPT_NUMBER,
        begun_at: Timestamp(1),
        digest: [0; 32],
        participants: vec![name("a")],
        read_only: Vec::new(),
        results: Vec::new(),
    };
    let core = recovered(Unfinished::TwoPhase(record));
    assert_eq!(core.lost_at(&name("a"), &knows(&[])), [], "it will say what became of it");
    assert_eq!(core.lost_at(&name("a"), &low_water_mark(11)), [], "it was over");
    let lost = core.lost_at(&name("a"), &low_water_mark(0));
    let [(of, parts)] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!((of, names(parts)), (&tx(), vec!["a"]));
    for (said, told) in [(Aborted, Unknown), (Committed, Committed)] {
        let mut record = ended(&[("a", said)], &[]);
        record.lose(parts);
        assert_eq!(record.branches[0].outcome, told);
    }
}

#[test]
fn of_a_saga_that_is_open_the_steps_that_are_done_can_be_lost() {
    let step = |number: u16, at: &str| SagaStep {
        name: format!("s{number}").parse().unwrap(),
        participant: name(at),
        action: Some(Bytes::new()),
        compensation: Some(Bytes::new()),
        completion: None,
        after: (0..number).map(StepIndex).collect(),
        uses: Vec::new(),
        pivot: false,
        retry: RetryPolicy::default(),
    };
    let record = SagaRecord {
        tx: tx(),
        attempt_number: ATTEMPT_NUMBER,
        begun_at: Timestamp(1),
        digest: [0; 32],
        deadline: Timestamp(1_000_000),
        steps: vec![Arc::new(step(0, "a")), Arc::new(step(1, "b"))],
        compensating: None,
        progress: vec![Progress::Done { result: Bytes::new(), pending: false }, Progress::Pending],
    };
    let core = recovered(Unfinished::Saga(record));
    let lost = core.lost_at(&name("a"), &low_water_mark(0));
    assert!(matches!(&lost[..], [(of, parts)] if *of == tx() && names(parts) == ["s0"]), "{lost:?}");
    assert_eq!(core.lost_at(&name("a"), &knows(&[0])), []);
    assert_eq!(core.lost_at(&name("b"), &low_water_mark(0)), []);
}
