//! Drives the coordinator's core: the contract of [`undoubt_coordinator_core`] in small.

mod log;
mod open_sagas;
mod requests;
mod rules;
mod standing;
mod timers;

use crate::mutant::Mutant;
use crate::network::Body;
use crate::operator::Word;
use crate::part::Part;
use crate::scenario::{self, Scenario, participant_name, participant_number};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use undoubt_coordinator_core::standing::{RecallAnswer, Standing};
use undoubt_coordinator_core::{
    Answer, Client, Coordinator, Effect, Input, Limits, Note, Phase, Record, Request, Stage, Timer, Unfinished,
};
use undoubt_vocabulary::{
    Abilities, AttemptNumber, Epoch, KnownAttempt, ParticipantName, Timestamp, ToParticipant, TxId, WriteNumber,
};

pub(crate) use log::{Log, OpenSaga, is_known_as};
pub(crate) use standing::Welcome;

/// The most moments that there are in an epoch.
const MOMENTS: u64 = 10;

/// The operator who ends what is held.
const HELD: Client = Client(u64::MAX);

/// The coordinator's machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CoordinatorHost {
    pub(crate) log: Log,
    /// The mark of its next start.
    pub(crate) mark: u64,
    /// `None`: crashed.
    pub(crate) process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) core: Coordinator,
    /// The question of its standing, while it may not speak yet: what others have seen of its log.
    pub(crate) standing: Option<Standing>,
    /// The numbers that it has seen of participants' logs.
    pub(crate) seen: BTreeMap<ParticipantName, WriteNumber>,
    /// Appended, not yet stable; in order.
    pub(crate) unstable: VecDeque<Write>,
    /// Armed timers of transactions that are still held.
    pub(crate) timers: BTreeSet<(TxId, AttemptNumber, Timer)>,
    /// The pauses of breakers that are over.
    pub(crate) clock: u8,
    /// The last time that a participant let a two-phase commit run into its deadline.
    pub(crate) silent_at: Option<u8>,
}

/// A record, and what is stored with it of what was seen of participants' logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) record: Record,
    pub(crate) forced: bool,
    pub(crate) seen: BTreeMap<ParticipantName, WriteNumber>,
}

/// An event that can happen to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Request {
        request: usize,
    },
    Message {
        from: usize,
        body: Part<Body>,
    },
    Connected {
        participant: usize,
    },
    Disconnected {
        participant: usize,
    },
    /// The oldest record that isn't yet is now on stable storage.
    BecomeStable,
    /// One of those that aren't yet is refused.
    Refuse {
        record: usize,
    },
    Fire {
        tx: TxId,
        attempt_number: AttemptNumber,
        timer: Timer,
    },
    /// An operator resolves a stuck step.
    ResolveStep(Word),
    /// An operator gives up what is held.
    ForgetHeld {
        tx: TxId,
    },
    /// The pause of the breakers that are open is over.
    EndPause,
    Pause,
    Resume,
    Drain,
    Crash {
        written: usize,
    },
    /// The end of a drain: all is written.
    Stop,
    Restart,
    /// The coordinator starts over another log.
    PutBack {
        log: Box<Log>,
    },
    /// A participant answers what it knows of this coordinator.
    Recalled {
        participant: usize,
        answer: RecallAnswer,
    },
    /// The bound for those that have not answered has passed.
    TimeIsOver,
    /// A session stands.
    Welcomed {
        participant: usize,
        welcome: Welcome,
    },
    /// A participant knows a start of this epoch, or a later one, that was not this one.
    FencedByEpoch {
        known: Epoch,
    },
    /// An operator accepts what the log has lost, and the absence of those that have not answered. The others are asked what
    /// they still know.
    AcceptLoss {
        known: Vec<(usize, Vec<KnownAttempt>)>,
    },
    /// The record that the log holds of this transaction cannot be carried out.
    Spoil {
        tx: TxId,
    },
    /// The record of a transaction that has ended is dropped.
    Drop {
        tx: TxId,
    },
    /// The whole log is read.
    Recover {
        paused: bool,
    },
}

