//! The real engine over a store in memory, with participants that are as obedient as they are told.

use crate::config::Config;
use crate::engine::{Command, Engine, Handle, Parts, Replied, Reply, Request};
use crate::log::{Log, LogError};
use crate::queue::Queue;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use undoubt_coordinator_core::Content;
use undoubt_platform::server::AnswerRoom;
use undoubt_platform::{
    Batch, CrashPoints, Direction, Durability, Family, Operation, OsRandom, Room, Store, StoreError, SystemClock,
    Written,
};
use undoubt_vocabulary::{
    BranchOutcome, Epoch, ParticipantName, StepOutcome, ToCoordinator, ToParticipant, TxId, Vote,
};

/// Keeps what is written, and counts it.
pub(super) struct Memory {
    data: Mutex<BTreeMap<(&'static str, Bytes), Bytes>>,
    pub(super) written_bytes: AtomicUsize,
    pub(super) max_batch_bytes: usize,
}

impl Memory {
    pub(super) fn new(max_batch_bytes: usize) -> Arc<Memory> {
        Arc::new(Memory { data: Mutex::default(), written_bytes: AtomicUsize::new(0), max_batch_bytes })
    }

    fn data(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Bytes), Bytes>> {
        self.data.lock().unwrap()
    }

    pub(super) fn plant(&self, family: &'static str, key: &[u8], value: Vec<u8>) {
        self.data().insert((family, Bytes::copy_from_slice(key)), value.into());
    }

    pub(super) fn lose(&self, family: &'static str) {
        self.data().retain(|(of, _), _| *of != family);
    }

    pub(super) fn count(&self, family: &'static str) -> usize {
        self.data().keys().filter(|(of, _)| *of == family).count()
    }
}

impl Store for Memory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.data().get(&(family.0, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let data = self.data();
        let within = data
            .iter()
            .filter(|((of, key), _)| *of == family.0 && key.as_ref() >= from && to.is_none_or(|to| key.as_ref() < to))
            .map(|((_, key), value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => within.take(limit).collect(),
            Direction::Backward => within.rev().take(limit).collect(),
        })
    }

    fn write(&self, batch: Batch, _: Durability) -> Written {
        let bytes = batch.payload_bytes();
        if bytes > self.max_batch_bytes {
            let (bound, limit) = ("queue_bytes", self.max_batch_bytes);
            return Written::ready(Err(StoreError::BatchTooLarge { bytes, bound, limit }));
        }
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut data = self.data();
        for operation in batch.iter() {
            match operation {
                Operation::Put { family, key, value } => {
                    data.insert((family.0, Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value));
                }
                Operation::Delete { family, key } => drop(data.remove(&(family.0, Bytes::copy_from_slice(key)))),
                Operation::DeleteRange { family, from, to } => {
                    data.retain(|(of, key), _| *of != family.0 || key.as_ref() < from || key.as_ref() >= to);
                }
            }
        }
        Written::ready(Ok(()))
    }

    fn max_batch_bytes(&self) -> usize {
        self.max_batch_bytes
    }

    fn room(&self) -> Result<Room, StoreError> {
        Ok(Room { bytes: None, files: None })
    }
}

/// The manners of participants: what they hand back, and whether they answer the second half of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Manners {
    pub(super) result_bytes: usize,
    pub(super) acknowledge: bool,
    /// Steps from this one on are not answered.
    pub(super) steps: u16,
}

pub(super) struct World {
    pub(super) handle: Handle,
    pub(super) store: Arc<Memory>,
    engine: JoinHandle<Result<(), LogError>>,
    _participants: JoinSet<()>,
}

impl World {
    /// A coordinator at its start of this number, connected to all.
    pub(super) async fn start(store: Arc<Memory>, epoch: u32, participants: usize, manners: Manners) -> World {
        World::start_with(store, epoch, participants, manners, Config::default()).await
    }

