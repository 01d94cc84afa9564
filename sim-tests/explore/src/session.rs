//! The ends and beginnings of processes and of sessions.

use crate::coordinator::{Act, Welcome};
use crate::machines::Machines;
use crate::network::{Body, LinkState};
use crate::part::Part;
use crate::participant;
use crate::restoration::{Lost, Machine};
use crate::scenario::{Scenario, Sessions};
use crate::step::Step;
use crate::world::{RequestState, World};
use undoubt_participant_core::SessionRefused;
use undoubt_vocabulary::{Epoch, WriteNumber};

impl World {
    /// Ends the coordinator: it crashes, or stops.
    pub(crate) fn end_coordinator(&mut self, act: Act, machines: &mut Machines<'_>) -> Step {
        self.coordinator(act, machines)?;
        self.coordinator_has_ended(machines.scenario);
        self.begin_at_once(machines)
    }

    fn begin_at_once(&mut self, machines: &mut Machines<'_>) -> Step {
        match machines.scenario.sessions {
            Sessions::AtOnce => self.coordinator(Act::Restart, machines),
            Sessions::StepByStep => Ok(()),
        }
    }

    /// Its sessions are over, and its clients hear nothing more.
    pub(crate) fn coordinator_has_ended(&mut self, scenario: &Scenario) {
        self.ask_anew();
        self.seats.iter_mut().for_each(|seat| seat.link.state = LinkState::Down);
        if self.clients.requests.contains(&RequestState::Waiting) {
            self.clients.change(|clients| {
                for (state, request) in clients.requests.iter_mut().zip(&scenario.requests) {
                    if *state == RequestState::Waiting {
                        *state = if request.persistent { RequestState::ToAsk } else { RequestState::GivenUp };
                    }
                }
            });
        }
    }

    /// A session begins. It may show the coordinator that its log was put back; then that ends, and starts again.
    pub(crate) fn welcomed(
        &mut self,
        participant: usize,
        number: Option<WriteNumber>,
        seen: Option<WriteNumber>,
        machines: &mut Machines<'_>,
    ) -> Step {
        self.seats[participant].link.state = LinkState::Up;
        if machines.scenario.restored.is_none() {
            return self.coordinator(Act::Connected { participant }, machines);
        }
        self.of_lost_log(machines.scenario, |lost| {
            if seen.as_ref().is_some_and(|seen| lost.has_write(seen)) {
                lost.is_shown();
            }
        });
        let host = &self.seats[participant].host;
        let (known, low_water_mark) = (host.known(), host.storage.low_water_mark.clone());
        if machines.scenario.restored == Some(Machine::Participant(participant)) && self.restored.accepted {
            self.restored.change(|restored| restored.is_met = true);
        }
        let welcome = Welcome { number, seen, known, low_water_mark };
        self.coordinator(Act::Welcomed { participant, welcome }, machines)?;
        self.if_it_has_ended(machines)
    }

    /// Refuses a session: it is as if the coordinator had not dialed; or it hears that it has to end.
    pub(crate) fn refused(&mut self, participant: usize, why: &SessionRefused, machines: &mut Machines<'_>) -> Step {
        let link = &mut self.seats[participant].link;
        link.state = LinkState::Down;
        link.session -= 1;
        match why {
            SessionRefused::LowerEpoch { known, .. } | SessionRefused::OtherStart { epoch: known }
                if *known >= self.coordinator.log.epoch =>
            {
                self.of_lost_log(machines.scenario, Lost::is_shown);
                self.coordinator(Act::FencedByEpoch { known: Epoch(*known) }, machines)?;
                self.if_it_has_ended(machines)
            }
            SessionRefused::LowerEpoch { .. }
            | SessionRefused::Replaced
            | SessionRefused::PutBack { .. }
            | SessionRefused::Unproven(_)
            | SessionRefused::OtherStart { .. } => Ok(()),
        }
    }

    fn if_it_has_ended(&mut self, machines: &mut Machines<'_>) -> Step {
        if self.coordinator.process.is_some() {
            return Ok(());
        }
        self.coordinator_has_ended(machines.scenario);
        self.begin_at_once(machines)
    }

    /// The coordinator sees it at once: until it did, it would only send into the void. The participant needs not see
    /// it at all: what it sends gets lost, and it goes on reading what is still on its way until a new session comes.
    pub(crate) fn disconnected(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        self.seats[participant].link.state = LinkState::Down;
        self.coordinator(Act::Disconnected { participant }, machines)
    }

    pub(crate) fn dial(&mut self, participant: usize) -> Step {
        if self.coordinator.process.as_ref().is_some_and(|process| process.standing.is_some()) {
            return Err(format!("sign: the coordinator says hello to p{participant} before it may speak"));
        }
        let (epoch, number) = (Epoch(self.coordinator.log.epoch), self.coordinator.log.number());
        let shown = self.seen_of(participant).filter(|_| number.is_some());
        let seat = &mut self.seats[participant];
        seat.link.session += 1;
        seat.link.state = LinkState::Dialing;
        seat.send(seat.link.session, Part::new(Body::Hello { epoch, number, shown }));
        Ok(())
    }

    pub(crate) fn connect(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        if self.seats[participant].link.state != LinkState::Down {
            self.disconnected(participant, machines)?;
        }
        self.dial(participant)?;
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
