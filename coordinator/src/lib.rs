//! The coordinator: decides, and remembers what it decided.
//!
//! The rules are in `undoubt-coordinator-core`; what is here carries out its effects:
//!
//! * [`engine`] is one task that owns the core. Whatever happens becomes an input; each round takes all that is queued,
//!   gathers the effects, and hands them on in bulk.
//! * [`log`] writes and reads records. One write is under way at a time and everything that queues meanwhile goes with
//!   the next, so a forced write serves all who wait.
//! * [`standing`] asks participants, before the first session, whether this log is the newest; [`session`] keeps one stream
//!   to each of them; [`witness`] remembers how far their logs were seen.
//! * [`service`] and [`operator`] are what applications and operators talk to.
//!
//! [`run`] takes its storage, listener, connector, clock and randomness from outside, so that the simulation runs this
//! very code.

mod address;
mod bounds;
mod callback;
mod changes;
pub mod config;
pub mod connect;
#[doc(hidden)]
pub mod decoders;
mod engine;
mod history;
mod limits;
pub mod log;
pub mod metrics;
mod operator;
mod own_sign;
mod points;
mod queue;
mod retention;
mod run;
mod service;
mod session;
mod standing;
mod timers;
mod witness;

pub use bounds::LIMITS;
pub use callback::{CallbackSecret, WeakSecret};
pub use changes::{Changeable, Changes, Changing};
pub use config::{Config, ParticipantAddress};
pub use connect::{Connect, DialConnect, TcpConnect};
pub use points::{CRASH_POINTS, OPEN_SAGA_POINTS};
pub use run::{Environment, RunError, run};
pub use session::FencedByEpoch;
