use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::programs::{mariadb_program, run};
use crate::server::{Answers, Kind, Place, Server};
use crate::{Copy, ServerError};

const SUPERUSER: &str = "root";
const SERVER_PACKAGE: &str = "mariadb-server-core";
const CLIENT_PACKAGE: &str = "mariadb-client-core";

/// A private MariaDB server.
///
/// [`USER`](Self::USER) may log in from this machine without a password. Dropping it ends it at once and removes its
/// folder.
#[derive(Debug)]
pub struct MariaDb {
    server: Server<Programs>,
}

#[derive(Debug, Clone)]
struct Programs {
    server: PathBuf,
    client: PathBuf,
}

impl Programs {
    fn find() -> Result<Self, ServerError> {
        Ok(Self {
            server: mariadb_program("mariadbd", SERVER_PACKAGE)?,
            client: mariadb_program("mariadb", CLIENT_PACKAGE)?,
        })
    }
}

impl MariaDb {
    /// The superuser.
    pub const USER: &str = SUPERUSER;

    /// Starts a new server with settings such as `("max-connections", "400")` and waits until it answers.
    ///
    /// # Errors
    ///
    /// The package to install if the programs are missing; the end of the server's log if it does not start.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let programs = Programs::find()?;
        let place = Place::new().await?;
        let mut install = place.command(mariadb_program("mariadb-install-db", SERVER_PACKAGE)?);
        install.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]);
        install.arg(format!("--datadir={}", place.data().display())).arg(temporary(&place));
        run(install, "").await?;
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
        Self::start_in(Programs::find()?, place, settings).await
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
        self.url_through(self.address(), database)
    }

    /// Returns the URL of a database of this server by way of another address, such as a proxy's.
    pub fn url_through(&self, address: SocketAddr, database: &str) -> String {
        format!("mysql://{SUPERUSER}@{address}/{database}")
    }

    /// Returns the server's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Runs statements by MariaDB's own client and returns the rows: a line each, columns parted by tabs. The empty
    /// name stands for no database.
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

    /// Kills the server as a crash does.
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

    /// Starts the server again at the same address, stopping it before if it runs.
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

    /// Replaces the data folder by a copy, of this server or another.
    ///
    /// # Errors
    ///
    /// [`ServerError::Running`] unless the server was stopped or killed.
    pub async fn put_back(&mut self, copy: &Copy) -> Result<(), ServerError> {
        self.server.put_back(copy).await
    }
}

/// Returns the argument that keeps temporary tables apart from those of other servers, which may have the same names.
fn temporary(place: &Place) -> String {
    format!("--tmpdir={}", place.folder().display())
}

fn setting(name: &str, value: &str) -> Vec<String> {
    vec![format!("--{name}={value}")]
}

impl Programs {
    async fn sql(
        &self,
        place: &Place,
        at: SocketAddr,
        database: &str,
        statements: &str,
    ) -> Result<String, ServerError> {
        let mut client = place.command(&self.client);
        client.args(["--no-defaults", "--batch", "--skip-column-names", "--host=127.0.0.1", "--connect-timeout=5"]);
        client.arg(format!("--port={}", at.port())).args(["--user", SUPERUSER]);
        if !database.is_empty() {
            client.arg(database);
        }
        run(client, statements).await
    }
}

impl Answers for Programs {
    async fn answers(&self, place: &Place) -> bool {
        self.sql(place, place.address(), "", "SELECT 1").await.is_ok()
    }
}

impl Kind for Programs {
    fn program(&self, place: &Place) -> (PathBuf, Vec<OsString>) {
        let argument = |name: &str, value: PathBuf| OsString::from(format!("--{name}={}", value.display()));
        let mut arguments = vec![
            "--no-defaults".into(),
            argument("datadir", place.data()),
            argument("socket", place.sockets().join("socket")),
            argument("pid-file", place.folder().join("pid")),
        ];
        arguments.extend([temporary(place).into(), format!("--port={}", place.port).into()]);
        arguments.extend(
            ["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"].map(Into::into),
        );
        (self.server.clone(), arguments)
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    fn end_signal(&self) -> Signal {
        Signal::KILL
    }

    fn clean_up(&self, _: &Place) {}
}
