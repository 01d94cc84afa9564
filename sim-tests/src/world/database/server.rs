//! The server's machine: opens its disk, takes connections, and lets other hands do what they do.

mod engine;
mod locks;
mod prepared_row;
mod session;

use super::wire::Line;
use crate::plan::Host;
use crate::plan::points::OPENED;
use crate::world::net;
use crate::world::server::Machine;
use engine::Engine;
use futures::StreamExt as _;
use std::sync::Arc;

/// The prepared transactions that there may be at a time where the plan says nothing else.
const SLOTS: u16 = 64;

/// Runs until the server fails, or its machine does.
pub(in crate::world) async fn serve(machine: Machine) -> turmoil::Result {
    let Machine { shared, host, process, random: _, network } = machine;
    let store = shared.disk(host).open(&super::rows::tables(), process)?;
    shared.reach(host, OPENED);
    let slots = shared.plan.shape.prepared_slots.unwrap_or(SLOTS);
    let engine = Arc::new(Engine::open(Arc::new(store), shared.clone(), host, slots.into())?);
    let mut connections = std::pin::pin!(net::accepted(network).await?);
    let taking = async {
        while let Some(connection) = connections.next().await {
            let Ok(stream) = connection else { continue };
            tokio::spawn(session::serve(engine.clone(), Line::new(stream, shared.clone())));
        }
    };
    tokio::select! {
        biased;
        failed = engine.failed() => Err(failed.into()),
        () = other_hands(&engine) => Ok(()),
        () = taking => Ok(()),
    }
}

/// Ends the oldest prepared transaction whenever somebody else is to.
async fn other_hands(engine: &Engine) {
    let Host::Database(number) = engine.host else { return };
    let participant = Host::Participant(number);
    let stirred = engine.shared.stirred(participant);
    loop {
        while let Some(gid) = engine.oldest() {
            let Some(commit) = engine.shared.next_other_hand(participant) else { break };
            let Some((branch, _)) = gid.read() else { continue };
            let tx = branch.tx.to_string();
            engine.shared.finals().participants.entry(number).or_default().ended_by_others.insert(tx.clone());
            // If it cannot now, somebody was quicker, or it cannot be written.
            if engine.end(&gid, commit).await.is_ok() {
                let mut finals = engine.shared.finals();
                // Whether or not the participant ever hears of it.
                finals.participants.entry(number).or_default().heuristics.insert(tx, commit);
            }
        }
        stirred.notified().await;
    }
}
