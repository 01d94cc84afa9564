//! Tests that what branches and steps hand back is bounded, and that only a transaction that goes beyond it ends (R13).

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Client, Content, Coordinator, Effect, Input, Limits, Note, Record, Rejection, Request, Stage,
    StepResolution, Submission, Timer,
};
use undoubt_vocabulary::limits::{MAX_RESULT_BYTES, MAX_STEP_INPUT_BYTES, MAX_TRANSACTION_RESULT_BYTES};
use undoubt_vocabulary::{
    Abilities, AbortReason, AttemptNumber, Direction, Epoch, Outcome, ParticipantName, RefusalCode, RetryPolicy,
    SagaStep, StepIndex, StepOutcome, Timestamp, ToCoordinator, ToParticipant, TransactionPhase, TxId, Vote,
};

const LIMITS: Limits = Limits {
    max_begun_transactions: 10,
    max_open_transactions: 100,
    max_open_bytes: 1 << 30,
    max_gathered_bytes: 1 << 30,
    breaker_threshold: 0,
    breaker_pause: Duration::ZERO,
    old_after_attempts: 1_000,
};

/// More results of the largest size than one transaction may gather.
const STEPS: u16 = (MAX_TRANSACTION_RESULT_BYTES / MAX_RESULT_BYTES) as u16 + 1;

struct Run {
    core: Coordinator,
    attempt_numbers: u64,
}

impl Run {
    fn new(limits: Limits, participants: u16) -> Run {
        let mut run = Run { core: Coordinator::new(Epoch(1), limits), attempt_numbers: 0 };
        run.put(Input::RecoveryDone { paused: false });
        for number in 0..participants {
            run.put(Input::Connected { participant: name(number), abilities: Abilities::ALL });
        }
        run
    }

    /// All effects, also of records that become stable at once.
    fn put(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.handle_input(Timestamp(1), input, &mut effects);
        let mut at = 0;
        while at < effects.len() {
            match effects[at].clone() {
                Effect::Append { record, .. } => {
                    let (tx, attempt_number, stage) = (record.tx().clone(), record.attempt_number(), record.stage());
                    self.core.handle_input(Timestamp(1), Input::Appended { tx, attempt_number, stage }, &mut effects);
                }
                Effect::LookUp(request) => {
                    self.core.handle_input(Timestamp(1), Input::LookedUp { request, ended: None }, &mut effects);
                }
                _ => {}
            }
            at += 1;
        }
        effects
    }

    fn submit(&mut self, id: &str, content: Content) -> (AttemptNumber, Vec<Effect>) {
        let attempt_number = AttemptNumber(AttemptNumber::first_of(Epoch(1)).0 + self.attempt_numbers);
        self.attempt_numbers += 1;
        let (digest, timeout) = ([1; 32], Duration::from_secs(5));
        let submission = Submission { tx: tx(id), digest, content, timeout, client: Client(1), wait: true };
        (attempt_number, self.put(Input::Request(Request::Submit(submission))))
    }

    fn vote(&mut self, from: u16, id: &str, attempt_number: AttemptNumber, vote: Vote) -> Vec<Effect> {
        let message = ToCoordinator::Vote { tx: tx(id), attempt_number, vote };
        self.put(Input::Request(Request::Message { from: name(from), message }))
    }

    fn acted(&mut self, step: u16, attempt_number: AttemptNumber, bytes: usize) -> Vec<Effect> {
        let outcome = StepOutcome::Done { result: result(bytes), pending: false };
        let (tx, step, direction) = (tx("t"), StepIndex(step), Direction::Forward);
        let message = ToCoordinator::Ran { tx, attempt_number, step, direction, attempt: 1, outcome };
        self.put(Input::Request(Request::Message { from: name(step.0), message }))
    }
}

fn name(number: u16) -> ParticipantName {
    format!("p{number}").parse().unwrap()
}

fn tx(id: &str) -> TxId {
    id.parse().unwrap()
}

