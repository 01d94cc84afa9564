//! The ground that both sides stand on: durable storage, and the seams through which time, randomness and faults come
//! in.
//!
//! * [`store`]: the contract of durable storage, which RocksDB (`undoubt-rocks`), the simulated disk and a store in memory
//!   keep; [`conformance`] holds them to it.
//! * [`identity`]: whose data a folder holds; [`numbered`]: which start of its owner this is (R5), and how far each came.
//! * [`key`]: the key by which a coordinator proves that it is the one that it says.
//! * [`access`]: who may do what.
//! * [`server`], [`dial`]: the frame of a gRPC server, and clients, over any transport.
//! * [`alarm`]: what somebody has to look after, in the log and at a webhook.
//! * [`metrics`]: what a server tells of itself, and the port at which it does.
//! * [`range`]: what a setting that is a number may be.
//! * [`crash`], [`clock`], [`random`]: what the simulation replaces.
//! * [`terminal`]: saying something without a panic where nobody listens.
//!
//! Nothing here knows more of a transaction than its id.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where nobody reads; `terminal` does not")]

pub mod access;
pub mod alarm;
pub mod audit;
pub mod clock;
pub mod conformance;
pub mod crash;
mod date;
pub mod dial;
pub mod identity;
pub mod key;
pub mod metrics;
pub mod none_or_number;
pub mod numbered_store;
pub mod pulse;
pub mod random;
pub mod range;
pub mod reason;
pub mod server;
pub mod store;
pub mod terminal;

pub use access::Access;
pub use clock::{Clock, SystemClock, Timestamp};
pub use crash::CrashPoints;
pub use identity::{Identity, IdentityError, Kind};
pub use key::SecretKey;
pub use metrics::Metrics;
pub use numbered_store::NumberedStore;
pub use random::{OsRandom, Random, SeededRandom};
pub use reason::Reason;
pub use server::{Connection, Incoming};
pub use store::{
    BackingUp, BackupError, Batch, Direction, Durability, Family, Fenced, Operation, Room, Store, StoreError, Written,
    write_until_taken,
};
