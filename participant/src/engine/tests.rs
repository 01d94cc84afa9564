//! Branches and steps on their way through the engine, over a resource in memory. [`room`] has those of large results, [`unclear`] those
//! of which it is unclear for a while what became of them.

mod late_prepares;
mod memory;
mod room;
mod traces;
mod unclear_calls;

use super::*;
use crate::outbox::{Outgoings, outbox};
use crate::resource::{Ended, Heuristic, Pin, Resource, Steps};
use bytes::Bytes;
use memory::{Disk, Memory, get, put};
use std::collections::VecDeque;
use std::sync::Mutex;
use undoubt_participant_core::{Hello, Proof};
use undoubt_platform::{SeededRandom, SystemClock};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, Direction, Epoch, Execution, LowWaterMark, Prepare, PublicKey, RefusalCode, RunStep,
    StepIndex, StepOutcome, Timestamp, ToCoordinator, ToParticipant, TxId, Vote,
};

const COORDINATOR: CoordinatorId = CoordinatorId([1; 16]);
const SESSION: Session = Session(1);

struct Running {
    engine: Handle,
    outgoings: Outgoings,
    heard: VecDeque<Outgoing>,
    points: Arc<Mutex<Vec<&'static str>>>,
    ended: tokio::task::JoinHandle<Result<(), ResourceError>>,
}

fn hello() -> Hello {
    Hello {
        coordinator: COORDINATOR,
        proof: Proof::of(PublicKey([1; 32])),
        name: "test".into(),
        epoch: Epoch(1),
        number: None,
        shown: None,
    }
}

impl Running {
    async fn over(resource: impl Branches) -> Running {
        Running::with(Config::default(), resource).await
    }

    async fn of(resource: Arc<impl Branches>) -> Running {
        Running::start(Config::default(), resource).await
    }

    async fn with(config: Config, resource: impl Branches) -> Running {
        Running::start(config, Arc::new(resource)).await
    }

    async fn start(config: Config, resource: Arc<impl Branches>) -> Running {
        Running::traced(Traces::default(), config, resource).await
    }

    async fn traced(traces: Traces, config: Config, resource: Arc<impl Branches>) -> Running {
        let points: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let seen = points.clone();
        let crash = CrashPoints::observed_by(Arc::new(move |point| seen.lock().unwrap().push(point)));
        let (config, random) = (Arc::new(config), Arc::new(SeededRandom::new(1)));
        let (clock, owner) = (Arc::new(SystemClock), "test".parse().unwrap());
        let (engine, handle) =
            Engine::recover(resource, owner, config, (clock, random), crash, (Arc::default(), None, traces))
                .await
                .unwrap();
        let ended = tokio::spawn(engine.run(undoubt_platform::pulse::Pulse::default().begin()));
        let (out, outgoings) = outbox(handle.room());
        handle.tell(Command::Hello { session: SESSION, hello: hello(), out }).await.unwrap();
        let mut running = Running { engine: handle, outgoings, heard: VecDeque::new(), points, ended };
        assert!(matches!(running.next().await, Outgoing::Welcome { .. }));
        running
    }

    async fn tell(&self, message: ToParticipant) {
        self.tell_all(vec![message]).await;
    }

    async fn tell_all(&self, messages: Vec<ToParticipant>) {
        self.tell_traced(messages, Vec::new()).await;
    }

    async fn tell_traced(&self, messages: Vec<ToParticipant>, traces: Vec<(usize, v1::TraceContext)>) {
        let (session, low_water_mark) = (SESSION, LowWaterMark::default());
        let received = self.engine.room_to_receive(0).await.unwrap();
        let batch = Command::Batch { session, low_water_mark, writes: 0, messages, traces, received };
        self.engine.tell(batch).await.unwrap();
    }

    async fn answer(&mut self) -> ToCoordinator {
        let next = self.next().await;
        let Outgoing::Message { message, .. } = next else { panic!("{next:?}") };
        message
    }

    async fn next(&mut self) -> Outgoing {
        if self.heard.is_empty() {
            assert!(self.outgoings.ready().await, "the session has ended");
            self.heard = self.outgoings.batch().collect();
            self.outgoings.sent();
        }
        self.heard.pop_front().unwrap()
    }

