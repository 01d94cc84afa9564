//! The answer to a write: a future for who asked, a completion for who writes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::StoreError;

type Answer = Result<(), StoreError>;

/// A function that sees an answer just before the one who awaits it.
type Observer = Box<dyn FnOnce(&Answer) + Send>;

/// Resolves once the write is as durable as was asked, or has failed. Dropping it does not recall the write.
#[must_use = "only the answer says whether the write is durable"]
pub struct Written {
    answer: oneshot::Receiver<Answer>,
    observer: Option<Observer>,
}

/// The writer's end of a [`Written`]. Dropped without an answer, it tells that the store stopped.
#[derive(Debug)]
pub struct Completion(oneshot::Sender<Answer>);

impl Written {
    pub fn pending() -> (Completion, Written) {
        let (sender, receiver) = oneshot::channel();
        (Completion(sender), Written { answer: receiver, observer: None })
    }

    /// Returns an answer that is known at once.
    pub fn ready(result: Answer) -> Written {
        let (completion, written) = Written::pending();
        completion.complete(result);
        written
    }

    /// Returns the same answer, which `observer` sees just before the one who awaits it, and after those that were given before; not if
    /// it is never awaited.
    pub fn observed_by(self, observer: impl FnOnce(&Answer) + Send + 'static) -> Written {
        let observer: Observer = match self.observer {
            None => Box::new(observer),
            Some(first) => Box::new(|answer| {
                first(answer);
                observer(answer);
            }),
        };
        Written { answer: self.answer, observer: Some(observer) }
    }
}

impl Completion {
    pub fn complete(self, result: Answer) {
        // Nobody listening is fine: the write holds whether or not its answer is awaited.
        let _ = self.0.send(result);
    }
}

impl Future for Written {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context))
            .unwrap_or_else(|_| Err(StoreError::Stopped { cause: "the writer ended without an answer".into() }));
        if let Some(observer) = self.observer.take() {
            observer(&answer);
        }
        Poll::Ready(answer)
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Written").field(&self.answer).finish()
    }
}
