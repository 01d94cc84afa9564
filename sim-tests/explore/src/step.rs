//! The steps: what an action makes of a world.

use crate::action::Action;
use crate::check::{self, is_excused, is_hazard, is_unknown};
use crate::coordinator::{self, Sent};
use crate::machines::Machines;
use crate::mutant::Mutant;
use crate::network::{Body, LinkState, Packet};
use crate::operator::Word;
use crate::participant;
use crate::scenario::{RequestKind, Scenario, Sessions};
use crate::world::{RequestState, StepTold, World};
use undoubt_coordinator_core::{Answer, Rejection, StepAnswer, Timer};
use undoubt_vocabulary::{Outcome, StepIndex, TxId};

/// A rule was broken during the step.
pub(crate) type Step = Result<(), String>;

impl World {
    pub(crate) fn step(&mut self, action: &Action, machines: &mut Machines<'_>) -> Step {
        self.act(action, machines)?;
        self.drop_unreadable(machines.scenario.mutant == Some(Mutant::OldSessionHeard));
        self.notice(machines.scenario);
        self.settle_writes(machines)
    }

    fn act(&mut self, action: &Action, machines: &mut Machines<'_>) -> Step {
        match action {
            Action::Ask { request } => self.ask(*request, machines),
            Action::Deliver { participant, packet } => {
                let packet = self.seats[*participant].packets.change(|packets| packets.remove(*packet));
                self.deliver(*participant, &packet, machines)
            }
            Action::Duplicate { participant, packet } => {
                self.budget.duplicates -= 1;
                let packet = self.seats[*participant].packets[*packet].clone();
                self.deliver(*participant, &packet, machines)
            }
            Action::Lose { participant, packet } => {
                self.budget.losses -= 1;
                self.seats[*participant].packets.change(|packets| packets.remove(*packet));
                Ok(())
            }
            Action::BecomeStable => self.coordinator(coordinator::Act::BecomeStable, machines),
            Action::Refuse { record } => {
                self.budget.refusals -= 1;
                self.coordinator(coordinator::Act::Refuse { record: *record }, machines)
            }
            Action::Spoil { tx } => {
                self.budget.spoils -= 1;
                self.coordinator(coordinator::Act::Spoil { tx: tx.clone() }, machines)
            }
            Action::Drop { tx } => {
                self.budget.drops -= 1;
                self.coordinator(coordinator::Act::Drop { tx: tx.clone() }, machines)
            }
            Action::Fire { tx, attempt_number, timer } => {
                if matches!(timer, Timer::Attempt { .. }) && !self.is_quiet() {
                    self.budget.duplicates -= 1;
                }
                let (tx, attempt_number, timer) = (tx.clone(), *attempt_number, *timer);
                self.coordinator(coordinator::Act::Fire { tx, attempt_number, timer }, machines)
            }
            Action::Connect { participant } => self.connect(*participant, machines),
            Action::Dial { participant } => self.dial(*participant),
            Action::NoticeEnd { participant } => self.disconnected(*participant, machines),
            Action::Disconnect { participant } => {
                self.budget.disconnections -= 1;
                self.disconnected(*participant, machines)
            }
            Action::RecordEpoch { participant } => {
                self.participant(*participant, participant::Act::RecordEpoch, machines)
            }
            Action::CarryOn { participant, caller } => {
                self.participant(*participant, participant::Act::CarryOn { caller: caller.clone() }, machines)
            }
            Action::GiveUp { participant, caller } => {
                self.participant(*participant, participant::Act::GiveUp { caller: caller.clone() }, machines)
            }
            Action::ResolveStep(word) => {
                self.clients.change(|clients| clients.words.say(word.clone()));
                self.coordinator(coordinator::Act::ResolveStep(word.clone()), machines)
            }
            Action::ForgetHeld { tx } => {
                self.clients.change(|clients| clients.given_up.insert(tx.clone()));
                self.coordinator(coordinator::Act::ForgetHeld { tx: tx.clone() }, machines)
            }
            Action::ReleaseMarks { participant, tx } => {
                self.participant(*participant, participant::Act::ReleaseMarks { tx: tx.clone() }, machines)
            }
            Action::Upset { participant, upset } => {
                upset.spend(&mut self.budget);
                self.participant(*participant, participant::Act::Upset(upset.clone()), machines)
            }
            Action::EndPause => self.coordinator(coordinator::Act::EndPause, machines),
            Action::Sweep { participant } => {
                if !self.is_quiet() {
                    self.budget.duplicates -= 1;
                }
                self.participant(*participant, participant::Act::Sweep, machines)
            }
            Action::Find { participant } => self.participant(*participant, participant::Act::Find, machines),
            Action::AskAbout { participant, tx } => {
                if !self.is_quiet() {
                    self.budget.inquiries -= 1;
                }
                self.participant(*participant, participant::Act::AskAbout { tx: tx.clone() }, machines)
            }
            Action::UndoUnsubmitted { participant } => {
                self.participant(*participant, participant::Act::UndoUnsubmitted, machines)
            }
            Action::Resolve { participant, tx, commit } => {
                self.budget.heuristics -= 1;
                let (tx, commit) = (tx.clone(), *commit);
                self.participant(*participant, participant::Act::Resolve { tx, commit }, machines)
            }
            Action::Pause => {
                self.budget.operations -= 1;
                self.coordinator(coordinator::Act::Pause, machines)
            }
            Action::Drain => {
                self.budget.operations -= 1;
                self.coordinator(coordinator::Act::Drain, machines)
            }
            Action::Resume => self.coordinator(coordinator::Act::Resume, machines),
            Action::CrashCoordinator { written } => {
                self.budget.crashes -= 1;
                self.end_coordinator(coordinator::Act::Crash { written: *written }, machines)
            }
            Action::Stop => self.end_coordinator(coordinator::Act::Stop, machines),
            Action::RestartCoordinator => self.coordinator(coordinator::Act::Restart, machines),
            Action::Recover { paused } => {
                self.budget.operations -= u8::from(*paused);
                self.coordinator(coordinator::Act::Recover { paused: *paused }, machines)
            }
            Action::CrashParticipant { participant, kept } => {
                self.budget.crashes -= 1;
                self.participant(*participant, participant::Act::Crash { kept: *kept }, machines)?;
                match machines.scenario.sessions {
                    Sessions::AtOnce => self.participant(*participant, participant::Act::Restart, machines),
                    Sessions::StepByStep => Ok(()),
                }
            }
            Action::RestartParticipant { participant } => {
                self.participant(*participant, participant::Act::Restart, machines)
            }
            Action::Restoring(restoring) => self.restore(restoring, machines),
        }
    }

