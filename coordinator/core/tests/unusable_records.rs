//! Whose record cannot be written, whichever it is, is held and ends by an operator alone (R13).

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Client, Content, Coordinator, Effect, EndedRecord, Input, Limits, OpenKind, OpenRecord, Progress, Record,
    Rejection, Request, SagaRecord, Stage, Submission, Unfinished, UnusableRecord, decided,
};
use undoubt_vocabulary::{
    Abilities, AbortReason, AttemptNumber, BranchOutcome, Direction, Epoch, Outcome, ParticipantName, RetryPolicy,
    SagaStep, StepIndex, StepOutcome, Timestamp, ToCoordinator, ToParticipant, TransactionPhase, TxId, Vote,
};

const LIMITS: Limits = Limits {
    max_begun_transactions: 10,
    max_open_transactions: 8,
    max_open_bytes: 1 << 20,
    max_gathered_bytes: 1 << 20,
    breaker_threshold: 0,
    breaker_pause: Duration::ZERO,
    old_after_attempts: 1_000,
};

struct Run {
    core: Coordinator,
    /// Records of this stage cannot be written.
    unwritable: Option<Stage>,
    /// What the log keeps of its end.
    ended: Option<EndedRecord>,
}

impl Run {
    fn new(unwritable: Stage) -> Run {
        let mut run = Run { core: Coordinator::new(Epoch(1), LIMITS), unwritable: Some(unwritable), ended: None };
        run.put(Input::RecoveryDone { paused: false });
        for number in 0..2 {
            run.put(Input::Connected { participant: name(number), abilities: Abilities::ALL });
        }
        run
    }

    /// All effects; participants answer at once, and records are stable at once, or never.
    fn put(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let input = inputs.remove(0);
            let before = effects.len();
            self.core.handle_input(Timestamp(1), input, &mut effects);
            let next = effects[before..].to_vec().iter().filter_map(|effect| self.next(effect)).collect::<Vec<_>>();
            inputs.splice(0..0, next);
        }
        effects
    }

    fn next(&mut self, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Append { record, .. } => {
                let (tx, attempt_number, stage) = (record.tx().clone(), record.attempt_number(), record.stage());
                Some(if self.unwritable == Some(stage) {
                    Input::NotAppended { tx, attempt_number, stage, cause: "it is too large".into() }
                } else {
                    if let Record::Ended(ended) = record {
                        self.ended = Some(ended.clone());
                    }
                    Input::Appended { tx, attempt_number, stage }
                })
            }
            Effect::LookUp(request) => Some(Input::LookedUp { request: request.clone(), ended: self.ended.clone() }),
            Effect::Send { to, message } => {
                let message = reply(message)?;
                Some(Input::Request(Request::Message { from: to.clone(), message }))
            }
            _ => None,
        }
    }

    fn submit(&mut self, content: Content) -> Vec<Effect> {
        let (digest, timeout) = ([1; 32], Duration::from_secs(5));
        let submission = Submission { tx: tx(), digest, content, timeout, client: Client(1), wait: true };
        self.put(Input::Request(Request::Submit(submission)))
    }
}

fn reply(message: &ToParticipant) -> Option<ToCoordinator> {
    Some(match message.clone() {
        ToParticipant::Prepare(prepare) => {
            let result = Bytes::new();
            let vote = match prepare.execution {
                undoubt_vocabulary::Execution::TwoPhase => Vote::Prepared { result },
                undoubt_vocabulary::Execution::OnePhase => Vote::Committed { result },
            };
            ToCoordinator::Vote { tx: prepare.tx, attempt_number: prepare.attempt_number, vote }
        }
        ToParticipant::Commit { tx, attempt_number } => {
            ToCoordinator::Finished { tx, attempt_number, outcome: BranchOutcome::Committed }
        }
        ToParticipant::Run(run) => {
            let result = Bytes::new();
            let outcome = match (run.direction, run.step.0) {
                // The last step is refused, so that the saga compensates.
                (Direction::Forward, 1) => StepOutcome::Refused(undoubt_vocabulary::Refusal::new(
                    undoubt_vocabulary::RefusalCode::Condition,
                    "no",
                )),
                (_, _) => StepOutcome::Done { result, pending: false },
            };
            let (tx, attempt_number, step, direction, attempt) =
                (run.tx, run.attempt_number, run.step, run.direction, run.attempt);
            ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome }
        }
        _ => return None,
    })
}

