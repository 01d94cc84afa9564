//! The whole: machines, what is between them, and what clients were told.

use super::coordinator::{self, CoordinatorHost, Log};
use super::network::{Body, Link, LinkState, Packet};
use super::part::{Part, Pool, fingerprint};
use super::participant::{self, COORDINATOR, ParticipantHost};
use super::resource::Storage;
use super::scenario::{Budget, Scenario, participant_name};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use undoubt_coordinator_core::{Input, Phase};
use undoubt_vocabulary::{Epoch, Outcome, ParticipantName, TxId};

/// One state of a scenario. Two equal worlds have equal futures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) coordinator: Part<CoordinatorHost>,
    pub(crate) participants: Vec<Part<ParticipantHost>>,
    pub(crate) links: Vec<Link>,
    /// In flight; sorted, so that the order of sending makes no difference.
    pub(crate) network: Part<Vec<Arc<Packet>>>,
    pub(crate) clients: Part<Clients>,
    /// Faults that may still strike.
    pub(crate) budget: Budget,
}

/// The parts of all worlds of one exploration.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    coordinators: Pool<CoordinatorHost>,
    participants: Pool<ParticipantHost>,
    networks: Pool<Vec<Arc<Packet>>>,
    clients: Pool<Clients>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clients {
    pub(crate) requests: Vec<RequestState>,
    /// The first outcome anybody was told.
    pub(crate) told: BTreeMap<TxId, Told>,
}

pub(crate) type Told = (Outcome, Vec<(ParticipantName, Bytes)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RequestState {
    ToAsk,
    Waiting,
    Answered,
    /// The coordinator crashed before it answered, and the client left it at that.
    GivenUp,
}

impl World {
    /// Everybody is up and connected, and nothing was asked.
    pub(crate) fn new(scenario: &Scenario, budget: Budget) -> World {
        let mut log = Log::default();
        let mut coordinator = coordinator::Process::start(&mut log);
        coordinator.recover(&log, None, &mut Vec::new()).expect("an empty log has nothing to recover");
        for participant in 0..scenario.participants {
            let connected = Input::Connected { participant: participant_name(participant) };
            coordinator.handle(connected, &log, None, &mut Vec::new()).expect("nothing is open");
        }
        let epoch = Epoch(log.epoch);
        let participant = |_| {
            let mut storage = Storage { epoch: Some((COORDINATOR, epoch)), ..Storage::default() };
            let mut process = participant::Process::start(&storage, None);
            let hello = participant::Process::hello(1, epoch);
            process.handle(hello, &mut storage, &mut Vec::new()).expect("the first session is let in");
            Part::new(ParticipantHost { storage, process: Some(process) })
        };
        let requests = vec![RequestState::ToAsk; scenario.requests.len()];
        World {
            coordinator: Part::new(CoordinatorHost { log, process: Some(coordinator) }),
            participants: (0..scenario.participants).map(participant).collect(),
            links: vec![Link { session: 1, state: LinkState::Up }; scenario.participants],
            network: Part::new(Vec::new()),
            clients: Part::new(Clients { requests, told: BTreeMap::new() }),
            budget,
        }
    }

    pub(crate) fn seal(&mut self) {
        self.coordinator.seal();
        self.participants.iter_mut().for_each(Part::seal);
        self.network.seal();
        self.clients.seal();
    }

    pub(crate) fn share(&mut self, pools: &mut Pools) {
        pools.coordinators.share(&mut self.coordinator);
        self.participants.iter_mut().for_each(|part| pools.participants.share(part));
        pools.networks.share(&mut self.network);
        pools.clients.share(&mut self.clients);
    }

    pub(crate) fn fingerprint(&self) -> u128 {
        fingerprint(self)
    }

    /// Everything has ended: clients have their answers, nobody holds a lock or is in doubt, every heuristic outcome is
    /// on record. Late packets may still be on their way; whatever they cause has to end again.
    pub(crate) fn is_over(&self) -> bool {
        let clients = self.clients.requests.iter().all(|request| match request {
            RequestState::Answered | RequestState::GivenUp => true,
            RequestState::ToAsk | RequestState::Waiting => false,
        });
        let coordinator = self.coordinator.process.as_ref().is_some_and(|process| {
            process.core.phase() == Phase::Serving
                && process.core.open_transactions() == 0
                && process.unstable.is_empty()
        });
        let participants = self.participants.iter().enumerate().all(|(name, host)| {
            let idle = host.process.as_ref().is_some_and(|process| {
                process.memory.calls.is_empty()
                    && process.memory.locks.is_idle()
                    && process.core.views().all(|view| view.heuristic.is_some())
            });
            idle && host.storage.prepared.is_empty() && self.heuristics_are_on_record(name)
        });
        clients && coordinator && participants
    }

    fn heuristics_are_on_record(&self, participant: usize) -> bool {
        let ended = &self.coordinator.log.ended;
        self.participants[participant].storage.heuristics.iter().all(|(tx, (_, _, heuristic))| {
            let reported = (participant_name(participant), heuristic.outcome());
            ended.get(tx).is_some_and(|ended| ended.branches.contains(&reported))
        })
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        self.network.change(|packets| {
            let at = packets.partition_point(|other| **other < packet);
            packets.insert(at, Arc::new(packet));
        });
    }

    /// Drops what would be ignored when it arrived: packets of sessions that are over at their receiver.
    ///
    /// Sound, because the cores ignore it too (participants), or their driver does (coordinator), and nobody else can
    /// see whether it is still on its way.
    pub(crate) fn drop_unreadable(&mut self, old_sessions_are_heard: bool) {
        let readable = |packet: &Arc<Packet>| {
            let link = self.links[packet.participant];
            match &packet.body {
                Body::Hello { .. } => self.participants[packet.participant].process.is_some(),
                Body::ToParticipant { .. } => {
                    let process = self.participants[packet.participant].process.as_ref();
                    process.is_some_and(|process| process.session == Some(packet.session))
                }
                Body::ToCoordinator(_) if old_sessions_are_heard => self.coordinator.process.is_some(),
                Body::Welcome | Body::ToCoordinator(_) => {
                    link.state != LinkState::Down && link.session == packet.session
                }
            }
        };
        if !self.network.iter().all(readable) {
            let kept = self.network.iter().filter(|packet| readable(packet)).cloned().collect();
            self.network.change(|packets| *packets = kept);
        }
    }

    /// Whether the coordinator's newest session to this participant can still become or stay one.
    pub(crate) fn session_is_alive(&self, participant: usize) -> bool {
        let session = self.links[participant].session;
        let Some(process) = &self.participants[participant].process else { return false };
        process.session == Some(session)
            || process.joining.is_some_and(|(joining, _)| joining == session)
            || self.network.iter().any(|packet| {
                packet.participant == participant
                    && packet.session == session
                    && matches!(packet.body, Body::Hello { .. })
            })
    }
}
