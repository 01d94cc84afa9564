//! A stranger who says to a participant that it is the coordinator (R14). It knows what anybody can read, and has a key of its own.

use super::net;
use super::operator::{desk, options};
use super::shared_state::Shared;
use crate::plan::Host;
use bytes::Bytes;
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use undoubt_client::{KnownCoordinator, ParticipantClient};
use undoubt_coordinator::connect::converse;
use undoubt_platform::{SecretKey, SeededRandom};
use undoubt_proto::v1;
use undoubt_vocabulary::{Challenge, Epoch, PublicKey, Statement};

/// It does not wait long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Knocks in every way that there is.
pub(super) fn knock(sim: &mut turmoil::Sim<'_>, shared: &Arc<Shared>, participant: u8) {
    let (name, shared) = (desk(shared), shared.clone());
    sim.client(name, async move {
        let host = Host::Participant(participant);
        let reads = ParticipantClient::with_channel(net::channel(move || net::address(host)), options());
        let Ok(state) = reads.describe().await else { return Ok(()) };
        for known in state.coordinators {
            let own = SecretKey::draw(&SeededRandom::new(u64::MAX)).public();
            for epoch in [Epoch::LAST, Epoch::LAST_UNPROVEN, known.epoch] {
                for key in [None, Some(own), known.key] {
                    if timeout(PATIENCE, is_welcomed(host, &known, epoch, key)).await == Ok(true) {
                        shared.finals().impostors_welcomed.push((participant, epoch.0));
                    }
                }
            }
        }
        Ok(())
    });
}

async fn is_welcomed(host: Host, known: &KnownCoordinator, epoch: Epoch, key: Option<PublicKey>) -> bool {
    let hello = v1::Hello {
        protocol_version: 1,
        newest_protocol_version: 2,
        coordinator_id: Bytes::copy_from_slice(&known.id.0),
        coordinator_name: "coordinator".to_owned(),
        epoch: epoch.0,
        participant_name: host.to_string(),
        public_key: key.map_or_else(Bytes::new, |key| Bytes::copy_from_slice(&key.0)),
        ..v1::Hello::default()
    };
    let (sender, batches) = mpsc::channel(2);
    // There is room for both.
    let _ = sender.try_send(v1::CoordinatorBatch { hello: Some(hello), ..v1::CoordinatorBatch::default() });
    let Ok(mut incoming) = converse(net::channel(move || net::address(host)), batches).await else { return false };
    let Some(Ok(mut batch)) = incoming.next().await else { return false };
    if let (Ok(challenge), Some(key)) = (batch.challenge[..].try_into().map(Challenge), key) {
        let (coordinator, participant) = (known.id, host.to_string());
        let participant = participant.as_str();
        let own = SecretKey::draw(&SeededRandom::new(u64::MAX));
        let signed =
            own.sign(&Statement::Session { challenge: &challenge, coordinator, epoch, key: &key, participant });
        let proof = Some(v1::Proof { signature: Bytes::copy_from_slice(&signed.0) });
        let _ = sender.try_send(v1::CoordinatorBatch { proof, ..v1::CoordinatorBatch::default() });
        let Some(Ok(next)) = incoming.next().await else { return false };
        batch = next;
    }
    batch.welcome.is_some()
}
