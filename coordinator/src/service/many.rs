//! Many submissions on one stream.
//!
//! Requests are read as long as fewer than `max_in_flight_per_stream` of this stream are unanswered; then reading waits,
//! and HTTP/2 flow control holds the client back. Answers that are ready together go out together. An answer for which
//! the connection has no room is dropped, and asked for again once there is.

use super::{Submitter, answers, requests};
use crate::config::Config;
use crate::engine::{Command, Handle, Replied, Reply};
use bytes::Bytes;
use futures::future::{BoxFuture, pending};
use prost::Message as _;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Status, Streaming};
use undoubt_coordinator_core::{Answer, Rejection};
use undoubt_platform::server::AnswerRoom;
use undoubt_proto::v1;
use undoubt_vocabulary::TxId;
use v1::sequenced_response::Result as Sequenced;

/// A batch is closed when it has this many answers or bytes.
const MAX_ANSWERS_PER_BATCH: usize = 1_024;
const MAX_BYTES_PER_BATCH: usize = 256 << 10;

/// Batches of answers that wait for the client to read.
const MAX_BATCHES_UNDER_WAY: usize = 2;

/// An answer of the engine to one request of many, and the room that it has.
pub(crate) type Sequence = (u64, Replied, AnswerRoom);

/// Answers that go out together, and the room they have.
struct Batch {
    responses: Vec<v1::SequencedResponse>,
    room: AnswerRoom,
    bytes: usize,
}

impl Batch {
    fn new(room: AnswerRoom) -> Batch {
        Batch { responses: Vec::new(), room, bytes: 0 }
    }
}

type Batches = mpsc::Sender<Result<Batch, Status>>;

pub(super) fn serve(
    engine: Handle,
    config: Arc<Config>,
    incoming: Streaming<v1::SubmitBatch>,
    room: AnswerRoom,
    by: Submitter,
) -> impl Stream<Item = Result<v1::SubmitResponseBatch, Status>> + Send {
    let (out, batches) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
    tokio::spawn(async move {
        let (answered, answers) = mpsc::unbounded_channel();
        let batch = Batch::new(room.another());
        let pump = Pump {
            engine,
            by,
            room,
            answered,
            in_flight: 0,
            batch,
            again: VecDeque::new(),
            asked: BTreeSet::new(),
            out: out.clone(),
        };
        if let Err(status) = pump.run(&config, incoming, answers).await {
            // The client may have gone; then nobody wants to know.
            let _ = out.send(Err(status)).await;
        }
    });
    ReceiverStream::new(batches).map(|batch| {
        let Batch { responses, room, .. } = batch?;
        room.hand_over();
        Ok(v1::SubmitResponseBatch { responses })
    })
}

struct Pump {
    engine: Handle,
    by: Submitter,
    room: AnswerRoom,
    answered: mpsc::UnboundedSender<Sequence>,
    in_flight: usize,
    /// Those that are about to go out.
    batch: Batch,
    /// Those for which there was no room.
    again: VecDeque<(u64, TxId, AnswerRoom)>,
    /// Those that have been asked for again.
    asked: BTreeSet<u64>,
    out: Batches,
}

/// The client has gone.
struct Gone;

