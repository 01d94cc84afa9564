//! Calling back: whoever submitted a transaction and did not wait hears how it ended, by an HTTP POST.
//!
//! That somebody is to be called is stable before the transaction is accepted, and is forgotten only once the callee has
//! answered definitely, so it survives restarts on both sides. The callee may hear the same more than once: the
//! transaction's id tells. What its answers mean is in `call`. Without a definite one it is called again, with capped and
//! jittered pauses, until `callback_give_up_s` have passed since the outcome was known, or since a restart after it. Several
//! submissions of one id may each name somebody else, and all of them are called.
//!
//! A callee hears what is on record, and nothing else: the record of an end is not collected while a call about it is owed,
//! and an abort that a crash leads to is put on record before it is told.

mod allowed;
pub(crate) mod call;
pub(crate) mod promises;
pub(crate) mod share;
pub(crate) mod signature;
mod traced;

use crate::address::{self, Flaw};
use crate::config::Config;
use crate::engine::{Command, Handle, NewTransaction, Replied};
use crate::log::{Apart, Log, LogError};
pub use signature::{CallbackSecret, WeakSecret};

use promises::{Full, Promises, Stage};
use share::Shares;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::transport::Uri;
use traced::CallSpans;
use undoubt_coordinator_core::{Answer, EndedRecord, Record, Rejection};
use undoubt_platform::dial::Dial;
use undoubt_platform::server::{AnswerRoom, EngineGone};
use undoubt_platform::store::Pauses;
use undoubt_platform::traces::Span;
use undoubt_platform::{Batch, Clock, Durability, Random, StoreError, Traces, Written};
use undoubt_vocabulary::limits::MAX_URL_BYTES;
use undoubt_vocabulary::{AttemptNumber, Epoch, Outcome, Timestamp, TxId};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadUrl {
    #[error("callback {given:?} is no URL of the form http://host:port/path or https://host:port/path; correct it")]
    Form { given: String },
    #[error("the callback's URL has {given} bytes, more than the {MAX_URL_BYTES} allowed; shorten it")]
    TooLong { given: usize },
    #[error(
        "the callback's URL names a user or a password, and none is sent; take it out, and let the path or the query hold \
         what the callee recognises the call by"
    )]
    Credentials,
    #[error(
        "callbacks to {host} are not allowed by this coordinator; name a URL under one that is, or have it added to its \
         setting callback_allow"
    )]
    NotAllowed { host: String },
    #[error(
        "this coordinator knows no CA for callbacks with https://; have its setting callback_ca set, or name an http:// URL"
    )]
    NoCa,
}

