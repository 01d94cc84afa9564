//! Participants that come, move and go while the engine runs, and limits that become others.

use super::Engine;
use super::links::{Link, LinkState};
use crate::log::LogError;
use std::collections::BTreeMap;
use tokio::sync::watch;
use undoubt_coordinator_core::Input;
use undoubt_platform::access::LimitsConfig;
use undoubt_vocabulary::ParticipantName;

/// The addresses of participants, by name. Each tells when it is another; it ends with the link.
pub(crate) type Addresses = BTreeMap<ParticipantName, watch::Receiver<String>>;

impl Engine {
    /// Returns where the participants of the start are called.
    pub(crate) fn addresses(&self) -> Addresses {
        self.links.iter().map(|(name, link)| (name.clone(), link.address.subscribe())).collect()
    }

    /// Sets limits and participants, from now on. Returns those that have come, with whom sessions are to be kept.
    pub(super) fn handle_change(
        &mut self,
        participants: BTreeMap<ParticipantName, String>,
        limits: LimitsConfig,
    ) -> Addresses {
        if self.holders.set_server(limits.clone()) {
            tracing::info!(?limits, "other limits hold for identities");
        }
        for (participant, link) in &mut self.links {
            match participants.get(participant) {
                Some(address) => {
                    if std::mem::replace(&mut link.leaving, false) {
                        tracing::info!(%participant, "it stays: it is configured again");
                    }
                    if link.move_to(address) {
                        tracing::info!(%participant, address, "it has another address, and is called there");
                    }
                }
                None if link.leaving => {}
                None => {
                    link.leaving = true;
                    let open = self.core.open_with(participant);
                    tracing::info!(%participant, open, "it is taken out: no new transactions are taken that name it, and what is open with it goes on");
                }
            }
        }
        let mut come = Addresses::new();
        for (participant, address) in participants {
            if !self.links.contains_key(&participant) {
                tracing::info!(%participant, address, "it is added");
                let link = Link::new(address, self.clock.now());
                come.insert(participant.clone(), link.address.subscribe());
                self.links.insert(participant, link);
            }
        }
        come
    }

    /// Ends the links to participants that were taken out and have nothing open any more.
    pub(super) fn let_go_of_those_taken_out(&mut self) -> Result<(), LogError> {
        let over = |participant: &ParticipantName, link: &Link| link.leaving && self.core.open_with(participant) == 0;
        let over: Vec<ParticipantName> =
            self.links.iter().filter(|(name, link)| over(name, link)).map(|(name, _)| name.clone()).collect();
        for participant in over {
            // With it ends the session.
            let Some(link) = self.links.remove(&participant) else { continue };
            tracing::info!(%participant, "it is gone: nothing is open with it any more");
            match link.state {
                LinkState::Connected { .. } => self.handle_input(Input::Disconnected { participant })?,
                LinkState::Disconnected { .. } => {}
            }
        }
        Ok(())
    }
}
