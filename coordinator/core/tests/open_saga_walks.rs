//! Random walks of open sagas: steps of all kinds join, messages are delivered in any order, lost and repeated, sessions break,
//! the coordinator crashes, clients close and cancel. Whatever happened, each step has been completed or undone in the end, or
//! left nothing, and nobody was told anything else.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use undoubt_coordinator_core::{
    Answer, Beginning, Client, Completions, Coordinator, Effect, EndedRecord, Input, JoinedRecord, Joining, Limits,
    OpenedRecord, Record, Rejection, Request, StepAnswer, Terms, Timer, Unfinished,
};
use undoubt_vocabulary::{
    Abilities, AttemptNumber, Direction, Epoch, LowWaterMark, Outcome, ParticipantName, Refusal, RefusalCode,
    RetryPolicy, RunStep, SagaStep, StepIndex, StepName, StepOutcome, Timestamp, ToCoordinator, ToParticipant, TxId,
};

const LIMITS: Limits = Limits {
    max_begun_transactions: 1,
    max_open_transactions: 1,
    max_open_bytes: 1 << 30,
    max_gathered_bytes: 1 << 30,
    breaker_threshold: 0,
    breaker_pause: Duration::ZERO,
    old_after_attempts: 1_000,
};

const PARTICIPANTS: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 5;
const MOVES: usize = 80;
const WALKS: u64 = 6_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    InEffect,
    Undone,
    Completed,
    Empty,
}

/// A bug that is planted in the walk, to show that it would be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    Nothing,
    /// The coordinator takes its records for stable as soon as they are appended.
    Unforced,
    /// Participants are not told that a step's caller has acted himself.
    ElsewhereUntold,
    /// Participants run the very attempt again that they have refused.
    RefusalForgotten,
}

struct Walk {
    seed: u64,
    sabotage: Sabotage,
    /// True once nothing goes wrong any more.
    calm: bool,
    steps: Vec<SagaStep>,
    completions: Completions,
    coordinator: Coordinator,
    epoch: u32,
    now: u64,
    unstable: VecDeque<Record>,
    header: Option<OpenedRecord>,
    joined: BTreeMap<StepIndex, JoinedRecord>,
    ended: Option<EndedRecord>,
    sent: Vec<(ParticipantName, ToParticipant)>,
    said: Vec<(ParticipantName, ToCoordinator)>,
    timers: Vec<(AttemptNumber, Timer)>,
    /// The barriers, by the participant and by the number and the place under which it knows the step.
    barriers: BTreeMap<(ParticipantName, AttemptNumber, StepIndex), Barrier>,
    /// The last attempt that was refused; participants remember it until their session ends.
    refused: BTreeMap<(ParticipantName, StepIndex, Direction), (u32, RefusalCode)>,
    /// What a participant has seen to be over.
    low_water_marks: BTreeMap<ParticipantName, LowWaterMark>,
    /// Low-water marks pass the saga at once, or soon, or not before a restart.
    limits: Limits,
    clients: BTreeMap<u64, StepName>,
    told: BTreeMap<StepName, StepAnswer>,
    outcome: Option<Outcome>,
    rejected: bool,
}

fn name(text: &str) -> ParticipantName {
    text.parse().expect("a valid name")
}

fn tx() -> TxId {
    "T".parse().expect("a valid id")
}

impl Walk {
    fn new(seed: u64, sabotage: Sabotage) -> Walk {
        let limits = Limits { old_after_attempts: [0, 1, 1_000][seed as usize % 3], ..LIMITS };
        let mut walk = Walk {
            seed,
            sabotage,
            calm: false,
            steps: Vec::new(),
            completions: Completions::Together,
            coordinator: Coordinator::new(Epoch(1), limits),
            limits,
            epoch: 1,
            now: 1,
            unstable: VecDeque::new(),
            header: None,
            joined: BTreeMap::new(),
            ended: None,
            sent: Vec::new(),
            said: Vec::new(),
            timers: Vec::new(),
            barriers: BTreeMap::new(),
            refused: BTreeMap::new(),
            low_water_marks: BTreeMap::new(),
            clients: BTreeMap::new(),
            told: BTreeMap::new(),
            outcome: None,
            rejected: false,
        };
        walk.steps = (0..STEPS).map(|number| walk.step(number)).collect();
        walk.completions = [Completions::Together, Completions::AsJoined, Completions::Reversed][walk.draw(3)];
        walk.put(Input::RecoveryDone { paused: false });
        PARTICIPANTS.iter().for_each(|participant| walk.connect(name(participant)));
        walk.begin();
        walk
    }