    pub(super) async fn start_with(
        store: Arc<Memory>,
        epoch: u32,
        participants: usize,
        manners: Manners,
        config: Config,
    ) -> World {
        let names: Vec<ParticipantName> = (0..participants).map(name).collect();
        let parts = Parts {
            config: Arc::new(config),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom::new()),
            crash: CrashPoints::default(),
            log: Log::new(store.clone()),
            epoch: Epoch(epoch),
            participants: names.clone(),
        };
        let (engine, handle) = Engine::recover(parts, tokio::sync::watch::channel(false).0).unwrap();
        let engine = tokio::spawn(engine.run());
        handle.tell(Command::Cleared { epoch: Epoch(epoch), held: Vec::new() }).await.unwrap();
        let mut taking_part = JoinSet::new();
        for participant in names {
            let queue = Queue::default();
            let connected = Command::Connected {
                participant: participant.clone(),
                session: 1,
                queue: queue.clone(),
                resource: "test".into(),
                can_prepare: true,
                unnumbered: true,
            };
            handle.tell(connected).await.unwrap();
            taking_part.spawn(take_part(participant, queue, handle.clone(), manners));
        }
        World { handle, store, engine, _participants: taking_part }
    }

    /// Takes it on and answers what it comes to.
    pub(super) async fn submit(&self, id: &str, content: Content) -> impl Future<Output = Replied> + use<> {
        let (to, receiver) = oneshot::channel();
        let reply = Reply::Once { room: AnswerRoom::boundless(), to };
        let timeout = Duration::from_secs(600);
        let request = Request { tx: tx(id), digest: [1; 32], former_digest: None, content, timeout, wait: true };
        self.handle.tell(Command::Submit { request, reply }).await.unwrap();
        async { receiver.await.unwrap().0 }
    }

    pub(super) async fn phase(&self, id: &str) -> Option<&'static str> {
        let tx = tx(id);
        self.handle.inspect(move |view| view.core.view(&tx).map(|open| open.phase)).await.unwrap()
    }

    /// Waits until it is in this phase, which comes by itself.
    pub(super) async fn until(&self, id: &str, phase: Option<&'static str>) {
        let reached = async {
            while self.phase(id).await != phase {
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), reached).await;
        if found.is_err() {
            panic!("{id} is {:?}, not {phase:?}", self.phase(id).await);
        }
    }

    /// Ends the engine with all that it has written.
    pub(super) async fn stop(self) -> Arc<Memory> {
        self.handle.tell(Command::Stop).await.unwrap();
        self.engine.await.unwrap().unwrap();
        self.store
    }
}

async fn take_part(name: ParticipantName, queue: Queue, handle: Handle, manners: Manners) {
    while let Some(drained) = queue.drain().await {
        let answers = drained.messages.into_iter().filter_map(|message| answer(message, manners)).collect();
        let received = Command::Received { participant: name.clone(), session: 1, messages: answers };
        if handle.tell(received).await.is_err() {
            return;
        }
    }
}

fn answer(message: ToParticipant, Manners { result_bytes, acknowledge, steps }: Manners) -> Option<ToCoordinator> {
    let result = || Bytes::from(vec![7; result_bytes]);
    Some(match message {
        ToParticipant::Prepare(prepare) => {
            ToCoordinator::Vote { tx: prepare.tx, ticket: prepare.ticket, vote: Vote::Prepared { result: result() } }
        }
        ToParticipant::Commit { tx, ticket } if acknowledge => {
            ToCoordinator::Finished { tx, ticket, outcome: BranchOutcome::Committed }
        }
        ToParticipant::Run(run) if run.step.0 < steps => ToCoordinator::Ran {
            tx: run.tx,
            ticket: run.ticket,
            step: run.step,
            half: run.half,
            attempt: run.attempt,
            outcome: StepOutcome::Done { result: result(), pending: false },
        },
        ToParticipant::Close { tx, ticket } => ToCoordinator::Closed { tx, ticket },
        ToParticipant::Commit { .. }
        | ToParticipant::Run(_)
        | ToParticipant::Confirm { .. }
        | ToParticipant::Abort { .. }
        | ToParticipant::Settle { .. }
        | ToParticipant::Undecided { .. }
        | ToParticipant::Noted { .. } => return None,
    })
}

pub(super) fn name(number: usize) -> ParticipantName {
    format!("p{number}").parse().unwrap()
}

pub(super) fn tx(id: &str) -> TxId {
    id.parse().unwrap()
}
