//! Drives one participant's core: the contract of [`undoubt_participant_core`] in small.

use super::mutant::Mutant;
use super::resource::{Call, LocksOf, Memory, Storage};
use undoubt_participant_core::{Effect, Input, Limits, Participant, Session};
use undoubt_vocabulary::{CoordinatorId, Epoch, ToCoordinator, TxId, Vote};

pub(crate) const COORDINATOR: CoordinatorId = CoordinatorId([7; 16]);

/// One participant's machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParticipantHost {
    pub(crate) storage: Storage,
    /// `None`: crashed.
    pub(crate) process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) core: Participant,
    pub(crate) memory: Memory,
    /// A hello whose epoch is being written.
    pub(crate) joining: Option<(u64, Epoch)>,
    /// The one session that is listened to.
    pub(crate) session: Option<u64>,
}

/// What a participant puts on the wire, by its session.
#[derive(Debug)]
pub(crate) enum Sent {
    Welcome { session: u64 },
    Message { session: u64, message: ToCoordinator },
}

impl Process {
    pub(crate) fn start(storage: &Storage, mutant: Option<Mutant>) -> Process {
        let mut core = Participant::new(Limits { max_open_branches: 16 });
        let mut effects = Vec::new();
        for recovered in storage.recovered() {
            core.handle(Input::Recovered(recovered), &mut effects);
        }
        assert!(effects.is_empty(), "recovery has no effects");
        Process { core, memory: Memory::recovered(storage, mutant), joining: None, session: None }
    }

    /// Handles the input and carries out its effects, in order. What it sent; and the rule that a message broke when it
    /// was sent, if any did.
    pub(crate) fn handle(&mut self, input: Input, storage: &mut Storage, sent: &mut Vec<Sent>) -> Result<(), String> {
        let mut effects = Vec::new();
        self.core.handle(input, &mut effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect, storage, sent))
    }

    fn carry_out(&mut self, effect: Effect, storage: &mut Storage, sent: &mut Vec<Sent>) -> Result<(), String> {
        match effect {
            Effect::RecordEpoch { session, epoch, .. } => self.joining = Some((session.0, epoch)),
            Effect::Welcome { session } => {
                self.joining = None;
                self.session = Some(session.0);
                sent.push(Sent::Welcome { session: session.0 });
                let stored = storage.epoch.map(|(_, epoch)| epoch);
                if self.core.coordinators().any(|known| Some(known.epoch) != stored) {
                    return Err("R5: a session was let in before its epoch was durable".to_owned());
                }
            }
            Effect::Close { session, .. } => {
                self.session = self.session.filter(|open| *open != session.0);
                self.joining = self.joining.filter(|(joining, _)| *joining != session.0);
            }
            Effect::Send { session, message } => {
                check_sent(&message, storage)?;
                sent.push(Sent::Message { session: session.0, message });
            }
            Effect::Execute { branch, prepare } => {
                self.call(Call::Execute { branch, prepare, locks: LocksOf::NotAsked, cancelled: false })?;
            }
            Effect::Cancel { branch } => {
                if let Some(Call::Execute { cancelled, .. }) = self.memory.calls.get_mut(&branch.tx) {
                    *cancelled = true;
                }
            }
            Effect::Commit { branch } => self.call(Call::Commit { branch })?,
            Effect::Abort { branch } => self.call(Call::Abort { branch })?,
            Effect::Resolve { branch, heuristic } => self.call(Call::Resolve { branch, heuristic })?,
            Effect::Release { branch } => self.memory.release(&branch.tx),
            Effect::NoteDecision { branch, heuristic } => {
                if let Some((_, _, stored)) = storage.heuristics.get_mut(&branch.tx) {
                    *stored = heuristic;
                }
            }
            Effect::ForgetHeuristic { branch } => {
                storage.heuristics.remove(&branch.tx);
            }
            // It need not be forced. One that is lost leaves records and an old fence together, as if it came later.
            Effect::Collect { fence, .. } => storage.collect(fence),
            Effect::Answer { .. } => {}
        }
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        let tx = match &call {
            Call::Execute { branch, .. } => branch.tx.clone(),
            Call::Commit { branch } | Call::Abort { branch } | Call::Resolve { branch, .. } => {
                self.memory.locks.leave(&branch.tx);
                branch.tx.clone()
            }
        };
        match self.memory.calls.insert(tx, call) {
            None => Ok(()),
            Some(earlier) => Err(format!("contract: the resource is asked while it is at {}", earlier.name())),
        }
    }

    pub(crate) fn hello(session: u64, epoch: Epoch) -> Input {
        Input::Hello { session: Session(session), coordinator: COORDINATOR, epoch }
    }

    /// Transactions whose branch an operator may resolve.
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = TxId> + '_ {
        self.core.views().filter(|view| view.in_doubt).map(|view| view.id.tx)
    }
}

/// R2: what a branch says of itself is durable by then.
fn check_sent(message: &ToCoordinator, storage: &Storage) -> Result<(), String> {
    let (tx, ticket) = (message.tx(), message.ticket());
    let durable = match message {
        ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. } => {
            storage.prepared.get(tx).is_some_and(|record| record.branch.ticket == ticket)
        }
        ToCoordinator::Vote { vote: Vote::Committed { .. }, .. } => {
            storage.committed.get(tx).is_some_and(|(branch, _)| branch.ticket == ticket)
        }
        ToCoordinator::Finished { outcome: undoubt_vocabulary::BranchOutcome::Committed, .. } => {
            storage.has_committed(tx).any(|committed| committed == ticket)
                // A read-only branch of the committed transaction: nothing was to be written.
                || !storage.prepared.contains_key(tx)
        }
        ToCoordinator::Vote { vote: Vote::ReadOnly { .. } | Vote::Refused(_), .. }
        | ToCoordinator::Confirmed { .. }
        | ToCoordinator::Finished { .. }
        | ToCoordinator::Inquiry { .. } => true,
    };
    if durable {
        Ok(())
    } else {
        Err(format!("R2: {} of {tx}/{ticket} was sent before it was durable", message.name()))
    }
}
