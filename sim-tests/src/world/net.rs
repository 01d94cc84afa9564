//! The network of one process: turmoil's, behind the process' switch.

use crate::process::Process;
use futures::Stream;
use futures::future::BoxFuture;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};
use undoubt_platform::Connection;
use undoubt_platform::dial::{self, Dial, Resolve};
use undoubt_platform::server::{Incoming, boxed};

/// The port at which every server listens.
pub(super) const PORT: u16 = 7_400;

/// The connections of one process, in the order in which they were made.
///
/// When a machine crashes, its tasks are dropped in an order that depends on how many tasks the whole program has had so
/// far, and each connection says goodbye as it goes. So tasks only borrow connections; they belong to this, which is
/// dropped with the software of the host and lets them go in their own order.
#[derive(Debug, Default)]
pub(super) struct Sockets(Arc<Mutex<Vec<Slot>>>);

type Slot = Arc<Mutex<Option<TcpStream>>>;

impl Drop for Sockets {
    fn drop(&mut self) {
        for slot in lock(&self.0).drain(..) {
            drop(lock(&slot).take());
        }
    }
}

/// Locks a mutex. Nothing between taking and freeing these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process' way to the network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    process: Process,
    sockets: Arc<Mutex<Vec<Slot>>>,
}

impl Network {
    pub(super) fn new(process: Process, sockets: &Sockets) -> Network {
        Network { process, sockets: sockets.0.clone() }
    }

    /// Returns a network for hosts that never crash.
    pub(super) fn of_client() -> Network {
        Network { process: Process::default(), sockets: Arc::default() }
    }

    fn guard(&self, stream: TcpStream) -> Guarded {
        let slot = Arc::new(Mutex::new(Some(stream)));
        lock(&self.sockets).push(slot.clone());
        Guarded { slot, network: self.clone(), waiting: None }
    }
}

/// A connection that a dead process cannot use any more, and a paused one not now.
pub(super) struct Guarded {
    slot: Slot,
    network: Network,
    waiting: Option<BoxFuture<'static, ()>>,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.network.process.is_dead() {
            drop(lock(&self.slot).take());
            lock(&self.network.sockets).retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        }
    }
}

impl Guarded {
    fn poll_running(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.network.process.is_running() || self.waiting.is_some() {
            let process = &self.network.process;
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(process.running()));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        Poll::Ready(())
    }

    fn poll_stream<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_running(context));
        match &mut *lock(&self.slot) {
            Some(stream) => poll(Pin::new(stream), context),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_stream(cx, |stream, cx| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_stream(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_stream(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_stream(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

/// Connections from others.
pub(super) async fn incoming(network: Network) -> io::Result<Incoming> {
    Ok(boxed(accepted(network).await?))
}

pub(super) async fn accepted(network: Network) -> io::Result<impl Stream<Item = io::Result<Guarded>> + Send> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    Ok(futures::stream::unfold((listener, network), |(listener, network)| async move {
        network.process.running().await;
        let accepted = listener.accept().await.map(|(stream, _)| network.guard(stream));
        Some((accepted, (listener, network)))
    }))
}

impl Network {
    /// Connects to the server of a host.
    pub(super) async fn connect(&self, host: &str) -> io::Result<Guarded> {
        self.process.running().await;
        Ok(self.guard(TcpStream::connect((host, PORT)).await?))
    }
}

impl Dial for Network {
    fn dial(&self, address: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        let network = self.clone();
        Box::pin(async move { Ok(Connection::over(network.connect(address.host().unwrap_or_default()).await?)) })
    }
}

impl Resolve for Network {
    /// Knows the names of simulated hosts.
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(vec![turmoil::lookup(host)]) })
    }
}

/// A connector to wherever `address` points at the moment.
struct Towards<A> {
    network: Network,
    address: A,
}

impl<A: Fn() -> String + Send + Sync + 'static> Dial for Towards<A> {
    fn dial(&self, _: Uri) -> BoxFuture<'static, io::Result<Connection>> {
        self.network.dial((self.address)().parse().expect("hosts have plain names"))
    }
}

/// Returns the endpoint without real time: else a library would forget reset streams after some time by the machine's
/// clock.
fn without_real_time(endpoint: Endpoint) -> Endpoint {
    endpoint.http2_reset_stream_duration(Duration::MAX)
}

pub(super) async fn connect(endpoint: Endpoint, network: Network) -> Result<Channel, tonic::transport::Error> {
    dial::connect(without_real_time(endpoint), Arc::new(network)).await
}

/// A client's channel, which connects, and connects anew, whenever it is needed; each time to where `address` points.
pub(super) fn channel(address: impl Fn() -> String + Send + Sync + 'static) -> Channel {
    let endpoint = Endpoint::from_static("http://server:7400")
        .connect_timeout(Duration::from_millis(500))
        .http2_keep_alive_interval(Duration::from_millis(1_000))
        .keep_alive_timeout(Duration::from_millis(1_000))
        .keep_alive_while_idle(true);
    dial::connect_lazily(without_real_time(endpoint), Arc::new(Towards { network: Network::of_client(), address }))
}

pub(super) fn address(host: impl std::fmt::Display) -> String {
    format!("http://{host}:{PORT}")
}
