#![doc = include_str!("../README.md")]
// Services that are examples have one: they do not do the rest.
#![warn(clippy::wildcard_enum_match_arm)]

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod barrier;
mod call;
mod connection;
#[cfg(any(feature = "tokio-postgres", feature = "sqlx"))]
mod drivers;
mod failure;
mod id;
mod rules;

pub use answer::Answer;
pub use barrier::{A_WEEK, Barrier, record};
pub use call::{Call, Operation, UnknownOperation};
pub use connection::{Connection, OwnTransaction};
pub use failure::{BoxError, Error, Failure, InProgress, RecordError, Refused};
