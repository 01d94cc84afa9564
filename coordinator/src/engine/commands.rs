//! The commands of the engine.

use super::writes::Item;
use super::{Addresses, Engine, Link, LinkState, NewStep, NewTransaction, Opening};
use crate::history::{Histories, by_operator};
use crate::limits::Exceeded;
use crate::log::{Ended, Log, LogError};
use crate::queue::Queue;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};
use undoubt_coordinator_core::{
    Answer, Client, Coordinator, Effect, Input, Part, Phase, Rejection, Request, StepAnswer, StepResolution,
    StillKnown, UnusableRecord,
};
use undoubt_platform::access::LimitsConfig;
use undoubt_platform::audit::Origin;
use undoubt_platform::server::AnswerRoom;
use undoubt_vocabulary::limits::MAX_WAITERS_PER_TRANSACTION;
use undoubt_vocabulary::{Abilities, CoordinatorPhase, Epoch, ParticipantName, StepName, ToCoordinator, TxId};

pub(crate) enum Command {
    Submit {
        request: NewTransaction,
        reply: Reply,
    },
    Begin {
        request: Opening,
        reply: Reply,
    },
    Join {
        request: NewStep,
        reply: Reply,
    },
    Close {
        tx: TxId,
        wait: bool,
        origin: Origin,
        reply: Reply,
    },
    Await {
        tx: TxId,
        reply: Reply,
    },
    Cancel {
        tx: TxId,
        /// True if the caller may operate.
        by_operator: bool,
        origin: Origin,
        reply: Reply,
    },
    Forget {
        tx: TxId,
        who: String,
        reason: String,
        reply: Reply,
    },
    ResolveStep {
        tx: TxId,
        step: StepName,
        resolution: StepResolution,
        who: String,
        reason: String,
        reply: Reply,
    },
    Connected {
        participant: ParticipantName,
        session: u64,
        queue: Queue,
        resource: String,
        abilities: Abilities,
        unnumbered: bool,
    },
    /// The coordinator may speak, in this epoch. What participants know of attempts that its log lacks comes with it.
    Cleared {
        epoch: Epoch,
        held: Vec<UnusableRecord>,
    },
    /// This participant was put back, and knows no more than this: what it has lost of open transactions is to be listed.
    Lost {
        participant: ParticipantName,
        known: StillKnown,
        listed: oneshot::Sender<()>,
        /// The number of transactions that these are, for who asked.
        found: oneshot::Sender<usize>,
    },
    /// A participant has lost these parts of transactions that have ended.
    Damaged {
        participant: ParticipantName,
        lost: Vec<(TxId, Vec<Part>)>,
        listed: oneshot::Sender<()>,
    },
    Disconnected {
        participant: ParticipantName,
        session: Option<u64>,
        error: String,
    },
    Messages {
        participant: ParticipantName,
        session: u64,
        messages: Vec<ToCoordinator>,
    },
    /// Other limits hold, and these are the participants. Whoever hears of those that have come keeps sessions with them.
    Change {
        participants: BTreeMap<ParticipantName, String>,
        limits: LimitsConfig,
        come: oneshot::Sender<Addresses>,
    },
    PauseRecovery,
    ResumeRecovery,
    Drain,
    /// Make stable what was written, and end.
    Stop,
    /// Looks at the engine between two rounds.
    Inspect(Box<dyn FnOnce(&View<'_>) + Send>),
}

/// The way that an answer goes. Whoever waited may have gone: then it goes nowhere.
#[derive(Debug)]
pub(crate) enum Reply {
    Once {
        room: AnswerRoom,
        to: oneshot::Sender<(Replied, AnswerRoom)>,
    },
    /// The outcome alone is wanted: its results are not told, and large ones not even read.
    Outcome(oneshot::Sender<Replied>),
    /// Bounded by the number of requests that the stream's reader lets be under way, and by the room of their answers.
    Stream {
        sequence: u64,
        room: AnswerRoom,
        to: mpsc::UnboundedSender<(u64, Replied, AnswerRoom)>,
    },
}

/// The answer of the engine: what the core says, or that it would not even ask it.
#[derive(Clone, Debug)]
pub(crate) enum Replied {
    Core(Answer),
    /// There is an answer to tell, but no room for it: wait for room, and ask for it again.
    Again(TxId),
    NoRoom(String),
    UnknownParticipant(ParticipantName),
    /// The caller has taken as much as it may.
    Exceeded(Exceeded),
    /// The transaction is its owner's alone, and the caller is another.
    NotOwner,
}

impl Replied {
    /// Returns true if there is nothing to tell of the transaction, because it was not taken.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Replied::Core(Answer::Rejected(_))
            | Replied::NoRoom(_)
            | Replied::UnknownParticipant(_)
            | Replied::Exceeded(_)
            | Replied::NotOwner => true,
            Replied::Core(
                Answer::Outcome { .. } | Answer::Pending | Answer::Stuck(_) | Answer::Closed | Answer::Step(_),
            )
            | Replied::Again(_) => false,
        }
    }
}

