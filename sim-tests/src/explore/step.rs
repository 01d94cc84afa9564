//! What an action makes of a world.

use super::action::Action;
use super::coordinator::{self, CoordinatorHost, appended};
use super::mutant::Mutant;
use super::network::{Body, LinkState, Packet};
use super::participant::{self, ParticipantHost};
use super::resource::Call;
use super::scenario::{RequestKind, Scenario, Sessions, participant_name};
use super::world::{RequestState, World};
use std::sync::Arc;
use undoubt_coordinator_core::{Answer, Client, Input, Question, Rejection, Timer};
use undoubt_participant_core::{Input as ParticipantInput, Operator, Session};
use undoubt_vocabulary::TxId;

/// A rule was broken during the step.
pub(crate) type Step = Result<(), String>;

impl World {
    pub(crate) fn step(&mut self, action: &Action, scenario: &Scenario) -> Step {
        self.act(action, scenario)?;
        self.finish_commits(scenario)?;
        self.drop_unreadable(scenario.mutant == Some(Mutant::OldSessionHeard));
        self.seal();
        Ok(())
    }

    fn act(&mut self, action: &Action, scenario: &Scenario) -> Step {
        match action {
            Action::Ask { request } => self.ask(*request, scenario),
            Action::Deliver { packet } => {
                let packet = self.network.change(|packets| packets.remove(*packet));
                self.deliver(&packet, scenario)
            }
            Action::Duplicate { packet } => {
                self.budget.duplicates -= 1;
                let packet = Arc::clone(&self.network[*packet]);
                self.deliver(&packet, scenario)
            }
            Action::Lose { packet } => {
                self.budget.losses -= 1;
                self.network.change(|packets| packets.remove(*packet));
                Ok(())
            }
            Action::BecomeStable => self.with_coordinator(scenario, |host, sent| {
                let Some(process) = &mut host.process else { return Ok(()) };
                let Some(record) = process.unstable.pop_front() else { return Ok(()) };
                host.log.write(record.clone());
                process.handle(appended(&record), &host.log, scenario.mutant, sent)
            }),
            Action::Fire { tx, ticket, timer } => {
                let (tx, ticket, timer) = (tx.clone(), *ticket, *timer);
                // A deadline stays armed until its transaction is gone: firing again changes nothing.
                if let Timer::Retry { .. } = timer {
                    self.coordinator.change(|host| {
                        host.process.iter_mut().for_each(|process| {
                            process.timers.remove(&(tx.clone(), ticket, timer));
                        });
                    });
                }
                self.tell_coordinator(Input::Fired { tx, ticket, timer }, scenario)
            }
            Action::Connect { participant } => self.connect(*participant, scenario),
            Action::Dial { participant } => {
                self.dial(*participant);
                Ok(())
            }
            Action::NoticeEnd { participant } => self.disconnected(*participant, scenario),
            Action::Disconnect { participant } => {
                self.budget.disconnections -= 1;
                self.disconnected(*participant, scenario)
            }
            Action::RecordEpoch { participant } => self.record_epoch(*participant),
            Action::CarryOn { participant, tx } => self.carry_on(*participant, tx, scenario),
            Action::GiveUpWaiting { participant, tx } => self.with_participant(*participant, |host, sent| {
                let Some(process) = &mut host.process else { return Ok(()) };
                let Some(call) = process.memory.calls.remove(tx) else { return Ok(()) };
                match (call, process.memory.give_up(tx)) {
                    (Call::Execute { branch, .. }, Some(vote)) => {
                        process.handle(ParticipantInput::Executed { branch, vote }, &mut host.storage, sent)
                    }
                    (_, _) => Ok(()),
                }
            }),
            Action::Sweep { participant } => self.sweep(*participant),
            Action::Resolve { participant, tx, commit } => {
                self.budget.heuristics -= 1;
                let (tx, heuristic) = (tx.clone(), Action::heuristic(*commit));
                self.tell_participant(*participant, ParticipantInput::Resolve { tx, heuristic, operator: Operator(0) })
            }
            Action::CrashCoordinator { written } => {
                self.budget.crashes -= 1;
                self.crash_coordinator(*written, scenario);
                match scenario.sessions {
                    Sessions::AtOnce => self.restart_coordinator(scenario),
                    Sessions::StepByStep => Ok(()),
                }
            }
            Action::RestartCoordinator => self.restart_coordinator(scenario),
            Action::Recover => self.with_coordinator(scenario, |host, sent| match &mut host.process {
                Some(process) => process.recover(&host.log, scenario.mutant, sent),
                None => Ok(()),
            }),
            Action::CrashParticipant { participant } => {
                self.budget.crashes -= 1;
                self.participants[*participant].change(|host| host.process = None);
                match scenario.sessions {
                    Sessions::AtOnce => self.restart_participant(*participant, scenario),
                    Sessions::StepByStep => {}
                }
                Ok(())
            }
            Action::RestartParticipant { participant } => {
                self.restart_participant(*participant, scenario);
                Ok(())
            }
        }
    }

