//! Whatever comes, however often and in whatever order: an action runs at most once, is undone at most once, and only
//! what is durable is answered.

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use undoubt_participant_core::{
    Effect, Hello, Input, Kept, Limits, Participant, Proof, Recovered, Session, StepId, StepState, Trust,
};
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Epoch, Refusal, RefusalCode, RunStep, StepIndex, StepOutcome, Timestamp,
    ToCoordinator, ToParticipant, TxId,
};

const COORDINATOR: CoordinatorId = CoordinatorId([7; 16]);
const STEPS: u16 = 2;

#[derive(Clone, Debug)]
enum Event {
    Run {
        step: u16,
        direction: Direction,
        attempt: u32,
    },
    Close,
    /// The call of this step that is under way succeeds, or is refused.
    End {
        step: u16,
        refuse: bool,
    },
    CloseEnds,
    /// The resource tells what it was asked for, the oldest question first.
    Recall,
    /// Calls under way get done, or do not.
    Crash {
        done: bool,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Compensating)];
    let event = prop_oneof![
        8 => (0..STEPS, direction, 1..5_u32).prop_map(|(step, direction, attempt)| Event::Run { step, direction, attempt }),
        8 => (0..STEPS, any::<bool>()).prop_map(|(step, refuse)| Event::End { step, refuse }),
        1 => Just(Event::Close),
        1 => Just(Event::CloseEnds),
        3 => Just(Event::Recall),
        1 => any::<bool>().prop_map(|done| Event::Crash { done }),
    ];
    prop::collection::vec(event, 1..80)
}

/// What the resource is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Action,
    Compensation,
    Empty,
}

/// A resource that stores what it is told, and finds it wrong to be told twice.
struct World {
    core: Participant,
    stored: BTreeMap<StepId, StepState>,
    under_way: BTreeMap<StepId, Call>,
    /// Results that are to be told again, and for which attempt.
    recalls: VecDeque<(StepId, u32)>,
    /// The bytes of the longest result that the core keeps.
    largest_kept_bytes: usize,
    closing: bool,
    /// The highest attempt of an action that was answered with a refusal since the last crash.
    refused: BTreeMap<StepId, u32>,
}

fn tx() -> TxId {
    "S1".parse().expect("a valid id")
}

fn id(step: u16) -> StepId {
    StepId { coordinator: COORDINATOR, attempt_number: AttemptNumber(5), step: StepIndex(step), tx: tx() }
}

fn result_of(step: &StepId) -> Bytes {
    Bytes::from(format!("result {}", step.step.0))
}

