//! The client: connections to services, and one call over them.
//!
//! | phase | bounded by |
//! | --- | --- |
//! | a place among the calls of the host | the call's deadline |
//! | a host that gives no answer | `breaker_threshold`, `breaker_pause_ms` |
//! | looking up, connecting, TLS | `connect_timeout_ms`, and the call's deadline |
//! | the head of the answer | the call's deadline, [`MAX_ANSWER_HEADERS`], [`MAX_ANSWER_HEADER_BYTES`] |
//! | the body of the answer | the call's deadline, `max_response_bytes` |
//!
//! The address that was looked up and allowed is the one that is dialled. No redirect is followed: it would lead to where nobody has
//! looked.

use crate::address::{Host, Origin};
use crate::allowed::Allowed;
use crate::breaker::{Breaker, Terms};
use crate::message::Message;
use crate::settings::{Checked, MAX_ANSWER_HEADER_BYTES, MAX_ANSWER_HEADERS, MAX_HOSTS, Settings};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use undoubt_platform::Clock;
use undoubt_platform::dial::{Dial, Encrypt, Encrypted, Resolve};
use undoubt_platform::server::Connection;

/// The network, as the surroundings have it.
#[derive(Clone)]
pub struct Network {
    pub resolve: Arc<dyn Resolve>,
    /// Dials `http://IP:PORT` alone.
    pub dial: Arc<dyn Dial>,
    /// `None`: no `https://` service can be called.
    pub encrypt: Option<Arc<dyn Encrypt>>,
    /// The clock by which dates in `Retry-After` are read.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// The answer of a service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) is_json: bool,
    /// The body, or why it is not known.
    pub(crate) body: Result<Bytes, String>,
}

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// No part of the request has left this process.
    #[error("{0}")]
    NotSent(String),
    #[error("{0}")]
    Broken(String),
}

/// A place among the calls of one host.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// A host that was called.
#[derive(Debug)]
struct Called {
    places: Arc<Semaphore>,
    breaker: Breaker,
}

pub(crate) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    hosts: Mutex<BTreeMap<Origin, Called>>,
    breakers: Terms,
    max_calls_per_host: usize,
    max_response_bytes: usize,
    secrets: crate::secrets::Secrets,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(settings: &Settings, checked: Checked, network: Network) -> Client {
        let Checked { allowed, secrets } = checked;
        let clock = network.clock.clone();
        let connector = Connector { network, allowed: Arc::new(allowed), timeout: settings.connect_timeout() };
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout())
            // What a burst of calls has opened is there for the next one.
            .pool_max_idle_per_host(settings.max_calls_per_host)
            .http1_max_headers(MAX_ANSWER_HEADERS)
            .http1_max_buf_size(MAX_ANSWER_HEADER_BYTES)
            .http2_max_header_list_size(u32::try_from(MAX_ANSWER_HEADER_BYTES).unwrap_or(u32::MAX))
            .build(connector);
        let Settings { max_calls_per_host, max_response_bytes, breaker_threshold, .. } = *settings;
        let (pause, least_time) = (settings.breaker_pause(), settings.connect_timeout());
        let breakers = Terms { threshold: breaker_threshold, pause, least_time };
        Client { http, hosts: Mutex::default(), breakers, max_calls_per_host, max_response_bytes, secrets, clock }
    }

    /// Waits for a place among the calls of a host; `None`: there was none in time.
    pub(crate) async fn place(&self, origin: &Origin, deadline: Instant) -> Option<Place> {
        let places = self.places_of(origin)?;
        timeout_at(deadline, places.acquire_owned()).await.ok()?.ok().map(Place)
    }

    /// Returns the calls that are under way.
    pub(crate) fn calls_under_way(&self) -> u64 {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = hosts.values().map(|host| self.max_calls_per_host.saturating_sub(host.places.available_permits()));
        taken.sum::<usize>() as u64
    }

    fn places_of(&self, origin: &Origin) -> Option<Arc<Semaphore>> {
        // Nothing between taking and freeing it can panic.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(origin) {
            hosts.retain(|_, host| host.places.available_permits() < self.max_calls_per_host);
            if hosts.len() >= MAX_HOSTS {
                return None;
            }
        }
        let new = || Called { places: Arc::new(Semaphore::new(self.max_calls_per_host)), breaker: Breaker::default() };
        Some(hosts.entry(origin.clone()).or_insert_with(new).places.clone())
    }

    /// Calls once, unless the host has given no answer too often.
    pub(crate) async fn call(
        &self,
        message: &Message,
        identity: &[(&'static str, String)],
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let request = self.request(message, identity)?;
        let origin = &message.address.origin;
        self.with_breaker(origin, |breaker| {
            breaker.pass(Instant::now(), self.breakers).map_err(|left| (left, breaker.silences()))
        })
        .map_err(|(left, silences)| {
            let left = left.as_millis();
            NoAnswer::NotSent(format!(
                "it gave no answer {silences} times in a row, and is called again in {left} ms (http.breaker_threshold)"
            ))
        })?;
        let began = Instant::now();
        let answered = self.call_now(request, deadline).await;
        // A caller who leaves no time for an answer must not keep others from the host.
        let had_time = deadline.saturating_duration_since(began) >= self.breakers.least_time;
        self.with_breaker(origin, |breaker| match &answered {
            Ok(_) => breaker.answered(),
            Err(_) if had_time => breaker.silent(Instant::now(), self.breakers),
            Err(_) => {}
        });
        answered
    }

    /// Shows the breaker of a host; a closed one of a host that no call has a place at.
    fn with_breaker<T>(&self, origin: &Origin, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        match hosts.get_mut(origin) {
            Some(host) => change(&mut host.breaker),
            None => change(&mut Breaker::default()),
        }
    }

    async fn call_now(&self, request: http::Request<Full<Bytes>>, deadline: Instant) -> Result<Answer, NoAnswer> {
        let response = match timeout_at(deadline, self.http.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(NoAnswer::NotSent(reason(&error))),
            Ok(Err(error)) => return Err(NoAnswer::Broken(reason(&error))),
            Err(_elapsed) => return Err(NoAnswer::Broken("it did not answer in time".to_owned())),
        };
        let (head, body) = response.into_parts();
        let is_json = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_json);
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: self.retry_after(&head.headers),
            is_json,
            body: self.body(body, deadline).await,
        })
    }

    fn request(
        &self,
        message: &Message,
        identity: &[(&'static str, String)],
    ) -> Result<http::Request<Full<Bytes>>, NoAnswer> {
        let Message { method, address, headers, body, is_json } = message;
        let url = format!("{}{}", address.origin, address.path_and_query());
        let mut request = http::Request::builder().method(method.as_str()).uri(url);
        if *is_json && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str())) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in identity {
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Some(all) = request.headers_mut() {
            for (name, value) in self.secrets.of(address) {
                all.insert(name, HeaderValue::clone(value));
            }
        }
        request.body(Full::new(body.clone())).map_err(|error| NoAnswer::NotSent(error.to_string()))
    }

    async fn body(&self, body: Incoming, deadline: Instant) -> Result<Bytes, String> {
        match timeout_at(deadline, whole(body, self.max_response_bytes)).await {
            Ok(read) => read,
            Err(_elapsed) => Err("its answer was not complete in time".to_owned()),
        }
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                Some(at.saturating_sub(Duration::from_micros(self.clock.now().0)))
            }
        }
    }
}

