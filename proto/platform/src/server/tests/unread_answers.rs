//! Answers that nobody reads.

use super::{Client, ROOM_BYTES, Server, read};
use crate::server::connection::READING_TIMEOUT;
use crate::server::share_bytes;
use futures::future::join_all;
use h2::client::ResponseFuture;
use tokio::time::{Instant, sleep};

const LARGE: usize = 256 << 10;

/// Asks for many answers, and reads none.
async fn hog(server: &Server) -> (Client, Vec<ResponseFuture>) {
    let mut client = server.client().await;
    let mut unread = Vec::new();
    for _ in 0..100 {
        unread.push(client.ask(LARGE).await);
    }
    (client, unread)
}

#[tokio::test(start_paused = true)]
async fn what_is_not_read_stays_within_the_connections_share_and_ends_with_the_connection() {
    let server = Server::start();
    let began = Instant::now();
    let (client, unread) = hog(&server).await;
    client.closed().await;
    assert!(began.elapsed() < READING_TIMEOUT * 3, "{:?}", began.elapsed());
    assert!(server.answers.most_alive_bytes() >= LARGE);
    assert!(server.answers.most_alive_bytes() <= share_bytes(ROOM_BYTES) as usize);
    drop(unread);
    // Tasks of the connection end after it.
    sleep(READING_TIMEOUT / 100).await;
    assert_eq!(server.answers.alive_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_read_get_all_their_answers_beside_those_who_do_not() {
    let server = Server::start();
    let mut hogs = Vec::new();
    for _ in 0..3 {
        hogs.push(hog(&server).await);
    }
    let mut client = server.client().await;
    let began = Instant::now();
    let mut answers = Vec::new();
    for bytes in [LARGE, 1_000].repeat(50) {
        answers.push((bytes, read(client.ask(bytes).await)));
    }
    let (expected, answers): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let read: Vec<usize> = join_all(answers).await.into_iter().map(|answer| answer.unwrap().0).collect();
    assert_eq!(read, expected);
    assert!(began.elapsed() < READING_TIMEOUT, "they waited for those who do not read");
    assert!(server.answers.most_alive_bytes() <= ROOM_BYTES as usize);
}

#[tokio::test(start_paused = true)]
async fn small_answers_do_not_wait_where_all_room_is_taken() {
    let server = Server::start();
    let mut hogs = Vec::new();
    for _ in 0..4 {
        hogs.push(hog(&server).await);
    }
    let began = Instant::now();
    let mut client = server.client().await;
    for _ in 0..100 {
        assert_eq!(read(client.ask(1_000).await).await.unwrap().0, 1_000);
    }
    assert!(began.elapsed().is_zero(), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_left_alone() {
    let server = Server::start();
    let mut client = server.client().await;
    let began = Instant::now();
    for _ in 0..10 {
        let answers = join_all([client.ask(LARGE).await, client.ask(LARGE).await].map(read)).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap().0 == LARGE));
        sleep(READING_TIMEOUT).await;
    }
    assert!(began.elapsed() >= READING_TIMEOUT * 10);
}