fn name(number: u16) -> ParticipantName {
    format!("p{number}").parse().unwrap()
}

fn tx() -> TxId {
    "t".parse().unwrap()
}

fn branches(count: u16) -> Content {
    Content::TwoPhase((0..count).map(|number| (name(number), Bytes::new())).collect())
}

fn saga() -> Content {
    let step = |number: u16| SagaStep {
        name: name(number).as_str().parse().unwrap(),
        participant: name(number),
        action: Some(Bytes::new()),
        compensation: Some(Bytes::new()),
        completion: None,
        after: (0..number).map(StepIndex).collect(),
        uses: Vec::new(),
        pivot: false,
        retry: RetryPolicy::default(),
    };
    Content::Saga((0..2).map(step).collect())
}

#[test]
fn whichever_record_cannot_be_written_its_transaction_is_held_and_an_operator_ends_it() {
    let cases: [(&str, Content, Stage); 8] = [
        ("delegated", branches(1), Stage::Delegated),
        ("one-phase end", branches(1), Stage::Ended),
        ("committed", branches(2), Stage::Committed),
        ("end of a commit", branches(2), Stage::Ended),
        ("begun", saga(), Stage::Begun),
        ("stepped", saga(), Stage::Stepped),
        ("compensating", saga(), Stage::Compensating),
        ("end of a saga", saga(), Stage::Ended),
    ];
    for (case, content, stage) in cases {
        let mut run = Run::new(stage);
        let effects = run.submit(content);
        let answers: Vec<&Answer> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Answer { answer, .. } => Some(answer),
                _ => None,
            })
            .collect();
        let told_before = match case {
            // They were decided, and told so.
            "one-phase end" | "end of a commit" => {
                matches!(answers[..], [Answer::Outcome { outcome: Outcome::Committed, .. }])
            }
            _ => matches!(answers[..], [Answer::Rejected(Rejection::Unusable { .. })]),
        };
        assert!(told_before, "{case}: {answers:?}");
        let view = run.core.view(&tx()).unwrap();
        assert_eq!(view.phase, TransactionPhase::Unusable, "{case}");
        assert!(view.unusable_because.unwrap().contains("it is too large"), "{case}");
        assert_eq!(
            run.core.low_water_mark(&name(0)).below(),
            AttemptNumber::first_of(Epoch(1)),
            "{case}: the low-water mark stays"
        );

        // Late records and whatever participants say change nothing, and nothing is presumed.
        for late in [Stage::Begun, Stage::Stepped, Stage::Compensating, Stage::Committed, Stage::Ended] {
            let attempt_number = AttemptNumber::first_of(Epoch(1));
            assert_eq!(run.put(Input::Appended { tx: tx(), attempt_number, stage: late }), [], "{case}");
        }
        let inquiry = ToCoordinator::Inquiry { tx: tx(), attempt_number: AttemptNumber(0) };
        let told = run.put(Input::Request(Request::Message { from: name(0), message: inquiry }));
        let undecided =
            |effect: &Effect| matches!(effect, Effect::Send { message: ToParticipant::Undecided { .. }, .. });
        assert_eq!(told.iter().filter(|effect| matches!(effect, Effect::Send { .. })).count(), 1, "{case}");
        assert!(told.iter().any(undecided), "{case}: {told:?}");

        // The end cannot be written at first, then it can.
        let forget = || Input::Request(Request::Forget { tx: tx(), client: Client(2) });
        run.unwritable = Some(Stage::Ended);
        let told = run.put(forget());
        assert!(
            told.iter().any(|effect| matches!(
                effect,
                Effect::Answer { client: Client(2), answer: Answer::Rejected(Rejection::Unusable { .. }), .. }
            )),
            "{case}: {told:?}"
        );
        run.unwritable = None;
        let told = run.put(forget());
        let ended = told.iter().find_map(|effect| match effect {
            Effect::Append { record: Record::Ended(ended), .. } => Some(ended.clone()),
            _ => None,
        });
        let ended = ended.unwrap();
        assert!(ended.is_damaged(), "{case}");
        assert!(matches!(ended.outcome, Outcome::Committed | Outcome::Aborted(AbortReason::Unusable { .. })));
        assert_eq!((run.core.open_transactions(), run.core.open_with(&name(0))), (0, 0), "{case}");
        assert!(run.core.low_water_mark(&name(0)).below() > AttemptNumber::first_of(Epoch(1)), "{case}");
    }
}

