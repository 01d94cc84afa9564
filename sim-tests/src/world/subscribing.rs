//! What participants need to react to each other's events: the logs of others over the simulated network, and a store that faults and
//! planted bugs stand in front of.

use super::net::Network;
use super::shared_state::Shared;
use crate::plan::{Host, Mutant};
use crate::trace::Event;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tonic::Status;
use undoubt_participant::resource::ResourceError;
use undoubt_participant::subscription::{
    Batches, Carried, DialSources, InboxId, LocalTransaction, ReactionStore, Sources, StoredSubscriptions, Subscribing,
};
use undoubt_proto::v1::{KeepEventsRequest, KeepEventsResponse, ReadEventsRequest};
use undoubt_stream::barrier::{Barrier, BarrierId, Written};
use undoubt_stream::expiry::Timer;
use undoubt_stream::inbox::Watermark;
use undoubt_stream::parked::Change;
use undoubt_vocabulary::{ParticipantName, ReactionName, Refusal, RefusalCode};

/// The time in which a peer has to answer a ping.
const KEEP_ALIVE: Duration = Duration::from_millis(2_000);

/// Returns what a participant subscribes to; `None` if it reacts to nothing.
pub(super) fn of(shared: &Arc<Shared>, host: Host, network: &Network) -> Option<Subscribing> {
    let Host::Participant(participant) = host else { return None };
    if !shared.plan.shape.reacts() || !shared.plan.shape.publishes(participant) {
        return None;
    }
    let address = |at: u8| {
        let name = Host::Participant(at);
        Some((name.to_string().parse().ok()?, super::net::address(name)))
    };
    let dialled = DialSources {
        addresses: (1..=shared.plan.shape.participants).filter_map(address).collect(),
        dial: Arc::new(network.clone()),
        connect_timeout: Duration::from_millis(500),
        keep_alive: KEEP_ALIVE,
    };
    Some(Subscribing {
        declarations: Arc::new(shared.plan.shape.declarations(participant)),
        sources: Arc::new(Heard { dialled, shared: shared.clone(), participant }),
    })
}

/// The logs of others, as they are heard.
struct Heard {
    dialled: DialSources,
    shared: Arc<Shared>,
    participant: u8,
}

impl Sources for Heard {
    fn open(
        &self,
        from: &ParticipantName,
        mut request: ReadEventsRequest,
    ) -> BoxFuture<'static, Result<Batches, Status>> {
        if self.shared.mutates(Mutant::IncarnationNotCompared) {
            request.incarnation = Bytes::new();
        }
        let opening = self.dialled.open(from, request);
        let (shared, participant) = (self.shared.clone(), self.participant);
        let source = match from.as_str().parse() {
            Ok(Host::Participant(source)) => source,
            Ok(_) | Err(_) => 0,
        };
        async move {
            let batches = opening.await?;
            let heard = batches.then(move |batch| {
                let late = shared.lateness(participant, source);
                let shared = shared.clone();
                async move {
                    if !late.is_zero() {
                        sleep(late).await;
                    }
                    for event in batch.iter().flat_map(|batch| &batch.events) {
                        let tx = String::from_utf8_lossy(&event.correlation).into_owned();
                        *shared.finals().events_told.entry(tx).or_default() += 1;
                    }
                    batch
                }
            });
            Ok(heard.boxed())
        }
        .boxed()
    }

    fn keep(
        &self,
        from: &ParticipantName,
        mut request: KeepEventsRequest,
    ) -> BoxFuture<'static, Result<KeepEventsResponse, Status>> {
        if self.shared.mutates(Mutant::IncarnationNotCompared) {
            request.incarnation = Bytes::new();
        }
        self.dialled.keep(from, request)
    }
}

/// The store of a participant's reactions, in whatever temper it is, with the bugs that are planted there.
pub(super) struct Reacting {
    store: Arc<dyn ReactionStore>,
    shared: Arc<Shared>,
    host: Host,
    /// Where watermarks are, for a bug that does not look.
    watermarks: Mutex<BTreeMap<InboxId, Watermark>>,
}

impl Reacting {
    pub(super) fn new(store: Arc<dyn ReactionStore>, shared: Arc<Shared>, host: Host) -> Reacting {
        Reacting { store, shared, host, watermarks: Mutex::default() }
    }

