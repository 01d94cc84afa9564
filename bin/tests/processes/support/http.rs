//! Talking HTTP to a gateway, as any program would, and as none should.

use super::PATIENCE;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The answer of a gateway.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The headers, whose names are in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Checks that it is a problem of this status and code whose detail has all of these words in it, and returns it.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str, words: &[&str]) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        for word in words {
            assert!(problem["detail"].as_str().unwrap().contains(word), "{word:?} is not in {self:?}");
        }
        problem
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// A request on a connection of its own.
pub fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for header in headers {
        head += &format!("{header}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub const JSON: &str = "content-type: application/json";

pub async fn get(gateway: SocketAddr, path: &str) -> Answer {
    send(gateway, &request("GET", path, &[], b"")).await
}

/// Posts JSON; nothing if it is null.
pub async fn post(gateway: SocketAddr, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(gateway, &request("POST", path, &[JSON], body.as_bytes())).await
}

/// Sends bytes as they are, and reads the answer.
pub async fn send(gateway: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    // Who is refused early may not take all.
    let _ = stream.write_all(bytes).await;
    timeout(PATIENCE, answer(stream)).await.expect("the gateway does not answer")
}

/// Asks somebody who may be dead, die meanwhile, or hang up; returns none if there is no whole answer.
pub async fn try_get(at: SocketAddr, path: &str) -> Option<Answer> {
    try_send(at, &request("GET", path, &[], b"")).await
}

/// The same for posting JSON; nothing if it is null.
pub async fn try_post(at: SocketAddr, path: &str, body: &Value) -> Option<Answer> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    try_send(at, &request("POST", path, &[JSON], body.as_bytes())).await
}

async fn try_send(at: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let asking = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        stream.write_all(bytes).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        let answer = read(&String::from_utf8(bytes).ok()?)?;
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        (length.is_none_or(|length: usize| length == answer.body.len())).then_some(answer)
    };
    timeout(PATIENCE, asking).await.ok()?
}

/// Reads an answer up to the end of the connection.
pub async fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is reset behind the answer is as good.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    read(&text).unwrap_or_else(|| panic!("no answer but {text:?}"))
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Some(Answer { status, headers: headers.collect(), body: body.to_owned() })
}

/// A stream of events.
#[derive(Debug)]
pub struct Events(BufReader<TcpStream>);

/// One of them.
#[derive(Debug)]
pub struct Event {
    pub id: Option<String>,
    pub kind: String,
    pub data: Value,
}

impl Events {
    pub async fn open(gateway: SocketAddr, path: &str, headers: &[&str]) -> Events {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(&request("GET", path, headers, b"")).await.unwrap();
        let mut events = Events(BufReader::new(stream));
        let status = events.line().await.unwrap();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        while !events.line().await.unwrap().is_empty() {}
        events
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("nothing comes").unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the next event; none at the end.
    pub async fn next(&mut self) -> Option<Event> {
        let (mut id, mut kind) = (None, None);
        loop {
            let line = self.line().await?;
            // What stands between is the lengths of chunks.
            if let Some(given) = line.strip_prefix("id: ") {
                id = Some(given.to_owned());
            } else if let Some(given) = line.strip_prefix("event: ") {
                kind = Some(given.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data).unwrap();
                return Some(Event { id, kind: kind.unwrap_or_default(), data });
            }
        }
    }
}

/// Answers one request on each connection with 200, with 409 under `/refuse`, and with 425 what comes first under `/later`, and notes
/// which came; until it is dropped.
pub struct Services {
    pub url: String,
    asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Services {
    pub async fn start() -> Services {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let (mut lines, mut length) = (Vec::new(), 0);
                    loop {
                        let mut line = String::new();
                        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                            return;
                        }
                        let line = line.trim_end().to_lowercase();
                        if line.is_empty() {
                            break;
                        }
                        length = line.strip_prefix("content-length: ").map_or(length, |given| given.parse().unwrap());
                        lines.push(line);
                    }
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
                    let key = lines.iter().find(|line| line.starts_with("idempotency-key: ")).is_some();
                    let asked = format!("{path} {} {key}", String::from_utf8(body).unwrap());
                    let is_first = !heard.lock().unwrap().contains(&asked);
                    heard.lock().unwrap().push(asked);
                    let status = match &path {
                        path if path.starts_with("/refuse") => "409 Conflict",
                        path if path.starts_with("/later") && is_first => "425 Too Early",
                        _ => "200 OK",
                    };
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
                    );
                    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                });
            }
        });
        Services { url, asked, task }
    }

    /// Returns the paths and bodies that came, and whether an idempotency key came with each.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.task.abort();
    }
}
