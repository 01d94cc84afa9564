//! Submitting many transactions over one stream.
//!
//! A task takes transactions from the application while there is room, drains whatever is waiting into one batch, and
//! hands out answers in the order they come. When the stream breaks, it makes another and submits again, under the same
//! ids, whatever has no answer yet. Every transaction taken is answered exactly once, at the latest when its deadline
//! passes. What is refused for want of room comes back later, and meanwhile fewer are sent. An application that does not
//! read its answers stops the whole; dropping the answers ends it.

mod window;

use crate::client::{Client, coordinator};
use crate::connection::Connection;
use crate::error::{SubmitError, Unanswered};
use crate::options::Patience;
use crate::retry::{Pauses, RETRY_AFTER, Verdict, explain, is_untrusted, judge};
use crate::submission::Submission;
use crate::submit::{Answer, decided, known};
use futures::stream::{BoxStream, Fuse};
use futures::{FutureExt, Stream, StreamExt};
use prost::Message;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status, Streaming};
use undoubt_proto::convert::Malformed;
use undoubt_proto::v1::{self, sequenced_response};
use undoubt_vocabulary::TxId;
use window::Window;

/// The cause why a transaction has no answer, before it was first sent.
const NOT_SENT: &str = "it was not sent yet";

/// Larger batches gain nothing, and would hold back the answers behind them.
pub(crate) const MAX_BATCH_TRANSACTIONS: usize = 128;
/// A batch stops growing here. One transaction alone may be larger.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 20;

/// What became of one of many that were submitted.
#[derive(Debug)]
pub struct Completion {
    /// Its place in the order in which they were given, from 0.
    pub sequence: u64,
    /// Its id.
    pub tx: TxId,
    /// What [`Client::submit`] would have returned.
    pub result: Result<Answer, SubmitError>,
    /// From the moment it was taken until its answer.
    pub took: Duration,
}

impl Client {
    /// Submits all transactions and sagas of a stream, at most [`crate::ClientOptions::max_in_flight_transactions`] at a
    /// time, and yields what became of each as it becomes known. Ends once all are answered. Each has a deadline of its own.
    pub fn submit_many(
        &self,
        submissions: impl Stream<Item = impl Into<Submission> + 'static> + Send + 'static,
    ) -> impl Stream<Item = Completion> + Send + Unpin + 'static {
        let (answers, completions) = mpsc::channel(MAX_BATCH_TRANSACTIONS);
        let pipeline = Pipeline {
            connection: self.connection.clone(),
            submissions: submissions.map(Into::into).boxed().fuse(),
            answers,
            in_flight: BTreeMap::new(),
            due: BTreeSet::new(),
            queue: BTreeSet::new(),
            resting: BTreeSet::new(),
            sent: 0,
            window: Window::new(self.connection.options.max_in_flight_transactions),
            try_more_at: None,
            next_sequence: 0,
            pauses: Pauses::new(&self.connection.options, "stream"),
        };
        tokio::spawn(pipeline.run());
        ReceiverStream::new(completions)
    }
}

struct Pipeline {
    connection: Connection,
    submissions: Fuse<BoxStream<'static, Submission>>,
    answers: mpsc::Sender<Completion>,
    /// By sequence.
    in_flight: BTreeMap<u64, InFlight>,
    /// When each is looked at next: at its deadline, or before.
    due: BTreeSet<(Instant, u64)>,
    /// Those to be sent next. What was answered meanwhile is skipped, here and in `resting`.
    queue: BTreeSet<u64>,
    /// Those that were told to come back later.
    resting: BTreeSet<(Instant, u64)>,
    /// How many of those under way are with the coordinator, and how many may be.
    sent: usize,
    window: Window,
    /// When one more is tried, should none be answered until then.
    try_more_at: Option<Instant>,
    next_sequence: u64,
    pauses: Pauses,
}

