//! Measures the participant beside the same rows by hand: on one private server, by turns, as many clients as are told.
//!
//! ```sh
//! cargo run -p undoubt-mariadb --example beside_hand -- --clients 1,16,64 --seconds 5 --rounds 3
//! ```
//!
//! Each transaction changes one row of 100,000 and is prepared and committed. By hand, a client has a session of its own and sends
//! XA START, UPDATE, INSERT of a row that is evidence, XA END, XA PREPARE and XA COMMIT, each in a trip of its own, as people do
//! (`hand`), or as many in a trip as there may be (`hand-in-3-trips`). `--server NAME=VALUE` sets what the server is started with.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use bytes::Bytes;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use undoubt_mariadb::{MariaDb, Settings, init};
use undoubt_participant::resource::{BranchId, Branches as _, Ended, Resource as _};
use undoubt_sql::{Dialect, Procedures};
use undoubt_test_servers as servers;
use undoubt_vocabulary::{AttemptNumber, CoordinatorId, Execution, ParticipantName, Prepare, Timestamp, TxId, Vote};
use undoubt_work::call::{Call, CallWork};

const ROWS: u64 = 100_000;
const DATABASE: &str = "bank";
const COORDINATOR: CoordinatorId = CoordinatorId(*b"the coordinator.");
const PROCEDURES: &str = "[procedure.deposit]\nparameters = { account = \"bigint\", amount = \"bigint\" }\nstatements = [{ sql = \"UPDATE \
     account SET balance = balance + :amount WHERE id = :account\", rows = 1 }]\n";

/// The time between two collections, as the server of a participant has it.
const COLLECT_AFTER: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Participant,
    Hand,
    HandIn3Trips,
}

impl Way {
    const ALL: [Way; 3] = [Way::Participant, Way::Hand, Way::HandIn3Trips];

    fn named(name: &str) -> Way {
        Way::ALL.into_iter().find(|way| way.name() == name).unwrap_or_else(|| panic!("{name} is no way"))
    }

    fn name(self) -> &'static str {
        match self {
            Way::Participant => "participant",
            Way::Hand => "hand",
            Way::HandIn3Trips => "hand-in-3-trips",
        }
    }
}

/// The result of one round.
#[derive(Clone, Debug, Default)]
struct Came {
    per_second: f64,
    median: Duration,
    longest: Duration,
    failed: u64,
    first_failure: Option<String>,
}

struct Arguments {
    clients: Vec<usize>,
    seconds: u64,
    rounds: usize,
    ways: Vec<Way>,
    server: Vec<(String, String)>,
}

fn arguments() -> Arguments {
    let mut read =
        Arguments { clients: vec![1, 16, 64], seconds: 5, rounds: 3, ways: Way::ALL.to_vec(), server: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--clients" => read.clients = value.split(',').map(|count| count.parse().unwrap()).collect(),
            "--seconds" => read.seconds = value.parse().unwrap(),
            "--rounds" => read.rounds = value.parse().unwrap(),
            "--ways" => read.ways = value.split(',').map(Way::named).collect(),
            "--server" => {
                let (name, value) = value.split_once('=').expect("NAME=VALUE");
                read.server.push((name.to_owned(), value.to_owned()));
            }
            other => panic!("{other} is none of --clients, --seconds, --rounds, --ways and --server"),
        }
    }
    read
}

