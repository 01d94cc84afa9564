//! What the process tells of itself, and the port at which all figures are told.

use super::{Failed, Failure, Guard, OpenStore, OrFailed as _, RELOADS};
use anyhow::Context as _;
use std::fmt;
use std::fs;
use std::path::Path;
use tokio::net::TcpListener;
use undoubt_platform::Metrics;
use undoubt_platform::metrics::{Board, Metric, MetricsConfig, StoreMetrics, Tell, Telling, serve_board};

/// The metrics of a process, by the names that all of Prometheus' libraries use.
pub const METRICS: &[Metric] = &[CPU, RESIDENT, FILES, MAX_FILES, STARTED, RELOADS];

const CPU: Metric = Metric::counter("process_cpu_seconds", &[], "CPU time of the process, of user and system together");
const RESIDENT: Metric = Metric::gauge("process_resident_memory_bytes", &[], "Memory of the process that is in RAM");
const FILES: Metric = Metric::gauge("process_open_fds", &[], "Files and connections that are open");
const MAX_FILES: Metric = Metric::gauge("process_max_fds", &[], "The bound of process_open_fds (ulimit -n)");
const STARTED: Metric = Metric::gauge("process_start_time_seconds", &[], "Start of the process, since 1970");

/// Opens the port for figures, if there is to be one. It is guarded as the server's own is.
pub async fn start_board(config: &MetricsConfig, guard: &Guard) -> Result<Board, Failed> {
    let board = Board::default();
    let Some(address) = config.address().or_failed(Failure::Configuration)? else { return Ok(board) };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| {
            format!("cannot listen on {address} for metrics; is the port taken? Choose another: [metrics] listen")
        })
        .or_failed(Failure::Address)?;
    let address = listener.local_addr().or_failed(Failure::Address)?;
    let incoming = guard.at_the_door_for_figures().incoming(listener)?;
    tracing::info!(%address, "figures are told at /metrics, /healthz and /readyz");
    let (served, access) = (board.clone(), guard.access());
    tokio::spawn(async move {
        if let Err(error) = serve_board(served, incoming, access).await {
            tracing::error!(%error, "figures are not told any more");
        }
    });
    Ok(board)
}

impl OpenStore {
    /// Returns where the run on this store tells its figures; those of the store and of the process are told already.
    pub fn figures(&self, board: &Board, min_free_bytes: u64) -> Metrics {
        let metrics = board.begin();
        metrics.add(StoreMetrics::over(&self.store(), min_free_bytes));
        metrics.add(Process);
        metrics
    }
}

/// Returns where a run without a store of its own tells its figures; those of the process are told already.
pub fn figures_without_store(board: &Board) -> Metrics {
    let metrics = board.begin();
    metrics.add(Process);
    metrics
}

/// Tells of this process.
struct Process;

impl Tell for Process {
    fn tell(&self, telling: &mut Telling<'_>) -> fmt::Result {
        // Where there is no such file system, nothing is told.
        let Some(seen) = Seen::now() else { return Ok(()) };
        telling.one(&CPU, seen.cpu_s)?;
        telling.one(&RESIDENT, seen.resident_bytes)?;
        telling.one(&STARTED, seen.started_s)?;
        telling.one(&FILES, fs::read_dir("/proc/self/fd").map_or(0, Iterator::count))?;
        match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            Some(max) => telling.one(&MAX_FILES, max),
            None => Ok(()),
        }
    }
}

struct Seen {
    cpu_s: f64,
    resident_bytes: u64,
    started_s: f64,
}

impl Seen {
    fn now() -> Option<Seen> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // Fields from the third on, behind the program's name, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let per_s = rustix::param::clock_ticks_per_second() as f64;
        let booted: f64 = fs::read_to_string(Path::new("/proc/stat"))
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
        Some(Seen {
            cpu_s: (number(14)? + number(15)?) as f64 / per_s,
            resident_bytes: number(24)? * rustix::param::page_size() as u64,
            started_s: booted + number(22)? as f64 / per_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory_since_it_was_started() {
        let seen = Seen::now().unwrap();
        assert!(seen.resident_bytes > 1 << 20, "{}", seen.resident_bytes);
        assert!(seen.started_s > 1.5e9, "{}", seen.started_s);
        assert!(seen.cpu_s >= 0.0);
    }
}
