//! A server whose answers a test decides: as it should speak HTTP, or as bytes that nobody should send.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A request as the service reads it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub version: http::Version,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub type Reply = http::Response<Full<Bytes>>;

pub fn reply(status: u16, body: &str) -> Reply {
    let json = http::Response::builder().status(status).header("content-type", "application/json");
    json.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

/// A server that runs until it is dropped.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers each request with what the function says; `None`: breaks the connection instead.
    pub async fn start(answer: impl Fn(Asked) -> Option<Reply> + Send + Sync + 'static) -> Server {
        Server::later(move |asked| {
            let answered = answer(asked);
            Box::pin(async move { answered })
        })
        .await
    }

    pub async fn later(answer: impl Fn(Asked) -> BoxFuture<'static, Option<Reply>> + Send + Sync + 'static) -> Server {
        Server::over(None, answer).await
    }

    /// The same, over TLS where there is a certificate, as `localhost`.
    pub async fn over(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(Asked) -> BoxFuture<'static, Option<Reply>> + Send + Sync + 'static,
    ) -> Server {
        let (listener, plain) = listen().await;
        let url = if tls.is_some() { plain.replace("http://127.0.0.1", "https://localhost") } else { plain };
        let (answer, asked) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let connections = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let (heard, accepted) = (asked.clone(), connections.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                let (answer, heard, tls) = (answer.clone(), heard.clone(), tls.clone());
                connections.spawn(async move {
                    let service = service_fn(|request: http::Request<Incoming>| {
                        let (answer, heard) = (answer.clone(), heard.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
                            let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
                            let asked =
                                Asked { method: head.method, version: head.version, path, headers: head.headers, body };
                            heard.lock().unwrap().push(asked.clone());
                            answer(asked).await.ok_or(Broken)
                        }
                    });
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            drop(http.serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                });
            }
        });
        Server { url, asked, connections, _tasks: tasks }
    }

    /// Reads the head of a request, and leaves the connection to the function.
    pub async fn raw<F>(speak: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (listener, url) = listen().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 64 << 10];
                if stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                    connections.spawn(speak(stream));
                }
            }
        });
        Server { url, asked: Arc::default(), connections: Arc::default(), _tasks: tasks }
    }

    /// Returns how many connections were accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Writes these bytes, and leaves the connection open.
pub async fn say(mut stream: TcpStream, bytes: &[u8]) -> TcpStream {
    let _ = stream.write_all(bytes).await;
    stream
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}
