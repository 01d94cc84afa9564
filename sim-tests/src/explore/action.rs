//! What can happen next.

use super::mutant::Mutant;
use super::network::{Body, LinkState};
use super::participant::ParticipantHost;
use super::resource::Call;
use super::scenario::{Crashing, Deadlines, Scenario, Sessions};
use super::world::{RequestState, World};
use undoubt_coordinator_core::{Phase, Timer};
use undoubt_participant_core::Heuristic;
use undoubt_vocabulary::{Ticket, Timestamp, TxId};

/// So often the coordinator repeats itself though a sweep could help as well. Beyond it the sweep has to come first, or a
/// participant that cannot answer before it would let the coordinator count for ever.
const RETRIES: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask {
        request: usize,
    },
    /// By the packet's place among those in flight.
    Deliver {
        packet: usize,
    },
    Duplicate {
        packet: usize,
    },
    Lose {
        packet: usize,
    },
    /// The oldest record that isn't yet is now on stable storage.
    BecomeStable,
    Fire {
        tx: TxId,
        ticket: Ticket,
        timer: Timer,
    },
    /// A new session from beginning to end, and the end of the one before.
    Connect {
        participant: usize,
    },
    Dial {
        participant: usize,
    },
    /// The coordinator sees that a session is over.
    NoticeEnd {
        participant: usize,
    },
    Disconnect {
        participant: usize,
    },
    RecordEpoch {
        participant: usize,
    },
    /// The resource manager gets on with a call.
    CarryOn {
        participant: usize,
        tx: TxId,
    },
    GiveUpWaiting {
        participant: usize,
        tx: TxId,
    },
    Sweep {
        participant: usize,
    },
    Resolve {
        participant: usize,
        tx: TxId,
        commit: bool,
    },
    /// The first `written` of the records that weren't stable are found in the log nevertheless.
    CrashCoordinator {
        written: usize,
    },
    RestartCoordinator,
    Recover,
    CrashParticipant {
        participant: usize,
    },
    RestartParticipant {
        participant: usize,
    },
}

impl Action {
    /// Costs some of the budget; without it everything has to come to its end.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Action::Duplicate { .. }
            | Action::Lose { .. }
            | Action::Disconnect { .. }
            | Action::Resolve { .. }
            | Action::CrashCoordinator { .. }
            | Action::CrashParticipant { .. } => true,
            Action::Ask { .. }
            | Action::Deliver { .. }
            | Action::BecomeStable
            | Action::Fire { .. }
            | Action::Connect { .. }
            | Action::Dial { .. }
            | Action::NoticeEnd { .. }
            | Action::RecordEpoch { .. }
            | Action::CarryOn { .. }
            | Action::GiveUpWaiting { .. }
            | Action::Sweep { .. }
            | Action::RestartCoordinator
            | Action::Recover
            | Action::RestartParticipant { .. } => false,
        }
    }

    pub(crate) fn heuristic(commit: bool) -> Heuristic {
        let (who, reason) = ("operator".to_owned(), "the coordinator is silent".to_owned());
        Heuristic { commit, at: Timestamp::default(), who, reason, decision: None }
    }
}

