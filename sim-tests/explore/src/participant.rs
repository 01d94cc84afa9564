//! Drives one participant's core: the contract of [`undoubt_participant_core`] in small.

mod standing;

use crate::mutant::Mutant;
use crate::network::Body;
use crate::part::Part;
use crate::resource::{Call, Caller, LocksOf, Memory, Resource, Upset};
use crate::scenario::Enlisting;
use crate::storage::{COORDINATOR, Storage};
use undoubt_participant_core::{
    Answer, AskedAbout, BranchId, Effect, Hello, Heuristic, Input, Limits, Operator, Participant, Proof, Release, Seen,
    Session, StepId, Trust,
};
use undoubt_vocabulary::{
    AttemptNumber, BranchOutcome, Epoch, Execution, Timestamp, ToCoordinator, TxId, Vote, WriteNumber,
};

/// One participant's machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParticipantHost {
    pub(crate) storage: Storage,
    /// The mark of its next start.
    pub(crate) mark: u64,
    /// `None`: crashed.
    pub(crate) process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) core: Participant,
    /// The number that it has seen of the coordinator's log, stored with the next forced write.
    pub(crate) seen: Seen,
    pub(crate) memory: Memory,
    /// A hello whose epoch is being written.
    pub(crate) joining: Option<(u64, Epoch)>,
    /// The one session that is listened to.
    pub(crate) session: Option<u64>,
}

/// An event that can happen to a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Message {
        session: u64,
        body: Part<Body>,
    },
    RecordEpoch,
    CarryOn {
        caller: Caller,
    },
    GiveUp {
        caller: Caller,
    },
    Sweep,
    /// The resource looks at what is prepared.
    Find,
    /// An application prepares something by itself.
    Enlist {
        tx: TxId,
        enlisting: Enlisting,
    },
    AskAbout {
        tx: TxId,
    },
    UndoUnsubmitted,
    Resolve {
        tx: TxId,
        commit: bool,
    },
    /// An operator releases the semantic locks of a saga.
    ReleaseMarks {
        tx: TxId,
    },
    Upset(Upset),
    Crash {
        kept: usize,
    },
    Restart,
    /// The participant starts over other storage.
    PutBack {
        storage: Box<Storage>,
    },
    /// A coordinator asks what is known of its log.
    Recall {
        shown: Option<WriteNumber>,
    },
    /// The participant sees that a session is over.
    SessionClosed,
    /// An operator accepts what it has lost.
    AcceptLoss,
    /// The writes are all on stable storage.
    BecomeStable,
}

/// A message that a participant puts on the wire, by its session.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) session: u64,
    pub(crate) body: Part<Body>,
}

/// The differences of a host from a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Manner {
    pub(crate) mutant: Option<Mutant>,
    pub(crate) sees_ages_upside_down: bool,
    /// Commits are done at once, where no other transaction can see that they aren't: see [the crate](crate).
    pub(crate) commits_at_once: bool,
    pub(crate) calls_services: bool,
    pub(crate) keeps_evidence_alone: bool,
}

