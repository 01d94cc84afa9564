//! Operators who decide alone.

use super::net;
use super::shared_state::Shared;
use crate::plan::{Host, HowEnded, HowResolved};
use crate::run::PassedOver;
use std::sync::Arc;
use std::time::Duration;
use undoubt_client::{
    BranchResolution, BranchView, Client, ClientOptions, Filter, HeldFilter, HeldQuery, ListQuery, OperatorError,
    ParticipantClient, StepResolution,
};
use undoubt_vocabulary::{PartState, TransactionPhase, TxId};

/// Operators do not wait long.
pub(super) fn options() -> ClientOptions {
    super::client::options().deadline(Duration::from_secs(1))
}

/// Returns a client of whoever is the coordinator at the moment.
fn coordinator(shared: &Arc<Shared>) -> Client {
    let shared = shared.clone();
    Client::with_channel(net::channel(move || net::address(shared.primary())), options())
}

/// Each operator has a desk of its own.
pub(super) fn desk(shared: &Shared) -> String {
    format!("operator{}", shared.next_desk())
}

/// Decides the oldest branch in doubt.
pub(super) fn resolve(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>, participant: u8, commit: bool) {
    let resolution = if commit { BranchResolution::Commit } else { BranchResolution::Abort };
    sim.client(desk(shared), async move {
        let address = net::address(Host::Participant(participant));
        let channel = net::channel(move || address.clone());
        let participant = ParticipantClient::with_channel(channel, options());
        let Ok(held) = participant.held(&HeldQuery::of(HeldFilter::InDoubt)).await else { return Ok(()) };
        if let Some(branch) = held.branches.first() {
            // It may have been decided meanwhile.
            let _ = participant.resolve(&branch.tx, resolution, "operator", "it took too long").await;
        }
        Ok(())
    });
}

/// Gives up on the oldest transaction that some branch does not acknowledge.
pub(super) fn forget(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>) {
    let (name, shared) = (desk(shared), shared.clone());
    sim.client(name, async move {
        let coordinator = coordinator(&shared);
        let query = ListQuery::of(Filter::Unacknowledged).limit(1);
        let Ok(open) = coordinator.list(&query).await else { return Ok(()) };
        if let Some(open) = open.transactions.first() {
            // It may have been acknowledged meanwhile.
            let _ = coordinator.forget(&open.tx, "operator", "it took too long").await;
        }
        Ok(())
    });
}

/// Ends the oldest saga that is open, whatever it waits for.
pub(super) fn end_saga(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>, how: HowEnded) {
    let (name, shared) = (desk(shared), shared.clone());
    sim.client(name, async move {
        let coordinator = coordinator(&shared);
        let looked_at = shared.finals().retries.now();
        let query = ListQuery::of(Filter::Open).limit(100);
        let Ok(open) = coordinator.list(&query).await else { return Ok(()) };
        let Some(saga) = open.transactions.iter().find(|open| open.saga) else { return Ok(()) };
        let how = match how {
            HowEnded::Skip => HowResolved::Skip,
            HowEnded::Done => HowResolved::Done,
            HowEnded::Forget => {
                if saga.phase == Some(TransactionPhase::Unusable) {
                    shared.finals().held.insert(saga.tx.to_string());
                }
                // It may have ended meanwhile.
                let _ = coordinator.forget(&saga.tx, "operator", "it took too long").await;
                return Ok(());
            }
        };
        for step in &saga.branches {
            end_step(&shared, &coordinator, looked_at, &saga.tx, step, how).await;
        }
        Ok(())
    });
}

/// Releases the semantic locks of the first saga that has some.
pub(super) fn release_marks(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>, participant: u8) {
    sim.client(desk(shared), async move {
        let address = net::address(Host::Participant(participant));
        let channel = net::channel(move || address.clone());
        let participant = ParticipantClient::with_channel(channel, options());
        let Ok(held) = participant.held(&HeldQuery::of(HeldFilter::Marks)).await else { return Ok(()) };
        if let Some(mark) = held.marks.first() {
            // It may have ended meanwhile, or be worked on.
            let _ = participant.release_marks(mark.coordinator, &mark.tx, "operator", "it took too long").await;
        }
        Ok(())
    });
}

/// Ends every step that is stuck, and remembers what was passed over.
pub(super) fn resolve_stuck(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>, how: HowResolved) {
    let (name, shared) = (desk(shared), shared.clone());
    sim.client(name, async move {
        let coordinator = coordinator(&shared);
        let looked_at = shared.finals().retries.now();
        let query = ListQuery::of(Filter::Open).limit(100);
        let Ok(open) = coordinator.list(&query).await else { return Ok(()) };
        for saga in open.transactions {
            for step in saga.branches.iter().filter(|step| step.state == Some(PartState::Stuck)) {
                end_step(&shared, &coordinator, looked_at, &saga.tx, step, how).await;
            }
        }
        Ok(())
    });
}

/// Ends a step of a saga, and remembers if it was passed over. `looked_at`: the [`Retries::now`](crate::run::Retries) before
/// the step was read as it is given.
pub(super) async fn end_step(
    shared: &Arc<Shared>,
    coordinator: &Client,
    looked_at: u64,
    saga: &TxId,
    step: &BranchView,
    how: HowResolved,
) {
    let (way, passes_over) = match how {
        HowResolved::Retry => (StepResolution::Retry, false),
        HowResolved::Skip => (StepResolution::Skip, true),
        HowResolved::Done => (StepResolution::Done, true),
    };
    let Some(name) = &step.step else { return };
    let of_step = (saga.to_string(), name.to_string());
    if !passes_over {
        shared.finals().retries.ask(of_step.clone());
    }
    let answer = coordinator.resolve_step(saga, name.as_str(), way, "operator", "it is stuck").await;
    if let (false, Ok(_)) = (passes_over, &answer) {
        shared.finals().retries.answered(of_step.clone());
    }
    let certain = match answer {
        // Of a saga that is over the same is told to whoever comes late.
        Ok(known) => known.decided.is_none(),
        Err(OperatorError::Unclear(_) | OperatorError::Malformed { .. }) => false,
        // It went on meanwhile, or nobody was there.
        Err(
            OperatorError::NotFound { .. }
            | OperatorError::WrongState { .. }
            | OperatorError::Refused { .. }
            | OperatorError::NotOffered { .. }
            | OperatorError::NotReached(_),
        ) => return,
        Err(OperatorError::Unexpected { .. } | _) => false,
    };
    if let (true, Ok(Host::Participant(participant))) = (passes_over, step.participant.as_str().parse()) {
        let tx = saga.to_string();
        // Another operator may have had it tried again since it was looked at.
        let is_tried_again = shared.finals().retries.may_be_under_way(&of_step, looked_at);
        // An earlier attempt that an HTTP service did not answer may have taken effect, whatever the later ones were refused for.
        let may_be_done = shared.plan.shape.services.contains(&participant);
        let stuck = step.state == Some(PartState::Stuck) && !is_tried_again && !may_be_done;
        shared.finals().passed_over.push(PassedOver { tx, participant, how, stuck, certain });
    }
}
