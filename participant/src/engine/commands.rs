//! What others ask of the engine.

use super::Engine;
use crate::outbox::Outbox;
use crate::resource::{Heuristic, Mark, Release, ResourceError, ResourceManager};
use crate::room::Room;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use undoubt_participant_core::{Answer, Input, Operator, Participant, Session};
use undoubt_vocabulary::{CoordinatorId, Epoch, Ticket, ToParticipant, TxId};

/// Work that has been received and not taken by the engine, of all sessions together. A batch that exceeds it by itself comes
/// when there is nothing else.
const MAX_RECEIVED_BYTES: usize = 16 << 20;

pub(crate) enum Command {
    Hello {
        session: Session,
        coordinator: CoordinatorId,
        epoch: Epoch,
        out: Outbox,
    },
    Batch {
        session: Session,
        fence: Ticket,
        messages: Vec<ToParticipant>,
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
    /// Looks at the engine between two rounds.
    Inspect(Box<dyn FnOnce(&View<'_>) + Send>),
    /// Finish what the resource manager has begun, and end.
    Stop,
}

/// What an inspection may see.
pub(crate) struct View<'a> {
    pub(crate) core: &'a Participant,
    pub(crate) resource: &'static str,
    pub(crate) refusing_work_because: Option<String>,
}

/// The engine has stopped, because the participant is stopping or its resource failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the participant is stopping; try again after its restart")]
pub(crate) struct EngineGone;

/// How others reach the engine.
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
        self.takes_work.clone().wait_for(|takes| *takes).await.map_err(|_| EngineGone)?;
        let bytes = u32::try_from(bytes.min(MAX_RECEIVED_BYTES)).expect("the bound is below 4 GiB");
        self.received.clone().acquire_many_owned(bytes).await.map_err(|_| EngineGone)
    }

    pub(crate) async fn tell(&self, command: Command) -> Result<(), EngineGone> {
        self.commands.send(command).await.map_err(|_| EngineGone)
    }

    pub(crate) async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Answer>) -> Command,
    ) -> Result<Answer, EngineGone> {
        let (sender, receiver) = oneshot::channel();
        self.tell(command(sender)).await?;
        receiver.await.map_err(|_| EngineGone)
    }

    pub(crate) async fn marks(
        &self,
        after: Bytes,
        limit: usize,
    ) -> Result<Result<Vec<Mark>, ResourceError>, EngineGone> {
        let (reply, receiver) = oneshot::channel();
        self.tell(Command::ListMarks { after, limit, reply }).await?;
        receiver.await.map_err(|_| EngineGone)
    }

    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, EngineGone> {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Inspect(Box::new(move |view| drop(sender.send(look(view)))))).await?;
        receiver.await.map_err(|_| EngineGone)
    }
}

impl<R: ResourceManager> Engine<R> {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Hello { session, coordinator, epoch, out } => {
                self.sessions.insert(session, out);
                self.put(Input::Hello { session, coordinator, epoch });
            }
            Command::Batch { session, fence, messages, received } => {
                self.put(Input::Fence { session, fence });
                for message in messages {
                    self.put(Input::Received { session, message });
                }
                drop(received);
            }
            Command::Closed { session } => {
                self.sessions.remove(&session);
                self.put(Input::SessionClosed { session });
            }
            Command::Resolve { tx, heuristic, reply } => {
                let operator = self.operator(reply);
                self.put(Input::Resolve { tx, heuristic, operator });
            }
            Command::Forget { tx, reply } => {
                let operator = self.operator(reply);
                self.put(Input::Forget { tx, operator });
            }
            Command::ReleaseMarks { coordinator, tx, release, reply } => {
                let operator = self.operator(reply);
                self.put(Input::ReleaseMarks { coordinator, tx, release, operator });
            }
            Command::ListMarks { after, limit, reply } => self.list_marks(after, limit, reply),
            Command::Inspect(look) => look(&View {
                core: &self.core,
                resource: self.resource.kind(),
                refusing_work_because: self.resource.refusing_work_because().or_else(|| self.why_work_waits()),
            }),
            Command::Stop => self.commands.close(),
        }
    }

    fn operator(&mut self, reply: oneshot::Sender<Answer>) -> Operator {
        self.next_operator += 1;
        let operator = Operator(self.next_operator);
        self.operators.insert(operator, reply);
        operator
    }
}