impl World {
    fn over(stored: BTreeMap<StepId, StepState>, largest_kept_bytes: usize) -> World {
        let core = Participant::new(Limits { max_open_branches: 1, largest_kept_bytes, trust: Trust::EVERYBODY });
        let (under_way, recalls, refused) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        let stored_before = stored.clone();
        let mut world = World { core, stored, under_way, recalls, largest_kept_bytes, closing: false, refused };
        for (step, state) in stored_before {
            world.tell(Input::Recovered(Recovered::Step { step, state }));
        }
        let hello = Hello {
            coordinator: COORDINATOR,
            proof: Proof::default(),
            name: String::new(),
            epoch: Epoch(1),
            number: None,
            shown: None,
        };
        world.tell(Input::Hello { session: Session(1), hello });
        world.tell(Input::EpochRecorded { session: Session(1) });
        world
    }

    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle_input(input, &mut effects);
        effects.into_iter().for_each(|effect| self.check(effect));
    }

    fn check(&mut self, effect: Effect) {
        match effect {
            Effect::RunAction { step, run } => {
                assert_eq!(self.stored.get(&step), None, "an action runs once, and not after its compensation");
                assert!(
                    self.refused.get(&step).is_none_or(|refused| run.attempt > *refused),
                    "what is refused stays so"
                );
                self.begin(step, Call::Action);
            }
            Effect::FinishStep { step, run, recall } => {
                let is_acted = matches!(self.stored.get(&step), Some(StepState::Acted { .. }));
                assert!(is_acted, "only what is in effect is undone");
                let given = if recall { self.recalled(&step) } else { run.inputs.last().cloned() };
                assert_eq!(given, Some(result_of(&step)), "it is given the action's result");
                self.begin(step, Call::Compensation);
            }
            Effect::RecallOutcome { step, attempt } => self.recalls.push_back((step, attempt)),
            Effect::StoreEmpty { step } => {
                assert_eq!(self.stored.get(&step), None, "only what never ran is empty");
                self.begin(step, Call::Empty);
            }
            Effect::CloseSaga { .. } => {
                assert!(self.under_way.is_empty() && !self.closing, "a saga closes when nothing of it is under way");
                self.closing = true;
            }
            Effect::Send { message: ToCoordinator::Ran { step, direction, attempt, outcome, .. }, .. } => {
                self.check_answer(id(step.0), direction, attempt, outcome);
            }
            Effect::Send { message: ToCoordinator::Closed { .. }, .. } => {
                let pending = |state: &StepState| matches!(state, StepState::Acted { pending: true, .. });
                assert!(!self.stored.values().any(pending), "closed means that no semantic lock is left");
            }
            Effect::RecordEpoch { .. } | Effect::Welcome { .. } | Effect::CancelAction { .. } => {}
            Effect::Send { .. }
            | Effect::Close { .. }
            | Effect::RememberSeen { .. }
            | Effect::RememberName { .. }
            | Effect::StorePutBack { .. }
            | Effect::AcceptLoss { .. }
            | Effect::RecordPin { .. }
            | Effect::Execute { .. }
            | Effect::Cancel { .. }
            | Effect::Commit { .. }
            | Effect::Confirm { .. }
            | Effect::Abort { .. }
            | Effect::Settle { .. }
            | Effect::Release { .. }
            | Effect::Resolve { .. }
            | Effect::StoreHeuristic { .. }
            | Effect::ForgetHeuristic { .. }
            | Effect::RecallVote { .. }
            | Effect::Collect { .. }
            | Effect::ReleaseMarks { .. }
            | Effect::Answer { .. } => unreachable!("nothing but a saga's steps"),
        }
    }

    fn begin(&mut self, step: StepId, call: Call) {
        assert!(!self.closing, "nothing begins while the saga closes");
        assert!(self.under_way.insert(step, call).is_none(), "one call for a step at a time");
    }

    fn check_answer(&mut self, step: StepId, direction: Direction, attempt: u32, outcome: StepOutcome) {
        let stored = self.stored.get(&step);
        match (direction, outcome) {
            (Direction::Forward, StepOutcome::Done { result, pending }) => {
                let expected = StepState::Acted { result: Kept::Here(result), pending };
                assert_eq!(stored, Some(&expected), "what is answered is durable");
            }
            (Direction::Compensating, StepOutcome::Done { .. }) => assert_eq!(stored, Some(&StepState::Compensated)),
            (Direction::Compensating, StepOutcome::Empty) => assert_eq!(stored, Some(&StepState::Empty)),
            (Direction::Forward | Direction::Completing, StepOutcome::Empty) => panic!("only a compensation is empty"),
            (Direction::Completing, _) => panic!("no saga is completed here"),
            (Direction::Forward, StepOutcome::Refused(_)) => {
                assert!(!matches!(stored, Some(StepState::Acted { .. })), "what is in effect is not called refused");
                let highest = self.refused.entry(step).or_insert(attempt);
                *highest = attempt.max(*highest);
            }
            (Direction::Compensating, StepOutcome::Refused(_)) => {
                let is_undone = matches!(stored, Some(StepState::Compensated | StepState::Empty));
                assert!(!is_undone, "what is undone is not called refused");
            }
        }
    }

    fn run(&mut self, step: u16, direction: Direction, attempt: u32) {
        let (begun_at, timeout) = (Timestamp(1), Duration::from_secs(1));
        let (work, inputs) = (Bytes::new(), Vec::new());
        let (tx, attempt_number, step) = (tx(), AttemptNumber(5), StepIndex(step));
        let (acted_elsewhere, check_back) = (false, false);
        let run = RunStep {
            tx,
            attempt_number,
            step,
            direction,
            acted_elsewhere,
            check_back,
            attempt,
            begun_at,
            timeout,
            work,
            inputs,
        };
        self.tell(Input::Message { session: Session(1), message: ToParticipant::Run(run) });
    }

    /// What a call makes durable.
    fn store(&mut self, step: &StepId, call: Call) {
        let state = match call {
            Call::Action => StepState::Acted { result: Kept::Here(result_of(step)), pending: step.step.0 == 0 },
            Call::Compensation => StepState::Compensated,
            Call::Empty => StepState::Empty,
        };
        self.stored.insert(step.clone(), state);
    }

    fn end(&mut self, step: StepId, refuse: bool) {
        let Some(call) = self.under_way.remove(&step) else { return };
        let refuse = refuse && call != Call::Empty;
        if !refuse {
            self.store(&step, call);
        }
        let outcome = match (refuse, self.stored.get(&step)) {
            (true, _) => StepOutcome::Refused(Refusal::new(RefusalCode::Condition, "no")),
            (false, Some(StepState::Acted { pending, .. })) => {
                StepOutcome::Done { result: result_of(&step), pending: *pending }
            }
            (false, _) => StepOutcome::Done { result: Bytes::new(), pending: false },
        };
        self.tell(match call {
            Call::Action => Input::ActionRan { step, outcome },
            Call::Compensation => Input::StepFinished { step, outcome },
            Call::Empty => Input::EmptyStored { step },
        });
    }

    fn recalled(&self, step: &StepId) -> Option<Bytes> {
        matches!(self.stored.get(step), Some(StepState::Acted { .. })).then(|| result_of(step))
    }

    fn recall(&mut self) {
        let Some((step, attempt)) = self.recalls.pop_front() else { return };
        if let Some(result) = self.recalled(&step) {
            self.tell(Input::OutcomeRecalled { step, attempt, result });
        }
    }

    fn close_ends(&mut self) {
        if std::mem::take(&mut self.closing) {
            for state in self.stored.values_mut() {
                if let StepState::Acted { pending, .. } = state {
                    *pending = false;
                }
            }
            self.tell(Input::SagaClosed { coordinator: COORDINATOR, attempt_number: AttemptNumber(5), tx: tx() });
        }
    }

    fn crash(mut self, done: bool) -> World {
        if done {
            for (step, call) in std::mem::take(&mut self.under_way) {
                self.store(&step, call);
            }
        }
        World::over(self.stored, self.largest_kept_bytes)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_effect_happens_once_and_every_answer_is_true(events in events(), keeps_results in any::<bool>()) {
        let mut world = World::over(BTreeMap::new(), if keeps_results { usize::MAX } else { 0 });
        for event in events {
            match event {
                Event::Run { step, direction, attempt } => world.run(step, direction, attempt),
                Event::Close => {
                    let message = ToParticipant::Close { tx: tx(), attempt_number: AttemptNumber(5) };
                    world.tell(Input::Message { session: Session(1), message });
                }
                Event::End { step, refuse } => world.end(id(step), refuse),
                Event::Recall => world.recall(),
                Event::CloseEnds => world.close_ends(),
                Event::Crash { done } => world = world.crash(done),
            }
        }
        // Whatever was begun ends, and then nothing is under way.
        for _ in 0..3 {
            (0..STEPS).for_each(|step| world.end(id(step), false));
            world.close_ends();
        }
        prop_assert_eq!(world.core.steps_under_way(), 0);
    }
}
