//! Participants that come, move and go while the engine runs.

use super::world::{Manners, World, name, store, tx};
use crate::engine::{Addresses, Command, Replied, View};
use bytes::Bytes;
use std::collections::BTreeMap;
use undoubt_coordinator_core::{Answer, Content};
use undoubt_platform::access::LimitsConfig;
use undoubt_vocabulary::limits::MAX_STORE_QUEUE_BYTES;
use undoubt_vocabulary::{BranchOutcome, Outcome, ToCoordinator};

const SILENT: Manners = Manners { result_bytes: 1, acknowledge: false, steps: u16::MAX };

fn with(participants: &[usize]) -> Content {
    Content::TwoPhase(participants.iter().map(|number| (name(*number), Bytes::from_static(b"w"))).collect())
}

/// Makes these the participants, by number and port.
async fn change(world: &World, participants: &[(usize, u16)]) -> Addresses {
    let (come, will_come) = tokio::sync::oneshot::channel();
    let participants: BTreeMap<_, _> =
        participants.iter().map(|(number, port)| (name(*number), format!("http://127.0.0.1:{port}"))).collect();
    let limits = LimitsConfig::default();
    world.handle.tell(Command::Change { participants, limits, come }).await.unwrap();
    will_come.await.unwrap()
}

/// Returns the participants, and whether each is leaving.
async fn links(world: &World) -> Vec<(String, bool)> {
    let look = |view: &View<'_>| view.links.iter().map(|(name, link)| (name.to_string(), link.leaving)).collect();
    world.handle.inspect(look).await.unwrap()
}

fn is_unknown(replied: &Replied, participant: usize) -> bool {
    matches!(replied, Replied::UnknownParticipant(unknown) if *unknown == name(participant))
}

#[tokio::test]
async fn one_that_is_added_is_known_from_then_on_and_one_that_has_moved_is_called_at_its_new_address() {
    let world = World::start(store(MAX_STORE_QUEUE_BYTES), 1, 2, SILENT).await;
    assert!(is_unknown(&world.submit("t1", with(&[0, 2])).await.await, 2));
    let mut come = change(&world, &[(0, 1), (1, 1), (2, 7)]).await;
    assert_eq!(come.keys().collect::<Vec<_>>(), [&name(2)]);
    let address = come.get_mut(&name(2)).unwrap();
    assert_eq!(*address.borrow_and_update(), "http://127.0.0.1:7");
    drop(world.submit("t1", with(&[0, 2])).await);
    assert_eq!(world.phase("t1").await, Some(undoubt_vocabulary::TransactionPhase::Preparing));

    assert!(change(&world, &[(0, 1), (1, 1), (2, 7)]).await.is_empty());
    assert!(!address.has_changed().unwrap());
    assert!(change(&world, &[(0, 1), (1, 1), (2, 8)]).await.is_empty());
    assert_eq!(*address.borrow_and_update(), "http://127.0.0.1:8");
    world.stop().await;
    assert!(address.changed().await.is_err(), "its session ends with the engine");
}

#[tokio::test]
async fn one_that_is_taken_out_gets_nothing_new_and_goes_when_what_is_open_has_ended() {
    let world = World::start(store(MAX_STORE_QUEUE_BYTES), 1, 2, SILENT).await;
    let decided = world.submit("t1", with(&[0, 1])).await.await;
    assert!(matches!(decided, Replied::Core(Answer::Outcome { outcome: Outcome::Committed, .. })), "{decided:?}");
    change(&world, &[(0, 1)]).await;
    assert!(is_unknown(&world.submit("t2", with(&[0, 1])).await.await, 1));
    // What is known is answered all the same.
    let again = world.submit("t1", with(&[0, 1])).await.await;
    assert!(matches!(again, Replied::Core(Answer::Outcome { outcome: Outcome::Committed, .. })), "{again:?}");
    assert_eq!(links(&world).await, [("p0".to_owned(), false), ("p1".to_owned(), true)]);

    // It stays if it is configured again meanwhile.
    assert!(change(&world, &[(0, 1), (1, 1)]).await.is_empty());
    assert_eq!(links(&world).await, [("p0".to_owned(), false), ("p1".to_owned(), false)]);

    change(&world, &[(0, 1)]).await;
    let attempt = world.handle.inspect(|view| view.core.view(&tx("t1")).unwrap().attempt_number).await.unwrap();
    for number in [0, 1] {
        let finished =
            ToCoordinator::Finished { tx: tx("t1"), attempt_number: attempt, outcome: BranchOutcome::Committed };
        let messages = vec![finished];
        world.handle.tell(Command::Messages { participant: name(number), session: 1, messages }).await.unwrap();
    }
    let gone = async {
        while links(&world).await.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.expect("it stays");
    // One that comes back is new to the engine, and gets a session.
    assert_eq!(change(&world, &[(0, 1), (1, 1)]).await.len(), 1);
    world.stop().await;
}
