//! The preparation of branches: from work to a vote.

use super::attempt::{Declined, evaluate, most_read, refuse_without_room};
use super::work::{self, Place, Work};
use super::{Branch, Effects, KeyValue, Stage, marks, publish, record};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::ready;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_kv_evaluation::{Evaluation, Tell};
use undoubt_lock::{Age, Mode};
use undoubt_participant::locks::over;
use undoubt_participant::resource::{BranchId, Cancellations, Preparing, ResourceError, Voted, Votes};
use undoubt_participant::room::SMALL_BYTES;
use undoubt_participant::table::TransactionTable;
use undoubt_platform::Batch;
use undoubt_proto::record::{KeyValueBranch, StoredEvent, Write};
use undoubt_vocabulary::{BranchOutcome, EventId, Execution, Prepare, Refusal, RefusalCode, Vote};
use undoubt_work::Results;

/// Prepares one branch by itself. By reference all the way: many branches may wait at a time, each with what is kept
/// for it.
pub(super) async fn prepare(
    kv: &KeyValue,
    id: &BranchId,
    prepare: &Prepare,
    cancelled: &CancellationToken,
) -> Result<Vote, ResourceError> {
    if cancelled.is_cancelled() {
        return Ok(Vote::Refused(over(&id.tx)));
    }
    match begin(kv, id, prepare) {
        Ok(mut begun) => match wait_for_locks(kv, id, prepare, &mut begun, cancelled).await {
            Ok(()) => go_on(kv, id, prepare, begun).await,
            Err(refusal) => Ok(Vote::Refused(refusal)),
        },
        Err(declined) => declined.vote(),
    }
}

/// Prepares branches that came together, in one write. Those that have to wait for locks go on by themselves.
pub(super) fn prepare_all(
    kv: &Arc<KeyValue>,
    calls: Vec<(BranchId, Prepare)>,
    cancellations: &mut Cancellations,
) -> Vec<Preparing> {
    let mut futures = Vec::new();
    let mut declined = Voted::default();
    let mut group = Group::default();
    for (id, prepare) in calls {
        if cancellations.is_cancelled(&id) {
            let vote = Vote::Refused(over(&id.tx));
            declined.votes.push((id, vote));
            continue;
        }
        let added = match begin(kv, &id, &prepare) {
            Ok(mut begun) if begun.granted.is_some() => {
                let (kv, cancelled) = (kv.clone(), cancellations.token(&id));
                let call = async move {
                    let asked = Instant::now();
                    let granted = wait_for_locks(&kv, &id, &prepare, &mut begun, &cancelled).await;
                    let waited = vec![(id.clone(), asked.elapsed())];
                    let vote = match granted {
                        Ok(()) => go_on(&kv, &id, &prepare, begun).await,
                        Err(refusal) => Ok(Vote::Refused(refusal)),
                    };
                    match vote {
                        Ok(vote) => Ok(Voted { votes: vec![(id, vote)], waited, ..Voted::default() }),
                        Err(ResourceError::NoRoom) => Ok(Voted { put_off: vec![(id, prepare)], ..Voted::default() }),
                        Err(error) => Err(error),
                    }
                };
                futures.push(call.boxed());
                continue;
            }
            Ok(begun) => group.add(kv, &id, &prepare, begun),
            Err(declined) => Err(declined),
        };
        match added {
            Ok(()) => {}
            Err(Declined::Refused(refusal)) => declined.votes.push((id, Vote::Refused(refusal))),
            Err(Declined::NoRoom) => declined.put_off.push((id, prepare)),
            Err(Declined::Failed(error)) => futures.push(ready(Err(error)).boxed()),
        }
        if group.bytes() >= kv.max_group_bytes() {
            futures.push(std::mem::take(&mut group).write(kv));
        }
    }
    if !group.branches.is_empty() {
        futures.push(group.write(kv));
    }
    if !declined.votes.is_empty() || !declined.put_off.is_empty() {
        futures.push(ready(Ok(declined)).boxed());
    }
    futures
}

/// Work that was read, and the locks it asked for.
struct Begun {
    /// Boxed: many branches may wait at a time.
    work: Box<Work>,
    wanted: BTreeMap<Bytes, Mode>,
    /// The grant to wait for, where locks were not granted at once.
    granted: Option<oneshot::Receiver<()>>,
}

