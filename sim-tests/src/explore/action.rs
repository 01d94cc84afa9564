//! What can happen next, and how it is told.

use super::coordinator::appended;
use super::network::{Body, LinkState};
use super::participant::ParticipantHost;
use super::resource::Call;
use super::scenario::{Deadlines, Scenario, Sessions};
use super::world::{RequestState, World};
use undoubt_coordinator_core::{Input, Phase, Timer};
use undoubt_participant_core::Heuristic;
use undoubt_vocabulary::{Ticket, Timestamp, TxId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask { request: usize },
    /// By the packet's place among those in flight.
    Deliver { packet: usize },
    Duplicate { packet: usize },
    Lose { packet: usize },
    /// The oldest record that isn't yet is now on stable storage.
    BecomeStable,
    Fire { tx: TxId, ticket: Ticket, timer: Timer },
    /// A new session from beginning to end, and the end of the one before.
    Connect { participant: usize },
    Dial { participant: usize },
    /// The coordinator sees that a session is over.
    NoticeEnd { participant: usize },
    Disconnect { participant: usize },
    RecordEpoch { participant: usize },
    /// The resource manager gets on with a call.
    CarryOn { participant: usize, tx: TxId },
    GiveUpWaiting { participant: usize, tx: TxId },
    Sweep { participant: usize },
    Resolve { participant: usize, tx: TxId, commit: bool },
    /// The first `written` of the records that weren't stable are found in the log nevertheless.
    CrashCoordinator { written: usize },
    RestartCoordinator,
    Recover,
    CrashParticipant { participant: usize },
    RestartParticipant { participant: usize },
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

    /// In words, for somebody who sees the world as it was before.
    pub(crate) fn describe(&self, world: &World, scenario: &Scenario) -> String {
        let packet = |packet: &usize| world.network[*packet].to_string();
        match self {
            Action::Ask { request } => {
                let asked = &scenario.requests[*request];
                format!("client {request} asks: {} {}", asked.kind.verb(), asked.tx)
            }
            Action::Deliver { packet: at } => format!("arrives: {}", packet(at)),
            Action::Duplicate { packet: at } => format!("arrives, and will again: {}", packet(at)),
            Action::Lose { packet: at } => format!("LOST: {}", packet(at)),
            Action::BecomeStable => match world.coordinator.process.as_ref().and_then(|p| p.unstable.front()) {
                Some(record) => format!("stable in the log: {}", Stable(record)),
                None => "nothing becomes stable".to_owned(),
            },
            Action::Fire { tx, ticket, timer: Timer::Deadline { .. } } => format!("the deadline of {tx}/{ticket} passes"),
            Action::Fire { tx, ticket, timer: Timer::Retry { attempt } } => {
                format!("the coordinator repeats itself about {tx}/{ticket}, attempt {attempt}")
            }
            Action::Connect { participant } => format!("the coordinator and p{participant} are connected again"),
            Action::Dial { participant } => format!("the coordinator dials p{participant}"),
            Action::NoticeEnd { participant } => format!("the coordinator sees its session to p{participant} closed"),
            Action::Disconnect { participant } => format!("DISCONNECTED: p{participant}"),
            Action::RecordEpoch { participant } => format!("p{participant} has recorded the epoch"),
            Action::CarryOn { participant, tx } => {
                let process = world.participants[*participant].process.as_ref();
                let call = process.and_then(|process| process.memory.calls.get(tx)).map_or("nothing", |call| call.name());
                format!("p{participant}'s resource carries on: {call} {tx}")
            }
            Action::GiveUpWaiting { participant, tx } => format!("p{participant} gives up waiting for {tx}'s locks"),
            Action::Sweep { participant } => format!("p{participant} sweeps"),
            Action::Resolve { participant, tx, commit } => {
                format!("OPERATOR {} {tx} at p{participant}", if *commit { "COMMITS" } else { "ABORTS" })
            }
            Action::CrashCoordinator { written: 0 } => "CRASH of the coordinator".to_owned(),
            Action::CrashCoordinator { written } => {
                format!("CRASH of the coordinator; {written} more records turn out to be written")
            }
            Action::RestartCoordinator => "the coordinator starts".to_owned(),
            Action::Recover => "the coordinator has read its log".to_owned(),
            Action::CrashParticipant { participant } => format!("CRASH of p{participant}"),
            Action::RestartParticipant { participant } => format!("p{participant} starts"),
        }
    }
}

struct Stable<'a>(&'a undoubt_coordinator_core::Record);

impl std::fmt::Display for Stable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match appended(self.0) {
            Input::Appended { tx, ticket, stage } => write!(f, "{tx}/{ticket} {stage:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl World {
    /// All that can happen now. Faults last.
    pub(crate) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = Vec::new();
        self.client_actions(&mut actions);
        self.coordinator_actions(scenario, &mut actions);
        (0..self.participants.len()).for_each(|participant| self.participant_actions(participant, scenario, &mut actions));
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
                Timer::Retry { .. } => quiet && self.is_unacknowledged(tx),
            };
            if due {
                actions.push(Action::Fire { tx: tx.clone(), ticket: *ticket, timer: *timer });
            }
        }
        if self.budget.crashes > 0 {
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
        if process.core.open_branches() > 0 && (self.is_quiet() || self.budget.duplicates > 0) {
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
        let coordinator = self.coordinator.process.as_ref().is_some_and(|process| {
            process.unstable.is_empty() && process.core.phase() != Phase::Recovering
        });
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

    fn is_unacknowledged(&self, tx: &TxId) -> bool {
        let process = self.coordinator.process.as_ref();
        process.and_then(|process| process.core.view(tx)).is_some_and(|view| view.unacknowledged)
    }
}
