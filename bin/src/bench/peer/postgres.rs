//! A PostgreSQL of our own in a temporary folder, and two-phase commit driven by hand on it.

use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// The folder in which Debian puts the servers of its versions.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The number of pgbench clients, and of prepared transactions at a time.
const CLIENTS: usize = 64;

/// The script, which is like a transfer: two tables, a row each, prepared apart and committed apart.
const SCRIPT: &str = "\
\\set account random(1, 100000)
BEGIN;
UPDATE left_accounts SET balance = balance - 1 WHERE id = :account;
PREPARE TRANSACTION 'l:client_id';
BEGIN;
UPDATE right_accounts SET balance = balance + 1 WHERE id = :account;
PREPARE TRANSACTION 'r:client_id';
COMMIT PREPARED 'l:client_id';
COMMIT PREPARED 'r:client_id';
";

#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// `None` where there is none on this machine.
    pub async fn start() -> anyhow::Result<Option<Postgres>> {
        let Some(programs) = programs() else { return Ok(None) };
        let folder = tempfile::Builder::new().prefix("undoubt-postgres-").tempdir().context("no temporary folder")?;
        // The port is free now; should another take it meanwhile, the server says so.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let postgres = Postgres { programs, folder, port };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(postgres.folder.path())).await?;
        }
        let data = postgres.data();
        run(postgres.command("initdb").args(["--auth=trust", "--username=postgres", "-D"]).arg(&data)).await?;
        let settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c max_prepared_transactions=256 \
             -c max_connections=256"
        );
        let log = postgres.folder.path().join("log");
        let mut start = postgres.command("pg_ctl");
        start.args(["start", "--wait", "-o", &settings, "-D"]).arg(&data).arg("-l").arg(&log).stdout(Stdio::null());
        run(&mut start).await?;
        Ok(Some(postgres))
    }

    /// Returns the URL of a database, for those who connect to it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the answer to one statement, without a frame.
    pub async fn ask(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        run(Command::new("psql").args(["--no-psqlrc", "-qtA", "-c", sql]).arg(self.url(database))).await
    }

    /// Transactions a second over two tables, by hand: prepare both, commit both.
    pub async fn two_phase_per_s(&self, measured: Duration) -> anyhow::Result<f64> {
        for table in ["left_accounts", "right_accounts"] {
            let rows = "SELECT id, 0 AS balance FROM generate_series(1, 100000) AS id";
            self.ask("postgres", &format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} AS {rows}")).await?;
            self.ask("postgres", &format!("ALTER TABLE {table} ADD PRIMARY KEY (id)")).await?;
        }
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), SCRIPT)?;
        let (clients, seconds) = (CLIENTS.to_string(), measured.as_secs().max(1).to_string());
        let mut bench = Command::new(self.programs.join("pgbench"));
        bench.args(["--no-vacuum", "-c", &clients, "-j", "2", "-T", &seconds, "-f"]).arg(script.path());
        let told = run(bench.arg(self.url("postgres"))).await?;
        let rate = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench told no rate but: {told}"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the command as another user where this one is root, for it refuses to run so.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program).current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl").into_std();
        stop.args(["stop", "--mode=immediate", "-D"]).arg(self.data()).stdout(Stdio::null());
        // Its folder goes next, which ends it too.
        let _ = stop.status();
    }
}

/// Returns the folder of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(Path::new(DEBIAN)).ok()?.flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path))?;
    let programs = newest.join("bin");
    programs.join("initdb").is_file().then_some(programs)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command, and returns what it printed.
async fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let told = String::from_utf8(output.stdout).context("what a program told is no text")?;
    ensure!(told.len() < 1 << 20, "{program} told more than a figure");
    Ok(told)
}