    async fn run(&mut self, direction: Direction, work: Bytes) -> StepOutcome {
        self.tell(run(direction, work)).await;
        let answer = self.answer().await;
        let ToCoordinator::Ran { outcome, .. } = answer else { panic!("{answer:?}") };
        outcome
    }
}

fn tx() -> TxId {
    "S1".parse().unwrap()
}

fn run(direction: Direction, work: Bytes) -> ToParticipant {
    let (attempt_number, step, attempt) = (AttemptNumber(5), StepIndex(0), 1);
    let (begun_at, timeout, inputs) = (Timestamp(1), Duration::from_secs(5), Vec::new());
    let (acted_elsewhere, check_back) = (false, false);
    ToParticipant::Run(RunStep {
        tx: tx(),
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
    })
}

fn done() -> StepOutcome {
    StepOutcome::Done { result: Bytes::new(), pending: false }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_done_and_undone_between_its_crash_points() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk)).await;
    assert!(matches!(running.run(Direction::Forward, put("k", "v")).await, StepOutcome::Done { .. }));
    assert_eq!(running.run(Direction::Compensating, put("k", "undone")).await, done());
    let of_session = ["before-record-epoch", "after-record-epoch"];
    let expected = [&of_session[..], &["before-act", "after-act", "before-compensate", "after-compensate"]].concat();
    assert_eq!(*running.points.lock().unwrap(), expected);
    running.tell(ToParticipant::Close { tx: tx(), attempt_number: AttemptNumber(5) }).await;
    assert_eq!(running.answer().await, ToCoordinator::Closed { tx: tx(), attempt_number: AttemptNumber(5) });
}

#[tokio::test(start_paused = true)]
async fn an_action_that_cannot_be_done_now_is_refused_and_a_compensation_is_tried_until_it_can() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    disk.fails_writes(true);
    let StepOutcome::Refused(refusal) = running.run(Direction::Forward, put("k", "v")).await else {
        panic!("not refused")
    };
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    running.tell(run(Direction::Compensating, put("k", "undone"))).await;
    let early = tokio::time::timeout(Duration::from_secs(60), running.answer()).await;
    assert!(early.is_err(), "nothing is answered that is not stored: {early:?}");
    disk.fails_writes(false);
    let ToCoordinator::Ran { outcome, .. } = running.answer().await else { panic!("not answered") };
    assert_eq!(outcome, StepOutcome::Empty);
}

fn prepare(attempt_number: u64, execution: Execution, work: Bytes) -> ToParticipant {
    let (begun_at, timeout) = (Timestamp(attempt_number), Duration::from_secs(600));
    let tx = format!("T{attempt_number}").parse().unwrap();
    ToParticipant::Prepare(Prepare {
        tx,
        attempt_number: AttemptNumber(attempt_number),
        begun_at,
        timeout,
        execution,
        work,
    })
}

fn commit(attempt_number: u64) -> ToParticipant {
    ToParticipant::Commit {
        tx: format!("T{attempt_number}").parse().unwrap(),
        attempt_number: AttemptNumber(attempt_number),
    }
}

