//! The resource over services: those that keep the contract, those that do not, and a participant that crashes between the two.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conformance;
mod crashes;
mod hostile;
mod policy;
mod reach;
mod support;
mod tls;