/// Reads the work and asks for its locks.
fn begin(kv: &KeyValue, id: &BranchId, prepare: &Prepare) -> Result<Begun, Declined> {
    let work = Box::new(work::decode(&prepare.work, Place::Branch)?);
    let mut wanted = kv.locks_of(&work);
    if prepare.work.len() > SMALL_BYTES {
        // A branch holds its locks long after its work is done, which a part of it would keep in memory.
        wanted = wanted.into_iter().map(|(key, mode)| (Bytes::copy_from_slice(&key), mode)).collect();
    }
    if wanted.values().any(|mode| *mode == Mode::Exclusive) {
        refuse_without_room(kv)?;
    }
    let age = Age { begun_at: prepare.begun_at, tx: id.tx.clone() };
    let granted = kv.locks.ask(&age, &wanted)?;
    Ok(Begun { work, wanted, granted })
}

/// Waits for its locks if it has to.
async fn wait_for_locks(
    kv: &KeyValue,
    id: &BranchId,
    prepare: &Prepare,
    begun: &mut Begun,
    cancelled: &CancellationToken,
) -> Result<(), Refusal> {
    match begun.granted.take() {
        // Only those who wait take room for it.
        Some(granted) => Box::pin(kv.locks.wait(&id.tx, granted, prepare.timeout, cancelled)).await,
        None => Ok(()),
    }
}

/// Does the work under its locks, and writes its vote.
async fn go_on(kv: &KeyValue, id: &BranchId, prepare: &Prepare, begun: Begun) -> Result<Vote, ResourceError> {
    let mut group = Group::default();
    if let Err(declined) = group.add(kv, id, prepare, begun) {
        return declined.vote();
    }
    let branches = group.written(kv).await?;
    let (_, vote) = settle(kv, branches).pop().expect("it has one branch");
    Ok(vote)
}

/// Branches that share a write.
#[derive(Default)]
struct Group {
    batch: Batch,
    /// The events of branches that commit with the write, in their order.
    events: Vec<StoredEvent>,
    branches: Vec<Ready>,
    result_bytes: usize,
}

/// The outcome of a branch's work, once that is written.
struct Ready {
    id: BranchId,
    vote: Vote,
    /// The branch, if it stays until it hears the decision; else it is over.
    stays: Option<Branch>,
    /// The places of its events among those that the write publishes.
    events: Range<usize>,
    /// The last of them, once they are written.
    emitted: Option<EventId>,
}

impl Ready {
    fn result_bytes(&self) -> usize {
        match &self.vote {
            Vote::Prepared { result } | Vote::ReadOnly { result } | Vote::Committed { result } => result.len(),
            Vote::Refused(_) => 0,
        }
    }
}

impl Group {
    /// Evaluates the work under its locks. A refusal frees them.
    fn add(&mut self, kv: &KeyValue, id: &BranchId, prepare: &Prepare, mut begun: Begun) -> Result<(), Declined> {
        // Events may take whatever an operation left.
        let tell = if begun.work.emits.is_empty() { Tell::Learnt } else { Tell::All };
        let evaluated = marks::refuse_marked(kv, None, &begun.work.respect)
            .and_then(|()| evaluate(kv, &begun.work.operations, tell, most_read(kv)));
        let (mark, before, events_before) = (self.batch.mark(), self.bytes(), self.events.len());
        let added = evaluated.and_then(|mut evaluation| {
            let emits = std::mem::take(&mut begun.work.emits);
            let events = kv.events_of(emits, Place::Branch, &evaluation.results, &id.tx)?;
            evaluation.forget_what_was_brought(&begun.work.operations);
            let ready = self.put_ready(&kv.table, id, prepare, (evaluation, events), begun.wanted);
            kv.refuse_too_large(self.bytes() - before).inspect_err(|_| {
                self.batch.rewind(mark);
                self.events.truncate(events_before);
            })?;
            Ok(ready)
        });
        match added {
            Ok(ready) => {
                self.result_bytes += ready.result_bytes();
                self.branches.push(ready);
                Ok(())
            }
            Err(declined @ (Declined::Refused(_) | Declined::NoRoom)) => {
                kv.locks.release(&id.tx);
                Err(declined)
            }
            Err(failed @ Declined::Failed(_)) => Err(failed),
        }
    }

    /// Returns the bytes that it has in memory.
    fn bytes(&self) -> usize {
        self.batch.payload_bytes() + self.result_bytes + publish::bytes_of(&self.events)
    }

