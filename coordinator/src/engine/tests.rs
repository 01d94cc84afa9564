//! The real engine, filled to the brim, and over stores that cannot take all.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]

mod changes;
mod traces;
mod unusable;
mod world;

use super::{Command, Engine, NewTransaction, Parts, Replied, Reply};
use crate::config::Config;
use crate::log::{Apart, Log, LogError};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use undoubt_coordinator_core::{Answer, Content, EndedBranch, EndedRecord, Record, Rejection};
use undoubt_platform::audit::Origin;
use undoubt_platform::server::AnswerRoom;
use undoubt_platform::store::memory::MemoryStore;
use undoubt_platform::{Access, Batch, CrashPoints, Durability, Fenced, OsRandom, StoreError, SystemClock};
use undoubt_vocabulary::limits::{
    MAX_BRANCHES_PER_TRANSACTION, MAX_STEP_INPUT_BYTES, MAX_STORE_QUEUE_BYTES, MAX_TRANSACTION_BYTES,
    MAX_TRANSACTION_RESULT_BYTES,
};
use undoubt_vocabulary::{
    Abilities, Ability, AttemptNumber, BranchOutcome, Epoch, Outcome, PartState, ParticipantName, RetryPolicy,
    SagaStep, StepIndex, Timestamp, ToCoordinator, ToParticipant,
};
use world::{Manners, World, count, lose, name, tx};

const MANY: usize = MAX_BRANCHES_PER_TRANSACTION;
const OBEDIENT: Manners =
    Manners { result_bytes: MAX_TRANSACTION_RESULT_BYTES / MANY, acknowledge: true, steps: u16::MAX };
/// Nothing is left to be written again and again, so all that is written is a few times what there is.
const TIMES_WRITTEN: usize = 2;

fn work(bytes: usize) -> Bytes {
    vec![5; bytes].into()
}

/// As many branches with as much work as there may be.
fn largest_branches() -> Content {
    Content::TwoPhase((0..MANY).map(|number| (name(number), work(MAX_TRANSACTION_BYTES / MANY))).collect())
}

/// As many steps with as much work as there may be, each given as much as it may be.
fn largest_saga(pivot: usize) -> Content {
    let given = MAX_STEP_INPUT_BYTES / OBEDIENT.result_bytes;
    let index = |step| StepIndex(u16::try_from(step).unwrap());
    let each = MAX_TRANSACTION_BYTES / (MANY + pivot);
    let step = |number: usize| SagaStep {
        name: format!("s{number}").parse().unwrap(),
        participant: name(number),
        action: Some(work(each)),
        compensation: (number < pivot).then(|| work(each)),
        completion: None,
        after: (0..number).map(index).collect(),
        uses: (number.saturating_sub(given)..number).map(index).collect(),
        pivot: number == pivot,
        retry: RetryPolicy::default(),
    };
    Content::Saga((0..MANY).map(step).collect())
}

fn result_bytes(replied: &Replied) -> usize {
    match replied {
        Replied::Core(Answer::Outcome { outcome: Outcome::Committed, results }) => {
            results.iter().map(|(_, result)| result.len()).sum()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn transactions_that_fill_every_limit_are_carried_out_and_each_result_is_written_once() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let world = World::start(store.clone(), 1, MANY, OBEDIENT).await;
    let ids = ["t1", "t2", "t3", "s1", "s2", "s3"];
    let mut replies = Vec::new();
    for (id, pivot) in ids.into_iter().zip([MANY; 3].into_iter().chain([0, MANY / 2, MANY - 1])) {
        let content = if pivot == MANY { largest_branches() } else { largest_saga(pivot) };
        replies.push(world.submit(id, content).await);
    }
    for reply in replies {
        assert_eq!(result_bytes(&reply.await), MAX_TRANSACTION_RESULT_BYTES);
    }
    for id in ids {
        world.until(id, None).await;
        let again = world.handle.ask(|reply| Command::Await { tx: tx(id), reply }).await.unwrap();
        assert_eq!(result_bytes(&again), MAX_TRANSACTION_RESULT_BYTES, "{id} is told again what it was told");
    }
    world.stop().await;
    let needed = ids.len() * (MAX_TRANSACTION_RESULT_BYTES + MAX_TRANSACTION_BYTES);
    let written = store.memory().written_bytes();
    assert!(written < TIMES_WRITTEN * needed, "{written} bytes were written of {needed}");
    assert_eq!((count(&store, "open"), count(&store, "definition")), (0, 0), "nothing is left of what has ended");
}

#[tokio::test]
async fn what_fills_every_limit_is_recovered_and_ends_as_it_was_decided() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let almost = u16::try_from(MANY - 1).unwrap();
    let world = World::start(store.clone(), 1, MANY, Manners { acknowledge: false, steps: almost, ..OBEDIENT }).await;
    let decided = world.submit("t", largest_branches()).await.await;
    assert_eq!(result_bytes(&decided), MAX_TRANSACTION_RESULT_BYTES);
    drop(world.submit("s", largest_saga(0)).await);
    let told = |count: usize| {
        move |view: &super::View<'_>| {
            let saga = view.core.view(&tx("s")).unwrap();
            saga.branches.iter().filter(|branch| branch.state == PartState::Done).count() == count
        }
    };
    while !world.handle.inspect(told(MANY - 1)).await.unwrap() {
        tokio::task::yield_now().await;
    }
    world.stop().await;
    assert_eq!(count(&store, "open"), 2);
    let world = World::start(store.clone(), 2, MANY, OBEDIENT).await;
    for id in ["t", "s"] {
        let replied = world.handle.ask(|reply| Command::Await { tx: tx(id), reply }).await.unwrap();
        assert_eq!(result_bytes(&replied), MAX_TRANSACTION_RESULT_BYTES, "{id}");
        world.until(id, None).await;
    }
    world.stop().await;
    assert_eq!((count(&store, "open"), count(&store, "definition")), (0, 0));
}