impl World {
    /// All that can happen now. Faults last.
    pub(crate) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = Vec::new();
        self.client_actions(&mut actions);
        self.coordinator_actions(scenario, &mut actions);
        (0..self.participants.len())
            .for_each(|participant| self.participant_actions(participant, scenario, &mut actions));
        self.network_actions(&mut actions);
        actions
    }

    fn client_actions(&self, actions: &mut Vec<Action>) {
        for (request, state) in self.clients.requests.iter().enumerate() {
            if self.coordinator.process.is_some() && *state == RequestState::ToAsk {
                actions.push(Action::Ask { request });
            }
        }
    }

    fn network_actions(&self, actions: &mut Vec<Action>) {
        for (at, packet) in self.network.iter().enumerate() {
            // Two equal packets: it is all the same which of them is next.
            if at > 0 && self.network[at - 1] == *packet {
                continue;
            }
            let before_welcome = match packet.body {
                Body::ToCoordinator(_) => {
                    let link = self.links[packet.participant];
                    link.session == packet.session && link.state != LinkState::Up
                }
                Body::Hello { .. } | Body::Welcome | Body::ToParticipant { .. } => false,
            };
            if !before_welcome {
                actions.push(Action::Deliver { packet: at });
            }
            if packet.body.is_message() && self.budget.losses > 0 {
                actions.push(Action::Lose { packet: at });
            }
            if packet.body.is_message() && !before_welcome && self.budget.duplicates > 0 {
                actions.push(Action::Duplicate { packet: at });
            }
        }
    }

    fn coordinator_actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let Some(process) = &self.coordinator.process else { return actions.push(Action::RestartCoordinator) };
        if process.core.phase() == Phase::Recovering {
            actions.push(Action::Recover);
        }
        if !process.unstable.is_empty() {
            actions.push(Action::BecomeStable);
        }
        let quiet = self.is_quiet();
        for (tx, ticket, timer) in &process.timers {
            let due = match timer {
                Timer::Deadline { .. } => self.deadlines_may_pass(scenario),
                Timer::Retry { attempt } => {
                    quiet && self.is_unacknowledged(tx) && (*attempt < RETRIES || !self.somebody_is_in_doubt())
                }
            };
            if due {
                actions.push(Action::Fire { tx: tx.clone(), ticket: *ticket, timer: *timer });
            }
        }
        if self.budget.crashes > 0 && scenario.crashing == Crashing::Anybody {
            actions.extend((0..=process.unstable.len()).map(|written| Action::CrashCoordinator { written }));
        }
        (0..self.links.len()).for_each(|participant| self.session_actions(participant, scenario, actions));
    }

    fn session_actions(&self, participant: usize, scenario: &Scenario, actions: &mut Vec<Action>) {
        let alive = self.session_is_alive(participant);
        match (self.links[participant].state, scenario.sessions) {
            (LinkState::Down, Sessions::AtOnce) => actions.push(Action::Connect { participant }),
            (LinkState::Dialing | LinkState::Up, Sessions::AtOnce) if !alive => {
                actions.push(Action::Connect { participant });
            }
            (LinkState::Down, Sessions::StepByStep) if self.participants[participant].process.is_some() => {
                actions.push(Action::Dial { participant });
            }
            (LinkState::Down, Sessions::StepByStep) => {}
            (LinkState::Dialing | LinkState::Up, Sessions::StepByStep) if !alive => {
                actions.push(Action::NoticeEnd { participant });
            }
            (LinkState::Dialing | LinkState::Up, Sessions::AtOnce | Sessions::StepByStep) => {
                if self.budget.disconnections > 0 {
                    actions.push(Action::Disconnect { participant });
                }
            }
        }
    }

    fn participant_actions(&self, participant: usize, scenario: &Scenario, actions: &mut Vec<Action>) {
        let Some(process) = &self.participants[participant].process else {
            return actions.push(Action::RestartParticipant { participant });
        };
        if process.joining.is_some() {
            actions.push(Action::RecordEpoch { participant });
        }
        for (tx, call) in &process.memory.calls {
            let tx = tx.clone();
            match call.waits_for_locks() {
                false => actions.push(Action::CarryOn { participant, tx }),
                true if self.deadlines_may_pass(scenario) => actions.push(Action::GiveUpWaiting { participant, tx }),
                true => {}
            }
        }
        let sweeps = scenario.mutant != Some(Mutant::NoSweep);
        if sweeps && process.core.open_branches() > 0 && (self.is_quiet() || self.budget.duplicates > 0) {
            actions.push(Action::Sweep { participant });
        }
        if self.budget.heuristics > 0 {
            for tx in process.in_doubt() {
                actions.push(Action::Resolve { participant, tx: tx.clone(), commit: true });
                actions.push(Action::Resolve { participant, tx, commit: false });
            }
        }
        if self.budget.crashes > 0 {
            actions.push(Action::CrashParticipant { participant });
        }
    }

    /// Nothing can happen but that a timer fires: nothing is in flight or being done, and everybody is connected.
    ///
    /// Only then is anything repeated, or asked by a sweep, for nothing. To repeat it before is no more than a duplicate,
    /// and counts as one; so repetition is bounded by what went wrong.
    pub(crate) fn is_quiet(&self) -> bool {
        let coordinator = self
            .coordinator
            .process
            .as_ref()
            .is_some_and(|process| process.unstable.is_empty() && process.core.phase() != Phase::Recovering);
        let idle = |host: &ParticipantHost| match &host.process {
            Some(process) => process.memory.calls.values().all(Call::waits_for_locks),
            None => false,
        };
        coordinator
            && self.network.is_empty()
            && self.links.iter().all(|link| link.state == LinkState::Up)
            && (0..self.links.len()).all(|participant| self.session_is_alive(participant))
            && self.participants.iter().all(|host| idle(host))
    }

    fn deadlines_may_pass(&self, scenario: &Scenario) -> bool {
        match scenario.deadlines {
            Deadlines::Never => false,
            Deadlines::WhenStuck => self.is_quiet(),
            Deadlines::Always => true,
        }
    }

    fn somebody_is_in_doubt(&self) -> bool {
        self.participants
            .iter()
            .filter_map(|host| host.process.as_ref())
            .any(|process| process.core.branches_in_doubt() > 0)
    }

    fn is_unacknowledged(&self, tx: &TxId) -> bool {
        let process = self.coordinator.process.as_ref();
        process.and_then(|process| process.core.view(tx)).is_some_and(|view| view.unacknowledged)
    }
}