/// A message of a coordinator to others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sent {
    Message {
        to: usize,
        body: Part<Body>,
    },
    Answer {
        request: usize,
        tx: TxId,
        answer: Answer,
    },
    Resolved {
        word: Word,
        answer: Answer,
    },
    /// The answer to an operator who has given it up.
    Ended {
        tx: TxId,
        answer: Answer,
    },
}

impl CoordinatorHost {
    /// Returns what it sent; and the rule that was broken, if any was.
    pub(crate) fn act(&mut self, act: &Act, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        match act {
            Act::Crash { written } => self.end(*written, scenario),
            Act::Stop => {
                self.end(usize::MAX, scenario);
                if scenario.mutant == Some(Mutant::DrainForgets) {
                    self.log.open.clear();
                    self.log.sagas.clear();
                    self.log.open_sagas.clear();
                }
            }
            Act::Restart if self.log.numbers.is_some() => return self.start_numbered(scenario, sent),
            Act::PutBack { log } => {
                self.log = (**log).clone();
                self.mark += 1;
                return self.start_numbered(scenario, sent);
            }
            Act::Recalled { participant, answer } => {
                return self.handle_recall_answer(*participant, answer, scenario, sent);
            }
            Act::TimeIsOver => return self.time_is_over(scenario, sent),
            Act::Welcomed { participant, welcome } => return self.welcomed(*participant, welcome, scenario, sent),
            Act::FencedByEpoch { known } => self.fenced_by_epoch(*known, scenario),
            Act::AcceptLoss { known } => return self.accept_loss(known, scenario, sent),
            Act::Restart => {
                self.process = Some(Process::start(&mut self.log, scenario));
                if scenario.mutant == Some(Mutant::PresumesWhileRecovering) {
                    return self.handle_input(Input::RecoveryDone { paused: false }, scenario, sent);
                }
            }
            Act::BecomeStable => return self.become_stable(scenario, sent),
            Act::Refuse { record } => return self.refuse(*record, scenario, sent),
            Act::Fire { tx, attempt_number, timer } => {
                // A deadline stays armed until its transaction is gone: firing again changes nothing.
                if let Some(process) = &mut self.process {
                    match timer {
                        Timer::Deadline { .. } if process.is_unanswered(tx) => process.silent_at = Some(process.clock),
                        Timer::Deadline { .. } => {}
                        Timer::Retry { .. } | Timer::Attempt { .. } | Timer::StepRetry { .. } => {
                            process.timers.remove(&(tx.clone(), *attempt_number, *timer));
                        }
                    }
                }
                return self.handle_input(
                    Input::Fired { tx: tx.clone(), attempt_number: *attempt_number, timer: *timer },
                    scenario,
                    sent,
                );
            }
            Act::Recover { paused } => return self.recover(*paused, scenario, sent),
            Act::Request { request } => {
                let request = requests::request(*request, scenario);
                if let (Request::Forget { tx, .. }, Some(Mutant::ForgettingErases)) = (&request, scenario.mutant) {
                    self.log.open.remove(tx);
                }
                if let (Request::Forget { tx, client }, Some(Mutant::ForgettingUnheard)) = (&request, scenario.mutant) {
                    let (tx, answer) = (tx.clone(), Answer::Pending);
                    sent.push(Sent::Answer { request: client.0 as usize, tx, answer });
                    return Ok(());
                }
                return self.handle_input(Input::Request(request), scenario, sent);
            }
            Act::Message { from, body } => {
                if let Body::ToCoordinator { number, message } = &**body {
                    let (from, message) = (participant_name(*from), message.clone());
                    self.remember(&from, *number);
                    return self.handle_input(Input::Request(Request::Message { from, message }), scenario, sent);
                }
            }
            Act::Connected { participant } => {
                let two_phase =
                    !scenario.unable.contains(participant) || scenario.mutant == Some(Mutant::AbilityAssumed);
                let abilities = Abilities { two_phase, ..Abilities::ALL };
                let participant = participant_name(*participant);
                return self.handle_input(Input::Connected { participant, abilities }, scenario, sent);
            }
            Act::Disconnected { participant } => {
                return self.handle_input(
                    Input::Disconnected { participant: participant_name(*participant) },
                    scenario,
                    sent,
                );
            }
            Act::ResolveStep(word) => return self.resolve_step(word, scenario, sent),
            Act::ForgetHeld { tx } => {
                let request = Request::Forget { tx: tx.clone(), client: HELD };
                return self.handle_input(Input::Request(request), scenario, sent);
            }
            Act::Spoil { tx } => self.log.spoil(tx),
            Act::Drop { tx } => {
                self.log.forget(tx);
                return self.tell_what_is_forgotten(scenario, sent);
            }
            Act::EndPause => self.process.iter_mut().for_each(|process| process.clock += 1),
            Act::Pause => return self.handle_input(Input::PauseRecovery, scenario, sent),
            Act::Resume if scenario.mutant == Some(Mutant::NeverResumes) => {}
            Act::Resume => return self.handle_input(Input::ResumeRecovery, scenario, sent),
            Act::Drain => return self.handle_input(Input::Drain, scenario, sent),
        }
        Ok(())
    }

