//! Folders that are copied and put back.
//!
//! Somebody copies a machine's folder, at any time and once; later the machine crashes, and starts over the copy, or over
//! nothing. So it goes on from any earlier state of its storage, whether of the same start or of an earlier one. What was
//! lost by it only [`Restored`] knows: the rules ask it whether what is not noticed could be.

use super::action::Action;
use super::coordinator::{self, Log};
use super::machines::Machines;
use super::mutant::Mutant;
use super::numbers::Numbers;
use super::participant::{self, ParticipantHost};
use super::scenario::{Request, Scenario, participant_name};
use super::step::Step;
use super::storage::Storage;
use super::world::World;
use std::collections::BTreeSet;
use undoubt_coordinator_core::standing::Verdict;
use undoubt_participant_core::Seen;
use undoubt_vocabulary::{KnownAttempt, KnownState, Start, TxId, WriteNumber};

/// The log's id of a participant whose folder was emptied.
const ANOTHER_LOG: [u8; 16] = [0xee; 16];

/// A machine whose folder may be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    Coordinator,
    Participant(usize),
}

/// What is done to a folder, and what is done before everybody serves again.
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
    /// An operator accepts what the coordinator's log has lost. Somebody always does.
    AcceptLoss,
    /// An operator accepts what a participant has lost. Somebody always does.
    AcceptLossOf {
        participant: usize,
    },
}

/// What nobody in the world knows of folders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Restored {
    pub(crate) copy: Option<Copy>,
    pub(crate) lost: Option<Lost>,
    /// An operator has accepted the loss.
    pub(crate) accepted: bool,
    /// The coordinator speaks, though its log has lost something: nobody that it had to ask has seen that.
    pub(crate) unnoticed: bool,
    /// Nobody that was asked when the loss was accepted still knew that these had committed.
    pub(crate) forgotten: BTreeSet<TxId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Copy {
    Log(Box<Log>),
    Storage(Box<Storage>),
}

/// The writes that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lost {
    /// The folder showed that it was put back.
    sign: bool,
    /// The last that there still is.
    kept: Option<WriteNumber>,
    /// The starts that came after it.
    starts: Vec<Start>,
    /// Who was asked since the last start.
    asked: BTreeSet<usize>,
    /// Somebody who was asked has seen one of them.
    shown: bool,
}

impl Lost {
    fn between(kept: Option<&Numbers>, last: &Numbers, sign: bool) -> Lost {
        let later = |start: &&Start| kept.is_none_or(|kept| !kept.begun.contains(start));
        let starts = last.begun.iter().filter(later).copied().collect();
        Lost { sign, kept: kept.map(Numbers::number), starts, asked: BTreeSet::new(), shown: false }
    }

    fn has(&self, seen: &Seen) -> bool {
        let written = |number: &WriteNumber| {
            let more = |kept: WriteNumber| number.start == kept.start && number.writes > kept.writes;
            self.starts.contains(&number.start) || self.kept.is_some_and(more)
        };
        seen.met.is_some_and(|met| self.starts.contains(&met)) || seen.number.as_ref().is_some_and(written)
    }

    /// Nobody who had to be asked has seen anything of it.
    fn is_excused(&self, participants: usize) -> bool {
        !self.shown && (!self.sign || self.asked.len() == participants)
    }
}

impl World {
    /// What can happen to folders now.
    pub(super) fn restoring(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let Some(machine) = scenario.restored else { return };
        let add = |restoring| actions.push(Action::Restoring(restoring));
        self.possible(machine).into_iter().for_each(add);
    }

