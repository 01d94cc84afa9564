//! The whole: machines, what is between them, and what clients were told.

use crate::action::Action;
use crate::check::is_forgotten;
use crate::coordinator::{self, CoordinatorHost, Log};
use crate::machines::Machines;
use crate::network::{Body, Link, LinkState, Packet};
use crate::numbers::Numbers;
use crate::operator::Words;
use crate::part::Part;
use crate::participant::{self, ParticipantHost};
use crate::restoration::{Restored, Restoring};
use crate::scenario::{Budget, Request, RequestKind, Scenario, participant_name};
use crate::storage::{COORDINATOR, PreparedRecord, Storage};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use undoubt_coordinator_core::EndedBranch;
use undoubt_vocabulary::{BranchOutcome, Epoch, Outcome, PartName, Refusal, TxId};

/// One state of a scenario. Two equal worlds have equal futures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) coordinator: Part<CoordinatorHost>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) clients: Part<Clients>,
    /// Faults that may still strike.
    pub(crate) budget: Budget,
    pub(crate) restored: Part<Restored>,
}

/// A participant, and what is between it and the coordinator. Nothing in it tells which participant it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    pub(crate) host: Part<ParticipantHost>,
    pub(crate) link: Link,
    /// The packets in flight, either way; sorted, so that the order of sending makes no difference.
    pub(crate) packets: Part<Vec<Packet>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clients {
    pub(crate) requests: Vec<RequestState>,
    /// The first outcome anybody was told.
    pub(crate) told: BTreeMap<TxId, Answered>,
    /// The answers about the steps that join open sagas, by their numbers.
    pub(crate) steps: BTreeMap<(TxId, u16), StepTold>,
    /// The words of operators about stuck steps.
    pub(crate) words: Words,
    /// The transactions that operators have given up while they were held.
    pub(crate) given_up: BTreeSet<TxId>,
}

pub(crate) type Answered = (Outcome, Vec<(PartName, Bytes)>);

/// The answer that callers were given about a step that joins an open saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StepTold {
    /// It has joined, and nobody was told what its action came to.
    Joined,
    Done(Bytes),
    Refused(Refusal),
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RequestState {
    ToAsk,
    Waiting,
    Answered,
    /// The coordinator crashed before it answered, and the client left it at that.
    GivenUp,
}

impl Clients {
    /// Returns true if somebody may have asked to close this open saga.
    pub(crate) fn may_have_closed(&self, scenario: &Scenario, tx: &TxId) -> bool {
        let closing = |(request, state): (&Request, &RequestState)| {
            let was_asked = *state != RequestState::ToAsk || request.persistent;
            request.tx() == *tx && matches!(request.kind, RequestKind::Close) && was_asked
        };
        scenario.requests.iter().zip(&self.requests).any(closing)
    }
}

impl RequestState {
    pub(crate) fn is_over(self) -> bool {
        match self {
            RequestState::Answered | RequestState::GivenUp => true,
            RequestState::ToAsk | RequestState::Waiting => false,
        }
    }
}

impl World {
    /// Returns the world in which everybody is up and connected, and nothing was asked.
    pub(crate) fn new(budget: Budget, machines: &mut Machines<'_>) -> World {
        let scenario = machines.scenario;
        if scenario.restored.is_some() {
            return World::numbered(budget, machines);
        }
        let mut host = CoordinatorHost { log: Log::default(), mark: 0, process: None };
        let mut sent = Vec::new();
        let connected = (0..scenario.participants).map(|participant| coordinator::Act::Connected { participant });
        for act in [coordinator::Act::Restart, coordinator::Act::Recover { paused: false }].into_iter().chain(connected)
        {
            host.act(&act, scenario, &mut sent).expect("an empty log has nothing to recover");
        }
        let epoch = Epoch(host.log.epoch);
        let coordinator = Part::new(host);
        machines.symmetry.begin(&coordinator);

        let host = Part::new(ParticipantHost {
            storage: Storage { epoch: Some(epoch), ..Storage::default() },
            mark: 0,
            process: None,
        });
        let started = machines.participant(0, &host, &participant::Act::Restart).after;
        let hello =
            participant::Act::Message { session: 1, body: Part::new(Body::Hello { epoch, number: None, shown: None }) };
        let host = machines.participant(0, &started, &hello).after;
        let link = Link { session: 1, state: LinkState::Up };
        let seat = Seat { host, link, packets: Part::new(Vec::new()) };

        let (clients, restored) = (Clients::new(scenario), Part::new(Restored::default()));
        World { coordinator, seats: vec![seat; scenario.participants], clients, budget, restored }
    }

