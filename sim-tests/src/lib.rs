//! The proof of what we claim: worlds, faults, checkers.
//!
//! What is data knows nothing of the machinery that carries it out, so that plans and runs can be written, read, checked and
//! drawn without a world. Each layer names only those above it in this table; `layers` holds them to it.
//!
//! | layer | what it is |
//! | --- | --- |
//! | [`process`], `random` | the switch of a process; one random stream for each concern |
//! | [`plan`] | what will happen: hosts, faults, points, planted bugs, and how a seed becomes a plan |
//! | [`trace`] | what happened, event by event |
//! | [`run`] | what is known once it is over: the plan, the trace, what clients were told, what was found |
//! | [`disk`] | a simulated disk that real servers run on, and what can go wrong with it |
//! | [`world`] | the machinery: carries out a plan, and returns a run |
//! | [`check`], [`picture`] | what every run has to keep; how a run is drawn |
//! | [`scenario`], [`compare`], [`shrink`], [`sweep`], [`divergence`] | which runs there are, and what is made of them |

pub mod check;
pub mod compare;
pub mod disk;
pub mod divergence;
#[cfg(test)]
mod layers;
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
