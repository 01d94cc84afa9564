//! Sagas under every kind of mishap, along thousands of seeded walks: lost, late and repeated messages, timers out of
//! turn, refusals, lost connections, and a coordinator that crashes and keeps no more than the stable part of its log.
//! The participants keep their barriers, as `session.proto` demands.
//!
//! However it goes, a saga that is called committed has every action in effect, one that is called aborted has none, no
//! action is undone before what came after it, and nothing is answered that a crash could take back.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Client, Content, Coordinator, Effect, Input, Limits, Record, Request, StepResolution, Submission, Timer,
    Unfinished,
};
use undoubt_vocabulary::{
    Abilities, AttemptNumber, Direction, Epoch, Outcome, ParticipantName, Refusal, RefusalCode, RetryPolicy, RunStep,
    SagaStep, StepIndex, StepOutcome, Timestamp, ToCoordinator, ToParticipant, TxId, saga,
};

const LIMITS: Limits = Limits {
    max_begun_transactions: 10,
    max_open_transactions: 1,
    max_open_bytes: 1 << 30,
    max_gathered_bytes: 1 << 30,
    breaker_threshold: 1,
    breaker_pause: Duration::from_secs(1),
    old_after_attempts: 1_000,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    InEffect,
    Undone,
    Empty,
}

/// What the walk breaks on purpose, to show that it would be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    Nothing,
    /// The coordinator takes its records for stable as soon as they are appended.
    Unforced,
    /// Participants run the very attempt again that they have refused.
    RefusalForgotten,
}

struct Walk {
    seed: u64,
    sabotage: Sabotage,
    steps: Vec<SagaStep>,
    coordinator: Coordinator,
    epoch: u32,
    now: u64,
    unstable: VecDeque<Record>,
    stable: Option<Record>,
    sent: Vec<(ParticipantName, ToParticipant)>,
    said: Vec<(ParticipantName, ToCoordinator)>,
    timers: Vec<(AttemptNumber, Timer)>,
    barriers: BTreeMap<usize, Barrier>,
    /// The last attempt that was refused; participants remember it until they crash.
    refused: BTreeMap<(usize, Direction), (u32, RefusalCode)>,
    told: Option<Outcome>,
    compensating: bool,
}

fn name(text: &str) -> ParticipantName {
    text.parse().expect("a valid name")
}

fn tx() -> TxId {
    "T".parse().expect("a valid id")
}

fn step(label: &str, after: &[u16], uses: &[u16], pivot: bool, undoable: bool) -> SagaStep {
    let index = |steps: &[u16]| steps.iter().copied().map(StepIndex).collect();
    SagaStep {
        name: label.parse().expect("a valid name"),
        participant: name(&label[..1]),
        action: Some(Bytes::from_static(b"do")),
        compensation: undoable.then_some(Bytes::from_static(b"undo")),
        completion: None,
        after: index(after),
        uses: index(uses),
        pivot,
        retry: RetryPolicy { max_attempts: 2, ..RetryPolicy::default() },
    }
}

fn shapes() -> Vec<Vec<SagaStep>> {
    vec![
        vec![step("a", &[], &[], false, true), step("b", &[0], &[0], false, true), step("a2", &[1], &[], false, true)],
        vec![step("a", &[], &[], false, true), step("b", &[], &[], false, true), step("c", &[0, 1], &[], true, false)],
        vec![step("a", &[], &[], false, true), step("b", &[0], &[], true, false), step("c", &[1], &[1], false, false)],
        vec![step("a", &[], &[], false, true), step("b", &[0], &[], true, false), step("c", &[1], &[], false, false)],
        vec![step("a", &[], &[], true, false), step("b", &[0], &[], false, false), step("c", &[1], &[], false, false)],
    ]
}

