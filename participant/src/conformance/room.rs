//! Work whose result there is no room for.

use super::server::{Server, step};
use super::subject::{Subject, attempt, call, done};
use super::{BranchWorld, World};
use crate::resource::{Branches as _, Cancellations, Held, ResourceError, Room, Steps as _, Voted};
use futures::stream::{FuturesUnordered, StreamExt as _};
use undoubt_vocabulary::limits::MAX_RESULT_BYTES;
use undoubt_vocabulary::{Direction, Execution, StepOutcome, Vote};

/// More than is small.
const LARGE_CHARACTERS: usize = 20_000;

/// Returns a subject with a large value, and no room for it.
async fn without_room<W: BranchWorld>(world: &mut W) -> (Subject<'_, W>, String, Held) {
    let subject = Subject::fresh(world).await;
    let large = "x".repeat(LARGE_CHARACTERS);
    subject.carry_out(&attempt(1), subject.world.put("large", &large)).await;
    let held = take_all(&subject.room);
    (subject, large, held)
}

fn take_all(room: &Room) -> Held {
    let mut held = room.hold();
    while room.largest() == MAX_RESULT_BYTES {
        held.add(MAX_RESULT_BYTES);
    }
    held
}

pub(super) async fn work_without_room_for_its_result_leaves_nothing_behind<W: BranchWorld>(world: &mut W) {
    let (subject, large, held) = without_room(world).await;
    let (branch, prepare) = call(Execution::TwoPhase, super::PATIENCE, &attempt(3), subject.world.get("large"));
    match subject.resource.prepare(branch.clone(), prepare, Default::default()).await {
        Err(ResourceError::NoRoom) => {}
        // It does not mind.
        Ok(Vote::ReadOnly { .. }) => drop(done("confirm", subject.resource.confirm(branch)).await),
        other => panic!("what there is no room for is put off, or done, but not {other:?}"),
    }
    // Small work has room, and finds no locks in its way though it is the younger.
    subject.carry_out(&attempt(4), subject.world.put("large", "small")).await;
    subject.carry_out(&attempt(5), subject.world.put("large", &large)).await;
    drop(held);
    assert_eq!(subject.value("large").await, Some(large), "once there is room it is done");
}

pub(super) async fn of_branches_that_come_together_those_without_room_are_handed_back<W: BranchWorld>(world: &mut W) {
    let (subject, large, held) = without_room(world).await;
    let calls = || {
        let large = call(Execution::TwoPhase, super::PATIENCE, &attempt(3), subject.world.get("large"));
        vec![large, call(Execution::TwoPhase, super::PATIENCE, &attempt(4), subject.world.put("small", "4"))]
    };
    let mut cancellations = Cancellations::default();
    let ask = async |calls, cancellations: &mut Cancellations| {
        let asked = subject.resource.prepare_all(calls, cancellations).into_iter().collect::<FuturesUnordered<_>>();
        let mut all = Voted::default();
        for voted in done("prepare", async { Ok(asked.collect::<Vec<_>>().await) }).await {
            let Voted { votes, put_off, .. } = voted.expect("it works");
            all.votes.extend(votes);
            all.put_off.extend(put_off);
        }
        all
    };
    let Voted { votes, put_off, .. } = ask(calls(), &mut cancellations).await;
    assert_eq!(votes.len() + put_off.len(), 2, "each is voted or handed back");
    let small = votes.iter().find(|(branch, _)| *branch == attempt(4).branch);
    assert!(matches!(small, Some((_, Vote::Prepared { .. }))), "what is small has room: {small:?}");
    drop(held);
    let mut votes = votes;
    votes.extend(ask(put_off, &mut cancellations).await.votes);
    let read = votes.iter().find(|(branch, _)| *branch == attempt(3).branch);
    let Some((_, Vote::ReadOnly { result })) = read else { panic!("once there is room it is done, not {read:?}") };
    assert_eq!(subject.world.value(result), Some(large));
}

pub(super) async fn an_action_without_room_for_its_result_leaves_nothing_behind<W: World>(world: &mut W) {
    let mut server = Server::fresh(world).await;
    let large = "x".repeat(LARGE_CHARACTERS);
    server.done(&step(1, 0), server.subject.world.put("large", &large)).await;
    let held = take_all(&server.subject.room);
    let reading = step(3, 0);
    let run = reading.run(Direction::Forward, 1, server.subject.world.get("large"));
    match server.subject.resource.act(reading.id.clone(), run.clone(), Default::default()).await {
        Err(ResourceError::NoRoom) => {}
        // It does not mind.
        Ok(StepOutcome::Done { .. }) => return,
        other => panic!("what there is no room for is put off, or done, but not {other:?}"),
    }
    // Small work has room, and finds no locks in its way.
    server.done(&step(4, 0), server.subject.world.put("large", "small")).await;
    server.done(&step(5, 0), server.subject.world.put("large", &large)).await;
    drop(held);
    let acted = done("act", server.subject.resource.act(reading.id, run, Default::default())).await;
    let StepOutcome::Done { result, .. } = acted else { panic!("once there is room it is done, not {acted:?}") };
    assert_eq!(server.subject.world.value(&result), Some(large));
}