#[tokio::main]
async fn main() {
    let Arguments { clients, seconds, rounds, ways, server: given } = arguments();
    let mut given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    given.push(("max-connections", "400"));
    let server = servers::MariaDb::start(&given).await.unwrap();
    println!(
        "this: pid {}; server: pid {}, {}",
        std::process::id(),
        server.pid().unwrap_or_default(),
        server.url(DATABASE)
    );
    server.sql("", &format!("CREATE DATABASE {DATABASE}")).await.unwrap();
    let tables = format!(
        "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE = InnoDB; INSERT INTO account SELECT seq, 1000 FROM \
         seq_1_to_{ROWS}; CREATE TABLE evidence (client BIGINT NOT NULL, number BIGINT NOT NULL, tx VARBINARY(64) NOT NULL, result \
         LONGBLOB NOT NULL, PRIMARY KEY (client, number)) ENGINE = InnoDB"
    );
    server.sql(DATABASE, &tables).await.unwrap();
    let most = clients.iter().copied().max().unwrap_or(1);
    let settings = Settings { url: server.url(DATABASE), slots: most.max(64), ..Settings::default() };
    init(&settings, None).await.unwrap();
    let participant: ParticipantName = "bank".parse().unwrap();
    let procedures = Procedures::read(PROCEDURES, Dialect::MariaDb).unwrap();
    let resource = Arc::new(MariaDb::new(&settings, &participant, procedures).unwrap());
    resource.recover(&participant).await.unwrap();
    let stop = CancellationToken::new();
    let background = tokio::spawn({
        let (resource, stop) = (resource.clone(), stop.clone());
        async move { resource.background(stop).await }
    });
    let numbers = Arc::new(Numbers::default());
    for clients in clients {
        let mut all: Vec<(Way, Came)> = Vec::new();
        for round in 0..rounds {
            for &way in &ways {
                let came = measure(way, clients, Duration::from_secs(seconds), &server, &resource, &numbers).await;
                let Came { per_second, median, longest, failed, first_failure } = &came;
                println!(
                    "  round {round}, {clients} clients, {}: {per_second:.0}/s, median {median:.1?}, longest {longest:.1?}, {failed} failed {}",
                    way.name(),
                    first_failure.clone().unwrap_or_default()
                );
                all.push((way, came));
            }
        }
        let of = |way: Way, value: fn(&Came) -> f64| {
            let mut values: Vec<f64> =
                all.iter().filter(|(other, _)| *other == way).map(|(_, came)| value(came)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        for &way in &ways {
            let (rate, median) = (of(way, |came| came.per_second), of(way, |came| came.median.as_secs_f64()));
            println!(
                "{clients} clients, {}: {rate:.0}/s = {:.2} × hand, median {:.2} ms = {:.2} × hand",
                way.name(),
                rate / of(Way::Hand, |came| came.per_second),
                median * 1_000.0,
                median / of(Way::Hand, |came| came.median.as_secs_f64())
            );
        }
    }
    stop.cancel();
    background.await.unwrap().unwrap();
}

/// The numbers of attempts: what is open, and which is next.
#[derive(Default)]
struct Numbers {
    open: Mutex<(u64, BTreeSet<u64>)>,
}

impl Numbers {
    fn next(&self) -> u64 {
        let mut open = self.open.lock().unwrap();
        open.0 += 1;
        let number = open.0;
        open.1.insert(number);
        number
    }

    fn is_over(&self, number: u64) {
        self.open.lock().unwrap().1.remove(&number);
    }

    fn low_water_mark(&self) -> AttemptNumber {
        let open = self.open.lock().unwrap();
        AttemptNumber(open.1.first().copied().unwrap_or(open.0 + 1))
    }
}

async fn measure(
    way: Way,
    clients: usize,
    time: Duration,
    server: &servers::MariaDb,
    resource: &Arc<MariaDb>,
    numbers: &Arc<Numbers>,
) -> Came {
    let over = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicU64::new(0));
    let first_failure = Arc::new(Mutex::new(None));
    let mut working: JoinSet<Vec<Duration>> = JoinSet::new();
    let begin = Instant::now();
    for client in 0..clients {
        let (over, failed, first_failure) = (over.clone(), failed.clone(), first_failure.clone());
        let (resource, numbers, url) = (resource.clone(), numbers.clone(), server.url(DATABASE));
        working.spawn(async move {
            let mut conn = match way {
                Way::Participant => None,
                Way::Hand | Way::HandIn3Trips => Some(Conn::from_url(url).await.unwrap()),
            };
            let mut times = Vec::new();
            let mut drawn = client as u64 + 1;
            while !over.load(Ordering::Relaxed) {
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Clients keep to rows of their own.
                let share = ROWS / clients as u64;
                let row = 1 + client as u64 * share + (drawn >> 33) % share;
                let (number, begin) = (numbers.next(), Instant::now());
                let done = match (&mut conn, way) {
                    (Some(conn), Way::Hand) => by_hand(conn, client, number, row).await,
                    (Some(conn), _) => by_hand_in_3_trips(conn, client, number, row).await,
                    (None, _) => by_participant(&resource, number, row).await,
                };
                numbers.is_over(number);
                match done {
                    Ok(()) => times.push(begin.elapsed()),
                    Err(why) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        first_failure.lock().unwrap().get_or_insert(why);
                    }
                }
            }
            times
        });
    }
    let collecting = tokio::spawn({
        let (resource, numbers, over) = (resource.clone(), numbers.clone(), over.clone());
        async move {
            while way == Way::Participant && !over.load(Ordering::Relaxed) {
                tokio::time::sleep(COLLECT_AFTER).await;
                resource.collect(COORDINATOR, numbers.low_water_mark().into()).await.unwrap();
            }
        }
    });
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> = working.join_all().await.into_iter().flatten().collect();
    let took = begin.elapsed();
    collecting.await.unwrap();
    times.sort();
    Came {
        per_second: times.len() as f64 / took.as_secs_f64(),
        median: times.get(times.len() / 2).copied().unwrap_or_default(),
        longest: times.last().copied().unwrap_or_default(),
        failed: failed.load(Ordering::Relaxed),
        first_failure: first_failure.lock().unwrap().clone(),
    }
}

