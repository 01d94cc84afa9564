//! The gateway to a coordinator, or to several, over HTTP and JSON. It stands on the client's library.
//!
//! * [`document`]: a transaction as it is submitted, in JSON or TOML.
//! * [`json`]: outcomes, transactions, events, and what servers tell of themselves.
//! * [`run`]: the server, by its [`Config`] and [`Environment`].

mod body;
mod config;
mod connection;
mod coordinators;
pub mod document;
mod gate;
pub mod json;
mod limits;
mod link;
mod listing;
mod openapi;
mod operation;
mod problem;
mod routes;
mod run;
mod sources;
mod tree;

pub use config::{Config, ConfigError, SourceAddress};
pub use coordinators::Behind;
pub use limits::LIMITS;
pub use run::{Environment, RunError, run};
pub use sources::Source;
pub use tree::{Unreadable, text};
