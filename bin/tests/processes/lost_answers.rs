//! Answers of a participant that are lost with their connection are had again.

use crate::support::api::{branch, commit, request, submit, values, within_ms};
use crate::support::{PATIENCE, start, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;
use undoubt::cluster::{Cluster, Plan, Who};
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;

/// Stands between a coordinator and a participant. Passes everything on, but swallows one message and cuts the connection.
struct Proxy {
    url: String,
    swallows: Arc<Swallows>,
}

/// The message that is swallowed: the one about this transaction that comes after so many others about it.
#[derive(Default)]
struct Swallows {
    tx: Mutex<Option<String>>,
    after: AtomicUsize,
}

impl Proxy {
    async fn before(url: &str) -> Proxy {
        let to = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { url: format!("http://{}", listener.local_addr().unwrap()), swallows: Arc::default() };
        let swallows = proxy.swallows.clone();
        tokio::spawn(async move {
            while let Ok((coordinator, _)) = listener.accept().await {
                let participant = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(pass(coordinator, participant, swallows.clone()));
            }
        });
        proxy
    }

    async fn swallow(&self, tx: &str, after: usize) {
        self.swallows.after.store(after, Ordering::SeqCst);
        *self.swallows.tx.lock().await = Some(tx.to_owned());
    }
}

/// Until one side ends, or the message is swallowed; then both are cut.
async fn pass(coordinator: TcpStream, participant: TcpStream, swallows: Arc<Swallows>) {
    let (mut from_coordinator, mut to_coordinator) = coordinator.into_split();
    let (mut from_participant, mut to_participant) = participant.into_split();
    let back = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count) = from_participant.read(&mut bytes).await {
            if count == 0 || swallows.takes(&bytes[..count]).await {
                return;
            }
            if to_coordinator.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        // It ends where either side does.
        _ = tokio::io::copy(&mut from_coordinator, &mut to_participant) => {}
        () = back => {}
    }
}

impl Swallows {
    async fn takes(&self, bytes: &[u8]) -> bool {
        let mut tx = self.tx.lock().await;
        let is_about = |tx: &String| bytes.windows(tx.len()).any(|part| part == tx.as_bytes());
        if !tx.as_ref().is_some_and(is_about) {
            return false;
        }
        if self.after.fetch_sub(1, Ordering::SeqCst) > 0 {
            return false;
        }
        *tx = None;
        true
    }
}

/// A participant, and a coordinator that reaches it through a proxy; the second participant it reaches at once.
async fn through_a_proxy() -> (Cluster, Proxy, Cluster) {
    let bank = start(Plan { participants: vec!["bank".to_owned()], ..Plan::default() }).await;
    let proxy = Proxy::before(&bank.url(Who::Participant(0)).unwrap()).await;
    let participants = vec!["other".to_owned()];
    let foreign_participants = vec![("bank".to_owned(), proxy.url.clone())];
    let cluster = start(Plan { participants, foreign_participants, ..Plan::default() }).await;
    (bank, proxy, cluster)
}

/// Its deadline is far beyond the patience of this test.
async fn answered(cluster: &Cluster, request: v1::SubmitRequest) -> v1::Outcome {
    let answer = timeout(PATIENCE, submit(cluster, within_ms(3_600_000, request))).await;
    answer.expect("what was lost is had again before the deadline").unwrap()
}

#[tokio::test]
async fn every_answer_that_is_lost_with_its_connection_is_had_again() {
    let (_bank, proxy, cluster) = through_a_proxy().await;
    commit(&cluster, request("first", [branch("bank", KvWork::new().put("k", "v"))])).await;
    let at_bank = |work: KvWork| branch("bank", work);
    let elsewhere = || branch("other", KvWork::new().put("k", "v"));
    let get = || KvWork::new().get("k");
    let put = || KvWork::new().put("k", "v");
    let cases = [
        ("alone-read", 0, vec![at_bank(get())]),
        ("alone-written", 0, vec![at_bank(put())]),
        ("vote-read", 0, vec![at_bank(get()), elsewhere()]),
        ("confirmation", 1, vec![at_bank(get()), elsewhere()]),
        ("vote-prepared", 0, vec![at_bank(put().get("k")), elsewhere()]),
        ("end-of-commit", 1, vec![at_bank(put().get("k")), elsewhere()]),
    ];
    for (tx, after, branches) in cases {
        proxy.swallow(tx, after).await;
        let outcome = answered(&cluster, request(tx, branches)).await;
        assert_eq!(outcome.state(), v1::State::Committed, "{tx}: {outcome:?}");
        let read = values(&outcome).into_iter().find(|(participant, _)| participant == "bank");
        if tx != "alone-written" {
            let (_, read) = read.unwrap_or_else(|| panic!("{tx}: {outcome:?}"));
            assert_eq!(read.last().unwrap().as_deref(), Some(&b"v"[..]), "{tx}");
        }
        let swallowed = async || proxy.swallows.tx.lock().await.is_none().then_some(());
        until("the message has been swallowed", swallowed).await;
    }
}
