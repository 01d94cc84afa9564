//! The answer to a write: a future for who asked, a completion for who writes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::StoreError;

/// Resolves once the write is as durable as was asked, or has failed. Dropping it does not recall the write.
#[derive(Debug)]
#[must_use = "only the answer says whether the write is durable"]
pub struct Written(oneshot::Receiver<Result<(), StoreError>>);

/// The writer's end of a [`Written`]. Dropped without an answer, it tells that the store stopped.
#[derive(Debug)]
pub struct Completion(oneshot::Sender<Result<(), StoreError>>);

impl Written {
    pub fn pending() -> (Completion, Written) {
        let (sender, receiver) = oneshot::channel();
        (Completion(sender), Written(receiver))
    }

    /// An answer that is known at once.
    pub fn ready(result: Result<(), StoreError>) -> Written {
        let (completion, written) = Written::pending();
        completion.complete(result);
        written
    }
}

impl Completion {
    pub fn complete(self, result: Result<(), StoreError>) {
        // Nobody listening is fine: the write holds whether or not its answer is awaited.
        let _ = self.0.send(result);
    }
}

impl Future for Written {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| Err(StoreError::Stopped { cause: "the writer ended without an answer".into() }))
        })
    }
}