/// The reason why a submission that names a callee has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSubmitted {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("another submission of this id is being taken at this moment; try again")]
    BeingTaken,
    #[error("no new transactions are taken: the log cannot be written now ({0})")]
    NotNow(String),
    #[error(transparent)]
    Log(#[from] LogError),
    /// The promise stands, and the next start finds out what became of the transaction.
    #[error(transparent)]
    Gone(#[from] EngineGone),
}

/// The promises of one coordinator. With it end all calls, and let go of the log.
pub(crate) struct Callbacks {
    caller: Arc<Caller>,
    tasks: Mutex<JoinSet<()>>,
}

struct Caller {
    log: Log,
    engine: Handle,
    dial: Arc<dyn Dial>,
    secret: Mutex<Option<CallbackSecret>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    config: Arc<Config>,
    spans: CallSpans,
    shares: Shares,
    promises: Mutex<Promises>,
}

pub(crate) fn parse(url: &str) -> Result<Uri, BadUrl> {
    if url.len() > MAX_URL_BYTES {
        return Err(BadUrl::TooLong { given: url.len() });
    }
    address::parse(url).map_err(|flaw| match flaw {
        Flaw::Credentials => BadUrl::Credentials,
        Flaw::Form => BadUrl::Form { given: url.to_owned() },
    })
}

/// Reads the URL of a submission, which has to be one that may be called.
pub(crate) fn admit(url: &str, config: &Config) -> Result<Uri, BadUrl> {
    let url = parse(url)?;
    let anywhere = config.callback_allow.is_empty() && !config.access.asks_who();
    if !anywhere && !allowed::is_allowed(&url, &config.callback_allow) {
        return Err(BadUrl::NotAllowed { host: share::destination(&url) });
    }
    if url.scheme_str() == Some("https") && config.callback_ca().is_none() {
        return Err(BadUrl::NoCa);
    }
    Ok(url)
}

/// Makes one call, for the fuzzers.
pub(crate) async fn call_once(dial: &dyn Dial, url: &Uri) -> Result<(), String> {
    call::call(dial, url, bytes::Bytes::new(), call::Headers::default()).await.map_err(|error| error.to_string())
}

/// Returns a URL as logs show it: its query may hold a secret.
fn shown(url: &Uri) -> String {
    format!("{}://{}{}", url.scheme_str().unwrap_or_default(), share::destination(url), url.path())
}

impl Callbacks {
    pub(crate) fn new(
        log: Log,
        engine: Handle,
        (dial, secret): (Arc<dyn Dial>, Option<CallbackSecret>),
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
        config: Arc<Config>,
        (traces, epoch): (Traces, Epoch),
    ) -> Callbacks {
        let (shares, promises, secret) = (Shares::new(), Mutex::default(), Mutex::new(secret));
        let spans = CallSpans { traces, epoch };
        let caller = Arc::new(Caller { log, engine, dial, secret, clock, random, config, spans, shares, promises });
        Callbacks { caller, tasks: Mutex::default() }
    }

    /// Signs with another secret, or none, from the next call on.
    pub(crate) fn sign_with(&self, secret: Option<CallbackSecret>) {
        let mut signs_with = lock(&self.caller.secret);
        if *signs_with != secret {
            tracing::info!(
                signed = secret.is_some(),
                "callbacks are signed with another secret from now on, or no more"
            );
            *signs_with = secret;
        }
    }

    /// Takes up again what was promised before the last stop. Nothing is served before.
    pub(crate) async fn resume(&self, now: Timestamp) -> Result<(), LogError> {
        let mut usable = Vec::new();
        for (tx, url) in self.caller.log.callbacks()? {
            match parse(&url) {
                Ok(url) => usable.push((tx, url)),
                Err(bad) => tracing::error!(%tx, %bad, "a stored callback cannot be used and is left"),
            }
        }
        self.caller.presume_aborted(now, usable.iter().map(|(tx, _)| tx)).await?;
        // All of a transaction are known before the first of them is heard and forgotten.
        usable.iter().for_each(|(tx, url)| self.caller.promises().set(tx, url, Stage::Kept));
        for (tx, url) in usable {
            let caller = self.caller.clone();
            self.spawn(async move { caller.keep(&tx, &url).await });
        }
        Ok(())
    }

    /// Promises to call, and submits. Once begun this goes on without the client: only what the engine answers says whether
    /// there is a transaction to call about.
    pub(crate) async fn submit(
        &self,
        request: NewTransaction,
        url: Uri,
        room: AnswerRoom,
    ) -> Result<(Replied, AnswerRoom), NotSubmitted> {
        let Some(stored) = self.caller.promise(&request.tx, &url)? else {
            return Ok(self.caller.engine.ask_in(room, |reply| Command::Submit { request, reply }).await?);
        };
        let (to, replied) = oneshot::channel();
        let caller = self.caller.clone();
        self.spawn(async move {
            let tx = request.tx.clone();
            let replied = caller.submit(request, &url, stored, room).await;
            let is_let_in = replied.as_ref().is_ok_and(|(replied, _)| !replied.is_refusal());
            // The client may have left.
            let _ = to.send(replied);
            if is_let_in {
                caller.keep(&tx, &url).await;
            }
        });
        replied.await.map_err(|_| self.caller.engine.gone())?
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        // Those that are done.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// Locks a mutex. Nothing between taking and freeing these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Caller {
    fn promises(&self) -> MutexGuard<'_, Promises> {
        lock(&self.promises)
    }

    /// Queues a write of all that are to be called about a transaction. The promises are locked, so writes come in the order
    /// of what they say.
    fn store(&self, promises: &Promises, tx: &TxId, durability: Durability) -> Written {
        self.log.write(Log::promised(tx, &promises.urls(tx)), durability)
    }

    /// Begins a promise, which is made once this is written. `None`: an earlier submission of the same id was promised this
    /// very call already, and that stands.
    fn promise(&self, tx: &TxId, url: &Uri) -> Result<Option<Written>, NotSubmitted> {
        let mut promises = self.promises();
        match promises.stage(tx, url) {
            Some(Stage::Kept) => return Ok(None),
            Some(Stage::BeingTaken) => return Err(NotSubmitted::BeingTaken),
            None => promises.check_room(tx, url)?,
        }
        promises.set(tx, url, Stage::BeingTaken);
        Ok(Some(self.store(&promises, tx, Durability::Forced)))
    }

    /// Submits once the promise is stable, and takes it back if the transaction is not let in.
    async fn submit(
        &self,
        request: NewTransaction,
        url: &Uri,
        promised: Written,
        room: AnswerRoom,
    ) -> Result<(Replied, AnswerRoom), NotSubmitted> {
        let tx = request.tx.clone();
        match promised.await {
            Ok(()) => {}
            Err(StoreError::Unavailable { cause }) => {
                let mut promises = self.promises();
                promises.remove(&tx, url);
                // Another promise for the same transaction may have been written with this one in it, and the client does not
                // wait until the log can be written: should this be refused too, the callee hears what became of the transaction.
                drop(self.store(&promises, &tx, Durability::Lazy));
                return Err(NotSubmitted::NotNow(cause));
            }
            Err(error) => {
                self.forget(&tx, url).await?;
                return Err(LogError::from(error).into());
            }
        }
        let (replied, room) = self.engine.ask_in(room, |reply| Command::Submit { request, reply }).await?;
        if replied.is_refusal() {
            self.forget(&tx, url).await?;
        } else {
            self.promises().set(&tx, url, Stage::Kept);
        }
        Ok((replied, room))
    }

    /// Puts on record that those aborted which the log knows nothing of: a crash came before they were let in, or decided.
    /// Else a submission under the same id could commit what a callee was told was aborted.
    async fn presume_aborted<'a>(&self, now: Timestamp, all: impl Iterator<Item = &'a TxId>) -> Result<(), LogError> {
        let mut batch = Batch::default();
        for tx in all {
            if !self.log.knows(tx)? {
                let ended = Record::Ended(EndedRecord::presumed(tx.clone(), AttemptNumber::default(), now));
                Log::put(&mut batch, &ended, now, &[], &mut Apart::default());
            }
            if self.log.is_enough(&batch) {
                self.log.write_until_taken(std::mem::take(&mut batch)).await?;
            }
        }
        if !batch.is_empty() {
            self.log.write_until_taken(batch).await?;
        }
        Ok(())
    }

    /// Waits for the outcome, and calls until it is heard.
    async fn keep(&self, tx: &TxId, url: &Uri) {
        match self.outcome(tx).await {
            Ok(Some(outcome)) => self.tell(tx, url, &outcome).await,
            Ok(None) => {
                let url = shown(url);
                tracing::error!(%tx, url, "the record of its end is gone, so nobody is called back about it");
            }
            // The coordinator stops, and calls after its next start.
            Err(EngineGone { .. }) => return,
        }
        if let Err(error) = self.forget(tx, url).await {
            tracing::error!(%tx, url = %shown(url), %error, "that it was called back cannot be recorded");
        }
    }

    /// Forgets a call that was heard, given up, or not promised after all.
    async fn forget(&self, tx: &TxId, url: &Uri) -> Result<(), LogError> {
        let mut pauses = Pauses::default();
        loop {
            let forgotten = {
                let mut promises = self.promises();
                promises.remove(tx, url);
                self.store(&promises, tx, Durability::Lazy)
            };
            match forgotten.await {
                Err(StoreError::Unavailable { .. }) => pauses.pause().await,
                done => return Ok(done?),
            }
        }
    }

    /// Waits for the outcome. `None`: there is no record of it, and nothing is presumed from that.
    async fn outcome(&self, tx: &TxId) -> Result<Option<Outcome>, EngineGone> {
        let mut attempt = 0;
        loop {
            match self.engine.outcome(tx.clone()).await? {
                Replied::Core(Answer::Outcome { outcome, .. }) => return Ok(Some(outcome)),
                Replied::Core(Answer::Rejected(Rejection::NotFound)) => return Ok(None),
                Replied::Core(
                    Answer::Pending | Answer::Stuck(_) | Answer::Closed | Answer::Step(_) | Answer::Rejected(_),
                )
                | Replied::Again(_)
                | Replied::NoRoom(_)
                | Replied::UnknownParticipant(_)
                | Replied::Exceeded(_)
                | Replied::NotOwner => {}
            }
            sleep(self.random.pause(self.config.callbacks(), attempt)).await;
            attempt += 1;
        }
    }

    /// Calls until there is a definite answer, or the time is over.
    async fn tell(&self, tx: &TxId, url: &Uri, outcome: &Outcome) {
        let until = Instant::now() + Duration::from_secs(self.config.callback_give_up_s);
        let traced = self.spans.traced(&self.log, tx);
        let mut attempt = 0_u32;
        loop {
            let Some(turn) = self.shares.turn(url).await else { return };
            let body = call::body(tx, outcome);
            let span = traced.as_ref().map(|traced| self.spans.begin(traced, url, attempt, self.clock.now()));
            let headers = call::Headers {
                signature: lock(&self.secret).as_ref().map(|secret| secret.header(&body, self.clock.now())),
                trace: span.as_ref().map(Span::context),
            };
            let called = call::call(self.dial.as_ref(), url, body, headers).await;
            drop(turn);
            if let Some(span) = span {
                self.spans.end(span, &called, self.clock.now());
            }
            let Err(error) = called else { return };
            let pause = self.random.pause(self.config.callbacks(), attempt);
            attempt += 1;
            let url = shown(url);
            if error.is_final() {
                return tracing::error!(%tx, url, %error, attempt, "calling back is given up; ask for the outcome instead");
            }
            if Instant::now() + pause > until {
                return tracing::error!(%tx, url, %error, attempt, "given up calling back (callback_give_up_s)");
            }
            // With growing pauses: a callee that is away for a day is not told of ten thousand times.
            if attempt.is_power_of_two() {
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%tx, url, %error, attempt, pause_ms, "calling back failed; it is tried again");
            }
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests;
