//! Records that cannot be written, read or carried out.

use super::world::{self, Manners, World, count, name, plant, tx};
use super::{MANY, OBEDIENT, by_hand, parts, result_bytes, work};
use crate::engine::{Command, Engine, Replied};
use crate::log::{Log, LogError};
use bytes::Bytes;
use prost::Message as _;
use undoubt_coordinator_core::{Answer, Content, Rejection};
use undoubt_proto::{record, v1};
use undoubt_vocabulary::limits::MAX_STORE_QUEUE_BYTES;
use undoubt_vocabulary::{AbortReason, AttemptNumber, BranchOutcome, Epoch, Outcome, ToCoordinator, TransactionPhase};

#[tokio::test]
async fn a_record_that_cannot_be_written_concerns_its_transaction_alone() {
    // Small results stay in the record, and many are too much for this store.
    let store = world::store(64 << 10);
    let manners = Manners { result_bytes: 1_900, ..OBEDIENT };
    let world = World::start(store.clone(), 1, MANY, manners).await;
    let branches = |count| Content::TwoPhase((0..count).map(|number| (name(number), work(9))).collect());
    let others = world.submit("before", branches(2)).await;
    let replied = world.submit("t", branches(MANY)).await.await;
    assert!(matches!(replied, Replied::Core(Answer::Rejected(Rejection::Unusable { .. }))), "{replied:?}");
    result_bytes(&others.await);
    result_bytes(&world.submit("after", branches(2)).await.await);
    assert_eq!(world.phase("t").await, Some(TransactionPhase::Unusable));
    forget_and_expect_damage(&world, "t").await;
    world.stop().await;
}

/// An operator ends it, and nobody vouches for its branches.
async fn forget_and_expect_damage(world: &World, id: &str) {
    let (who, reason) = ("ada".to_owned(), "cannot be carried out".to_owned());
    let replied = world.handle.ask(|reply| Command::Forget { tx: tx(id), who, reason, reply }).await.unwrap();
    match replied {
        Replied::Core(Answer::Outcome { outcome: Outcome::Aborted(AbortReason::Unusable { .. }), .. }) => {}
        other => panic!("{other:?}"),
    }
    world.until(id, None).await;
    let ended = Log::new(world.store.clone()).ended(&tx(id)).unwrap().unwrap();
    assert!(ended.record.is_damaged());
    assert!(ended.record.branches.iter().all(|branch| branch.outcome == BranchOutcome::Unknown));
}

fn saga_state(progress: usize) -> record::SagaState {
    let step = |number: usize| v1::SagaStep {
        name: format!("s{number}"),
        participant: format!("p{number}"),
        after: (0..number).map(|before| u32::try_from(before).unwrap()).collect(),
        compensation: Some(Bytes::from_static(b"undo")),
        ..v1::SagaStep::default()
    };
    record::SagaState {
        steps: (0..2).map(step).collect(),
        deadline_us: u64::MAX,
        progress: vec![record::StepProgress { state: None }; progress],
        ..record::SagaState::default()
    }
}

fn open(saga: record::SagaState) -> record::OpenTransaction {
    record::OpenTransaction {
        kind: record::open_transaction::Kind::Saga.into(),
        attempt_number: AttemptNumber::first_of(Epoch(1)).0,
        digest: vec![1; 32].into(),
        saga: Some(saga),
        ..record::OpenTransaction::default()
    }
}

/// Records that can be read and not carried out.
fn poison() -> Vec<(&'static str, record::OpenTransaction)> {
    use record::step_progress::State;
    let state = |state| record::StepProgress { state: Some(state) };
    let with = |change: &dyn Fn(&mut record::SagaState)| {
        let mut saga = saga_state(2);
        change(&mut saga);
        open(saga)
    };
    let compensating = || Some(v1::AbortReason { reason: Some(v1::abort_reason::Reason::Cancelled(v1::Cancelled {})) });
    let done = || State::Done(record::StepDone::default());
    let two_phase = |kind: record::open_transaction::Kind, participants: &[&str]| record::OpenTransaction {
        kind: kind.into(),
        saga: None,
        participants: participants.iter().map(ToString::to_string).collect(),
        ..open(saga_state(0))
    };
    use record::open_transaction::Kind;
    vec![
        ("progress", open(saga_state(1))),
        ("no-saga", record::OpenTransaction { saga: None, ..open(saga_state(0)) }),
        ("no-steps", with(&|saga| (saga.steps, saga.progress) = (Vec::new(), Vec::new()))),
        ("circle", with(&|saga| saga.steps[0].after = vec![1])),
        ("no-such-step", with(&|saga| saga.steps[1].uses = vec![7])),
        ("not-undoable", with(&|saga| saga.steps[1].compensation = None)),
        (
            "pivot-undone",
            with(&|saga| {
                (saga.steps[1].compensation, saga.steps[1].pivot) = (None, true);
                (saga.compensating, saga.progress[1]) = (compensating(), state(done()));
            }),
        ),
        ("undone-forward", with(&|saga| saga.progress[0] = state(State::Undone(record::StepUndone {})))),
        ("bad-name", with(&|saga| saga.steps[0].participant = "no name".into())),
        ("definition-lost", with(&|saga| (saga.steps, saga.definition_apart) = (Vec::new(), true))),
        (
            "result-lost",
            with(&|saga| saga.progress[0] = state(State::Done(record::StepDone { apart: true, ..Default::default() }))),
        ),
        (
            "future",
            record::OpenTransaction { attempt_number: AttemptNumber::first_of(Epoch(9)).0, ..open(saga_state(2)) },
        ),
        ("delegated-to-nobody", two_phase(Kind::Delegated, &[])),
        ("delegated-to-two", two_phase(Kind::Delegated, &["p0", "p1"])),
        ("committed-twice", two_phase(Kind::Commit, &["p0", "p0"])),
        ("committed-by-nobody", two_phase(Kind::Commit, &[])),
    ]
}

