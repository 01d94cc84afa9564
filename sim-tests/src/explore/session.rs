//! How processes end and come back, and how sessions do.

use super::coordinator;
use super::mutant::Mutant;
use super::network::{Body, LinkState, Packet};
use super::participant;
use super::scenario::{Scenario, participant_name};
use super::step::Step;
use super::world::{RequestState, World};
use std::sync::Arc;
use undoubt_coordinator_core::Input;
use undoubt_participant_core::{Input as ParticipantInput, Session};
use undoubt_vocabulary::Epoch;

impl World {
    pub(super) fn crash_coordinator(&mut self, written: usize, scenario: &Scenario) {
        self.coordinator.change(|host| {
            let unstable = host.process.take().map(|process| process.unstable).unwrap_or_default();
            unstable.into_iter().take(written).for_each(|record| host.log.write(record));
        });
        self.links.iter_mut().for_each(|link| link.state = LinkState::Down);
        self.clients.change(|clients| {
            for (state, request) in clients.requests.iter_mut().zip(&scenario.requests) {
                if *state == RequestState::Waiting {
                    *state = if request.persistent { RequestState::ToAsk } else { RequestState::GivenUp };
                }
            }
        });
    }

    /// The coordinator sees it at once: until it did, it would only send into the void. The participant needs not see
    /// it at all: what it sends gets lost, and it goes on reading what is still on its way until a new session comes.
    pub(super) fn disconnected(&mut self, participant: usize, scenario: &Scenario) -> Step {
        self.links[participant].state = LinkState::Down;
        self.tell_coordinator(Input::Disconnected { participant: participant_name(participant) }, scenario)
    }

    pub(super) fn restart_coordinator(&mut self, scenario: &Scenario) -> Step {
        self.coordinator.change(|host| host.process = Some(coordinator::Process::start(&mut host.log)));
        match scenario.mutant {
            Some(Mutant::PresumesWhileRecovering) => {
                self.tell_coordinator(Input::RecoveryDone { paused: false }, scenario)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn restart_participant(&mut self, participant: usize, scenario: &Scenario) {
        self.participants[participant].change(|host| {
            host.process = Some(participant::Process::start(&host.storage, scenario.mutant));
        });
    }

    pub(super) fn dial(&mut self, participant: usize) {
        let epoch = Epoch(self.coordinator.log.epoch);
        let link = &mut self.links[participant];
        link.session += 1;
        link.state = LinkState::Dialing;
        let session = link.session;
        self.send(Packet { participant, session, body: Body::Hello { epoch } });
    }

    pub(super) fn connect(&mut self, participant: usize, scenario: &Scenario) -> Step {
        if self.links[participant].state != LinkState::Down {
            self.disconnected(participant, scenario)?;
        }
        self.dial(participant);
        self.deliver_beginning(participant, scenario)?;
        if self.participants[participant].process.as_ref().is_some_and(|process| process.joining.is_some()) {
            self.record_epoch(participant)?;
        }
        self.deliver_beginning(participant, scenario)
    }

    /// The hello or the welcome of the newest session.
    pub(super) fn deliver_beginning(&mut self, participant: usize, scenario: &Scenario) -> Step {
        let session = self.links[participant].session;
        let is_beginning = |packet: &Arc<Packet>| {
            (packet.participant, packet.session) == (participant, session) && !packet.body.is_message()
        };
        match self.network.iter().position(is_beginning) {
            Some(at) => {
                let packet = self.network.change(|packets| packets.remove(at));
                self.deliver(&packet, scenario)
            }
            None => Ok(()),
        }
    }

    pub(super) fn record_epoch(&mut self, participant: usize) -> Step {
        self.with_participant(participant, |host, sent| {
            let Some(process) = &mut host.process else { return Ok(()) };
            let Some((session, epoch)) = process.joining else { return Ok(()) };
            host.storage.epoch = Some((participant::COORDINATOR, epoch));
            let input = ParticipantInput::EpochRecorded { session: Session(session) };
            process.handle(input, &mut host.storage, sent)
        })
    }
}