    fn possible(&self, machine: Machine) -> Vec<Restoring> {
        let mut possible = Vec::new();
        if self.budget.restores > 0 {
            match &self.restored.copy {
                None => possible.push(Restoring::Copy),
                Some(copy) => {
                    if !self.is_as_copied(copy, machine) {
                        possible.push(Restoring::PutBack { sign: false });
                    }
                    possible.push(Restoring::PutBack { sign: true });
                }
            }
            match machine {
                Machine::Coordinator => {}
                Machine::Participant(_) => possible.push(Restoring::Empty),
            }
        }
        let standing = self.coordinator.process.as_ref().and_then(|process| process.standing.as_ref());
        if let Some(standing) = standing {
            let up = |participant: &usize| self.seats[*participant].host.process.is_some();
            let all = (0..self.seats.len()).filter(up);
            possible.extend(all.map(|participant| Restoring::Recall { participant }));
            match standing.verdict() {
                Verdict::Asking => possible.push(Restoring::TimeIsOver),
                Verdict::Held => {
                    if standing.missing().next().is_none() {
                        possible.push(Restoring::AcceptLoss);
                    }
                    let open = |host: &ParticipantHost| host.process.as_ref().is_some_and(|up| up.session.is_some());
                    let open = (0..self.seats.len()).filter(|participant| open(&self.seats[*participant].host));
                    possible.extend(open.map(|participant| Restoring::SessionClosed { participant }));
                }
                Verdict::Clear => {}
            }
        }
        let put_back = (0..self.seats.len()).filter(|participant| self.seats[*participant].host.is_put_back());
        possible.extend(put_back.map(|participant| Restoring::AcceptLossOf { participant }));
        possible
    }

    fn is_as_copied(&self, copy: &Copy, machine: Machine) -> bool {
        match (copy, machine) {
            (Copy::Log(log), _) => **log == self.coordinator.log,
            (Copy::Storage(storage), Machine::Participant(number)) => **storage == self.seats[number].host.storage,
            (Copy::Storage(_), Machine::Coordinator) => false,
        }
    }

    pub(super) fn restore(&mut self, restoring: &Restoring, machines: &mut Machines<'_>) -> Step {
        let Some(machine) = machines.scenario.restored else { return Ok(()) };
        match restoring {
            Restoring::Copy => {
                let copy = match machine {
                    Machine::Coordinator => Copy::Log(Box::new(self.coordinator.log.clone())),
                    Machine::Participant(number) => {
                        Copy::Storage(Box::new(self.seats[number].host.storage.clone()))
                    }
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
        }?;
        self.notice(machines.scenario);
        Ok(())
    }

    /// `copy`: none, if it starts over nothing.
    fn put_back(&mut self, machine: Machine, copy: Option<Copy>, sign: bool, machines: &mut Machines<'_>) -> Step {
        self.budget.restores -= 1;
        let why = sign.then(|| "the folder was copied".to_owned());
        match (machine, copy) {
            (Machine::Coordinator, Some(Copy::Log(mut log))) => {
                self.lose(Lost::between(log.numbers.as_ref(), last(self.coordinator.log.numbers.as_ref()), sign));
                log.numbers.iter_mut().for_each(|numbers| numbers.put_back = why.clone());
                self.coordinator(coordinator::Act::Crash { written: 0 }, machines)?;
                self.coordinator_has_ended(machines.scenario);
                self.coordinator(coordinator::Act::PutBack { log }, machines)
            }
            (Machine::Participant(number), copy) => {
                let mut storage = match copy {
                    Some(Copy::Storage(storage)) => storage,
                    Some(Copy::Log(_)) | None => Box::default(),
                };
                self.lose(Lost::between(storage.numbers.as_ref(), last(self.seats[number].host.storage.numbers.as_ref()), sign));
                let numbers = storage.numbers.get_or_insert_with(|| Numbers::new(ANOTHER_LOG));
                numbers.put_back = why;
                storage.unforced.clear();
                self.participant(number, participant::Act::PutBack { storage }, machines)
            }
            (Machine::Coordinator, Some(Copy::Storage(_)) | None) => Ok(()),
        }
    }

    fn lose(&mut self, lost: Lost) {
        self.restored.change(|restored| restored.lost = Some(lost));
    }

    /// Question and answer.
    fn recall(&mut self, participant: usize, machines: &mut Machines<'_>) -> Step {
        let shown = self.seen_of(participant);
        self.participant(participant, participant::Act::Recall { shown }, machines)?;
        let host = &self.seats[participant].host;
        let Some(told) = host.recalled(machines.scenario.mutant) else { return Ok(()) };
        let seen = host.process.as_ref().map(|process| process.seen).unwrap_or_default();
        if machines.scenario.restored == Some(Machine::Coordinator) && self.restored.lost.is_some() {
            self.restored.change(|restored| {
                let lost = restored.lost.iter_mut();
                lost.for_each(|lost| {
                    lost.asked.insert(participant);
                    lost.shown |= lost.has(&seen);
                });
            });
        }
        self.coordinator(coordinator::Act::Told { participant, told }, machines)
    }

    /// What the coordinator has seen of a participant's log.
    pub(super) fn seen_of(&self, participant: usize) -> Option<WriteNumber> {
        let process = self.coordinator.process.as_ref()?;
        process.seen.get(&participant_name(participant)).copied()
    }

    fn accept_loss(&mut self, machines: &mut Machines<'_>) -> Step {
        let known: Vec<(usize, Vec<KnownAttempt>)> =
            (0..self.seats.len()).map(|participant| (participant, self.seats[participant].host.known())).collect();
        let committed = |tx: &TxId| {
            let mut attempts = known.iter().flat_map(|(_, attempts)| attempts);
            attempts.any(|known| known.tx == *tx && known.state == KnownState::Committed)
        };
        let all: BTreeSet<TxId> = machines.scenario.requests.iter().map(Request::tx).collect();
        let forgotten = all.into_iter().filter(|tx| !committed(tx)).collect();
        self.restored.change(|restored| (restored.accepted, restored.forgotten) = (true, forgotten));
        let known = if machines.scenario.mutant == Some(Mutant::NothingTakenBack) { Vec::new() } else { known };
        self.coordinator(coordinator::Act::AcceptLoss { known }, machines)
    }

    /// Whether the coordinator speaks though nobody could show it what it has lost.
    fn notice(&mut self, scenario: &Scenario) {
        let speaks = self.coordinator.process.as_ref().is_some_and(|process| process.is_serving());
        let is_new = |lost: &Lost| speaks && !self.restored.accepted && !self.restored.unnoticed && lost.is_excused(scenario.participants);
        if scenario.restored == Some(Machine::Coordinator) && self.restored.lost.as_ref().is_some_and(is_new) {
            self.restored.change(|restored| restored.unnoticed = true);
        }
    }

    /// A start has asked nobody yet.
    pub(super) fn ask_anew(&mut self) {
        if self.restored.lost.is_some() {
            self.restored.change(|restored| restored.lost.iter_mut().for_each(|lost| lost.asked.clear()));
        }
    }
}

fn last(numbers: Option<&Numbers>) -> &Numbers {
    numbers.expect("what is put back is numbered")
}

impl Restoring {
    /// Its name among the faults, if it is one.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Restoring::PutBack { sign: true } => Some("put back, and shows it"),
            Restoring::PutBack { sign: false } => Some("put back"),
            Restoring::Empty => Some("emptied"),
            Restoring::Copy
            | Restoring::Recall { .. }
            | Restoring::TimeIsOver
            | Restoring::SessionClosed { .. }
            | Restoring::AcceptLoss
            | Restoring::AcceptLossOf { .. } => None,
        }
    }