async fn by_participant(resource: &MariaDb, number: u64, row: u64) -> Result<(), String> {
    let tx = TxId::new(format!("transfer-{number}")).unwrap();
    let (attempt_number, begun_at) = (AttemptNumber(number), Timestamp(number));
    let id = BranchId { tx: tx.clone(), attempt_number, coordinator: COORDINATOR };
    let work: Bytes =
        CallWork::from(Call::new("deposit").arg("account", row as i64).arg("amount", 1_i64)).encode().unwrap();
    let (timeout, execution) = (Duration::from_secs(10), Execution::TwoPhase);
    let prepare = Prepare { tx, attempt_number, begun_at, timeout, execution, work };
    let voted = resource.prepare(id.clone(), prepare, CancellationToken::new()).await;
    match voted {
        Ok(Vote::Prepared { .. }) => {}
        Ok(other) => return Err(format!("{other:?}")),
        Err(error) => {
            while resource.abort(id.clone()).await.is_err() {}
            return Err(error.to_string());
        }
    }
    loop {
        match resource.commit(id.clone()).await {
            Ok(Ended::AsTold) => return Ok(()),
            Ok(Ended::Gone) => return Err("gone".to_owned()),
            Err(error) => println!("    {error}"),
        }
    }
}

async fn by_hand(conn: &mut Conn, client: usize, number: u64, row: u64) -> Result<(), String> {
    let xid = format!("'transfer-{number}'");
    for statement in [
        format!("XA START {xid}"),
        format!("UPDATE account SET balance = balance + 1 WHERE id = {row}"),
        format!("INSERT INTO evidence VALUES ({client}, {number}, {xid}, '')"),
        format!("XA END {xid}"),
        format!("XA PREPARE {xid}"),
        format!("XA COMMIT {xid}"),
    ] {
        conn.query_drop(statement).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn by_hand_in_3_trips(conn: &mut Conn, client: usize, number: u64, row: u64) -> Result<(), String> {
    let xid = format!("'transfer-{number}'");
    for statements in [
        format!("XA START {xid}; UPDATE account SET balance = balance + 1 WHERE id = {row}"),
        format!("INSERT INTO evidence VALUES ({client}, {number}, {xid}, ''); XA END {xid}; XA PREPARE {xid}"),
        format!("XA COMMIT {xid}"),
    ] {
        conn.query_drop(statements).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
