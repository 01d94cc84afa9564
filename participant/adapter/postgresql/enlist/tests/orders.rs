//! The orders service, killed wherever it is, beside real participants and a coordinator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use undoubt_coordinator as coordinator;
use undoubt_participant as participant;
use undoubt_platform::dial::TcpDial;
use undoubt_platform::server::boxed;
use undoubt_platform::store::memory::Memory;
use undoubt_platform::{Access, CrashPoints, Metrics, OsRandom, SecretKey, SystemClock, Traces};
use undoubt_postgresql::{PostgreSql, Settings, init_sql};
use undoubt_sql::{Dialect, Procedures};
use undoubt_test_servers::Postgres;

const PATIENCE: Duration = Duration::from_secs(120);

const KILLS: u64 = 12;

/// More than are left when the service was killed as often.
const STOCK: i64 = 40;

const TAKE: &str = r#"
[procedure.take]
parameters = { item = "text", amount = "bigint" }
statements = [
  { sql = "UPDATE stock SET amount = amount - :amount WHERE item = :item AND amount >= :amount", rows = 1, otherwise = "there are no {amount} of {item}" },
]
"#;

/// A database server, a coordinator, and the participants `orders` and `stock`.
struct Shop {
    server: Postgres,
    coordinator: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shop {
    async fn open() -> Shop {
        let server = Postgres::start(&[("max_prepared_transactions", "30"), ("fsync", "off")]).await.unwrap();
        let roles = "CREATE ROLE undoubt LOGIN; CREATE ROLE orders LOGIN; GRANT undoubt TO orders;";
        server.sql("postgres", roles).await.unwrap();
        let tables = [
            (
                "orders",
                "CREATE TABLE orders (id text PRIMARY KEY, item text, amount bigint); GRANT INSERT ON orders TO orders;",
            ),
            (
                "stock",
                "CREATE TABLE stock (item text PRIMARY KEY, amount bigint); GRANT SELECT, UPDATE ON stock TO undoubt;",
            ),
        ];
        let (mut tasks, mut participants) = (Vec::new(), Vec::new());
        for (name, tables) in tables {
            server.sql("postgres", &format!("CREATE DATABASE {name}")).await.unwrap();
            server.sql(name, tables).await.unwrap();
            server.sql(name, &init_sql(Some("undoubt"))).await.unwrap();
            let procedures = Procedures::read(if name == "stock" { TAKE } else { "" }, Dialect::PostgreSql).unwrap();
            let (address, task) = participate(name, as_role(&server, name, "undoubt"), procedures).await;
            participants.push(coordinator::ParticipantAddress { name: name.to_owned(), address });
            tasks.push(task);
        }
        server.sql("stock", &format!("INSERT INTO stock VALUES ('apple', {STOCK})")).await.unwrap();
        let (coordinator, task) = coordinate(participants).await;
        tasks.push(task);
        Shop { server, coordinator, tasks }
    }

    /// Starts the service, and gives it these orders.
    fn service(&self, orders: &str) -> Child {
        let mut service = Command::new(program())
            .args([&self.coordinator, &as_role(&self.server, "orders", "orders"), "undoubt"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It may be killed before it has read them all.
        let _ = service.stdin.take().unwrap().write_all(orders.as_bytes());
        service
    }

    async fn number(&self, database: &str, query: &str) -> i64 {
        self.server.sql(database, query).await.unwrap().trim().parse().unwrap()
    }

    /// Waits until nothing is in doubt in either database.
    async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.number("postgres", "SELECT count(*) FROM pg_prepared_xacts").await > 0 {
            assert!(tokio::time::Instant::now() < deadline, "something stays prepared");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asserts that each order has its part of the stock, and nothing else is missing there.
    async fn assert_whole(&self) {
        let ordered = self.number("orders", "SELECT coalesce(sum(amount), 0) FROM orders").await;
        let left = self.number("stock", "SELECT amount FROM stock").await;
        assert_eq!(ordered + left, STOCK);
        assert!(left >= 0);
    }
}

fn as_role(server: &Postgres, database: &str, role: &str) -> String {
    server.url(database).replace("postgres@", &format!("{role}@"))
}

/// Cargo puts examples beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(|tests| tests.parent()).unwrap().join("examples").join("orders")
}

async fn listen() -> (String, undoubt_platform::Incoming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (address, boxed(TcpListenerStream::new(listener)))
}

async fn participate(name: &str, url: String, procedures: Procedures) -> (String, JoinHandle<()>) {
    let (address, incoming) = listen().await;
    let settings = Settings { url, workers: 4, enlist_grace_ms: 500, ..Settings::default() };
    let resource = PostgreSql::new(&settings, &name.parse().unwrap(), procedures).unwrap();
    let environment = participant::Environment {
        subscribing: None,
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom::new()),
        dial: Arc::new(TcpDial),
        incoming,
        crash: CrashPoints::default(),
        metrics: Metrics::default(),
        access: Access::open(),
        pulse: Default::default(),
        traces: Traces::default(),
    };
    let config = participant::Config { name: name.to_owned(), ..participant::Config::default() };
    let serving = async move {
        participant::run(config, Arc::new(resource), environment, std::future::pending()).await.unwrap();
    };
    (address, tokio::spawn(serving))
}

async fn coordinate(participants: Vec<coordinator::ParticipantAddress>) -> (String, JoinHandle<()>) {
    let (address, incoming) = listen().await;
    let store = Memory::default().open(coordinator::log::FAMILIES).unwrap();
    let (connect_timeout, keep_alive) = (Duration::from_secs(2), Duration::from_secs(5));
    let environment = coordinator::Environment {
        store: Arc::new(store),
        folder_sign: None,
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom::new()),
        key: Arc::new(SecretKey::draw(&OsRandom::new())),
        connect: Arc::new(coordinator::DialConnect {
            dial: Arc::new(TcpDial),
            tcp: coordinator::TcpConnect { connect_timeout, keep_alive },
        }),
        dial: Arc::new(TcpDial),
        callback_secret: None,
        changes: coordinator::Changes::none(),
        incoming,
        crash: CrashPoints::default(),
        metrics: Metrics::default(),
        access: Access::open(),
        pulse: Default::default(),
        traces: Traces::default(),
    };
    let config = coordinator::Config { participants, ..coordinator::Config::default() };
    let serving = async move {
        coordinator::run(config, environment, std::future::pending()).await.unwrap();
    };
    (address, tokio::spawn(serving))
}

#[expect(clippy::disallowed_methods, reason = "a real process is waited for, and nothing here is simulated")]
async fn said(service: Child) -> String {
    let output = tokio::task::spawn_blocking(move || service.wait_with_output().unwrap());
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_and_its_stock_are_placed_together_or_not_at_all() {
    let shop = Shop::open().await;
    let said = said(shop.service("o1 apple 3\no2 pear 1\no3 apple 1000\no1 apple 3\no4 apple 5\n")).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[3], lines[4]), ("o1: committed", "o1: committed", "o4: committed"), "{said}");
    assert!(lines[1].contains("there are no 1 of pear") && lines[2].contains("there are no 1000 of apple"), "{said}");
    shop.settled().await;
    assert_eq!(shop.number("orders", "SELECT count(*) FROM orders").await, 2);
    shop.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_whole_wherever_its_service_is_killed() {
    let shop = Shop::open().await;
    let orders: String = (1..=20).map(|order| format!("k{order} apple 1\n")).collect();
    for kill in 0..KILLS {
        let mut service = shop.service(&orders);
        tokio::time::sleep(Duration::from_millis(20 + kill * 25)).await;
        // On this system that is a kill -9.
        service.kill().unwrap();
        service.wait().unwrap();
    }
    shop.settled().await;
    shop.assert_whole().await;
    // What was aborted stays so; all else is placed now, or was before.
    let said = said(shop.service(&orders)).await;
    assert_eq!(said.lines().count(), 20, "{said}");
    shop.settled().await;
    shop.assert_whole().await;
    let committed = said.lines().filter(|line| line.ends_with(": committed")).count();
    assert_eq!(shop.number("orders", "SELECT count(*) FROM orders").await, i64::try_from(committed).unwrap(), "{said}");
}