struct InFlight {
    tx: TxId,
    request: v1::SubmitRequest,
    taken_at: Instant,
    patience: Patience,
    /// Its place in [`Pipeline::due`].
    due: Instant,
    pauses: Pauses,
    /// Sent over the present stream, and not answered.
    sent: bool,
    /// An earlier attempt may have taken effect.
    unclear: bool,
    cause: Cow<'static, str>,
}

impl InFlight {
    /// An attempt may have taken effect.
    fn maybe_received(&self) -> bool {
        self.sent || self.unclear
    }

    fn deadline(&self) -> Instant {
        self.patience.deadline(self.maybe_received())
    }
}

/// A stream that is open.
struct Link {
    batches: mpsc::Sender<v1::SubmitBatch>,
    responses: Streaming<v1::SubmitResponseBatch>,
}

/// Why a stream is no more.
enum Ended {
    Broken(Status),
    /// There is nothing left to do, or nobody reads the answers.
    Done,
}

impl Pipeline {
    async fn run(mut self) {
        while self.has_work().await {
            let opened = self.keeping_deadlines(open(self.connection.clone())).await;
            let ended = match opened {
                Some(Ok(link)) => self.drive(link).await,
                Some(Err(status)) => Ended::Broken(status),
                None => Ended::Done,
            };
            let Ended::Broken(status) = ended else { return };
            let pause = self.broken(&status).await;
            tracing::debug!(address = %self.connection.address, cause = explain(&status), ?pause, "opening anew");
            self.keeping_deadlines(sleep(pause)).await;
        }
    }

    /// Waits for a first transaction where none is under way.
    async fn has_work(&mut self) -> bool {
        while self.in_flight.is_empty() {
            tokio::select! {
                biased;
                () = self.answers.closed() => return false,
                submission = self.submissions.next() => match submission {
                    Some(submission) => self.take(submission).await,
                    None => return false,
                },
            }
        }
        !self.answers.is_closed()
    }

