//! Calling back: whoever submitted a transaction and did not wait hears how it ended, by an HTTP POST.
//!
//! That somebody is to be called is stable before the transaction is accepted, and is forgotten only once the callee has
//! answered with a status of 2xx, so it survives restarts on both sides. The callee may hear the same more than once:
//! the transaction's id tells. It is called again, with capped and jittered pauses, until `callback_give_up_s` have
//! passed since the outcome was known, or since a restart after it.

use crate::config::Config;
use crate::engine::{Command, EngineGone, Handle, Replied};
use crate::log::{Log, LogError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Uri;
use undoubt_coordinator_core::{Answer, Rejection};
use undoubt_platform::dial::Dial;
use undoubt_platform::{Durability, Random};
use undoubt_vocabulary::{AbortReason, Outcome, TxId};

/// Promises that are not kept yet. A call that nobody takes waits for `callback_give_up_s`.
const MAX_PROMISES: usize = 10_000;

/// Calls under way at the same time, at most.
const MAX_CALLS_UNDER_WAY: usize = 64;

/// One call, with connecting.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Of a URL.
const MAX_URL_BYTES: usize = 2_048;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BadUrl {
    #[error("callback {given:?} is no URL of the form http://host:port/path; correct it")]
    Form { given: String },
    #[error("the callback's URL has {given} bytes, more than the {MAX_URL_BYTES} allowed; shorten it")]
    TooLong { given: usize },
}

/// What is posted, as JSON.
#[derive(Debug, Serialize)]
struct News<'a> {
    /// Text, or `0x` and hexadecimal digits.
    tx: String,
    /// committed, aborted
    state: &'static str,
    /// Of an abort.
    reason: Option<&'a str>,
    message: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it did not answer in time")]
    Late,
}

/// Why it is not promised to call. Nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPromised {
    #[error("{MAX_PROMISES} callbacks are waiting to be heard, the most there may be; try again later, or ask instead")]
    TooMany,
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
    under_way: Semaphore,
    promises: Mutex<BTreeMap<TxId, Stage>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not known yet whether the transaction is let in.
    BeingTaken,
    Kept,
}

/// A promise that is being made. Dropped without another word it is kept: the transaction may have been let in.
pub(crate) struct Promise {
    callbacks: Arc<Callbacks>,
    tx: TxId,
    /// `None`: an earlier submission of the same id was promised a call already, and that stands.
    url: Option<Uri>,
}

pub(crate) fn parse(url: &str) -> Result<Uri, BadUrl> {
    if url.len() > MAX_URL_BYTES {
        return Err(BadUrl::TooLong { given: url.len() });
    }
    let parsed = url.parse::<Uri>().ok();
    let plain = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some() && uri.port_u16().is_some();
    parsed.filter(plain).ok_or_else(|| BadUrl::Form { given: url.to_owned() })
}

impl Callbacks {
    pub(crate) fn new(
        log: Log,
        engine: Handle,
        dial: Arc<dyn Dial>,
        random: Arc<dyn Random>,
        config: Arc<Config>,
    ) -> Callbacks {
        let (under_way, promises) = (Semaphore::new(MAX_CALLS_UNDER_WAY), Mutex::default());
        let caller = Arc::new(Caller { log, engine, dial, random, config, under_way, promises });
        Callbacks { caller, tasks: Mutex::default() }
    }

    /// Takes up again what was promised before the last stop.
    pub(crate) fn resume(&self) -> Result<(), LogError> {
        for (tx, url) in self.caller.log.callbacks()? {
            match parse(&url) {
                Ok(url) => self.keep(tx, url),
                Err(bad) => tracing::error!(%tx, %bad, "a stored callback cannot be used and is left"),
            }
        }
        Ok(())
    }

    /// Stable once this is done.
    pub(crate) async fn promise(self: &Arc<Self>, tx: &TxId, url: Uri) -> Result<Promise, NotPromised> {
        let mut promise = Promise { callbacks: self.clone(), tx: tx.clone(), url: None };
        {
            let mut promises = lock(&self.caller.promises);
            match promises.get(tx) {
                Some(Stage::Kept) => return Ok(promise),
                Some(Stage::BeingTaken) => return Err(NotPromised::BeingTaken),
                None if promises.len() >= MAX_PROMISES => return Err(NotPromised::TooMany),
                None => drop(promises.insert(tx.clone(), Stage::BeingTaken)),
            }
        }
        let stored = self.caller.log.write(Log::promise(tx, &url.to_string()), Durability::Forced);
        promise.url = Some(url);
        if let Err(error) = stored.await {
            promise.withdraw().await?;
            return Err(LogError::from(error).into());
        }
        Ok(promise)
    }