    fn end(&mut self, written: usize, scenario: &Scenario) {
        let unstable = self.process.take().map(|process| process.unstable).unwrap_or_default();
        unstable.into_iter().take(written).for_each(|write| self.write(write, scenario));
    }

    fn become_stable(&mut self, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        let oldest = self.process.as_mut().and_then(|process| process.unstable.pop_front());
        let Some(write) = oldest else { return Ok(()) };
        rules::check_record(&write.record, &self.log)?;
        let input = appended(&write.record);
        self.write(write, scenario);
        self.handle_input(input, scenario, sent)
    }

    fn write(&mut self, write: Write, scenario: &Scenario) {
        self.log.witnessed.extend(write.seen.clone());
        if scenario.mutant != Some(Mutant::SeenUnstored) {
            self.log.seen.extend(write.seen);
        }
        self.log.numbers.iter_mut().for_each(|numbers| numbers.write(write.forced));
        self.log.write(write.record);
    }

    fn tell_what_is_forgotten(&mut self, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        match self.log.forgotten.filter(|_| scenario.mutant != Some(Mutant::ForgottenUntold)) {
            Some(latest) => self.handle_input(Input::Forgotten { latest }, scenario, sent),
            None => Ok(()),
        }
    }

    fn recover(&mut self, paused: bool, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        self.tell_what_is_forgotten(scenario, sent)?;
        let forgets = match scenario.mutant {
            Some(Mutant::OpenRecordsForgotten) => true,
            Some(Mutant::PausedStartForgets) => paused,
            Some(_) | None => false,
        };
        if !forgets {
            let forgotten = |unfinished: &Unfinished| match unfinished {
                Unfinished::TwoPhase(_) => false,
                Unfinished::Saga(_) => scenario.mutant == Some(Mutant::SagasForgotten),
                Unfinished::Opened(..) => scenario.mutant == Some(Mutant::OpenSagasForgotten),
                Unfinished::Unusable(_) => scenario.mutant == Some(Mutant::UnusableOverlooked),
            };
            let unfinished: Vec<Unfinished> = self.log.unfinished().filter(|open| !forgotten(open)).collect();
            for mut open in unfinished {
                if let (Unfinished::Opened(header, steps), Some(mutant)) = (&mut open, scenario.mutant) {
                    open_sagas::misread(header, steps, mutant);
                }
                if let (Unfinished::Saga(saga), Some(Mutant::WordsForgotten)) = (&mut open, scenario.mutant) {
                    log::forget_words(saga);
                }
                self.handle_input(Input::Recovered(open), scenario, sent)?;
            }
        }
        self.handle_input(Input::RecoveryDone { paused }, scenario, sent)
    }

