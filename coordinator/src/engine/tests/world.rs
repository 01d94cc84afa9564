//! The real engine over a store in memory, with participants that are as obedient as they are told.

use crate::config::Config;
use crate::engine::{Command, Engine, Handle, NewTransaction, Parts, Replied, Reply};
use crate::log::{FAMILIES, Log, LogError};
use crate::queue::Queue;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use undoubt_coordinator_core::Content;
use undoubt_platform::audit::Origin;
use undoubt_platform::server::AnswerRoom;
use undoubt_platform::store::memory::{Memory, MemoryStore};
use undoubt_platform::{Access, Batch, CrashPoints, Family, OsRandom, SystemClock};
use undoubt_vocabulary::{
    Abilities, BranchOutcome, Epoch, ParticipantName, StepOutcome, ToCoordinator, ToParticipant, TransactionPhase,
    TxId, Vote,
};

/// Returns a store that takes batches of this size at most.
pub(super) fn store(max_batch_bytes: usize) -> Arc<MemoryStore> {
    let memory = Memory::default();
    memory.set_max_batch_bytes(max_batch_bytes);
    Arc::new(memory.open(FAMILIES).unwrap())
}

pub(super) fn plant(store: &MemoryStore, family: &'static str, key: &[u8], value: Vec<u8>) {
    let mut batch = Batch::default();
    batch.put(Family(family), key, value);
    store.memory().plant(&batch);
}

pub(super) fn lose(store: &MemoryStore, family: &'static str) {
    let mut batch = Batch::default();
    store.memory().contents().keys(Family(family)).for_each(|key| batch.delete(Family(family), key));
    store.memory().plant(&batch);
}

pub(super) fn count(store: &MemoryStore, family: &'static str) -> usize {
    store.memory().contents().keys(Family(family)).count()
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
    pub(super) store: Arc<MemoryStore>,
    engine: JoinHandle<Result<(), LogError>>,
    _participants: JoinSet<()>,
}

impl World {
    /// A coordinator at its start of this number, connected to all.
    pub(super) async fn start(store: Arc<MemoryStore>, epoch: u32, participants: usize, manners: Manners) -> World {
        World::start_with(store, epoch, participants, manners, Config::default()).await
    }

    pub(super) async fn start_with(
        store: Arc<MemoryStore>,
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
            audit: crate::log::audit_in(store.clone()),
            log: Log::new(store.clone()),
            epoch: Epoch(epoch),
            figures: Arc::default(),
            bell: None,
            participants: names.iter().map(|name| (name.clone(), "http://127.0.0.1:1".to_owned())).collect(),
            access: Access::open(),
            pulse: Default::default(),
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
                abilities: Abilities::ALL,
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
        let request =
            NewTransaction { tx: tx(id), digest: [1; 32], content, timeout, wait: true, origin: Origin::default() };
        self.handle.tell(Command::Submit { request, reply }).await.unwrap();
        async { receiver.await.unwrap().0 }
    }

    pub(super) async fn phase(&self, id: &str) -> Option<TransactionPhase> {
        let tx = tx(id);
        self.handle.inspect(move |view| view.core.view(&tx).map(|open| open.phase)).await.unwrap()
    }

    /// Waits until it is in this phase, which comes by itself.
    pub(super) async fn until(&self, id: &str, phase: Option<TransactionPhase>) {
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
    pub(super) async fn stop(self) -> Arc<MemoryStore> {
        self.handle.tell(Command::Stop).await.unwrap();
        self.engine.await.unwrap().unwrap();
        self.store
    }
}

impl World {
    /// Returns the end of the engine, which comes by itself.
    pub(super) async fn ended(self) -> Result<(), LogError> {
        self.engine.await.unwrap()
    }
}

async fn take_part(name: ParticipantName, queue: Queue, handle: Handle, manners: Manners) {
    while let Some(drained) = queue.drain().await {
        let answers = drained.messages.into_iter().filter_map(|message| answer(message, manners)).collect();
        let received = Command::Messages { participant: name.clone(), session: 1, messages: answers };
        if handle.tell(received).await.is_err() {
            return;
        }
    }
}

fn answer(message: ToParticipant, Manners { result_bytes, acknowledge, steps }: Manners) -> Option<ToCoordinator> {
    let result = || Bytes::from(vec![7; result_bytes]);
    Some(match message {
        ToParticipant::Prepare(prepare) => ToCoordinator::Vote {
            tx: prepare.tx,
            attempt_number: prepare.attempt_number,
            vote: Vote::Prepared { result: result() },
        },
        ToParticipant::Commit { tx, attempt_number } if acknowledge => {
            ToCoordinator::Finished { tx, attempt_number, outcome: BranchOutcome::Committed }
        }
        ToParticipant::Run(run) if run.step.0 < steps => ToCoordinator::Ran {
            tx: run.tx,
            attempt_number: run.attempt_number,
            step: run.step,
            direction: run.direction,
            attempt: run.attempt,
            outcome: StepOutcome::Done { result: result(), pending: false },
        },
        ToParticipant::Close { tx, attempt_number } => ToCoordinator::Closed { tx, attempt_number },
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