impl Reply {
    /// Sends the answer to what was asked about a transaction.
    pub(super) fn send(mut self, tx: TxId, answer: Answer) {
        let replied = match &mut self {
            Reply::Outcome(_) => Replied::Core(without_results(answer)),
            Reply::Once { room, .. } | Reply::Stream { room, .. } => {
                if room.has_room(bytes_of(&answer)) {
                    Replied::Core(answer)
                } else {
                    Replied::Again(tx)
                }
            }
        };
        self.give(replied);
    }

    /// Returns true if results are not told.
    pub(super) fn is_outcome_alone(&self) -> bool {
        match self {
            Reply::Outcome(_) => true,
            Reply::Once { .. } | Reply::Stream { .. } => false,
        }
    }

    /// Returns true if nobody listens any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Reply::Once { to, .. } => to.is_closed(),
            Reply::Outcome(to) => to.is_closed(),
            Reply::Stream { to, .. } => to.is_closed(),
        }
    }

    pub(crate) fn give(self, replied: Replied) {
        match self {
            Reply::Once { room, to } => drop(to.send((replied, room))),
            Reply::Outcome(to) => drop(to.send(replied)),
            Reply::Stream { sequence, room, to } => drop(to.send((sequence, replied, room))),
        }
    }
}

/// Returns about what an answer takes of memory beside its outcome.
fn bytes_of(answer: &Answer) -> usize {
    const BESIDE_A_RESULT: usize = 64;
    match answer {
        Answer::Outcome { results, .. } => results.iter().map(|(_, result)| result.len() + BESIDE_A_RESULT).sum(),
        Answer::Step(StepAnswer::Done { result }) => result.len() + BESIDE_A_RESULT,
        Answer::Step(_) | Answer::Pending | Answer::Closed | Answer::Stuck(_) | Answer::Rejected(_) => 0,
    }
}

fn without_results(answer: Answer) -> Answer {
    match answer {
        Answer::Outcome { outcome, results: _ } => Answer::Outcome { outcome, results: Vec::new() },
        other @ (Answer::Pending | Answer::Stuck(_) | Answer::Closed | Answer::Step(_) | Answer::Rejected(_)) => other,
    }
}

/// The parts of the engine that an inspection may see.
pub(crate) struct View<'a> {
    pub(crate) core: &'a Coordinator,
    pub(crate) links: &'a BTreeMap<ParticipantName, Link>,
    pub(crate) histories: &'a Histories,
    pub(crate) log: &'a Log,
    pub(crate) refusing: Option<&'a str>,
    /// The records that wait for the write under way.
    pub(crate) gathering_bytes: usize,
}

impl Command {
    /// Returns the bytes that a client or a participant has sent along.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Command::Submit { request, .. } => request.content.work_bytes(),
            Command::Join { request, .. } => request.step.work_bytes(),
            Command::Messages { messages, .. } => messages.iter().map(ToCoordinator::payload_bytes).sum(),
            Command::Begin { .. }
            | Command::Close { .. }
            | Command::Await { .. }
            | Command::Cancel { .. }
            | Command::Forget { .. }
            | Command::ResolveStep { .. }
            | Command::Connected { .. }
            | Command::Disconnected { .. }
            | Command::Cleared { .. }
            | Command::Lost { .. }
            | Command::Damaged { .. }
            | Command::Change { .. }
            | Command::PauseRecovery
            | Command::ResumeRecovery
            | Command::Drain
            | Command::Stop
            | Command::Inspect(_) => 0,
        }
    }
}