async fn whole(mut body: Incoming, max_bytes: usize) -> Result<Bytes, String> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its answer broke off ({})", reason(&error)))?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > max_bytes {
                return Err(format!("its answer has more than {max_bytes} bytes (http.max_response_bytes)"));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Returns what happened, from the outermost to the innermost cause.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

/// Opens connections to where it is allowed.
#[derive(Clone)]
struct Connector {
    network: Network,
    allowed: Arc<Allowed>,
    timeout: Duration,
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let Connector { network, allowed, timeout: limit } = self.clone();
        Box::pin(async move {
            match timeout(limit, connect(&network, &allowed, &url)).await {
                Ok(connected) => connected,
                Err(_elapsed) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("it did not accept a connection within {} ms (http.connect_timeout_ms)", limit.as_millis()),
                )),
            }
        })
    }
}

async fn connect(network: &Network, allowed: &Allowed, url: &Uri) -> io::Result<Stream> {
    let other = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let address = crate::address::Address::read(&url.to_string()).map_err(|bad| other(bad.to_string()))?;
    let Origin { is_encrypted, host, port } = &address.origin;
    let resolved = match host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(_) if host.is_localhost() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Host::Name(name) => network.resolve.resolve(name.clone()).await?,
    };
    let reachable = allowed.reachable(host, resolved);
    if reachable.is_empty() {
        return Err(other(format!(
            "{host} leads to no address outside of private networks; if it may, name it in the setting http.private_hosts"
        )));
    }
    let plain = dial_any(network, &reachable, *port).await?;
    if !is_encrypted {
        return Ok(Stream::new(plain, false));
    }
    let Some(encrypt) = &network.encrypt else {
        return Err(other(
            "https:// needs to know whom to trust; name a file of CAs in the setting http.ca".to_owned(),
        ));
    };
    let Encrypted { connection, is_http2 } = encrypt.encrypt(host.to_string(), plain).await?;
    Ok(Stream::new(connection, is_http2))
}

/// Dials the first address that can be reached.
async fn dial_any(network: &Network, addresses: &[IpAddr], port: u16) -> io::Result<Connection> {
    let mut failed = None;
    for ip in addresses {
        let origin = Origin { is_encrypted: false, host: Host::Ip(*ip), port };
        let url: Uri = format!("{origin}/").parse().expect("an IP address and a port make a URL");
        match network.dial.dial(url).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// A connection to a service.
struct Stream {
    io: TokioIo<Connection>,
    is_http2: bool,
}

impl Stream {
    fn new(connection: Connection, is_http2: bool) -> Stream {
        Stream { io: TokioIo::new(connection), is_http2 }
    }
}

impl Connects for Stream {
    fn connected(&self) -> Connected {
        if self.is_http2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}