fn result(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

fn branches(count: u16) -> Content {
    Content::TwoPhase((0..count).map(|number| (name(number), Bytes::from_static(b"get"))).collect())
}

fn steps(count: u16, pivot: Option<u16>, uses: &[(u16, &[u16])]) -> Vec<SagaStep> {
    let step = |number: u16| SagaStep {
        name: name(number).as_str().parse().unwrap(),
        participant: name(number),
        action: Some(Bytes::from_static(b"get")),
        compensation: pivot.is_none_or(|pivot| number < pivot).then(|| Bytes::from_static(b"undo")),
        completion: None,
        after: (0..number).map(StepIndex).collect(),
        uses: uses
            .iter()
            .find(|(user, _)| *user == number)
            .map_or_else(Vec::new, |(_, used)| used.iter().copied().map(StepIndex).collect()),
        pivot: pivot == Some(number),
        retry: RetryPolicy::default(),
    };
    (0..count).map(step).collect()
}

fn answer(effects: &[Effect]) -> Option<&Answer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some(answer),
        _ => None,
    })
}

#[track_caller]
fn too_much(effects: &[Effect], at: u16, expected: RefusalCode) {
    match answer(effects) {
        Some(Answer::Outcome { outcome: Outcome::Aborted(AbortReason::TooMuch { at: found, refusal }), .. }) => {
            assert_eq!((found, refusal.code), (&name(at), expected), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
}

fn sent(effects: &[Effect], is: impl Fn(&ToParticipant) -> bool) -> Vec<ParticipantName> {
    let to = |effect: &Effect| match effect {
        Effect::Send { to, message } if is(message) => Some(to.clone()),
        _ => None,
    };
    effects.iter().filter_map(to).collect()
}

#[test]
fn a_two_phase_commit_that_gathers_too_much_aborts_everywhere() {
    let mut run = Run::new(LIMITS, STEPS);
    let (attempt_number, _) = run.submit("t", branches(STEPS));
    for branch in 0..STEPS - 1 {
        assert_eq!(
            answer(&run.vote(branch, "t", attempt_number, Vote::Prepared { result: result(MAX_RESULT_BYTES) })),
            None
        );
    }
    let effects = run.vote(STEPS - 1, "t", attempt_number, Vote::Prepared { result: result(1) });
    too_much(&effects, STEPS - 1, RefusalCode::TooLarge);
    let aborted = sent(&effects, |message| matches!(message, ToParticipant::Abort { .. }));
    assert_eq!(aborted, (0..STEPS).map(name).collect::<Vec<_>>(), "whoever is prepared is told");
    assert_eq!(run.core.open_transactions(), 0);
}

#[test]
fn one_result_over_its_limit_aborts_its_transaction_alone() {
    let mut run = Run::new(LIMITS, 2);
    let (attempt_number, _) = run.submit("t", branches(2));
    let (other, _) = run.submit("other", branches(2));
    let effects = run.vote(0, "t", attempt_number, Vote::ReadOnly { result: result(MAX_RESULT_BYTES + 1) });
    too_much(&effects, 0, RefusalCode::TooLarge);
    run.vote(0, "other", other, Vote::Prepared { result: result(1) });
    let effects = run.vote(1, "other", other, Vote::Prepared { result: result(1) });
    assert!(matches!(answer(&effects), Some(Answer::Outcome { outcome: Outcome::Committed, .. })));
}

#[test]
fn what_a_lone_branch_has_committed_stays_committed_and_its_result_is_left_out() {
    let mut run = Run::new(LIMITS, 1);
    let (attempt_number, _) = run.submit("t", branches(1));
    let effects = run.vote(0, "t", attempt_number, Vote::Committed { result: result(MAX_RESULT_BYTES + 1) });
    let left_out = Answer::Outcome { outcome: Outcome::Committed, results: vec![(name(0).into(), Bytes::new())] };
    assert_eq!(answer(&effects), Some(&left_out));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Note { note: Note::LeftOut { .. }, .. })));
    let (attempt_number, _) = run.submit("t2", branches(1));
    let effects = run.vote(0, "t2", attempt_number, Vote::ReadOnly { result: result(MAX_RESULT_BYTES + 1) });
    too_much(&effects, 0, RefusalCode::TooLarge);
}

