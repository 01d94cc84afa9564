//! A service over HTTP, in memory, that keeps the contract, or breaks it in one way.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// The time for which a fault of two that come at once leaves its gap open.
const GAP: Duration = Duration::from_millis(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ActsEachTime,
    AnswersAnew,
    ActsAtOnceTwice,
    KeepsNoKeyOfWhomHasGone,
    ActsOnHalfARequest,
    UndoesEachTime,
    UndoesNothing,
    UndoesAtOnceTwice,
    RefusesToUndo,
    KeepsNoKeyOfAnUndoneThatHasGone,
    RefusesToUndoAlone,
    ForgetsAnUndoAlone,
    ActsAgainOnceUndone,
    ActsThroughAnUndo,
    FinishesEachTime,
    FinishesAtOnceTwice,
    RefusesToFinish,
    KeepsNoKeyOfAFinishThatHasGone,
    ForgetsItsRefusal,
    ActsAndRefuses,
    RefusesEverySecond,
    SaysThatItWasDone,
    ActsBehindATimeout,
    UndoesBeforeTheDatabaseAnswers,
}

/// What is kept of an effect.
#[derive(Debug, Default)]
struct Row {
    acted: Option<String>,
    refused: bool,
    undone: bool,
    finished: bool,
}

#[derive(Debug, Default)]
struct State {
    /// How often each thing was taken, and finished.
    things: BTreeMap<String, [i64; 2]>,
    rows: BTreeMap<String, Row>,
    answers: u64,
    refusals: u64,
}

#[derive(Debug)]
struct Service {
    fault: Option<Fault>,
    state: Mutex<State>,
    database: SocketAddr,
}

struct Request {
    operation: String,
    effect: String,
    path: String,
    /// False: it ended before its end.
    is_whole: bool,
}

/// Starts one for as long as the test lasts. `database`: something that answers each byte with one.
pub async fn start(fault: Option<Fault>, database: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Arc::new(Service { fault, state: Mutex::default(), database });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            // Whoever has gone needs no answer.
            tokio::spawn(async move { service.serve(stream).await.ok() });
        }
    });
    address
}

/// Starts what stands for a database: it answers each byte with one.
pub async fn database() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
        }
    });
    address
}

