//! The commands that others give to the engine.

use super::Engine;
use crate::metrics::Queues;
use crate::outbox::Outbox;
use crate::resource::{Branches, Health, Heuristic, Loss, Mark, Release, ResourceError};
use crate::room::Room;
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use undoubt_participant_core::{Answer, Hello, Input, Operator, Participant, Recall, Recalled, Session, Unproven};
use undoubt_platform::server::EngineGone;
use undoubt_platform::{BackingUp, BackupError};
use undoubt_proto::v1;
use undoubt_vocabulary::{
    AttemptNumber, CoordinatorId, KnownAttempt, LowWaterMark, PublicKey, Timestamp, ToParticipant, TxId, WriteNumber,
};

/// Work that has been received and not taken by the engine, of all sessions together. A batch that exceeds it by itself comes
/// when there is nothing else.
pub(crate) const MAX_RECEIVED_BYTES: usize = 16 << 20;

/// Attempts in one answer to a coordinator that asks what is known of it.
pub(crate) const MAX_RECALLED_ATTEMPTS: usize = 4_096;

pub(crate) enum Command {
    Hello {
        session: Session,
        hello: Hello,
        out: Outbox,
    },
    /// A coordinator asks what is known of it, and from which attempt number on its attempts are wanted, if they are.
    Recall {
        recall: Recall,
        from: Option<AttemptNumber>,
        reply: oneshot::Sender<Result<KnownHere, Unproven>>,
    },
    Pin {
        coordinator: CoordinatorId,
        key: PublicKey,
        reply: oneshot::Sender<Answer>,
    },
    AcceptLoss {
        at: Timestamp,
        who: String,
        reason: String,
        reply: oneshot::Sender<Answer>,
    },
    Batch {
        session: Session,
        low_water_mark: LowWaterMark,
        /// The coordinator's, on stable storage.
        writes: u64,
        messages: Vec<ToParticipant>,
        /// The traces that messages belong to, by the messages' places.
        traces: Vec<(usize, v1::TraceContext)>,
        /// Its share of what may be received and not taken.
        received: OwnedSemaphorePermit,
    },
    Closed {
        session: Session,
    },
    Resolve {
        tx: TxId,
        heuristic: Heuristic,
        reply: oneshot::Sender<Answer>,
    },
    Forget {
        tx: TxId,
        reply: oneshot::Sender<Answer>,
    },
    ReleaseMarks {
        coordinator: CoordinatorId,
        tx: TxId,
        release: Release,
        reply: oneshot::Sender<Answer>,
    },
    ListMarks {
        after: Bytes,
        limit: usize,
        reply: oneshot::Sender<Result<Vec<Mark>, ResourceError>>,
    },
    Backup {
        to: PathBuf,
        reply: oneshot::Sender<BackingUp>,
    },
    /// Looks at the engine between two rounds.
    Inspect(Box<dyn FnOnce(&View<'_>) + Send>),
    /// Finish what the resource manager has begun, and end.
    Stop,
}

/// The knowledge of a coordinator here.
pub(crate) struct KnownHere {
    pub(crate) number: Option<WriteNumber>,
    pub(crate) recalled: Recalled,
    pub(crate) attempts: Vec<KnownAttempt>,
    /// The attempt number where the rest of them begins.
    pub(crate) next: Option<AttemptNumber>,
}

/// The engine as an inspection sees it.
pub(crate) struct View<'a> {
    pub(crate) core: &'a Participant,
    pub(crate) losses: &'a [(Loss, WriteNumber)],
    pub(crate) resource: &'static str,
    pub(crate) health: Health,
    /// Work that waits for room: how many, and their bytes.
    pub(crate) waiting: (usize, usize),
}

/// The error of whoever asks an engine that has ended.
const GONE: EngineGone = EngineGone { server: "participant", why: None };

/// The handle by which others reach the engine.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
    room: Room,
    received: Arc<Semaphore>,
    takes_work: watch::Receiver<bool>,
}

impl Handle {
    pub(super) fn new(commands: mpsc::Sender<Command>, room: Room, takes_work: watch::Receiver<bool>) -> Handle {
        Handle { commands, room, received: Arc::new(Semaphore::new(MAX_RECEIVED_BYTES)), takes_work }
    }

    pub(crate) fn room(&self) -> Room {
        self.room.clone()
    }

    /// Waits until so much more may be received. Meanwhile a session reads nothing, and flow control holds its coordinator
    /// back.
    pub(crate) async fn room_to_receive(&self, bytes: usize) -> Result<OwnedSemaphorePermit, EngineGone> {
        self.takes_work.clone().wait_for(|takes| *takes).await.map_err(|_| GONE)?;
        let bytes = u32::try_from(bytes.min(MAX_RECEIVED_BYTES)).expect("the bound is below 4 GiB");
        self.received.clone().acquire_many_owned(bytes).await.map_err(|_| GONE)
    }

    /// Returns what waits at the edges of the engine.
    pub(crate) fn queues(&self) -> Queues {
        let max = self.commands.max_capacity();
        let (unsent_bytes, kept_bytes) = self.room.taken();
        Queues {
            commands: (max.saturating_sub(self.commands.capacity()), max),
            received_bytes: (MAX_RECEIVED_BYTES.saturating_sub(self.received.available_permits()), MAX_RECEIVED_BYTES),
            unsent_bytes,
            kept_bytes,
        }
    }

