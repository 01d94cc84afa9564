//! A local transaction of a branch or a step on one session.

use super::Inner;
use super::sessions::{ANSWER_PATIENCE, Absent, Worker};
use crate::plan::Mutant;
use crate::world::database::rows::Saga;
use crate::world::database::wire::{Answer, Failure, Request, SessionId};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use undoubt_kv::work::Work;
use undoubt_kv_evaluation::Tell;
use undoubt_participant::locks::over;
use undoubt_participant::resource::ResourceError;
use undoubt_vocabulary::{Refusal, RefusalCode, TxId};
use undoubt_work::Results;

/// The reason why the work was not done.
#[derive(Debug)]
pub(super) enum Declined {
    /// Nothing is left behind.
    Refused(Refusal),
    /// It read more than there is room for now. Nothing is left behind.
    NoRoom,
    Failed(ResourceError),
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Declined::Refused(refusal)
    }
}

impl From<Absent> for Declined {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Away(why) => Refusal::new(RefusalCode::Unavailable, why).into(),
            fenced @ Absent::Fenced(_) => Declined::Failed(fenced.into()),
        }
    }
}

/// What a try came to: whether the session is in no transaction any more, and can be used again.
pub(super) type Tried<T> = Result<T, Failed>;

#[derive(Debug)]
pub(super) struct Failed {
    declined: Declined,
    is_free: bool,
}

impl Failed {
    pub(super) fn free(declined: impl Into<Declined>) -> Failed {
        Failed { declined: declined.into(), is_free: true }
    }

    /// It is certain, and the session broke.
    pub(super) fn certain(declined: Declined) -> Failed {
        Failed { declined, is_free: false }
    }

    /// It may have happened.
    pub(super) fn unclear() -> Failed {
        let cause = "the connection broke before the answer came".to_owned();
        Failed { declined: Declined::Failed(ResourceError::Unclear { cause }), is_free: false }
    }

    /// The session broke, and nothing was sent that could commit.
    pub(super) fn broken() -> Failed {
        let refusal = Refusal::new(RefusalCode::Unavailable, "the session broke; the server undoes what it had begun");
        Failed { declined: refusal.into(), is_free: false }
    }
}

/// A transaction that is about to be tried.
pub(super) struct Local<'a> {
    pub(super) inner: &'a Inner,
    pub(super) work: &'a Work,
    /// The saga whose own marks do not count.
    pub(super) own: Option<Saga>,
    pub(super) tell: Tell,
    pub(super) most_bytes: usize,
    pub(super) deadline: Instant,
    pub(super) cancelled: &'a CancellationToken,
}

/// Returns a session once one is free.
pub(super) async fn worker(
    inner: &Inner,
    tx: &TxId,
    deadline: Instant,
    cancelled: &CancellationToken,
) -> Result<Worker, Declined> {
    tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(over(tx).into()),
        worker = inner.sessions.worker() => Ok(worker?),
        () = sleep_until(deadline) => {
            Err(Refusal::new(RefusalCode::LockTimeout, "no session was free before the deadline").into())
        }
    }
}

pub(super) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

/// Takes the session back, unless it may still be in a transaction: then it is a suspect from here on.
pub(super) fn put_back<T>(inner: &Inner, worker: Worker, tried: Tried<T>) -> Result<T, Declined> {
    match tried {
        Ok(done) => {
            inner.sessions.give_back(worker);
            Ok(done)
        }
        Err(Failed { declined, is_free }) => {
            if is_free {
                inner.sessions.give_back(worker);
            }
            let unclear = matches!(declined, Declined::Failed(ResourceError::Unclear { .. }));
            if unclear && inner.mutates(Mutant::UnclearCalledUnavailable) {
                let cause = "nobody knows".to_owned();
                return Err(Declined::Failed(ResourceError::Unavailable { cause }));
            }
            Err(declined)
        }
    }
}

