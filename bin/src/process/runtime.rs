//! The runtime of a server process.

use super::{Failed, Failure, OrFailed as _};
use std::thread::available_parallelism;

/// Runs a server's main task to its end.
pub fn run_server(main: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    // Tokio reads the variable itself.
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(worker_threads(available_parallelism().map_or(1, usize::from)));
    }
    builder.build().or_failed(Failure::Other)?.block_on(main)
}

/// Returns the number of threads that carry a server's tasks: half as many as there are cores. The rest is for the threads that write, for
/// the system's network, and for other processes; more threads wake each other up more often than they help.
fn worker_threads(cores: usize) -> usize {
    (cores / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_cores_work_and_at_least_one() {
        assert_eq!([1, 2, 3, 8].map(worker_threads), [1, 1, 1, 4]);
    }
}
