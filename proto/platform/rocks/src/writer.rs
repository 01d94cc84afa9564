//! The group-commit writer.
//!
//! One thread takes everything that has queued, applies it in one write, forces it if any of it was to be forced, and
//! answers all. While it does so the next group queues; nobody waits for company, and no lock is held across a forced
//! write. So a lone write is as fast as the device, and many at once share its forced writes.
//!
//! The first failure stops the writer for good (R8): after a failed force it is unknown what is on the device, and
//! writing on could leave a hole. The group in hand is answered with the failure, everything after with
//! [`StoreError::Stopped`].
//!
//! The queue is bounded in batches and in bytes (R9). One group is in hand while another queues, so at most twice the
//! bound is in memory.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::time::Instant;
use undoubt_platform::metrics::{StoreFigures, WriterFigures};
use undoubt_platform::store::{Batch, Completion, Durability, StoreError, Written};

/// The bounds on what may wait for the writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) batches: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    queue: Mutex<Queue>,
    changed: Condvar,
    figures: Arc<WriterFigures>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Vec<Job>,
    bytes: usize,
    /// The writer waits for something to do. Waking a thread that does not wait would cost a system call for each write.
    idle: bool,
    closing: bool,
    stopped: Option<String>,
}

#[derive(Debug)]
struct Job {
    batch: Batch,
    durability: Durability,
    completion: Completion,
}

impl Writer {
    /// Starts the writer. `apply` makes one group durable as asked, all of it or nothing; an empty one that is forced
    /// makes durable all that came before.
    pub(super) fn start(
        bounds: Bounds,
        apply: impl FnMut(&[Batch], Durability) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Writer, StoreError> {
        let shared =
            Arc::new(Shared { bounds, queue: Mutex::default(), changed: Condvar::new(), figures: Arc::default() });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&for_thread, apply))
            .map_err(|error: io::Error| StoreError::Io { detail: format!("starting the writer's thread: {error}") })?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    pub(super) fn enqueue(&self, batch: Batch, durability: Durability) -> Written {
        let (completion, written) = Written::pending();
        let bytes = batch.payload_bytes();
        let mut queue = self.shared.lock();
        match queue.refusal(bytes, self.shared.bounds) {
            Some(error) => completion.complete(Err(error)),
            None => {
                queue.bytes += bytes;
                queue.jobs.push(Job { batch, durability, completion });
                if std::mem::take(&mut queue.idle) {
                    self.shared.changed.notify_one();
                }
            }
        }
        written
    }

    /// Returns the most bytes of a batch; a larger one is refused.
    pub(super) fn max_batch_bytes(&self) -> usize {
        self.shared.bounds.bytes
    }

    pub(super) fn figures(&self) -> StoreFigures {
        let queue = self.shared.lock();
        StoreFigures {
            writer: self.shared.figures.clone(),
            queued_batches: queue.jobs.len(),
            max_queued_batches: self.shared.bounds.batches,
            queued_bytes: queue.bytes,
            max_queued_bytes: self.shared.bounds.bytes,
        }
    }
}

impl Drop for Writer {
    /// Waits until everything queued is written and forced.
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been told to every caller as Stopped.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn refusal(&self, bytes: usize, bounds: Bounds) -> Option<StoreError> {
        if let Some(cause) = &self.stopped {
            return Some(StoreError::Stopped { cause: cause.clone() });
        }
        if bytes > bounds.bytes {
            return Some(StoreError::BatchTooLarge { bytes, bound: "queue_bytes", limit: bounds.bytes });
        }
        if self.jobs.len() >= bounds.batches {
            return Some(full("queue_batches", bounds.batches, self.jobs.len()));
        }
        if self.bytes + bytes > bounds.bytes {
            return Some(full("queue_bytes", bounds.bytes, self.bytes));
        }
        None
    }
}

fn full(bound: &'static str, limit: usize, queued: usize) -> StoreError {
    let cause = format!("storage is slower than its callers: {queued} wait already, and the bound {bound} is {limit}");
    StoreError::Unavailable { cause }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns everything that is queued; `None` once the store is closing and nothing is left.
    fn next_group(&self) -> Option<Vec<Job>> {
        let mut queue = self
            .changed
            .wait_while(self.lock(), |queue| {
                queue.idle = queue.jobs.is_empty() && !queue.closing;
                queue.idle
            })
            .unwrap_or_else(PoisonError::into_inner);
        queue.bytes = 0;
        let jobs = std::mem::take(&mut queue.jobs);
        (!jobs.is_empty()).then_some(jobs)
    }

    /// Refuses all later writes, and those that wait.
    fn stop(&self, cause: String) {
        let waiting = {
            let mut queue = self.lock();
            queue.stopped.get_or_insert(cause.clone());
            queue.bytes = 0;
            std::mem::take(&mut queue.jobs)
        };
        for job in waiting {
            job.completion.complete(Err(StoreError::Stopped { cause: cause.clone() }));
        }
    }
}

/// Stops the queue when the thread ends, also by a panic: nobody may wait for a writer that is gone.
struct StopAtEnd<'a>(&'a Shared);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop("the writer's thread ended".into());
    }
}

fn run(shared: &Shared, mut apply: impl FnMut(&[Batch], Durability) -> Result<(), StoreError>) {
    let _stop = StopAtEnd(shared);
    let mut all_forced = true;
    while let Some(group) = shared.next_group() {
        let forced = group.iter().any(|job| job.durability == Durability::Forced);
        let durability = if forced { Durability::Forced } else { Durability::Lazy };
        let (batches, completions): (Vec<Batch>, Vec<Completion>) =
            group.into_iter().map(|job| (job.batch, job.completion)).unzip();
        let began = Instant::now();
        let outcome = apply(&batches, durability);
        match &outcome {
            Ok(()) => {
                let bytes = batches.iter().map(Batch::payload_bytes).sum();
                shared.figures.add(batches.len(), bytes, forced.then(|| began.elapsed()));
            }
            Err(error) => shared.stop(error.to_string()),
        }
        for completion in completions {
            completion.complete(outcome.clone());
        }
        if outcome.is_err() {
            return;
        }
        all_forced = forced;
    }
    if !all_forced {
        // Nobody was promised this, so nobody is there to hear of a failure: the next start finds a shorter log.
        let _ = apply(&[], Durability::Forced);
    }
}

#[cfg(test)]
mod tests;
