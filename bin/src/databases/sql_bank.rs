//! A bank in a database of a private server.

use super::{ACCOUNTS, OPENING_BALANCE, front, load};
use crate::cluster::Programs;
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use undoubt_test_servers::{MariaDb, Postgres};

/// A database with accounts, and the settings of the participant in front of it.
pub struct SqlBank {
    pub name: &'static str,
    /// The participant's settings.
    pub config: PathBuf,
    server: Server,
}

/// A private database server.
enum Server {
    PostgreSql(Postgres),
    MariaDb(MariaDb),
}

/// The counts of what a database still holds after all is over. Each must be 0.
pub struct Left {
    pub prepared: u64,
    pub in_transaction: u64,
    pub pending: u64,
}

const DATABASE: &str = "bank";

/// The procedures of a bank. Each move of money leaves a row, by which both sides can be compared.
const PROCEDURES: &str = r#"
[procedure.take]
parameters = { account = "text", amount = "bigint", transfer = "text" }
locks = ["account:{account}"]
statements = [
    { sql = "UPDATE accounts SET balance = balance - :amount WHERE id = :account AND balance >= :amount RETURNING balance", rows = 1, otherwise = "{account} has less than {amount}" },
    { sql = "INSERT INTO transfers (id) VALUES (:transfer)", rows = 1 },
]
undo = "untake"

[procedure.untake]
parameters = { account = "text", amount = "bigint", transfer = "text" }
locks = ["account:{account}"]
statements = [
    { sql = "UPDATE accounts SET balance = balance + :amount WHERE id = :account", rows = 1 },
    { sql = "DELETE FROM transfers WHERE id = :transfer", rows = 1 },
]

[procedure.give]
parameters = { account = "text", amount = "bigint", transfer = "text" }
locks = ["account:{account}"]
statements = [
    { sql = "UPDATE accounts SET balance = balance + :amount WHERE id = :account RETURNING balance", rows = 1, otherwise = "there is no account {account}" },
    { sql = "INSERT INTO transfers (id) VALUES (:transfer)", rows = 1 },
]
undo = "ungive"

[procedure.ungive]
parameters = { account = "text", amount = "bigint", transfer = "text" }
locks = ["account:{account}"]
statements = [
    { sql = "UPDATE accounts SET balance = balance - :amount WHERE id = :account", rows = 1 },
    { sql = "DELETE FROM transfers WHERE id = :transfer", rows = 1 },
]
"#;

impl SqlBank {
    /// Starts a PostgreSQL, opens accounts in it, and makes the schema `undoubt` there as its owner would.
    pub async fn postgresql(programs: &Programs, folder: &Path) -> anyhow::Result<SqlBank> {
        let server = Server::PostgreSql(Postgres::start(&[("max_prepared_transactions", "200")]).await?);
        SqlBank::open("postgresql", server, PROCEDURES, (programs, folder)).await
    }

    /// Starts a MariaDB, and does the same there.
    pub async fn mariadb(programs: &Programs, folder: &Path) -> anyhow::Result<SqlBank> {
        let server = Server::MariaDb(MariaDb::start(&[]).await?);
        // An UPDATE returns no rows there.
        let procedures = PROCEDURES.replace(" RETURNING balance", "");
        SqlBank::open("mariadb", server, &procedures, (programs, folder)).await
    }

    async fn open(
        name: &'static str,
        server: Server,
        procedures: &str,
        (programs, folder): (&Programs, &Path),
    ) -> anyhow::Result<SqlBank> {
        let (first, url) = match &server {
            Server::PostgreSql(server) => ("postgres", server.url(DATABASE)),
            Server::MariaDb(server) => ("mysql", server.url(DATABASE)),
        };
        server.sql(first, &format!("CREATE DATABASE {DATABASE};")).await?;
        let accounts = (0..ACCOUNTS).map(|at| format!("('{}', {OPENING_BALANCE})", load::account(at)));
        let accounts = accounts.collect::<Vec<_>>().join(", ");
        let tables = format!(
            "CREATE TABLE accounts (id varchar(64) PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
             CREATE TABLE transfers (id varchar(64) PRIMARY KEY);
             INSERT INTO accounts VALUES {accounts};"
        );
        server.sql(DATABASE, &tables).await?;
        let config = front(programs, folder, (name, name), &url, procedures).await?;
        Ok(SqlBank { name, config, server })
    }

    pub fn server_name(&self) -> &'static str {
        match &self.server {
            Server::PostgreSql(_) => "PostgreSQL's server",
            Server::MariaDb(_) => "MariaDB's server",
        }
    }

    pub fn kill_9(&mut self) {
        match &mut self.server {
            Server::PostgreSql(server) => server.kill_9(),
            Server::MariaDb(server) => server.kill_9(),
        }
    }

    pub async fn restart(&mut self) -> anyhow::Result<()> {
        match &mut self.server {
            Server::PostgreSql(server) => Ok(server.restart().await?),
            Server::MariaDb(server) => Ok(server.restart().await?),
        }
    }

    /// Returns the sum of all accounts, as the database's own client counts it.
    pub async fn money(&self) -> anyhow::Result<i64> {
        self.number("SELECT sum(balance) FROM accounts;").await
    }

    /// Returns the transfers that are in effect here.
    pub async fn transfers(&self) -> anyhow::Result<BTreeSet<String>> {
        let rows = self.server.sql(DATABASE, "SELECT id FROM transfers;").await?;
        Ok(rows.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    pub async fn left(&self) -> anyhow::Result<Left> {
        let count = async |sql: &str| Ok::<_, anyhow::Error>(self.number(sql).await?.unsigned_abs());
        let (prepared, in_transaction) = match &self.server {
            Server::PostgreSql(_) => {
                let idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%';";
                (count("SELECT count(*) FROM pg_prepared_xacts;").await?, count(idle).await?)
            }
            Server::MariaDb(server) => {
                let prepared = server.sql(DATABASE, "XA RECOVER;").await?;
                let prepared = prepared.lines().filter(|line| !line.trim().is_empty()).count() as u64;
                // Also those that are in no list of what is prepared.
                (prepared, count("SELECT count(*) FROM information_schema.innodb_trx;").await?)
            }
        };
        let pending = count(match &self.server {
            Server::PostgreSql(_) => "SELECT count(*) FROM undoubt.pending;",
            Server::MariaDb(_) => "SELECT count(*) FROM undoubt_pending;",
        });
        Ok(Left { prepared, in_transaction, pending: pending.await? })
    }

    async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let text = self.server.sql(DATABASE, sql).await?;
        text.trim().parse().with_context(|| format!("{sql} says {text:?}"))
    }
}

impl Server {
    async fn sql(&self, database: &str, statements: &str) -> anyhow::Result<String> {
        match self {
            Server::PostgreSql(server) => Ok(server.sql(database, statements).await?),
            Server::MariaDb(server) => Ok(server.sql(database, statements).await?),
        }
    }
}
