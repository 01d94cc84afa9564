//! Requests that never end.

use super::{Client, MAX_MESSAGE_BYTES, Server, part_of_message, status};
use crate::server::limits::MAX_STREAMS_PER_CONNECTION;
use crate::server::requests::MESSAGE_TIMEOUT;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::join_all;
use h2::client::ResponseFuture;
use tokio::time::{Instant, sleep};
use tonic::Code;

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// An unary request that ends.
async fn small(client: &mut Client) -> (Code, http::HeaderMap) {
    let (response, mut stream) = client.begin(CHECK).await;
    stream.send_data(part_of_message(0, 0), true).unwrap();
    status(response).await
}

/// A request of which most is missing.
async fn unfinished(client: &mut Client, length: usize) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let (response, mut stream) = client.begin(CHECK).await;
    stream.send_data(part_of_message(length, 1_000), false).unwrap();
    (response, stream)
}

#[tokio::test(start_paused = true)]
async fn large_messages_that_are_not_whole_take_turns_in_the_room_and_small_ones_go_on() {
    let server = Server::start();
    let mut client = server.client().await;
    let began = Instant::now();
    let mut streams = Vec::new();
    let mut responses = Vec::new();
    // A connection's share holds two of them.
    for _ in 0..10 {
        let (response, stream) = unfinished(&mut client, MAX_MESSAGE_BYTES).await;
        responses.push(status(response));
        streams.push(stream);
    }
    assert_eq!(small(&mut client).await.0, Code::Ok);
    assert_eq!(began.elapsed().as_secs(), 0, "the small one waited");
    let codes = join_all(responses).await;
    let count = |code| codes.iter().filter(|(found, _)| *found == code).count();
    assert_eq!((count(Code::DeadlineExceeded), count(Code::ResourceExhausted)), (2, 8));
    for (code, after) in &codes {
        assert_eq!(*code == Code::ResourceExhausted, after.contains_key("retry-after-ms"), "{after:?}");
    }
    assert!(began.elapsed() < MESSAGE_TIMEOUT * 2);
    // The room that they held is free again.
    let (response, mut stream) = unfinished(&mut client, 100_000).await;
    stream.send_data(vec![0; 99_000].into(), true).unwrap();
    assert_eq!(status(response).await.0, Code::Internal, "it was read whole, and is no request");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_is_refused_before_it_has_come() {
    let server = Server::start();
    let mut client = server.client().await;
    let (response, _stream) = unfinished(&mut client, MAX_MESSAGE_BYTES + 1).await;
    assert_eq!(status(response).await.0, Code::OutOfRange);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_its_message_ends_and_a_stream_may_be_silent() {
    let server = Server::start();
    let mut client = server.client().await;
    let (response, _stream) = client.begin(CHECK).await;
    let (silent, _open) = client.begin("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").await;
    let mut silent = Box::pin(super::read(silent));
    let began = Instant::now();
    assert_eq!(status(response).await.0, Code::DeadlineExceeded);
    assert_eq!(began.elapsed().as_secs(), MESSAGE_TIMEOUT.as_secs());
    sleep(MESSAGE_TIMEOUT * 4).await;
    assert!(silent.as_mut().now_or_never().is_none(), "the stream ended");
}

#[tokio::test(start_paused = true)]
async fn the_settings_tell_how_many_requests_a_connection_may_have() {
    let server = Server::start();
    let mut client = server.client().await;
    small(&mut client).await;
    assert_eq!(client.requests.current_max_send_streams(), MAX_STREAMS_PER_CONNECTION as usize);
}
