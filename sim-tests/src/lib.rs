//! How we know: exhaustive exploration, worlds, faults, checkers.

pub mod check;
pub mod compare;
pub mod disk;
pub mod divergence;
pub mod picture;
pub mod plan;
pub mod process;
mod random;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod world;

/// A simulated world is many small pieces of memory, and one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