    fn ask(&mut self, request: usize, scenario: &Scenario) -> Step {
        let client = Client(request as u64);
        let question = match &scenario.requests[request].kind {
            RequestKind::Submit(branches) => Question::Submit(scenario.submission(request, branches)),
            RequestKind::Cancel => Question::Cancel { tx: scenario.requests[request].tx(), client },
        };
        self.clients.change(|clients| clients.requests[request] = RequestState::Waiting);
        self.tell_coordinator(Input::Asked(question), scenario)
    }

    pub(super) fn deliver(&mut self, packet: &Packet, scenario: &Scenario) -> Step {
        let Packet { participant, session, ref body } = *packet;
        match body {
            &Body::Hello { epoch } => {
                let highest = self.participants[participant].storage.epoch.map_or(epoch, |(_, highest)| highest);
                let said = if scenario.mutant == Some(Mutant::LowerEpochAccepted) { epoch.max(highest) } else { epoch };
                self.tell_participant(participant, participant::Process::hello(session, said))?;
                let process = self.participants[participant].process.as_ref();
                if epoch < highest && process.is_some_and(|process| process.session == Some(session)) {
                    return Err(format!("R5: p{participant} let in epoch {}, after epoch {}", epoch.0, highest.0));
                }
                Ok(())
            }
            Body::Welcome => {
                self.links[participant].state = LinkState::Up;
                self.tell_coordinator(Input::Connected { participant: participant_name(participant) }, scenario)
            }
            Body::ToParticipant { fence, message } => {
                let (session, fence, message) = (Session(session), *fence, message.clone());
                self.tell_participant(participant, ParticipantInput::Fence { session, fence })?;
                self.tell_participant(participant, ParticipantInput::Received { session, message })
            }
            Body::ToCoordinator(message) => {
                let (from, message) = (participant_name(participant), message.clone());
                self.tell_coordinator(Input::Asked(Question::Received { from, message }), scenario)
            }
        }
    }

    fn carry_on(&mut self, participant: usize, tx: &TxId, scenario: &Scenario) -> Step {
        self.with_participant(participant, |host, sent| {
            let Some(process) = &mut host.process else { return Ok(()) };
            match process.memory.carry_on(tx, &mut host.storage, participant, scenario.mutant) {
                Some(input) => process.handle(input, &mut host.storage, sent),
                None => Ok(()),
            }
        })
    }

    /// Until something is asked: what came up since the last sweep is asked about at the next one only.
    fn sweep(&mut self, participant: usize) -> Step {
        if !self.is_quiet() {
            self.budget.duplicates -= 1;
        }
        let in_flight = self.network.len();
        self.tell_participant(participant, ParticipantInput::SweepDue)?;
        if self.network.len() == in_flight {
            self.tell_participant(participant, ParticipantInput::SweepDue)?;
        }
        Ok(())
    }