    /// Who does what.
    pub(super) fn tell(&self, scenario: &Scenario) -> (String, String) {
        let whose = match scenario.restored {
            Some(Machine::Participant(number)) => format!("p{number}"),
            Some(Machine::Coordinator) | None => "the coordinator".to_owned(),
        };
        let (who, what) = match self {
            Restoring::Copy => ("SOMEBODY", format!("copies the folder of {whose}")),
            Restoring::PutBack { sign: true } => ("SOMEBODY", format!("PUTS BACK the copy of the folder of {whose}, which shows it")),
            Restoring::PutBack { sign: false } => ("SOMEBODY", format!("PUTS BACK the copy of the folder of {whose}")),
            Restoring::Empty => ("SOMEBODY", format!("EMPTIES the folder of {whose}")),
            Restoring::Recall { participant } => ("coordinator", format!("asks p{participant} what it has seen")),
            Restoring::TimeIsOver => ("time", "passes: the coordinator waits for no more answers".to_owned()),
            Restoring::SessionClosed { participant } => return (format!("p{participant}"), "sees that its session is over".to_owned()),
            Restoring::AcceptLoss => ("OPERATOR", "accepts what the coordinator has lost".to_owned()),
            Restoring::AcceptLossOf { participant } => ("OPERATOR", format!("accepts what p{participant} has lost")),
        };
        (who.to_owned(), what)
    }
}