    fn refuse(&mut self, record: usize, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        let refused = self.process.as_mut().and_then(|process| process.unstable.remove(record));
        let Some(Write { record, .. }) = refused else { return Ok(()) };
        match scenario.mutant {
            Some(Mutant::RefusalUntold) => Ok(()),
            Some(Mutant::RefusedCalledStable) => self.handle_input(appended(&record), scenario, sent),
            Some(_) | None => self.handle_input(not_appended(&record), scenario, sent),
        }
    }

    fn resolve_step(&mut self, word: &Word, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        let (tx, step, resolution) = (word.tx.clone(), scenario::step_name(word.step), word.resolution);
        let request = Request::ResolveStep { tx, step, resolution, client: word.client() };
        self.handle_input(Input::Request(request), scenario, sent)?;
        let queued =
            self.process.as_ref().and_then(|process| process.unstable.back()).map(|write| appended(&write.record));
        match queued.filter(|_| scenario.mutant == Some(Mutant::WordUnrecorded)) {
            Some(input) => self.handle_input(input, scenario, sent),
            None => Ok(()),
        }
    }

    /// Carries out the effects in order.
    fn handle_input(&mut self, input: Input, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        // Ages at one moment are told apart by the ids alone, so that no clock grows the world.
        let Some(process) = &mut self.process else { return Ok(()) };
        let moment = if scenario.mutant == Some(Mutant::TimeStandsStill) { 0 } else { process.clock };
        let now = Timestamp(u64::from(self.log.epoch) * MOMENTS + u64::from(moment));
        let mut effects = Vec::new();
        process.core.handle_input(now, input, &mut effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect, scenario, sent))?;
        self.process.iter_mut().for_each(Process::drop_idle_timers);
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect, scenario: &Scenario, sent: &mut Vec<Sent>) -> Result<(), String> {
        let mutant = scenario.mutant;
        let Some(process) = &mut self.process else { return Ok(()) };
        match effect {
            Effect::Append { mut record, forced } => {
                self.log.lose(&mut record);
                mutant.iter().for_each(|mutant| open_sagas::miswrite(&mut record, *mutant));
                let called_stable = called_stable(&record, mutant).then(|| appended(&record));
                let seen = if forced { process.seen.clone() } else { BTreeMap::new() };
                let at = open_sagas::place(&record, &process.unstable, mutant);
                process.unstable.insert(at, Write { record, forced, seen });
                if let Some(input) = called_stable {
                    return self.handle_input(input, scenario, sent);
                }
            }
            Effect::Send { to, mut message } => {
                let unnoticed = matches!(
                    mutant,
                    Some(
                        Mutant::CommitLostUnnoticed
                            | Mutant::BegunLostUnnoticed
                            | Mutant::JoinedLostUnnoticed
                            | Mutant::ClosedReadAsCancelled
                    )
                );
                if let (ToParticipant::Run(run), Some(mutant)) = (&mut message, mutant) {
                    open_sagas::missend(run, mutant, &self.log);
                }
                if let (ToParticipant::Undecided { tx, attempt_number: AttemptNumber::NONE }, Some(mutant)) =
                    (&message, mutant)
                    && mutant == Mutant::OpenCalledUnsubmitted
                {
                    let (tx, attempt_number) = (tx.clone(), AttemptNumber::NONE);
                    message = ToParticipant::Abort { tx, attempt_number, certain: true };
                }
                if !unnoticed {
                    rules::check_message(process, &message, &self.log)?;
                }
                rules::check_noted(&to, &message, &self.log)?;
                let low_water_mark = match (mutant, &message) {
                    (Some(Mutant::LowWaterMarkRunsAhead), ToParticipant::Settle { attempt_number, .. }) => {
                        attempt_number.next().into()
                    }
                    (Some(Mutant::StillOpenUntold), _) => process.core.low_water_mark(&to).below().into(),
                    (_, _) => process.core.low_water_mark(&to),
                };
                let Some(to) = participant_number(&to).filter(|to| *to < scenario.participants) else {
                    return Err(format!("contract: {to} is not a participant"));
                };
                rules::check_ability(&message, to, scenario)?;
                let unstable = if mutant == Some(Mutant::UnstableNumbered) { process.unstable.len() as u64 } else { 0 };
                let writes = self.log.number().map_or(0, |number| number.writes + unstable);
                sent.push(Sent::Message {
                    to,
                    body: Part::new(Body::ToParticipant { low_water_mark, writes, message }),
                });
            }
            Effect::Answer { client, tx, answer } => {
                let request = scenario.requests.get(client.0 as usize);
                let joining = request.and_then(|request| request.kind.joining()).map(|step| step.number);
                rules::check_answer(&tx, joining, &answer, &self.log)?;
                sent.push(match Word::of(client, &tx) {
                    _ if client == HELD => Sent::Ended { tx, answer },
                    Some(word) => Sent::Resolved { word, answer },
                    None => Sent::Answer { request: client.0 as usize, tx, answer },
                });
            }
            Effect::Arm { tx, attempt_number, timer } => process.arm(tx, attempt_number, timer),
            Effect::LookUp(request) => {
                let ended =
                    self.log.ended.get(request.tx()).filter(|ended| !self.log.dropped.contains(&ended.tx)).cloned();
                return self.handle_input(Input::LookedUp { request, ended }, scenario, sent);
            }
            // A timer of a transaction that is no longer held does nothing when it fires.
            Effect::Retired { tx } => process.timers.retain(|(armed, _, _)| *armed != tx),
            Effect::Note { tx, note: Note::Chosen { saga: true, .. } } if scenario.breakers => {
                return rules::check_spared(process, &tx);
            }
            Effect::Note { .. } => {}
        }
        Ok(())
    }
}

