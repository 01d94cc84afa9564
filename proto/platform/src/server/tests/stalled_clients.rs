//! Clients that take nothing of what is written to them, so that HTTP/2 does not even read any more.

use super::{Client, ROOM_BYTES, Server};
use crate::server::connection::{Connection, READING_TIMEOUT};
use crate::server::exchange::Rooms;
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const PIPE_BYTES: usize = 10;

/// A connection that holds no room, with its client's end.
async fn connection() -> (Connection, DuplexStream) {
    let (client, server) = tokio::io::duplex(PIPE_BYTES);
    let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let parts = Rooms::new(ROOM_BYTES, ROOM_BYTES).parts();
    (Connection::over(server).kept(place, READING_TIMEOUT * 100, parts), client)
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_too_long_ends_the_connection_whatever_it_holds() {
    let (mut connection, _client) = connection().await;
    let began = Instant::now();
    let written = connection.write_all(&[0; 2 * PIPE_BYTES]).await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), READING_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_is_left_alone() {
    let (mut connection, mut client) = connection().await;
    tokio::spawn(async move {
        loop {
            sleep(READING_TIMEOUT * 9 / 10).await;
            client.read_u8().await.unwrap();
        }
    });
    connection.write_all(&[0; 3 * PIPE_BYTES]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_client_that_was_stopped_does_not_take_ends_with_its_connection() {
    const LARGE: usize = 256 << 10;
    let server = Server::start();
    // Flow control lets all of it be sent, and the pipe to the client does not hold it.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(4 * LARGE as u32).initial_connection_window_size(4 * LARGE as u32);
    let (requests, mut stopped) = builder.handshake(server.connect()).await.unwrap();
    let mut client = Client { requests, connection: tokio::spawn(async {}) };
    let unread = client.ask(LARGE).await;
    assert!(futures::poll!(&mut stopped).is_pending(), "its request has gone, and it does no more");
    sleep(READING_TIMEOUT / 100).await;
    assert_eq!(server.answers.alive_bytes(), LARGE);
    sleep(READING_TIMEOUT * 2).await;
    assert_eq!(server.answers.alive_bytes(), 0);
    drop((stopped, unread));
}
