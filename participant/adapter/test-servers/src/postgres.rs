use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::programs::{postgres_folder, run};
use crate::server::{Answers, Kind, Place, Server};
use crate::{Copy, ServerError};

const SUPERUSER: &str = "postgres";

/// A private PostgreSQL server of the newest version that is installed.
///
/// Everybody on this machine may log in without a password, as [`USER`](Self::USER) or any other role. Dropping it
/// ends it at once and removes its folder.
#[derive(Debug)]
pub struct Postgres {
    server: Server<Programs>,
}

/// PostgreSQL's programs, in one folder.
#[derive(Debug, Clone)]
struct Programs(PathBuf);

impl Postgres {
    /// The superuser, who owns the database of the same name.
    pub const USER: &str = SUPERUSER;

    /// Starts a new server with settings such as `("max_prepared_transactions", "100")` and waits until it answers.
    ///
    /// # Errors
    ///
    /// The package to install if the programs are missing; the end of the server's log if it does not start.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let programs = Programs(postgres_folder()?);
        let place = Place::new().await?;
        let mut initdb = place.command(programs.0.join("initdb"));
        initdb.args([
            "--username",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--pgdata",
        ]);
        initdb.arg(place.data());
        run(initdb, "").await?;
        Self::start_in(programs, place, settings).await
    }

    /// Starts another server on a copy of this one's data, on a port of its own.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_from(copy: &Copy, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let place = Place::new().await?;
        copy.put_back(&place.data()).await?;
        Self::start_in(Programs(postgres_folder()?), place, settings).await
    }

    /// Starts an asynchronous standby of this server, on a port of its own. `SELECT pg_promote()` promotes it.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_standby(&self, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let copy = self.base_backup().await?;
        std::fs::write(copy.data().join("standby.signal"), "").map_err(ServerError::io("marking a standby"))?;
        let primary = format!("host=127.0.0.1 port={} user={SUPERUSER}", self.address().port());
        let mut settings = settings.to_vec();
        settings.push(("primary_conninfo", &primary));
        Self::start_from(&copy, &settings).await
    }

    async fn start_in(programs: Programs, place: Place, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let mut server = Server::new(programs.clone(), place, settings);
        server.start_new(setting, &programs).await?;
        Ok(Self { server })
    }

    /// Returns where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.place.address()
    }

    /// Returns the URL of a database for the superuser, who needs no password.
    pub fn url(&self, database: &str) -> String {
        url(self.address(), database)
    }

    /// Returns the URL of a database of this server by way of another address, such as a proxy's.
    pub fn url_through(&self, address: SocketAddr, database: &str) -> String {
        url(address, database)
    }

    /// Returns the process id of the postmaster while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Runs statements by PostgreSQL's own client, each in a transaction of its own, and returns the rows: a line
    /// each, columns parted by `|`.
    ///
    /// # Errors
    ///
    /// The client's words at the first statement that fails; those before it are done.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<String, ServerError> {
        self.sql_through(self.address(), database, statements).await
    }

    /// Runs statements as [`sql`](Self::sql) does, by way of another address, such as a proxy's.
    ///
    /// # Errors
    ///
    /// The client's words at the first statement that fails, or when the connection ends.
    pub async fn sql_through(
        &self,
        address: SocketAddr,
        database: &str,
        statements: &str,
    ) -> Result<String, ServerError> {
        self.server.kind.sql(&self.server.place, address, database, statements).await
    }

    /// Runs a script of PostgreSQL's own benchmark over and over, and returns how often a second.
    ///
    /// # Errors
    ///
    /// The benchmark's words where a statement fails.
    pub async fn pgbench(
        &self,
        database: &str,
        script: &str,
        clients: usize,
        measured: Duration,
    ) -> Result<f64, ServerError> {
        let file = tempfile::NamedTempFile::new().map_err(ServerError::io("making a file for a script"))?;
        std::fs::write(file.path(), script).map_err(ServerError::io("writing a script"))?;
        let mut command = tokio::process::Command::new(self.server.kind.0.join("pgbench"));
        command.args(["--no-vacuum", "--file"]).arg(file.path());
        command.args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()]);
        command.args(["--time", &measured.as_secs().max(1).to_string(), &self.url(database)]);
        let told = run(command, "").await?;
        let rate = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or(ServerError::NoRate { told })
    }

    /// Kills the postmaster as a crash does. Its children end by themselves, within seconds.
    pub fn kill_9(&mut self) {
        self.server.kill_9();
    }

    /// Ends the server in order: sessions are cut, what is prepared stays.
    ///
    /// # Errors
    ///
    /// Where it has not ended within a minute.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        self.server.stop().await
    }

    /// Starts the server again at the same address, stopping it before if it runs. Tries until orphans of a killed
    /// one are out of the way.
    ///
    /// # Errors
    ///
    /// The end of the server's log if it does not start within 90 seconds.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.server.start_again(setting, &self.server.kind.clone()).await
    }

    /// Starts the server again with a single try, for a start that is meant to fail.
    ///
    /// # Errors
    ///
    /// The end of the server's log.
    pub async fn restart_once(&mut self) -> Result<(), ServerError> {
        self.server.stop().await?;
        self.server.start_once(setting, &self.server.kind.clone()).await
    }

    /// Changes a setting from the next restart on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.server.set(name, value);
    }

    /// Copies the data folder.
    ///
    /// # Errors
    ///
    /// [`ServerError::Running`] unless the server was stopped or killed.
    pub async fn copy(&self) -> Result<Copy, ServerError> {
        self.server.copy().await
    }

    /// Takes a physical backup of the running server by `pg_basebackup`.
    ///
    /// # Errors
    ///
    /// The program's words.
    pub async fn base_backup(&self) -> Result<Copy, ServerError> {
        let place = &self.server.place;
        let copy = Copy::empty(place.run_as)?;
        let mut backup = place.command(self.server.kind.0.join("pg_basebackup"));
        backup.args([
            "--host=127.0.0.1",
            "--username",
            SUPERUSER,
            "--no-sync",
            "--checkpoint=fast",
            "--wal-method=stream",
        ]);
        backup.arg(format!("--port={}", place.port)).arg("--pgdata").arg(copy.data());
        run(backup, "").await?;
        Ok(copy)
    }

    /// Returns what `pg_dump` writes of a database, for [`sql`](Self::sql) in another one.
    ///
    /// # Errors
    ///
    /// The program's words.
    pub async fn dump(&self, database: &str) -> Result<String, ServerError> {
        let mut dump = self.server.place.command(self.server.kind.0.join("pg_dump"));
        dump.arg("--inserts").arg("--dbname").arg(self.url(database));
        run(dump, "").await
    }

    /// Replaces the data folder by a copy or a backup, of this server or another.
    ///
    /// # Errors
    ///
    /// [`ServerError::Running`] unless the server was stopped or killed.
    pub async fn put_back(&mut self, copy: &Copy) -> Result<(), ServerError> {
        self.server.put_back(copy).await
    }
}