impl Process {
    /// A start that takes the next epoch, before the log is read.
    fn start(log: &mut Log, scenario: &Scenario) -> Process {
        log.epoch += 1;
        let limits = Limits {
            max_open_transactions: 16,
            max_begun_transactions: 16,
            max_open_bytes: usize::MAX,
            max_gathered_bytes: usize::MAX,
            breaker_threshold: u32::from(scenario.breakers),
            breaker_pause: Duration::from_micros(1),
            old_after_attempts: scenario.old_after_attempts,
        };
        let core = Coordinator::new(Epoch(log.epoch), limits);
        Process {
            core,
            standing: None,
            seen: log.seen.clone(),
            unstable: VecDeque::new(),
            timers: BTreeSet::new(),
            clock: 0,
            silent_at: None,
        }
    }

    pub(crate) fn is_serving(&self) -> bool {
        match self.core.phase() {
            Phase::Recovering => false,
            Phase::Serving | Phase::Draining => true,
        }
    }
}

fn appended(record: &Record) -> Input {
    Input::Appended { tx: record.tx().clone(), attempt_number: record.attempt_number(), stage: record.stage() }
}

fn not_appended(record: &Record) -> Input {
    let cause = "the store refuses it".to_owned();
    Input::NotAppended {
        tx: record.tx().clone(),
        attempt_number: record.attempt_number(),
        stage: record.stage(),
        cause,
    }
}

fn called_stable(record: &Record, mutant: Option<Mutant>) -> bool {
    match record.stage() {
        Stage::Committed => matches!(mutant, Some(Mutant::CommitBeforeStable | Mutant::CommitLostUnnoticed)),
        Stage::Ended => mutant == Some(Mutant::EndBeforeStable),
        Stage::Begun => matches!(mutant, Some(Mutant::BegunBeforeStable | Mutant::BegunLostUnnoticed)),
        Stage::Compensating => mutant == Some(Mutant::CompensatingBeforeStable),
        Stage::Stepped => match mutant {
            Some(Mutant::ProgressBeforeStable) => true,
            Some(Mutant::RefusedBeforeStable) => open_sagas::is_refusal(record),
            Some(_) | None => false,
        },
        Stage::Joined => matches!(mutant, Some(Mutant::JoinedBeforeStable | Mutant::JoinedLostUnnoticed)),
        Stage::Closed => mutant == Some(Mutant::ClosedBeforeStable),
        Stage::Delegated | Stage::Opened => false,
    }
}
