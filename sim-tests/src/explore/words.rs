//! How a trace tells what happened.

use super::action::Action;
use super::scenario::{RequestKind, Scenario};
use super::world::World;
use undoubt_coordinator_core::Timer;

impl Action {
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
                Some(record) => {
                    let (tx, ticket, stage) = (record.tx(), record.ticket(), record.stage());
                    format!("stable in the log: {tx}/{ticket} {stage:?}")
                }
                None => "nothing becomes stable".to_owned(),
            },
            Action::Fire { tx, ticket, timer: Timer::Deadline { .. } } => {
                format!("the deadline of {tx}/{ticket} passes")
            }
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
                let call =
                    process.and_then(|process| process.memory.calls.get(tx)).map_or("nothing", |call| call.name());
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

impl RequestKind {
    fn verb(&self) -> &'static str {
        match self {
            RequestKind::Submit(_) => "submit",
            RequestKind::Cancel => "cancel",
        }
    }
}
