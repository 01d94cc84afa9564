//! The bytes of a data folder that `undoubt-rocks` reads itself, before RocksDB may: pure, and without RocksDB, so that they can be
//! fuzzed.
//!
//! * [`log`]: a write-ahead log, whole, torn or damaged.
//! * [`sign`]: the files that show that a folder was put back.

pub mod log;
pub mod sign;