impl Local<'_> {
    /// Returns the requests that begin the transaction and do the work. The last is answered with what it came to.
    pub(super) fn opening(&self) -> Vec<Request> {
        let locks = self.work.locks();
        // As its operations name them: a database locks what it comes upon.
        let mut keys: Vec<Bytes> = self.work.operations.iter().map(|operation| operation.key().clone()).collect();
        keys.extend(locks.keys().cloned());
        let mut ordered = Vec::new();
        for key in keys {
            let mode = locks[&key];
            if !ordered.iter().any(|(known, _)| *known == key) {
                ordered.push((key, mode));
            }
        }
        let marked = self.work.respect.iter().chain(self.own.iter().flat_map(|_| &self.work.pend));
        let keys: Vec<Bytes> = marked.cloned().collect();
        let unmarked = (!keys.is_empty()).then(|| Request::Unmarked { keys, own: self.own.clone() });
        let operations = self.work.operations.clone();
        let work = Request::Work { operations, tell: self.tell, most_bytes: self.most_bytes };
        [Request::Begin, Request::Lock(ordered)].into_iter().chain(unmarked).chain([work]).collect()
    }

    /// Sends all at once. At the deadline, or once cancelled, the server is told to stop, and its answers are still waited for.
    /// Fewer answers than requests: the session broke.
    pub(super) async fn trip(&self, worker: &mut Worker, requests: Vec<Request>) -> Vec<Answer> {
        let session = worker.session().id;
        let mut answers = std::pin::pin!(worker.session().trip(requests));
        tokio::select! {
            biased;
            answers = &mut answers => return answers,
            () = self.cancelled.cancelled() => {}
            () = sleep_until(self.deadline) => {}
        }
        let both = futures::future::join(answers, self.call_off(session));
        timeout(ANSWER_PATIENCE, both).await.map_or_else(|_| Vec::new(), |(answers, ())| answers)
    }

    /// What is called off must be told before the session goes on to something else, or that would be called off.
    async fn call_off(&self, session: SessionId) {
        if let Ok(mut control) = self.inner.sessions.control().await {
            // If it cannot be told, the server's own timeout ends the wait.
            let _ = control.session().ask(Request::CallOff(session)).await;
        }
    }

    /// Begins the transaction and does the work. Nothing is sent that could commit, so what fails is undone for certain.
    pub(super) async fn run(&self, worker: &mut Worker) -> Tried<Bytes> {
        let requests = self.opening();
        let count = requests.len();
        let answers = self.trip(worker, requests).await;
        let declined = match first_failure(&answers) {
            Some(failure) => self.declined(failure),
            None if answers.len() < count => return Err(Failed::broken()),
            None => return Ok(result_of(&answers[count - 1])),
        };
        // If it cannot be told, the session ends, and the server undoes it.
        let is_free = worker.session().ask(Request::Rollback).await.is_ok();
        Err(Failed { declined, is_free })
    }

    /// Sends the last statements of the transaction and its end.
    pub(super) async fn commit(&self, worker: &mut Worker, rows: Request) -> Tried<()> {
        let answers = self.trip(worker, vec![rows, Request::Commit]).await;
        match (first_failure(&answers), &answers[..]) {
            // What an error has ended is undone by its COMMIT.
            (Some(failure), [_, _]) => Err(Failed::free(self.declined(failure))),
            (Some(failure), _) => Err(Failed { declined: self.declined(failure), is_free: false }),
            (None, [Answer::Done, Answer::Done]) => Ok(()),
            (None, _) => Err(Failed::unclear()),
        }
    }

    /// Returns how a branch or a step is refused that met this failure.
    pub(super) fn declined(&self, failure: &Failure) -> Declined {
        let refusal = |code, why: &str| Refusal::new(code, why).into();
        match failure {
            Failure::Refused(refusal) => refusal.clone().into(),
            Failure::TooLarge => Declined::NoRoom,
            Failure::Deadlock => refusal(RefusalCode::LockConflict, "a deadlock in the database"),
            Failure::CalledOff if self.cancelled.is_cancelled() => refusal(RefusalCode::Late, "it was called off"),
            Failure::LockTimeout | Failure::CalledOff => {
                refusal(RefusalCode::LockTimeout, "a lock was not granted in time")
            }
            Failure::NoSlot => refusal(RefusalCode::Unavailable, "no slot for a prepared transaction is left"),
            Failure::Unwritten(why) => refusal(RefusalCode::Unavailable, why),
            Failure::InFailedTransaction | Failure::NotAsExpected | Failure::UnknownName | Failure::Busy => {
                refusal(RefusalCode::Unavailable, "the database did not keep a record of it")
            }
        }
    }
}

pub(super) fn first_failure(answers: &[Answer]) -> Option<&Failure> {
    answers.iter().find_map(|answer| if let Answer::Failed(failure) = answer { Some(failure) } else { None })
}

pub(super) fn result_of(answer: &Answer) -> Bytes {
    if let Answer::Values(values) = answer { Results::encode(values) } else { Bytes::new() }
}
