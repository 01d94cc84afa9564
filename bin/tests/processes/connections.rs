//! Connections that say nothing, too many of them, and too few open files.

use crate::support::api::{commit, health, transfer};
use crate::support::{banks, start, until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::collections::BTreeSet;
use std::fs::read_dir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic_health::pb::health_check_response::ServingStatus;
use undoubt::cluster::{Cluster, Plan, Who};

const SERVERS: [Who; 2] = [Who::Coordinator, Who::Participant(0)];

async fn connect(cluster: &Cluster, who: Who) -> TcpStream {
    let url = cluster.url(who).unwrap();
    TcpStream::connect(url.trim_start_matches("http://")).await.unwrap()
}

fn open_files(pid: u32) -> BTreeSet<u64> {
    let files = read_dir(format!("/proc/{pid}/fd")).unwrap();
    files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn told(cluster: &Cluster, who: Who, what: &str) -> usize {
    cluster.log_tail(who, usize::MAX).matches(what).count()
}

#[tokio::test]
async fn a_server_without_files_to_open_says_so_once_and_accepts_again_when_it_may() {
    let cluster = start(banks()).await;
    for who in SERVERS {
        let number = cluster.pid(who).unwrap();
        let pid = Pid::from_raw(number as i32);
        let before = getrlimit(Resource::Nofile);
        // Every number below is taken, so that no further file can be opened.
        let next_free = (0..).find(|number_of_file| !open_files(number).contains(number_of_file));
        prlimit(pid, Resource::Nofile, Rlimit { current: next_free, ..before }).unwrap();
        let waiting = connect(&cluster, who).await;
        until("it says that it accepts none", async || {
            (told(&cluster, who, "no connection can be accepted") > 0).then_some(())
        })
        .await;
        prlimit(pid, Resource::Nofile, before).unwrap();
        until("it serves again", async || (health(&cluster, who).await == Some(ServingStatus::Serving)).then_some(()))
            .await;
        until("it says that it is over", async || {
            (told(&cluster, who, "connections are accepted again") > 0).then_some(())
        })
        .await;
        assert_eq!(told(&cluster, who, "no connection can be accepted"), 1);
        drop(waiting);
    }
    commit(&cluster, transfer("t", 1)).await;
}

#[tokio::test]
async fn beyond_the_most_connections_new_ones_are_closed_at_once_and_told_once() {
    let setting = || vec!["max_connections=8".to_owned()];
    let plan = Plan { coordinator_settings: setting(), participant_settings: setting(), ..banks() };
    let cluster = start(plan).await;
    for who in SERVERS {
        let mut held = Vec::new();
        let closed = until("one is closed", async || {
            let mut connection = connect(&cluster, who).await;
            let read = tokio::time::timeout(std::time::Duration::from_millis(100), connection.read(&mut [0])).await;
            match read {
                // Those that are kept greet first, as servers of HTTP/2 may, or say nothing.
                Ok(Ok(0) | Err(_)) => Some(()),
                Ok(Ok(_)) | Err(_) => {
                    held.push(connection);
                    None
                }
            }
        });
        closed.await;
        assert!(held.len() <= 8, "{} were let in", held.len());
        until("it is told", async || (told(&cluster, who, "raise max_connections") > 0).then_some(())).await;
        assert_eq!(told(&cluster, who, "raise max_connections"), 1);
        drop(held);
        until("there is room", async || (health(&cluster, who).await).map(drop)).await;
    }
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let cluster = start(banks()).await;
    for who in SERVERS {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", cluster.pid(who).unwrap())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let [soft, hard] = files.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else { panic!("{files}") };
        assert_eq!(soft, hard);
    }
}
