//! What the binaries share: settings, the start and end of a server process, and groups of processes for demo and tests.

pub mod cluster;
pub mod demo;
pub mod process;
pub mod settings;
pub mod torture;
pub mod workload;