impl Engine {
    pub(super) fn handle_command(&mut self, command: Command) -> Result<(), LogError> {
        match command {
            Command::Submit { request, reply } => self.submit(request, reply),
            Command::Begin { request, reply } => self.begin(request, reply),
            Command::Join { request, reply } => self.join(request, reply),
            Command::Close { tx, wait, origin, reply } => self.close(tx, wait, origin, reply),
            Command::Await { tx, reply } => {
                let client = self.client(&tx, reply)?;
                self.handle_input(Input::Request(Request::Await { tx, client }))
            }
            Command::Cancel { tx, by_operator, origin, reply } => self.cancel(tx, by_operator, &origin, reply),
            Command::Forget { tx, who, reason, reply } => self.forget(tx, &who, &reason, reply),
            Command::ResolveStep { tx, step, resolution, who, reason, reply } => {
                let doing = format!("{resolution} {step}, by {who}: {reason}");
                let client = self.client(&tx, reply)?;
                self.handle_operator_request(Request::ResolveStep { tx, step, resolution, client }, doing)
            }
            Command::Cleared { epoch, held } => self.handle_cleared(epoch, held),
            Command::Lost { participant, known, listed, found } => {
                // Whoever asked may have gone.
                let _ = found.send(self.handle_lost(&participant, &known, listed));
                Ok(())
            }
            Command::Damaged { participant, lost, listed } => self.handle_damaged(&participant, lost, listed),
            Command::Connected { participant, session, queue, resource, abilities, unnumbered } => {
                let Some(link) = self.links.get_mut(&participant) else { return Ok(()) };
                tracing::info!(%participant, %resource, failed_attempts = link.attempts, "connected");
                if unnumbered && !std::mem::replace(&mut link.unnumbered, true) {
                    tracing::warn!(%participant, "it does not number its writes: were it put back from an older copy, nobody would notice");
                }
                link.unnumbered = unnumbered;
                link.sessions += 1;
                link.abilities = Some(abilities);
                link.state = LinkState::Connected { session, queue, resource };
                link.since = self.clock.now();
                link.outgoing.clear();
                self.handle_input(Input::Connected { participant, abilities })
            }
            Command::Disconnected { participant, session, error } => {
                self.handle_disconnected(participant, session, error)
            }
            Command::Messages { participant, session, messages } => {
                if !self.is_current(&participant, session) {
                    return Ok(());
                }
                for message in messages {
                    let request = Request::Message { from: participant.clone(), message };
                    self.handle_input(Input::Request(request))?;
                }
                Ok(())
            }
            Command::Change { participants, limits, come } => {
                // Whoever asked may have gone.
                let _ = come.send(self.handle_change(participants, limits));
                Ok(())
            }
            Command::PauseRecovery => self.handle_input(Input::PauseRecovery),
            Command::ResumeRecovery => self.handle_input(Input::ResumeRecovery),
            Command::Drain => {
                if self.core.phase() != Phase::Draining {
                    tracing::info!(open = self.core.open_transactions(), "draining: no new transactions are taken");
                }
                // Transactions that end are to be stable soon, so that the drain does not wait for them.
                self.writes.hurry();
                self.handle_input(Input::Drain)
            }
            Command::Stop => {
                self.commands.close();
                Ok(())
            }
            Command::Inspect(look) => {
                look(&View {
                    core: &self.core,
                    links: &self.links,
                    histories: &self.histories,
                    log: &self.log,
                    refusing: self.refusing.as_deref(),
                    gathering_bytes: self.writes.gathering_bytes(),
                });
                Ok(())
            }
        }
    }

    fn forget(&mut self, tx: TxId, who: &str, reason: &str, reply: Reply) -> Result<(), LogError> {
        let doing = format!("forget, by {who}: {reason}");
        let client = self.client(&tx, reply)?;
        if self.core.view(&tx).is_none()
            && self.log.is_kept_as_damaged(&tx)?
            && let Some(ended) = self.log.ended(&tx)?
        {
            return self.see_to(ended, client, doing);
        }
        self.handle_operator_request(Request::Forget { tx, client }, doing)
    }