impl Pump {
    async fn run(
        mut self,
        config: &Config,
        mut incoming: Streaming<v1::SubmitBatch>,
        mut answers: mpsc::UnboundedReceiver<Sequence>,
    ) -> Result<(), Status> {
        let mut reading = true;
        let mut ready = Vec::new();
        let mut growing: BoxFuture<'static, (u64, TxId, Result<AnswerRoom, Status>)> = Box::pin(pending());
        let mut is_growing = false;
        while reading || self.in_flight > 0 {
            if !is_growing && let Some((sequence, tx, mut room)) = self.again.pop_front() {
                growing = Box::pin(async move {
                    let grown = room.grow().await;
                    (sequence, tx, grown.map(|()| room))
                });
                is_growing = true;
            }
            let done = tokio::select! {
                batch = incoming.message(), if reading && self.in_flight < config.max_in_flight_per_stream => {
                    match batch? {
                        Some(batch) => self.take(batch, config).await?,
                        None => {
                            reading = false;
                            Ok(())
                        }
                    }
                }
                _ = answers.recv_many(&mut ready, MAX_ANSWERS_PER_BATCH) => self.answer(&mut ready).await,
                (sequence, tx, grown) = &mut growing, if is_growing => {
                    is_growing = false;
                    match grown {
                        Ok(room) => {
                            let reply = self.reply(sequence, room);
                            self.asked.insert(sequence);
                            self.engine.tell(Command::Await { tx, reply }).await?;
                            Ok(())
                        }
                        Err(status) => {
                            self.in_flight -= 1;
                            self.put(error(sequence, &answers::decided_but(&status)), self.room.another()).await
                        }
                    }
                }
                () = self.out.closed() => Err(Gone),
            };
            if let Err(Gone) = done {
                return Ok(());
            }
            if self.send().await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn reply(&self, sequence: u64, room: AnswerRoom) -> Reply {
        Reply::Stream { sequence, room, to: self.answered.clone() }
    }

    async fn take(&mut self, batch: v1::SubmitBatch, config: &Config) -> Result<Result<(), Gone>, Status> {
        for v1::SequencedRequest { sequence, request } in batch.requests {
            let request = request.unwrap_or_default();
            let tx = request.tx.clone();
            let bad = match requests::parse_in_stream(request, config, &self.by.origin) {
                Ok((_, Some(_))) => requests::BadRequest::CallbackInStream,
                Ok((request, None)) => {
                    let reply = self.reply(sequence, self.room.another());
                    self.engine.tell(Command::Submit { request, reply }).await?;
                    self.in_flight += 1;
                    continue;
                }
                Err(bad) => bad,
            };
            let refused = error(sequence, &self.by.refused(&tx, bad.into()));
            if let Err(gone) = self.put(refused, self.room.another()).await {
                return Ok(Err(gone));
            }
        }
        Ok(Ok(()))
    }

    async fn answer(&mut self, ready: &mut Vec<Sequence>) -> Result<(), Gone> {
        for (sequence, replied, room) in ready.drain(..) {
            let was_decided = self.asked.remove(&sequence);
            let response = match replied {
                Replied::Again(tx) => {
                    self.again.push_back((sequence, tx, room));
                    continue;
                }
                Replied::Core(Answer::Rejected(Rejection::NotFound)) if was_decided => {
                    error(sequence, &answers::collected())
                }
                replied @ (Replied::Core(_)
                | Replied::NoRoom(_)
                | Replied::UnknownParticipant(_)
                | Replied::Exceeded(_)
                | Replied::NotOwner) => match answers::outcome_of(replied) {
                    Ok(outcome) => v1::SequencedResponse { sequence, result: Some(Sequenced::Outcome(outcome)) },
                    // The engine does not say which one it was.
                    Err(status) => error(sequence, &self.by.refused(&Bytes::new(), status)),
                },
            };
            self.in_flight -= 1;
            self.put(response, room).await?;
        }
        Ok(())
    }

    async fn put(&mut self, response: v1::SequencedResponse, room: AnswerRoom) -> Result<(), Gone> {
        self.batch.bytes += response.encoded_len();
        self.batch.responses.push(response);
        self.batch.room.absorb(room);
        let is_full = self.batch.responses.len() == MAX_ANSWERS_PER_BATCH || self.batch.bytes >= MAX_BYTES_PER_BATCH;
        if is_full { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Gone> {
        if self.batch.responses.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Batch::new(self.room.another()));
        self.out.send(Ok(batch)).await.map_err(|_| Gone)
    }
}

fn error(sequence: u64, status: &Status) -> v1::SequencedResponse {
    v1::SequencedResponse { sequence, result: Some(Sequenced::Error(answers::error_of(status))) }
}