impl Walk {
    fn new(seed: u64, sabotage: Sabotage) -> Walk {
        let mut walk = Walk {
            seed,
            sabotage,
            steps: shapes().swap_remove((seed % 5) as usize),
            coordinator: Coordinator::new(Epoch(1), LIMITS),
            epoch: 1,
            now: 1,
            unstable: VecDeque::new(),
            stable: None,
            sent: Vec::new(),
            said: Vec::new(),
            timers: Vec::new(),
            barriers: BTreeMap::new(),
            refused: BTreeMap::new(),
            told: None,
            compensating: false,
        };
        walk.put(Input::RecoveryDone { paused: false });
        for participant in ["a", "b", "c"] {
            walk.put(Input::Connected { participant: name(participant), abilities: Abilities::ALL });
        }
        walk.submit();
        walk
    }

    fn draw(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.seed >> 33) as usize) % below.max(1)
    }

    fn submit(&mut self) {
        let submission = Submission {
            tx: tx(),
            digest: [1; 32],
            content: Content::Saga(self.steps.clone()),
            timeout: Duration::from_secs(5),
            client: Client(1),
            wait: true,
        };
        self.put(Input::Request(Request::Submit(submission)));
    }

    fn put(&mut self, input: Input) {
        self.now += 1_000;
        let mut effects = Vec::new();
        self.coordinator.handle_input(Timestamp(self.now), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Append { record, .. } => {
                    let (tx, attempt_number, stage) = (record.tx().clone(), record.attempt_number(), record.stage());
                    self.unstable.push_back(record);
                    if self.sabotage == Sabotage::Unforced {
                        self.put(Input::Appended { tx, attempt_number, stage });
                    }
                }
                Effect::Send { to, message } => self.sent.push((to, message)),
                Effect::Answer { answer: Answer::Outcome { outcome, .. }, .. } => self.hear(outcome),
                Effect::Answer {
                    answer: Answer::Pending | Answer::Stuck(_) | Answer::Closed | Answer::Rejected(_) | Answer::Step(_),
                    ..
                } => {}
                Effect::Arm { attempt_number, timer, .. } => self.timers.push((attempt_number, timer)),
                Effect::LookUp(request) => {
                    let ended = match &self.stable {
                        Some(Record::Ended(ended)) => Some(ended.clone()),
                        Some(Record::Open(_) | Record::Saga(_) | Record::Opened(_) | Record::Joined(_)) | None => None,
                    };
                    self.put(Input::LookedUp { request, ended });
                }
                Effect::Note { .. } | Effect::Retired { .. } => {}
            }
        }
    }

    fn hear(&mut self, outcome: Outcome) {
        let before = self.told.get_or_insert(outcome.clone());
        assert_eq!(*before == Outcome::Committed, outcome == Outcome::Committed, "an outcome was taken back");
        let wanted = outcome == Outcome::Committed;
        for step in 0..self.steps.len() {
            let in_effect = self.barriers.get(&step) == Some(&Barrier::InEffect);
            assert_eq!(in_effect, wanted, "{outcome}, and the action of step {step} says otherwise");
        }
    }

    fn persist(&mut self) {
        let Some(record) = self.unstable.pop_front() else { return };
        let (attempt_number, stage) = (record.attempt_number(), record.stage());
        self.stable = Some(record);
        if self.sabotage != Sabotage::Unforced {
            self.put(Input::Appended { tx: tx(), attempt_number, stage });
        }
    }

    fn crash(&mut self) {
        self.epoch += 1;
        self.coordinator = Coordinator::new(Epoch(self.epoch), LIMITS);
        // The write under way may have reached the disk or not.
        for _ in 0..self.draw(self.unstable.len() + 1) {
            self.stable = self.unstable.pop_front();
        }
        self.unstable.clear();
        self.timers.clear();
        self.sent.clear();
        self.said.clear();
        if let Some(Record::Saga(record)) = self.stable.clone() {
            self.put(Input::Recovered(Unfinished::Saga(record)));
        }
        let paused = self.draw(4) == 0;
        self.put(Input::RecoveryDone { paused });
        self.submit();
    }

    /// Sessions end and begin: what was under way on them is lost.
    fn reconnect(&mut self) {
        let participant = name(["a", "b", "c"][self.draw(3)]);
        self.sent.retain(|(to, _)| *to != participant);
        self.said.retain(|(from, _)| *from != participant);
        if self.draw(3) == 0 {
            let steps = &self.steps;
            self.refused.retain(|(step, _), _| steps[*step].participant != participant);
        }
        if self.draw(3) == 0 {
            self.put(Input::Disconnected { participant });
        } else {
            self.put(Input::Connected { participant, abilities: Abilities::ALL });
        }
    }

    /// Sessions keep the order, so the first message of one of the participants arrives.
    fn deliver(&mut self) {
        let at = self.draw(self.sent.len());
        let Some((to, _)) = self.sent.get(at) else { return };
        let first = self.sent.iter().position(|(other, _)| other == to).unwrap_or(at);
        let (to, message) = self.sent.remove(first);
        match message {
            ToParticipant::Run(run) => self.run(to, run),
            ToParticipant::Close { tx, attempt_number } => {
                self.said.push((to, ToCoordinator::Closed { tx, attempt_number }))
            }
            ToParticipant::Prepare(_)
            | ToParticipant::Confirm { .. }
            | ToParticipant::Commit { .. }
            | ToParticipant::Abort { .. }
            | ToParticipant::Settle { .. }
            | ToParticipant::Undecided { .. }
            | ToParticipant::Noted { .. } => panic!("a saga does not say {}", message.name()),
        }
    }

    fn run(&mut self, at: ParticipantName, run: RunStep) {
        let step = usize::from(run.step.0);
        let refused = |code| StepOutcome::Refused(Refusal::new(code, "because"));
        let done = StepOutcome::Done { result: Bytes::from(vec![run.step.0 as u8]), pending: step == 0 };
        for (input, used) in run.inputs.iter().zip(&self.steps[step].uses) {
            assert_eq!(input[..], [used.0 as u8], "step {step} was not given the result of what it uses");
        }
        let repeated = self.refused.get(&(step, run.direction)).filter(|(attempt, _)| run.attempt <= *attempt);
        let outcome = match (run.direction, self.barriers.get(&step).copied()) {
            // What is in effect comes first: a coordinator that was restarted counts its attempts anew.
            (Direction::Forward, None) | (Direction::Compensating, Some(Barrier::InEffect)) if repeated.is_some() => {
                refused(repeated.map_or(RefusalCode::Late, |(_, code)| *code))
            }
            (Direction::Forward, Some(Barrier::InEffect)) => done,
            (Direction::Forward, Some(Barrier::Undone | Barrier::Empty)) => refused(RefusalCode::Late),
            (Direction::Forward, None) => match self.draw(8) {
                0 => refused(RefusalCode::Condition),
                1 => refused(RefusalCode::LockConflict),
                _ => {
                    let before = saga::ancestors(&self.steps, step);
                    let ready = before.iter().all(|before| self.barriers.get(before) == Some(&Barrier::InEffect));
                    assert!(ready, "step {step} ran before what comes before it");
                    self.barriers.insert(step, Barrier::InEffect);
                    done
                }
            },
            (Direction::Completing, _) => unreachable!("only a step of an open saga is completed"),
            (Direction::Compensating, None) => {
                self.barriers.insert(step, Barrier::Empty);
                StepOutcome::Empty
            }
            (Direction::Compensating, Some(Barrier::Empty)) => StepOutcome::Empty,
            (Direction::Compensating, Some(Barrier::Undone)) => done,
            (Direction::Compensating, Some(Barrier::InEffect)) if self.draw(4) == 0 => {
                refused(RefusalCode::LockConflict)
            }
            (Direction::Compensating, Some(Barrier::InEffect)) => {
                self.compensating = true;
                for later in 0..self.steps.len() {
                    let waits = saga::ancestors(&self.steps, later).contains(&step);
                    let in_effect = self.barriers.get(&later) == Some(&Barrier::InEffect);
                    assert!(!(waits && in_effect), "step {step} is undone before step {later}, which came after it");
                }
                self.barriers.insert(step, Barrier::Undone);
                done
            }
        };
        if let (StepOutcome::Refused(refusal), Sabotage::Nothing | Sabotage::Unforced) = (&outcome, self.sabotage) {
            let last = self.refused.entry((step, run.direction)).or_insert((0, refusal.code));
            *last = (last.0.max(run.attempt), refusal.code);
        }
        let RunStep { tx, attempt_number, step, direction, attempt, .. } = run;
        self.said.push((at, ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome }));
    }

    fn answer(&mut self) {
        let at = self.draw(self.said.len());
        if let Some((from, message)) = self.said.get(at).cloned() {
            if self.draw(6) > 0 {
                self.said.remove(at);
            }
            self.put(Input::Request(Request::Message { from, message }));
        }
    }

    fn fire(&mut self) {
        let at = self.draw(self.timers.len());
        if at < self.timers.len() {
            let (attempt_number, timer) = self.timers.remove(at);
            self.put(Input::Fired { tx: tx(), attempt_number, timer });
        }
    }

    fn resolve(&mut self) {
        let at = self.draw(self.steps.len());
        let step = self.steps[at].name.clone();
        let request = Request::ResolveStep { tx: tx(), step, resolution: StepResolution::Retry, client: Client(2) };
        self.put(Input::Request(request));
    }

    /// Mishaps for a while, then a kind world, in which every saga has to end.
    fn go(mut self) -> (Outcome, bool) {
        for _ in 0..60 {
            match self.draw(64) {
                0 => self.crash(),
                1..=4 => self.reconnect(),
                5 | 6 => self.fire(),
                7 => self.resolve(),
                8 if self.draw(4) == 0 => self.put(Input::Request(Request::Cancel { tx: tx(), client: Client(3) })),
                9 => self.put(Input::PauseRecovery),
                10 | 11 => self.put(Input::ResumeRecovery),
                12..=30 => self.persist(),
                31..=46 => self.deliver(),
                _ => self.answer(),
            }
        }
        self.put(Input::ResumeRecovery);
        for participant in ["a", "b", "c"] {
            self.put(Input::Connected { participant: name(participant), abilities: Abilities::ALL });
        }
        self.submit();
        for _ in 0..4_000 {
            if self.told.is_some() && self.coordinator.open_transactions() == 0 {
                break;
            }
            match self.draw(8) {
                0 if self.draw(8) == 0 => self.fire(),
                // A client that was told that the saga is stuck waits anew.
                1 => {
                    self.resolve();
                    self.submit();
                }
                2..=3 => self.persist(),
                4..=5 => self.deliver(),
                _ => self.answer(),
            }
        }
        assert_eq!(self.coordinator.open_transactions(), 0, "{:?}", self.coordinator.view(&tx()));
        let next = self.coordinator.low_water_mark(&name("zzz"));
        assert_eq!(self.coordinator.low_water_mark(&name("a")), next, "a low-water mark is still open");
        (self.told.expect("the client hears"), self.compensating)
    }
}

#[test]
fn whatever_happens_a_saga_is_carried_out_or_undone_and_its_answer_says_which() {
    let ends: Vec<(Outcome, bool)> = (0..6_000).map(|seed| Walk::new(seed, Sabotage::Nothing).go()).collect();
    let count = |wanted: bool| ends.iter().filter(|(outcome, _)| (*outcome == Outcome::Committed) == wanted).count();
    let both = (count(true), count(false));
    assert!(both.0 > 500 && both.1 > 500, "the walks see both ends: {both:?}");
    assert!(ends.iter().filter(|(_, undone)| *undone).count() > 500, "the walks see compensations");
}

fn is_seen(sabotage: Sabotage) -> bool {
    (0..6_000).any(|seed| std::panic::catch_unwind(|| Walk::new(seed, sabotage).go()).is_err())
}

#[test]
fn a_coordinator_that_does_not_wait_for_its_log_is_found_out() {
    assert!(is_seen(Sabotage::Unforced));
}

#[test]
fn a_participant_that_runs_a_refused_attempt_again_is_found_out() {
    assert!(is_seen(Sabotage::RefusalForgotten));
}
