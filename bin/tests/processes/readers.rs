//! Many clients that read large answers at once, a smaller share of what `make bench PARTS=readers` measures.

use crate::support::{PATIENCE, start};
use undoubt::bench::reading::{Reading, Until, read};
use undoubt::bench::{readers, usage};
use undoubt::cluster::{Plan, Who};

/// As many as have room beside other things where a process may have 1,024 files.
const CLIENTS: usize = 800;

const VALUES: usize = 16;
const VALUE_BYTES: usize = 62_500;

/// The bytes that a server may take above those that it takes when it is idle.
const MAX_ABOVE_IDLE_BYTES: u64 = 512 << 20;

#[tokio::test]
async fn clients_that_read_a_megabyte_each_at_once_are_all_served_and_no_server_keeps_what_all_of_them_read() {
    let cluster = start(Plan { participants: vec!["bank-1".to_owned()], ..Plan::default() }).await;
    let coordinator = cluster.url(Who::Coordinator).unwrap();
    let keys = readers::store(&coordinator, VALUES, VALUE_BYTES).await.unwrap();
    let servers = [Who::Coordinator, Who::Participant(0)];
    let idle = servers.map(|who| usage::of(cluster.pid(who)).unwrap().resident_bytes);
    let reading = Reading {
        coordinator,
        participant: "bank-1".to_owned(),
        keys,
        bytes: (VALUES * VALUE_BYTES) as u64,
        clients: CLIENTS,
        until: Until::Had { answers: 1, at_most: 6 * PATIENCE },
    };
    let read = read(&reading).await.unwrap();
    assert_eq!(read.served, CLIENTS, "{read:?}");
    for (who, idle) in servers.into_iter().zip(idle) {
        let most = usage::of(cluster.pid(who)).unwrap().peak_bytes;
        assert!(most - idle <= MAX_ABOVE_IDLE_BYTES, "{who:?}: {idle} bytes when idle, {most} at its most");
    }
}