    /// Takes an ended transaction out of the damaged. The operator hears when that is stable.
    fn see_to(&mut self, mut damaged: Ended, client: Client, doing: String) -> Result<(), LogError> {
        let (now, tx) = (self.clock.now(), damaged.record.tx.clone());
        if self.core.is_noting(&tx) {
            // What is stored would take the place of what is about to be.
            let answer = Answer::Rejected(Rejection::BeingNoted);
            return self.carry_out(now, Effect::Answer { client, tx, answer });
        }
        tracing::warn!(%tx, "an operator has seen to the damage: {doing}");
        damaged.history.push(by_operator(now, doing));
        let item = Item::SeenTo(tx.clone(), client);
        match self.writes.add(item, true, |batch| batch.append(Log::forget_damage(&damaged))) {
            Ok(()) => Ok(()),
            Err(too_large) => {
                let answer = Answer::Rejected(Rejection::Unusable { cause: too_large.to_string() });
                self.carry_out(now, Effect::Answer { client, tx, answer })
            }
        }
    }

    /// Puts an operator's request to the core. What was done is told in the history and in the log; what was refused
    /// leaves no trace in either.
    fn handle_operator_request(&mut self, request: Request, doing: String) -> Result<(), LogError> {
        self.operator_is_doing = Some(doing);
        let put = self.handle_input(Input::Request(request));
        self.operator_is_doing = None;
        put
    }

    fn handle_disconnected(
        &mut self,
        participant: ParticipantName,
        session: Option<u64>,
        error: String,
    ) -> Result<(), LogError> {
        let Some(link) = self.links.get_mut(&participant) else { return Ok(()) };
        let was_connected = match &link.state {
            LinkState::Connected { session: current, .. } if Some(*current) != session => return Ok(()),
            LinkState::Connected { .. } => true,
            LinkState::Disconnected { .. } => false,
        };
        if was_connected {
            tracing::warn!(%participant, %error, "connection lost");
            link.since = self.clock.now();
            link.attempts = 0;
            link.state = LinkState::Disconnected { last_error: error };
        } else if link.failed(error.clone()) {
            let attempts = link.attempts;
            tracing::warn!(%participant, %error, attempts, open = self.core.open_with(&participant), "no connection");
        }
        if was_connected { self.handle_input(Input::Disconnected { participant }) } else { Ok(()) }
    }

    fn is_current(&self, participant: &ParticipantName, session: u64) -> bool {
        match self.links.get(participant).map(|link| &link.state) {
            Some(LinkState::Connected { session: current, .. }) => *current == session,
            Some(LinkState::Disconnected { .. }) | None => false,
        }
    }

    pub(super) fn client(&mut self, tx: &TxId, reply: Reply) -> Result<Client, LogError> {
        if self.core.waiters(tx) >= MAX_WAITERS_PER_TRANSACTION {
            self.let_go_of_those_who_left(|about| about == tx)?;
        }
        self.next_client += 1;
        let client = Client(self.next_client);
        self.clients.insert(client, (tx.clone(), reply));
        Ok(client)
    }

    /// Lets go of clients that gave up: they do not count as waiting.
    pub(super) fn let_go_of_those_who_left(&mut self, about: impl Fn(&TxId) -> bool) -> Result<(), LogError> {
        let left = self.clients.extract_if(.., |_, (tx, reply)| about(tx) && reply.is_abandoned());
        for (client, (tx, _)) in left.collect::<Vec<_>>() {
            self.handle_input(Input::ClientLeft { tx, client })?;
        }
        Ok(())
    }
}

impl View<'_> {
    pub(crate) fn phase(&self) -> CoordinatorPhase {
        match (self.core.phase(), self.core.recovery_is_paused()) {
            (Phase::Recovering, _) => CoordinatorPhase::Recovering,
            (Phase::Serving, false) => CoordinatorPhase::Serving,
            (Phase::Serving, true) => CoordinatorPhase::RecoveryPaused,
            (Phase::Draining, _) => CoordinatorPhase::Draining,
        }
    }
}
