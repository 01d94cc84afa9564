//! The peer `dtmrs`: sagas of two steps over HTTP, its log in PostgreSQL. Its steps do nothing, so that what is measured is
//! the manager alone; ours do their work durably in the same figure.

use crate::bench::json_http::JsonConnection;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use undoubt_test_servers::Postgres;

const DATABASE: &str = "dtmrs";

const START_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Dtmrs {
    address: String,
    /// The address of the service whose steps do nothing.
    service: String,
    _process: Child,
}

/// Returns the path of the program: beside the other programs' folder, where `make bench PEERS=1` puts it, or on the
/// path.
pub fn program() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let installed = this.parent().and_then(Path::parent)?.join("peers/bin/dtmrs");
    let on_path = std::env::var_os("PATH")?;
    let mut all = std::iter::once(installed).chain(std::env::split_paths(&on_path).map(|folder| folder.join("dtmrs")));
    all.find(|path| path.is_file())
}

impl Dtmrs {
    /// Starts it beside a PostgreSQL. `service`: where its sagas' steps are called.
    pub async fn start(program: &Path, postgres: &Postgres, service: &str) -> anyhow::Result<Dtmrs> {
        postgres.sql("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        let free = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string());
        let (address, grpc) = (free()?, free()?);
        let mut command = Command::new(program);
        command.env("DTMRS_DB", postgres.url(DATABASE)).env("DTMRS_ADDR", &address).env("DTMRS_GRPC_ADDR", grpc);
        command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().context("starting dtmrs")?;
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(&address).await.is_err() {
            ensure!(Instant::now() < deadline, "dtmrs did not listen within {START_TIMEOUT:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Dtmrs { address, service: service.to_owned(), _process: process })
    }

    /// Sagas of two steps a second that came to their end while others were submitted, by so many clients, one saga at a time each.
    pub async fn sagas_per_s(
        &self,
        postgres: &Postgres,
        run: &str,
        clients: usize,
        measured: Duration,
    ) -> anyhow::Result<f64> {
        let warm_up = Duration::from_secs(1);
        let until = Instant::now() + warm_up + measured;
        let mut submitting = JoinSet::new();
        for client in 0..clients {
            let (address, service, name) = (self.address.clone(), self.service.clone(), format!("{run}-{client}"));
            submitting.spawn(async move { submit_until(&address, &service, &name, until).await });
        }
        let done = async || -> anyhow::Result<f64> {
            Ok(postgres
                .sql(DATABASE, "SELECT count(*) FROM trans_global WHERE status = 'succeed'")
                .await?
                .trim()
                .parse()?)
        };
        sleep(warm_up).await;
        let (before, began) = (done().await?, Instant::now());
        sleep(measured).await;
        let (after, took) = (done().await?, began.elapsed());
        while let Some(client) = submitting.join_next().await {
            client??;
        }
        Ok((after - before) / took.as_secs_f64())
    }
}

async fn submit_until(address: &str, service: &str, name: &str, until: Instant) -> anyhow::Result<()> {
    let mut connection = JsonConnection::connect(address).await?;
    let mut number = 0_u64;
    while Instant::now() < until {
        number += 1;
        let step =
            |what: &str| format!(r#"{{"action":"http://{service}/{what}","compensate":"http://{service}/un{what}"}}"#);
        let saga = format!(r#"{{"gid":"{name}-{number}","steps":[{},{}]}}"#, step("take"), step("give"));
        let (status, told) = connection.post("/api/dtmsvr/submit", saga).await?;
        let told = String::from_utf8_lossy(&told);
        ensure!(status.is_success() && told.contains("SUCCESS"), "dtmrs answered {status}: {told}");
    }
    Ok(())
}
