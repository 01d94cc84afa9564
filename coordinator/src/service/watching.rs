//! Events as they happen, to whoever watches.

use super::answers;
use crate::engine::Handle;
use crate::history::{Position, Told, Watch, What};
use crate::log::WeakLog;
use bytes::Bytes;
use futures::stream::{self, Stream};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;
use undoubt_platform::Reason;
use undoubt_proto::v1;
use undoubt_vocabulary::{Epoch, TxId};

/// Returns the events of one transaction or of all, from now on or from behind a cursor.
pub(super) async fn watch(
    engine: Handle,
    log: &WeakLog,
    tx: Option<TxId>,
    after: Option<Position>,
) -> Result<impl Stream<Item = Result<v1::WatchResponse, Status>> + Send + use<>, Status> {
    let (begun, is_open) = begin(&engine, tx.clone(), after).await?;
    if let (Some(tx), false) = (&tx, is_open) {
        let log = log.log().ok_or_else(|| engine.gone())?;
        if log.ended(tx).map_err(answers::internal)?.is_none() {
            return Err(answers::not_found("transaction"));
        }
    }
    let watcher = Watcher { engine, tx, position: begun.from, watch: begun, is_begun: false, is_open };
    Ok(stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(Some(told)) => Some((Ok(told), Some(watcher))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    }))
}

/// Begins or goes on with a watch, and looks whether its transaction is still open, in one moment.
async fn begin(engine: &Handle, tx: Option<TxId>, after: Option<Position>) -> Result<(Watch, bool), Status> {
    let look = engine.inspect(move |view| {
        let is_open = tx.as_ref().is_none_or(|tx| view.core.view(tx).is_some());
        (view.histories.watch(after), is_open)
    });
    Ok(look.await?)
}

const CURSOR_BYTES: usize = 12;

/// Reads a cursor; empty bytes are none.
pub(super) fn position(cursor: &Bytes) -> Result<Option<Position>, Status> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let parts = cursor.split_first_chunk::<4>().and_then(|(epoch, number)| Some((epoch, number.first_chunk::<8>()?)));
    match parts {
        Some((epoch, number)) if cursor.len() == CURSOR_BYTES => {
            let epoch = Epoch(u32::from_be_bytes(*epoch));
            Ok(Some(Position { epoch, number: u64::from_be_bytes(*number) }))
        }
        Some(_) | None => Err(Reason::InvalidRequest
            .refuse_field("after", "this is no cursor of a watch; leave it out to watch from now on")),
    }
}

fn cursor(Position { epoch: Epoch(epoch), number }: Position) -> Bytes {
    [&epoch.to_be_bytes()[..], &number.to_be_bytes()].concat().into()
}

struct Watcher {
    engine: Handle,
    /// `None`: all.
    tx: Option<TxId>,
    watch: Watch,
    /// Up to where events have been told, or passed over as those of other transactions.
    position: Position,
    /// What there is to say of `watch` itself has been said.
    is_begun: bool,
    /// The transaction was open when `watch` began: else what it has kept is all there is to tell.
    is_open: bool,
}

impl Watcher {
    /// Returns the next response; `None`: nothing more will happen.
    async fn next(&mut self) -> Result<Option<v1::WatchResponse>, Status> {
        if !std::mem::replace(&mut self.is_begun, true) {
            return Ok(Some(self.response(None)));
        }
        loop {
            let told = match self.watch.kept.pop_front() {
                Some(kept) => kept,
                None if !self.is_open => return Ok(None),
                None => match self.watch.live.recv().await {
                    Ok(told) => told,
                    Err(RecvError::Lagged(_)) => {
                        let (watch, is_open) = begin(&self.engine, self.tx.clone(), Some(self.position)).await?;
                        (self.position, self.watch, self.is_open) = (watch.from, watch, is_open);
                        if self.watch.lost > 0 {
                            return Ok(Some(self.response(None)));
                        }
                        continue;
                    }
                    // The end of the stream would say that the transaction has ended.
                    Err(RecvError::Closed) => return Err(self.engine.gone().into()),
                },
            };
            self.position.number = told.number;
            let is_about_it = self.tx.as_ref().is_none_or(|tx| *tx == told.tx);
            match told.what {
                What::Event(_) if is_about_it => return Ok(Some(self.response(Some(&told)))),
                What::Over if is_about_it && self.tx.is_some() => return Ok(None),
                What::Event(_) | What::Over => {}
            }
        }
    }

