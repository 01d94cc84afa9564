//! How processes end and come back, and how sessions do.

use super::coordinator::Act;
use super::machines::Machines;
use super::network::{Body, LinkState};
use super::part::Part;
use super::participant;
use super::scenario::Sessions;
use super::step::Step;
use super::world::{RequestState, World};
use undoubt_vocabulary::Epoch;

impl World {
    /// It crashes, or stops.
    pub(super) fn end_coordinator(&mut self, act: Act, machines: &mut Machines<'_>) -> Step {
        self.coordinator(act, machines)?;
        self.seats.iter_mut().for_each(|seat| seat.link.state = LinkState::Down);
        if self.clients.requests.contains(&RequestState::Waiting) {
            self.clients.change(|clients| {
                for (state, request) in clients.requests.iter_mut().zip(&machines.scenario.requests) {
                    if *state == RequestState::Waiting {
                        *state = if request.persistent { RequestState::ToAsk } else { RequestState::GivenUp };
                    }
                }
            });
        }
        match machines.scenario.sessions {
            Sessions::AtOnce => self.coordinator(Act::Restart, machines),
            Sessions::StepByStep => Ok(()),
        }
    }

    /// The coordinator sees it at once: until it did, it would only send into the void. The participant needs not see
    /// it at all: what it sends gets lost, and it goes on reading what is still on its way until a new session comes.
    pub(super) fn disconnected(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        self.seats[participant].link.state = LinkState::Down;
        self.coordinator(Act::Disconnected { participant }, machines)
    }

    pub(super) fn dial(&mut self, participant: usize) {
        let epoch = Epoch(self.coordinator.log.epoch);
        let seat = &mut self.seats[participant];
        seat.link.session += 1;
        seat.link.state = LinkState::Dialing;
        seat.send(seat.link.session, Part::new(Body::Hello { epoch }));
    }

    pub(super) fn connect(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        if self.seats[participant].link.state != LinkState::Down {
            self.disconnected(participant, machines)?;
        }
        self.dial(participant);
        self.deliver_beginning(participant, machines)?;
        if self.seats[participant].host.process.as_ref().is_some_and(|process| process.joining.is_some()) {
            self.participant(participant, participant::Act::RecordEpoch, machines)?;
        }
        self.deliver_beginning(participant, machines)
    }

    fn deliver_beginning(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        match self.seats[participant].beginning() {
            Some(at) => {
                let packet = self.seats[participant].packets.change(|packets| packets.remove(at));
                self.deliver(participant, &packet, machines)
            }
            None => Ok(()),
        }
    }
}
