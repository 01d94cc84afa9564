//! Services that do not keep to HTTP, or to anything: an action is unclear then, in bounded time and memory, never refused.

use crate::support::server::{Server, reply, say};
use crate::support::{act, act_within, answer, fresh, refused, step, undo};
use bytes::Bytes;
use http_body_util::Full;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use undoubt_participant::resource::{StepState, Steps as _};
use undoubt_vocabulary::{RefusalCode, StepOutcome};
use undoubt_work::http::Request;

/// Meant to run out: the service never says enough.
const SHORT: Duration = Duration::from_millis(300);

/// Acts once, which has to leave the step attempted, and returns why it is unclear.
async fn unclear(server: &Server, timeout: Duration) -> String {
    let (_, http) = fresh(&server.url);
    let (code, detail) = refused(act_within(&http, 0, Request::post(&server.url), timeout).await);
    assert_eq!(code, RefusalCode::Unclear, "{detail}");
    assert_eq!(http.settle_step(step(0)).await.unwrap(), Some(StepState::Attempted), "{detail}");
    detail
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::raw(|stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut stream = say(stream, head).await;
        let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let detail = unclear(&server, super::support::PATIENCE).await;
    assert!(detail.contains("more than 262144 bytes"), "{detail}");
}

#[tokio::test]
async fn a_byte_at_a_time_is_not_waited_for_longer_than_the_attempt_has() {
    let server = Server::raw(|stream| async move {
        let mut stream = say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let detail = unclear(&server, SHORT).await;
    assert!(detail.contains("not complete in time"), "{detail}");
}

#[tokio::test]
async fn silence_and_endless_preliminaries_end_with_the_attempt() {
    let silent = Server::raw(|stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    assert!(unclear(&silent, SHORT).await.contains("in time"));
    let preliminary = Server::raw(|mut stream| async move {
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    unclear(&preliminary, SHORT).await;
}

#[tokio::test]
async fn a_length_that_is_a_lie_is_no_answer() {
    let longer = Server::raw(|stream| async move {
        drop(say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await);
    })
    .await;
    assert!(unclear(&longer, super::support::PATIENCE).await.contains("broke off"));
    let both = Server::raw(|stream| async move {
        drop(say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-length: 4\r\n\r\nhalf").await);
    })
    .await;
    unclear(&both, super::support::PATIENCE).await;
}

#[tokio::test]
async fn what_is_no_http_or_too_much_of_it_is_no_answer() {
    let headers = |count: usize, length: usize| {
        let line = |at| format!("x-{at}: {}\r\n", "y".repeat(length));
        format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", (0..count).map(line).collect::<String>())
    };
    for said in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(),
        headers(1_000, 10),
        headers(50, 10_000),
        headers(1, 1_000_000),
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        String::new(),
    ] {
        let server = Server::raw(move |stream| {
            let said = said.clone();
            async move { drop(say(stream, said.as_bytes()).await) }
        })
        .await;
        unclear(&server, super::support::PATIENCE).await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_whether_it_leads_round_in_a_circle_or_elsewhere() {
    for to in ["/", "http://169.254.169.254/latest/meta-data", "//127.0.0.1:1/", "file:///etc/passwd"] {
        let server = Server::start(move |_| {
            let moved = http::Response::builder().status(307).header("location", to);
            Some(moved.body(Full::new(Bytes::new())).unwrap())
        })
        .await;
        assert!(unclear(&server, super::support::PATIENCE).await.contains("answered 307"));
        assert_eq!(server.asked().len(), 1, "{to}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again_with_the_same_key() {
    let times = std::sync::atomic::AtomicU32::new(0);
    let server = Server::start(move |_| {
        let first = times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        (!first).then(|| reply(200, r#"{"id": 7}"#))
    })
    .await;
    let (_, http) = fresh(&server.url);
    let (code, _) = refused(act(&http, 0, Request::post(&server.url)).await);
    assert_eq!(code, RefusalCode::Unclear);
    assert_eq!(answer(act(&http, 0, Request::post(&server.url)).await).body, r#"{"id": 7}"#);
    let keys: Vec<_> = server.asked().iter().map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

#[tokio::test]
async fn an_empty_answer_is_an_answer_and_what_undoes_needs_no_more_than_a_status() {
    let server = Server::raw(|stream| async move {
        drop(say(stream, b"HTTP/1.1 204 No Content\r\n\r\n").await);
    })
    .await;
    let (_, http) = fresh(&server.url);
    let done = answer(act(&http, 0, Request::post(&server.url)).await);
    assert_eq!((done.status, done.body.len(), done.is_json), (204, 0, false));
    let half = Server::raw(|stream| async move {
        drop(say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await);
    })
    .await;
    let (_, http) = fresh(&half.url);
    assert_eq!(refused(act(&http, 0, Request::post(&half.url)).await).0, RefusalCode::Unclear);
    let undone = undo(&http, 0, Request::post(&half.url), Bytes::new()).await.unwrap();
    assert!(matches!(undone, StepOutcome::Done { .. }), "{undone:?}");
}