    fn write(self, kv: &Arc<KeyValue>) -> Preparing {
        let (kv, written) = (kv.clone(), self.written(kv));
        async move { Ok(Voted { votes: settle(&kv, written.await?), ..Voted::default() }) }.boxed()
    }

    /// Queues the write before it returns, if there is room for it at the store.
    fn written(self, kv: &KeyValue) -> impl Future<Output = Result<Vec<Ready>, ResourceError>> + use<> {
        let mut held = kv.room().hold();
        held.add(self.bytes());
        let Group { batch, events, mut branches, .. } = self;
        let written = (!batch.is_empty()).then(|| kv.publish_in_turn(batch, events));
        async move {
            let _held = held;
            if let Some(written) = written {
                refuse_if_not_written(&mut branches, written.await)?;
            }
            Ok(branches)
        }
    }
}

impl Group {
    /// Puts into the batch what has to be written before the vote may be told.
    fn put_ready(
        &mut self,
        table: &TransactionTable,
        id: &BranchId,
        prepare: &Prepare,
        (evaluation, events): (Evaluation, Vec<StoredEvent>),
        locks: BTreeMap<Bytes, Mode>,
    ) -> Ready {
        let events_before = self.events.len();
        let Evaluation { writes, results } = evaluation;
        let result = Results::encode(&results);
        let writes: Vec<Write> = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        let (vote, stage) = match (prepare.execution, writes.is_empty() && events.is_empty()) {
            (Execution::OnePhase, true) => (Vote::ReadOnly { result }, None),
            (Execution::OnePhase, false) => {
                record::put_data(&mut self.batch, &writes);
                table.put_finished(&mut self.batch, id, BranchOutcome::Committed, result.clone());
                self.events.extend(events);
                (Vote::Committed { result }, None)
            }
            (Execution::TwoPhase, true) => (Vote::ReadOnly { result }, Some(Stage::ReadOnly)),
            (Execution::TwoPhase, false) => {
                let shared = locks.into_iter().filter(|(_, mode)| *mode == Mode::Shared);
                let record = KeyValueBranch { read_keys: shared.map(|(key, _)| key).collect(), writes, events };
                table.put_prepared(&mut self.batch, id, prepare.begun_at, result.clone(), &record);
                let KeyValueBranch { writes, events, .. } = record;
                (Vote::Prepared { result }, Some(Stage::prepared(Effects { writes, events })))
            }
        };
        let stays = stage.map(|stage| Branch { id: id.clone(), begun_at: prepare.begun_at, stage });
        let published = events_before..self.events.len();
        Ready { id: id.clone(), vote, stays, events: published, emitted: None }
    }
}

/// Notes what was published, or refuses all who needed a write that was not applied: nobody is bound yet.
fn refuse_if_not_written(
    branches: &mut [Ready],
    written: Result<Vec<EventId>, ResourceError>,
) -> Result<(), ResourceError> {
    let cause = match written {
        Ok(published) => {
            for ready in branches {
                ready.emitted = published[ready.events.clone()].last().copied();
            }
            return Ok(());
        }
        Err(ResourceError::Unavailable { cause }) => cause,
        Err(
            error @ (ResourceError::NoRoom
            | ResourceError::Unclear { .. }
            | ResourceError::Foreign { .. }
            | ResourceError::Stopped { .. }
            | ResourceError::Fenced { .. }),
        ) => return Err(error),
    };
    for Ready { vote, stays, .. } in branches {
        match vote {
            Vote::Prepared { .. } | Vote::Committed { .. } => {
                *vote = Vote::Refused(Refusal::new(RefusalCode::Unavailable, cause.clone()));
                *stays = None;
            }
            Vote::ReadOnly { .. } | Vote::Refused(_) => {}
        }
    }
    Ok(())
}

/// Settles branches whose records are written: who stays is known from now on, who is over has no locks any more.
fn settle(kv: &KeyValue, branches: Vec<Ready>) -> Votes {
    let committed = branches.iter().filter(|ready| matches!(ready.vote, Vote::Committed { .. }));
    kv.table.note_stored(committed.map(|ready| (ready.id.coordinator, ready.id.attempt_number)));
    let settle = |Ready { id, vote, stays, emitted, .. }: Ready| {
        kv.note_emitted(&id, emitted);
        match stays {
            Some(branch) => drop(kv.branches().insert(id.tx.clone(), Arc::new(branch))),
            None => kv.locks.release(&id.tx),
        }
        (id, vote)
    };
    branches.into_iter().map(settle).collect()
}
