//! Requests to the server, its answers, and how they travel.
//!
//! On the network travel numbers, so that it can lose and hold them; what they stand for lies in a post office that both sides reach.

use super::rows::{Gid, Saga};
use crate::world::net::Guarded;
use crate::world::shared_state::Shared;
use bytes::Bytes;
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use undoubt_kv_evaluation::{Operation, Tell};
use undoubt_lock::Mode;
use undoubt_platform::Batch;
use undoubt_platform::store::Contents;
use undoubt_vocabulary::Refusal;
use undoubt_work::Value;

/// A session of the server. No two have the same, also across its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) u64);

#[derive(Debug)]
pub(super) enum Request {
    Begin,
    /// Locks data, in this order.
    Lock(Vec<(Bytes, Mode)>),
    /// Fails where another saga has marked one of these keys.
    Unmarked {
        keys: Vec<Bytes>,
        own: Option<Saga>,
    },
    Work {
        operations: Vec<Operation>,
        tell: Tell,
        most_bytes: usize,
    },
    /// Writes rows, and fails where one is not as is expected of those that are put.
    Rows {
        batch: Batch,
        expected: Expected,
    },
    Commit,
    Rollback,
    Prepare(Gid),
    CommitPrepared(Gid),
    RollbackPrepared(Gid),
    /// Lists what is prepared.
    Prepared,
    /// Reads all that is committed.
    Tables,
    /// Writes rows in a transaction of their own.
    Write(Batch),
    /// Takes the lock of who owns the database, if it is free.
    TakeOwnership,
    /// Takes a lease, unless somebody has all of them.
    TakeLease,
    /// Takes all leases, if nobody else has one.
    TakeAllLeases,
    FreeLeases,
    Leaseholders,
    /// Ends a session, and waits a while for its end.
    Terminate(SessionId),
    /// Ends what a session waits for.
    CallOff(SessionId),
}

/// The state in which rows have to be that are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Absent,
    Present,
}

#[derive(Debug)]
pub(super) enum Answer {
    /// The first that a session says.
    Welcome(SessionId),
    Done,
    /// The transaction was ended without effect, and that is no error: whoever asked has to look.
    RolledBack,
    Values(Vec<Value>),
    Yes(bool),
    Owner(Option<Owner>),
    Sessions(Vec<SessionId>),
    Prepared(Vec<Gid>),
    Tables(Contents),
    Failed(Failure),
}

/// The session that owns the database, other than the one that asks, and for how long it has said nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) session: SessionId,
    pub(super) silent_us: u64,
}

/// An error that the server tells. It is certain: the request has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused(Refusal),
    TooLarge,
    Deadlock,
    LockTimeout,
    CalledOff,
    /// An earlier error has ended the transaction.
    InFailedTransaction,
    /// A row was there that must not be, or the other way round.
    NotAsExpected,
    NoSlot,
    UnknownName,
    /// Another session is just ending it.
    Busy,
    /// It cannot be written now.
    Unwritten(String),
}

#[derive(Debug)]
enum Message {
    Request(Request),
    Answer(Answer),
}

/// The messages that are on their way, by their numbers. What the network loses stays.
#[derive(Debug, Default)]
pub(in crate::world) struct Post(Mutex<Office>);

#[derive(Debug, Default)]
struct Office {
    last: u64,
    messages: BTreeMap<u64, Message>,
}

impl Post {
    fn put(&self, message: Message) -> u64 {
        let mut office = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        office.last += 1;
        let number = office.last;
        office.messages.insert(number, message);
        number
    }

    fn take(&self, number: u64) -> Option<Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).messages.remove(&number)
    }

    /// Returns a number that nothing else has.
    pub(super) fn fresh(&self) -> u64 {
        let mut office = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        office.last += 1;
        office.last
    }
}

/// One end of a connection.
pub(super) struct Line {
    stream: Guarded,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn new(stream: Guarded, shared: Arc<Shared>) -> Line {
        Line { stream, shared }
    }

    pub(super) async fn ask(&mut self, request: Request) -> io::Result<()> {
        self.send(Message::Request(request)).await
    }

    pub(super) async fn answer(&mut self, answer: Answer) -> io::Result<()> {
        self.send(Message::Answer(answer)).await
    }

    /// Returns the next request; `None` once the client has hung up.
    pub(super) async fn request(&mut self) -> Option<Request> {
        match self.receive().await? {
            Message::Request(request) => Some(request),
            Message::Answer(_) => None,
        }
    }

    /// Returns the next answer; `None` once the connection is broken.
    pub(super) async fn answered(&mut self) -> Option<Answer> {
        match self.receive().await? {
            Message::Answer(answer) => Some(answer),
            Message::Request(_) => None,
        }
    }

    /// Returns true if the other end is known to have hung up. Nothing is to come at the moment.
    pub(super) fn is_cut(&mut self) -> bool {
        self.stream.read(&mut [0]).now_or_never().is_some()
    }

    /// Says nothing more. What was sent here can be read on.
    pub(super) async fn hang_up(&mut self) {
        // Whom it does not reach has gone.
        let _ = self.stream.shutdown().await;
    }

    async fn send(&mut self, message: Message) -> io::Result<()> {
        let number = self.shared.post.put(message);
        self.stream.write_all(&number.to_be_bytes()).await
    }

    async fn receive(&mut self) -> Option<Message> {
        let mut number = [0; 8];
        self.stream.read_exact(&mut number).await.ok()?;
        self.shared.post.take(u64::from_be_bytes(number))
    }
}