#[tokio::test]
async fn what_is_stored_apart_goes_with_its_record() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let config = Config { retention_s: 0, ..Config::default() };
    let world = World::start_with(store.clone(), 1, MANY, OBEDIENT, config).await;
    for (id, content) in [("t", largest_branches()), ("s", largest_saga(0))] {
        result_bytes(&world.submit(id, content).await.await);
        world.until(id, None).await;
    }
    while count(&store, "ended") + count(&store, "result") > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn whoever_wants_the_outcome_alone_is_told_no_results_and_large_ones_are_not_read() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let world = World::start(store.clone(), 1, MANY, OBEDIENT).await;
    drop(world.submit("t", largest_branches()).await);
    let alone = |replied: Replied| {
        let committed = Answer::Outcome { outcome: Outcome::Committed, results: Vec::new() };
        assert!(matches!(&replied, Replied::Core(answer) if *answer == committed), "{replied:?}");
    };
    alone(world.handle.outcome(tx("t")).await.unwrap());
    world.until("t", None).await;
    assert!(count(&store, "result") > 0);
    // Were they read, the engine would end.
    lose(&store, "result");
    alone(world.handle.outcome(tx("t")).await.unwrap());
    world.stop().await;
}

#[tokio::test]
async fn a_presumed_abort_is_certain_unless_a_record_as_late_was_dropped_whatever_start_dropped_it() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let start = || {
        let config = Arc::new(Config { retention_s: 0, ..Config::default() });
        driven(Parts { config, ..parts(store.clone(), Epoch(2), vec![name(7)]) })
    };
    let first = AttemptNumber::first_of(Epoch(2));
    let (mut engine, queue) = start();
    // A version that noted nothing may have dropped whatever came before.
    assert_eq!(are_certain(&mut engine, &queue, &[first.back(1), first]).await, [false, true]);

    let mut batch = Batch::default();
    let ended = Record::Ended(EndedRecord::presumed(tx("old"), first.next(), Timestamp(1)));
    Log::put(&mut batch, &ended, Timestamp(1), &[], &mut Apart::default());
    drop(engine.log.write(batch, Durability::Lazy));
    while count(&store, "ended") > 0 {
        engine.keep_house().unwrap();
        write_all(&mut engine).await;
    }
    let attempts = [first, first.next(), first.next().next()];
    assert_eq!(are_certain(&mut engine, &queue, &attempts).await, [false, false, true]);
    drop(engine);
    let (mut engine, queue) = start();
    assert_eq!(are_certain(&mut engine, &queue, &attempts).await, [false, false, true]);
}

/// Returns how certain the aborts are by which inquiries about these attempts are answered.
async fn are_certain(engine: &mut Engine, queue: &crate::queue::Queue, attempts: &[AttemptNumber]) -> Vec<bool> {
    let inquiry =
        |attempt_number: &AttemptNumber| ToCoordinator::Inquiry { tx: tx("t"), attempt_number: *attempt_number };
    let messages = attempts.iter().map(inquiry).collect();
    engine.handle_command(Command::Messages { participant: name(7), session: 1, messages }).unwrap();
    write_all(engine).await;
    let told = queue.drain().await.unwrap().messages;
    let is_certain = |message: &ToParticipant| matches!(message, ToParticipant::Abort { certain: true, .. });
    told.iter().map(|sent| is_certain(&sent.message)).collect()
}

