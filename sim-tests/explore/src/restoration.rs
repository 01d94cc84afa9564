//! Folders that are copied and put back.
//!
//! Somebody copies a machine's folder, at any time and once; later the machine crashes, and starts over the copy, or over
//! nothing; or the coordinator's copy is started beside it. So it goes on from any earlier state of its storage, whether of
//! the same start or of an earlier one. What was lost by it only [`Restored`] knows: the rules ask it whether what is not
//! noticed could be.

mod losses;
mod rival;
mod words;

use crate::action::Action;
use crate::coordinator::{self, Log};
use crate::machines::Machines;
use crate::mutant::Mutant;
use crate::numbers::Numbers;
use crate::participant;
use crate::scenario::{Request, Scenario, participant_name};
use crate::step::Step;
use crate::storage::Storage;
use crate::world::{Seat, World};
use std::collections::BTreeSet;
use undoubt_coordinator_core::standing::Verdict;
use undoubt_vocabulary::{KnownAttempt, KnownState, TxId, WriteNumber};

pub(crate) use losses::Lost;
pub(crate) use rival::{Beside, Rival};

/// The log's id of a participant whose folder was emptied.
const ANOTHER_LOG: [u8; 16] = [0xee; 16];

/// A machine whose folder may be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    Coordinator,
    /// A copy of the coordinator, started beside the original.
    Copy,
    Participant(usize),
}

/// An action on a folder, or one before everybody serves again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Restoring {
    Copy,
    /// The machine crashes, and starts over the copy. `sign`: the folder shows it.
    PutBack {
        sign: bool,
    },
    /// A participant crashes, and starts over nothing.
    Empty,
    /// The coordinator asks a participant what it has seen.
    Recall {
        participant: usize,
    },
    /// The coordinator waits no longer for those that have not answered.
    TimeIsOver,
    /// A participant sees that its session is over.
    SessionClosed {
        participant: usize,
    },
    /// An operator accepts what the coordinator's log has lost, and does not wait for who has not answered. Somebody always does.
    AcceptLoss,
    /// An operator accepts what a participant has lost. Somebody always does.
    AcceptLossOf {
        participant: usize,
    },
    Beside(Beside),
}

/// The facts about folders that nobody in the world knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Restored {
    pub(crate) copy: Option<Copy>,
    pub(crate) rival: Option<Rival>,
    pub(crate) lost: Option<Lost>,
    /// An operator has accepted the loss.
    pub(crate) accepted: bool,
    /// The coordinator has served over a log that lacks something, and this could not be noticed: see [`Lost::is_unnoticeable`].
    pub(crate) unnoticed: bool,
    /// The transactions that had come to something when the loss was accepted, and of which nobody that was asked knew
    /// anything.
    pub(crate) forgotten: BTreeSet<TxId>,
    /// The transactions of which somebody knew something then, but not that they had committed.
    pub(crate) doubtful: BTreeSet<TxId>,
    /// The coordinator has met the participant since its loss was accepted.
    pub(crate) is_met: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Copy {
    Log(Box<Log>),
    Storage(Box<Storage>),
}

impl World {
    /// Adds what can happen to folders now.
    pub(crate) fn restoring(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let Some(machine) = scenario.restored else { return };
        let mut possible = Vec::new();
        if self.budget.restores > 0 {
            self.faults(machine, &mut possible);
        }
        self.while_it_stands(&mut possible);
        self.beside(machine, &mut possible);
        let put_back = (0..self.seats.len()).filter(|participant| self.seats[*participant].host.is_put_back());
        possible.extend(put_back.map(|participant| Restoring::AcceptLossOf { participant }));
        actions.extend(possible.into_iter().map(Action::Restoring));
    }

    fn faults(&self, machine: Machine, possible: &mut Vec<Restoring>) {
        match (&self.restored.copy, machine) {
            (None, _) => possible.push(Restoring::Copy),
            (Some(_), Machine::Copy) => {}
            (Some(copy), Machine::Coordinator | Machine::Participant(_)) => {
                if !self.is_as_copied(copy, machine) {
                    possible.push(Restoring::PutBack { sign: false });
                }
                possible.push(Restoring::PutBack { sign: true });
            }
        }
        match machine {
            Machine::Coordinator | Machine::Copy => {}
            Machine::Participant(_) => possible.push(Restoring::Empty),
        }
    }

    fn while_it_stands(&self, possible: &mut Vec<Restoring>) {
        let standing = self.coordinator.process.as_ref().and_then(|process| process.standing.as_ref());
        let Some(standing) = standing else { return };
        possible.extend(self.that_are_up().map(|participant| Restoring::Recall { participant }));
        match standing.verdict() {
            Verdict::Asking => possible.push(Restoring::TimeIsOver),
            Verdict::Held => {
                if standing.rivals().next().is_none() {
                    possible.push(Restoring::AcceptLoss);
                }
                let open = self.that_are_up().filter(|participant| self.has_session(*participant));
                possible.extend(open.map(|participant| Restoring::SessionClosed { participant }));
            }
            Verdict::Clear => {}
        }
    }

