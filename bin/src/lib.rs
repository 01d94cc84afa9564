//! The parts that the binaries share: settings, the start and end of a server process, and groups of processes for demo
//! and tests.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

pub mod bench;
pub mod certificates;
pub mod cluster;
pub mod conformance;
pub mod credentials;
pub mod databases;
pub mod declared;
pub mod demo;
pub mod process;
pub mod restores;
pub mod servers;
pub mod settings;
pub mod torture;
pub mod workload;

/// Transactions are many small pieces of memory that pass from thread to thread. RocksDB uses it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