#[tokio::test]
async fn a_record_that_cannot_be_carried_out_is_held_and_all_others_are_recovered() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    for (number, (id, mut record)) in (1..).zip(poison()) {
        record.attempt_number += number;
        plant(&store, "open", id.as_bytes(), record.encode_to_vec());
    }
    plant(&store, "open", b"sound", open(saga_state(2)).encode_to_vec());
    let world = World::start(store.clone(), 2, 2, OBEDIENT).await;
    let sound = world.handle.ask(|reply| Command::Await { tx: tx("sound"), reply }).await.unwrap();
    assert!(matches!(sound, Replied::Core(Answer::Outcome { outcome: Outcome::Committed, .. })), "{sound:?}");
    for (id, _) in poison() {
        assert_eq!(world.phase(id).await, Some(TransactionPhase::Unusable), "{id}");
        let replied = world.handle.ask(|reply| Command::Await { tx: tx(id), reply }).await.unwrap();
        match replied {
            Replied::Core(Answer::Rejected(rejection @ Rejection::Unusable { .. })) => {
                assert!(rejection.to_string().contains("undoubt forget"), "{id}: {rejection}");
            }
            other => panic!("{id}: {other:?}"),
        }
        let cancelled = world
            .handle
            .ask(|reply| Command::Cancel {
                tx: tx(id),
                by_operator: false,
                origin: undoubt_platform::audit::Origin::default(),
                reply,
            })
            .await
            .unwrap();
        assert!(matches!(cancelled, Replied::Core(Answer::Rejected(Rejection::Unusable { .. }))), "{id}");
    }
    let low_water_mark = world.handle.inspect(|view| view.core.low_water_mark(&name(0)).below()).await.unwrap();
    assert_eq!(
        low_water_mark,
        AttemptNumber::first_of(Epoch(1)).next(),
        "what may be in doubt there stays above the low-water mark"
    );
    world.stop().await;

    // Also after another start, until an operator ends each.
    let world = World::start(store.clone(), 3, 2, OBEDIENT).await;
    for (id, record) in poison() {
        if record.kind == i32::from(record::open_transaction::Kind::Commit) {
            let (who, reason) = ("ada".to_owned(), "by hand".to_owned());
            let ended = world.handle.ask(|reply| Command::Forget { tx: tx(id), who, reason, reply }).await.unwrap();
            assert!(matches!(ended, Replied::Core(Answer::Outcome { outcome: Outcome::Committed, .. })), "{id}");
        } else {
            forget_and_expect(&world, id).await;
        }
        world.until(id, None).await;
    }
    assert_eq!(count(&store, "open"), 0);
    world.stop().await;
}

async fn forget_and_expect(world: &World, id: &str) {
    let (who, reason) = ("ada".to_owned(), "by hand".to_owned());
    let ended = world.handle.ask(|reply| Command::Forget { tx: tx(id), who, reason, reply }).await.unwrap();
    let is_given_up =
        matches!(ended, Replied::Core(Answer::Outcome { outcome: Outcome::Aborted(AbortReason::Unusable { .. }), .. }));
    assert!(is_given_up, "{id}: {ended:?}");
}

#[tokio::test]
async fn whoever_asks_about_a_held_transaction_hears_that_it_is_undecided_and_nothing_is_presumed() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    plant(&store, "open", b"t", open(saga_state(1)).encode_to_vec());
    let (mut engine, queue) = by_hand(store);
    // It is no participant that the record names, and the attempt number is another one's.
    let inquiry = ToCoordinator::Inquiry { tx: tx("t"), attempt_number: AttemptNumber(1) };
    engine.handle_command(Command::Messages { participant: name(7), session: 1, messages: vec![inquiry] }).unwrap();
    engine.flush();
    let told = queue.drain().await.unwrap().messages;
    assert_eq!(told.iter().map(|sent| sent.message.name()).collect::<Vec<_>>(), ["undecided"]);
}

#[tokio::test]
async fn a_record_that_is_damaged_still_refuses_the_start() {
    let store = world::store(MAX_STORE_QUEUE_BYTES);
    plant(&store, "open", b"t", vec![0xff; 9]);
    let refused = Engine::recover(parts(store, Epoch(1), Vec::new()), tokio::sync::watch::channel(false).0)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(refused, LogError::Unreadable { .. }), "{refused}");
}
