//! The JSON forms of what a coordinator is asked and what it tells: one form each, for the command line, callbacks and
//! whatever else speaks JSON.
//!
//! * [`document`]: a transaction as it is submitted, in JSON or TOML.
//! * [`json`]: outcomes, transactions, events, and what servers tell of themselves.

pub mod document;
pub mod json;
mod tree;

pub use tree::{Unreadable, text};