impl ParticipantHost {
    /// Returns what it sent; and the rule that was broken, if any was.
    pub(crate) fn act(&mut self, act: &Act, manner: Manner, sent: &mut Vec<Sent>) -> Result<(), String> {
        match act {
            Act::Crash { kept } => {
                self.storage.crash(*kept, manner.mutant);
                if manner.keeps_evidence_alone {
                    self.storage.find_committed();
                }
                self.process = None;
                return Ok(());
            }
            Act::Restart => {
                self.start(manner);
                return Ok(());
            }
            Act::PutBack { storage } => {
                self.storage = (**storage).clone();
                self.mark += 1;
                self.start(manner);
                return Ok(());
            }
            Act::BecomeStable => {
                self.storage.unforced.clear();
                return Ok(());
            }
            Act::Message { .. }
            | Act::RecordEpoch
            | Act::CarryOn { .. }
            | Act::GiveUp { .. }
            | Act::Sweep
            | Act::Find
            | Act::Enlist { .. }
            | Act::AskAbout { .. }
            | Act::UndoUnsubmitted
            | Act::Upset(_)
            | Act::ReleaseMarks { .. }
            | Act::Resolve { .. }
            | Act::Recall { .. }
            | Act::SessionClosed
            | Act::AcceptLoss => {}
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let before = self.storage.number();
        let mut running = Running { process, storage: &mut self.storage, manner, mark: self.mark, sent };
        running.act(act)?;
        if manner.commits_at_once {
            running.finish_commits()?;
        }
        if self.storage.number() != before && manner.mutant != Some(Mutant::SeenUnstored) {
            self.storage.seen = process.seen;
        }
        Ok(())
    }

    fn start(&mut self, manner: Manner) {
        let mutant = manner.mutant;
        if mutant == Some(Mutant::SettlingCalledCommitted) {
            self.storage.believe_settled();
        }
        self.storage.begin(self.mark, mutant);
        self.process = Some(Process::start(&self.storage, manner));
        if mutant == Some(Mutant::SignUnstored) {
            self.storage.numbers.iter_mut().for_each(|numbers| numbers.put_back = None);
        }
    }
}

/// However short, a result of what is over is with the resource: so the ways of results that are recalled are explored.
const LARGEST_KEPT_BYTES: usize = 0;

impl Process {
    fn start(storage: &Storage, Manner { mutant, keeps_evidence_alone, .. }: Manner) -> Process {
        let mut core = Participant::new(Limits {
            max_open_branches: 16,
            largest_kept_bytes: LARGEST_KEPT_BYTES,
            trust: Trust::EVERYBODY,
        });
        let mut effects = Vec::new();
        for recovered in storage.recovered(mutant, keeps_evidence_alone) {
            core.handle_input(Input::Recovered(recovered), &mut effects);
        }
        let (mut memory, seen) = (Memory::recovered(storage, mutant), storage.seen);
        for effect in effects {
            let call = if let Effect::Abort { branch } = effect {
                Call::Abort { branch }
            } else if let Effect::Settle { branch } = effect {
                Call::ClearUp { branch, execution: Execution::OnePhase }
            } else {
                panic!("recovery has an effect that ends nothing: {effect:?}")
            };
            memory.call(call, mutant).expect("each branch is recovered once");
        }
        Process { core, seen, memory, joining: None, session: None }
    }

    /// Transactions whose branch an operator may resolve.
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = TxId> + '_ {
        self.core.views().filter(|view| view.in_doubt).map(|view| view.id.tx)
    }
}

impl Process {
    /// Returns true if the resource is at work on a step of this saga, or on its semantic locks.
    pub(crate) fn is_at_work_on(&self, saga: &TxId) -> bool {
        self.memory.calls.keys().any(|caller| match caller {
            Caller::Step(step) => step.tx == *saga,
            Caller::Saga(_, tx) => tx == saga,
            Caller::Branch(_) => false,
        })
    }
}

struct Running<'a> {
    process: &'a mut Process,
    storage: &'a mut Storage,
    manner: Manner,
    mark: u64,
    sent: &'a mut Vec<Sent>,
}

