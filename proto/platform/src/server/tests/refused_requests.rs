//! Requests that the guard refuses.

use super::{Server, part_of_message, status};
use crate::access::{Access, Identities, Roles};
use crate::server::guard::READ_OUT_TIMEOUT;
use futures::FutureExt as _;
use tokio::time::Instant;
use tonic::Code;

const DRAIN: &str = "/undoubt.v1.Operator/Drain";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn server() -> Server {
    Server::start_with(Access::new(Identities::default(), Roles::NONE))
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_read_to_its_end_before_it_is_answered_and_so_no_stream_is_reset() {
    let server = server();
    let mut client = server.client().await;
    // More than the resets after which a connection is given up.
    for _ in 0..2_000 {
        let (response, mut stream) = client.begin(DRAIN).await;
        let mut response = Box::pin(status(response));
        tokio::task::yield_now().await;
        assert!(response.as_mut().now_or_never().is_none(), "it is answered before its end");
        stream.send_data(part_of_message(0, 0), true).unwrap();
        assert_eq!(response.await.0, Code::Unauthenticated);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_that_does_not_end_is_answered_all_the_same() {
    let server = server();
    let mut client = server.client().await;
    let began = Instant::now();
    let (response, _stream) = client.begin(DRAIN).await;
    assert_eq!(status(response).await.0, Code::Unauthenticated);
    assert_eq!(began.elapsed(), READ_OUT_TIMEOUT);
    let (response, mut stream) = client.begin(DRAIN).await;
    stream.send_data(part_of_message(100_000, 100_000), false).unwrap();
    assert_eq!(status(response).await.0, Code::Unauthenticated, "it is too long to be read out");
    assert!(began.elapsed() < READ_OUT_TIMEOUT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_answered_at_once() {
    let server = server();
    let mut client = server.client().await;
    let began = Instant::now();
    let (response, _stream) = client.begin(REFLECTION).await;
    assert_eq!(status(response).await.0, Code::Unauthenticated);
    assert!(began.elapsed() < READ_OUT_TIMEOUT);
}
