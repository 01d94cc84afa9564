//! The table of faults and of what was going on when they struck: a fault that never struck there was never survived there
//! either.

use crate::action::Action;
use crate::coordinator::CoordinatorHost;
use crate::operator::Word;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use undoubt_coordinator_core::{Stage, StepResolution};

/// The columns: what the coordinator may be doing about a transaction, in order; and what else there is.
const PHASES: [&str; 24] = [
    "down",
    "reading-log",
    "nothing-open",
    "preparing",
    "confirming",
    "logging-commit",
    "committing",
    "logging-delegation",
    "delegated",
    "settling",
    "ending-committed",
    "ending-aborted",
    "beginning",
    "running",
    "open",
    "logging-close",
    "completing",
    "logging-compensation",
    "compensating",
    "stuck",
    "closing",
    "ending",
    "paused",
    "unusable",
];

/// The number of times that each fault struck in each phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(BTreeMap<Fault, BTreeMap<&'static str, usize>>);

/// A kind of fault, and the message that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault(&'static str, &'static str);

impl Cells {
    pub(crate) fn struck(&mut self, world: &World, action: &Action, phases: &[&'static str]) {
        let Some(fault) = fault(world, action) else { return };
        let counts = self.0.entry(fault).or_default();
        phases.iter().for_each(|phase| *counts.entry(phase).or_default() += 1);
    }

    pub fn add(&mut self, other: &Cells) {
        for (fault, counts) in &other.0 {
            let sums = self.0.entry(*fault).or_default();
            counts.iter().for_each(|(phase, count)| *sums.entry(phase).or_default() += count);
        }
    }
}

/// Returns what is going on, for all transactions that are open.
pub(crate) fn phases(coordinator: &CoordinatorHost) -> BTreeSet<&'static str> {
    let Some(process) = &coordinator.process else { return BTreeSet::from(["down"]) };
    if !process.is_serving() {
        return BTreeSet::from(["reading-log"]);
    }
    let open: BTreeSet<&'static str> =
        process.core.views().map(|view| if view.paused { "paused" } else { view.phase.as_str() }).collect();
    if open.is_empty() { BTreeSet::from(["nothing-open"]) } else { open }
}

fn fault(world: &World, action: &Action) -> Option<Fault> {
    let message = |participant: &usize, packet: &usize| world.seats[*participant].packets[*packet].body.name();
    Some(match action {
        Action::CrashCoordinator { written: 0 } => Fault("crash", "coordinator"),
        Action::CrashCoordinator { .. } => Fault("crash", "coordinator, with records found written"),
        Action::CrashParticipant { participant, kept } => {
            let unforced = world.seats[*participant].host.storage.unforced.len();
            let lost = if *kept < unforced { "participant, with writes taken back" } else { "participant" };
            Fault("crash", lost)
        }
        Action::Lose { participant, packet } => Fault("loss", message(participant, packet)),
        Action::Duplicate { participant, packet } => Fault("duplicate", message(participant, packet)),
        Action::Disconnect { .. } => Fault("disconnection", ""),
        Action::Resolve { commit: true, .. } => Fault("operator", "commits a branch"),
        Action::Resolve { commit: false, .. } => Fault("operator", "aborts a branch"),
        Action::Pause => Fault("operator", "pauses"),
        Action::Recover { paused: true } => Fault("operator", "starts paused"),
        Action::Drain => Fault("operator", "drains"),
        Action::ResolveStep(Word { resolution: StepResolution::Retry, .. }) => {
            Fault("operator", "has a step tried again")
        }
        Action::ResolveStep(Word { resolution: StepResolution::Skip, .. }) => Fault("operator", "skips a step"),
        Action::ResolveStep(Word { resolution: StepResolution::Done, .. }) => Fault("operator", "has done a step"),
        Action::ForgetHeld { .. } => Fault("operator", "forgets what is held"),
        Action::Refuse { record } => {
            let refused = world.coordinator.process.as_ref().and_then(|process| process.unstable.get(*record));
            Fault("refusal", refused.map_or("", |write| stage(write.record.stage())))
        }
        Action::Spoil { tx } if world.coordinator.log.sagas.contains_key(tx) => Fault("spoil", "a saga's record"),
        Action::Spoil { .. } => Fault("spoil", "a record of two-phase commit"),
        Action::Drop { .. } => Fault("drop", "the record of an end"),
        Action::Upset { upset, .. } => Fault("resource", upset.tell().1),
        Action::ReleaseMarks { .. } => Fault("operator", "releases semantic locks"),
        Action::Ask { .. }
        | Action::Deliver { .. }
        | Action::BecomeStable
        | Action::Fire { .. }
        | Action::Connect { .. }
        | Action::Dial { .. }
        | Action::NoticeEnd { .. }
        | Action::RecordEpoch { .. }
        | Action::CarryOn { .. }
        | Action::GiveUp { .. }
        | Action::Sweep { .. }
        | Action::Find { .. }
        | Action::AskAbout { .. }
        | Action::UndoUnsubmitted { .. }
        | Action::EndPause
        | Action::Resume
        | Action::Stop
        | Action::RestartCoordinator
        | Action::Recover { paused: false }
        | Action::RestartParticipant { .. } => return None,
        Action::Restoring(restoring) => Fault("folder", restoring.fault()?),
    })
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Delegated => "of a delegation",
        Stage::Committed => "of a commit",
        Stage::Ended => "of an end",
        Stage::Begun => "of a saga's beginning",
        Stage::Stepped => "of a step",
        Stage::Compensating => "of a compensation",
        Stage::Opened => "of an open saga's beginning",
        Stage::Joined => "of a joining",
        Stage::Closed => "of a closing",
    }
}

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<46}", "struck while the coordinator is")?;
        PHASES.iter().try_for_each(|phase| write!(f, " {phase:>8}"))?;
        for (Fault(kind, what), counts) in &self.0 {
            write!(f, "\n{:<46}", format!("{kind} {what}"))?;
            for phase in PHASES {
                let width = phase.len().max(8);
                match counts.get(phase) {
                    Some(count) => write!(f, " {count:>width$}")?,
                    None => write!(f, " {:>width$}", "-")?,
                }
            }
        }
        Ok(())
    }
}
