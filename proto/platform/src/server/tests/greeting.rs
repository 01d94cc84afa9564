//! Clients that connect and say nothing, or too little.

use super::{ALIVE, Server};
use crate::server::GREETING_TIMEOUT;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep};

/// Preface and empty settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Reads until the server closes.
async fn closed(client: &mut DuplexStream) {
    let mut read = Vec::new();
    // An error is an end, too.
    let _ = client.read_to_end(&mut read).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_dropped() {
    let server = Server::start();
    let began = Instant::now();
    closed(&mut server.connect()).await;
    assert!((GREETING_TIMEOUT..GREETING_TIMEOUT * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_greets_a_byte_at_a_time_is_dropped_as_late() {
    let server = Server::start();
    let began = Instant::now();
    let (mut reading, mut writing) = tokio::io::split(server.connect());
    let dripping = async {
        for byte in GREETING {
            sleep(Duration::from_secs(1)).await;
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut read = Vec::new();
    tokio::select! {
        _ = reading.read_to_end(&mut read) => {}
        () = dripping => {}
    }
    assert!(began.elapsed() < GREETING_TIMEOUT * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_greets_and_answers_no_ping_is_dropped() {
    let server = Server::start();
    let began = Instant::now();
    let mut client = server.connect();
    client.write_all(GREETING).await.unwrap();
    closed(&mut client).await;
    assert!((ALIVE..ALIVE * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
}