    /// Waits for the outcome, and calls until it is heard.
    fn keep(&self, tx: TxId, url: Uri) {
        lock(&self.caller.promises).insert(tx.clone(), Stage::Kept);
        let caller = self.caller.clone();
        let mut tasks = lock(&self.tasks);
        // Those that are done.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            if let Ok(outcome) = caller.outcome(&tx).await
                && let Err(error) = caller.tell(&tx, &url, &outcome).await
            {
                tracing::error!(%tx, %url, %error, "that it was called back cannot be recorded");
            }
            lock(&caller.promises).remove(&tx);
        });
    }
}

impl Promise {
    /// The transaction was not let in.
    pub(crate) async fn withdraw(mut self) -> Result<(), LogError> {
        if self.url.take().is_none() {
            return Ok(());
        }
        let caller = &self.callbacks.caller;
        let forgotten = caller.log.write(Log::kept(&self.tx), Durability::Lazy).await;
        lock(&caller.promises).remove(&self.tx);
        Ok(forgotten?)
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

    async fn tell(&self, tx: &TxId, url: &Uri, outcome: &Outcome) -> Result<(), LogError> {
        let until = Instant::now() + Duration::from_secs(self.config.callback_give_up_s);
        let mut attempt = 0;
        while let Err(error) = self.call(tx, url, outcome).await {
            let pause = self.config.callback_pause(attempt).pause(self.random.as_ref());
            attempt += 1;
            if Instant::now() + pause > until {
                tracing::error!(%tx, %url, %error, attempt, "given up calling back (callback_give_up_s)");
                break;
            }
            tracing::warn!(%tx, %url, %error, attempt, ?pause, "calling back failed; it is tried again");
            sleep(pause).await;
        }
        Ok(self.log.write(Log::kept(tx), Durability::Lazy).await?)
    }

    async fn call(&self, tx: &TxId, url: &Uri, outcome: &Outcome) -> Result<(), CallError> {
        let Ok(_permit) = self.under_way.acquire().await else { return Err(CallError::Late) };
        match timeout(CALL_TIMEOUT, self.post(url, news(tx, outcome))).await {
            Ok(Ok(status)) if (200..300).contains(&status) => Ok(()),
            Ok(Ok(status)) => Err(CallError::Status(status)),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(CallError::Late),
        }
    }

    async fn post(&self, url: &Uri, body: Bytes) -> Result<u16, CallError> {
        let connection = TokioIo::new(self.dial.dial(url.clone()).await?);
        let (mut sender, connection) = http1::handshake(connection).await?;
        let driving = tokio::spawn(connection);
        let authority = url.authority().map(ToString::to_string).unwrap_or_default();
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header("host", authority)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await;
        driving.abort();
        Ok(response?.status().as_u16())
    }
}

fn news(tx: &TxId, outcome: &Outcome) -> Bytes {
    let (state, reason) = match outcome {
        Outcome::Committed => ("committed", None),
        Outcome::Aborted(reason) => ("aborted", Some(reason)),
    };
    let (label, message) = (reason.map(AbortReason::label), reason.map(ToString::to_string));
    let news = News { tx: tx.to_string(), state, reason: label, message };
    serde_json::to_vec(&news).expect("text and nothing else is written as JSON").into()
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
    fn the_news_say_how_it_ended_and_why() {
        let tx: TxId = "t".parse().unwrap();
        assert_eq!(news(&tx, &Outcome::Committed), r#"{"tx":"t","state":"committed","reason":null,"message":null}"#);
        let aborted = String::from_utf8(news(&tx, &Outcome::Aborted(AbortReason::Cancelled)).to_vec()).unwrap();
        assert!(aborted.contains(r#""state":"aborted","reason":"cancelled""#), "{aborted}");
    }
}