    /// Until a commit is done nobody can tell whether it was received, for a crash loses both alike. Unless another
    /// transaction wants its locks: that may wait for one that is leaving.
    fn finish_commits(&mut self, scenario: &Scenario) -> Step {
        if scenario.has_several_transactions() {
            return Ok(());
        }
        for participant in 0..self.participants.len() {
            let process = self.participants[participant].process.as_ref();
            let commits = process.into_iter().flat_map(|process| &process.memory.calls);
            let commits: Vec<TxId> =
                commits.filter(|(_, call)| matches!(call, Call::Commit { .. })).map(|(tx, _)| tx.clone()).collect();
            commits.iter().try_for_each(|tx| self.carry_on(participant, tx, scenario))?;
        }
        Ok(())
    }

    pub(super) fn tell_coordinator(&mut self, input: Input, scenario: &Scenario) -> Step {
        self.with_coordinator(scenario, |host, sent| match &mut host.process {
            Some(process) => process.handle(input, &host.log, scenario.mutant, sent),
            None => Ok(()),
        })
    }

    pub(super) fn tell_participant(&mut self, participant: usize, input: ParticipantInput) -> Step {
        self.with_participant(participant, |host, sent| match &mut host.process {
            Some(process) => process.handle(input, &mut host.storage, sent),
            None => Ok(()),
        })
    }

    fn with_coordinator(
        &mut self,
        scenario: &Scenario,
        act: impl FnOnce(&mut CoordinatorHost, &mut Vec<coordinator::Sent>) -> Step,
    ) -> Step {
        let mut sent = Vec::new();
        self.coordinator.change(|host| act(host, &mut sent))?;
        for sent in sent {
            match sent {
                coordinator::Sent::Message { to, fence, message } => {
                    let found = (0..scenario.participants).find(|participant| participant_name(*participant) == to);
                    let Some(participant) = found else { return Err(format!("contract: {to} is not a participant")) };
                    let link = self.links[participant];
                    if link.state != LinkState::Up {
                        return Err(format!("contract: {} is sent to {to}, which is not connected", message.name()));
                    }
                    let body = Body::ToParticipant { fence, message };
                    self.send(Packet { participant, session: link.session, body });
                }
                coordinator::Sent::Answer { client, tx, answer } => self.answered(client, tx, answer)?,
            }
        }
        Ok(())
    }

    pub(super) fn with_participant(
        &mut self,
        participant: usize,
        act: impl FnOnce(&mut ParticipantHost, &mut Vec<participant::Sent>) -> Step,
    ) -> Step {
        let mut sent = Vec::new();
        self.participants[participant].change(|host| act(host, &mut sent))?;
        for sent in sent {
            let (session, body) = match sent {
                participant::Sent::Welcome { session } => (session, Body::Welcome),
                participant::Sent::Message { session, message } => (session, Body::ToCoordinator(message)),
            };
            self.send(Packet { participant, session, body });
        }
        Ok(())
    }

    fn answered(&mut self, client: Client, tx: TxId, answer: Answer) -> Step {
        let request = client.0 as usize;
        let before = self.clients.requests[request];
        if before != RequestState::Waiting {
            return Err(format!("contract: client {request} is answered though it does not wait"));
        }
        let after = match &answer {
            Answer::Rejected(Rejection::Recovering) => RequestState::ToAsk,
            Answer::Outcome { .. } | Answer::Pending | Answer::Rejected(_) => RequestState::Answered,
        };
        self.clients.change(|clients| {
            clients.requests[request] = after;
            let Answer::Outcome { outcome, results } = answer else { return Ok(()) };
            let now = (outcome, results);
            let first = clients.told.entry(tx.clone()).or_insert_with(|| now.clone());
            if *first == now { Ok(()) } else { Err(format!("R10: {tx} was answered as {first:?}, now as {now:?}")) }
        })
    }
}