/// Folds records that are ahead of all attempt numbers of this start, each with this participant.
fn ahead(ids: &[&str]) -> Run {
    let mut run = Run { core: Coordinator::new(Epoch(1), LIMITS), unwritable: None, ended: None };
    for (number, id) in (0..).zip(ids) {
        let record = OpenRecord {
            kind: OpenKind::Committed,
            tx: id.parse().unwrap(),
            attempt_number: AttemptNumber(AttemptNumber::first_of(Epoch(2)).0 + number),
            begun_at: Timestamp(1),
            digest: [1; 32],
            participants: vec![name(0), name(1)],
            read_only: Vec::new(),
            results: Vec::new(),
        };
        run.put(Input::Recovered(Unfinished::TwoPhase(record)));
    }
    run.put(Input::RecoveryDone { paused: false });
    run
}

fn forget(run: &mut Run, id: &str) {
    run.put(Input::Request(Request::Forget { tx: id.parse().unwrap(), client: Client(2) }));
}

#[test]
fn giving_up_what_is_ahead_leaves_the_low_water_mark_of_what_is_open() {
    let mut run = ahead(&["ahead"]);
    // Nobody is connected, so it stays open.
    run.submit(branches(2));
    assert!(
        run.core.low_water_mark(&name(0)).below() < AttemptNumber::first_of(Epoch(1)),
        "what may be in doubt there stays above the low-water mark"
    );
    forget(&mut run, "ahead");
    assert_eq!(run.core.low_water_mark(&name(0)).below(), AttemptNumber::first_of(Epoch(1)));
}

#[test]
fn the_end_of_what_is_open_leaves_the_low_water_mark_of_what_is_ahead() {
    let mut run = ahead(&["one", "other"]);
    run.submit(branches(2));
    run.put(Input::Request(Request::Cancel { tx: tx(), client: Client(3) }));
    forget(&mut run, "one");
    assert_eq!(run.core.open_transactions(), 1);
    assert!(run.core.low_water_mark(&name(0)).below() < AttemptNumber::first_of(Epoch(1)));
}

#[test]
fn whoever_resubmits_what_is_held_and_whose_content_nobody_knows_hears_that_it_is_held() {
    let mut run = Run { core: Coordinator::new(Epoch(1), LIMITS), unwritable: None, ended: None };
    let record = UnusableRecord {
        saga: false,
        tx: tx(),
        attempt_number: AttemptNumber::first_of(Epoch(1)),
        begun_at: Timestamp(1),
        digest: [0; 32],
        participants: vec![name(0)],
        decided: None,
        cause: "p0 has prepared it".into(),
    };
    run.put(Input::Recovered(Unfinished::Unusable(record)));
    run.put(Input::RecoveryDone { paused: false });
    let told = run.submit(branches(2));
    let is_held =
        |effect: &Effect| matches!(effect, Effect::Answer { answer: Answer::Rejected(Rejection::Unusable { .. }), .. });
    assert!(told.iter().any(is_held), "{told:?}");
}

#[test]
fn what_was_folded_and_may_have_gone_on_otherwise_is_held_in_its_place() {
    let mut run = Run { core: Coordinator::new(Epoch(1), LIMITS), unwritable: None, ended: None };
    let Content::Saga(steps) = saga() else { panic!("it is a saga") };
    let record = SagaRecord {
        tx: tx(),
        attempt_number: AttemptNumber(7),
        begun_at: Timestamp(1),
        digest: [1; 32],
        deadline: Timestamp(9),
        progress: vec![Progress::Pending; steps.len()],
        steps: steps.into_iter().map(Into::into).collect(),
        compensating: None,
    };
    let folded = Unfinished::Saga(record);
    run.put(Input::Recovered(folded.clone()));
    run.put(Input::Recovered(Unfinished::Unusable(folded.unusable("it may have ended".into()))));
    run.put(Input::EpochTaken(Epoch(2)));
    run.put(Input::RecoveryDone { paused: false });
    for number in 0..2 {
        let told = run.put(Input::Connected { participant: name(number), abilities: Abilities::ALL });
        assert!(!told.iter().any(|effect| matches!(effect, Effect::Send { .. })), "{told:?}");
    }
    assert_eq!(run.core.view(&tx()).unwrap().phase, TransactionPhase::Unusable);
    assert!(run.core.low_water_mark(&name(0)).below() <= AttemptNumber(7), "its low-water mark stays");
    forget(&mut run, "t");
    assert!(run.ended.as_ref().unwrap().is_damaged());
    assert!(run.core.low_water_mark(&name(0)).below() > AttemptNumber(7));
}