    fn that_are_up(&self) -> impl Iterator<Item = usize> {
        (0..self.seats.len()).filter(|participant| self.seats[*participant].host.process.is_some())
    }

    fn has_session(&self, participant: usize) -> bool {
        self.seats[participant].host.process.as_ref().is_some_and(|process| process.session.is_some())
    }

    fn is_as_copied(&self, copy: &Copy, machine: Machine) -> bool {
        match (copy, machine) {
            (Copy::Log(log), _) => **log == self.coordinator.log,
            (Copy::Storage(storage), Machine::Participant(number)) => **storage == self.seats[number].host.storage,
            (Copy::Storage(_), Machine::Coordinator | Machine::Copy) => false,
        }
    }

    pub(crate) fn restore(&mut self, restoring: &Restoring, machines: &mut Machines<'_>) -> Step {
        let Some(machine) = machines.scenario.restored else { return Ok(()) };
        match restoring {
            Restoring::Copy => {
                let copy = match machine {
                    Machine::Coordinator | Machine::Copy => Copy::Log(Box::new(self.coordinator.log.clone())),
                    Machine::Participant(number) => Copy::Storage(Box::new(self.seats[number].host.storage.clone())),
                };
                self.restored.change(|restored| restored.copy = Some(copy));
                Ok(())
            }
            Restoring::PutBack { sign } => {
                let copy = self.restored.change(|restored| restored.copy.take());
                self.put_back(machine, copy, *sign, machines)
            }
            Restoring::Empty => {
                self.restored.change(|restored| restored.copy = None);
                self.put_back(machine, None, false, machines)
            }
            Restoring::Recall { participant } => self.recall(*participant, machines),
            Restoring::TimeIsOver => self.coordinator(coordinator::Act::TimeIsOver, machines),
            Restoring::SessionClosed { participant } => {
                self.participant(*participant, participant::Act::SessionClosed, machines)
            }
            Restoring::AcceptLoss => self.accept_loss(machines),
            Restoring::AcceptLossOf { participant } => {
                self.restored.change(|restored| restored.accepted = true);
                self.participant(*participant, participant::Act::AcceptLoss, machines)
            }
            Restoring::Beside(beside) => self.go_on_beside(beside, machines),
        }
    }

    /// `copy`: none, if it starts over nothing.
    fn put_back(&mut self, machine: Machine, copy: Option<Copy>, sign: bool, machines: &mut Machines<'_>) -> Step {
        self.budget.restores -= 1;
        match (machine, copy) {
            (Machine::Coordinator, Some(Copy::Log(mut log))) => {
                self.lose(Lost::between(log.numbers.as_ref(), self.coordinator.log.numbers.as_ref(), sign));
                log.numbers.iter_mut().for_each(|numbers| numbers.put_back = why(sign));
                self.coordinator(coordinator::Act::Crash { written: 0 }, machines)?;
                self.coordinator_has_ended(machines.scenario);
                self.coordinator(coordinator::Act::PutBack { log }, machines)
            }
            (Machine::Participant(number), copy) => {
                let mut storage = match copy {
                    Some(Copy::Storage(storage)) => storage,
                    Some(Copy::Log(_)) | None => Box::default(),
                };
                let last = self.seats[number].host.storage.numbers.as_ref();
                self.lose(Lost::between(storage.numbers.as_ref(), last, sign));
                storage.numbers.get_or_insert_with(|| Numbers::new(ANOTHER_LOG)).put_back = why(sign);
                storage.unforced.clear();
                self.participant(number, participant::Act::PutBack { storage }, machines)
            }
            (Machine::Coordinator, Some(Copy::Storage(_)) | None) | (Machine::Copy, _) => Ok(()),
        }
    }

    fn lose(&mut self, lost: Lost) {
        self.restored.change(|restored| restored.lost = Some(lost));
    }

    /// Request and answer.
    fn recall(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        let shown = self.seen_of(participant);
        self.shown_to(participant, shown, machines.scenario);
        self.participant(participant, participant::Act::Recall { shown }, machines)?;
        let host = &self.seats[participant].host;
        let Some(told) = host.recalled(machines.scenario.mutant) else { return Ok(()) };
        let seen = host.process.as_ref().map(|process| process.seen).unwrap_or_default();
        self.of_lost_log(machines.scenario, |lost| lost.asked(participant, &seen));
        self.coordinator(coordinator::Act::Recalled { participant, answer: told }, machines)
    }

    /// Notes something of what the coordinator has lost, if its log was put back.
    pub(crate) fn of_lost_log(&mut self, scenario: &Scenario, note: impl FnOnce(&mut Lost)) {
        if matches!(scenario.restored, Some(Machine::Coordinator | Machine::Copy)) && self.restored.lost.is_some() {
            self.restored.change(|restored| restored.lost.as_mut().map(note));
        }
    }

