//! How a coordinator reaches its participants. The simulation brings its own way.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Error};

pub type Connecting = Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>>;

/// Opens a connection to `http://host:port`. Ends within the connect timeout it was made with.
pub trait Connect: Send + Sync + 'static {
    fn connect(&self, address: &str) -> Connecting;
}

/// Plain TCP. A peer that does not even answer a ping for `keep_alive` is given up.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnect {
    pub connect_timeout: Duration,
    pub keep_alive: Duration,
}

impl TcpConnect {
    /// The endpoint with its deadlines, for other transports to start from.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        Ok(Endpoint::from_shared(address.to_owned())?
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(self.keep_alive / 2)
            .keep_alive_timeout(self.keep_alive / 2)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES))
    }
}

/// Flow control of one session, each way.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

impl Connect for TcpConnect {
    fn connect(&self, address: &str) -> Connecting {
        let endpoint = self.endpoint(address);
        Box::pin(async move { endpoint?.connect().await })
    }
}