    /// Waits for `future` and answers those whose deadline passes meanwhile. `None` if nobody reads the answers.
    async fn keeping_deadlines<F: Future>(&mut self, future: F) -> Option<F::Output> {
        tokio::pin!(future);
        loop {
            let deadline = self.first_deadline();
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                () = self.answers.closed() => return None,
                () = at(deadline) => self.expire().await,
            }
        }
    }

    async fn drive(&mut self, mut link: Link) -> Ended {
        let resting: BTreeSet<_> = self.resting.iter().map(|(_, sequence)| *sequence).collect();
        self.queue = self.in_flight.keys().filter(|sequence| !resting.contains(sequence)).copied().collect();
        loop {
            if self.in_flight.is_empty() && self.submissions.is_done() {
                return Ended::Done;
            }
            let (deadline, wake) = (self.first_deadline(), self.resting.first().map(|(when, _)| *when));
            let room = self.in_flight.len() < self.connection.options.max_in_flight_transactions.max(1);
            let may_take = room && !self.submissions.is_done();
            let held_back = self.window.room(self.sent) == 0;
            let (something_to_send, may_open) = (!self.queue.is_empty(), !self.window.is_wide_open());
            let try_more_at = self.try_more_at.filter(|_| something_to_send && held_back && may_open);
            // Once closed, the responses end too, and say why.
            let may_send = something_to_send && !held_back && !link.batches.is_closed();
            // What is ready is taken before it is sent, so that a batch holds all that is there, and sent before more
            // answers are read, so that the coordinator does not run dry. Neither can starve the answers: both end
            // when there is no more room.
            tokio::select! {
                biased;
                () = self.answers.closed() => return Ended::Done,
                () = at(deadline) => self.expire().await,
                () = at(wake) => self.wake(),
                () = at(try_more_at) => self.try_more(),
                submission = self.submissions.next(), if may_take => if let Some(submission) = submission {
                    self.take(submission).await;
                    self.take_ready().await;
                },
                permit = link.batches.reserve(), if may_send => if let Ok(permit) = permit {
                    permit.send(self.next_batch());
                },
                batch = link.responses.message() => match batch {
                    Ok(Some(batch)) => self.receive(batch).await,
                    Ok(None) => return Ended::Broken(Status::unavailable("the coordinator ended the stream")),
                    Err(status) => return Ended::Broken(status),
                },
            }
        }
    }

    /// All that is there already, without looking at everything else between one and the next.
    async fn take_ready(&mut self) {
        let room = self.connection.options.max_in_flight_transactions.saturating_sub(self.in_flight.len());
        for _ in 0..room.min(MAX_BATCH_TRANSACTIONS) {
            // `next` is asked again, with somebody to wake, once this has found nothing.
            let Some(Some(submission)) = self.submissions.next().now_or_never() else { return };
            self.take(submission).await;
        }
    }

    async fn take(&mut self, submission: Submission) {
        let (sequence, taken_at, tx) = (self.next_sequence, Instant::now(), submission.id().clone());
        self.next_sequence += 1;
        match submission.request() {
            Ok(request) => {
                let pauses = Pauses::new(&self.connection.options, &tx);
                let cause = NOT_SENT.into();
                let patience = self.connection.options.patience(&submission, taken_at);
                let due = patience.unheard;
                let new = InFlight { tx, request, taken_at, patience, due, pauses, sent: false, unclear: false, cause };
                self.in_flight.insert(sequence, new);
                self.due.insert((due, sequence));
                self.queue.insert(sequence);
            }
            Err(invalid) => {
                let completion = Completion { sequence, tx, result: Err(invalid.into()), took: Duration::ZERO };
                self.hand_out(completion).await;
            }
        }
    }

    fn next_batch(&mut self) -> v1::SubmitBatch {
        let (mut requests, mut bytes) = (Vec::new(), 0);
        let most = MAX_BATCH_TRANSACTIONS.min(self.window.room(self.sent));
        while requests.len() < most && bytes < MAX_BATCH_BYTES {
            let Some(sequence) = self.queue.pop_first() else { break };
            let Some(waiting) = self.in_flight.get_mut(&sequence) else { continue };
            self.sent += usize::from(!std::mem::replace(&mut waiting.sent, true));
            // Why it failed before says more.
            if waiting.cause == NOT_SENT {
                waiting.cause = "no answer came in time".into();
            }
            bytes += waiting.request.encoded_len();
            requests.push(v1::SequencedRequest { sequence, request: Some(waiting.request.clone()) });
        }
        v1::SubmitBatch { requests }
    }

    async fn receive(&mut self, batch: v1::SubmitResponseBatch) {
        self.pauses = Pauses::new(&self.connection.options, "stream");
        for v1::SequencedResponse { sequence, result } in batch.responses {
            let Some(waiting) = self.in_flight.get(&sequence) else { continue };
            let tx = waiting.tx.clone();
            match result {
                Some(sequenced_response::Result::Outcome(outcome)) => {
                    self.window.answered();
                    let answer = match known(Some(outcome)) {
                        Ok(known) => decided(&tx, known),
                        Err(cause) => Err(SubmitError::Malformed { tx, cause }),
                    };
                    self.answer(sequence, answer).await;
                }
                Some(sequenced_response::Result::Error(error)) => self.refused(sequence, tx, error).await,
                None => {
                    let cause = Malformed::Missing { field: "responses.result" };
                    self.answer(sequence, Err(SubmitError::Malformed { tx, cause })).await;
                }
            }
        }
    }

    async fn refused(&mut self, sequence: u64, tx: TxId, error: v1::SubmitError) {
        let status = status(error);
        match judge(&status) {
            Verdict::Final => {
                let refused = SubmitError::answered(&self.connection.address, tx, &status);
                self.answer(sequence, Err(refused)).await;
            }
            Verdict::Again { after, maybe_received } => {
                let Some(waiting) = self.in_flight.get_mut(&sequence) else { return };
                self.sent -= usize::from(std::mem::take(&mut waiting.sent));
                waiting.unclear |= maybe_received;
                waiting.cause = explain(&status).into();
                let again_at = Instant::now().checked_add(waiting.pauses.next(after));
                if !maybe_received {
                    self.window.refused(self.sent);
                    self.try_more_at = again_at;
                }
                match again_at {
                    Some(when) if when < waiting.deadline() => {
                        self.resting.insert((when, sequence));
                    }
                    Some(_) | None => self.give_up(sequence).await,
                }
            }
        }
    }

    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(&(when, sequence)) = self.resting.first() {
            if when > now {
                break;
            }
            self.resting.pop_first();
            self.queue.insert(sequence);
        }
    }

    fn try_more(&mut self) {
        self.window.try_more(self.sent);
        self.try_more_at = Instant::now().checked_add(self.connection.options.max_backoff);
    }

    fn first_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(when, _)| *when)
    }

    async fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&(when, sequence)) = self.due.first()
            && when <= now
        {
            self.due.pop_first();
            let Some(waiting) = self.in_flight.get_mut(&sequence) else { continue };
            waiting.due = waiting.deadline();
            if waiting.due <= now {
                self.give_up(sequence).await;
            } else {
                self.due.insert((waiting.due, sequence));
            }
        }
    }

    async fn give_up(&mut self, sequence: u64) {
        let Some(waiting) = self.in_flight.get(&sequence) else { return };
        let cause = Unanswered {
            address: self.connection.address.to_string(),
            after: waiting.taken_at.elapsed(),
            cause: waiting.cause.clone().into_owned(),
            reason: None,
            maybe_received: waiting.maybe_received(),
        };
        let error = SubmitError::unanswered(waiting.tx.clone(), cause);
        self.answer(sequence, Err(error)).await;
    }

    /// Notes for all under way that the stream is no more, and says how long to stay away. A definite refusal of the
    /// stream answers them all, and so does a lack of trust, which no other try would mend.
    async fn broken(&mut self, status: &Status) -> Duration {
        match judge(status) {
            Verdict::Final => {
                for (sequence, tx) in self.in_flight.iter().map(|(s, w)| (*s, w.tx.clone())).collect::<Vec<_>>() {
                    let refused = SubmitError::answered(&self.connection.address, tx, status);
                    self.answer(sequence, Err(refused)).await;
                }
                self.pauses.next(None)
            }
            Verdict::Again { after, .. } => {
                for waiting in self.in_flight.values_mut() {
                    waiting.unclear |= std::mem::take(&mut waiting.sent);
                    waiting.cause = explain(status).into();
                }
                self.sent = 0;
                if is_untrusted(status) {
                    for sequence in self.in_flight.keys().copied().collect::<Vec<_>>() {
                        self.give_up(sequence).await;
                    }
                }
                self.pauses.next(after)
            }
        }
    }

    async fn answer(&mut self, sequence: u64, result: Result<Answer, SubmitError>) {
        let Some(done) = self.in_flight.remove(&sequence) else { return };
        self.due.remove(&(done.due, sequence));
        self.sent -= usize::from(done.sent);
        self.hand_out(Completion { sequence, tx: done.tx, result, took: done.taken_at.elapsed() }).await;
    }

    async fn hand_out(&mut self, completion: Completion) {
        // Nobody reads any more: the next look at `answers.closed()` ends the task.
        let _ = self.answers.send(completion).await;
    }
}

async fn open(connection: Connection) -> Result<Link, Status> {
    // One batch under way: what comes meanwhile makes the next one larger.
    let (batches, outgoing) = mpsc::channel(1);
    let mut coordinator = coordinator(&connection);
    let opening = coordinator.submit_many(ReceiverStream::new(outgoing));
    match tokio::time::timeout(connection.options.attempt_timeout, opening).await {
        Ok(response) => Ok(Link { batches, responses: response?.into_inner() }),
        Err(_elapsed) => Err(Status::unavailable("the connection is silent")),
    }
}

fn status(error: v1::SubmitError) -> Status {
    let mut metadata = MetadataMap::new();
    if error.retry_after_ms > 0 {
        metadata.insert(RETRY_AFTER, error.retry_after_ms.into());
    }
    Status::with_metadata(Code::from_i32(error.code), error.message, metadata)
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