    /// Returns an event with its place, or the place where the watch begins and what is lost before.
    fn response(&self, told: Option<&Arc<Told>>) -> v1::WatchResponse {
        let cursor = cursor(self.position);
        match told.map(|told| (&told.tx, &told.what)) {
            Some((tx, What::Event(event))) => {
                v1::WatchResponse { tx: tx.to_bytes(), event: Some(event.clone()), cursor, ..Default::default() }
            }
            Some((_, What::Over)) | None => {
                let Watch { lost, restarted, .. } = self.watch;
                v1::WatchResponse { lost, restarted, cursor, ..Default::default() }
            }
        }
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

    /// More events than are kept.
    const MANY: u64 = 20_000;

    fn no_transactions() -> Coordinator {
        let breaker_pause = Duration::from_secs(1);
        let limits = Limits {
            max_open_transactions: 9,
            max_begun_transactions: 9,
            max_open_bytes: 99,
            max_gathered_bytes: 99,
            breaker_threshold: 0,
            breaker_pause,
            old_after_attempts: 9,
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
            let held = Arc::new(Mutex::new((no_transactions(), Histories::new(Epoch(1)))));
            let log = Log::new(crate::log::in_memory());
            let world = World { held: held.clone(), engine, log: log.clone() };
            tokio::spawn(async move {
                while let Some(queued) = commands.recv().await {
                    let Command::Inspect(look) = queued.command else { panic!("nothing else is asked") };
                    let held = held.lock().unwrap();
                    let (core, histories, links) = (&held.0, &held.1, &BTreeMap::new());
                    look(&View { core, links, histories, log: &log, refusing: None, gathering_bytes: 0 });
                }
            });
            world
        }

        fn begin(&self, tx: &TxId) {
            let submission = Submission {
                tx: tx.clone(),
                digest: [1; 32],
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

        /// Returns the watch from now on, without its beginning.
        async fn watch(&self, tx: &TxId) -> Result<Responses, Status> {
            let mut told = self.watch_after(tx, Bytes::new()).await?;
            let begun = told.next().await.unwrap()?;
            assert!(begun.event.is_none() && begun.lost == 0 && !begun.cursor.is_empty(), "{begun:?}");
            Ok(told)
        }

        async fn watch_after(&self, tx: &TxId, cursor: Bytes) -> Result<Responses, Status> {
            let (log, after) = (self.log.downgrade(), position(&cursor)?);
            Ok(Box::pin(watch(self.engine.clone(), &log, Some(tx.clone()), after).await?))
        }
    }

    type Responses = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

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
        world.held.lock().unwrap().1 = Histories::new(Epoch(1));
        assert_eq!(told.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn a_watch_that_broke_goes_on_behind_its_cursor_to_the_end_of_its_transaction() {
        let (world, (tx, other)) = (World::new(), txs());
        world.begin(&tx);
        let mut told = pin!(world.watch(&tx).await.unwrap());
        world.happens(&tx, 3);
        let first = told.next().await.unwrap().unwrap();
        world.happens(&other, 5);
        let mut on = pin!(world.watch_after(&tx, first.cursor.clone()).await.unwrap());
        let begun = on.next().await.unwrap().unwrap();
        assert_eq!((begun.cursor, begun.lost, begun.restarted), (first.cursor, 0, false));
        let second = on.next().await.unwrap().unwrap();
        assert!(second.event.is_some());
        world.end(&tx);
        let record = Record::Ended(EndedRecord::presumed(tx.clone(), AttemptNumber(1), Timestamp(2)));
        let mut batch = Batch::default();
        Log::put(&mut batch, &record, Timestamp(2), &[], &mut crate::log::Apart::default());
        drop(world.log.write(batch, Durability::Lazy));
        let mut late = pin!(world.watch_after(&tx, second.cursor).await.unwrap());
        let rest: Vec<_> = late.by_ref().map(|told| told.unwrap().event.is_some()).collect().await;
        assert_eq!(rest, [false, true], "the beginning, then the third event, then the end");
    }

    #[tokio::test]
    async fn what_is_no_cursor_is_refused() {
        let (world, (tx, _)) = (World::new(), txs());
        let refused = world.watch_after(&tx, Bytes::from_static(&[1; 11])).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
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
            results: Vec::new(),
        });
        let mut batch = Batch::default();
        Log::put(&mut batch, &record, Timestamp(2), &[], &mut crate::log::Apart::default());
        drop(world.log.write(batch, Durability::Lazy));
        assert!(world.watch(&ended).await.unwrap().next().await.is_none(), "nothing but its beginning");
        assert_eq!(world.watch(&unknown).await.err().unwrap().code(), Code::NotFound);
    }
}