    fn ask(&mut self, request: usize, machines: &mut Machines<'_>) -> Step {
        let asked = &machines.scenario.requests[request];
        if let RequestKind::Enlist(enlisting) = asked.kind {
            let act = participant::Act::Enlist { tx: asked.tx(), enlisting };
            self.clients.change(|clients| clients.requests[request] = RequestState::Answered);
            return self.participant(enlisting.participant, act, machines);
        }
        self.clients.change(|clients| clients.requests[request] = RequestState::Waiting);
        self.coordinator(coordinator::Act::Request { request }, machines)
    }

    pub(crate) fn deliver(&mut self, participant: usize, packet: &Packet, machines: &mut Machines<'_>) -> Step {
        let Packet { session, body } = packet.clone();
        match *body {
            Body::Hello { shown, .. } => {
                self.shown_to(participant, shown, machines.scenario);
                self.participant(participant, participant::Act::Message { session, body }, machines)
            }
            Body::ToParticipant { .. } => {
                self.participant(participant, participant::Act::Message { session, body }, machines)
            }
            Body::Welcome { number, seen } => self.welcomed(participant, number, seen, machines),
            Body::Refused(ref why) => self.refused(participant, why, machines),
            Body::ToCoordinator { .. } => {
                self.coordinator(coordinator::Act::Message { from: participant, body }, machines)
            }
        }
    }

    /// Settles what was written: without another crash nothing of it is taken back.
    fn settle_writes(&mut self, machines: &mut Machines<'_>) -> Step {
        if self.budget.crashes > 0 {
            return Ok(());
        }
        for participant in 0..self.seats.len() {
            let host = &self.seats[participant].host;
            if host.process.is_some() && !host.storage.unforced.is_empty() {
                self.participant(participant, participant::Act::BecomeStable, machines)?;
            }
        }
        Ok(())
    }

    pub(crate) fn coordinator(&mut self, act: coordinator::Act, machines: &mut Machines<'_>) -> Step {
        let stepped = machines.coordinator(&self.coordinator, &act);
        self.coordinator = stepped.after;
        self.speaks_only_if_it_may(&stepped.sent)?;
        for sent in stepped.sent.iter() {
            match sent {
                Sent::Message { to, body } => {
                    let seat = &mut self.seats[*to];
                    if seat.link.state != LinkState::Up {
                        return Err(format!("contract: {} is sent to p{to}, which is not connected", body.name()));
                    }
                    seat.send(seat.link.session, body.clone());
                }
                Sent::Answer { request, tx, answer } => self.answered(*request, tx, answer, machines.scenario)?,
                Sent::Ended { tx, answer } => self.ended(tx, answer, machines.scenario)?,
                Sent::Resolved { word, answer } => self.resolved(word, answer, machines.scenario)?,
            }
        }
        stepped.broken.map_or(Ok(()), |rule| Err(rule.to_string()))
    }