    /// Notes that a participant, if its folder was put back, is shown something of what is gone.
    pub(crate) fn shown_to(&mut self, participant: usize, shown: Option<WriteNumber>, scenario: &Scenario) {
        let lost = self.restored.lost.as_ref().filter(|_| scenario.restored == Some(Machine::Participant(participant)));
        if lost.zip(shown).is_some_and(|(lost, shown)| lost.has_write(&shown)) {
            self.restored.change(|restored| restored.lost.iter_mut().for_each(Lost::is_shown));
        }
    }

    /// Returns what the coordinator has seen of a participant's log.
    pub(crate) fn seen_of(&self, participant: usize) -> Option<WriteNumber> {
        let process = self.coordinator.process.as_ref()?;
        process.seen.get(&participant_name(participant)).copied()
    }

    fn accept_loss(&mut self, machines: &mut Machines<'_>) -> Step {
        let standing = self.coordinator.process.as_ref().and_then(|process| process.standing.as_ref());
        let absent: BTreeSet<_> = standing.into_iter().flat_map(|standing| standing.missing().cloned()).collect();
        let asked = self.that_are_up().filter(|participant| !absent.contains(&participant_name(*participant)));
        let known: Vec<(usize, Vec<KnownAttempt>)> =
            asked.map(|participant| (participant, self.seats[participant].host.known())).collect();
        let about = |tx: &TxId, state: fn(&KnownAttempt) -> bool| {
            known.iter().flat_map(|(_, attempts)| attempts).any(|known| known.tx == *tx && state(known))
        };
        let all: BTreeSet<TxId> = machines.scenario.requests.iter().map(Request::tx).collect();
        let has = |tx: &TxId| self.coordinator.log.has(tx);
        let committed = |tx: &TxId| about(tx, |known| known.state == KnownState::Committed);
        let (doubtful, unknown): (BTreeSet<TxId>, BTreeSet<TxId>) =
            all.into_iter().filter(|tx| !has(tx) && !committed(tx)).partition(|tx| about(tx, |_| true));
        // Whoever is away may be at work on any of them.
        let is_gone = |tx: &TxId| !absent.is_empty() || self.has_come_to_something(tx);
        let forgotten = unknown.into_iter().filter(is_gone).collect();
        self.restored.change(|restored| {
            (restored.accepted, restored.forgotten, restored.doubtful) = (true, forgotten, doubtful);
        });
        let known = if machines.scenario.mutant == Some(Mutant::NothingTakenBack) { Vec::new() } else { known };
        self.coordinator(coordinator::Act::AcceptLoss { known }, machines)
    }

    /// Returns true if a client was told of it, or a participant has done something for it that has not been undone.
    fn has_come_to_something(&self, tx: &TxId) -> bool {
        let is_done = |seat: &Seat| {
            let storage = &seat.host.storage;
            !storage.has_committed(tx).is_empty() || storage.came_of(tx).next().is_some()
        };
        self.clients.told.contains_key(tx) || self.seats.iter().any(is_done)
    }

    /// Notes that somebody serves over a log that was put back, and nobody could tell.
    pub(crate) fn notice(&mut self, scenario: &Scenario) {
        let (Some(machine), Some(lost)) = (scenario.restored, &self.restored.lost) else { return };
        if self.restored.accepted || self.restored.unnoticed {
            return;
        }
        let unnoticed = match machine {
            Machine::Coordinator | Machine::Copy => {
                let serves = self.coordinator.process.as_ref().is_some_and(|process| process.is_serving());
                if serves && lost.is_cleared(self.seats.len()) {
                    self.restored.change(|restored| restored.lost.iter_mut().for_each(|lost| lost.is_settled = true));
                }
                serves && self.restored.lost.as_ref().is_some_and(Lost::is_unnoticeable)
            }
            Machine::Participant(number) => {
                self.has_session(number) && lost.is_unnoticeable() && !self.is_witnessed(number, lost)
            }
        };
        if unnoticed {
            self.restored.change(|restored| restored.unnoticed = true);
        }
    }

    /// Returns true if the coordinator has seen, in memory or on stable storage, something of what a participant has lost.
    pub(crate) fn is_witnessed(&self, participant: usize, lost: &Lost) -> bool {
        let stored = self.coordinator.log.witnessed.get(&participant_name(participant)).copied();
        stored.into_iter().chain(self.seen_of(participant)).any(|seen| lost.has_write(&seen))
    }

    /// A start has asked nobody yet.
    pub(crate) fn ask_anew(&mut self) {
        if self.restored.lost.is_some() {
            self.restored.change(|restored| restored.lost.iter_mut().for_each(Lost::ask_anew));
        }
    }
}

fn why(sign: bool) -> Option<String> {
    sign.then(|| "the folder was copied".to_owned())
}