    fn draw(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.seed >> 33) as usize) % below.max(1)
    }

    fn step(&mut self, number: usize) -> SagaStep {
        let (acts, undone, completed) =
            [(true, true, true), (true, true, false), (false, true, true), (false, true, false), (false, false, true)]
                [self.draw(5)];
        let work = |is_there: bool| is_there.then_some(Bytes::from_static(b"work"));
        SagaStep {
            name: format!("s{number}").parse().expect("a valid name"),
            participant: name(PARTICIPANTS[self.draw(3)]),
            action: work(acts),
            compensation: work(undone),
            completion: work(completed),
            after: Vec::new(),
            uses: Vec::new(),
            pivot: false,
            retry: RetryPolicy { max_attempts: 2, ..RetryPolicy::default() },
        }
    }

    fn begin(&mut self) {
        let (tx, digest, client) = (tx(), [1; 32], Client(1));
        let terms = Terms { completions: self.completions };
        let beginning = Beginning {
            tx,
            digest,
            terms,
            check_back: None,
            parent: None,
            owner: None,
            timeout: Duration::from_secs(5),
            client,
        };
        self.put(Input::Request(Request::Begin(beginning)));
    }

    fn join(&mut self) {
        let (step, wait) = (self.draw(STEPS), self.draw(2) == 0);
        let step = self.steps[step].clone();
        let client = 100 + self.clients.len() as u64;
        self.clients.insert(client, step.name.clone());
        let joining = Joining { tx: tx(), digest: [7; 32], step, client: Client(client), wait };
        self.put(Input::Request(Request::Join(Box::new(joining))));
    }

    fn close(&mut self) {
        self.put(Input::Request(Request::Close { tx: tx(), client: Client(2), wait: true }));
    }

    fn cancel(&mut self) {
        self.put(Input::Request(Request::Cancel { tx: tx(), client: Client(3) }));
    }

    fn connect(&mut self, participant: ParticipantName) {
        // No message outlives its session, and no memory of a refusal.
        self.sent.retain(|(to, _)| *to != participant);
        self.said.retain(|(from, _)| *from != participant);
        self.refused.retain(|(at, _, _), _| *at != participant);
        self.see_low_water_mark(&participant);
        self.put(Input::Disconnected { participant: participant.clone() });
        self.put(Input::Connected { participant, abilities: Abilities::ALL });
    }

    /// A batch may have brought it at any time.
    fn see_low_water_mark(&mut self, participant: &ParticipantName) {
        let mark = self.coordinator.low_water_mark(participant);
        let seen = self.low_water_marks.entry(participant.clone()).or_default();
        *seen = seen.and(&mark);
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
                Effect::Answer { client, answer, .. } => self.hear(client, answer),
                Effect::Arm { attempt_number, timer, .. } => self.timers.push((attempt_number, timer)),
                Effect::LookUp(request) => {
                    let ended = self.ended.clone();
                    self.put(Input::LookedUp { request, ended });
                }
                Effect::Note { .. } | Effect::Retired { .. } => {}
            }
        }
    }

    fn hear(&mut self, client: Client, answer: Answer) {
        match answer {
            Answer::Outcome { outcome, .. } => self.hear_outcome(outcome),
            Answer::Step(answer) => {
                let step = self.clients[&client.0].clone();
                self.hear_of_step(step, answer);
            }
            Answer::Rejected(Rejection::StepUnsettled { .. }) => self.rejected = true,
            Answer::Pending | Answer::Rejected(_) => {}
            Answer::Closed => panic!("nothing is nested here"),
            Answer::Stuck(stuck) => panic!("nothing is refused for good, and {stuck:?}"),
        }
    }

    fn hear_of_step(&mut self, step: StepName, answer: StepAnswer) {
        let is_on_record = self.joined.values().any(|joined| joined.step.name == step);
        assert!(is_on_record, "{step} is answered, {answer:?}, and it is not on record that it joined");
        let is_definite = |answer: &StepAnswer| matches!(answer, StepAnswer::Done { .. } | StepAnswer::Refused(_));
        let before = self.told.get(&step);
        assert!(
            before.is_none_or(|before| !is_definite(before) || !is_definite(&answer) || *before == answer),
            "{step} was answered {before:?}, and is {answer:?}"
        );
        if before.is_none_or(|before| !is_definite(before)) {
            self.told.insert(step, answer);
        }
    }

    fn barrier(&self, joined: &JoinedRecord) -> Option<Barrier> {
        self.barriers.get(&(joined.step.participant.clone(), joined.at_participant, joined.index)).copied()
    }

    fn hear_outcome(&mut self, outcome: Outcome) {
        let before = self.outcome.get_or_insert(outcome.clone());
        assert_eq!(*before, outcome, "an outcome was taken back");
        let names: BTreeSet<&StepName> = self.joined.values().map(|joined| &joined.step.name).collect();
        assert!(self.told.keys().all(|told| names.contains(told)), "what was told of a step is forgotten");
        for joined in self.joined.values() {
            let (barrier, step) = (self.barrier(joined), &joined.step);
            let told = self.told.get(&step.name);
            let is_right = match (&outcome, barrier) {
                _ if matches!(told, Some(StepAnswer::Refused(_))) => barrier.is_none(),
                (Outcome::Committed, Some(Barrier::Completed)) => true,
                (Outcome::Committed, Some(Barrier::InEffect)) => step.completion.is_none(),
                // It was refused, and nobody waited for that; or there was nothing to do.
                (Outcome::Committed, None) => step.completion.is_none() || step.action.is_some(),
                (Outcome::Aborted(_), None) => step.action.is_some() || step.compensation.is_none() || told.is_none(),
                (Outcome::Aborted(_), Some(Barrier::Undone | Barrier::Empty)) => true,
                (Outcome::Committed, Some(Barrier::Undone | Barrier::Empty))
                | (Outcome::Aborted(_), Some(Barrier::InEffect | Barrier::Completed)) => false,
            };
            assert!(is_right, "{outcome}, and {} is {barrier:?}", step.name);
            assert!(
                !matches!(told, Some(StepAnswer::Done { .. })) || barrier.is_some(),
                "{} was answered as done, and is not",
                step.name
            );
        }
    }

    fn persist(&mut self) {
        let Some(record) = self.unstable.pop_front() else { return };
        let (attempt_number, stage) = (record.attempt_number(), record.stage());
        self.store(record);
        if self.sabotage != Sabotage::Unforced {
            self.put(Input::Appended { tx: tx(), attempt_number, stage });
        }
    }

    fn store(&mut self, record: Record) {
        match record {
            Record::Opened(header) => self.header = Some(header),
            Record::Joined(joined) => {
                self.joined.insert(joined.index, joined);
            }
            Record::Ended(ended) => {
                self.header = None;
                self.ended = Some(ended);
            }
            Record::Open(_) | Record::Saga(_) => panic!("nobody submitted anything"),
        }
    }

    fn crash(&mut self) {
        self.epoch += 1;
        self.coordinator = Coordinator::new(Epoch(self.epoch), self.limits);
        // The writes under way may have reached the disk or not.
        for _ in 0..self.draw(self.unstable.len() + 1) {
            let record = self.unstable.pop_front().expect("there are so many");
            self.store(record);
        }
        self.unstable.clear();
        self.timers.clear();
        if let Some(header) = self.header.clone() {
            let steps = self.joined.values().cloned().collect();
            self.put(Input::Recovered(Unfinished::Opened(header, steps)));
        }
        self.put(Input::RecoveryDone { paused: false });
        PARTICIPANTS.iter().for_each(|participant| self.connect(name(participant)));
        self.begin();
    }

    fn deliver(&mut self, is_repeated: bool) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.draw(self.sent.len());
        let (to, message) = if is_repeated { self.sent[at].clone() } else { self.sent.swap_remove(at) };
        self.see_low_water_mark(&to);
        match message {
            ToParticipant::Run(run) => self.run(to, run),
            ToParticipant::Close { tx, attempt_number } => {
                self.said.push((to, ToCoordinator::Closed { tx, attempt_number }));
            }
            other @ (ToParticipant::Prepare(_)
            | ToParticipant::Confirm { .. }
            | ToParticipant::Commit { .. }
            | ToParticipant::Abort { .. }
            | ToParticipant::Settle { .. }
            | ToParticipant::Undecided { .. }
            | ToParticipant::Noted { .. }) => panic!("no participant of an open saga is told {other:?}"),
        }
    }

    fn run(&mut self, at: ParticipantName, run: RunStep) {
        let RunStep { tx, attempt_number, step, direction, attempt, .. } = run;
        if self.low_water_marks.get(&at).is_some_and(|seen| seen.is_over(attempt_number)) {
            assert!(!self.coordinator.holds(&tx), "{at} has seen that {attempt_number} is over");
            let outcome = StepOutcome::Refused(Refusal::new(RefusalCode::Late, ""));
            return self.said.push((at, ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome }));
        }
        let elsewhere = run.acted_elsewhere && self.sabotage != Sabotage::ElsewhereUntold;
        let key = (at.clone(), attempt_number, step);
        let (of_refusal, barrier) = ((at.clone(), step, direction), self.barriers.get(&key).copied());
        let done = StepOutcome::Done { result: Bytes::from_static(b"result"), pending: false };
        let ends = match (direction, barrier) {
            (Direction::Forward, None) => Some(Barrier::InEffect),
            (Direction::Compensating, Some(Barrier::InEffect)) => Some(Barrier::Undone),
            (Direction::Compensating, None) if elsewhere => Some(Barrier::Undone),
            (Direction::Completing, Some(Barrier::InEffect)) => Some(Barrier::Completed),
            (Direction::Completing, None) if elsewhere => Some(Barrier::Completed),
            _ => None,
        };
        let outcome = match (direction, barrier, ends) {
            (_, _, Some(becomes)) => match self.refuses(of_refusal, attempt) {
                Some(code) => StepOutcome::Refused(Refusal::new(code, "")),
                None => {
                    self.barriers.insert(key, becomes);
                    done
                }
            },
            (Direction::Compensating, None, None) => {
                self.barriers.insert(key, Barrier::Empty);
                StepOutcome::Empty
            }
            (Direction::Compensating, Some(Barrier::Empty), None) => StepOutcome::Empty,
            (Direction::Forward, Some(Barrier::InEffect), None)
            | (Direction::Compensating, Some(Barrier::Undone), None)
            | (Direction::Completing, Some(Barrier::Completed), None) => done,
            // It was overtaken by what ends it.
            (Direction::Forward, Some(_), None) => StepOutcome::Refused(Refusal::new(RefusalCode::Late, "")),
            (Direction::Completing | Direction::Compensating, _, None) => {
                panic!("{direction} of step {} runs, and it is {barrier:?}", step.0)
            }
            (Direction::Forward, None, None) => unreachable!("it takes effect"),
        };
        self.said.push((at, ToCoordinator::Ran { tx, attempt_number, step, direction, attempt, outcome }));
    }

    /// Returns the code if the run is refused. An action alone is refused for good, so that nothing waits for an operator.
    fn refuses(&mut self, of: (ParticipantName, StepIndex, Direction), attempt: u32) -> Option<RefusalCode> {
        if let Some((last, code)) = self.refused.get(&of)
            && attempt <= *last
            && self.sabotage != Sabotage::RefusalForgotten
        {
            return Some(*code);
        }
        let code = match (self.draw(5), of.2) {
            _ if self.calm => return None,
            (0, Direction::Forward) => RefusalCode::Condition,
            (0 | 1, _) => RefusalCode::LockConflict,
            _ => return None,
        };
        self.refused.insert(of, (attempt, code));
        Some(code)
    }

    fn answer(&mut self, is_repeated: bool) {
        if self.said.is_empty() {
            return;
        }
        let at = self.draw(self.said.len());
        let (from, message) = if is_repeated { self.said[at].clone() } else { self.said.swap_remove(at) };
        self.put(Input::Request(Request::Message { from, message }));
    }

    fn fire(&mut self, deadlines: bool) {
        if self.timers.is_empty() {
            return;
        }
        let at = self.draw(self.timers.len());
        if matches!(self.timers[at].1, Timer::Deadline { .. }) && !deadlines {
            return;
        }
        let (attempt_number, timer) = self.timers.swap_remove(at);
        self.put(Input::Fired { tx: tx(), attempt_number, timer });
    }

    fn go(&mut self) {
        for _ in 0..MOVES {
            match self.draw(40) {
                0..=5 => self.join(),
                6..=13 => self.persist(),
                14..=19 => self.deliver(false),
                20..=25 => self.answer(false),
                26..=29 => self.fire(false),
                30 => self.deliver(true),
                31 => self.answer(true),
                32 if !self.sent.is_empty() => {
                    let at = self.draw(self.sent.len());
                    self.sent.swap_remove(at);
                }
                33 if !self.said.is_empty() => {
                    let at = self.draw(self.said.len());
                    self.said.swap_remove(at);
                }
                34 => {
                    let participant = PARTICIPANTS[self.draw(3)];
                    self.connect(name(participant));
                }
                35 => self.crash(),
                36 if self.draw(4) == 0 => self.close(),
                37 if self.draw(4) == 0 => self.cancel(),
                38 if self.draw(4) == 0 => self.fire(true),
                _ => {}
            }
        }
        self.come_to_an_end();
    }

    fn come_to_an_end(&mut self) {
        self.calm = true;
        for round in 0..2_000 {
            while !self.unstable.is_empty() {
                self.persist();
            }
            if self.coordinator.view(&tx()).is_none() && self.ended.is_some() {
                self.close();
                assert!(self.outcome.is_some(), "whoever asks hears how it ended");
                return;
            }
            if self.coordinator.view(&tx()).is_none() {
                self.begin();
            }
            match (self.sent.is_empty(), self.said.is_empty()) {
                (_, false) => self.answer(false),
                (false, _) => self.deliver(false),
                (true, true) if round % 3 == 0 => self.close(),
                (true, true) => self.fire(false),
            }
            if std::mem::take(&mut self.rejected) && round > 1_000 {
                self.cancel();
            }
        }
        panic!("it comes to no end: {:?}", self.coordinator.view(&tx()));
    }
}

fn walk(seed: u64, sabotage: Sabotage) {
    Walk::new(seed, sabotage).go();
}

#[test]
fn whatever_happens_each_step_is_completed_or_undone_and_nobody_is_told_anything_else() {
    for seed in 0..WALKS {
        if catch_unwind(|| walk(seed, Sabotage::Nothing)).is_err() {
            panic!("walk {seed} breaks");
        }
    }
}

#[test]
fn what_the_walks_are_to_find_they_find() {
    for sabotage in [Sabotage::Unforced, Sabotage::ElsewhereUntold, Sabotage::RefusalForgotten] {
        let breaks = |seed: &u64| catch_unwind(AssertUnwindSafe(|| walk(*seed, sabotage))).is_err();
        assert!((0..WALKS).any(|seed| breaks(&seed)), "{sabotage:?} is not found");
    }
}
