//! The frame over connections in memory, with clients that do not behave.

mod greeting;

use super::{Keeping, Offer, boxed, serve};
use crate::clock::SystemClock;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// What the pipes between clients and server hold.
const PIPE_BYTES: usize = 1 << 16;

const ALIVE: Duration = Duration::from_secs(60);

/// A server with health and reflection.
struct Server {
    connections: mpsc::UnboundedSender<DuplexStream>,
}

impl Server {
    fn start() -> Server {
        let (connections, incoming) = mpsc::unbounded_channel();
        let incoming = boxed(UnboundedReceiverStream::new(incoming).map(Ok));
        let keeping = Keeping { max_connections: 100, alive: ALIVE, window_bytes: None };
        let Offer { routes, .. } = Offer::new().unwrap();
        let never = Box::pin(std::future::pending());
        tokio::spawn(serve(routes.routes(), incoming, keeping, Arc::new(SystemClock), never));
        Server { connections }
    }

    fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        self.connections.send(server).unwrap();
        client
    }
}