#[tokio::test(start_paused = true)]
async fn commits_that_came_together_and_cannot_be_done_now_are_all_done_in_the_end() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    let prepares = [1, 2]
        .map(|attempt_number| prepare(attempt_number, Execution::TwoPhase, put(&format!("k{attempt_number}"), "v")));
    running.tell_all(prepares.into()).await;
    for _ in 0..2 {
        let answer = running.answer().await;
        assert!(matches!(answer, ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. }), "{answer:?}");
    }
    disk.fails_writes(true);
    running.tell_all(vec![commit(1), commit(2)]).await;
    let early = tokio::time::timeout(Duration::from_secs(60), running.answer()).await;
    assert!(early.is_err(), "nothing is answered that is not stored: {early:?}");
    disk.fails_writes(false);
    for attempt_number in [1, 2] {
        let answer = running.answer().await;
        assert_eq!(
            (answer.tx(), answer.attempt_number()),
            (&format!("T{attempt_number}").parse().unwrap(), AttemptNumber(attempt_number))
        );
    }
    let points = running.points.lock().unwrap().clone();
    assert_eq!(points.iter().filter(|point| **point == "after-commit").count(), 2, "{points:?}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_a_round_is_out_of_the_way_of_those_who_come_in_it() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk)).await;
    for (attempt_number, work) in [(1, put("a", "v")), (2, put("b", "v")), (3, get("c"))] {
        running.tell(prepare(attempt_number, Execution::TwoPhase, work)).await;
        assert!(matches!(running.answer().await, ToCoordinator::Vote { .. }));
    }
    let abort = ToParticipant::Abort { tx: "T2".parse().unwrap(), attempt_number: AttemptNumber(2), certain: true };
    let confirm = ToParticipant::Confirm { tx: "T3".parse().unwrap(), attempt_number: AttemptNumber(3) };
    let mut messages = vec![commit(1), abort, confirm];
    messages.extend(
        [(4, "a"), (5, "b"), (6, "c")]
            .map(|(attempt_number, key)| prepare(attempt_number, Execution::TwoPhase, put(key, "younger"))),
    );
    running.tell_all(messages).await;
    let mut prepared = Vec::new();
    while prepared.len() < 3 {
        if let ToCoordinator::Vote { tx, vote, .. } = running.answer().await {
            assert!(matches!(vote, Vote::Prepared { .. }), "{tx} need not give way to who has left: {vote:?}");
            prepared.push(tx);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn branches_that_came_together_and_cannot_be_written_are_refused_and_hold_nothing() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    disk.fails_writes(true);
    let prepares = [1, 2]
        .map(|attempt_number| prepare(attempt_number, Execution::TwoPhase, put(&format!("k{attempt_number}"), "v")));
    running.tell_all(prepares.into()).await;
    for _ in 0..2 {
        let ToCoordinator::Vote { vote: Vote::Refused(refusal), .. } = running.answer().await else {
            panic!("not refused")
        };
        assert_eq!(refusal.code, RefusalCode::Unavailable);
    }
    disk.fails_writes(false);
    for attempt_number in [3, 4] {
        running.tell(prepare(attempt_number, Execution::OnePhase, put(&format!("k{}", attempt_number - 2), "v"))).await;
        let answer = running.answer().await;
        assert!(matches!(answer, ToCoordinator::Vote { vote: Vote::Committed { .. }, .. }), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_is_aborted_in_the_round_of_its_prepare_does_not_wait_for_locks() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk)).await;
    running.tell(prepare(2, Execution::TwoPhase, put("k", "younger"))).await;
    assert!(matches!(running.answer().await, ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. }));
    let abort = ToParticipant::Abort { tx: "T1".parse().unwrap(), attempt_number: AttemptNumber(1), certain: true };
    running.tell_all(vec![prepare(1, Execution::TwoPhase, put("k", "older")), abort]).await;
    // Whoever is asked twice has looked at finished calls in between.
    for _ in 0..2 {
        running.engine.inspect(|_| ()).await.unwrap();
    }
    let points = running.points.lock().unwrap().clone();
    assert_eq!(points.iter().filter(|point| **point == "after-execute").count(), 2, "{points:?}");
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_is_still_being_noted_does_not_come_after_its_forgetting() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(Memory::over(disk.clone())).await;
    running.tell(prepare(1, Execution::TwoPhase, put("k", "v"))).await;
    assert!(matches!(running.answer().await, ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. }));
    let (who, reason) = ("ann".to_owned(), "it hung".to_owned());
    let heuristic = Heuristic { commit: false, at: Timestamp(2), who, reason, decision: None };
    let tx: TxId = "T1".parse().unwrap();
    let resolved = running.engine.ask(|reply| Command::Resolve { tx: tx.clone(), heuristic, reply }).await;
    assert_eq!(resolved.unwrap(), Answer::Resolved(BranchOutcome::HeuristicallyAborted));
    disk.fails_writes(true);
    running.tell(commit(1)).await;
    // Long enough that it is tried again only after a long pause.
    tokio::time::sleep(Duration::from_secs(600)).await;
    disk.fails_writes(false);
    let forgotten = running.engine.ask(|reply| Command::Forget { tx, reply }).await;
    assert_eq!(forgotten.unwrap(), Answer::Forgotten);
    running.engine.tell(Command::Stop).await.unwrap();
    running.ended.await.unwrap().unwrap();
    let reopened = Memory::over(disk);
    assert_eq!(
        reopened.recover(&"test".parse().unwrap()).await.unwrap().heuristics,
        [],
        "what was forgotten has come back"
    );
}

