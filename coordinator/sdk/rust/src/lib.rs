#![doc = include_str!("../README.md")]

mod answer;
#[cfg(feature = "axum")]
mod axum;
mod barrier;
mod call;
mod connection;
mod drivers;
mod failure;
mod id;
mod rules;

pub use answer::Answer;
pub use barrier::{A_WEEK, Barrier, record};
pub use call::{Call, Operation, UnknownOperation};
pub use connection::{Connection, OwnTransaction};
pub use failure::{BoxError, Error, Failure, InProgress, RecordError, Refused};