    /// Returns the same, where writes are numbered.
    fn numbered(budget: Budget, machines: &mut Machines<'_>) -> World {
        let scenario = machines.scenario;
        let log = Log { numbers: Some(Numbers::new(COORDINATOR.0)), ..Log::default() };
        let coordinator = Part::new(CoordinatorHost { log, mark: 1, process: None });
        machines.symmetry.begin(&coordinator);
        let seat = |participant: usize| {
            let numbers = Some(Numbers::new([participant as u8; 16]));
            let host = ParticipantHost { storage: Storage { numbers, ..Storage::default() }, mark: 1, process: None };
            let link = Link { session: 0, state: LinkState::Down };
            Seat { host: Part::new(host), link, packets: Part::new(Vec::new()) }
        };
        let seats = (0..scenario.participants).map(seat).collect();
        let (clients, restored) = (Clients::new(scenario), Part::new(Restored::default()));
        let mut world = World { coordinator, seats, clients, budget, restored };
        let mut begin = |world: &mut World, action: Action| {
            world.step(&action, machines).expect("a first start breaks no rule");
        };
        begin(&mut world, Action::RestartCoordinator);
        for participant in 0..scenario.participants {
            begin(&mut world, Action::RestartParticipant { participant });
        }
        for participant in 0..scenario.participants {
            begin(&mut world, Action::Restoring(Restoring::Recall { participant }));
        }
        for participant in 0..scenario.participants {
            begin(&mut world, Action::Connect { participant });
        }
        world
    }

    /// Returns true if everything has ended: clients have their answers, nobody holds a lock or is in doubt, every
    /// heuristic outcome is on record. Late packets may still be on their way; whatever they cause has to end again.
    pub(crate) fn is_over(&self, scenario: &Scenario) -> bool {
        let clients = self.clients.requests.iter().zip(&scenario.requests).all(|(state, request)| match state {
            RequestState::Answered | RequestState::GivenUp => true,
            // An operator has no reason to forget what has ended.
            RequestState::ToAsk => matches!(request.kind, RequestKind::Forget),
            RequestState::Waiting => false,
        });
        let coordinator = self.coordinator.process.as_ref().is_some_and(|process| {
            process.is_serving() && process.core.open_transactions() == 0 && process.unstable.is_empty()
        });
        let coordinator = coordinator && self.coordinator.log.unfinished().next().is_none();
        clients
            && coordinator
            && self.restored.rival.is_none()
            && self.seats.iter().enumerate().all(|(number, seat)| self.is_at_rest(number, seat, scenario))
    }

    fn is_at_rest(&self, number: usize, seat: &Seat, scenario: &Scenario) -> bool {
        let idle = seat.host.process.as_ref().is_some_and(|process| {
            process.memory.calls.is_empty()
                && process.memory.locks.is_idle()
                && process.core.views().all(|view| view.heuristic.is_some())
        });
        let storage = &seat.host.storage;
        idle && !seat.host.is_put_back()
            && storage.prepared.is_empty()
            && storage.owing.is_empty()
            && storage.settling.is_empty()
            && storage.enlisted.is_empty()
            // The semantic locks of a forgotten saga go with the next low-water mark.
            && storage.pending().all(|step| is_forgotten(self, scenario, &step.tx))
            && self.heuristics_are_on_record(number, seat)
            && self.what_was_committed_was_to_be(seat)
            && self.what_is_gone_is_on_record(number, seat)
    }

    /// R3. What looks as if it had been committed here was decided so, or it is a heuristic outcome.
    fn what_was_committed_was_to_be(&self, seat: &Seat) -> bool {
        let mut found = seat.host.storage.found_committed.values();
        let log = &self.coordinator.log;
        // Nobody knows any more of what is as late as what the log has dropped.
        let is_forgotten = |record: &PreparedRecord| Some(record.branch.attempt_number) <= log.forgotten;
        found.all(|record| log.has_commit(&record.branch.tx, record.branch.attempt_number) || is_forgotten(record))
    }