/// A resource that takes part in sagas and in one-phase transactions only.
struct CannotPrepare(Memory);

#[tokio::test(start_paused = true)]
async fn a_resource_that_cannot_prepare_is_asked_for_one_phase_and_for_steps_only() {
    let disk = Arc::new(Disk::default());
    let mut running = Running::over(CannotPrepare(Memory::over(disk))).await;
    running.tell(prepare(1, Execution::TwoPhase, put("k", "v"))).await;
    let ToCoordinator::Vote { vote: Vote::Refused(refusal), .. } = running.answer().await else {
        panic!("not refused")
    };
    assert_eq!(refusal.code, RefusalCode::InvalidWork, "{refusal}");
    running.tell(prepare(2, Execution::OnePhase, put("k", "v"))).await;
    let ToCoordinator::Vote { vote: Vote::Committed { .. }, .. } = running.answer().await else { panic!("not done") };
    assert!(matches!(running.run(Direction::Forward, put("k", "v")).await, StepOutcome::Done { .. }));
}

impl Resource for CannotPrepare {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    async fn recover(&self, owner: &ParticipantName) -> Result<Recovered, ResourceError> {
        self.0.recover(owner).await
    }

    async fn record_epoch(
        &self,
        coordinator: CoordinatorId,
        epoch: Epoch,
        pin: Option<Pin>,
    ) -> Result<(), ResourceError> {
        self.0.record_epoch(coordinator, epoch, pin).await
    }

    async fn collect(&self, coordinator: CoordinatorId, low_water_mark: LowWaterMark) -> Result<(), ResourceError> {
        self.0.collect(coordinator, low_water_mark).await
    }

    fn use_room(&self, room: Room) {
        self.0.use_room(room);
    }
}

impl Steps for CannotPrepare {
    async fn act(
        &self,
        step: StepId,
        run: RunStep,
        cancelled: CancellationToken,
    ) -> Result<StepOutcome, ResourceError> {
        self.0.act(step, run, cancelled).await
    }

    async fn compensate(&self, step: StepId, run: RunStep) -> Result<StepOutcome, ResourceError> {
        self.0.compensate(step, run).await
    }

    async fn store_empty(&self, step: StepId) -> Result<(), ResourceError> {
        self.0.store_empty(step).await
    }
}

impl Branches for CannotPrepare {
    fn can_prepare(&self) -> bool {
        false
    }

    async fn prepare(
        &self,
        branch: BranchId,
        prepare: Prepare,
        cancelled: CancellationToken,
    ) -> Result<Vote, ResourceError> {
        assert_eq!(prepare.execution, Execution::OnePhase, "it is not asked for what it cannot do");
        self.0.prepare(branch, prepare, cancelled).await
    }

    async fn confirm(&self, branch: BranchId) -> Result<bool, ResourceError> {
        unreachable!("{branch:?} has not voted")
    }

    async fn commit(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        unreachable!("{branch:?} is not prepared")
    }

    async fn abort(&self, branch: BranchId) -> Result<Ended, ResourceError> {
        unreachable!("{branch:?} is not prepared")
    }

    async fn resolve(&self, branch: BranchId, _: Heuristic) -> Result<Ended, ResourceError> {
        unreachable!("{branch:?} is not prepared")
    }

    async fn store_heuristic(&self, branch: BranchId, _: Timestamp, _: Heuristic) -> Result<(), ResourceError> {
        unreachable!("{branch:?} is not prepared")
    }

    async fn forget_heuristic(&self, branch: BranchId) -> Result<(), ResourceError> {
        unreachable!("{branch:?} is not prepared")
    }
}
