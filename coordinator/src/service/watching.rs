//! Events as they happen, to whoever watches.

use super::answers;
use crate::engine::Handle;
use crate::history::News;
use crate::log::WeakLog;
use futures::stream::{self, Stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tonic::Status;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;

/// The events from now on, of one transaction or of all.
pub(super) async fn watch(
    engine: Handle,
    log: &WeakLog,
    tx: Option<TxId>,
) -> Result<impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + use<>, Status> {
    let about = tx.clone();
    let look = engine.inspect(move |view| (view.histories.watch(), about.filter(|tx| view.core.view(tx).is_none())));
    let (events, not_open) = look.await?;
    let mut over = false;
    if let Some(tx) = not_open {
        let log = log.log().ok_or_else(|| engine.gone())?;
        over = log.ended(&tx).map_err(answers::internal)?.is_some();
        if !over {
            return Err(answers::not_found("transaction"));
        }
    }
    let watcher = (!over).then_some(Watcher { engine, tx, events, behind: false, is_over: false });
    Ok(stream::unfold(watcher, |watcher| async {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(Some(told)) => Some((Ok(told), Some(watcher))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    }))
}

struct Watcher {
    engine: Handle,
    /// `None`: all.
    tx: Option<TxId>,
    events: Receiver<News>,
    /// It was told that it has lost events, and the end may have been among them.
    behind: bool,
    /// The transaction has ended: what there is to tell of it has been received.
    is_over: bool,
}

impl Watcher {
    /// `None`: nothing more will happen.
    async fn next(&mut self) -> Result<Option<v1::WatchResponse>, Status> {
        if std::mem::take(&mut self.behind) {
            self.is_over = self.is_over().await?;
        }
        loop {
            match self.receive().await {
                Ok(News::Over(tx)) if self.tx.as_ref() == Some(&tx) => return Ok(None),
                Ok(News::Over(_)) => {}
                Ok(News::Event(about, _)) if self.tx.as_ref().is_some_and(|tx| *tx != about) => {}
                Ok(News::Event(about, event)) => {
                    return Ok(Some(v1::WatchResponse { tx: about.to_bytes(), event: Some(event), lost: 0 }));
                }
                Err(RecvError::Lagged(lost)) => {
                    self.behind = true;
                    return Ok(Some(v1::WatchResponse { lost, ..v1::WatchResponse::default() }));
                }
                Err(RecvError::Closed) if self.is_over => return Ok(None),
                // The end of the stream would say that the transaction has ended.
                Err(RecvError::Closed) => return Err(self.engine.gone().into()),
            }
        }
    }

    /// Waits for the next news, or takes what is left of them once it is over.
    async fn receive(&mut self) -> Result<News, RecvError> {
        if !self.is_over {
            return self.events.recv().await;
        }
        self.events.try_recv().map_err(|error| match error {
            TryRecvError::Lagged(lost) => RecvError::Lagged(lost),
            TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
        })
    }

    async fn is_over(&self) -> Result<bool, Status> {
        let Some(tx) = self.tx.clone() else { return Ok(false) };
        Ok(self.engine.inspect(move |view| view.core.view(&tx).is_none()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Command, View};
    use crate::history::Histories;
    use crate::log::Log;
    use futures::StreamExt;
    use std::collections::BTreeMap;
    use std::pin::{Pin, pin};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tonic::Code;
    use undoubt_coordinator_core::{
        Client, Content, Coordinator, EndedRecord, Input, Limits, Note, Record, Request, Submission,
    };
    use undoubt_platform::{Batch, Durability};
    use undoubt_vocabulary::{AttemptNumber, Epoch, Outcome, Timestamp};

    /// More than a watcher may be behind.
    const MANY: u64 = 10_000;

    fn no_transactions() -> Coordinator {
        let breaker_pause = Duration::from_secs(1);
        let limits = Limits {
            max_open_transactions: 9,
            max_open_bytes: 99,
            max_gathered_bytes: 99,
            breaker_threshold: 0,
            breaker_pause,
        };
        let mut core = Coordinator::new(Epoch(1), limits);
        core.handle_input(Timestamp(1), Input::RecoveryDone { paused: false }, &mut Vec::new());
        core
    }

    /// The state of an engine, which lets it be looked at.
    struct World {
        held: Arc<Mutex<(Coordinator, Histories)>>,
        engine: Handle,
        log: Log,
    }

    impl World {
        fn new() -> World {
            let (engine, mut commands) = Handle::new(8);
            let held = Arc::new(Mutex::new((no_transactions(), Histories::new())));
            let log = Log::new(crate::log::in_memory());
            let world = World { held: held.clone(), engine, log: log.clone() };
            tokio::spawn(async move {
                while let Some(queued) = commands.recv().await {
                    let Command::Inspect(look) = queued.command else { panic!("nothing else is asked") };
                    let held = held.lock().unwrap();
                    let (core, histories, links) = (&held.0, &held.1, &BTreeMap::new());
                    look(&View { core, links, histories, log: &log, refusing: None });
                }
            });
            world
        }

        fn begin(&self, tx: &TxId) {
            let submission = Submission {
                tx: tx.clone(),
                digest: [1; 32],
                former_digest: None,
                content: Content::TwoPhase(vec![("bank".parse().unwrap(), Default::default())]),
                timeout: Duration::from_secs(1),
                client: Client(1),
                wait: true,
            };
            let begun = Input::LookedUp { request: Request::Submit(submission), ended: None };
            self.held.lock().unwrap().0.handle_input(Timestamp(2), begun, &mut Vec::new());
        }

        /// The engine lets go of all that is open, and tells of this one that it is over.
        fn end(&self, tx: &TxId) {
            let mut held = self.held.lock().unwrap();
            held.0 = no_transactions();
            held.1.forget(tx);
        }

        fn happens(&self, tx: &TxId, times: u64) {
            let mut held = self.held.lock().unwrap();
            for _ in 0..times {
                held.1.note(Timestamp(3), tx, Note::Begun { branches: 1 }).unwrap();
            }
        }

        async fn watch(&self, tx: &TxId) -> Result<Told, Status> {
            Ok(Box::pin(watch(self.engine.clone(), &self.log.downgrade(), Some(tx.clone())).await?))
        }
    }

    type Told = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    fn txs() -> (TxId, TxId) {
        ("watched".parse().unwrap(), "other".parse().unwrap())
    }

    #[tokio::test]
    async fn a_watch_whose_end_was_among_the_lost_ends_all_the_same() {
        let (world, (tx, other)) = (World::new(), txs());
        world.begin(&tx);
        let mut told = pin!(world.watch(&tx).await.unwrap());
        world.end(&tx);
        world.happens(&other, MANY);
        let lost = told.next().await.unwrap().unwrap();
        assert!(lost.event.is_none() && lost.lost > 0, "{lost:?}");
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn a_watch_that_lost_events_tells_the_last_ones_of_a_transaction_that_has_ended() {
        let (world, (tx, other)) = (World::new(), txs());
        world.begin(&tx);
        let mut told = pin!(world.watch(&tx).await.unwrap());
        world.happens(&other, MANY);
        world.happens(&tx, 2);
        world.end(&tx);
        assert!(told.next().await.unwrap().unwrap().lost > 0);
        for _ in 0..2 {
            assert!(told.next().await.unwrap().unwrap().event.is_some());
        }
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn a_watch_that_lost_events_goes_on_while_its_transaction_does() {
        let (world, (tx, other)) = (World::new(), txs());
        world.begin(&tx);
        let mut told = pin!(world.watch(&tx).await.unwrap());
        world.happens(&other, MANY);
        world.happens(&tx, 1);
        assert!(told.next().await.unwrap().unwrap().lost > 0);
        assert_eq!(told.next().await.unwrap().unwrap().tx, tx.to_bytes());
        world.end(&tx);
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn a_coordinator_that_stops_does_not_end_a_watch_as_if_its_transaction_had_ended() {
        let (world, (tx, _)) = (World::new(), txs());
        world.begin(&tx);
        let mut told = pin!(world.watch(&tx).await.unwrap());
        world.held.lock().unwrap().1 = Histories::new();
        assert_eq!(told.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn what_is_unknown_is_not_watched_and_what_has_ended_ends_at_once() {
        let (world, (ended, unknown)) = (World::new(), txs());
        let record = Record::Ended(EndedRecord {
            saga: false,
            tx: ended.clone(),
            attempt_number: AttemptNumber(1),
            begun_at: Timestamp(1),
            digest: [0; 32],
            outcome: Outcome::Committed,
            branches: Vec::new(),
            read_only: Vec::new(),
            at: Vec::new(),
            results: Vec::new(),
        });
        let mut batch = Batch::default();
        Log::put(&mut batch, &record, Timestamp(2), &[], &mut crate::log::Apart::default());
        drop(world.log.write(batch, Durability::Lazy));
        assert!(world.watch(&ended).await.unwrap().next().await.is_none());
        assert_eq!(world.watch(&unknown).await.err().unwrap().code(), Code::NotFound);
    }
}