    fn watermarks(&self) -> MutexGuard<'_, BTreeMap<InboxId, Watermark>> {
        self.watermarks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out one after the other what has to be one.
    async fn apart(&self, first: LocalTransaction, then: LocalTransaction) -> Result<Carried, ResourceError> {
        match self.store.carry_out(first).await? {
            Carried::Done { barrier: first, written } => {
                written.await?;
                match self.store.carry_out(then).await? {
                    Carried::Done { barrier, written } => Ok(Carried::Done { barrier: first.or(barrier), written }),
                    other @ (Carried::Refused(_) | Carried::Moved { .. }) => Ok(other),
                }
            }
            other @ (Carried::Refused(_) | Carried::Moved { .. }) => Ok(other),
        }
    }

    async fn carried_out(&self, mut transaction: LocalTransaction) -> Result<Carried, ResourceError> {
        let temper = self.shared.temper(self.host);
        if !temper.reacts_after.is_zero() {
            sleep(temper.reacts_after).await;
        }
        if temper.refuses_reactions && transaction.work.is_some() {
            return Ok(Carried::Refused(Refusal::new(RefusalCode::Condition, "it reacts to nothing at the moment")));
        }
        let Some(mutant) = self.shared.plan.mutant else { return self.store.carry_out(transaction).await };
        if mutant == Mutant::PoisonSkipped {
            transaction.parked.retain(|(_, change)| !matches!(change, Change::Park { .. }));
        } else if mutant == Mutant::BarrierOfUndoMissing {
            let then = transaction.then;
            let without = |written: Written| Written {
                barrier: written.barrier.filter(|barrier| *barrier != Barrier::Empty),
                ..written
            };
            transaction.then = Box::new(move |results| then(results).map(without));
        } else if mutant == Mutant::RepetitionsApplied {
            for (inbox, advance) in &mut transaction.advances {
                let mut all = self.watermarks();
                let stored = all.entry(inbox.clone()).or_default();
                advance.from = *stored;
                *stored = advance.to;
            }
        } else if mutant == Mutant::PositionStoredFirst && transaction.work.is_some() {
            let first =
                LocalTransaction { advances: std::mem::take(&mut transaction.advances), ..position(&transaction) };
            return self.apart(first, transaction).await;
        } else if mutant == Mutant::PositionStoredLater && transaction.work.is_some() {
            let later =
                LocalTransaction { advances: std::mem::take(&mut transaction.advances), ..position(&transaction) };
            return self.apart(transaction, later).await;
        }
        self.store.carry_out(transaction).await
    }
}

/// Returns a transaction of the same owner that does nothing.
fn position(of: &LocalTransaction) -> LocalTransaction {
    LocalTransaction {
        id: of.id.clone(),
        correlation: of.correlation.clone(),
        begun_at: of.begun_at,
        timeout: of.timeout,
        work: None,
        asking: None,
        advances: Vec::new(),
        place: None,
        timer: None,
        barrier: None,
        parked: Vec::new(),
        then: Box::new(|_| Ok(Written::default())),
    }
}

impl ReactionStore for Reacting {
    fn stored(&self) -> BoxFuture<'_, Result<StoredSubscriptions, ResourceError>> {
        async {
            let mut stored = self.store.stored().await?;
            if self.shared.mutates(Mutant::ParkedForgotten) {
                stored.parked.clear();
            }
            if self.shared.mutates(Mutant::RepetitionsApplied) {
                *self.watermarks() = stored.watermarks.drain(..).collect();
                stored.places.clear();
            }
            Ok(stored)
        }
        .boxed()
    }

    fn barrier(&self, id: &BarrierId) -> BoxFuture<'_, Result<Option<Barrier>, ResourceError>> {
        self.store.barrier(id)
    }

    fn next_timer(&self, name: &ReactionName) -> BoxFuture<'_, Result<Option<(Timer, Bytes)>, ResourceError>> {
        self.store.next_timer(name)
    }

    fn carry_out(&self, transaction: LocalTransaction) -> BoxFuture<'_, Result<Carried, ResourceError>> {
        let inbox = transaction.advances.first().filter(|_| transaction.work.is_some()).map(|(inbox, _)| inbox.clone());
        let tx = transaction.correlation.to_string();
        async move {
            let carried = self.carried_out(transaction).await;
            if let (Some(inbox), Ok(Carried::Done { .. }), false) =
                (inbox, &carried, self.shared.process(self.host).is_dead())
            {
                let subscription = inbox.subscription.as_str().to_owned();
                self.shared.recorder.record(self.host, Event::Reacted { subscription, tx });
            }
            carried
        }
        .boxed()
    }
}