impl Running<'_> {
    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Message { session, body } => match &**body {
                Body::Hello { epoch, number, shown } => self.hello(*session, *epoch, *number, *shown),
                Body::ToParticipant { low_water_mark, writes, message } => {
                    let (session, low_water_mark, message) =
                        (Session(*session), low_water_mark.clone(), message.clone());
                    self.handle_input(Input::Seen { session, writes: *writes })?;
                    self.handle_input(Input::LowWaterMark { session, low_water_mark })?;
                    if let Some((_, tx)) = self.process.core.nobody_submits(session, &message) {
                        self.process.memory.unsubmitted.insert(tx);
                        return Ok(());
                    }
                    self.handle_input(Input::Message { session, message })
                }
                Body::Welcome { .. } | Body::Refused(_) | Body::ToCoordinator { .. } => Ok(()),
            },
            Act::RecordEpoch => {
                let Some((session, epoch)) = self.process.joining else { return Ok(()) };
                if self.manner.mutant != Some(Mutant::EpochUnrecorded) {
                    self.storage.record_epoch(epoch);
                }
                self.handle_input(Input::EpochRecorded { session: Session(session) })
            }
            Act::CarryOn { caller } => self.carry_on(caller),
            Act::GiveUp { caller } => match self.process.memory.give_up(caller) {
                Some(input) => self.handle_input(input),
                None => Ok(()),
            },
            Act::Sweep => self.sweep(),
            Act::Find => {
                let found = self.resource().find();
                found.into_iter().try_for_each(|input| self.handle_input(input))
            }
            Act::Enlist { tx, enlisting } => {
                self.resource().enlist(tx, *enlisting);
                Ok(())
            }
            Act::AskAbout { tx } => self.ask_about(tx),
            Act::UndoUnsubmitted => self.resource().undo_unsubmitted(),
            Act::Upset(upset) => self.upset(upset),
            Act::Resolve { tx, commit } => {
                let (tx, heuristic) = (tx.clone(), heuristic(*commit));
                self.handle_input(Input::Resolve { tx, heuristic, operator: Operator(0) })
            }
            Act::ReleaseMarks { tx } => {
                let release = Release { at: Timestamp(0), who: String::new(), reason: String::new() };
                let (coordinator, tx, operator) = (COORDINATOR, tx.clone(), Operator(0));
                self.handle_input(Input::ReleaseMarks { coordinator, tx, release, operator })
            }
            Act::Recall { shown } => self.recall(*shown),
            Act::SessionClosed => self.session_closed(),
            Act::AcceptLoss => self.accept_loss(),
            Act::Crash { .. } | Act::Restart | Act::PutBack { .. } | Act::BecomeStable => Ok(()),
        }
    }

    fn hello(
        &mut self,
        session: u64,
        epoch: Epoch,
        number: Option<WriteNumber>,
        shown: Option<WriteNumber>,
    ) -> Result<(), String> {
        let highest = self.storage.epoch.unwrap_or(epoch);
        let said = if self.manner.mutant == Some(Mutant::LowerEpochAccepted) { epoch.max(highest) } else { epoch };
        let hello = Hello {
            coordinator: COORDINATOR,
            proof: Proof::default(),
            name: String::new(),
            epoch: said,
            number,
            shown: self.looked_at(shown),
        };
        self.handle_input(Input::Hello { session: Session(session), hello })?;
        if epoch < highest && self.process.session == Some(session) {
            return Err(format!("R5: epoch {} is let in, after epoch {}", epoch.0, highest.0));
        }
        Ok(())
    }

    /// Asks about what an application has prepared by itself.
    fn ask_about(&mut self, tx: &TxId) -> Result<(), String> {
        let Some(enlisted) = self.storage.enlisted.get(tx) else { return Ok(()) };
        match self.process.core.ask_about_unsubmitted(enlisted.coordinator, tx.clone()) {
            AskedAbout::ByNobody => drop(self.process.memory.unsubmitted.insert(tx.clone())),
            AskedAbout::Later => {}
            AskedAbout::In(session, message) => {
                let number = self.storage.number();
                self.send(session, Body::ToCoordinator { number, message });
            }
        }
        Ok(())
    }

    /// Sweeps until something is asked: what came up since the last sweep is asked about at the next one only.
    fn sweep(&mut self) -> Result<(), String> {
        self.handle_input(Input::SweepDue)?;
        if self.sent.is_empty() { self.handle_input(Input::SweepDue) } else { Ok(()) }
    }

    fn carry_on(&mut self, caller: &Caller) -> Result<(), String> {
        let input = self.resource().carry_on(caller)?;
        input.map_or(Ok(()), |input| self.handle_input(input))
    }

    fn upset(&mut self, upset: &Upset) -> Result<(), String> {
        let input = self.resource().upset(upset)?;
        input.map_or(Ok(()), |input| self.handle_input(input))
    }

    fn resource(&mut self) -> Resource<'_> {
        let Manner { mutant, sees_ages_upside_down, calls_services, commits_at_once: _, keeps_evidence_alone: _ } =
            self.manner;
        let (memory, storage) = (&mut self.process.memory, &mut *self.storage);
        Resource { memory, storage, mutant, sees_ages_upside_down, calls_services }
    }

    fn finish_commits(&mut self) -> Result<(), String> {
        let calls = self.process.memory.calls.iter();
        let commits = calls.filter(|(_, call)| matches!(call, Call::Commit { .. }));
        let commits: Vec<Caller> = commits.map(|(caller, _)| caller.clone()).collect();
        commits.iter().try_for_each(|caller| self.carry_on(caller))
    }

    /// Carries out the effects in order.
    fn handle_input(&mut self, input: Input) -> Result<(), String> {
        let mut effects = Vec::new();
        self.process.core.handle_input(input, &mut effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        let process = &mut *self.process;
        match effect {
            Effect::RecordEpoch { session, epoch, .. } => process.joining = Some((session.0, epoch)),
            Effect::RecordPin { .. } => return Err("a key is pinned that no operator asked for".to_owned()),
            Effect::Welcome { session, seen } => {
                process.joining = None;
                process.session = Some(session.0);
                let seen = seen.filter(|_| self.manner.mutant != Some(Mutant::SeenUntold));
                self.send(session, Body::Welcome { number: self.storage.number(), seen });
                if self.process.core.coordinators().any(|known| Some(known.epoch) != self.storage.epoch) {
                    return Err("R5: a session is let in before its epoch is durable".to_owned());
                }
            }
            Effect::Close { session, why } => {
                if self.storage.numbers.is_some() && process.session != Some(session.0) {
                    self.send(session, Body::Refused(why));
                }
                let process = &mut *self.process;
                process.session = process.session.filter(|open| *open != session.0);
                process.joining = process.joining.filter(|(joining, _)| *joining != session.0);
            }
            Effect::Send { message: ToCoordinator::Inquiry { tx, attempt_number }, .. }
                if self.manner.mutant == Some(Mutant::EvidenceUnasked)
                    && self.storage.is_evident(&tx, attempt_number) => {}
            Effect::Send { session, mut message } => {
                if let (ToCoordinator::Finished { outcome, .. }, Some(Mutant::PassedCalledAborted)) =
                    (&mut message, self.manner.mutant)
                    && *outcome == BranchOutcome::Unknown
                {
                    *outcome = BranchOutcome::Aborted;
                }
                if let (ToCoordinator::Finished { outcome, .. }, Some(Mutant::OtherHandUnreported)) =
                    (&mut message, self.manner.mutant)
                {
                    *outcome = as_told(*outcome);
                }
                check_sent(&message, self.storage)?;
                let mut number = self.storage.number();
                if let (Some(number), Some(Mutant::UnstableNumbered)) = (&mut number, self.manner.mutant) {
                    number.writes = self.storage.numbers.as_ref().map_or(0, |numbers| numbers.writes);
                }
                self.send(session, Body::ToCoordinator { number, message });
            }
            Effect::Execute { branch, prepare } => {
                self.call(Call::Execute { branch, prepare, locks: LocksOf::NotAsked, cancelled: false })?;
            }
            Effect::Cancel { branch } => process.memory.cancel(&Caller::Branch(branch.tx)),
            Effect::Confirm { branch } => self.call(Call::Confirm { branch })?,
            Effect::Commit { branch } => self.call(Call::Commit { branch })?,
            Effect::Abort { branch } => self.call(Call::Abort { branch })?,
            Effect::Settle { .. } => {
                return Err("contract: a branch is settled that no crash has interrupted".to_owned());
            }
            Effect::Resolve { branch, heuristic } => self.resolve(branch, heuristic)?,
            Effect::Release { branch } => self.resource().undo(&branch),
            Effect::StoreHeuristic { branch, .. } if self.manner.mutant == Some(Mutant::OtherHandUnstored) => {
                self.storage.prepared.remove(&branch.tx);
            }
            Effect::StoreHeuristic { branch, heuristic, .. } => self.storage.store_heuristic(&branch, heuristic)?,
            Effect::ForgetHeuristic { .. } => return Err("contract: nobody asked to forget it".to_owned()),
            Effect::Collect { .. } if self.manner.mutant == Some(Mutant::EvidenceCollected) => {
                let known = process.core.coordinators().map(|known| known.low_water_mark).max();
                self.storage.collect(known.unwrap_or_default());
            }
            Effect::Collect { low_water_mark, .. } if self.manner.mutant == Some(Mutant::StillOpenCollected) => {
                self.storage.collect(low_water_mark.below().into());
                self.storage.low_water_mark = low_water_mark;
            }
            Effect::Collect { low_water_mark, .. } => self.storage.collect(low_water_mark),
            Effect::Answer { answer, .. } => return self.check_answer(&answer),
            Effect::RunAction { step, run } => {
                self.call(Call::Act { step, run, locks: LocksOf::NotAsked, cancelled: false })?;
            }
            Effect::CancelAction { step } => process.memory.cancel(&Caller::Step(step)),
            // A question to the resource and its answer are one, as a write and its answer are.
            Effect::RecallVote { branch } => {
                let stored = self.storage.finished.get(&(branch.attempt_number, branch.tx.clone())).cloned();
                return stored.map_or(Ok(()), |result| self.handle_input(Input::VoteRecalled { branch, result }));
            }
            Effect::RecallOutcome { step, attempt } => {
                let stored = self.storage.result_of_step(&step).cloned();
                return stored
                    .map_or(Ok(()), |result| self.handle_input(Input::OutcomeRecalled { step, attempt, result }));
            }
            Effect::FinishStep { step, mut run, recall } => {
                if recall {
                    run.inputs.extend(self.storage.result_of_step(&step).cloned());
                }
                self.call(Call::Finish { step, run, locks: LocksOf::NotAsked })?;
            }
            Effect::StoreEmpty { step } => self.call(Call::StoreEmpty { step })?,
            Effect::CloseSaga { attempt_number, tx, .. } => self.call(Call::CloseSaga { attempt_number, tx })?,
            Effect::ReleaseMarks { attempt_number, tx, .. } => self.call(Call::ReleaseMarks { attempt_number, tx })?,
            Effect::RememberSeen { seen, .. } => process.seen = seen,
            Effect::RememberName { .. } => return Err("contract: coordinators have no names here".to_owned()),
            Effect::StorePutBack { why } => self.storage.store_put_back(why, self.manner.mutant)?,
            Effect::AcceptLoss { loss, operator } => {
                let starts = self.storage.accept_loss(&loss, self.mark, self.manner.mutant)?;
                return self.handle_input(Input::LossAccepted { starts, operator });
            }
        }
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        self.process.memory.call(call, self.manner.mutant)
    }

    fn resolve(&mut self, branch: BranchId, heuristic: Heuristic) -> Result<(), String> {
        self.call(Call::Resolve { branch: branch.clone(), heuristic })?;
        if self.manner.mutant == Some(Mutant::DecisionUnrecorded) {
            return self.handle_input(Input::Resolved { branch });
        }
        Ok(())
    }

    fn send(&mut self, session: Session, body: Body) {
        self.sent.push(Sent { session: session.0, body: Part::new(body) });
    }

    /// R3: what an operator decided is durable when that is answered.
    fn check_answer(&self, answer: &Answer) -> Result<(), String> {
        let mut decided = self.process.core.views().filter(|view| view.heuristic.is_some());
        let missing = decided.find(|view| !self.storage.heuristics.contains_key(&view.id.tx));
        match (answer, missing) {
            (Answer::Resolved(_), Some(view)) => {
                Err(format!("R3: the decision about {} is answered before it is durable", view.id.tx))
            }
            (
                Answer::Resolved(_)
                | Answer::Forgotten
                | Answer::Released
                | Answer::Pinned
                | Answer::LossAccepted { .. }
                | Answer::Rejected(_),
                _,
            ) => Ok(()),
        }
    }
}