fn parts(store: Arc<MemoryStore>, epoch: Epoch, participants: Vec<ParticipantName>) -> Parts {
    Parts {
        config: Arc::new(Config::default()),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom::new()),
        crash: CrashPoints::default(),
        audit: crate::log::audit_in(store.clone()),
        log: Log::new(store),
        epoch,
        traces: undoubt_platform::Traces::default(),
        figures: Arc::default(),
        bell: None,
        participants: participants.into_iter().map(|name| (name, "http://127.0.0.1:1".to_owned())).collect(),
        access: Access::open(),
        pulse: Default::default(),
    }
}

/// An engine that is driven by hand, and the queue of messages to its one participant.
fn by_hand(store: Arc<MemoryStore>) -> (Engine, crate::queue::Queue) {
    driven(parts(store, Epoch(2), vec![name(7)]))
}

fn driven(parts: Parts) -> (Engine, crate::queue::Queue) {
    let (mut engine, _handle) = Engine::recover(parts, tokio::sync::watch::channel(false).0).unwrap();
    let (participant, queue) = (name(7), crate::queue::Queue::default());
    let resource = "test".to_owned();
    let connected = Command::Connected {
        participant,
        session: 1,
        queue: queue.clone(),
        resource,
        abilities: Abilities::ALL,
        unnumbered: true,
    };
    engine.handle_command(Command::Cleared { epoch: Epoch(2), held: Vec::new() }).unwrap();
    engine.handle_command(connected).unwrap();
    (engine, queue)
}

async fn write_all(engine: &mut Engine) {
    engine.flush();
    while !engine.writes.is_idle() {
        let done = engine.writes.next().await.unwrap();
        engine.handle_written(done).unwrap();
        engine.flush();
    }
}

#[tokio::test]
async fn a_saga_with_a_participant_that_runs_no_steps_is_refused_with_its_name() {
    let (mut engine, queue) = by_hand(world::store(MAX_STORE_QUEUE_BYTES));
    let participant = name(7);
    let connected = Command::Connected {
        participant: participant.clone(),
        session: 2,
        queue,
        resource: "old".to_owned(),
        abilities: Abilities { saga_steps: false, ..Abilities::ALL },
        unnumbered: true,
    };
    engine.handle_command(connected).unwrap();
    let step = SagaStep {
        name: "s".parse().unwrap(),
        participant: participant.clone(),
        action: Some(work(1)),
        compensation: Some(work(1)),
        completion: None,
        after: Vec::new(),
        uses: Vec::new(),
        pivot: false,
        retry: RetryPolicy::default(),
    };
    let (to, replied) = tokio::sync::oneshot::channel();
    let request = NewTransaction {
        tx: tx("t"),
        digest: [1; 32],
        content: Content::Saga(vec![step]),
        timeout: Duration::from_secs(1),
        wait: true,
        origin: Origin::default(),
        trace: None,
    };
    let reply = Reply::Once { room: AnswerRoom::boundless(), to };
    engine.handle_command(Command::Submit { request, reply }).unwrap();
    let (refused, _) = replied.await.unwrap();
    assert!(
        matches!(&refused, Replied::Core(Answer::Rejected(Rejection::Lacks { participant: name, ability: Ability::SagaSteps })) if *name == participant),
        "{refused:?}"
    );
    assert!(!engine.core.holds(&tx("t")), "it was not taken");
}

