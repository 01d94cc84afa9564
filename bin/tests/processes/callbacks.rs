//! Callbacks: who is called, how often, and what one callee can do to another.

use crate::support::api::{branch, no_wait, request, submit};
use crate::support::{PATIENCE, banks, start, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    (listener, url)
}

fn put(tx: &str, callback: &str) -> v1::SubmitRequest {
    let put = branch("bank-a", KvWork::new().put(tx.to_owned(), "v"));
    no_wait(v1::SubmitRequest { callback: callback.to_owned(), ..request(tx, [put]) })
}

/// Answers every call with this status, and counts them.
fn answering(listener: TcpListener, status: &'static str) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut heard = Vec::new();
                while !heard.contains(&b'}') && stream.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {}
                let answer = format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    calls
}

async fn called(calls: &AtomicUsize, count: usize) {
    until("it is called", async || (calls.load(Ordering::SeqCst) >= count).then_some(())).await;
}

fn quick() -> Plan {
    Plan {
        coordinator_settings: vec!["callback_first_pause_ms=10".into(), "callback_max_pause_ms=20".into()],
        ..banks()
    }
}

async fn logged(cluster: &Cluster, words: &str) {
    until("it is in the log", async || cluster.log_tail(Who::Coordinator, 500).contains(words).then_some(())).await;
}

#[tokio::test]
async fn a_callee_that_hangs_delays_nobody_else() {
    let cluster = start(banks()).await;
    let (hangs, hanging) = listen().await;
    for n in 0..200 {
        submit(&cluster, put(&format!("h-{n}"), &hanging)).await.unwrap();
    }
    // Its share of calls is under way, and none of them will be answered.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(tokio::time::timeout(PATIENCE, hangs.accept()).await.expect("it is called").unwrap());
    }
    let (healthy, url) = listen().await;
    let calls = answering(healthy, "200 OK");
    submit(&cluster, put("healthy", &url)).await.unwrap();
    called(&calls, 1).await;
    // Were it behind those that hang, one of them would have timed out and called again before.
    let again = tokio::time::timeout(std::time::Duration::ZERO, hangs.accept()).await;
    assert!(again.is_err(), "the healthy one was called only after a call to the hanging one was given up");
}

#[tokio::test]
async fn a_redirect_ends_the_calls_and_is_told_once() {
    let cluster = start(quick()).await;
    let (listener, url) = listen().await;
    let calls = answering(listener, "302 Found");
    submit(&cluster, put("moved", &format!("{url}?token=secret"))).await.unwrap();
    logged(&cluster, "a redirect, which is not followed").await;
    // A callback that is promised afterwards is called, while the redirected one is not called again.
    let (later, url) = listen().await;
    let later = answering(later, "500 Not Now");
    submit(&cluster, put("later", &url)).await.unwrap();
    called(&later, 5).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(!cluster.log_tail(Who::Coordinator, 500).contains("secret"));
}

#[tokio::test]
async fn each_of_several_submissions_of_one_id_has_its_own_callback_also_after_a_restart() {
    let mut cluster = start(quick()).await;
    let (first, one) = listen().await;
    let (second, other) = listen().await;
    for url in [&one, &other, &one] {
        submit(&cluster, put("t", url)).await.unwrap();
    }
    cluster.kill(Who::Coordinator).await.unwrap();
    cluster.restart(Who::Coordinator, None).await.unwrap();
    let calls = [answering(first, "200 OK"), answering(second, "200 OK")];
    called(&calls[0], 1).await;
    called(&calls[1], 1).await;
}

#[tokio::test]
async fn credentials_in_a_callback_are_refused_and_repeated_nowhere() {
    let cluster = start(banks()).await;
    let refusal = submit(&cluster, put("t", "http://user:secret@127.0.0.1:1/")).await.unwrap_err();
    assert!(refusal.message().contains("password") && refusal.message().contains("take it out"), "{refusal:?}");
    assert!(!refusal.message().contains("secret"));
    assert!(!cluster.log_tail(Who::Coordinator, 500).contains("secret"));
}
