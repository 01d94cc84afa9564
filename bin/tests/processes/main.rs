//! Tests of real processes: the binaries as people run them, killed and restarted, asked over gRPC and from the command
//! line.
//!
//! One program, because each takes half a minute to compile.

mod support;

mod aborts;
mod bounds;
mod configuration;
mod heuristics;
mod identity;
mod operators;
mod refusals;