#[test]
fn a_saga_that_gathers_too_much_compensates_and_undoes_the_step_that_was_too_much() {
    let mut run = Run::new(LIMITS, STEPS);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(STEPS, None, &[])));
    for step in 0..STEPS - 1 {
        assert_eq!(answer(&run.acted(step, attempt_number, MAX_RESULT_BYTES)), None);
    }
    // Also as the last step, with which all would be done.
    let effects = run.acted(STEPS - 1, attempt_number, 1);
    let undone = sent(
        &effects,
        |message| matches!(message, ToParticipant::Run(run) if run.direction == Direction::Compensating),
    );
    assert_eq!(undone, [name(STEPS - 1)]);
    assert_eq!(run.core.view(&tx("t")).unwrap().phase, TransactionPhase::Compensating);
}

#[test]
fn past_the_pivot_what_is_too_much_is_left_out_and_the_saga_goes_on() {
    let mut run = Run::new(LIMITS, STEPS + 1);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(STEPS + 1, Some(0), &[(STEPS, &[0, STEPS - 1])])));
    for step in 0..STEPS - 1 {
        run.acted(step, attempt_number, MAX_RESULT_BYTES);
    }
    let effects = run.acted(STEPS - 1, attempt_number, 1);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Note { note: Note::LeftOut { .. }, .. })));
    let inputs: Vec<usize> = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Send { message: ToParticipant::Run(run), .. } => Some(run.inputs.iter().map(Bytes::len).collect()),
            _ => None,
        })
        .unwrap();
    assert_eq!(inputs, [MAX_RESULT_BYTES, 0], "whoever uses what was left out gets none");
    let effects = run.acted(STEPS, attempt_number, 0);
    assert!(matches!(answer(&effects), Some(Answer::Outcome { outcome: Outcome::Committed, .. })));
}

#[test]
fn a_step_that_would_be_given_too_much_counts_as_refused_for_good() {
    let parts = (MAX_STEP_INPUT_BYTES / MAX_RESULT_BYTES) as u16;
    let used: Vec<u16> = (0..=parts).collect();
    let last = parts + 1;
    let mut run = Run::new(LIMITS, last + 1);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(last + 1, None, &[(last, &used)])));
    (0..parts).for_each(|step| drop(run.acted(step, attempt_number, MAX_RESULT_BYTES)));
    let effects = run.acted(parts, attempt_number, 1);
    let undone = sent(
        &effects,
        |message| matches!(message, ToParticipant::Run(run) if run.direction == Direction::Compensating),
    );
    assert_eq!(undone, [name(parts)], "it compensates at once, and what was never sent is not undone");

    // Past the pivot it waits for an operator once its attempts are over.
    let mut run = Run::new(LIMITS, last + 1);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(last + 1, Some(0), &[(last, &used)])));
    (0..=parts).for_each(|step| drop(run.acted(step, attempt_number, MAX_RESULT_BYTES)));
    let RetryPolicy { max_attempts, first_pause, max_pause, .. } = RetryPolicy::default();
    for attempt in 1..max_attempts {
        let timer =
            Timer::StepRetry { step: StepIndex(last), direction: Direction::Forward, attempt, first_pause, max_pause };
        run.put(Input::Fired { tx: tx("t"), attempt_number, timer });
    }
    assert_eq!(run.core.view(&tx("t")).unwrap().phase, TransactionPhase::Stuck);
}

#[test]
fn what_all_have_gathered_is_bounded_and_whoever_would_exceed_it_may_try_again() {
    let mut run = Run::new(Limits { max_gathered_bytes: 10, ..LIMITS }, 2);
    let (first, _) = run.submit("t1", branches(2));
    let (second, _) = run.submit("t2", branches(2));
    run.vote(0, "t1", first, Vote::Prepared { result: result(9) });
    let (_, effects) = run.submit("t3", branches(2));
    let turned_away = Answer::Rejected(Rejection::TooMuchGathered { max_gathered_bytes: 10 });
    assert_eq!(answer(&effects), Some(&turned_away));
    run.attempt_numbers -= 1;
    let effects = run.vote(0, "t2", second, Vote::Prepared { result: result(3) });
    too_much(&effects, 0, RefusalCode::Unavailable);
    // A decided transaction's results are kept until its branches have acknowledged it; then there is room again.
    run.vote(1, "t1", first, Vote::Prepared { result: result(0) });
    for from in 0..2 {
        let outcome = undoubt_vocabulary::BranchOutcome::Committed;
        let message = ToCoordinator::Finished { tx: tx("t1"), attempt_number: first, outcome };
        run.put(Input::Request(Request::Message { from: name(from), message }));
    }
    let (_, effects) = run.submit("t3", branches(2));
    assert_eq!(answer(&effects), None);
}