pub(crate) fn heuristic(commit: bool) -> Heuristic {
    let (who, reason) = ("operator".to_owned(), "the coordinator is silent".to_owned());
    Heuristic { commit, at: Timestamp::default(), who, reason, decision: None }
}

/// Returns what a branch would say that had ended as it was told.
fn as_told(outcome: BranchOutcome) -> BranchOutcome {
    match outcome {
        BranchOutcome::HeuristicallyAborted => BranchOutcome::Committed,
        BranchOutcome::HeuristicallyCommitted => BranchOutcome::Aborted,
        BranchOutcome::Committed | BranchOutcome::Aborted | BranchOutcome::Unknown => outcome,
    }
}

/// R2: what a branch says of itself is durable by then.
fn check_sent(message: &ToCoordinator, storage: &Storage) -> Result<(), String> {
    let (tx, attempt_number): (&TxId, AttemptNumber) = (message.tx(), message.attempt_number());
    let durable = match message {
        ToCoordinator::Vote { vote: Vote::Prepared { .. }, .. } => storage.is_prepared(tx, attempt_number),
        ToCoordinator::Vote { vote: Vote::Committed { .. }, .. } => {
            storage.finished.contains_key(&(attempt_number, tx.clone()))
        }
        ToCoordinator::Finished { outcome: BranchOutcome::Committed, .. } => {
            // A read-only branch of the committed transaction: nothing was to be written.
            storage.has_committed(tx).contains(&attempt_number) || !storage.prepared.contains_key(tx)
        }
        ToCoordinator::Ran { step, direction, outcome, .. } => {
            let step = StepId { coordinator: COORDINATOR, attempt_number, step: *step, tx: tx.clone() };
            storage.has_come_to(&step, *direction, outcome)
        }
        ToCoordinator::Closed { .. } => {
            !storage.pending().any(|step| step.attempt_number == attempt_number && step.tx == *tx)
        }
        ToCoordinator::Vote { vote: Vote::ReadOnly { .. } | Vote::Refused(_), .. }
        | ToCoordinator::Confirmed { .. }
        | ToCoordinator::Finished { .. }
        | ToCoordinator::Inquiry { .. } => true,
    };
    if durable {
        Ok(())
    } else {
        Err(format!("R2: {} of {tx}/{attempt_number} is sent before it is durable", message.name()))
    }
}
