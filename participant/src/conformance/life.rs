//! The promises about what every resource keeps, and whose it is.

use super::World;
use super::subject::{ANOTHER_COORDINATOR, COORDINATOR, OWNER, Subject, done};
use crate::resource::{Pin, Recovered, Resource as _, ResourceError};
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{AttemptNumber, Epoch, ParticipantName, PublicKey};

pub(super) async fn the_highest_epoch_survives_a_crash<W: World>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(1), None)).await;
    done("record_epoch", subject.resource.record_epoch(ANOTHER_COORDINATOR, Epoch(7), None)).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(300), None)).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(299), None)).await;
    let (_, recovered) = subject.crash().await;
    let mut epochs: Vec<_> = recovered.coordinators.iter().map(|marks| (marks.id, marks.epoch)).collect();
    epochs.sort();
    let expected = [(COORDINATOR, Epoch(300)), (ANOTHER_COORDINATOR, Epoch(7))];
    assert_eq!(epochs, expected, "the highest epoch recorded of each coordinator is forced (R5)");
}

pub(super) async fn the_last_pin_of_a_coordinator_survives_a_crash_with_its_epoch<W: World>(world: &mut W) {
    let pin = |key, vouched| Some(Pin { key: PublicKey([key; 32]), vouched });
    let subject = Subject::fresh(world).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(3), pin(1, false))).await;
    done("record_epoch", subject.resource.record_epoch(ANOTHER_COORDINATOR, Epoch(1), pin(9, false))).await;
    // Neither an epoch without a pin nor a low-water mark takes it away.
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(4), None)).await;
    done("collect", subject.resource.collect(ANOTHER_COORDINATOR, AttemptNumber(5).into())).await;
    let (subject, recovered) = subject.crash().await;
    let known = |recovered: &Recovered| {
        let mut known: Vec<_> = recovered.coordinators.iter().map(|marks| (marks.id, marks.epoch, marks.pin)).collect();
        known.sort_by_key(|(id, _, _)| *id);
        known
    };
    let expected = [(COORDINATOR, Epoch(4), pin(1, false)), (ANOTHER_COORDINATOR, Epoch(1), pin(9, false))];
    assert_eq!(known(&recovered), expected, "the key that is recorded with an epoch is forced with it (R14)");
    // On an operator's word another takes its place, though no epoch is higher.
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(0), pin(2, true))).await;
    // What was begun before and ends late brings no former key back.
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(3), pin(1, false))).await;
    let (_, recovered) = subject.crash().await;
    let expected = [(COORDINATOR, Epoch(4), pin(2, true)), (ANOTHER_COORDINATOR, Epoch(1), pin(9, false))];
    assert_eq!(known(&recovered), expected, "the key that was recorded last is the one that counts (R14)");
}

pub(super) async fn a_resource_of_another_participant_is_refused<W: World>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(1), None)).await;
    let Subject { world, resource, .. } = subject;
    drop(resource);
    let another: ParticipantName = "conformance-another".parse().expect("a name");
    let taken = world.reopen().await;
    let refused = taken.recover(&another).await;
    assert!(
        matches!(refused, Err(ResourceError::Foreign { .. })),
        "a resource that another participant has served is refused, not {refused:?}"
    );
    drop(taken);
    let own = world.reopen().await;
    let recovered: Recovered = done("recover", own.recover(&OWNER.parse().expect("a name"))).await;
    assert_eq!(recovered.coordinators.len(), 1, "who was refused has changed nothing");
}

pub(super) async fn its_own_work_in_the_background_ends_when_it_is_told_to_stop<W: World>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    let stop = CancellationToken::new();
    let (ended, ()) = futures::future::join(done("background", subject.resource.background(stop.clone())), async {
        stop.cancel();
    })
    .await;
    assert_eq!(ended, (), "a resource stops cleanly");
}
