//! The messages that go out to one participant: as many as are queued, in batches of bounded size.

use crate::points::around_send;
use crate::queue::{Outgoing, Queue, bytes_of};
use tokio::sync::mpsc;
use undoubt_platform::{CrashPoints, NumberedStore};
use undoubt_proto::v1::{CoordinatorBatch, StillOpen, ToParticipant};
use undoubt_vocabulary::ParticipantName;
use undoubt_vocabulary::limits::USUAL_COORDINATOR_BATCH_BYTES;

/// A batch closes before it has more messages than this, or more bytes than is usual.
pub(crate) const MAX_MESSAGES_PER_BATCH: usize = 1_024;

/// The most bytes that the encoding of an attempt number takes.
const ATTEMPT_NUMBER_BYTES: usize = 10;

/// Drains the queue into the stream until either is closed.
pub(super) async fn send(
    participant: &ParticipantName,
    queue: Queue,
    batches: mpsc::Sender<CoordinatorBatch>,
    log: &NumberedStore,
    crash: &CrashPoints,
) {
    while let Some(drained) = queue.drain().await {
        let mut messages = drained.messages.into_iter().peekable();
        let mut still_open: Option<StillOpen> = drained.tells_still_open.then(|| (&drained.low_water_mark).into());
        loop {
            let still_open = still_open.take();
            let mut bytes = still_open.as_ref().map_or(0, |open| open.attempt_numbers.len() * ATTEMPT_NUMBER_BYTES);
            let mut batch = CoordinatorBatch {
                hello: None,
                low_water_mark: drained.low_water_mark.below().0,
                messages: Vec::new(),
                stable_writes: log.stable().writes,
                proof: None,
                still_open,
            };
            let mut reached = Vec::new();
            while let Some(outgoing) = messages.next_if(|next| fits(batch.messages.len(), bytes, next)) {
                bytes += bytes_of(&outgoing);
                let Outgoing { message, trace } = outgoing;
                let (before, after) = around_send(&message);
                crash.reach(before);
                reached.push(after);
                tracing::debug!(target: "undoubt::wire", to = %participant, what = message.name(),
                    tx = %message.tx(), attempt_number = message.attempt_number().0, "sent");
                let trace_context = trace.as_deref().map(Into::into);
                batch.messages.push(ToParticipant { trace_context, ..message.into() });
            }
            if batches.send(batch).await.is_err() {
                return;
            }
            reached.into_iter().for_each(|point| crash.reach(point));
            if messages.peek().is_none() {
                break;
            }
        }
    }
}

fn fits(messages: usize, bytes: usize, next: &Outgoing) -> bool {
    messages == 0 || (messages < MAX_MESSAGES_PER_BATCH && bytes + bytes_of(next) <= USUAL_COORDINATOR_BATCH_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::META;
    use bytes::Bytes;
    use prost::Message as _;
    use std::time::Duration;
    use undoubt_vocabulary::limits::{MAX_COORDINATOR_BATCH_BYTES, MAX_STEP_INPUT_BYTES, MAX_WORK_BYTES};
    use undoubt_vocabulary::{AttemptNumber, Direction, RunStep, StepIndex, Timestamp, ToParticipant, TxId};

    fn run(number: usize, work_bytes: usize, inputs: Vec<Bytes>) -> ToParticipant {
        let tx: TxId = format!("{number:064}").parse().unwrap();
        ToParticipant::Run(RunStep {
            tx,
            attempt_number: AttemptNumber(u64::MAX),
            step: StepIndex(u16::MAX),
            direction: Direction::Compensating,
            acted_elsewhere: false,
            check_back: false,
            attempt: u32::MAX,
            begun_at: Timestamp(u64::MAX),
            timeout: Duration::MAX,
            work: vec![7; work_bytes].into(),
            inputs,
        })
    }

    async fn batches(messages: Vec<ToParticipant>) -> Vec<CoordinatorBatch> {
        let queue = Queue::default();
        queue.push(messages, AttemptNumber(1).into());
        let (sender, mut receiver) = mpsc::channel(1_000);
        let name: ParticipantName = "bank".parse().unwrap();
        let crash = CrashPoints::default();
        let (log, _) = NumberedStore::begin(crate::log::in_memory(), META, [1; 16], 0, 1).await.unwrap();
        let sending = send(&name, queue.clone(), sender, &log, &crash);
        tokio::pin!(sending);
        assert!(futures::poll!(&mut sending).is_pending(), "all that was queued is sent, and it waits for more");
        queue.close();
        sending.await;
        let mut found = Vec::new();
        while let Some(batch) = receiver.recv().await {
            found.push(batch);
        }
        found
    }

    #[tokio::test]
    async fn a_batch_stays_below_what_is_promised_whatever_it_carries() {
        let largest = || run(1, MAX_WORK_BYTES, vec![vec![7; MAX_STEP_INPUT_BYTES / 64].into(); 64]);
        let almost = |number| run(number, USUAL_COORDINATOR_BATCH_BYTES - 1, Vec::new());
        let inputs = |number| run(number, 0, vec![vec![7; USUAL_COORDINATOR_BATCH_BYTES / 64].into(); 64]);
        let mut messages = Vec::new();
        for number in 0..5 {
            messages.extend([largest(), run(number, 9, Vec::new()), almost(number), inputs(number)]);
        }
        messages.extend((0..5_000).map(|number| run(number, 0, Vec::new())));
        let count = messages.len();
        let batches = batches(messages).await;
        assert!(batches.iter().all(|batch| batch.encoded_len() < MAX_COORDINATOR_BATCH_BYTES));
        let is_usual = |batch: &CoordinatorBatch| {
            batch.messages.len() == 1 || batch.encoded_len() <= USUAL_COORDINATOR_BATCH_BYTES
        };
        assert!(batches.iter().all(is_usual));
        assert!(batches.iter().all(|batch| batch.messages.len() <= MAX_MESSAGES_PER_BATCH));
        assert_eq!(batches.iter().map(|batch| batch.messages.len()).sum::<usize>(), count);
    }

    #[tokio::test]
    async fn small_messages_share_a_batch() {
        let batches = batches((0..1_000).map(|number| run(number, 99, Vec::new())).collect()).await;
        assert_eq!(batches.len(), 1);
    }
}
