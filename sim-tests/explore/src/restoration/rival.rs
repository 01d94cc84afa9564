//! A copy of the coordinator that is started beside the original.
//!
//! It asks participants as any start does. Once it may speak it takes the original's place; that the original goes on for a
//! while, until it hears of the higher epoch, is left out: see [`Rival`].

use super::{Copy, Lost, Machine, Restoring, why};
use crate::coordinator::{Act, CoordinatorHost};
use crate::machines::Machines;
use crate::network::LinkState;
use crate::numbers::Numbers;
use crate::part::Part;
use crate::participant;
use crate::scenario::participant_name;
use crate::step::Step;
use crate::world::World;
use std::collections::BTreeSet;
use undoubt_coordinator_core::standing::Verdict;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// `sign`: the folder shows that it is a copy.
    Start {
        sign: bool,
    },
    Recall {
        participant: usize,
    },
    TimeIsOver,
    SessionClosed {
        participant: usize,
    },
    /// An operator stops it.
    Stop,
}

/// The copy, while it may not speak.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rival {
    host: Box<CoordinatorHost>,
    /// The log as it was copied.
    copy: Option<Numbers>,
    sign: bool,
    lost: Lost,
    /// Participants to which the original was connected when they answered last. Whoever connects after that is not noticed.
    met: BTreeSet<usize>,
}

impl World {
    pub(super) fn beside(&self, machine: Machine, possible: &mut Vec<Restoring>) {
        let mut add = |beside| possible.push(Restoring::Beside(beside));
        let Some(rival) = &self.restored.rival else {
            if machine == Machine::Copy
                && self.budget.restores > 0
                && self.restored.copy.is_some()
                && self.original_lives()
            {
                add(Beside::Start { sign: true });
                add(Beside::Start { sign: false });
            }
            return;
        };
        add(Beside::Stop);
        let standing = rival.host.process.as_ref().and_then(|process| process.standing.as_ref());
        self.that_are_up().for_each(|participant| add(Beside::Recall { participant }));
        match standing.map(|standing| standing.verdict()) {
            Some(Verdict::Asking) => add(Beside::TimeIsOver),
            Some(Verdict::Held) => {
                let over = |participant: &usize| {
                    self.has_session(*participant) && self.seats[*participant].link.state == LinkState::Down
                };
                let over = self.that_are_up().filter(over);
                over.for_each(|participant| add(Beside::SessionClosed { participant }));
            }
            Some(Verdict::Clear) | None => {}
        }
    }

    fn original_lives(&self) -> bool {
        self.coordinator.process.as_ref().is_some_and(|process| process.is_serving())
    }

    pub(super) fn go_on_beside(&mut self, beside: &Beside, machines: &mut Machines<'_>) -> Step {
        match beside {
            Beside::Start { sign } => {
                let Some(Copy::Log(mut log)) = self.restored.change(|restored| restored.copy.take()) else {
                    return Ok(());
                };
                self.budget.restores -= 1;
                let lost = Lost::between(log.numbers.as_ref(), self.coordinator.log.numbers.as_ref(), *sign);
                log.numbers.iter_mut().for_each(|numbers| numbers.put_back = why(*sign));
                let copy = log.numbers.clone();
                let mark = self.coordinator.mark + 1;
                let host = Box::new(CoordinatorHost { log: (*log).clone(), mark, process: None });
                self.rival_acts(
                    Rival { host, copy, sign: *sign, lost, met: BTreeSet::new() },
                    &Act::PutBack { log },
                    machines,
                )
            }
            Beside::Recall { participant } => {
                let Some(mut rival) = self.restored.rival.clone() else { return Ok(()) };
                let process = rival.host.process.as_ref();
                let shown = process.and_then(|process| process.seen.get(&participant_name(*participant)).copied());
                self.participant(*participant, participant::Act::Recall { shown }, machines)?;
                let host = &self.seats[*participant].host;
                let Some(told) = host.recalled(machines.scenario.mutant) else { return Ok(()) };
                let seen = host.process.as_ref().map(|process| process.seen).unwrap_or_default();
                rival.lost = self.lost_by(&rival);
                rival.lost.asked(*participant, &seen);
                let is_met = self.original_lives()
                    && self.seats[*participant].link.state == LinkState::Up
                    && self.has_session(*participant);
                if is_met {
                    rival.met.insert(*participant)
                } else {
                    rival.met.remove(participant)
                };
                self.rival_acts(rival, &Act::Recalled { participant: *participant, answer: told }, machines)
            }
            Beside::TimeIsOver => match self.restored.rival.clone() {
                Some(rival) => self.rival_acts(rival, &Act::TimeIsOver, machines),
                None => Ok(()),
            },
            Beside::SessionClosed { participant } => {
                self.participant(*participant, participant::Act::SessionClosed, machines)
            }
            Beside::Stop => {
                self.restored.change(|restored| restored.rival = None);
                Ok(())
            }
        }
    }

    /// Returns what the original has written by now, and the copy lacks.
    fn lost_by(&self, rival: &Rival) -> Lost {
        rival.lost.grown(rival.copy.as_ref(), self.coordinator.log.numbers.as_ref())
    }

    fn rival_acts(&mut self, mut rival: Rival, act: &Act, machines: &mut Machines<'_>) -> Step {
        let mut sent = Vec::new();
        rival.host.act(act, machines.scenario, &mut sent)?;
        if !sent.is_empty() {
            return Err("put back: a copy speaks before it may".to_owned());
        }
        let speaks = rival.host.process.as_ref().is_some_and(|process| process.is_serving());
        if !speaks {
            self.restored.change(|restored| restored.rival = Some(rival));
            return Ok(());
        }
        if rival.sign && !rival.met.is_empty() {
            return Err("put back: a copy that shows it takes the epoch of a living original".to_owned());
        }
        let lost = self.lost_by(&rival);
        self.coordinator(Act::Crash { written: 0 }, machines)?;
        self.coordinator_has_ended(machines.scenario);
        self.coordinator = Part::new(*rival.host);
        self.restored.change(|restored| (restored.rival, restored.lost) = (None, Some(lost)));
        Ok(())
    }
}
