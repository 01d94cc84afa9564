//! The way to the engine, bounded in number and in bytes.

use super::changes::Addresses;
use super::commands::{Command, Replied, Reply, View};
use super::followed::Followed;
use crate::changes::Changeable;
use crate::config::ParticipantAddress;
use crate::metrics::Queue;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use undoubt_platform::server::{AnswerRoom, EngineGone};
use undoubt_vocabulary::limits::MAX_TRANSACTION_BYTES;
use undoubt_vocabulary::{ToCoordinator, TxId};

/// The bytes that all commands that wait for the engine may bring along. One that brings more, as a batch of a
/// participant may, waits alone.
pub(crate) const MAX_QUEUED_COMMAND_BYTES: u32 = 16 << 20;

/// The longest time for which results wait for what was gathered before them to be written.
const MAKE_ROOM_TIMEOUT: Duration = Duration::from_secs(2);

/// Commands that bring less are bounded by their number alone.
const UNCOUNTED_COMMAND_BYTES: usize = 4 << 10;

const _: () = assert!(MAX_TRANSACTION_BYTES < MAX_QUEUED_COMMAND_BYTES as usize);

/// The handle by which others reach the engine. A sender that brings more than may wait, in number or in bytes, waits;
/// so HTTP/2 holds back clients and participants.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    /// True while writes that are under way are about to make room for more results.
    pressed: watch::Sender<bool>,
    /// The cause for which the engine ends, if not for the sake of a restart.
    why: Arc<OnceLock<Arc<str>>>,
    followed: Followed,
}

/// A command with its share of the room for all that wait.
pub(crate) struct Queued {
    pub(crate) command: Command,
    _room: Option<OwnedSemaphorePermit>,
}

impl Handle {
    pub(crate) fn new(max_queued: usize) -> (Handle, mpsc::Receiver<Queued>) {
        let (commands, receiver) = mpsc::channel(max_queued);
        let room = Arc::new(Semaphore::new(MAX_QUEUED_COMMAND_BYTES as usize));
        (
            Handle {
                commands,
                room,
                pressed: watch::Sender::new(false),
                why: Arc::default(),
                followed: Followed::default(),
            },
            receiver,
        )
    }

    /// Returns the transactions until whose application somebody waits.
    pub(crate) fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Waits until the engine is gone.
    pub(crate) async fn stopped(&self) {
        self.commands.closed().await;
    }

    /// Sets the reason that is told to those that wait for the engine when it ends.
    pub(crate) fn ends_because(&self, why: &str) {
        self.why.get_or_init(|| why.into());
    }

    pub(crate) fn gone(&self) -> EngineGone {
        EngineGone { server: "coordinator", why: self.why.get().cloned() }
    }

    /// Returns what waits for the engine: commands, and the bytes that they bring along.
    pub(crate) fn queued(&self) -> (Queue, Queue) {
        let max = self.commands.max_capacity();
        let max_bytes = MAX_QUEUED_COMMAND_BYTES as usize;
        let commands = Queue { length: max.saturating_sub(self.commands.capacity()), max };
        let bytes = Queue { length: max_bytes.saturating_sub(self.room.available_permits()), max: max_bytes };
        (commands, bytes)
    }

    /// Returns the channel on which the engine says whether writes that are under way are about to make room.
    pub(super) fn pressed(&self) -> watch::Sender<bool> {
        self.pressed.clone()
    }

    /// Lets who brings many bytes wait while writes that are under way are about to make room. Not for long: what was
    /// gathered may also wait for what the same participant has yet to say.
    pub(crate) async fn let_writes_make_room(&self, messages: &[ToCoordinator]) {
        if messages.iter().map(ToCoordinator::payload_bytes).sum::<usize>() > UNCOUNTED_COMMAND_BYTES {
            // The sender is this handle's own, so it is never gone; and when the time is over, that is that.
            let _ = timeout(MAKE_ROOM_TIMEOUT, self.pressed.subscribe().wait_for(|pressed| !*pressed)).await;
        }
    }

    pub(crate) async fn tell(&self, command: Command) -> Result<(), EngineGone> {
        let bytes = command.bytes();
        let room = if bytes <= UNCOUNTED_COMMAND_BYTES {
            None
        } else {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_QUEUED_COMMAND_BYTES);
            Some(self.room.clone().acquire_many_owned(bytes).await.map_err(|_| self.gone())?)
        };
        self.commands.send(Queued { command, _room: room }).await.map_err(|_| self.gone())
    }

    pub(crate) async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<Replied, EngineGone> {
        Ok(self.ask_in(AnswerRoom::boundless(), command).await?.0)
    }

    /// Asks for an answer that takes room, if there is some at once. Once the engine has what was asked, the request
    /// itself does not count any more.
    pub(crate) async fn ask_in(
        &self,
        room: AnswerRoom,
        command: impl FnOnce(Reply) -> Command,
    ) -> Result<(Replied, AnswerRoom), EngineGone> {
        let (to, replied) = oneshot::channel();
        let request = room.another();
        self.tell(command(Reply::Once { room, to })).await?;
        request.request_is_taken();
        replied.await.map_err(|_| self.gone())
    }

    /// Waits for the outcome of a transaction, without its results.
    pub(crate) async fn outcome(&self, tx: TxId) -> Result<Replied, EngineGone> {
        self.answer(|to| Command::Await { tx, reply: Reply::Outcome(to) }).await
    }

    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, EngineGone> {
        self.answer(|to| Command::Inspect(Box::new(move |view| drop(to.send(look(view)))))).await
    }

    /// Changes limits and participants. Returns those that have come.
    pub(crate) async fn change(&self, to: &Changeable) -> Result<Addresses, EngineGone> {
        // Names that are none were refused before.
        let named = |at: &ParticipantAddress| Some((at.name.parse().ok()?, at.address.clone()));
        let participants = to.participants.iter().filter_map(named).collect();
        let limits = to.limits.clone();
        self.answer(|come| Command::Change { participants, limits, come }).await
    }

    /// Hands over a command that brings along where its answer is to go, and waits for that.
    async fn answer<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, EngineGone> {
        let (to, answer) = oneshot::channel();
        self.tell(command(to)).await?;
        answer.await.map_err(|_| self.gone())
    }
}
