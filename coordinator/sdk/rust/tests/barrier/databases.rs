//! A database for each test, of servers that all tests of this process share.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{MySqlConnection, PgConnection, SqliteConnection};
use tokio::sync::OnceCell;
use undoubt_barrier::Barrier;
use undoubt_test_servers::{MariaDb, Postgres};

use crate::stores::Tested;

// They end with this process, by a guard of theirs.
static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
static MARIADB: OnceCell<MariaDb> = OnceCell::const_new();
static MADE: AtomicU32 = AtomicU32::new(0);

pub async fn postgres() -> &'static Postgres {
    POSTGRES.get_or_init(async || Postgres::start(&[("max_connections", "200")]).await.expect("it starts")).await
}

pub async fn mariadb() -> &'static MariaDb {
    MARIADB.get_or_init(async || MariaDb::start(&[("max-connections", "200")]).await.expect("it starts")).await
}

/// A database with the barrier's table and a table of notes.
#[derive(Debug)]
pub struct Database {
    pub url: String,
    pub name: String,
    _folder: Option<tempfile::TempDir>,
}

/// A kind of connection, and the server to which it leads.
pub trait Placed: Tested {
    fn place(name: &str) -> impl Future<Output = (String, Option<tempfile::TempDir>)> + Send;
}

async fn in_postgres(name: &str) -> (String, Option<tempfile::TempDir>) {
    let server = postgres().await;
    server.sql("postgres", &format!("CREATE DATABASE {name}")).await.expect("it is made");
    (server.url(name), None)
}

impl Placed for tokio_postgres::Client {
    async fn place(name: &str) -> (String, Option<tempfile::TempDir>) {
        in_postgres(name).await
    }
}

impl Placed for PgConnection {
    async fn place(name: &str) -> (String, Option<tempfile::TempDir>) {
        in_postgres(name).await
    }
}

impl Placed for MySqlConnection {
    async fn place(name: &str) -> (String, Option<tempfile::TempDir>) {
        let server = mariadb().await;
        server.sql("", &format!("CREATE DATABASE {name} COLLATE utf8mb4_bin")).await.expect("it is made");
        (server.url(name), None)
    }
}

impl Placed for SqliteConnection {
    async fn place(name: &str) -> (String, Option<tempfile::TempDir>) {
        let folder = tempfile::tempdir().expect("a folder");
        (format!("sqlite://{}/{name}.db?mode=rwc", folder.path().display()), Some(folder))
    }
}

impl Database {
    pub async fn make<T: Placed>() -> Self {
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let (url, folder) = T::place(&name).await;
        Self { _folder: folder, ..Self::fill::<T>(url, name).await }
    }

    /// Fills an empty database.
    pub async fn fill<T: Tested>(url: String, name: String) -> Self {
        let mut connection = T::open(&url).await;
        Barrier::new().create_table(&mut connection).await.expect("the table is made");
        Barrier::new().create_table(&mut connection).await.expect("the table is there");
        connection.sql(T::NOTES).await;
        connection.sql("CREATE TABLE things (thing varchar(20) PRIMARY KEY)").await;
        Self { url, name, _folder: None }
    }
}
