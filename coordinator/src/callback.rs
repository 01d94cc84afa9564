//! Calling back: whoever submitted a transaction and did not wait hears how it ended, by an HTTP POST.
//!
//! That somebody is to be called is stable before the transaction is accepted, and is forgotten only once the callee has
//! answered definitely, so it survives restarts on both sides. The callee may hear the same more than once: the
//! transaction's id tells. What its answers mean is in `call`. Without a definite one it is called again, with capped and
//! jittered pauses, until `callback_give_up_s` have passed since the outcome was known, or since a restart after it. Several
//! submissions of one id may each name somebody else, and all of them are called.

mod call;
mod promises;
mod share;

use crate::address::{self, Flaw};
use crate::config::Config;
use crate::engine::{Command, EngineGone, Handle, Replied};
use crate::log::{Log, LogError};
use promises::{Full, Promises, Stage};
use share::Shares;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::transport::Uri;
use undoubt_coordinator_core::{Answer, Rejection};
use undoubt_platform::dial::Dial;
use undoubt_platform::{Durability, Random, Written};
use undoubt_vocabulary::limits::MAX_URL_BYTES;
use undoubt_vocabulary::{AbortReason, Outcome, TxId};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadUrl {
    #[error("callback {given:?} is no URL of the form http://host:port/path; correct it")]
    Form { given: String },
    #[error("the callback's URL has {given} bytes, more than the {MAX_URL_BYTES} allowed; shorten it")]
    TooLong { given: usize },
    #[error(
        "the callback's URL names a user or a password, and none is sent; take it out, and let the path or the query hold \
         what the callee recognises the call by"
    )]
    Credentials,
}

/// Why it is not promised to call. Nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPromised {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("another submission of this id is being taken at this moment; try again")]
    BeingTaken,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// All promises of one coordinator. With it end all calls, and let go of the log.
pub(crate) struct Callbacks {
    caller: Arc<Caller>,
    tasks: Mutex<JoinSet<()>>,
}

struct Caller {
    log: Log,
    engine: Handle,
    dial: Arc<dyn Dial>,
    random: Arc<dyn Random>,
    config: Arc<Config>,
    shares: Shares,
    promises: Mutex<Promises>,
}

/// A promise that is being made. Dropped without another word it is kept: the transaction may have been let in.
pub(crate) struct Promise {
    callbacks: Arc<Callbacks>,
    tx: TxId,
    /// `None`: an earlier submission of the same id was promised this very call already, and that stands.
    url: Option<Uri>,
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

/// A URL as logs show it: its query may hold a secret.
fn shown(url: &Uri) -> String {
    format!("http://{}{}", share::destination(url), url.path())
}

impl Callbacks {
    pub(crate) fn new(
        log: Log,
        engine: Handle,
        dial: Arc<dyn Dial>,
        random: Arc<dyn Random>,
        config: Arc<Config>,
    ) -> Callbacks {
        let (shares, promises) = (Shares::new(), Mutex::default());
        let caller = Arc::new(Caller { log, engine, dial, random, config, shares, promises });
        Callbacks { caller, tasks: Mutex::default() }
    }

    /// Takes up again what was promised before the last stop.
    pub(crate) fn resume(&self) -> Result<(), LogError> {
        let mut usable = Vec::new();
        for (tx, url) in self.caller.log.callbacks()? {
            match parse(&url) {
                Ok(url) => usable.push((tx, url)),
                Err(bad) => tracing::error!(%tx, %bad, "a stored callback cannot be used and is left"),
            }
        }
        // All of a transaction are known before the first of them is heard and forgotten.
        usable.iter().for_each(|(tx, url)| self.caller.promises().set(tx, url, Stage::Kept));
        usable.into_iter().for_each(|(tx, url)| self.keep(tx, url));
        Ok(())
    }

    /// Stable once this is done.
    pub(crate) async fn promise(self: &Arc<Self>, tx: &TxId, url: Uri) -> Result<Promise, NotPromised> {
        let mut promise = Promise { callbacks: self.clone(), tx: tx.clone(), url: None };
        let stored = {
            let mut promises = self.caller.promises();
            match promises.stage(tx, &url) {
                Some(Stage::Kept) => return Ok(promise),
                Some(Stage::BeingTaken) => return Err(NotPromised::BeingTaken),
                None => promises.check_room(tx, &url)?,
            }
            promises.set(tx, &url, Stage::BeingTaken);
            self.caller.store(&promises, tx, Durability::Forced)
        };
        promise.url = Some(url);
        if let Err(error) = stored.await {
            promise.withdraw().await?;
            return Err(LogError::from(error).into());
        }
        Ok(promise)
    }