#[test]
fn what_an_operator_lets_a_saga_drop_gives_its_room_back() {
    let mut run = Run::new(Limits { max_gathered_bytes: 100, ..LIMITS }, 2);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(2, None, &[])));
    run.acted(0, attempt_number, 80);
    // Its last step may be in effect, so compensation begins with it.
    run.put(Input::Request(Request::Cancel { tx: tx("t"), client: Client(2) }));
    let (_, effects) = run.submit("t2", branches(2));
    let turned_away = Answer::Rejected(Rejection::TooMuchGathered { max_gathered_bytes: 100 });
    assert_eq!(answer(&effects), Some(&turned_away));
    run.attempt_numbers -= 1;
    let (step, resolution, client) = (name(0).as_str().parse().unwrap(), StepResolution::Skip, Client(3));
    run.put(Input::Request(Request::ResolveStep { tx: tx("t"), step, resolution, client }));
    assert_eq!(run.core.view(&tx("t")).unwrap().phase, TransactionPhase::Compensating);
    let (_, effects) = run.submit("t2", branches(2));
    assert_eq!(answer(&effects), None);
}

#[test]
fn what_an_operator_gives_up_is_about_to_make_room() {
    let mut run = Run::new(Limits { max_gathered_bytes: 100, ..LIMITS }, 2);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(2, None, &[])));
    run.acted(0, attempt_number, 80);
    let forget = Input::Request(Request::Forget { tx: tx("t"), client: Client(2) });
    run.core.handle_input(Timestamp(1), forget, &mut Vec::new());
    assert!(run.core.is_about_to_have_room());
    run.put(Input::Appended { tx: tx("t"), attempt_number, stage: Stage::Ended });
    assert_eq!((run.core.open_transactions(), run.core.is_about_to_have_room()), (0, false));
}

#[test]
fn only_what_is_being_recorded_is_worth_waiting_for() {
    let mut run = Run::new(Limits { max_gathered_bytes: 100, ..LIMITS }, 2);
    let (attempt_number, _) = run.submit("t", Content::Saga(steps(2, None, &[])));
    run.acted(0, attempt_number, 50);
    assert!(!run.core.is_about_to_have_room(), "an open saga may hold its results for hours");
    let (attempt_number, _) = run.submit("t2", branches(2));
    run.vote(0, "t2", attempt_number, Vote::Prepared { result: result(20) });
    assert!(!run.core.is_about_to_have_room(), "nor is it known how long the others take to vote");
    let message = ToCoordinator::Vote { tx: tx("t2"), attempt_number, vote: Vote::Prepared { result: result(0) } };
    let voted = Input::Request(Request::Message { from: name(1), message });
    run.core.handle_input(Timestamp(1), voted, &mut Vec::new());
    assert!(run.core.is_about_to_have_room(), "the decision is being recorded");
    run.put(Input::Appended { tx: tx("t2"), attempt_number, stage: Stage::Committed });
    assert!(!run.core.is_about_to_have_room(), "acknowledgements may take long again");
}

#[test]
fn the_work_of_all_that_is_open_is_bounded() {
    let mut run = Run::new(Limits { max_open_bytes: 5, ..LIMITS }, 1);
    let (_, effects) = run.submit("t1", branches(1));
    assert_eq!(answer(&effects), None);
    let (_, effects) = run.submit("t2", branches(1));
    assert_eq!(answer(&effects), Some(&Answer::Rejected(Rejection::TooMuchOpen { max_open_bytes: 5 })));
    let effects = run.vote(0, "t1", AttemptNumber::first_of(Epoch(1)), Vote::Committed { result: result(0) });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Append { record: Record::Ended(_), .. })));
    run.attempt_numbers -= 1;
    let (_, effects) = run.submit("t2", branches(1));
    assert_eq!(answer(&effects), None);
}