    pub(crate) async fn tell(&self, command: Command) -> Result<(), EngineGone> {
        self.commands.send(command).await.map_err(|_| GONE)
    }

    /// Hands over a command that brings along where its answer is to go, and waits for that.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, EngineGone> {
        let (to, answer) = oneshot::channel();
        self.tell(command(to)).await?;
        answer.await.map_err(|_| GONE)
    }

    pub(crate) async fn recall(
        &self,
        recall: Recall,
        from: Option<AttemptNumber>,
    ) -> Result<Result<KnownHere, Unproven>, EngineGone> {
        self.ask(|reply| Command::Recall { recall, from, reply }).await
    }

    pub(crate) async fn marks(
        &self,
        after: Bytes,
        limit: usize,
    ) -> Result<Result<Vec<Mark>, ResourceError>, EngineGone> {
        self.ask(|reply| Command::ListMarks { after, limit, reply }).await
    }

    /// Begins a copy of what the resource keeps. It is waited for here, since it may take long.
    pub(crate) async fn backup(&self, to: PathBuf) -> Result<Result<(), BackupError>, EngineGone> {
        Ok(self.ask(|reply| Command::Backup { to, reply }).await?.await)
    }

    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, EngineGone> {
        self.ask(|to| Command::Inspect(Box::new(move |view| drop(to.send(look(view)))))).await
    }
}

impl<R: Branches> Engine<R> {
    pub(super) fn handle_command(&mut self, command: Command) {
        match command {
            Command::Hello { session, hello, out } => {
                self.sessions.insert(session, out);
                self.handle_input(Input::Hello { session, hello });
            }
            Command::Recall { recall, from, reply } => self.recall(recall, from, reply),
            Command::Pin { coordinator, key, reply } => {
                let operator = self.operator(reply);
                self.handle_input(Input::Pin { coordinator, key, operator });
            }
            Command::AcceptLoss { at, who, reason, reply } => {
                let operator = self.operator(reply);
                self.handle_input(Input::AcceptLoss { at, who, reason, operator });
            }
            Command::Batch { session, low_water_mark, writes, messages, traces, received } => {
                self.handle_input(Input::Seen { session, writes });
                self.handle_input(Input::LowWaterMark { session, low_water_mark });
                let mut traces = traces.into_iter().peekable();
                for (place, message) in messages.into_iter().enumerate() {
                    if let Some((_, context)) = traces.next_if(|(of, _)| *of == place) {
                        self.traced.ask(&context);
                    }
                    match self.core.nobody_submits(session, &message) {
                        Some((coordinator, tx)) => self.resource.nobody_submits(coordinator, &tx),
                        None => self.handle_input(Input::Message { session, message }),
                    }
                    self.traced.asked();
                }
                drop(received);
            }
            Command::Closed { session } => {
                self.sessions.remove(&session);
                self.handle_input(Input::SessionClosed { session });
            }
            Command::Resolve { tx, heuristic, reply } => {
                let operator = self.operator(reply);
                self.handle_input(Input::Resolve { tx, heuristic, operator });
            }
            Command::Forget { tx, reply } => {
                let operator = self.operator(reply);
                self.handle_input(Input::Forget { tx, operator });
            }
            Command::ReleaseMarks { coordinator, tx, release, reply } => {
                let operator = self.operator(reply);
                self.handle_input(Input::ReleaseMarks { coordinator, tx, release, operator });
            }
            Command::ListMarks { after, limit, reply } => self.list_marks(after, limit, reply),
            Command::Backup { to, reply } => {
                // Whoever asked may have gone; the copy is made all the same.
                let _ = reply.send(self.resource.backup(&to));
            }
            Command::Inspect(look) => look(&View {
                core: &self.core,
                losses: &self.losses,
                resource: self.resource.kind(),
                health: self.health(),
                waiting: self.waiting.len_and_bytes(),
            }),
            Command::Stop => self.commands.close(),
        }
    }

    fn recall(
        &mut self,
        recall: Recall,
        from: Option<AttemptNumber>,
        reply: oneshot::Sender<Result<KnownHere, Unproven>>,
    ) {
        if let Err(why) = self.core.may_ask(&recall) {
            // Whoever asked may have gone.
            let _ = reply.send(Err(why));
            return;
        }
        self.handle_input(Input::Recall(recall.clone()));
        let attempts = |from| self.core.attempts(recall.coordinator, from, MAX_RECALLED_ATTEMPTS);
        let (attempts, next) = from.map_or((Vec::new(), None), attempts);
        let (number, recalled) = (self.resource.number(), self.core.recalled(&recall));
        // Whoever asked may have gone.
        let _ = reply.send(Ok(KnownHere { number, recalled, attempts, next }));
    }

    pub(super) fn health(&self) -> Health {
        let health = self.resource.health();
        Health { refuses_work: health.refuses_work.or_else(|| self.why_work_waits()), ..health }
    }

    fn operator(&mut self, reply: oneshot::Sender<Answer>) -> Operator {
        self.next_operator += 1;
        let operator = Operator(self.next_operator);
        self.operators.insert(operator, reply);
        operator
    }
}
