//! A server whose clients do not end their handshakes.

use super::{Authority, client, for_names, server_files};
use crate::{ClientCertificate, ServerTls, accept, connect};
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use undoubt_platform::Incoming;
use undoubt_platform::server::boxed;

struct Door {
    authority: Authority,
    connections: mpsc::UnboundedSender<DuplexStream>,
    accepted: Incoming,
}

impl Door {
    fn open() -> Door {
        let authority = Authority::new();
        let files = server_files(authority.make("server", &for_names(&["server"])), Some(&authority.ca()));
        let server = Arc::new(ServerTls::load(files, ClientCertificate::Required, &[b"h2"]).unwrap());
        let (connections, incoming) = mpsc::unbounded_channel();
        let accepted = accept(boxed(UnboundedReceiverStream::new(incoming).map(Ok)), server);
        Door { authority, connections, accepted }
    }

    fn knock(&self) -> DuplexStream {
        let (near, far) = duplex(1 << 14);
        self.connections.send(far).unwrap();
        near
    }

    /// Lets an honest client in, and returns its names as the server knows them.
    async fn honest(&mut self) -> Vec<String> {
        let near = self.knock();
        let own = client(&self.authority.ca(), Some(self.authority.make("client", &for_names(&["orders"]))));
        tokio::spawn(async move {
            let mut stream = connect(own.current(), "server", near).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let mut connection = self.accepted.next().await.unwrap().unwrap();
        connection.write_all(b"hello").await.unwrap();
        connection.flush().await.unwrap();
        connection.peer().names.to_vec()
    }
}

#[tokio::test]
async fn thousands_that_say_nothing_or_half_of_it_hold_up_nobody() {
    let mut door = Door::open();
    let mut strangers = Vec::new();
    for number in 0..2_000 {
        let mut stranger = door.knock();
        if number % 2 == 0 {
            // A handshake record that promises more than it brings.
            stranger.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
        }
        strangers.push(stranger);
    }
    assert_eq!(door.honest().await, ["orders"]);
    // Those that had to give way are closed: they hold nothing.
    let mut closed = 0;
    for stranger in &mut strangers {
        let read = tokio::time::timeout(Duration::ZERO, stranger.read(&mut [0; 64])).await;
        closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!(closed >= 1_700, "only {closed} are closed");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_given_up() {
    let mut door = Door::open();
    let mut silent = door.knock();
    let closed = async { silent.read(&mut [0; 1]).await.is_ok_and(|read| read == 0) };
    tokio::select! {
        closed = closed => assert!(closed),
        _ = door.accepted.next() => panic!("it was let in"),
    }
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_not_let_in_and_the_next_is() {
    let mut door = Door::open();
    let mut plain = door.knock();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(door.honest().await, ["orders"]);
}
