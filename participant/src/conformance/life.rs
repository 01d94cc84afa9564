//! The promises about what every resource keeps, and whose it is.

use super::World;
use super::subject::{ANOTHER_COORDINATOR, COORDINATOR, OWNER, Subject, done};
use crate::resource::{Recovered, Resource as _, ResourceError};
use tokio_util::sync::CancellationToken;
use undoubt_vocabulary::{Epoch, ParticipantName};

pub(super) async fn the_highest_epoch_survives_a_crash<W: World>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(1))).await;
    done("record_epoch", subject.resource.record_epoch(ANOTHER_COORDINATOR, Epoch(7))).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(300))).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(299))).await;
    let (_, recovered) = subject.crash().await;
    let mut epochs: Vec<_> = recovered.coordinators.iter().map(|marks| (marks.id, marks.epoch)).collect();
    epochs.sort();
    let expected = [(COORDINATOR, Epoch(300)), (ANOTHER_COORDINATOR, Epoch(7))];
    assert_eq!(epochs, expected, "the highest epoch recorded of each coordinator is forced (R5)");
}

pub(super) async fn a_resource_of_another_participant_is_refused<W: World>(world: &mut W) {
    let subject = Subject::fresh(world).await;
    done("record_epoch", subject.resource.record_epoch(COORDINATOR, Epoch(1))).await;
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