fn url(address: SocketAddr, database: &str) -> String {
    format!("postgresql://{SUPERUSER}@{address}/{database}")
}

fn setting(name: &str, value: &str) -> Vec<String> {
    vec!["-c".to_owned(), format!("{name}={value}")]
}

impl Programs {
    async fn sql(
        &self,
        place: &Place,
        at: SocketAddr,
        database: &str,
        statements: &str,
    ) -> Result<String, ServerError> {
        let mut psql = place.command(self.0.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
            "--host=127.0.0.1",
        ]);
        psql.arg(format!("--port={}", at.port())).args(["--username", SUPERUSER, "--dbname", database]);
        run(psql, statements).await
    }
}

impl Answers for Programs {
    async fn answers(&self, place: &Place) -> bool {
        self.sql(place, place.address(), SUPERUSER, "SELECT 1").await.is_ok()
    }
}

impl Kind for Programs {
    fn program(&self, place: &Place) -> (PathBuf, Vec<OsString>) {
        let mut arguments = vec!["-D".into(), place.data().into(), "-k".into(), place.sockets().into()];
        arguments.extend(["-p".into(), place.port.to_string().into()]);
        arguments.extend(setting("listen_addresses", "127.0.0.1").into_iter().map(OsString::from));
        // In files of the data folder, which goes; POSIX segments would outlive a killed server.
        arguments.extend(setting("dynamic_shared_memory_type", "mmap").into_iter().map(OsString::from));
        (self.0.join("postgres"), arguments)
    }

    fn stop_signal(&self) -> Signal {
        Signal::INT
    }

    fn end_signal(&self) -> Signal {
        Signal::QUIT
    }

    /// Removes the small System V segment by which a postmaster knows that another one still runs.
    fn clean_up(&self, place: &Place) {
        let lock = std::fs::read_to_string(place.data().join("postmaster.pid")).unwrap_or_default();
        let segment = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
        if let Some(segment) = segment {
            let _ = std::process::Command::new("ipcrm").args(["-m", segment]).output();
        }
    }
}