#[tokio::test]
async fn seeing_to_damage_waits_for_its_record_and_undoes_no_later_outcome() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let log = Log::new(store.clone());
    let attempt_number = AttemptNumber::first_of(Epoch(1));
    let committed = BranchOutcome::HeuristicallyCommitted;
    let damaged = EndedRecord::presumed(tx("t"), attempt_number, Timestamp(1)).with_branch(name(0), committed);
    let mut batch = Batch::default();
    Log::put(&mut batch, &Record::Ended(damaged), Timestamp(1), &[], &mut Apart::default());
    drop(log.write(batch, Durability::Forced));
    let (mut engine, _queue) = by_hand(store);
    let forget = |engine: &mut Engine| {
        let (to, replied) = tokio::sync::oneshot::channel();
        let reply = Reply::Once { room: AnswerRoom::boundless(), to };
        let (who, reason) = ("ada".to_owned(), "seen".to_owned());
        engine.handle_command(Command::Forget { tx: tx("t"), who, reason, reply }).unwrap();
        replied
    };

    let message = ToCoordinator::Finished { tx: tx("t"), attempt_number, outcome: committed };
    engine.handle_command(Command::Messages { participant: name(7), session: 1, messages: vec![message] }).unwrap();
    let (refused, _) = forget(&mut engine).await.unwrap();
    assert!(matches!(refused, Replied::Core(Answer::Rejected(Rejection::BeingNoted))), "{refused:?}");
    write_all(&mut engine).await;
    assert!(log.is_kept_as_damaged(&tx("t")).unwrap());

    let mut seen_to = forget(&mut engine);
    assert!(seen_to.try_recv().is_err(), "it is not on record yet");
    write_all(&mut engine).await;
    let (replied, _) = seen_to.await.unwrap();
    assert!(matches!(replied, Replied::Core(Answer::Outcome { .. })), "{replied:?}");
    assert!(!log.is_kept_as_damaged(&tx("t")).unwrap());
    let branches = log.ended(&tx("t")).unwrap().unwrap().record.branches;
    assert_eq!(branches, [0, 7].map(|number| EndedBranch::new(name(number), committed)));
}

#[tokio::test]
async fn what_the_store_cannot_take_now_is_written_later_and_meanwhile_nothing_new_is_taken() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let world = World::start(store.clone(), 1, 2, OBEDIENT).await;
    let content = || Content::TwoPhase((0..2).map(|number| (name(number), work(9))).collect());
    result_bytes(&world.submit("before", content()).await.await);
    store.memory().set_away(Some("two of three are gone"));
    let open = world.submit("open", content()).await;
    let refusing = || world.handle.inspect(|view| view.refusing.map(str::to_owned));
    while refusing().await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert!(refusing().await.unwrap().unwrap().contains("two of three are gone"));
    let refused = world.submit("refused", content()).await.await;
    assert!(matches!(&refused, Replied::NoRoom(why) if why.contains("cannot be written now")), "{refused:?}");
    let known = world.handle.ask(|reply| Command::Await { tx: tx("before"), reply }).await.unwrap();
    result_bytes(&known);
    store.memory().set_away(None);
    result_bytes(&open.await);
    while refusing().await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    result_bytes(&world.submit("after", content()).await.await);
    world.until("open", None).await;
    world.stop().await;
    assert_eq!((count(&store, "open"), count(&store, "ended")), (0, 3));
}

#[tokio::test]
async fn an_engine_whose_store_is_taken_over_ends_and_says_so() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    let world = World::start(store.clone(), 1, 2, OBEDIENT).await;
    let _owner = store.memory().open(crate::log::FAMILIES).unwrap();
    let content = Content::TwoPhase((0..2).map(|number| (name(number), work(9))).collect());
    drop(world.submit("late", content).await);
    let ended = world.ended().await;
    assert!(matches!(&ended, Err(LogError::Store(StoreError::Fenced(Fenced { .. })))), "{ended:?}");
    assert!(matches!(crate::RunError::from(ended.unwrap_err()), crate::RunError::FencedByStore(_)));
    assert_eq!((count(&store, "open"), count(&store, "ended")), (0, 0));
}

#[tokio::test]
async fn what_a_refused_record_would_have_stored_apart_is_stored_with_the_next_that_tells_of_it() {
    let mut apart = Apart::default();
    let (attempt_number, large) = (AttemptNumber::first_of(Epoch(1)), Bytes::from(vec![1; 10 << 10]));
    let open = undoubt_coordinator_core::OpenRecord {
        kind: undoubt_coordinator_core::OpenKind::Committed,
        tx: tx("t"),
        attempt_number,
        begun_at: Timestamp(1),
        digest: [1; 32],
        participants: vec![name(0)],
        read_only: Vec::new(),
        results: vec![(name(0).into(), large)],
    };
    let put = |apart: &mut Apart| {
        let mut batch = Batch::default();
        Log::put(&mut batch, &Record::Open(open.clone()), Timestamp(1), &[], apart);
        batch.iter().filter(|operation| operation.family().0 == "result").count()
    };
    let before = apart.stored(attempt_number);
    assert_eq!(put(&mut apart), 1);
    apart.restore(attempt_number, before);
    assert_eq!(put(&mut apart), 1, "the batch that had it was not written");
    assert_eq!(put(&mut apart), 0);
}