    /// R3. Of a committed transaction it is on record that a branch is gone.
    fn what_is_gone_is_on_record(&self, number: usize, seat: &Seat) -> bool {
        let log = &self.coordinator.log;
        let storage = &seat.host.storage;
        // It may have been asked for again.
        let mut gone =
            storage.gone.iter().filter(|branch| !storage.has_committed(&branch.tx).contains(&branch.attempt_number));
        gone.all(|branch| {
            let ended = log.ended.get(&branch.tx).filter(|_| log.has_commit(&branch.tx, branch.attempt_number));
            ended.is_none_or(|ended| {
                let is_it = |known: &EndedBranch| known.participant == participant_name(number);
                let known = ended.branches.iter().find(|known| is_it(known)).map(|known| known.outcome);
                ended.is_damaged() && known.is_some_and(|outcome| outcome != BranchOutcome::Committed)
            })
        })
    }

    /// R3. Of an attempt that another followed under the same id it has to be on record only if the operator decided
    /// otherwise than the coordinator, which had forgotten the attempt, and so aborted it. The record of a transaction
    /// that was given up vouches for no branch; that one was decided as the coordinator decided, its participant knows.
    fn heuristics_are_on_record(&self, number: usize, seat: &Seat) -> bool {
        let log = &self.coordinator.log;
        seat.host.storage.heuristics.iter().all(|(tx, record)| {
            let Some(ended) = log.ended.get(tx) else { return false };
            let (attempt_number, decided) = (record.branch.attempt_number, &record.heuristic);
            let differs = decided.commit != log.has_commit(tx, attempt_number);
            let says = |outcome| ended.branches.contains(&EndedBranch::new(participant_name(number), outcome));
            let on_record = says(decided.outcome());
            if differs {
                on_record && ended.is_damaged()
            } else {
                on_record || ended.attempt_number != attempt_number || says(BranchOutcome::Unknown)
            }
        })
    }

    /// Drops what would be ignored when it arrived: packets of sessions that are over at their receiver.
    ///
    /// Sound, because the cores ignore it too (participants), or their driver does (coordinator), and nobody else can
    /// see whether it is still on its way.
    pub(crate) fn drop_unreadable(&mut self, old_sessions_are_heard: bool) {
        let coordinator_is_up = self.coordinator.process.is_some();
        for seat in &mut self.seats {
            let process = seat.host.process.as_ref();
            let (is_up, session, link) = (process.is_some(), process.and_then(|process| process.session), seat.link);
            let readable = |packet: &Packet| match *packet.body {
                Body::Hello { .. } => is_up,
                Body::ToParticipant { .. } => session == Some(packet.session),
                Body::ToCoordinator { .. } if old_sessions_are_heard => coordinator_is_up,
                Body::Welcome { .. } | Body::Refused(_) | Body::ToCoordinator { .. } => {
                    link.state != LinkState::Down && link.session == packet.session
                }
            };
            if !seat.packets.iter().all(readable) {
                seat.packets.change(|packets| packets.retain(readable));
            }
        }
    }
}

impl Clients {
    fn new(scenario: &Scenario) -> Part<Clients> {
        let requests = vec![RequestState::ToAsk; scenario.requests.len()];
        let (told, steps, words) = (BTreeMap::new(), BTreeMap::new(), Words::default());
        Part::new(Clients { requests, told, steps, words, given_up: BTreeSet::new() })
    }
}

impl Seat {
    pub(crate) fn send(&mut self, session: u64, body: Part<Body>) {
        self.packets.change(|packets| {
            let packet = Packet { session, body };
            let at = packets.partition_point(|other| *other < packet);
            packets.insert(at, packet);
        });
    }

    /// Returns true if the coordinator's newest session to this participant can still become or stay one.
    pub(crate) fn session_is_alive(&self) -> bool {
        let session = self.link.session;
        let Some(process) = &self.host.process else { return false };
        process.session == Some(session)
            || process.joining.is_some_and(|(joining, _)| joining == session)
            || self.packets.iter().any(|packet| packet.session == session && matches!(*packet.body, Body::Hello { .. }))
    }

    /// The hello or the welcome of the newest session.
    pub(crate) fn beginning(&self) -> Option<usize> {
        self.packets.iter().position(|packet| packet.session == self.link.session && !packet.body.is_message())
    }
}
