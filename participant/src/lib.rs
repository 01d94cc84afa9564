//! The participant: guards a resource, and votes.
//!
//! The rules are in `undoubt-participant-core`; what is here carries out its effects:
//!
//! * [`resource`] is what a resource has to be able to do. [`conformance`] is the suite that an adapter's author runs.
//!   Adapters are crates of their own, in the folder `adapter` beside this one.
//! * `engine` is one task that owns the core, and calls the resource manager for many branches at once.
//! * `session` speaks with a coordinator, to which `outbox` holds what waits to be sent; `admin` with operators.
//! * [`table`] keeps epochs, branches and barriers for adapters that have a store.
//! * [`event_log`] keeps the events that work publishes, for adapters that have a store; `events` hands them on.
//! * [`locks`] lets branches and steps wait for keys, for adapters that lock by them.
//! * [`room`] bounds the bytes of results in memory.

mod admin;
pub mod config;
pub mod conformance;
#[doc(hidden)]
pub mod decoders;
mod engine;
pub mod event_log;
pub mod event_upkeep;
mod events;
pub mod heuristic;
mod limits;
pub mod locks;
pub mod metrics;
mod outbox;
mod points;
pub mod resource;
pub mod room;
mod run;
mod session;
mod store_errors;
pub mod subscription;
pub mod table;

pub use config::Config;
pub use limits::LIMITS;
pub use points::{CRASH_POINTS, OPEN_SAGA_POINTS, SESSION_POINTS};
pub use run::{Environment, RunError, run, run_steps};