    /// Waits for the outcome, and calls until it is heard.
    fn keep(&self, tx: TxId, url: Uri) {
        self.caller.promises().set(&tx, &url, Stage::Kept);
        let caller = self.caller.clone();
        let mut tasks = lock(&self.tasks);
        // Those that are done.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            // Else the coordinator stops, and calls after its next start.
            let Ok(outcome) = caller.outcome(&tx).await else { return };
            caller.tell(&tx, &url, &outcome).await;
            if let Err(error) = caller.forget(&tx, &url).await {
                tracing::error!(%tx, url = %shown(&url), %error, "that it was called back cannot be recorded");
            }
        });
    }
}

impl Promise {
    /// The transaction was not let in.
    pub(crate) async fn withdraw(mut self) -> Result<(), LogError> {
        match self.url.take() {
            Some(url) => self.callbacks.caller.forget(&self.tx, &url).await,
            None => Ok(()),
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(url) = self.url.take() {
            self.callbacks.keep(self.tx.clone(), url);
        }
    }
}

/// Nothing between taking and freeing these locks can panic.
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

    /// The call was heard, given up, or not promised after all.
    async fn forget(&self, tx: &TxId, url: &Uri) -> Result<(), LogError> {
        let forgotten = {
            let mut promises = self.promises();
            promises.remove(tx, url);
            self.store(&promises, tx, Durability::Lazy)
        };
        Ok(forgotten.await?)
    }

    async fn outcome(&self, tx: &TxId) -> Result<Outcome, EngineGone> {
        let mut attempt = 0;
        loop {
            match self.engine.ask(|reply| Command::Await { tx: tx.clone(), reply }).await? {
                Replied::Core(Answer::Outcome { outcome, .. }) => return Ok(outcome),
                // It was accepted, and a crash came before the decision.
                Replied::Core(Answer::Rejected(Rejection::NotFound)) => {
                    return Ok(Outcome::Aborted(AbortReason::Presumed));
                }
                Replied::Core(Answer::Pending | Answer::Stuck(_) | Answer::Rejected(_))
                | Replied::Again(_)
                | Replied::NoRoom(_)
                | Replied::UnknownParticipant(_) => {}
            }
            sleep(self.config.callback_pause(attempt).pause(self.random.as_ref())).await;
            attempt += 1;
        }
    }

    /// Calls until there is a definite answer, or the time is over.
    async fn tell(&self, tx: &TxId, url: &Uri, outcome: &Outcome) {
        let until = Instant::now() + Duration::from_secs(self.config.callback_give_up_s);
        let mut attempt = 0_u32;
        loop {
            let Some(turn) = self.shares.turn(url).await else { return };
            let called = call::call(self.dial.as_ref(), tx, url, outcome).await;
            drop(turn);
            let Err(error) = called else { return };
            let pause = self.config.callback_pause(attempt).pause(self.random.as_ref());
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
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_with_a_port_can_be_called() {
        assert!(parse("http://127.0.0.1:80/done?x=1").is_ok());
        for bad in ["", "/done", "https://a:1/", "http://a/", "ftp://a:1/", "http://a:b/"] {
            assert!(parse(bad).unwrap_err().to_string().contains("http://host:port/path"), "{bad}");
        }
        assert!(parse(&format!("http://a:1/{}", "x".repeat(2_048))).unwrap_err().to_string().contains("2048"));
    }

    #[test]
    fn credentials_are_refused_and_neither_they_nor_a_query_are_shown() {
        let refusal = parse("http://user:secret@a:1/done").unwrap_err().to_string();
        assert!(
            refusal.contains("password") && refusal.contains("take it out") && !refusal.contains("secret"),
            "{refusal}"
        );
        assert_eq!(shown(&parse("http://a:1/done?token=secret").unwrap()), "http://a:1/done");
    }
}