/// Takes one input, and nothing is stable or refused by itself.
fn handle(core: &mut Coordinator, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.handle_input(Timestamp(1), input, &mut effects);
    effects
}

fn answers(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. })).count()
}

#[test]
fn an_end_that_is_on_its_way_when_another_record_is_refused_is_the_one_that_everybody_hears() {
    let mut core = Run::new(Stage::Stepped).core;
    let (digest, timeout, attempt_number) = ([1; 32], Duration::from_secs(5), AttemptNumber::first_of(Epoch(1)));
    let submission = Submission { tx: tx(), digest, content: branches(1), timeout, client: Client(1), wait: true };
    let appended = |effects: &[Effect]| effects.iter().filter(|it| matches!(it, Effect::Append { .. })).count();
    let submit = Input::Request(Request::Submit(submission.clone()));
    let effects = handle(&mut core, submit);
    assert_eq!(effects.len(), 1, "it is looked up: {effects:?}");
    let request = Request::Submit(submission);
    assert_eq!(appended(&handle(&mut core, Input::LookedUp { request, ended: None })), 1, "its delegation");
    let cancel = Request::Cancel { tx: tx(), client: Client(2) };
    assert_eq!(appended(&handle(&mut core, Input::Request(cancel))), 1, "its end");

    let refused = || Input::NotAppended { tx: tx(), attempt_number, stage: Stage::Delegated, cause: "no".into() };
    for _ in 0..2 {
        assert_eq!(answers(&handle(&mut core, refused())), 0, "whoever waits hears how it ends");
    }
    let forget = Request::Forget { tx: tx(), client: Client(3) };
    assert_eq!(handle(&mut core, Input::Request(forget)), [], "no other end is recorded");
    let effects = handle(&mut core, Input::Appended { tx: tx(), attempt_number, stage: Stage::Ended });
    let looked_up = effects.iter().filter(|effect| matches!(effect, Effect::LookUp(Request::Await { .. }))).count();
    assert_eq!((looked_up, core.open_transactions()), (3, 0));
}

#[test]
fn nobody_is_thanked_for_a_heuristic_outcome_while_it_may_be_the_one_that_is_not_recorded() {
    let mut core = Run::new(Stage::Stepped).core;
    let attempt_number = AttemptNumber::first_of(Epoch(1));
    for number in 0..2 {
        let outcome = BranchOutcome::HeuristicallyCommitted;
        let message = ToCoordinator::Finished { tx: tx(), attempt_number, outcome };
        let request = Request::Message { from: name(number), message };
        handle(&mut core, Input::LookedUp { request, ended: None });
    }
    let (stage, cause) = (Stage::Ended, "no".to_owned());
    assert_eq!(handle(&mut core, Input::NotAppended { tx: tx(), attempt_number, stage, cause }), []);
    assert_eq!(handle(&mut core, Input::Appended { tx: tx(), attempt_number, stage }), []);
    let outcome = BranchOutcome::HeuristicallyCommitted;
    let message = ToCoordinator::Finished { tx: tx(), attempt_number, outcome };
    let request = Request::Message { from: name(0), message };
    handle(&mut core, Input::LookedUp { request, ended: None });
    let told = handle(&mut core, Input::Appended { tx: tx(), attempt_number, stage });
    assert!(matches!(told[..], [Effect::Send { message: ToParticipant::Noted { .. }, .. }]), "{told:?}");
}

#[test]
fn a_saga_is_decided_once_every_step_is_settled_on_its_way() {
    let done = || Progress::Done { result: Bytes::new(), pending: true };
    let aborted = Outcome::Aborted(AbortReason::Cancelled);
    for (back, progress, expected) in [
        (false, vec![done(), Progress::Skipped], Some(Outcome::Committed)),
        (false, vec![done(), Progress::Pending], None),
        (true, vec![Progress::Undone, Progress::Skipped], Some(aborted)),
        (true, vec![Progress::Undone, done()], None),
        (true, Vec::new(), None),
    ] {
        let reason = back.then_some(AbortReason::Cancelled);
        assert_eq!(decided(reason.as_ref(), &progress), expected, "{progress:?}");
    }
}
