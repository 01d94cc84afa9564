//! Many submissions on one stream.
//!
//! Requests are read as long as fewer than `max_in_flight_per_stream` of this stream are unanswered; then reading waits,
//! and HTTP/2 flow control holds the client back. Answers that are ready together go out together.

use super::{answers, requests, stream_reply};
use crate::config::Config;
use crate::engine::{Command, Handle, Replied};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use undoubt_proto::v1;
use v1::sequenced_response::Result as Sequenced;

/// Answers in one batch.
const MAX_ANSWERS_PER_BATCH: usize = 1_024;

/// Batches of answers that wait for the client to read.
const MAX_BATCHES_UNDER_WAY: usize = 2;

pub(super) fn serve(
    engine: Handle,
    config: Arc<Config>,
    incoming: Streaming<v1::SubmitBatch>,
) -> impl Stream<Item = Result<v1::SubmitResponseBatch, Status>> + Send {
    let (out, batches) = mpsc::channel(MAX_BATCHES_UNDER_WAY);
    tokio::spawn(async move {
        if let Err(status) = pump(engine, &config, incoming, &out).await {
            // The client may have gone; then nobody wants to know.
            let _ = out.send(Err(status)).await;
        }
    });
    ReceiverStream::new(batches)
}

async fn pump(
    engine: Handle,
    config: &Config,
    mut incoming: Streaming<v1::SubmitBatch>,
    out: &mpsc::Sender<Result<v1::SubmitResponseBatch, Status>>,
) -> Result<(), Status> {
    let (answered, mut answers) = mpsc::unbounded_channel::<(u64, Replied)>();
    let mut in_flight = 0_usize;
    let mut reading = true;
    let mut ready = Vec::new();
    while reading || in_flight > 0 {
        tokio::select! {
            batch = incoming.message(), if reading && in_flight < config.max_in_flight_per_stream => {
                let Some(batch) = batch? else {
                    reading = false;
                    continue;
                };
                let mut refused = Vec::new();
                for v1::SequencedRequest { sequence, request } in batch.requests {
                    match requests::parse(request.unwrap_or_default(), config) {
                        Ok((_, Some(_))) => {
                            refused.push(error(sequence, &requests::BadRequest::CallbackInStream.into()));
                        }
                        Ok((request, None)) => {
                            let reply = stream_reply(sequence, &answered);
                            engine.tell(Command::Submit { request, reply }).await.map_err(answers::gone)?;
                            in_flight += 1;
                        }
                        Err(bad) => refused.push(error(sequence, &bad.into())),
                    }
                }
                if !refused.is_empty() && out.send(Ok(v1::SubmitResponseBatch { responses: refused })).await.is_err() {
                    return Ok(());
                }
            }
            count = answers.recv_many(&mut ready, MAX_ANSWERS_PER_BATCH) => {
                in_flight -= count;
                let responses = ready.drain(..).map(|(sequence, replied)| response(sequence, replied)).collect();
                if out.send(Ok(v1::SubmitResponseBatch { responses })).await.is_err() {
                    return Ok(());
                }
            }
            () = out.closed() => return Ok(()),
        }
    }
    Ok(())
}

fn response(sequence: u64, replied: Replied) -> v1::SequencedResponse {
    match answers::outcome_of(replied) {
        Ok(outcome) => v1::SequencedResponse { sequence, result: Some(Sequenced::Outcome(outcome)) },
        Err(status) => error(sequence, &status),
    }
}

fn error(sequence: u64, status: &Status) -> v1::SequencedResponse {
    v1::SequencedResponse { sequence, result: Some(Sequenced::Error(answers::error_of(status))) }
}
