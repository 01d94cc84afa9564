//! What is promised, to whom, and what callees hear of it.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one of many")]

use super::*;
use crate::engine::Queued;
use crate::service::Service;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::mpsc;
use undoubt_platform::server::Connection;
use undoubt_platform::{OsRandom, SystemClock};
use undoubt_proto::v1;
use undoubt_proto::v1::coordinator_server::Coordinator as _;
use undoubt_vocabulary::AbortReason;

const URL: &str = "http://callee:1/done";

/// Hands each call to whoever is called.
struct Calls(mpsc::UnboundedSender<DuplexStream>);

impl Dial for Calls {
    fn dial(&self, _: Uri) -> BoxFuture<'static, std::io::Result<Connection>> {
        let (near, far) = tokio::io::duplex(1 << 10);
        self.0.send(far).unwrap();
        Box::pin(async { Ok(Connection::over(near)) })
    }
}

/// A service and its callbacks, without the engine.
struct World {
    service: Service,
    callbacks: Arc<Callbacks>,
    log: Log,
    engine: mpsc::Receiver<Queued>,
    calls: mpsc::UnboundedReceiver<DuplexStream>,
}

/// One command waits for the engine, and whoever brings more waits.
const MAX_QUEUED: usize = 1;

fn world() -> World {
    let (handle, engine) = Handle::new(MAX_QUEUED);
    let (called, calls) = mpsc::unbounded_channel();
    let config = Arc::new(Config::default());
    let log = Log::new(crate::log::in_memory());
    let random = Arc::new(OsRandom::new());
    let callbacks = Arc::new(Callbacks::new(
        log.clone(),
        handle.clone(),
        (Arc::new(Calls(called)), None),
        (Arc::new(SystemClock), random),
        config.clone(),
        (Traces::default(), Epoch(1)),
    ));
    let service = Service {
        engine: handle,
        config,
        clock: Arc::new(SystemClock),
        log: log.downgrade(),
        callbacks: Arc::downgrade(&callbacks),
        audit: std::sync::Weak::new(),
    };
    World { service, callbacks, log, engine, calls }
}

impl World {
    async fn command(&mut self) -> Command {
        self.engine.recv().await.unwrap().command
    }
}

/// Answers what the next call says.
async fn told(calls: &mut mpsc::UnboundedReceiver<DuplexStream>) -> String {
    let mut call = calls.recv().await.unwrap();
    let mut heard = Vec::new();
    while !heard.contains(&b'}') && call.read_buf(&mut heard).await.unwrap() > 0 {}
    String::from_utf8(heard).unwrap()
}

fn tx() -> TxId {
    "t".parse().unwrap()
}

fn submission() -> tonic::Request<v1::SubmitRequest> {
    tonic::Request::new(v1::SubmitRequest {
        tx: "t".into(),
        branches: vec![v1::BranchWork { participant: "bank".into(), work: "w".into() }],
        no_wait: true,
        callback: URL.to_owned(),
        ..v1::SubmitRequest::default()
    })
}

fn outcome(outcome: Outcome) -> Replied {
    Replied::Core(Answer::Outcome { outcome, results: Vec::new() })
}

/// Answers a command that is a submission, or a question for an outcome.
fn answer(command: Command, to_submit: &Replied, to_await: &Replied) {
    match command {
        Command::Submit { reply, .. } => reply.give(to_submit.clone()),
        Command::Await { reply, .. } => reply.give(to_await.clone()),
        _ => panic!("nothing else is asked"),
    }
}

#[tokio::test]
async fn a_callee_hears_the_outcome_though_the_client_left_before_the_engine_took_the_submission() {
    let mut world = world();
    let service = world.service.clone();
    world.service.engine.tell(Command::ResumeRecovery).await.unwrap();
    let mut submitting = Box::pin(service.submit(submission()));
    // The promise is stored, and the engine has no room for what follows.
    while world.log.callbacks().unwrap().is_empty() {
        assert!(submitting.as_mut().now_or_never().is_none());
    }
    drop(submitting);
    assert!(matches!(world.command().await, Command::ResumeRecovery));
    let not_found = Replied::Core(Answer::Rejected(Rejection::NotFound));
    let mut is_submitted = false;
    let told = loop {
        tokio::select! {
            told = told(&mut world.calls) => break told,
            queued = world.engine.recv() => {
                let command = queued.unwrap().command;
                is_submitted |= matches!(command, Command::Submit { .. });
                // As an engine, which knows of nothing that was not submitted.
                let to_await = if is_submitted { outcome(Outcome::Committed) } else { not_found.clone() };
                answer(command, &Replied::Core(Answer::Pending), &to_await);
            }
        }
    };
    assert!(told.contains(r#""state":"committed""#), "{told}");
}

#[tokio::test]
async fn nothing_is_presumed_of_a_promise_that_this_process_made() {
    let mut world = world();
    let service = world.service.clone();
    let submitting = tokio::spawn(async move { service.submit(submission()).await });
    let not_found = Replied::Core(Answer::Rejected(Rejection::NotFound));
    for _ in ["submission", "question"] {
        answer(world.command().await, &Replied::Core(Answer::Pending), &not_found);
    }
    submitting.await.unwrap().unwrap();
    while !world.log.callbacks().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(world.calls.is_empty(), "a callee heard of what is on no record");
}

#[tokio::test]
async fn what_is_not_let_in_is_not_called_about() {
    let mut world = world();
    let service = world.service.clone();
    let submitting = tokio::spawn(async move { service.submit(submission()).await });
    let refused = Replied::Core(Answer::Rejected(Rejection::Draining));
    answer(world.command().await, &refused, &refused);
    submitting.await.unwrap().unwrap_err();
    assert!(world.log.callbacks().unwrap().is_empty());
}

#[tokio::test]
async fn a_promise_without_a_transaction_is_an_abort_on_record_before_it_is_told() {
    let mut world = world();
    drop(world.log.write(Log::promised(&tx(), &[URL.to_owned()]), Durability::Forced));
    world.callbacks.resume(Timestamp(7)).await.unwrap();
    let ended = world.log.ended(&tx()).unwrap().unwrap().record;
    assert_eq!(ended.outcome, Outcome::Aborted(AbortReason::Presumed));
    let unused = Replied::Core(Answer::Pending);
    answer(world.command().await, &unused, &outcome(ended.outcome));
    let told = told(&mut world.calls).await;
    assert!(told.contains(r#""state":"aborted""#), "{told}");
}

#[test]
fn only_http_plain_or_encrypted_with_a_port_can_be_called() {
    assert!(parse("http://127.0.0.1:80/done?x=1").is_ok());
    assert!(parse("https://a:1/").is_ok());
    for bad in ["", "/done", "http://a/", "https://a/", "ftp://a:1/", "http://a:b/"] {
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