impl Service {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(request) = read(&mut stream).await? else { return Ok(()) };
        if !request.is_whole && !self.has(Fault::ActsOnHalfARequest) {
            return Ok(());
        }
        let (status, body) = self.answer(&request, &mut stream).await;
        let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n");
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
    }

    async fn answer(&self, request: &Request, stream: &mut TcpStream) -> (u16, String) {
        let thing = request.path.rsplit('/').next().unwrap().to_owned();
        match (request.path.split('/').nth(1), request.operation.as_str()) {
            (Some("look"), _) => {
                let [taken, finished] = self.state.lock().await.things.get(&thing).copied().unwrap_or_default();
                (200, json!({ "thing": thing, "taken": taken, "finished": finished }).to_string())
            }
            (_, "check-back") if self.has(Fault::SaysThatItWasDone) => (200, String::new()),
            (_, "check-back") => (409, String::new()),
            (Some("refused"), "action" | "try") => self.refuse(request, &thing).await,
            (_, "action" | "try") => self.act(request, &thing, stream).await,
            (_, "compensation" | "cancel") => self.undo(request, &thing, stream).await,
            (_, "completion" | "confirm") => self.finish(request, &thing, stream).await,
            (_, _) => (400, json!({ "error": "no headers" }).to_string()),
        }
    }

    /// Leaves the gap between looking and doing that the fault is about.
    async fn gap<'a>(&'a self, state: MutexGuard<'a, State>, fault: Fault) -> MutexGuard<'a, State> {
        if !self.has(fault) {
            return state;
        }
        drop(state);
        tokio::time::sleep(GAP).await;
        self.state.lock().await
    }

    /// Asks the database for something, within that time.
    async fn ask_database(&self, within: Duration) -> bool {
        let asking = async {
            let mut stream = TcpStream::connect(self.database).await?;
            stream.write_all(b"?").await?;
            stream.read_exact(&mut [0]).await
        };
        timeout(within, asking).await.is_ok_and(|answered| answered.is_ok())
    }

    async fn act(
        &self,
        Request { effect, is_whole, .. }: &Request,
        thing: &str,
        stream: &mut TcpStream,
    ) -> (u16, String) {
        let is_slow = match self.fault {
            Some(Fault::UndoesBeforeTheDatabaseAnswers) => false,
            Some(Fault::ActsBehindATimeout) => !self.ask_database(Duration::from_millis(150)).await,
            Some(_) | None => !self.ask_database(Duration::from_secs(20)).await,
        };
        let mut state = self.state.lock().await;
        if is_slow {
            state.things.entry(thing.to_owned()).or_default()[0] += 1;
            return (503, String::new());
        }
        let row = state.rows.entry(effect.clone()).or_default();
        let undone = row.undone && !(self.has(Fault::ForgetsAnUndoAlone) && row.acted.is_none());
        if let Some(answer) = row.acted.clone().filter(|_| !self.has(Fault::ActsEachTime)) {
            if self.has(Fault::AnswersAnew) {
                state.answers += 1;
                return (200, json!({ "answer": state.answers }).to_string());
            }
            if !(self.has(Fault::ActsAgainOnceUndone) && undone) {
                return (200, answer);
            }
        } else if undone {
            return (409, json!({ "error": "late" }).to_string());
        }
        if self.has(Fault::UndoesBeforeTheDatabaseAnswers) {
            drop(state);
            self.ask_database(Duration::from_secs(20)).await;
            state = self.state.lock().await;
        }
        state = self.gap(state, Fault::ActsAtOnceTwice).await;
        state = self.gap(state, Fault::ActsThroughAnUndo).await;
        if self.has(Fault::ActsThroughAnUndo) && state.rows[effect].acted.is_some() {
            return (200, state.rows[effect].acted.clone().unwrap());
        }
        state.things.entry(thing.to_owned()).or_default()[0] += 1;
        let answer = json!({ "thing": thing }).to_string();
        let keeps = *is_whole && !(self.has(Fault::KeepsNoKeyOfWhomHasGone) && has_gone(stream).await);
        if keeps {
            state.rows.entry(effect.clone()).or_default().acted = Some(answer.clone());
        }
        (200, answer)
    }

    async fn refuse(&self, Request { effect, .. }: &Request, thing: &str) -> (u16, String) {
        let mut state = self.state.lock().await;
        state.refusals += 1;
        let (is_second, row) = (state.refusals % 2 == 0, state.rows.entry(effect.clone()).or_default());
        let was_refused = std::mem::replace(&mut row.refused, true);
        let acts =
            (self.has(Fault::ForgetsItsRefusal) && was_refused) || (self.has(Fault::RefusesEverySecond) && is_second);
        if acts || self.has(Fault::ActsAndRefuses) {
            state.things.entry(thing.to_owned()).or_default()[0] += 1;
        }
        (if acts { 200 } else { 409 }, "{}".to_owned())
    }

    async fn undo(&self, Request { effect, .. }: &Request, thing: &str, stream: &mut TcpStream) -> (u16, String) {
        let mut state = self.state.lock().await;
        let row = state.rows.entry(effect.clone()).or_default();
        if row.acted.is_none() {
            row.undone = true;
            return if self.has(Fault::RefusesToUndoAlone) { (409, String::new()) } else { (200, String::new()) };
        }
        if self.has(Fault::RefusesToUndo) {
            return (409, String::new());
        }
        if row.undone && !self.has(Fault::UndoesEachTime) {
            return (200, String::new());
        }
        state = self.gap(state, Fault::UndoesAtOnceTwice).await;
        if !self.has(Fault::UndoesNothing) {
            state.things.entry(thing.to_owned()).or_default()[0] -= 1;
        }
        if !(self.has(Fault::KeepsNoKeyOfAnUndoneThatHasGone) && has_gone(stream).await) {
            state.rows.entry(effect.clone()).or_default().undone = true;
        }
        (200, String::new())
    }

    async fn finish(&self, Request { effect, .. }: &Request, thing: &str, stream: &mut TcpStream) -> (u16, String) {
        let mut state = self.state.lock().await;
        let row = state.rows.entry(effect.clone()).or_default();
        if row.acted.is_none() || self.has(Fault::RefusesToFinish) {
            return (409, String::new());
        }
        if row.finished && !self.has(Fault::FinishesEachTime) {
            return (200, String::new());
        }
        state = self.gap(state, Fault::FinishesAtOnceTwice).await;
        state.things.entry(thing.to_owned()).or_default()[1] += 1;
        if !(self.has(Fault::KeepsNoKeyOfAFinishThatHasGone) && has_gone(stream).await) {
            state.rows.entry(effect.clone()).or_default().finished = true;
        }
        (200, String::new())
    }
}

/// Returns whether the other side has cut the connection off.
async fn has_gone(stream: &mut TcpStream) -> bool {
    matches!(timeout(GAP, stream.read(&mut [0])).await, Ok(Ok(0) | Err(_)))
}

/// Reads one request; `None`: there is none.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(place) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break place + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let length: usize = header("content-length").parse().unwrap_or(0);
    let mut is_whole = true;
    while is_whole && bytes.len() < head + length {
        is_whole = stream.read_buf(&mut bytes).await? > 0;
    }
    let body: Result<Value, _> = serde_json::from_slice(&bytes[head..]);
    assert!(!is_whole || length == 0 || body.is_ok(), "the checker sent a body that is no JSON");
    Ok(Some(Request { operation: header("undoubt-operation"), effect: header("undoubt-effect"), path, is_whole }))
}
