//! Large values, many at once.

use crate::support::api::{branch, commit, coordinator, request, within_ms};
use crate::support::{banks, start};
use futures::future::join_all;
use undoubt::cluster::Cluster;
use undoubt_client::kv::KvWork;
use undoubt_proto::v1;

const VALUE_BYTES: usize = 65_000;

fn puts(keys: usize, prefix: &str) -> KvWork {
    let value = "x".repeat(VALUE_BYTES);
    (0..keys).fold(KvWork::new(), |work, key| work.put(format!("{prefix}{key}"), value.clone()))
}

/// As many as one connection may submit at once: requests of a megabyte fit its share of the room for them.
const REQUESTS_PER_CONNECTION: usize = 25;

/// All at once, with deadlines beyond the patience of anybody.
async fn all_commit(cluster: &Cluster, requests: impl IntoIterator<Item = v1::SubmitRequest>) {
    let mut clients = Vec::new();
    let mut submitted = Vec::new();
    for (number, request) in requests.into_iter().enumerate() {
        if number % REQUESTS_PER_CONNECTION == 0 {
            clients.push(coordinator(cluster).await.max_decoding_message_size(usize::MAX));
        }
        let mut client = clients[number / REQUESTS_PER_CONNECTION].clone();
        submitted.push(async move { client.submit(within_ms(3_600_000, request)).await });
    }
    for answer in join_all(submitted).await {
        let outcome = answer.unwrap().into_inner().outcome.unwrap();
        assert_eq!(outcome.state(), v1::State::Committed, "{:?}", outcome.abort_reason);
    }
}

#[tokio::test]
async fn a_burst_of_large_reads_breaks_no_session() {
    let cluster = start(banks()).await;
    commit(&cluster, request("values", [branch("bank-a", puts(4, "k"))])).await;
    let read = || (0..4).fold(KvWork::new(), |work, key| work.get(format!("k{key}")));
    let both = |number| {
        let small = KvWork::new().put(format!("z{number}"), "1");
        request(&format!("t{number}"), [branch("bank-a", read()), branch("bank-b", small)])
    };
    // Together more than one message between the servers may have.
    all_commit(&cluster, (0..300).map(both)).await;
}

#[tokio::test]
async fn large_writes_are_slowed_down_and_none_is_refused() {
    let cluster = start(banks()).await;
    let both = |number| {
        let large = branch("bank-a", puts(15, &format!("{number}-")));
        request(&format!("t{number}"), [large, branch("bank-b", KvWork::new().put(format!("z{number}"), "1"))])
    };
    // Together more than waits for the store at a time.
    all_commit(&cluster, (0..60).map(both)).await;
}