    pub(crate) fn participant(
        &mut self,
        participant: usize,
        act: participant::Act,
        machines: &mut Machines<'_>,
    ) -> Step {
        let seat = &mut self.seats[participant];
        let stepped = machines.participant(participant, &seat.host, &act);
        seat.host = stepped.after;
        for sent in stepped.sent.iter() {
            seat.send(sent.session, sent.body.clone());
        }
        stepped.broken.map_or(Ok(()), |rule| Err(rule.to_string()))
    }

    fn answered(&mut self, request: usize, tx: &TxId, answer: &Answer, scenario: &Scenario) -> Step {
        if self.clients.requests[request] != RequestState::Waiting {
            return Err(format!("contract: client {request} is answered though it does not wait"));
        }
        let after = match answer {
            Answer::Rejected(Rejection::Recovering | Rejection::RecoveryPaused) => RequestState::ToAsk,
            Answer::Outcome { .. }
            | Answer::Pending
            | Answer::Step(_)
            | Answer::Stuck(_)
            | Answer::Closed
            | Answer::Rejected(_) => RequestState::Answered,
        };
        self.clients.change(|clients| clients.requests[request] = after);
        if *answer == Answer::Closed {
            check::is_completed(self, scenario, tx)?;
        }
        if let (Answer::Step(answer), Some(step)) = (answer, scenario.requests[request].kind.joining()) {
            self.told_of_step(tx, step.number, answer)?;
        }
        self.told(tx, answer, scenario)
    }

    /// Checks that the same is told of a step, whoever asks again.
    fn told_of_step(&mut self, tx: &TxId, number: u16, answer: &StepAnswer) -> Step {
        let now = match answer {
            StepAnswer::Joined | StepAnswer::Running | StepAnswer::Unanswered { .. } => StepTold::Joined,
            StepAnswer::Done { result } => StepTold::Done(result.clone()),
            StepAnswer::Refused(refusal) => StepTold::Refused(refusal.clone()),
            StepAnswer::Skipped => StepTold::Skipped,
        };
        let told = self.clients.steps.get(&(tx.clone(), number));
        match told {
            Some(told) if *told == now || now == StepTold::Joined => return Ok(()),
            Some(StepTold::Joined) | None => {}
            Some(_) if self.clients.words.settle(tx, StepIndex(number)) => {}
            Some(told) => {
                return Err(format!("open saga: s{number} of {tx} was answered as {told:?}, now as {answer:?}"));
            }
        }
        self.clients.change(|clients| clients.steps.insert((tx.clone(), number), now));
        Ok(())
    }

    /// An operator hears that what he said of a step is on record.
    fn resolved(&mut self, word: &Word, answer: &Answer, scenario: &Scenario) -> Step {
        if let Answer::Rejected(why) = answer {
            return Err(format!("contract: the operator's {word} is rejected, {why}"));
        }
        let log = &self.coordinator.log;
        self.clients.change(|clients| clients.words.answer(word, log));
        self.told(&word.tx, answer, scenario)
    }

    /// An operator hears that what he gave up has ended, or that it is still held.
    fn ended(&mut self, tx: &TxId, answer: &Answer, scenario: &Scenario) -> Step {
        let log = &self.coordinator.log;
        match answer {
            Answer::Outcome { .. } if log.unfinished().any(|open| open.tx() == tx) || !log.ended.contains_key(tx) => {
                Err(format!("operator: {tx} is said to be forgotten, and no end of it is on record"))
            }
            Answer::Outcome { .. } | Answer::Rejected(Rejection::Unusable { .. }) => self.told(tx, answer, scenario),
            Answer::Rejected(_) | Answer::Pending | Answer::Step(_) | Answer::Stuck(_) | Answer::Closed => {
                Err(format!("contract: who forgets {tx}, which is held, is answered {answer:?}"))
            }
        }
    }

    /// R10: an outcome is the same whoever hears of it.
    fn told(&mut self, tx: &TxId, answer: &Answer, scenario: &Scenario) -> Step {
        let (hazard, unknown) = (is_hazard(self, scenario, tx), is_unknown(self, scenario, tx));
        let (taken_back, excused) = (self.restored.accepted, is_excused(self, tx));
        let still_aborted = |first: &Outcome| {
            taken_back
                && matches!(
                    (first, answer),
                    (Outcome::Aborted(_), Answer::Outcome { outcome: Outcome::Aborted(_), .. })
                )
        };
        self.clients.change(|clients| {
            let Answer::Outcome { outcome, results } = answer else { return Ok(()) };
            let now = (outcome.clone(), results.clone());
            let first = clients.told.entry(tx.clone()).or_insert_with(|| now.clone());
            // What it handed back goes with a record of which nobody vouches for the branches, or that was taken back.
            let same = *first == now || (hazard || taken_back) && first.0 == now.0;
            if same || still_aborted(&first.0) || unknown || excused {
                return Ok(());
            }
            Err(format!(
                "R10: {tx} was answered as {}, now as {outcome}; results {:?}, now {results:?}",
                first.0, first.1
            ))
        })
    }
}
